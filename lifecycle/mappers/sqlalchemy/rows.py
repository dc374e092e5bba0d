"""Rows of tables, by themselves and many together, and as a statement found and left them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import repeat
from typing import Any, Final, TypeAlias

__all__ = ["Identity", "Images", "Pair", "RowValues", "Rows"]

RowValues: TypeAlias = Mapping[str, Any]
"""One row: values by the key of their column."""

Pair: TypeAlias = "tuple[RowValues | None, RowValues | None]"
"""One row before and after a statement; ``None`` where there is no such row."""

Identity: TypeAlias = tuple[Any, ...]
"""What tells a row from the others."""


class Rows:
    """Some rows in columns, each the values of all rows; one by one when they are iterated."""

    __slots__ = ("columns", "count")

    def __init__(self, columns: Mapping[str, tuple[Any, ...]]) -> None:
        self.columns: Final = columns
        self.count: Final = len(next(iter(columns.values())))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[RowValues]:
        keys = tuple(self.columns)
        for row in zip(*self.columns.values(), strict=True):
            yield dict(zip(keys, row, strict=True))

    def __reduce__(self) -> tuple[Callable[..., Rows], tuple[Any, ...]]:
        return _unpacked, ({key: _packed(values) for key, values in self.columns.items()},)

    def of(self, keys: Iterable[str]) -> list[tuple[Any, ...]]:
        """Some of the columns."""
        return [self.columns[key] for key in keys]

    def picked(self, places: Sequence[int]) -> Rows:
        """The rows at these places, in their order."""
        return Rows(
            {key: tuple([values[at] for at in places]) for key, values in self.columns.items()}
        )


def _packed(values: tuple[Any, ...]) -> tuple[Any, ...] | str:
    """A column as it is pickled: Decimals by their texts, which takes a fourth of the time."""
    return "\n".join(map(str, values)) if set(map(type, values)) == {Decimal} else values


def _unpacked(columns: Mapping[str, tuple[Any, ...] | str]) -> Rows:
    return Rows(
        {
            key: tuple(map(Decimal, packed.split("\n"))) if isinstance(packed, str) else packed
            for key, packed in columns.items()
        }
    )


class Images:
    """Rows before and after a statement that all of them were there for, in the same order.

    Before it there is none when all came with it, after it none when all are gone. Iterating gives
    the pair of each row.
    """

    __slots__ = ("after", "before")

    def __init__(self, before: Rows | None, after: Rows | None) -> None:
        self.before: Final = before
        self.after: Final = after

    def __iter__(self) -> Iterator[Pair]:
        before = repeat(None) if self.before is None else self.before
        after = repeat(None) if self.after is None else self.after
        return zip(before, after, strict=False)
