"""Changes of many objects in columns, parted by which of their fields changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple, TypeAlias

from lifecycle.forms import Column

__all__ = ["KINDS", "Alike", "Changed", "differing", "parted", "without_unchanged"]

Changed: TypeAlias = Mapping[str, tuple[Column, Column]]
"""The old and the new values of some objects, by the name of the field."""

KINDS: Final = 20
"""With more combinations of changed fields than this, columns are of no use."""


class Alike(NamedTuple):
    """Those objects of which the same fields were written, a column for each of the ``names``.

    ``places`` are where they are among all. A column of an UPDATE is a pair, the old values and the
    new.
    """

    names: tuple[str, ...]
    places: Sequence[int]
    columns: Sequence[Any]


def differing(olds: Column, news: Column) -> list[bool]:
    """Of each of some pairs of values, whether they differ by ``==``."""
    return [old is not new and old != new for old, new in zip(olds, news, strict=True)]


def parted(
    changed: Changed, differ: Sequence[Sequence[bool]], places: Sequence[int]
) -> list[Alike]:
    """The changes of the objects at some places, by what has changed.

    ``differ`` says for each field of which objects it has. Those of which nothing has changed are
    left out.
    """
    if differ and all(map(all, differ)):  # as a rule
        return [Alike(tuple(changed), places, [*changed.values()])]
    by_mask: dict[tuple[bool, ...], list[int]] = {}
    for number, mask in enumerate(zip(*differ, strict=True)):
        by_mask.setdefault(mask, []).append(number)
    parts = []
    for mask, numbers in by_mask.items():
        names = tuple(compress(changed, mask))
        if names:
            columns = [_picked(changed[name], numbers) for name in names]
            parts.append(Alike(names, [places[number] for number in numbers], columns))
    return parts


def _picked(pair: tuple[Column, Column], numbers: Sequence[int]) -> tuple[Column, Column]:
    olds, news = pair
    return [olds[number] for number in numbers], [news[number] for number in numbers]


def without_unchanged(keys: list[str], parts: list[Alike]) -> tuple[list[str], list[Alike]]:
    """The keys of the objects that some part has, and the parts with places among these."""
    if sum(len(part.places) for part in parts) == len(keys):
        return keys, parts
    told = sorted(place for part in parts for place in part.places)
    number = {place: number for number, place in enumerate(told)}
    return [keys[place] for place in told], [
        one._replace(places=[number[place] for place in one.places]) for one in parts
    ]
