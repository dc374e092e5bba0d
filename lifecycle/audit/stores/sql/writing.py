"""Writing many records at once, past what SQLAlchemy does for every row of a statement."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, Connection, Table, insert

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
    columns, rows = _sendable(table, rows)
    target = dialect.identifier_preparer.format_table(table)
    names = ", ".join(map(dialect.identifier_preparer.format_column, columns))
    if len(rows) >= _COPIED and dialect.driver == "psycopg" and not dialect.is_async:
        _copy(connection, f"COPY {target} ({names}) FROM STDIN", rows)
        return
    values = f"({', '.join([placeholder] * len(columns))})"
    if len(rows) >= _TOGETHER and dialect.name == "sqlite":
        values, rows = _together(names, values, rows)
    else:
        values = f"VALUES {values}"
    connection.exec_driver_sql(
        f"INSERT INTO {target} ({names}) {values}", rows, execution_options={OF_THE_LOG: True}
    )


def _sendable(table: Table, rows: list[_Row]) -> tuple[list[Column[Any]], list[_Row]]:
    """The columns that have values, and the rows with their texts as these have them sent."""
    columns: list[Column[Any]] = []
    sent: list[_Row] = []
    for column, values in zip(table.columns, zip(*rows, strict=True), strict=True):
        if column.nullable and values.count(None) == len(values):
            continue
        if isinstance(column.type, ExactText) and not _is_printable(values):
            values = tuple(value and escaped(value) for value in values)
        columns.append(column)
        sent.append(values)
    return columns, list(zip(*sent, strict=True))


def _is_printable(values: tuple[str | None, ...]) -> bool:
    """Whether none of these has anything to escape, as a rule: what is escaped is not printable."""
    return "".join(filter(None, values)).isprintable()


def _together(names: str, values: str, rows: list[_Row]) -> tuple[str, list[_Row]]:
    """The end of a statement that inserts many rows, and what to give it for these.

    What the last ones lack is filled with rows of NULL, which it leaves out.
    """
    width = len(rows[0])
    rows = [*rows, *[(None,) * width] * (-len(rows) % _TOGETHER)]
    many = [
        tuple(chain.from_iterable(rows[start : start + _TOGETHER]))
        for start in range(0, len(rows), _TOGETHER)
    ]
    first, _, _ = names.partition(",")
    return (
        f"WITH new ({names}) AS (VALUES {', '.join([values] * _TOGETHER)}) "
        f"SELECT * FROM new WHERE {first} IS NOT NULL"
    ), many


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
