"""What can happen to one value, and how one such delta follows another.

- `Change`: the value was replaced,
- `ListEdit`: elements of a list were inserted, removed or changed inside,
- `SetEdit`: elements of a set, or keys of a relationship, were added or removed.

Values inside a value are named by paths such as ``address.zip`` or ``items.2.qty``; a segment that
contains a dot or a tilde is escaped (``~1`` and ``~0``, after RFC 6901). Deltas by path are worked
on as a tree with one level per segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

from msgspec import Struct

from lifecycle import codec
from lifecycle.equality import same
from lifecycle.errors import ConflictError
from lifecycle.markers import ABSENT, Erased, Marker, is_hidden

__all__ = [
    "Change",
    "Delta",
    "ListEdit",
    "SetEdit",
    "Splice",
    "Within",
    "by_exact_value",
    "composed",
    "conflicts",
    "flat",
    "join_path",
    "patched",
    "split_path",
    "tree",
    "value_at",
]


# --- paths ----------------------------------------------------------------------------------


def join_path(*segments: str) -> str:
    """One path from its segments, each escaped."""
    return ".".join(
        segment.replace("~", "~0").replace(".", "~1")
        if "." in segment or "~" in segment
        else segment
        for segment in segments
    )


def split_path(path: str) -> list[str]:
    """The segments of a path, unescaped."""
    segments = path.split(".")
    if "~" in path:
        segments = [segment.replace("~1", ".").replace("~0", "~") for segment in segments]
    return segments


def value_at(value: Any, path: str) -> Any:
    """The value a state, or any other value, holds at a path, or ``ABSENT``."""
    for segment in split_path(path):
        value = _child(value, segment)
    return value


def _child(value: Any, segment: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(segment, ABSENT)
    if isinstance(value, list):
        return value[int(segment)] if _is_index(segment, value) else ABSENT
    return value if isinstance(value, Marker | Erased) else ABSENT


_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,17}")


def _is_index(segment: str, elements: list[Any]) -> bool:
    return _INDEX.fullmatch(segment) is not None and int(segment) < len(elements)


# --- deltas ---------------------------------------------------------------------------------


class _Exact(Struct, frozen=True, eq=False):
    """Equality of all parts by `same`."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            same(getattr(self, name), getattr(other, name)) for name in self.__struct_fields__
        )

    __hash__ = None  # type: ignore[assignment]  # the values may be of any kind, lists included


# There are as many of these as values are written, and nothing in one can lead back to it.
class Change(_Exact, frozen=True, eq=False, gc=False):
    """A value was replaced: what it was before and what it is after.

    ``ABSENT`` says there was, or is, no value; ``UNKNOWN`` that it cannot be known.
    """

    old: Any
    new: Any

    def inverted(self) -> Change:
        """The change back."""
        return Change(self.new, self.old)


class Splice(_Exact, frozen=True, eq=False):
    """One step of a `ListEdit`: at ``index``, ``removed`` gave way to ``inserted``."""

    index: int
    removed: tuple[Any, ...]
    inserted: tuple[Any, ...]

    def inverted(self) -> Splice:
        """The step back."""
        return Splice(self.index, self.inserted, self.removed)

    def applied_to(self, elements: list[Any]) -> list[Any]:
        """The list after this step; ``ConflictError`` when the removed elements are not there."""
        end = self.index + len(self.removed)
        if self.index > len(elements) or not same(tuple(elements[self.index : end]), self.removed):
            raise ConflictError(
                f"the list no longer holds the {len(self.removed)} elements expected at index "
                f"{self.index}: it has been changed since; compare it with its history"
            )
        return [*elements[: self.index], *self.inserted, *elements[end:]]


class Within(_Exact, frozen=True, eq=False):
    """One step of a `ListEdit`: elements changed inside, by paths that start with their index."""

    deltas: Mapping[str, Delta]

    def inverted(self) -> Within:
        """The step back."""
        return Within({path: delta.inverted() for path, delta in self.deltas.items()})

    def applied_to(self, elements: list[Any]) -> list[Any]:
        """The list after this step; ``ConflictError`` when an element named is not as it was."""
        if changed := conflicts(self.deltas, elements):
            raise ConflictError(
                f"elements of the list are no longer as expected at {', '.join(changed)}: they "
                "have been changed since; compare the list with its history"
            )
        return cast("list[Any]", patched(elements, tree(self.deltas)))


