"""Writing many records at once, past what SQLAlchemy does for every row of a statement."""

from __future__ import annotations

from itertools import chain, compress
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Table, insert

from lifecycle.audit.stores.sql.tables import ExactText
from lifecycle.audit.stores.texts import escaped
from lifecycle.written import OF_THE_LOG

__all__ = ["insert_rows"]

_COPIED: Final = 8
"""From this many rows on PostgreSQL takes them faster by COPY."""

_PLACEHOLDERS: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}


def insert_rows(connection: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
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
    sendable = _sendable(table, rows)
    target, names = _names(table, dialect)
    if len(rows) >= _COPIED and dialect.driver == "psycopg" and not dialect.is_async:
        _copy(connection, f"COPY {target} ({names}) FROM STDIN", sendable)
    else:
        values = ", ".join([placeholder] * len(table.columns))
        connection.exec_driver_sql(
            f"INSERT INTO {target} ({names}) VALUES ({values})",
            sendable,
            execution_options={OF_THE_LOG: True},
        )


def _sendable(table: Table, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with their texts as the types of their columns have them sent."""
    exact = [isinstance(column.type, ExactText) for column in table.columns]
    columns = list(zip(*rows, strict=True))
    texts = chain.from_iterable(compress(columns, exact))
    if "".join(filter(None, texts)).isprintable():  # as a rule; what is escaped is not
        return rows
    for place, values in enumerate(columns):
        if exact[place]:
            columns[place] = tuple(value and escaped(value) for value in values)
    return list(zip(*columns, strict=True))


def _names(table: Table, dialect: Dialect) -> tuple[str, str]:
    """The names of a table and of its columns, quoted where a database asks for it."""
    preparer = dialect.identifier_preparer
    return preparer.format_table(table), ", ".join(map(preparer.format_column, table.columns))


def _copy(connection: Connection, statement: str, rows: list[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        try:
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
        except connection.dialect.loaded_dbapi.Error as error:
            # As for any statement: it is wrapped, and a lost connection is not used again.
            connection._handle_dbapi_exception(error, statement, None, cursor, None)
