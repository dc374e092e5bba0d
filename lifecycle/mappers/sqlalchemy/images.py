"""Rows as a statement finds them and as it leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Select, select

from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.rows import Identity, Rows, RowValues
from lifecycle.mappers.sqlalchemy.tables import ReadTable
from lifecycle.spooling import CHUNK, chunks

__all__ = [
    "PORTION",
    "Found",
    "portions_of",
    "row_by_identity",
    "rows_by_identity",
    "rows_of",
]

PORTION: Final = 4 * CHUNK
"""How many rows of a statement are read, compared and recorded at a time."""


def portions_of(connection: Connection, query: Select[Any]) -> Iterator[Rows]:
    """The rows of a query of columns, without holding all of them."""
    streams = (
        connection.dialect.supports_server_side_cursors  # others have only cursors that stream
        and not connection._is_autocommit_isolation()  # a server's cursor needs a transaction
    )
    options = {"yield_per": PORTION} if streams else {}
    with connection.execute(query, execution_options=options) as result:
        yield from _portions(result)


def _portions(result: Any) -> Iterator[Rows]:
    """The rows of a result, with values as the types of their columns give them.

    Past SQLAlchemy's own rows: an object for each is much of what it takes to read them.
    """
    keys = tuple(result.keys())
    processors = result._metadata._effective_processors or (None,) * len(keys)
    while some := result._fetchmany_impl(PORTION):
        columns = zip(keys, zip(*some, strict=True), processors, strict=True)
        yield Rows(
            {
                key: values if process is None else tuple(map(process, values))
                for key, values, process in columns
            }
        )


def rows_of(connection: Connection, query: Select[Any]) -> Iterator[RowValues]:
    """The same, row by row."""
    return chain.from_iterable(portions_of(connection, query))


class Found:
    """The rows that have some identities, with all columns or some.

    ``wanted`` are the identities in columns. The rows are by the identities that they have, which
    need not be equal to what they were asked for by: a database makes 5 of "5", and pads or rounds
    what it is given.
    """

    def __init__(
        self,
        connection: Connection,
        table: ReadTable,
        wanted: Sequence[Sequence[Any]],
        columns: Sequence[Column[Any]] = (),
    ) -> None:
        columns = columns or table.columns
        query = select(*columns)
        span = _span(wanted)
        found = [
            rows
            for criterion in _holding(table, wanted, span)
            for rows in _portions(connection.execute(query.where(criterion)))
        ]
        self._rows: Final = found[0] if len(found) == 1 else _together(found, columns)
        self._wanted: Final = wanted
        self._found: Final = self._rows.of(column.key for column in table.identity)
        self._others: Final = span is not None
        """Whether there may be rows that were not asked for."""

    def in_order(self) -> Rows | None:
        """The rows in the order of their identities; ``None`` unless they are just those."""
        if self._found == [*map(tuple, self._wanted)]:  # as a rule
            return self._rows
        places = {identity: at for at, identity in enumerate(zip(*self._found, strict=True))}
        wanted = list(zip(*self._wanted, strict=True))
        if not self._others and len(places) != len(set(wanted)):
            return None
        try:
            return self._rows.picked([places[one] for one in wanted])
        except KeyError:
            return None

    def by_identity(self) -> dict[Identity, RowValues]:
        """Those that are there."""
        rows = dict(zip(zip(*self._found, strict=True), self._rows, strict=True))
        if not self._others:
            return rows
        them = set(zip(*self._wanted, strict=True))
        return {identity: row for identity, row in rows.items() if identity in them}


def _together(some: Sequence[Rows], columns: Sequence[Column[Any]]) -> Rows:
    keys = [column.key for column in columns]
    return Rows({key: (*chain.from_iterable(one.columns[key] for one in some),) for key in keys})


def rows_by_identity(
    connection: Connection,
    table: ReadTable,
    identities: Sequence[Identity],
    columns: Sequence[Column[Any]] = (),
) -> dict[Identity, RowValues]:
    """The rows that have one of a chunk of identities, with all columns or some, as `Found`."""
    return Found(connection, table, [*zip(*identities, strict=True)], columns).by_identity()


def row_by_identity(
    connection: Connection,
    table: ReadTable,
    identity: Identity,
    columns: Sequence[Column[Any]] = (),
) -> RowValues | None:
    """The row that the database has for an identity, whatever it has made of that."""
    found = rows_by_identity(connection, table, [identity], columns)
    return next(iter(found.values()), None) if len(found) == 1 else None


def _span(wanted: Sequence[Sequence[Any]]) -> tuple[int, int] | None:
    """The least and the greatest of numbers that lie close together.

    A range is much less to send, and to look up, than all the numbers in it.
    """
    if len(wanted) != 1 or len(wanted[0]) < 2 or set(map(type, wanted[0])) != {int}:
        return None
    lowest, highest = min(wanted[0]), max(wanted[0])
    return (lowest, highest) if highest - lowest < 2 * len(wanted[0]) else None


def _holding(
    table: ReadTable, wanted: Sequence[Sequence[Any]], span: tuple[int, int] | None
) -> Iterator[ColumnElement[bool]]:
    """Criteria that rows with these identities meet, each row one."""
    if span is not None:
        (column,) = table.identity
        yield column.between(*span)
        return
    for some in chunks(zip(*wanted, strict=True)):
        yield is_one_of(table.identity, some)