class ListEdit(_Exact, frozen=True, eq=False):
    """Elements of a list changed; each step's indices count in the list the step before left."""

    steps: tuple[Splice | Within, ...]

    def inverted(self) -> ListEdit:
        """The edit back."""
        return ListEdit(tuple(step.inverted() for step in reversed(self.steps)))

    def applied_to(self, value: Any) -> Any:
        """The list after this edit; ``ConflictError`` when it does not fit."""
        if is_hidden(value):
            return value
        if not isinstance(value, list):
            raise _misfit("the edit of a list", value)
        for step in self.steps:
            value = step.applied_to(value)
        return value


class SetEdit(_Exact, frozen=True, eq=False):
    """Elements of a set, or keys of a relationship collection, were added and removed."""

    added: frozenset[Any]
    removed: frozenset[Any]

    def inverted(self) -> SetEdit:
        """The edit back."""
        return SetEdit(self.removed, self.added)

    def applied_to(self, value: Any) -> Any:
        """The set after this edit, of the same type; no value at all counts as an empty set.

        Raises ``ConflictError`` when an added element is there already or a removed one is not.
        """
        if is_hidden(value):
            return value
        if value is ABSENT or value is None:
            value = frozenset()
        if not isinstance(value, set | frozenset):
            raise _misfit("the edit of a set", value)
        removed = by_exact_value(self.removed)
        kept = {element for key, element in by_exact_value(value).items() if key not in removed}
        gone = len(kept) + len(removed) - len(value)
        if gone or kept & self.added:
            raise ConflictError(
                f"the set no longer holds {gone} of the {len(removed)} elements to remove, and "
                f"holds {len(kept & self.added)} of the {len(self.added)} to add: it has been "
                "changed since; compare it with its history"
            )
        kept |= self.added
        return frozenset(kept) if isinstance(value, frozenset) else kept


Delta: TypeAlias = Change | ListEdit | SetEdit
"""What can happen to one value."""


def conflicts(deltas: Mapping[str, Delta], value: Any) -> dict[str, Any]:
    """The paths whose value is not what it was before these deltas, with what is there."""
    found = {path: value_at(value, path) for path in deltas}
    return {
        path: item
        for path, item in found.items()
        if not _fits(deltas[path], item) or (item is ABSENT and not _has_place(value, path))
    }


def _fits(delta: Delta, value: Any) -> bool:
    if isinstance(delta, Change):
        return is_hidden(delta.old) or same(delta.old, value)
    if is_hidden(value):
        return False
    try:
        delta.applied_to(value)
    except ConflictError:
        return False
    return True


def _has_place(value: Any, path: str) -> bool:
    """Whether a value that is absent could be put there: a field of a state, or a key of a map."""
    *parents, _ = split_path(path)
    return not parents or isinstance(value_at(value, join_path(*parents)), Mapping)


def by_exact_value(elements: Iterable[Any]) -> dict[bytes, Any]:
    """The elements under keys that tell 1, 1.0 and True apart, which are equal in a set."""
    return {codec.canonical(element): element for element in elements}


def _misfit(what: str, value: object) -> ConflictError:
    return ConflictError(
        f"{what} does not fit a value of type {type(value).__name__}: it has been replaced since; "
        "compare it with its history"
    )


# --- deltas by path, as a tree --------------------------------------------------------------

Tree: TypeAlias = "dict[str, Delta | Tree]"
Node: TypeAlias = "Delta | Tree"


def tree(deltas: Mapping[str, Delta]) -> Tree:
    """Deltas by path as nested dicts; ``ConflictError`` when one path lies inside another."""
    root: Tree = {}
    for path, delta in deltas.items():
        *heads, last = split_path(path)
        node = root
        for head in heads:
            below = node.setdefault(head, {})
            if not isinstance(below, dict):
                raise _overlap(path)
            node = below
        if last in node:
            raise _overlap(path)
        node[last] = delta
    return root


