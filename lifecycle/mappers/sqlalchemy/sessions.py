"""Listening to sessions: what they tell is passed on to the flush and the transaction at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import (
    Mapper,
    ORMExecuteState,
    Session,
    SessionTransaction,
    UOWTransaction,
)
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.interfaces import EXT_CONTINUE

from lifecycle.changes import Operation
from lifecycle.context import current
from lifecycle.errors import RestoreConflict
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.aftermath import Aftermath
from lifecycle.mappers.sqlalchemy.flush import Flush
from lifecycle.mappers.sqlalchemy.last_word import LastWord
from lifecycle.mappers.sqlalchemy.models import Models, configured_mappers
from lifecycle.mappers.sqlalchemy.old_values import Doubts
from lifecycle.mappers.sqlalchemy.reading import State
from lifecycle.mappers.sqlalchemy.stale import call_stale
from lifecycle.mappers.sqlalchemy.statements import Statements
from lifecycle.mappers.sqlalchemy.transactions import Transcript
from lifecycle.uuids import uuid7
from lifecycle.written import Told, Written

__all__ = ["Listeners"]


class InSession:
    """What one Lifecycle keeps in one session's ``info``, and nowhere else."""

    __slots__ = ("_group", "aftermath", "connections", "doubted", "flush", "marked")

    def __init__(self, services: Services) -> None:
        self._group: UUID | None = None
        self.connections: set[Connection] = set()
        self.doubted: Final = Doubts(strict=services.strict)
        self.flush: Flush | None = None
        self.aftermath = Aftermath(services)
        self.marked: Final[set[State]] = set()

    @property
    def is_flushing(self) -> bool:
        """Whether the unit of work is writing, and no hook is running meanwhile."""
        return self.flush is not None and self.flush.is_writing

    def group(self) -> UUID:
        """What joins the revisions of the databases that one transaction writes to."""
        self._group = self._group or current().group or uuid7()
        return self._group

    @property
    def in_flush(self) -> bool:
        """Whether a flush is on its way, be it in a late hook or another listener."""
        return self.flush is not None and self.flush.has_begun

    def meanwhile(self, connection: Connection, written: list[Written]) -> None:
        """Take what somebody's statement did in the middle of a flush."""
        if self.flush is not None:
            self.flush.meanwhile.setdefault(connection, []).extend(written)

    def doubt(self) -> None:
        """Rows were changed, or may have been, that objects of the session stand for."""
        self.doubted.add_all()

    def caused(self, connection: Connection, written: list[Written]) -> None:
        """Take what the database did by itself when the unit of work wrote something."""
        if written:
            self.doubt()
        if self.flush is not None:
            self.flush.caused.setdefault(connection, []).extend(written)

    def over(self) -> None:
        """The session's transaction has ended."""
        self._group = None
        self.connections.clear()


