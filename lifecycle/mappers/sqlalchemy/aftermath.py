"""What hooks are told once a transaction, or a savepoint, is over."""

from __future__ import annotations

from sqlalchemy.orm import Session, SessionTransaction

from lifecycle.mappers.aftermath import Happened, merged, tell, wants
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.awaiting import await_hook
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.moments import Moment

__all__ = ["Aftermath"]


class Aftermath:
    """Keeps what a session's flushes did until it is known whether that was committed."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._happened: list[tuple[SessionTransaction, Happened]] = []
        self._committed = False

    def wants(self, model: Model) -> bool:
        """Whether the model has hooks for after the transaction."""
        return wants(self._services, model.cls)

    def add(self, transaction: SessionTransaction, happened: Happened) -> None:
        """Keep what a flush did in a transaction or savepoint."""
        self._happened.append((transaction, happened))

    def released(self, savepoint: SessionTransaction) -> None:
        """A savepoint became part of the transaction around it."""
        outer = savepoint.parent
        assert outer is not None  # a savepoint is always inside something
        self._happened = [
            (outer if transaction is savepoint else transaction, happened)
            for transaction, happened in self._happened
        ]

    def committed(self) -> None:
        """The database has committed the root transaction."""
        self._committed = True

    def ended(self, session: Session, transaction: SessionTransaction) -> None:
        """A transaction is over: call the hooks of what it did, committed or not.

        Hooks are isolated from each other: errors are logged, and all of them raised in an
        ``ExceptionGroup`` at the end when the Lifecycle was made with ``after_commit="raise"``.
        """
        is_root, committed = transaction.parent is None, self._committed
        over = [one for where, one in self._happened if is_root or where is transaction]
        self._happened = [
            (where, one)
            for where, one in self._happened
            if not is_root and where is not transaction
        ]
        if is_root:
            self._committed = False
        moment = Moment.POST_COMMIT if is_root and committed else Moment.POST_ROLLBACK
        errors = tell(self._services, merged(over), moment, session, await_hook)
        if errors and self._services.after_commit == "raise" and moment is Moment.POST_COMMIT:
            raise ExceptionGroup("hooks failed after the commit, which stands", errors)
