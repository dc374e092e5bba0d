"""Writing many records at once, past what SQLAlchemy does for every row of a statement."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Table, insert

from lifecycle.audit.stores.sql.tables import ExactText
from lifecycle.audit.stores.texts import escaped
from lifecycle.written import OF_THE_LOG

__all__ = ["insert_rows"]

_COPIED: Final = 8
"""From this many rows on PostgreSQL takes them faster by COPY."""

_TOGETHER: Final = 20
"""So many rows SQLite takes at once, which it does with half the work of each row by itself."""

_PLACEHOLDERS: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}

_Row: TypeAlias = tuple[Any, ...]


def insert_rows(connection: Connection, table: Table, rows: list[_Row]) -> None:
    """Insert rows of numbers and texts, which have a value for every column, in its order.

    In one statement in the connection's transaction: on PostgreSQL with psycopg a COPY, which
    nobody who listens to statements is told of. Raises what SQLAlchemy raises.
    """
    dialect = connection.dialect
    placeholder = _PLACEHOLDERS.get(dialect.paramstyle)
    if placeholder is None or connection.get_execution_options().get("schema_translate_map"):
        keys = table.columns.keys()
        connection.execute(insert(table), [dict(zip(keys, row, strict=True)) for row in rows])
        return
    columns = _sendable(table, rows)
    preparer = dialect.identifier_preparer
    target, names = preparer.format_table(table), [*map(preparer.format_column, table.columns)]
    into = f"{target} ({', '.join(names)})"
    if len(rows) >= _COPIED and dialect.driver == "psycopg" and not dialect.is_async:
        _copy(connection, f"COPY {into} FROM STDIN", list(zip(*columns, strict=True)))
        return
    if len(rows) >= _TOGETHER and dialect.name == "sqlite":
        source, rows = _together(names, columns)
    else:
        source, rows = _by_themselves(placeholder, columns)
    connection.exec_driver_sql(
        f"INSERT INTO {into} {source}", rows, execution_options={OF_THE_LOG: True}
    )


def _sendable(table: Table, rows: list[_Row]) -> list[_Row]:
    """The columns of the rows, with their texts as the types of the columns have them sent."""
    columns = list(zip(*rows, strict=True))
    for place, column in enumerate(table.columns):
        values = columns[place]
        if isinstance(column.type, ExactText) and not _is_printable(values):
            columns[place] = tuple(value and escaped(value) for value in values)
    return columns


def _is_printable(values: tuple[str | None, ...]) -> bool:
    """Whether none of these has anything to escape, as a rule: what is escaped is not printable."""
    if _is_one(values):
        return values[0] is None or values[0].isprintable()
    return "".join(filter(None, values)).isprintable()


def _is_one(values: _Row) -> bool:
    """Whether all of these are the same: numbers, texts, or nothing."""
    return values.count(values[0]) == len(values)


def _by_themselves(placeholder: str, columns: list[_Row]) -> tuple[str, list[_Row]]:
    """The end of a statement that inserts rows one by one, and what to give it for each."""
    empty = [values[0] is None and _is_one(values) for values in columns]
    values = ", ".join("NULL" if is_empty else placeholder for is_empty in empty)
    given = [values for values, is_empty in zip(columns, empty, strict=True) if not is_empty]
    return f"VALUES ({values})", list(zip(*given, strict=True))


def _together(names: list[str], columns: list[_Row]) -> tuple[str, list[_Row]]:
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
    nothing = (None,) * len(differing)
    count = len(columns[0])
    rows = [*zip(*differing.values(), strict=True), *[nothing] * (-count % _TOGETHER)]
    given = [
        (*chain.from_iterable(rows[start : start + _TOGETHER]), *shared)
        for start in range(0, count, _TOGETHER)
    ]
    row = f"({', '.join('?' * len(differing))})"
    return (
        f"WITH new ({', '.join(differing)}) AS (VALUES {', '.join([row] * _TOGETHER)}) "
        f"SELECT {', '.join(selected)} FROM new WHERE {next(iter(differing))} IS NOT NULL"
    ), given


def _copy(connection: Connection, statement: str, rows: list[_Row]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        try:
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
        except connection.dialect.loaded_dbapi.Error as error:
            # As for any statement: it is wrapped, and a lost connection is not used again.
            connection._handle_dbapi_exception(error, statement, None, cursor, None)
