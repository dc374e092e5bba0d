"""Criteria that find rows by their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, TupleType, and_, bindparam, or_, tuple_

__all__ = ["is_one_of"]


def is_one_of(columns: Sequence[Any], values: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    """The criterion that some columns together have one of some values.

    The values are sent as what the columns hold, whatever they are in Python: a key may be "5".
    """
    if any(None in value for value in values):  # which IN never finds
        return or_(
            *(
                and_(*(column == part for column, part in zip(columns, value, strict=True)))
                for value in values
            )
        )
    types = [column.type for column in columns]
    if len(columns) == 1:
        column: ColumnElement[Any] = columns[0]
        return column.in_(_typed([value for (value,) in values], types[0]))
    return tuple_(*columns).in_(_typed([tuple(value) for value in values], TupleType(*types)))


def _typed(values: list[Any], type_: Any) -> Any:
    return bindparam(None, values, type_=type_, expanding=True, unique=True)
