"""Writing many records at once, past what SQLAlchemy does for every row of a statement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain, islice
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Table, event, insert

from lifecycle.audit.stores.sql.tables import ExactText
from lifecycle.audit.stores.texts import escaped
from lifecycle.spooling import chunks
from lifecycle.written import OF_THE_LOG

__all__ = ["insert_columns", "sent_ahead"]

_COPIED: Final = 8
"""From this many rows on PostgreSQL takes them faster by COPY."""

_TOGETHER: Final = 20
"""So many rows SQLite takes at once, which it does with half the work of each row by itself."""

_PLACEHOLDERS: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}

_Row: TypeAlias = tuple[Any, ...]
_Values: TypeAlias = Sequence[Any]


def insert_columns(connection: Connection, table: Table, values: Sequence[_Values]) -> None:
    """Insert rows of numbers and texts, given by the values of each column, in the table's order.

    In one statement in the connection's transaction: on PostgreSQL with psycopg a COPY, which
    nobody who listens to statements is told of. Raises what SQLAlchemy raises.
    """
    dialect = connection.dialect
    placeholder = _PLACEHOLDERS.get(dialect.paramstyle)
    if placeholder is None or connection.get_execution_options().get("schema_translate_map"):
        keys, given = table.columns.keys(), zip(*values, strict=True)
        connection.execute(insert(table), [dict(zip(keys, row, strict=True)) for row in given])
        return
    columns = _sendable(table, values)
    preparer = dialect.identifier_preparer
    target, names = preparer.format_table(table), [*map(preparer.format_column, table.columns)]
    into = f"{target} ({', '.join(names)})"
    if len(columns[0]) >= _COPIED and _copies(connection):
        _copy(connection, f"COPY {into} FROM STDIN", columns)
        return
    if len(columns[0]) >= _TOGETHER and dialect.name == "sqlite":
        source, rows = _together(names, columns)
    else:
        source, rows = _by_themselves(placeholder, columns)
    connection.exec_driver_sql(
        f"INSERT INTO {into} {source}", rows, execution_options={OF_THE_LOG: True}
    )


def _sendable(table: Table, values: Sequence[_Values]) -> list[_Values]:
    """The columns, with their texts as the types of the columns have them sent."""
    return [
        [text and escaped(text) for text in some]
        if isinstance(column.type, ExactText) and not _is_printable(some)
        else some
        for column, some in zip(table.columns, values, strict=True)
    ]


def _is_printable(values: _Values) -> bool:
    """Whether none of these has anything to escape, as a rule: what is escaped is not printable."""
    if _is_one(values):
        return values[0] is None or values[0].isprintable()
    return "".join(filter(None, values)).isprintable()


def _is_one(values: _Values) -> bool:
    """Whether all of these are the same: numbers, texts, or nothing."""
    return values.count(values[0]) == len(values)


def _by_themselves(placeholder: str, columns: list[_Values]) -> tuple[str, list[_Row]]:
    """The end of a statement that inserts rows one by one, and what to give it for each."""
    empty = [values[0] is None and _is_one(values) for values in columns]
    values = ", ".join("NULL" if is_empty else placeholder for is_empty in empty)
    given = [values for values, is_empty in zip(columns, empty, strict=True) if not is_empty]
    return f"VALUES ({values})", list(zip(*given, strict=True))


def _together(names: list[str], columns: list[_Values]) -> tuple[str, list[_Row]]:
    """The end of a statement that inserts many rows at once, and what to give it for so many.

    What all rows have is given once. What the last statement lacks is filled with rows of NULL,
    which it leaves out; the first column in which rows differ has a value for each.
    """
    selected, shared, differing = [], [], {}
    for name, values in zip(names, columns, strict=True):
        if not _is_one(values):
            selected.append(name)
            differing[name] = values
        elif values[0] is None:
            selected.append("NULL")
        else:
            selected.append("?")
            shared.append(values[0])
    count = len(columns[0])
    nothing = [None] * (-count % _TOGETHER)
    rows = zip(*([*values, *nothing] for values in differing.values()), strict=True)
    given = [
        (*chain.from_iterable(islice(rows, _TOGETHER)), *shared) for _ in range(0, count, _TOGETHER)
    ]
    row = f"({', '.join('?' * len(differing))})"
    return (
        f"WITH new ({', '.join(differing)}) AS (VALUES {', '.join([row] * _TOGETHER)}) "
        f"SELECT {', '.join(selected)} FROM new WHERE {next(iter(differing))} IS NOT NULL"
    ), given


def sent_ahead(connection: Connection) -> AbstractContextManager[None] | None:
    """A block in which nobody waits for PostgreSQL to have what it is sent by COPY.

    It works on rows while the next are made, until another statement is executed, or the block
    ends. Then it may raise what `insert_columns` raises. ``None`` where nothing goes by COPY.
    """
    return _sent_ahead(connection) if _copies(connection) else None


@contextmanager
def _sent_ahead(connection: Connection) -> Iterator[None]:
    if connection in _under_way:
        yield
        return
    copying = _under_way[connection] = _Copying(connection)

    def end(*_: object) -> None:
        copying.end()

    event.listen(connection, "before_cursor_execute", end)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", end)
        del _under_way[connection]
        copying.end()


def _copies(connection: Connection) -> bool:
    return connection.dialect.driver == "psycopg" and not connection.dialect.is_async


class _Copying:
    """COPY on a connection, which can do nothing else until it is ended."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Final = connection
        self._blocks: Final = ExitStack()
        self._copy: Any = None
        self._cursor: Any = None
        self._statement = ""

    def send(self, statement: str, columns: Iterable[_Values]) -> None:
        """Send rows, some while others are still being made into text."""
        lines = map("\t".join, zip(*map(_column_copied, columns), strict=True))
        with self._raising():
            if self._copy is None:
                self._begin(statement)
            for some in chunks(lines):
                self._copy.write("\n".join([*some, ""]))  # a line each, tabs in between

    def end(self) -> None:
        """Wait until the rows are there, if there are any."""
        if self._copy is not None:
            with self._raising():
                self._copy = None
                self._blocks.close()

    def _begin(self, statement: str) -> None:
        driver: Any = self._connection.connection.driver_connection
        self._statement = statement
        self._cursor = self._blocks.enter_context(driver.cursor())
        self._copy = self._blocks.enter_context(self._cursor.copy(statement))

    @contextmanager
    def _raising(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._copy = None
            self._blocks.__exit__(type(error), error, error.__traceback__)
            if isinstance(error, self._connection.dialect.loaded_dbapi.Error):
                # As for any statement: it is wrapped, and a lost connection is not used again.
                self._connection._handle_dbapi_exception(
                    error, self._statement, None, self._cursor, None
                )
            raise


_under_way: Final[WeakKeyDictionary[Connection, _Copying]] = WeakKeyDictionary()
"""The connections for which rows are sent ahead."""


def _copy(connection: Connection, statement: str, columns: Iterable[_Values]) -> None:
    under_way = _under_way.get(connection)
    if under_way is not None:
        under_way.send(statement, columns)
        return
    copying = _Copying(connection)
    copying.send(statement, columns)
    copying.end()


def _column_copied(values: _Values) -> Iterable[str]:
    kinds = set(map(type, values))
    if kinds == {int}:
        return map(str, values)
    if kinds == {str} and not _is_special("".join(values)):
        return values
    return ["\\N" if value is None else _SPECIAL.sub(_escape, str(value)) for value in values]


def _is_special(text: str) -> bool:
    return "\\" in text or "\t" in text or "\n" in text or "\r" in text


_SPECIAL: Final = re.compile(r"[\\\t\n\r]")
_ESCAPES: Final = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES[found[0]]
