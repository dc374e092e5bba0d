"""Transactions that must not commit, for they hold a change that could not be recorded.

An error in a flush puts its session into a state that only a rollback ends. An error after a
statement does not: whoever catches it could go on and commit the change without its record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from lifecycle.errors import RecordingError
from lifecycle.faults import cause_of
from lifecycle.mappers.sqlalchemy.transactions import savepoints

__all__ = ["Doomed", "committed_already"]


class _Failure(NamedTuple):
    """A statement that is not recorded, and the savepoints it ran in."""

    what: str
    why: str
    savepoints: tuple[str, ...]


def committed_already(what: str, error: Exception) -> RecordingError:
    """What to raise when nothing can be undone any more."""
    return RecordingError(
        f"{what} is done and committed, for its connection is in autocommit, but not recorded: "
        f"{cause_of(error)}. The log lacks this change: put the cause right, then note the change "
        "by hand or undo it"
    )


class Doomed:
    """What keeps the open transactions of some connections from committing."""

    def __init__(self) -> None:
        self._failures: Final[WeakKeyDictionary[Connection, list[_Failure]]] = WeakKeyDictionary()

    def doom(self, connection: Connection, what: str, error: BaseException) -> None:
        """A statement has run, and recording it has failed.

        Raises ``RecordingError`` when it was committed as it ran, so that nothing can be undone.
        """
        if connection._is_autocommit_isolation():
            if isinstance(error, Exception):
                raise committed_already(what, error) from error
            return  # it is being interrupted
        failure = _Failure(what, cause_of(error), savepoints(connection))
        self._failures.setdefault(connection, []).append(failure)

    def check(self, connection: Connection) -> None:
        """Raise ``RecordingError`` when the connection's transaction must not commit."""
        failures = self._failures.get(connection)
        if failures:
            what, why, inside = failures[0]
            savepoint = ", or to a savepoint from before it," if inside else ""
            raise RecordingError(
                f"this transaction cannot commit, for {what} in it is not recorded: {why}. "
                f"Roll it back{savepoint} and do the rest again"
            )

    def refuse(self, connection: Connection, roll_back: Callable[[], None]) -> None:
        """The same when it is about to commit; it is rolled back then.

        A commit that fails leaves SQLAlchemy's transaction inactive: its rollback would not reach
        the database, and the next commit on the connection would commit the change.
        """
        failures = self._failures.get(connection)
        if failures:
            what, why, _ = failures[0]
            roll_back()
            raise RecordingError(
                f"this transaction has been rolled back instead of being committed, for {what} in "
                f"it is not recorded: {why}. Do the rest again"
            )

    def released(self, connection: Connection, savepoint: str) -> None:
        """A savepoint, with those inside it, became part of what is around it."""
        failures = self._failures.get(connection)
        if failures:
            failures[:] = [
                one._replace(savepoints=one.savepoints[: one.savepoints.index(savepoint)])
                if savepoint in one.savepoints
                else one
                for one in failures
            ]

    def rolled_back(self, connection: Connection, savepoint: str) -> None:
        """What happened since a savepoint is undone."""
        failures = self._failures.get(connection)
        if failures:
            failures[:] = [one for one in failures if savepoint not in one.savepoints]

    def over(self, connection: Connection) -> None:
        """The transaction has been rolled back."""
        self._failures.pop(connection, None)
