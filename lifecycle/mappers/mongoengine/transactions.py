"""The pymongo transaction that a write belongs to, and how it ended.

mongoengine knows no sessions. With ``session.bind()`` (pymongo 4.17 or newer) everything that a
block sends belongs to the session, and to its transaction while there is one; without ``bind()``
nothing that mongoengine sends is part of a transaction. pymongo tells nobody how a transaction
ended, so while somebody waits for that, the session's own methods are wrapped, on that one session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from enum import Enum
from typing import Any, Final, TypeAlias

from pymongo import client_session
from pymongo.errors import PyMongoError
from pymongo.synchronous import client_session as client_session_module

__all__ = ["Outcome", "Transaction", "bound", "current"]

_log: Final = logging.getLogger("lifecycle")

bound: Final[ContextVar[client_session.ClientSession | None]] = getattr(
    client_session_module, "_SESSION", ContextVar("lifecycle.no_bind", default=None)
)
"""Where pymongo keeps the session that a block has bound; older versions have none."""

_OURS: Final = "_lifecycle_transaction"
_UNDECIDED: Final = "UnknownTransactionCommitResult"


class Outcome(Enum):
    """How a transaction ended."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    UNKNOWN = "unknown"
    """The server did not answer the commit, and nobody asked again."""


OutcomeListener: TypeAlias = Callable[[Outcome], None]


def current() -> Transaction | None:
    """The transaction that what is sent now belongs to; ``None`` outside of one."""
    session = bound.get()
    if session is None or not session.in_transaction:
        return None
    found: Transaction | None = vars(session).get(_OURS)
    return found or Transaction(session)


class Transaction:
    """One transaction of a pymongo session.

    ``outcome`` is ``None`` while it is open, and while the server has not answered its commit.
    """

    def __init__(self, session: client_session.ClientSession) -> None:
        self.session: Final = session
        self.outcome: Outcome | None = None
        self._undecided = False
        self._listeners: list[OutcomeListener] = []
        wrappers = {
            "commit_transaction": self._commit,
            "abort_transaction": self._abort,
            "start_transaction": self._start,
            "_end_session": self._end,
        }
        self._originals: Final[dict[str, Any]] = {name: getattr(session, name) for name in wrappers}
        vars(session).update(wrappers, **{_OURS: self})

    def contains(self, collection: Any) -> bool:
        """Whether a write to that collection is part of it: any of the session's own client."""
        return collection.database.client is self.session.client

    @property
    def stands(self) -> bool:
        """Whether what was read or written in it can be taken for true, for all that is known."""
        return self.outcome is Outcome.COMMITTED or (self.outcome is None and not self._undecided)

    def when_over(self, listener: OutcomeListener) -> None:
        """Call this with the outcome, once, right after the commit or the rollback.

        All listeners are called, in the order they came, even when one of them raises; its error
        then reaches who has committed or aborted.
        """
        self._listeners.append(listener)

    # --- in the place of the session's methods ---

    def _commit(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = self._originals["commit_transaction"](*args, **kwargs)
        except PyMongoError as error:
            if self.session.in_transaction:
                raise  # it was not even tried
            if error.has_error_label(_UNDECIDED):
                self._undecided = True  # it may be asked again
            else:
                self._over(Outcome.ROLLED_BACK)
            raise
        self._over(Outcome.COMMITTED)
        return result

    def _abort(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._originals["abort_transaction"](*args, **kwargs)
        finally:
            if not self.session.in_transaction and not self._undecided:
                self._over(Outcome.ROLLED_BACK)

    def _start(self, *args: Any, **kwargs: Any) -> Any:
        result = self._originals["start_transaction"](*args, **kwargs)
        self._given_up()
        return result

    def _end(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._originals["_end_session"](*args, **kwargs)
        finally:
            self._given_up()

    def _given_up(self) -> None:
        """The session goes on, or ends: nobody will ask for the outcome any more."""
        if self.outcome is None:
            _log.error(
                "a MongoDB transaction ended without an answer to its commit: whether it was "
                "committed is not known, so no hook is told; look at what it wrote"
            )
            self._over(Outcome.UNKNOWN)

    def _over(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        attributes = vars(self.session)
        if attributes.get(_OURS) is self:
            for name in (*self._originals, _OURS):
                del attributes[name]
        listeners, self._listeners = self._listeners, []
        _tell(listeners, outcome)


def _tell(listeners: Sequence[OutcomeListener], outcome: Outcome) -> None:
    """Tell each of them, also when another one fails."""
    if listeners:
        try:
            listeners[0](outcome)
        finally:
            _tell(listeners[1:], outcome)
