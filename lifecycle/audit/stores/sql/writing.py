"""Writing many records at once, past what SQLAlchemy does for every row of a statement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Table, insert

from lifecycle.audit.stores.sql.tables import ExactText
from lifecycle.audit.stores.texts import escaped
from lifecycle.written import OF_THE_LOG

__all__ = ["insert_columns"]

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
    if len(columns[0]) >= _COPIED and dialect.driver == "psycopg" and not dialect.is_async:
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


def _copy(connection: Connection, statement: str, columns: Iterable[_Values]) -> None:
    text = _copied(columns)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        try:
            with cursor.copy(statement) as copy:
                copy.write(text)
        except connection.dialect.loaded_dbapi.Error as error:
            # As for any statement: it is wrapped, and a lost connection is not used again.
            connection._handle_dbapi_exception(error, statement, None, cursor, None)


def _copied(columns: Iterable[_Values]) -> str:
    """Rows of numbers and texts as PostgreSQL's COPY has them: a line each, tabs in between."""
    lines = map("\t".join, zip(*map(_column_copied, columns), strict=True))
    return "\n".join([*lines, ""])


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