def _overlap(path: str) -> ConflictError:
    return ConflictError(
        f"two changes overlap at {path!r}: one path is the beginning of the other; keep one of them"
    )


def flat(node: Tree, prefix: tuple[str, ...] = ()) -> dict[str, Delta]:
    """The deltas of a tree by path."""
    out: dict[str, Delta] = {}
    for segment, below in node.items():
        if isinstance(below, dict):
            out.update(flat(below, (*prefix, segment)))
        else:
            out[join_path(*prefix, segment)] = below
    return out


def patched(value: Any, node: Node) -> Any:
    """The value after a delta, or after the deltas of a tree; never changes it in place."""
    if isinstance(node, Change):
        return node.new
    if isinstance(node, ListEdit | SetEdit):
        return node.applied_to(value)
    if isinstance(value, Mapping):
        return _patched_map(value, node)
    if isinstance(value, list):
        return _patched_list(value, node)
    if is_hidden(value):
        return value
    raise _misfit(f"a change of what is inside ({', '.join(node)})", value)


def _patched_map(value: Mapping[str, Any], node: Tree) -> dict[str, Any]:
    result = dict(value)
    for segment, below in node.items():
        item = patched(result.get(segment, ABSENT), below)
        if item is ABSENT:
            result.pop(segment, None)
        else:
            result[segment] = item
    return result


def _patched_list(value: list[Any], node: Tree) -> list[Any]:
    result = list(value)
    for segment, below in node.items():
        if not _is_index(segment, result):
            raise ConflictError(
                f"the list no longer has an element {segment!r}: it has been changed since; "
                "compare it with its history"
            )
        result[int(segment)] = patched(result[int(segment)], below)
    return result


def _inverted(node: Node) -> Node:
    if isinstance(node, dict):
        return {segment: _inverted(below) for segment, below in node.items()}
    return node.inverted()


def composed(first: Node, second: Node) -> Node:
    """One node with the effect of both, in that order."""
    if isinstance(second, Change):
        old = first.old if isinstance(first, Change) else patched(second.old, _inverted(first))
        return Change(old, second.new)
    if isinstance(first, Change):
        return Change(first.old, patched(first.new, second))
    if isinstance(first, dict) and isinstance(second, dict):
        merged: Tree = dict(first)
        for segment, below in second.items():
            merged[segment] = composed(merged[segment], below) if segment in merged else below
        return merged
    if isinstance(first, SetEdit) and isinstance(second, SetEdit):
        return _composed_sets(first, second)
    if isinstance(first, SetEdit) or isinstance(second, SetEdit):
        raise ConflictError("the edit of a set and the edit of a list cannot follow one another")
    return ListEdit(_joined(_steps(first), _steps(second)))


def _composed_sets(first: SetEdit, second: SetEdit) -> SetEdit:
    added, removed = by_exact_value(first.added), by_exact_value(first.removed)
    added_then, removed_then = by_exact_value(second.added), by_exact_value(second.removed)
    return SetEdit(
        _without(added, removed_then) | _without(added_then, removed),
        _without(removed, added_then) | _without(removed_then, added),
    )


def _without(elements: dict[bytes, Any], others: dict[bytes, Any]) -> frozenset[Any]:
    return frozenset(element for key, element in elements.items() if key not in others)


def _steps(node: ListEdit | Tree) -> tuple[Splice | Within, ...]:
    return (Within(flat(node)),) if isinstance(node, dict) else node.steps


def _joined(
    first: tuple[Splice | Within, ...], second: tuple[Splice | Within, ...]
) -> tuple[Splice | Within, ...]:
    """Steps one after the other; two neighbours that change elements inside become one.

    Without that, how the steps were grouped would show, and `composed` would not be associative.
    """
    if not first or not second:
        return first + second
    left, right = first[-1], second[0]
    if isinstance(left, Within) and isinstance(right, Within):
        merged = composed(tree(left.deltas), tree(right.deltas))
        return (*first[:-1], Within(flat(cast("Tree", merged))), *second[1:])
    return first + second
