"""What hooks are told once a transaction, or a savepoint, is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sqlalchemy.orm import Session, SessionTransaction

from lifecycle.changes import ChangeSet, Operation
from lifecycle.dispatch import call
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.awaiting import await_hook
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.moments import CHANGE_EVENTS, ChangeEvent, Moment

__all__ = ["Aftermath", "Happened"]

_log: Final = logging.getLogger("lifecycle")


class Happened(NamedTuple):
    """What one flush did to an object whose class has hooks for after the transaction.

    It holds the object, so that it cannot vanish before its hooks have run.
    """

    instance: Any
    model: Model
    changes: ChangeSet
    key: str
    former_key: str | None


class Aftermath:
    """Keeps what a session's flushes did until it is known whether that was committed."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._happened: list[tuple[SessionTransaction, Happened]] = []
        self._committed = False

    def wants(self, model: Model) -> bool:
        """Whether the model has hooks for after the transaction."""
        plan = self._services.dispatcher.plan(model.cls)
        return Moment.POST_COMMIT in plan or Moment.POST_ROLLBACK in plan

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
        errors = [error for one in _merged(over) for error in self._tell(session, one, moment)]
        if errors and self._services.after_commit == "raise" and moment is Moment.POST_COMMIT:
            raise ExceptionGroup("hooks failed after the commit, which stands", errors)

    def _tell(self, session: Session, one: Happened, moment: Moment) -> list[Exception]:
        errors = []
        event: ChangeEvent = CHANGE_EVENTS[moment](
            one.instance, one.changes, one.model.entity, one.key, session, one.former_key
        )
        for hook in self._services.dispatcher.plan(one.model.cls).get(moment, ()):
            try:
                call(hook, event, await_hook)
            except Exception as error:
                _log.exception("the hook %s failed at %s of %s", event.hook, moment, event.subject)
                errors.append(error)
        return errors


def _merged(happened: list[Happened]) -> Iterator[Happened]:
    """One for each object, from what it was before the first to what it is after the last."""
    merged: dict[tuple[str, str], Happened] = {}
    displaced: list[Happened] = []
    for one in happened:
        before = merged.pop((one.model.entity, one.former_key or one.key), None)
        if before is not None:
            one = _after(before, one)
        if (one.model.entity, one.key) in merged:  # deleted, and another has moved to its key
            displaced.append(merged.pop((one.model.entity, one.key)))
        merged[one.model.entity, one.key] = one
    for one in (*displaced, *merged.values()):
        if net := one.changes.net().freeze():
            yield one._replace(changes=net)


def _after(before: Happened, one: Happened) -> Happened:
    """Both as one, with the key it had before both, if it had another one."""
    changes = before.changes.then(one.changes)
    former = before.former_key or one.former_key
    if changes.operation is Operation.INSERT or former == one.key:
        former = None
    return one._replace(changes=changes, former_key=former)
