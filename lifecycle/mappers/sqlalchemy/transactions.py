"""What a session keeps in mind while a transaction is open.

It lives in ``session.info`` and dies with the transaction: nothing is keyed by connection, and
nothing is shared between sessions.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session, SessionTransaction

from lifecycle.mappers.base import Services, Writer
from lifecycle.uuids import uuid7
from lifecycle.written import Written

__all__ = ["Transcript"]


class Transcript:
    """The revisions one session writes in its open transaction, one for each database.

    The first record inserts the revision's row. When that happened inside a savepoint that is
    rolled back, the row is gone with it, and the next record inserts it again.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._group: UUID | None = None
        self._writers: dict[Connection, Writer] = {}
        self._inserted_in: dict[Writer, SessionTransaction] = {}

    def write(self, session: Session, connection: Connection, written: list[Written]) -> None:
        """Record what has been written through this connection, in its transaction."""
        writer = self._writers.get(connection)
        if writer is None:
            self._group = self._group or uuid7()
            writer = self._writers[connection] = self._services.recorder.open(self._group)
        was_stored = writer.stored
        writer.write(written, connection=connection)
        if writer.stored and not was_stored:
            transaction = session.get_nested_transaction() or session.get_transaction()
            assert transaction is not None  # a flush always runs in one
            self._inserted_in[writer] = transaction

    def released(self, savepoint: SessionTransaction) -> None:
        """A savepoint became part of the transaction around it."""
        outer = savepoint.parent
        for writer, transaction in self._inserted_in.items():
            if transaction is savepoint and outer is not None:
                self._inserted_in[writer] = outer

    def ended(self, transaction: SessionTransaction) -> None:
        """A transaction is over; what was not released from it by now was rolled back."""
        if transaction.parent is None:
            self._group = None
            self._writers.clear()
            self._inserted_in.clear()
            return
        for writer, inserted_in in list(self._inserted_in.items()):
            if inserted_in is transaction:
                writer.undone()
                del self._inserted_in[writer]
