"""Rows as a statement finds them and as it leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, or_, select, tuple_

from lifecycle.mappers.sqlalchemy.tables import ReadTable, RowValues
from lifecycle.spooling import CHUNK

__all__ = ["Identity", "is_one_of", "rows_by_identity", "rows_of"]

Identity: TypeAlias = tuple[Any, ...]


def rows_of(connection: Connection, query: Select[Any]) -> Iterator[RowValues]:
    """The rows of a query of columns, by column key, without holding all of them."""
    streams = not connection._is_autocommit_isolation()  # a server's cursor needs a transaction
    options = {"yield_per": CHUNK} if streams else {}
    with connection.execute(query, execution_options=options) as result:
        keys = tuple(result.keys())
        for some in result.partitions(CHUNK):
            for row in some:
                yield dict(zip(keys, row, strict=True))


def rows_by_identity(
    connection: Connection,
    table: ReadTable,
    identities: Sequence[Identity],
    columns: Sequence[Column[Any]] = (),
) -> dict[Identity, RowValues]:
    """The rows that have one of a chunk of identities, with all columns or some."""
    if not identities:
        return {}
    query = select(*(columns or table.columns)).where(_holds(table.identity, identities))
    found = connection.execute(query)
    keys = tuple(found.keys())
    places = [keys.index(column.key) for column in table.identity]
    # A slice, for of one place itemgetter gives no tuple.
    alone = [slice(place, place + 1) for place in places[:1]]
    identity_of = itemgetter(*(places if len(places) > 1 else alone))
    wanted = set(identities)
    return {
        identity: dict(zip(keys, row, strict=True))
        for row in found.all()
        if (identity := identity_of(row)) in wanted
    }


def _holds(columns: Sequence[Column[Any]], values: Sequence[Identity]) -> ColumnElement[bool]:
    """A criterion that rows with one of these identities meet, and not many others.

    A range of numbers is much less to send, and to look up, than all the numbers in it.
    """
    numbers = [value[0] for value in values]
    if len(columns) == 1 and set(map(type, numbers)) == {int}:
        lowest, highest = min(numbers), max(numbers)
        if len(values) > 1 and highest - lowest < 2 * len(values):
            return columns[0].between(lowest, highest)
    return is_one_of(columns, values)


def is_one_of(
    columns: Sequence[ColumnElement[Any]], values: Sequence[Identity]
) -> ColumnElement[bool]:
    """The criterion that some columns together have one of some values."""
    if any(None in value for value in values):  # which IN never finds
        return or_(
            *(
                and_(*(column == part for column, part in zip(columns, value, strict=True)))
                for value in values
            )
        )
    if len(columns) == 1:
        return columns[0].in_([value[0] for value in values])
    return tuple_(*columns).in_(values)
