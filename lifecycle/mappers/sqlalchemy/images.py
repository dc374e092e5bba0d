"""Rows as a statement finds them and as it leaves them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Select, select

from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.rows import Identity, Rows, RowValues
from lifecycle.mappers.sqlalchemy.tables import ReadTable
from lifecycle.spooling import CHUNK, chunks

__all__ = [
    "PORTION",
    "TOGETHER",
    "Found",
    "found",
    "found_in_portions",
    "portions_of",
    "row_by_identity",
    "rows_by_identity",
    "rows_of",
]

PORTION: Final = CHUNK
"""How many rows of a statement are compared and recorded at a time.

They are so few that Python looks for no garbage while it works on them.
"""

TOGETHER: Final = 8 * CHUNK
"""How many rows are asked for at a time once a statement has run."""


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
    """The rows of a result, some at a time."""
    while (rows := _next(result, PORTION)) is not None:
        yield rows


def _next(result: Any, count: int) -> Rows | None:
    """The next rows of a result, with values as the types of their columns give them.

    Past SQLAlchemy's own rows: an object for each is much of what it takes to read them.
    """
    some = result._fetchmany_impl(count)
    if not some:
        return None
    keys = tuple(result.keys())
    processors = result._metadata._effective_processors or (None,) * len(keys)
    columns = zip(keys, zip(*some, strict=True), processors, strict=True)
    return Rows(
        {
            key: values if process is None else tuple(map(process, values))
            for key, values, process in columns
        }
    )


def rows_of(connection: Connection, query: Select[Any]) -> Iterator[RowValues]:
    """The same, row by row."""
    return chain.from_iterable(portions_of(connection, query))


Identities: TypeAlias = Sequence[Sequence[Any]]
"""Identities in columns."""


class Found:
    """The rows that have some identities.

    They are by the identities that they have, which need not be equal to what they were asked for
    by: a database makes 5 of "5", and pads or rounds what it is given.
    """

    def __init__(self, rows: _Placed, wanted: Identities, *, others: bool) -> None:
        self._rows: Final = rows
        self._wanted: Final = wanted
        self._others: Final = others
        """Whether there may be rows that were not asked for."""

    def in_order(self) -> Rows | None:
        """The rows in the order of their identities; ``None`` unless they are just those."""
        if self._rows.are(self._wanted):  # as a rule
            return self._rows.rows
        places = self._rows.places
        wanted = list(zip(*self._wanted, strict=True))
        if not self._others and len(places) != len(set(wanted)):
            return None
        try:
            return self._rows.rows.picked([places[one] for one in wanted])
        except KeyError:
            return None

    def by_identity(self) -> dict[Identity, RowValues]:
        """Those that are there."""
        places = self._rows.places
        if not self._others:
            return dict(zip(places, self._rows.rows.picked([*places.values()]), strict=True))
        them = [one for one in dict.fromkeys(zip(*self._wanted, strict=True)) if one in places]
        return dict(zip(them, self._rows.rows.picked([places[one] for one in them]), strict=True))


class _Placed:
    """Rows, and where each is among them by its identity."""

    def __init__(self, rows: Rows, table: ReadTable) -> None:
        self.rows: Final = rows
        self._identities: Final = rows.of(column.key for column in table.identity)

    def are(self, wanted: Identities) -> bool:
        """Whether these are the identities of the rows, in order."""
        return self._identities == [*map(tuple, wanted)]

    @cached_property
    def places(self) -> dict[Identity, int]:
        return {identity: at for at, identity in enumerate(zip(*self._identities, strict=True))}


def found(
    connection: Connection,
    table: ReadTable,
    wanted: Identities,
    columns: Sequence[Column[Any]] = (),
) -> Found:
    """The rows that have some identities, with all columns or some."""
    columns = columns or table.columns
    coming, span = _asked(connection, table, wanted, columns)
    rows = _together([rows for result in coming for rows in _portions(result)], columns)
    return Found(_Placed(rows, table), wanted, others=span)


def found_in_portions(
    connection: Connection,
    table: ReadTable,
    wanted: Sequence[Identities],
    columns: Sequence[Column[Any]],
) -> Iterator[Found]:
    """The same of some portions, which are asked for together.

    While rows come in the order of their identities, as they do as a rule, those of a portion are
    not taken from the driver before it is their turn.
    """
    every = [(*chain.from_iterable(some),) for some in zip(*wanted, strict=True)]
    results, _ = _asked(connection, table, every, columns)
    waiting = deque(wanted)
    try:
        while waiting:
            taken = _taken(results, len(waiting[0][0]))
            placed = _Placed(_together(taken, columns), table)
            if not placed.are(waiting[0]):
                break
            yield Found(placed, waiting.popleft(), others=False)
        else:
            return
        rest = (rows for result in results for rows in _portions(result))
        placed = _Placed(_together([*taken, *rest], columns), table)
    finally:
        for result in results:
            result.close()
    for some in waiting:
        yield Found(placed, some, others=True)


def _asked(
    connection: Connection,
    table: ReadTable,
    wanted: Identities,
    columns: Sequence[Column[Any]],
) -> tuple[list[Any], bool]:
    """Results with the rows, each row in one, and whether there may be others in them."""
    query, span = select(*columns), _span(wanted)
    criteria = _holding(table, wanted, span)
    return [connection.execute(query.where(one)) for one in criteria], span is not None


def _taken(results: Sequence[Any], count: int) -> list[Rows]:
    """The next rows of some results, as many as there are of so many."""
    found: list[Rows] = []
    for result in results:
        while count and (rows := _next(result, count)) is not None:
            found.append(rows)
            count -= len(rows)
    return found


def _together(some: Sequence[Rows], columns: Sequence[Column[Any]]) -> Rows:
    if len(some) == 1:
        return some[0]
    keys = [column.key for column in columns]
    return Rows({key: (*chain.from_iterable(one.columns[key] for one in some),) for key in keys})


def rows_by_identity(
    connection: Connection,
    table: ReadTable,
    identities: Sequence[Identity],
    columns: Sequence[Column[Any]] = (),
) -> dict[Identity, RowValues]:
    """The rows that have one of a chunk of identities, with all columns or some, as `Found`."""
    return found(connection, table, [*zip(*identities, strict=True)], columns).by_identity()


def row_by_identity(
    connection: Connection,
    table: ReadTable,
    identity: Identity,
    columns: Sequence[Column[Any]] = (),
) -> RowValues | None:
    """The row that the database has for an identity, whatever it has made of that."""
    rows = rows_by_identity(connection, table, [identity], columns)
    return next(iter(rows.values()), None) if len(rows) == 1 else None


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
