"""The revision of a database transaction, and what savepoints do to it.

A transcript belongs to one connection and dies with its transaction: nothing is shared between
connections, and nothing outlives what it tells of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from lifecycle.mappers.base import Services, Writer
from lifecycle.uuids import uuid7
from lifecycle.written import Told

__all__ = ["Transcript", "savepoints"]


class Transcript:
    """What one connection's open transaction has recorded.

    The first record inserts the revision's row. When that happened inside a savepoint that is
    rolled back, the row is gone with it, and the next record inserts it again. ``group`` gives what
    joins the revisions of several databases.
    """

    def __init__(self, services: Services, group: Callable[[], UUID] = uuid7) -> None:
        self._services = services
        self._group = group
        self._writer: Writer | None = None
        self._inserted_in: tuple[str, ...] = ()

    def write(self, connection: Connection, written: Sequence[Told]) -> None:
        """Record what has been written through this connection, in its transaction."""
        writer = self._writer = self._writer or self._services.recorder.open(self._group())
        was_stored = writer.stored
        try:
            writer.write(written, connection=connection)
        finally:
            if writer.stored and not was_stored:
                self._inserted_in = savepoints(connection)

    def write_all(self, connection: Connection, portions: Iterable[Sequence[Told]]) -> None:
        """The same of much, which the database may take in while it is still being told."""
        with ExitStack() as stack:
            for number, written in enumerate(portions):
                if number == 1 and self._writer is not None and self._writer.stored:
                    stack.enter_context(self._writer.together(connection))
                self.write(connection, written)

    @property
    def has_recorded(self) -> bool:
        """Whether the transaction has a revision so far."""
        return self._writer is not None and self._writer.stored

    def released(self, name: str) -> None:
        """A savepoint, with those inside it, became part of what is around it."""
        if name in self._inserted_in:
            self._inserted_in = self._inserted_in[: self._inserted_in.index(name)]

    def rolled_back(self, name: str) -> None:
        """What happened since a savepoint is undone."""
        if name in self._inserted_in:
            self.start_anew()

    def start_anew(self) -> None:
        """Give the next record a revision's row of its own, whatever became of the present one."""
        if self._writer is not None:
            self._writer.undone()
        self._inserted_in = ()

    def over(self) -> None:
        """The transaction has ended."""
        self._writer, self._inserted_in = None, ()


def savepoints(connection: Connection) -> tuple[str, ...]:
    """The names of the savepoints a connection is in, from the outermost to the innermost."""
    found: list[str] = []
    nested: Any = connection.get_nested_transaction()
    while nested is not None:
        found.insert(0, nested._savepoint)
        nested = nested._previous_nested
    return tuple(found)
