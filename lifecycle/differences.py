"""How to get from one value to another, in the smallest form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import Match, SequenceMatcher
from itertools import accumulate, takewhile
from typing import Any, Final

from lifecycle import codec
from lifecycle.deltas import (
    Change,
    Delta,
    ListEdit,
    SetEdit,
    Splice,
    Within,
    by_exact_value,
    join_path,
)
from lifecycle.equality import same
from lifecycle.errors import EncodingError
from lifecycle.markers import ABSENT

__all__ = ["differences", "weight"]

_PATIENCE: Final = 500_000  # comparisons for one pair of lists; well under a second


def differences(path: tuple[str, ...], old: Any, new: Any) -> dict[str, Delta]:
    """The deltas from one value to another, by paths that start with the one given.

    Maps with text keys, lists and sets are compared inside where that takes less room in the log.
    """
    if same(old, new):
        return {}
    whole: dict[str, Delta] = {join_path(*path): Change(old, new)}
    kind = codec.kind_of(old)
    look_inside = _INSIDE.get(kind)
    if look_inside is None or kind is not codec.kind_of(new):
        return whole
    try:
        return min(whole, look_inside(path, old, new), key=weight)
    except EncodingError:  # what cannot be written cannot be weighed, nor matched with others
        return whole


def _is_plain(value: dict[Any, Any]) -> bool:
    """Whether every key can be a segment of a path."""
    return all(type(key) is str and codec.is_text(key) for key in value)


def _map_differences(path: tuple[str, ...], old: Any, new: Any) -> dict[str, Delta]:
    if not (_is_plain(old) and _is_plain(new)):
        return {join_path(*path): Change(old, new)}
    found: dict[str, Delta] = {}
    for key in dict.fromkeys((*old, *new)):
        found |= differences((*path, key), old.get(key, ABSENT), new.get(key, ABSENT))
    return found


def _list_differences(path: tuple[str, ...], old: list[Any], new: list[Any]) -> dict[str, Delta]:
    edit: dict[str, Delta] = {join_path(*path): _list_edit(old, new)}
    if len(old) != len(new):
        return edit
    by_index: dict[str, Delta] = {}
    for index, (was, now) in enumerate(zip(old, new, strict=True)):
        by_index |= differences((*path, str(index)), was, now)
    return min(by_index, edit, key=weight)


def _set_differences(path: tuple[str, ...], old: Any, new: Any) -> dict[str, Delta]:
    was, now = by_exact_value(old), by_exact_value(new)
    edit = SetEdit(
        frozenset(now[key] for key in now.keys() - was.keys()),
        frozenset(was[key] for key in was.keys() - now.keys()),
    )
    return {join_path(*path): edit}


_INSIDE: Final[dict[type, Callable[[tuple[str, ...], Any, Any], dict[str, Delta]]]] = {
    dict: _map_differences,
    list: _list_differences,
    set: _set_differences,
    frozenset: _set_differences,
}


# --- lists ----------------------------------------------------------------------------------


def _list_edit(old: list[Any], new: list[Any]) -> ListEdit:
    start = _alike(zip(old, new, strict=False))
    longest_end = min(len(old), len(new)) - start
    end = min(_alike(zip(reversed(old), reversed(new), strict=False)), longest_end)
    splices = [
        Splice(start + at, tuple(old[start + at : start + to]), tuple(new[start + b : start + c]))
        for at, to, b, c in _replacements(
            [codec.canonical(element) for element in old[start : len(old) - end]],
            [codec.canonical(element) for element in new[start : len(new) - end]],
        )
    ]
    # From the end to the beginning, so that indices in the old list hold at every step.
    return ListEdit(tuple(reversed(splices)))


def _alike(pairs: Iterable[tuple[Any, Any]]) -> int:
    """How many pairs are the same before the first that is not."""
    return sum(1 for _ in takewhile(lambda pair: same(*pair), pairs))


def _replacements(old: list[bytes], new: list[bytes]) -> Iterator[tuple[int, int, int, int]]:
    if not old or not new:
        yield 0, len(old), 0, len(new)
        return
    for kind, *bounds in _Matcher(old, new).get_opcodes():
        if kind != "equal":
            at, to, b, c = bounds
            yield at, to, b, c


class _Matcher(SequenceMatcher[bytes]):
    """Stops looking for matches when its patience is used up.

    Its work can grow with the cube of the length; what it did not look at counts as replaced.
    """

    def __init__(self, old: list[bytes], new: list[bytes]) -> None:
        super().__init__(None, old, new, autojunk=False)
        self._patience = _PATIENCE
        # The work up to each element: one step, and one for each place where the new list has it.
        places = Counter(new)
        self._work = list(accumulate((1 + places[element] for element in old), initial=0))

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """The longest match between the bounds, or an empty one."""
        end = len(self._work) - 1 if ahi is None else ahi
        work = self._work[end] - self._work[alo]
        if work > self._patience:
            return Match(alo, blo, 0)
        self._patience -= work
        return super().find_longest_match(alo, ahi, blo, bhi)


# --- weights --------------------------------------------------------------------------------


def weight(deltas: Mapping[str, Delta]) -> int:
    """About how many bytes deltas by path take in the log."""
    return sum(len(path) + 6 + _delta_weight(delta) for path, delta in deltas.items())


def _delta_weight(delta: Delta) -> int:
    if isinstance(delta, Change):
        return _values_weight((delta.old, delta.new))
    if isinstance(delta, SetEdit):
        return 8 + _values_weight((*delta.added, *delta.removed))
    return sum(8 + _step_weight(step) for step in delta.steps)


def _step_weight(step: Splice | Within) -> int:
    if isinstance(step, Within):
        return weight(step.deltas)
    return _values_weight((*step.removed, *step.inserted))


def _values_weight(values: Iterable[Any]) -> int:
    return sum(len(codec.canonical(value)) + 1 for value in values)
