"""Listening to sessions: what they tell is passed on to the flush and the transaction at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import ref

from sqlalchemy import Connection, event
from sqlalchemy.orm import (
    Mapper,
    ORMExecuteState,
    Session,
    SessionTransaction,
    UOWTransaction,
)
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.changes import Operation
from lifecycle.errors import UnrecordedWriteWarning, warn
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.aftermath import Aftermath
from lifecycle.mappers.sqlalchemy.flush import Flush
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.reading import State
from lifecycle.mappers.sqlalchemy.transactions import Transcript
from lifecycle.moments import Moment

__all__ = ["Listeners"]


class InSession:
    """What one Lifecycle keeps in one session's ``info``, and nowhere else."""

    __slots__ = ("aftermath", "flush", "transcript")

    def __init__(self, services: Services) -> None:
        self.flush: Flush | None = None
        self.transcript = Transcript(services)
        self.aftermath = Aftermath(services)


class Listeners:
    """One permanent listener for each event; which hooks run is looked up when it happens."""

    def __init__(self, services: Services, models: Models) -> None:
        self._services = services
        self._models = models
        self._of_sessions: Final[tuple[tuple[str, Callable[..., None]], ...]] = (
            ("before_flush", self._before_flush),
            ("after_flush", self._after_flush),
            ("after_commit", self._after_commit),
            ("after_transaction_end", self._after_transaction_end),
            ("do_orm_execute", self._do_orm_execute),
        )
        self._of_mappers: Final = _of_mappers(ref(self))

    def listen(self, sessions: Any) -> None:
        """Listen to the sessions of a class, or to one session."""
        for name, listener in self._of_sessions:
            event.listen(sessions, name, listener)

    def leave(self, sessions: Any) -> None:
        """Take these listeners away."""
        for name, listener in self._of_sessions:
            event.remove(sessions, name, listener)

    def listen_to_mappers(self) -> None:
        """Listen to what flushes decide by themselves, once for all mappers there are."""
        for name, listener in self._of_mappers:
            if not event.contains(Mapper, name, listener):
                event.listen(Mapper, name, listener, raw=True)

    def leave_mappers(self) -> None:
        """Take these listeners away."""
        for name, listener in self._of_mappers:
            event.remove(Mapper, name, listener)

    # --- what the sessions tell ---

    def _in(self, session: Session) -> InSession:
        found: InSession | None = session.info.get(self)
        if found is None:
            found = session.info[self] = InSession(self._services)
        return found

    def _before_flush(self, session: Session, context: UOWTransaction, instances: Any) -> None:
        here = self._in(session)
        here.flush = None
        flush = Flush(session, self._models, self._services, instances)
        flush.before()
        here.flush = flush

    def _after_flush(self, session: Session, context: UOWTransaction) -> None:
        here = self._in(session)
        flush, here.flush = here.flush, None
        if flush is not None:  # else it was installed in the middle of this flush
            flush.after(context, here.transcript, here.aftermath)

    def _after_commit(self, session: Session) -> None:
        here, savepoint = self._in(session), session.get_nested_transaction()
        if savepoint is None:
            here.aftermath.committed()
        else:
            here.transcript.released(savepoint)
            here.aftermath.released(savepoint)

    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is not None and not transaction.nested:
            return  # that of one flush, inside the one that counts
        here = self._in(session)
        here.flush = None  # left there if it failed
        here.transcript.ended(transaction)
        here.aftermath.ended(session, transaction)

    def _do_orm_execute(self, execution: ORMExecuteState) -> None:
        """Tell of a statement that changes recorded rows past the unit of work."""
        statement, mapper = execution.statement, execution.bind_mapper
        if not isinstance(statement, UpdateBase) or mapper is None:
            return
        model = self._models.concerned(mapper.class_)
        if (
            model is not None
            and self._services.recorder.wants(model.policy)
            and not self._services.suppression.audit
        ):
            verb = type(statement).__name__.lower()
            warn(
                f"session.execute({verb}({model.cls.__qualname__})) changes rows of "
                f"{model.entity} that are not recorded: bulk statements pass the unit of work by. "
                "Change the objects instead, or take the model out with @not_audited",
                UnrecordedWriteWarning,
            )

    def late(self, state: State, operation: Operation, moment: Moment) -> None:
        """A mapper is about to write an object, which the flush may have decided by itself."""
        hooks = self._services.dispatcher.plan(state.class_).get(moment)
        if not hooks or state.session is None:
            return
        here: InSession | None = state.session.info.get(self)
        if here is not None and here.flush is not None:
            here.flush.late(state, operation, hooks)


def _of_mappers(listeners: ref[Listeners]) -> tuple[tuple[str, Callable[..., None]], ...]:
    """What to listen to on every mapper there is; it keeps no Lifecycle from going."""

    def telling(operation: Operation, moment: Moment) -> Callable[..., None]:
        def tell(mapper: object, connection: Connection, state: State) -> None:
            alive = listeners()
            if alive is not None:
                alive.late(state, operation, moment)

        return tell

    return (
        ("before_insert", telling(Operation.INSERT, Moment.PRE_PERSIST)),
        ("before_update", telling(Operation.UPDATE, Moment.PRE_UPDATE)),
        ("before_delete", telling(Operation.DELETE, Moment.PRE_REMOVE)),
    )
