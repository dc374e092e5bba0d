"""The JSON texts of many objects at once, as `lifecycle.codec` makes them one by one.

Objects that have values under the same names are worked on column by column: what a column holds is
of one type as a rule, or of none, and is then seen at one glance. The values of a column that is
not so plain are encoded one by one, and the other columns are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from math import isfinite
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from lifecycle import codec
from lifecycle.markers import Marker

__all__ = ["ATOMS", "Column", "Form", "Members"]

Column: TypeAlias = Sequence[Any]
"""The values that some objects have under one name."""


class Members(list[str]):
    """In place of a column: what each object has for the name, as text, under names of its own."""


_NONE: Final = type(None)

ATOMS: Final = frozenset(
    {
        _NONE,
        bool,
        int,
        float,
        str,
        bytes,
        Decimal,
        datetime,
        date,
        time,
        timedelta,
        UUID,
        Marker,
    }
)
"""Types of values that nobody can change in place."""

_AS_THEY_ARE: Final = frozenset({_NONE, str, bool})
"""Types of values that JSON takes as they are, strings with lone surrogates apart."""

_LARGEST: Final = 2**63 - 1

# What JSON is made of for many objects, unlike lists and dicts, never looked at to find cycles.
_Pair: Final = msgspec.defstruct("_Pair", ["old", "new"], array_like=True, gc=False)
_Decimal: Final = msgspec.defstruct("_Decimal", ["text"], rename={"text": "$decimal"}, gc=False)
_Date: Final = msgspec.defstruct("_Date", ["text"], rename={"text": "$date"}, gc=False)

_lines: Final = msgspec.json.Encoder().encode_lines
_to_builtins: Final = msgspec.to_builtins


class Form:
    """JSON objects that have these names, in this order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: Final = tuple(names)
        places = {f"_{number}": name for number, name in enumerate(self.names)}
        self._made: Final[Callable[..., Any] | None] = (
            msgspec.defstruct("Form", [*places], rename=places, gc=False)
            if all(map(str.isidentifier, self.names))  # so none of them has to be escaped
            else None
        )

    def texts(self, columns: Sequence[Column]) -> list[str] | None:
        """The text of each object; ``None`` when it takes the codec to make them.

        Raises what encoding a value raises.
        """
        return self._texts(list(map(_encoded, columns)))

    def texts_of_pairs(
        self, columns: Sequence[tuple[Column, Column] | Members]
    ) -> list[str] | None:
        """The same of objects that have two values under each name, or `Members`."""
        return self._texts(
            [
                column if isinstance(column, Members) else map(_Pair, *map(_encoded, column))
                for column in columns
            ]
        )

    def _texts(self, columns: Sequence[Iterable[Any]]) -> list[str] | None:
        if any(type(column) is Members for column in columns):
            return self._texts_with_members(columns)
        if self._made is None:
            return None
        try:
            lines = _lines(list(map(self._made, *columns))).decode()
        except UnicodeEncodeError:  # a string has a lone surrogate
            return None
        return lines.split("\n")[:-1]  # there are none within a text

    def _texts_with_members(self, columns: Sequence[Iterable[Any]]) -> list[str] | None:
        """What is between `Members` is made as ever, and put together with them."""
        parts: list[Iterable[str]] = []
        named = zip(self.names, columns, strict=True)
        for are_members, found in groupby(named, lambda one: type(one[1]) is Members):
            names, some = zip(*found, strict=True)
            if are_members:
                parts += some
                continue
            texts = Form(names)._texts(some)
            if texts is None:
                return None
            parts.append([text[1:-1] for text in texts])
        return [f"{{{','.join(members)}}}" for members in zip(*parts, strict=True)]


def _encoded(column: Column) -> Column:
    """Each value as `codec.encode` has it; strings stay as they are, lone surrogates and all."""
    kinds = set(map(type, column))
    if kinds <= _AS_THEY_ARE:
        return column
    if not kinds <= ATOMS:
        return list(map(codec.encode, column))
    found: list[Any] = list(column)
    if _NONE in kinds:
        kinds.discard(_NONE)
        found = [value for value in column if value is not None]
    if kinds == {int}:
        if min(found) >= -_LARGEST and max(found) <= _LARGEST:
            return column
    elif kinds == {float}:
        if all(map(isfinite, found)):
            return column
    elif len(found) == len(column):
        if kinds == {Decimal}:
            return list(map(_Decimal, map(str, column)))
        if kinds == {datetime}:
            return [
                codec.encode(value)
                if value.fold or ((zone := value.tzinfo) is not None and zone is not UTC)
                else _Date(_to_builtins(value))
                if zone is None
                else _Date(f"{_to_builtins(value)[:-1]}+00:00")
                for value in column
            ]
    return list(map(codec.encode, column))
