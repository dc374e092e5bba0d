"""What a log that was made by an older release lacks, and making it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Connection, Index, Table, inspect
from sqlalchemy.engine import Inspector
from sqlalchemy.schema import CreateColumn

from lifecycle.audit.stores.sql.tables import BY_HORIZON, AuditTables
from lifecycle.errors import ConfigurationError

__all__ = ["complete", "lacking"]


def lacking(connection: Connection, tables: AuditTables) -> list[str]:
    """The tables, columns and indexes that are missing, in words."""
    return [_words(one) for one in _missing(connection, tables)]


def complete(connection: Connection, tables: AuditTables) -> list[str]:
    """Make what is missing, and say in words what that was. What is there stays as it is.

    Raises ``ConfigurationError`` for a table that lacks what no release has gone without.
    """
    missing = list(_missing(connection, tables))
    made = [one for one in missing if isinstance(one, Table)]
    tables.metadata.create_all(connection, made)
    for one in missing:
        if isinstance(one, Column):
            _add(connection, one)
    for one in missing:
        if isinstance(one, Index):
            one.create(connection)
    return [_words(one) for one in missing]


def _missing(
    connection: Connection, tables: AuditTables
) -> Iterator[Table | Column[object] | Index]:
    database = inspect(connection)
    present = set(database.get_table_names(tables.metadata.schema))
    for table in tables.metadata.sorted_tables:
        if table.name not in present:
            yield table
            continue
        there = {one["name"] for one in database.get_columns(table.name, table.schema)}
        yield from (column for column in table.columns if column.name not in there)
        elsewhere = set() if connection.dialect.name == "postgresql" else {BY_HORIZON}
        named = {*_indexes(database, table), *elsewhere}
        yield from (index for index in table.indexes if index.name not in named)


def _indexes(database: Inspector, table: Table) -> Iterator[str | None]:
    yield from (one["name"] for one in database.get_indexes(table.name, table.schema))
    yield from (one["name"] for one in database.get_unique_constraints(table.name, table.schema))


def _add(connection: Connection, column: Column[object]) -> None:
    table = column.table
    if not column.nullable:
        raise ConfigurationError(
            f"the table {table.fullname} in this database has no column {column.name!r}, without "
            "which no log was ever made: give the log another schema or database, or rename that "
            "table"
        )
    quoted = connection.dialect.identifier_preparer.format_table(table)
    new = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {quoted} ADD COLUMN {new}")


def _words(one: Table | Column[object] | Index) -> str:
    if isinstance(one, Table):
        return f"table {one.fullname}"
    kind = "index" if isinstance(one, Index) else "column"
    assert one.table is not None
    return f"{kind} {one.name} of {one.table.fullname}"
