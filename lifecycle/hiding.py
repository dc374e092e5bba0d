"""Hiding some of what is inside a value: keys of JSON, fields of embedded documents.

What is hidden is `MASKED` in its place before anything is recorded. Lists are passed through, so
that ``lines.token`` is the token of every line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from lifecycle.deltas import join_path
from lifecycle.equality import same
from lifecycle.markers import ABSENT, MASKED, is_hidden

__all__ = ["CONTAINERS", "Inside", "filled", "fits", "hidden_places", "without_hidden"]

CONTAINERS: Final = (dict, list, tuple)
"""What can have something inside that has a name."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What is to be hidden inside a value: by the paths to it, or by patterns of names."""

    paths: tuple[tuple[str, ...], ...] = ()
    names: tuple[str, ...] = ()

    def entered(self, key: str) -> Inside | None:
        """What is to be hidden below a key; ``None`` when all there is."""
        if any(fnmatchcase(key.lower(), pattern.lower()) for pattern in self.names):
            return None
        below = [path[1:] for path in self.paths if path[0] in (key, "*")]
        return None if () in below else Inside(tuple(below), self.names)

    def followed(self, segments: list[str]) -> tuple[Inside | None, int]:
        """What is to be hidden below a path, and how many of its segments that took.

        A number may be the place in a list, which is passed through, or a key.
        """
        inside = self
        for at, segment in enumerate(segments, 1):
            below = inside.entered(segment)
            if below is None:
                return None, at
            passed = inside.paths if segment.isdecimal() else ()
            inside = Inside((*below.paths, *passed), self.names)
        return inside, len(segments)

    def hide(self, value: Any) -> Any:
        """The value with `MASKED` in place of what is to be hidden."""
        if isinstance(value, Mapping):
            return {key: self._hidden(key, item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self.hide(item) for item in value])
        return value

    def _hidden(self, key: Any, item: Any) -> Any:
        below = self.entered(str(key))
        return MASKED if below is None else below.hide(item)

    def changed(self, old: Any, new: Any) -> Iterator[tuple[str, ...]]:
        """Where something hidden was replaced by something else that is hidden, too."""
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for key in old:
                if not isinstance(key, str) or key not in new:
                    continue
                below = self.entered(key)
                if below is not None:
                    yield from ((key, *place) for place in below.changed(old[key], new[key]))
                elif not same(old[key], new[key]):
                    yield (key,)
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            for at, (one, other) in enumerate(zip(old, new, strict=True)):
                yield from ((str(at), *place) for place in self.changed(one, other))


def hidden_places(value: Any) -> Iterator[str]:
    """The paths of what is hidden inside a value."""
    return (join_path(*place) for place in _hidden_places(value))


def _hidden_places(value: Any) -> Iterator[tuple[str, ...]]:
    for key, item in _items(value):
        if is_hidden(item):
            yield (str(key),)
        else:
            yield from ((str(key), *place) for place in _hidden_places(item))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return iter(value.items())
    return enumerate(value) if isinstance(value, list | tuple) else iter(())


def without_hidden(value: Any) -> Any:
    """The value without the keys, and the elements of lists, that are hidden."""
    if isinstance(value, Mapping):
        return {key: without_hidden(one) for key, one in value.items() if not is_hidden(one)}
    if isinstance(value, list | tuple):
        return type(value)([without_hidden(one) for one in value if not is_hidden(one)])
    return value


def fits(value: Any, live: Any) -> bool:
    """Whether all that is hidden inside a value is hidden at the same place of the live one.

    An element of a list has to be the same one for that, as far as can be seen.
    """
    if is_hidden(value):
        return is_hidden(live)
    if isinstance(value, Mapping):
        found = live if isinstance(live, Mapping) else {}
        return all(fits(item, found.get(key, ABSENT)) for key, item in value.items())
    if isinstance(value, list | tuple):
        there = live if isinstance(live, list | tuple) else ()
        return all(
            (at < len(there) and same(item, there[at]))
            for at, item in enumerate(value)
            if is_hidden(item) or any(hidden_places(item))
        )
    return True


def filled(value: Any, present: Any) -> Any:
    """A value that fits, with what is hidden taken from the present one."""
    if is_hidden(value):
        return present
    if isinstance(value, Mapping) and isinstance(present, Mapping):
        return {key: filled(item, present.get(key)) for key, item in value.items()}
    if isinstance(value, list | tuple) and isinstance(present, list | tuple):
        there = (*present, *[None] * len(value))
        return type(value)([filled(item, there[at]) for at, item in enumerate(value)])
    return value
