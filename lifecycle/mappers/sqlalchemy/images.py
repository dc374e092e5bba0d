"""Rows as a statement finds them and as it leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Select, select

from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.tables import ReadTable, RowValues
from lifecycle.spooling import CHUNK

__all__ = ["Identity", "row_by_identity", "rows_by_identity", "rows_of"]

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
    """The rows that have one of a chunk of identities, with all columns or some.

    They are by the identities that they have, which need not be equal to what they were asked for
    by: a database makes 5 of "5", and pads or rounds what it is given.
    """
    if not identities:
        return {}
    span = _span(identities)
    criterion = is_one_of(table.identity, identities) if span is None else _within(table, span)
    found = connection.execute(select(*(columns or table.columns)).where(criterion))
    keys = tuple(found.keys())
    places = [keys.index(column.key) for column in table.identity]
    # A slice, for of one place itemgetter gives no tuple.
    alone = [slice(place, place + 1) for place in places[:1]]
    identity_of = itemgetter(*(places if len(places) > 1 else alone))
    rows: dict[Identity, RowValues] = {
        identity_of(row): dict(zip(keys, row, strict=True)) for row in found.all()
    }
    if span is None:
        return rows
    wanted = set(identities)
    return {identity: row for identity, row in rows.items() if identity in wanted}


def row_by_identity(
    connection: Connection,
    table: ReadTable,
    identity: Identity,
    columns: Sequence[Column[Any]] = (),
) -> RowValues | None:
    """The row that the database has for an identity, whatever it has made of that."""
    found = rows_by_identity(connection, table, [identity], columns)
    return next(iter(found.values()), None) if len(found) == 1 else None


def _span(identities: Sequence[Identity]) -> tuple[int, int] | None:
    """The least and the greatest of numbers that lie close together.

    A range is much less to send, and to look up, than all the numbers in it.
    """
    if len(identities[0]) > 1 or len(identities) < 2:
        return None
    numbers = [number for (number,) in identities]
    if set(map(type, numbers)) != {int}:
        return None
    lowest, highest = min(numbers), max(numbers)
    return (lowest, highest) if highest - lowest < 2 * len(numbers) else None


def _within(table: ReadTable, span: tuple[int, int]) -> ColumnElement[bool]:
    (column,) = table.identity
    return column.between(*span)
