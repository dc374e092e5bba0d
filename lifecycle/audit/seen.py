"""What a comparison has seen of a database: kept on disk, so that memory stays flat."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from tempfile import TemporaryDirectory
from typing import Final

from lifecycle.changes import SetEdit, join_path
from lifecycle.written import Written

__all__ = ["Seen", "seen"]


class Seen:
    """The keys of the objects that were there, and the members of their collections."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database: Final = database
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("CREATE TABLE seen (entity, key, PRIMARY KEY (entity, key)) WITHOUT ROWID")
        database.execute(
            "CREATE TABLE member (entity, name, key, member,"
            " PRIMARY KEY (entity, name, key, member)) WITHOUT ROWID"
        )

    def add(self, entity: str, keys: Iterable[str]) -> None:
        """Note that these objects are there."""
        objects = ((entity, key) for key in keys)
        self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", objects)

    def add_members(self, rows: Iterable[Written]) -> None:
        """Note the members that rows of association tables stand for."""
        members = (
            (one.entity, path, one.key, member)
            for one in rows
            for path, delta in one.changes.items()
            if isinstance(delta, SetEdit)
            for member in delta.added
        )
        self._database.executemany("INSERT OR IGNORE INTO member VALUES (?, ?, ?, ?)", members)

    def missing(self, entity: str, keys: Sequence[str]) -> list[str]:
        """Those of some keys that were not there."""
        marks = ", ".join("?" * len(keys))
        query = f"SELECT key FROM seen WHERE entity = ? AND key IN ({marks})"
        there = {key for (key,) in self._database.execute(query, (entity, *keys)).fetchall()}
        return [key for key in keys if key not in there]

    def members(self, entity: str, name: str, key: str) -> set[str]:
        """The members that a collection of an object had."""
        query = "SELECT member FROM member WHERE entity = ? AND name = ? AND key = ?"
        found = self._database.execute(query, (entity, join_path(name), key))
        return {member for (member,) in found}


@contextmanager
def seen() -> Iterator[Seen]:
    """An empty memory, gone with the block."""
    with TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/seen")) as database:
        yield Seen(database)
