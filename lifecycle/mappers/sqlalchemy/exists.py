"""Hiding rows from the ``EXISTS`` of ``any()`` and ``has()``.

The criteria of a loader pass it by: in SQLAlchemy 2.0 it has a table to select from and no entity,
and in 2.1, where it leads back to its own table, they are put to the outer one. Here they are put
into it before the statement is executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Alias, Column, ColumnElement, Exists, Select, Subquery
from sqlalchemy.sql.visitors import cloned_traverse, iterate

__all__ = ["without_marked"]


def without_marked(statement: Any, marks: Sequence[Column[Any]]) -> Any:
    """The statement with an ``EXISTS`` in its criteria finding only rows whose mark is empty.

    So does the subquery of a statement that only counts what that finds.
    """
    criteria: tuple[Any, ...] = getattr(statement, "_where_criteria", ())
    if any(isinstance(part, Exists) for one in criteria for part in iterate(one)):

        def hide(unary: Any) -> None:
            if isinstance(unary, Exists):
                unary.element = unary.where(*_unmarked(unary, marks)).element

        statement = statement._clone()
        statement._where_criteria = tuple(
            cloned_traverse(one, {}, {"unary": hide}) for one in criteria
        )
    sources: tuple[Any, ...] = getattr(statement, "_from_obj", ())
    if len(sources) == 1 and _only_counts(statement):
        within = _within(sources[0], marks)
        if within is not sources[0]:
            statement = statement._clone()
            statement._from_obj = (within,)
    return statement


def _within(source: Any, marks: Sequence[Column[Any]]) -> Any:
    """A subquery, as it is or under a name, without those either."""
    if isinstance(source, Select):
        return without_marked(source, marks)
    if isinstance(source, Alias | Subquery):
        element = _within(source.element, marks)
        if element is not source.element:
            source = source._clone()
            source.element = element
    return source


def _unmarked(exists: Exists, marks: Sequence[Column[Any]]) -> Iterator[ColumnElement[bool]]:
    selected = getattr(exists.element, "element", None)
    for source in selected._from_obj if isinstance(selected, Select) else ():
        for mark in marks:
            column = source.corresponding_column(mark)
            if column is not None:
                yield column.is_(None)


def _only_counts(statement: Any) -> bool:
    """Whether a statement names no column of what it selects from."""
    named = (*getattr(statement, "_raw_columns", ()), *statement._where_criteria)
    return not any(one._from_objects for one in named)
