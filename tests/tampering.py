"""Altering what is stored, a byte at a time, and what the verification says to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table, event, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from lifecycle.audit.stores.sql import SqlStore
from lifecycle.audit.verifying import Verdict, verify

__all__ = ["fast", "restore_column", "tampered", "tampered_at_once"]


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


def tampered_at_once(store: SqlStore, table: Table, column: Column[Any]) -> set[int]:
    """Edit a column of every revision or record, each in another way; the numbers of these.

    The first value gives the edits, and the others are like it. What the type of the column
    refuses is left out, and no edit is made twice.
    """
    name, kept = column.name, _kept(column)
    quote = store.engine.dialect.identifier_preparer.quote
    table_name, column_name = table.name, quote(name)
    mark = "?" if store.engine.dialect.paramstyle == "qmark" else "%s"
    alter = f"UPDATE {table_name} SET {column_name} = {mark} WHERE seq = {mark}"
    read = select(table.c.seq, type_coerce(column, NullType())).order_by(table.c.seq)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {table_name} ADD COLUMN {quote(kept)} TEXT")
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table_name} SET {quote(kept)} = {column_name}")
        rows = dict(map(tuple, connection.execute(read)))
        for seq, (at, value) in zip(rows, enumerate(rows.values()), strict=True):
            edits = list(dict.fromkeys(typed_edits_of(value)))
            if at < len(edits):
                with suppress(DBAPIError), connection.begin_nested():
                    connection.exec_driver_sql(alter, (edits[at], seq))
    with store.engine.connect() as connection:
        # Of some edits the database has made the same value again.
        now = dict(map(tuple, connection.execute(read)))
    return {seq for seq, value in rows.items() if now[seq] != value}


def restore_column(store: SqlStore, table: Table, column: Column[Any]) -> None:
    """Give every row the value it had."""
    quote = store.engine.dialect.identifier_preparer.quote
    name, kept = quote(column.name), quote(_kept(column))
    given = kept
    if store.engine.dialect.name == "postgresql":
        given = f"CAST({kept} AS {column.type.compile(store.engine.dialect)})"
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table.name} SET {name} = {given}")
        connection.exec_driver_sql(f"ALTER TABLE {table.name} DROP COLUMN {kept}")


def _kept(column: Column[Any]) -> str:
    return f"kept_{column.name}"


def typed_edits_of(value: Any) -> Iterator[Any]:
    """The edits of a value that its type may let be."""
    if isinstance(value, UUID) or (isinstance(value, str) and re.fullmatch("[0-9a-f-]{36}", value)):
        text = str(value)
        for at, digit in enumerate(text):
            if digit != "-":
                yield f"{text[:at]}{int(digit, 16) ^ 1:x}{text[at + 1 :]}"
    elif isinstance(value, datetime):
        for step in (1, 10, 1_000_000, 86_400_000_000):
            yield value + timedelta(microseconds=step)
    elif value is None:
        yield 7
        yield "x"
    else:
        yield from edits_of(value)


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
