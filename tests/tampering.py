"""Altering what is stored, a byte at a time, and what the verification says to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table, event
from sqlalchemy.exc import DBAPIError

from lifecycle.audit.stores.sql import SqlStore
from lifecycle.audit.verifying import Verdict, verify

__all__ = ["fast", "tampered"]


def fast(store: SqlStore) -> None:
    """These tests write much, and need no disk to keep it."""

    @event.listens_for(store.engine, "connect")
    def carelessly(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    store.engine.dispose()


def tampered(
    store: SqlStore, table: Table, column: str, *, every: bool
) -> Iterator[tuple[str, Verdict]]:
    """Edit a column in each row in turn; what each edit was, and the verdict on it."""
    keys = list(table.primary_key.columns)
    names = [one.name for one in table.c]
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT * FROM {table.name}").all()
    for row in rows if every else rows[-1:]:
        before = dict(zip(names, row, strict=True))
        there = {key.name: before[key.name] for key in keys}
        values = list(edits_of(before[column]))
        for value in values if every else values[:2]:
            now = {**there, column: value} if column in there else there
            try:
                write(store, table, column, value, there)
            except DBAPIError:
                continue  # the type or a key of the table does not let that be
            yield f"{row} {column} = {value!r}", verify(store)
            write(store, table, column, before[column], now)


def edits_of(value: Any) -> Iterator[Any]:
    """The value with one of its bytes altered, or with one more or less."""
    if value is None:
        yield "x"
        yield 7
    elif isinstance(value, int):
        yield value + 1
        yield value + 100
    elif isinstance(value, bytes):
        for at in range(len(value)):
            yield value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        yield value[:-1]
        yield value + b"\0"
    else:
        for at, letter in enumerate(value):
            yield value[:at] + ("Y" if letter == "X" else "X") + value[at + 1 :]
            if letter.lower() != letter.upper():
                yield value[:at] + letter.swapcase() + value[at + 1 :]
        yield value + " "
        yield value[:-1]


def write(store: SqlStore, table: Table, column: str, value: Any, there: dict[str, Any]) -> None:
    """Set one column of one row, past the types."""
    mark = "?" if store.engine.dialect.paramstyle == "qmark" else "%s"
    quote = store.engine.dialect.identifier_preparer.quote
    where = " AND ".join(f"{quote(name)} = {mark}" for name in there)
    statement = f"UPDATE {table.name} SET {quote(column)} = {mark} WHERE {where}"
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement, (value, *there.values()))
