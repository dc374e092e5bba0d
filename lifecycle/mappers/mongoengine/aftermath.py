"""What hooks are told once a document's write is past undoing: at once, or with its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from lifecycle.changes import ChangeSet
from lifecycle.mappers.aftermath import Happened, merged, tell, wants
from lifecycle.mappers.base import Services
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.sending import Sent
from lifecycle.mappers.mongoengine.transactions import Outcome, Transaction
from lifecycle.moments import Moment

__all__ = ["Aftermath"]

_MOMENTS: Final = {
    Outcome.COMMITTED: Moment.POST_COMMIT,
    Outcome.ROLLED_BACK: Moment.POST_ROLLBACK,
}


class Aftermath:
    """Keeps what was written in open transactions until it is known how they end.

    What was written outside of a transaction is told at once. Until they are told, changes are by
    the database's names and of BSON values, for there they merge without loss.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pending: WeakKeyDictionary[Transaction, list[Happened]] = WeakKeyDictionary()

    def written(
        self, model: DocumentModel, document: Any, sent: Sequence[Sent], *, failed: bool
    ) -> None:
        """Tell of these now, or when their transaction is over.

        When the save ``failed`` after the write, its own error is on its way, and those of hooks
        are only logged.
        """
        if not sent or not wants(self._services, model.cls):
            return
        at_once: list[Happened] = []
        for one in sent:
            happened = Happened(
                document, model, ChangeSet(one.whole(), one.operation), model.stored_key(one.id)
            )
            if one.transaction is None:
                at_once.append(happened)
            else:
                self._wait_for(one.transaction).append(happened)
        self._tell(at_once, Moment.POST_COMMIT, quietly=failed)

    def _wait_for(self, transaction: Transaction) -> list[Happened]:
        pending = self._pending.get(transaction)
        if pending is None:
            pending = self._pending[transaction] = []
            transaction.when_over(partial(self._over, transaction))
        return pending

    def _over(self, transaction: Transaction, outcome: Outcome) -> None:
        pending = self._pending.pop(transaction)
        moment = _MOMENTS.get(outcome)
        if moment is not None:
            self._tell(pending, moment, quietly=moment is Moment.POST_ROLLBACK)

    def _tell(self, happened: list[Happened], moment: Moment, *, quietly: bool) -> None:
        errors = tell(self._services, _as_python(merged(happened)), moment)
        if errors and self._services.after_commit == "raise" and not quietly:
            raise ExceptionGroup("hooks failed after the commit, which stands", errors)


def _as_python(happened: Iterable[Happened]) -> Iterator[Happened]:
    """The same with changes as hooks see them; those that are none to a hook are left out."""
    for one in happened:
        changes = one.model.python(one.changes, None, one.changes.operation)
        if changes:
            yield one._replace(changes=changes)
