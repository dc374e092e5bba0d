"""Statements that change rows past the unit of work: seen on their connection, and recorded.

Whatever a session or an installed engine executes goes through a ``Connection``: ORM-enabled
statements, the ``bulk_*`` methods, Core statements on mapped and association tables. What the unit
of work itself executes is left to the flush.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy import Connection, CursorResult, Engine, Insert, Table, event
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.capturing import Captured, Capturing
from lifecycle.mappers.sqlalchemy.dml import called, target_of
from lifecycle.mappers.sqlalchemy.doomed import Doomed
from lifecycle.mappers.sqlalchemy.filling import Filling
from lifecycle.mappers.sqlalchemy.foreign_keys import ForeignKeys
from lifecycle.mappers.sqlalchemy.inserts import is_upsert
from lifecycle.mappers.sqlalchemy.listening import RETURNING, listeners
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.raw_sql import ends_work
from lifecycle.mappers.sqlalchemy.removing import Removing
from lifecycle.mappers.sqlalchemy.tables import Tables
from lifecycle.mappers.sqlalchemy.targets import root_of
from lifecycle.mappers.sqlalchemy.transactions import Transcript
from lifecycle.mappers.sqlalchemy.unseen import Unseen
from lifecycle.written import OF_THE_LOG, Written, in_full, portions

__all__ = ["Scope", "Statements"]


class Scope(Protocol):
    """The session whose transaction a connection serves."""

    @property
    def is_flushing(self) -> bool:
        """Whether the unit of work is writing, which is recorded as a flush."""
        ...

    @property
    def in_flush(self) -> bool:
        """Whether a flush is on its way, be it in a late hook or another listener."""
        ...

    def meanwhile(self, connection: Connection, written: list[Written]) -> None:
        """Take what somebody's statement did in the middle of a flush."""
        ...

    def group(self) -> UUID:
        """What joins the revisions of the databases that one transaction writes to."""
        ...

    def doubt(self) -> None:
        """Rows were changed, or may have been, that objects of the session stand for."""
        ...

    def caused(self, connection: Connection, written: list[Written]) -> None:
        """Take what the database did by itself when the unit of work wrote something."""
        ...


class _Watched:
    """A connection, for as long as its transaction lasts."""

    __slots__ = ("flushing", "running", "scope", "transcript")

    def __init__(self, transcript: Transcript, scope: Scope | None) -> None:
        self.transcript = transcript
        self.scope = scope
        self.running: Captured | None = None
        """The statement that runs."""
        self.flushing: Scope | None = None
        """The session whose unit of work made it."""


