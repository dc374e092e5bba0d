"""Rows as a statement finds them and as it leaves them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import SEEK_END
from tempfile import TemporaryFile
from typing import IO, Any, Final, TypeAlias
from weakref import finalize

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, or_, select, tuple_

from lifecycle.mappers.sqlalchemy.tables import ReadTable, RowValues

__all__ = ["CHUNK", "Identity", "Spool", "chunks", "is_one_of", "rows_by_identity", "rows_of"]

CHUNK: Final = 500
"""How many rows are asked for, or kept in memory to be compared, at a time."""

Identity: TypeAlias = tuple[Any, ...]

_IN_MEMORY: Final = 20 * CHUNK


def rows_of(connection: Connection, query: Select[Any]) -> Iterator[RowValues]:
    """The rows of a query of columns, by column key, without holding all of them."""
    streams = not connection._is_autocommit_isolation()  # a server's cursor needs a transaction
    options = {"yield_per": CHUNK} if streams else {}
    with connection.execute(query, execution_options=options) as result:
        keys = tuple(result.keys())
        for row in result:
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
    wanted = set(identities)
    return {
        identity: dict(zip(keys, row, strict=True))
        for row in found
        if (identity := tuple([row[place] for place in places])) in wanted
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


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """Lists of at most so many items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Spool:
    """Rows kept for later: the first in memory, what goes beyond that in a temporary file."""

    def __init__(self, rows: Iterable[Any] = ()) -> None:
        self._first: Final[list[Any]] = []
        self._file: IO[bytes] | None = None
        self.count = 0
        self.add(rows)

    def add(self, rows: Iterable[Any]) -> None:
        """Keep more of them."""
        iterator = iter(rows)
        some = list(islice(iterator, max(0, _IN_MEMORY - self.count)))
        self._first.extend(some)
        self.count += len(some)
        for chunk in chunks(iterator):
            if self._file is None:
                self._file = TemporaryFile()  # noqa: SIM115  # closed with the spool
                finalize(self, self._file.close)
            self._file.seek(0, SEEK_END)
            pickle.dump(chunk, self._file, pickle.HIGHEST_PROTOCOL)
            self.count += len(chunk)

    def chunks(self) -> Iterator[list[Any]]:
        """All of them, in lists."""
        yield from chunks(self._first)
        if self._file is not None:
            self._file.seek(0)
            while True:
                try:
                    chunk = pickle.load(self._file)  # written above, by nobody else
                except EOFError:
                    return
                yield chunk