class Listeners:
    """One permanent listener for each event; which hooks run is looked up when it happens."""

    def __init__(self, services: Services, models: Models) -> None:
        self._services = services
        self._models = models
        self.statements: Final = Statements(services, models)
        self._running: Final[dict[int | None, Flush]] = {}
        """The flushes that are writing, by the number of their session; for as long as they do."""
        self._of_sessions: Final[tuple[tuple[str, Callable[..., None]], ...]] = (
            ("before_flush", self._before_flush),
            ("after_flush", self._after_flush),
            ("before_commit", self._before_commit),
            ("after_commit", self._after_commit),
            ("after_transaction_end", self._after_transaction_end),
            ("after_begin", self._after_begin),
            ("detached_to_persistent", self._detached_to_persistent),
        )
        self._last_word: Final = _last_word(self._running)
        self._of_mappers: Final = _of_mappers(self._running, self._last_word)
        self._sessions: Final[WeakSet[Any]] = WeakSet()
        self._behaves = False
        models.when_behaving = self.behave

    def listen(self, sessions: Any) -> None:
        """Listen to the sessions of a class, to one session, or to the connections of an engine."""
        if isinstance(sessions, Engine):
            self.statements.install(sessions)
            return
        for name, listener in self._of_sessions:
            event.listen(sessions, name, listener)
        self._sessions.add(sessions)
        if self._behaves:
            self._look_at(sessions)

    def behave(self) -> None:
        """Look at what sessions execute from now on: some class has a behaviour.

        Until then it would cost every query a little, for nothing.
        """
        if not self._behaves:
            self._behaves = True
            for sessions in self._sessions:
                self._look_at(sessions)

    def _look_at(self, sessions: Any) -> None:
        event.listen(sessions, "do_orm_execute", self._do_orm_execute)
        event.listen(sessions, "after_flush_postexec", self._after_flush_postexec)
        event.listen(sessions, "after_soft_rollback", call_stale)

    def _do_orm_execute(self, state: ORMExecuteState) -> Any:
        self.statements.filling.of_orm(state)
        return self.statements.removing.of_orm(state)

    def _after_flush_postexec(self, session: Session, context: UOWTransaction) -> None:
        here = self._in(session)
        marked = [one for one in here.marked if session.identity_map.contains_state(one)]
        here.marked.clear()
        session._remove_newly_deleted(marked)  # they leave it, and a rollback brings them back

    def leave(self, sessions: Any) -> None:
        """Take these listeners away."""
        if isinstance(sessions, Engine):
            self.statements.uninstall(sessions)
            return
        for name, listener in self._of_sessions:
            event.remove(sessions, name, listener)
        self._sessions.discard(sessions)
        if self._behaves:
            event.remove(sessions, "do_orm_execute", self._do_orm_execute)
            event.remove(sessions, "after_flush_postexec", self._after_flush_postexec)
            event.remove(sessions, "after_soft_rollback", call_stale)

    def listen_to_mappers(self) -> None:
        """Listen to what flushes decide by themselves, once for all mappers there are."""
        for name, listener in self._of_mappers:
            if not event.contains(Mapper, name, listener):
                event.listen(Mapper, name, listener, raw=True, retval=True)

    def leave_mappers(self) -> None:
        """Take these listeners away."""
        for name, listener in self._of_mappers:
            event.remove(Mapper, name, listener)
        self._last_word.leave()
        self.statements.leave_engines()

    def refuse_recorded(self, session: Session) -> None:
        """Raise ``RestoreConflict`` when the open transaction has a revision already.

        It says what it says, and would not tell of what comes on top.
        """
        here = self._in(session)
        if any(self._watch(here, one).has_recorded for one in list(here.connections)):
            raise RestoreConflict(
                f"the transaction of {session!r} has recorded changes already, and its revision "
                "could not say what is restored in it: commit first, or use another session"
            )

    # --- what the sessions tell ---

    def _in(self, session: Session) -> InSession:
        found: InSession | None = session.info.get(self)
        if found is None:
            found = session.info[self] = InSession(self._services)
        return found

    def _before_flush(self, session: Session, context: UOWTransaction, instances: Any) -> None:
        here = self._in(session)
        self._stop(session, here)
        if self._last_word.is_wanted_by_all:
            self._last_word.take_all(configured_mappers())
        flush = Flush(
            session,
            context,
            self._models,
            self._services,
            instances,
            here.doubted,
            self.statements.removing if self._behaves else None,
        )
        flush.before()
        self._running[session.hash_key] = here.flush = flush

    def _after_flush(self, session: Session, context: UOWTransaction) -> None:
        here = self._in(session)
        flush = self._stop(session, here)
        if flush is not None:  # else it was installed in the middle of this flush
            flush.after(partial(self._record, here), here.aftermath)
            here.marked.update(flush.marked)

    def _stop(self, session: Session, here: InSession) -> Flush | None:
        flush, here.flush = here.flush, None
        self._running.pop(session.hash_key, None)
        return flush

    def _record(self, here: InSession, connection: Connection, written: Sequence[Told]) -> None:
        self._watch(here, connection).write(connection, written)

    def _watch(self, here: InSession, connection: Connection) -> Transcript:
        here.connections.add(connection)
        return self.statements.watch(connection, here)

    def _before_commit(self, session: Session) -> None:
        """Before any of its databases commits, so that all of them can still be rolled back."""
        if session.get_nested_transaction() is None:
            for connection in self._in(session).connections:
                self.statements.doomed.check(connection)

    def _after_commit(self, session: Session) -> None:
        here, savepoint = self._in(session), session.get_nested_transaction()
        if savepoint is None:
            here.aftermath.committed()
        else:
            here.aftermath.released(savepoint)

    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        here = self._in(session)
        self._stop(session, here)  # it is left there if it failed
        if transaction.parent is not None and not transaction.nested:
            return  # that of one flush, inside the one that counts
        if transaction.parent is None:
            for connection in here.connections:
                self.statements.leave(connection)
            here.over()
            here.doubted.end(session)
        here.aftermath.ended(session, transaction)

    def _after_begin(
        self, session: Session, transaction: SessionTransaction, connection: Connection
    ) -> None:
        self._watch(self._in(session), connection)

    def _detached_to_persistent(self, session: Session, instance: Any) -> None:
        self.doubt(session, instance_state(instance))

    def doubt(self, session: Session, state: State, *, lock: bool = False) -> None:
        """What an object has need not be what the database holds."""
        self._in(session).doubted.add(state, lock=lock)


def _last_word(running: Mapping[int | None, Flush]) -> LastWord:
    """What to call when all that the application listens to on a mapper has run."""

    def after_others(mapper: object, connection: object, state: State) -> None:
        flush = _flush_of(running, state)
        if flush is not None:
            flush.late(state, Operation.UPDATE)

    return LastWord(after_others)


def _flush_of(running: Mapping[int | None, Flush], state: State) -> Flush | None:
    """The flush that writes an object, which may be of no session.

    A rollback puts an object whose key was changed back into its session's identity map, even
    if it was expunged meanwhile, and no session is told to it.
    """
    flush = running.get(state.session_id)
    if flush is not None or state.session_id is not None:
        return flush
    return next((one for one in list(running.values()) if one.writes(state)), None)


def _of_mappers(
    running: Mapping[int | None, Flush], last_word: LastWord
) -> tuple[tuple[str, Callable[..., Any]], ...]:
    """What to listen to on every mapper there is: it is about to write an object.

    The flush may have decided that by itself. These run for each object of every session, and are
    said to return something, which spares SQLAlchemy's wrapping them. They keep no Lifecycle from
    going.
    """

    def before_insert(mapper: object, connection: object, state: State) -> Any:
        flush = running.get(state.session_id)
        if flush is not None and state not in flush.settled:
            flush.late(state, Operation.INSERT)
        return EXT_CONTINUE

    def before_update(mapper: Mapper[Any], connection: object, state: State) -> Any:
        flush = _flush_of(running, state)
        if (
            flush is not None
            and not (mapper.dispatch.before_update.listeners and last_word.takes(mapper))
            and flush.assigned.get(state) != len(state.committed_state)
        ):
            flush.late(state, Operation.UPDATE)
        return EXT_CONTINUE

    def before_delete(mapper: object, connection: object, state: State) -> Any:
        flush = _flush_of(running, state)
        if flush is not None and state not in flush.settled:
            flush.late(state, Operation.DELETE)
        return EXT_CONTINUE

    return (
        ("before_insert", before_insert),
        ("before_update", before_update),
        ("before_delete", before_delete),
    )