class Statements:
    """Listens to the connections of installed sessions and engines."""

    def __init__(self, services: Services, models: Models) -> None:
        self._services = services
        self.doomed: Final = Doomed()
        self.tables: Final = Tables(models, services.recorder, services.faults)
        self.filling: Final = Filling(models, services.suppression)
        self.removing: Final = Removing(models, services.suppression)
        keys = ForeignKeys(self.tables)
        self._unseen: Final = Unseen(self.tables, keys, services.gaps)
        self._capturing: Final = Capturing(services, self.tables, keys, self._unseen)
        self._watched: WeakKeyDictionary[Connection, _Watched] = WeakKeyDictionary()
        self._engines: WeakSet[Engine] = WeakSet()
        self._installed: WeakSet[Engine] = WeakSet()
        self._listeners: Final = listeners(ref(self))

    def install(self, engine: Engine) -> None:
        """Record what every connection of an engine executes."""
        self._installed.add(engine)
        self._listen(engine)

    def uninstall(self, engine: Engine) -> None:
        """Record what its connections execute for installed sessions only."""
        self._installed.discard(engine)

    def watch(self, connection: Connection, scope: Scope) -> Transcript:
        """Record what this connection executes for a session, until `leave`."""
        watched = self._watched.get(connection)
        if watched is None or watched.scope is not scope:
            self._listen(root_of(connection.engine))
            transcript = Transcript(self._services, scope.group)
            watched = self._watched[connection] = _Watched(transcript, scope)
        return watched.transcript

    def leave(self, connection: Connection) -> None:
        """The transaction this connection was watched for is over."""
        self._watched.pop(connection, None)

    def watched(self, connection: Connection) -> _Watched | None:
        """What there is to know of a connection; ``None`` when it is nobody's."""
        watched = self._watched.get(connection)
        if watched is None and root_of(connection.engine) in self._installed:
            transcript = Transcript(self._services)
            watched = self._watched[connection] = _Watched(transcript, None)
        return watched

    def _listen(self, engine: Engine) -> None:
        if engine not in self._engines:
            for name, listener in self._listeners:
                event.listen(engine, name, listener, retval=name in RETURNING)
            self._engines.add(engine)

    def leave_engines(self) -> None:
        """Take every listener away."""
        for engine in list(self._engines):
            for name, listener in self._listeners:
                event.remove(engine, name, listener)
        self._engines.clear()

    # --- what the connections tell, as `Hears` has it ---

    def before(
        self,
        connection: Connection,
        statement: Any,
        parameters: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> Any:
        """A statement is about to run: read what it will change; returns it, fit to be recorded."""
        if not isinstance(statement, UpdateBase):
            return statement
        watched = self.watched(connection)
        if watched is None:
            return statement
        if watched.scope is None or not watched.scope.is_flushing:
            counts = "compiled_cache" not in options  # else the ORM made it, and has counted
            statement = self.filling.filled(statement, parameters, counts=counts)
        if self._services.suppression.audit:
            return statement
        flushing = watched.scope if self._is_of_flush(watched.scope, statement, options) else None
        if flushing is None and watched.scope is not None and self._changes_objects(statement):
            watched.scope.doubt()
        watched.running, watched.flushing = None, flushing
        watched.running = self._capturing.before(
            connection, statement, parameters, options, caused_only=flushing is not None
        )
        return statement if watched.running is None else watched.running.statement

    def _is_of_flush(
        self, scope: Scope | None, statement: UpdateBase, options: Mapping[str, Any]
    ) -> bool:
        """Whether the unit of work made the statement, and not somebody who listens to it.

        It brings its own cache of statements, save for association tables.
        """
        return (
            scope is not None
            and scope.is_flushing
            and ("compiled_cache" in options or not self.tables.has_objects(target_of(statement)))
        )

    def _changes_objects(self, statement: UpdateBase) -> bool:
        """Whether rows may change that a session has objects of."""
        if isinstance(statement, Insert) and not is_upsert(statement):
            return False
        target = target_of(statement)
        return not isinstance(target, Table) or self.tables.has_objects(target)

    def after(self, connection: Connection, statement: Any, result: CursorResult[Any]) -> None:
        """A statement has run: record what it changed."""
        watched = self._watched.get(connection)
        if watched is None or watched.running is None:
            return
        running, watched.running = watched.running, None
        if running.statement is not statement:
            return  # the one before has failed
        try:
            written = self._capturing.after(running, connection, result)
            if watched.flushing is not None:
                watched.flushing.caused(connection, list(in_full(written)))
                return
            if watched.scope is not None and watched.scope.in_flush:
                watched.scope.meanwhile(connection, list(in_full(written)))
            else:
                watched.transcript.write_all(connection, portions(written))
            self._capturing.tell_missed(running, result)
        except BaseException as error:
            self.doomed.doom(connection, called(statement, target_of(statement)), error)
            raise
        if watched.scope is None and connection._is_autocommit_isolation():
            watched.transcript.over()

    def text(self, connection: Connection, text: str, options: Mapping[str, Any]) -> None:
        """SQL text is about to run: tell of what it may change, and mind what it may undo."""
        watched = self._watched.get(connection)
        if watched is not None and ends_work(text):
            watched.transcript.start_anew()
        if OF_THE_LOG not in options and self._concerns(connection):
            told = self._unseen.text(text, connection.dialect)
            if told and watched is not None and watched.scope is not None:
                watched.scope.doubt()

    def inside(self, connection: Connection, compiled: Any) -> None:
        """A query is about to run: tell of what it changes in common table expressions."""
        if self._concerns(connection):
            self._unseen.within(compiled.ctes)

    def _concerns(self, connection: Connection) -> bool:
        return not self._services.suppression.audit and self.watched(connection) is not None

    def released(self, connection: Connection, savepoint: str) -> None:
        """A savepoint became part of what is around it."""
        watched = self.watched(connection)
        if watched is not None:
            watched.transcript.released(savepoint)
        self.doomed.released(connection, savepoint)

    def undone(self, connection: Connection, savepoint: str) -> None:
        """A savepoint is rolled back."""
        watched = self.watched(connection)
        if watched is not None:
            watched.transcript.rolled_back(savepoint)
        self.doomed.rolled_back(connection, savepoint)

    def preparing(self, connection: Connection) -> None:
        """A transaction is about to be prepared."""
        self.doomed.check(connection)

    def committing(self, connection: Connection, roll_back: Callable[[], None]) -> None:
        """A transaction is about to commit."""
        self.doomed.refuse(connection, roll_back)
        self._over(connection)

    def rolled_back(self, connection: Connection) -> None:
        """A transaction has been rolled back."""
        self.doomed.over(connection)
        self._over(connection)

    def _over(self, connection: Connection) -> None:
        """A transaction has ended; that of a session is over when the session says so."""
        watched = self._watched.get(connection)
        if watched is not None and watched.scope is None:
            watched.transcript.over()
