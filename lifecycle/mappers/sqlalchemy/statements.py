"""Statements that change rows past the unit of work: seen on their connection, and recorded.

Whatever a session or an installed engine executes goes through a ``Connection``: ORM-enabled
statements, the ``bulk_*`` methods, Core statements on mapped and association tables. What the unit
of work itself executes is left to the flush.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy import (
    Connection,
    CursorResult,
    Delete,
    Engine,
    Insert,
    Table,
    TextClause,
    Update,
    event,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.errors import (
    ConfigurationError,
    ForbiddenWrite,
    LifecycleError,
    RecordingError,
    UnrecordedWriteWarning,
    warn,
)
from lifecycle.faults import cause_of
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.cascades import Cascade, Effects, effects_of
from lifecycle.mappers.sqlalchemy.doomed import Doomed
from lifecycle.mappers.sqlalchemy.foreign_keys import GONE, ForeignKeys
from lifecycle.mappers.sqlalchemy.images import chunks
from lifecycle.mappers.sqlalchemy.inserts import Insertion, Upsert, insertion_of
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.raw_sql import (
    may_delete,
    may_update,
    shape_of,
    tables_written,
)
from lifecycle.mappers.sqlalchemy.rewrites import Rewrite
from lifecycle.mappers.sqlalchemy.tables import RecordedTable, Tables
from lifecycle.mappers.sqlalchemy.targets import root_of
from lifecycle.mappers.sqlalchemy.transactions import Transcript
from lifecycle.mappers.sqlalchemy.wholes import Whole
from lifecycle.policy import BULK_MODES, BulkMode
from lifecycle.written import CASCADE, OF_THE_LOG, Written

__all__ = ["Scope", "Statements"]


OPTION: Final = "lifecycle_bulk"
"""The execution option that says for one statement how it is recorded."""

_SCHEMAS: Final = "schema_translate_map"

_STRICTEST: Final[tuple[BulkMode, ...]] = ("forbid", "rows", "statement", "off")


class Scope(Protocol):
    """The session whose transaction a connection serves."""

    @property
    def is_flushing(self) -> bool:
        """Whether the unit of work is writing, which is recorded as a flush."""
        ...

    def group(self) -> UUID:
        """What joins the revisions of the databases that one transaction writes to."""
        ...

    def caused(self, connection: Connection, written: list[Written]) -> None:
        """Take what the database did by itself when the unit of work wrote something."""
        ...


class _Watched:
    """A connection, for as long as its transaction lasts."""

    __slots__ = ("running", "scope", "transcript")

    def __init__(self, transcript: Transcript, scope: Scope | None) -> None:
        self.transcript = transcript
        self.scope = scope
        self.running: _Running | None = None


_Captured: TypeAlias = Rewrite | Insertion | Upsert | Whole


class _Capture(NamedTuple):
    recorded: RecordedTable
    of: _Captured


class _Running(NamedTuple):
    statement: UpdateBase
    captures: list[_Capture]
    cascade: Cascade | None
    flushing: Scope | None


class Statements:
    """Listens to the connections of installed sessions and engines."""

    def __init__(self, services: Services, models: Models) -> None:
        self._services = services
        self.doomed: Final = Doomed()
        self.tables: Final = Tables(models, services.recorder, services.faults)
        self._keys: Final = ForeignKeys(self.tables)
        self._watched: WeakKeyDictionary[Connection, _Watched] = WeakKeyDictionary()
        self._engines: WeakSet[Engine] = WeakSet()
        self._installed: WeakSet[Engine] = WeakSet()
        self._listeners: Final = _listeners(ref(self))

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
                event.listen(engine, name, listener, retval=name == "before_execute")
            self._engines.add(engine)

    def leave_engines(self) -> None:
        """Take every listener away."""
        for engine in list(self._engines):
            for name, listener in self._listeners:
                event.remove(engine, name, listener)
        self._engines.clear()

    # --- what the connections tell ---

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
        if watched is None or self._services.suppression.audit:
            return statement
        watched.running = None
        captures: list[_Capture] = []
        flushing = watched.scope if self._is_of_flush(watched.scope, statement, options) else None
        if flushing is None:
            captures = [
                _Capture(recorded, capture)
                for recorded in self._recorded(statement)
                if (capture := self._capture(connection, recorded, statement, parameters, options))
            ]
        cause = effects_of(self._keys, _target(statement), statement, parameters)
        cascade = None
        if cause is not None:
            wanted = self._reached(cause)
            if flushing is None:
                wanted = self._wanted(connection, wanted, statement, options, captures)
            if wanted:
                cascade = self._cascade(connection, cause, wanted, captures)
                try:
                    cascade.read(cause, statement, parameters)
                except (LifecycleError, DBAPIError):
                    raise
                except Exception as error:
                    cascade = None
                    unread = self._unread_caused(wanted, statement, connection, error)
                    captures += (_Capture(recorded, whole) for recorded, whole in unread)
        for _, capture in captures:
            if isinstance(capture, Insertion):
                statement = capture.statement
        if captures or cascade is not None:
            watched.running = _Running(statement, captures, cascade, flushing)
        return statement

    def _reached(self, cause: Effects) -> frozenset[Table]:
        table, effects = cause
        return frozenset().union(*(self._keys.reached(table, effect) for effect in effects))

    def _entities_reached(self, cause: Effects) -> list[str]:
        found = [self.tables.of(table) for table in self._reached(cause)]
        return [entity for some in found for recorded in some for entity in _entities(recorded)]

    def _cascade(
        self,
        connection: Connection,
        cause: Effects,
        wanted: frozenset[Table],
        captures: list[_Capture],
    ) -> Cascade:
        own = [
            (recorded, capture)
            for recorded, capture in captures
            if isinstance(capture, Rewrite | Upsert)
        ]
        capture = own[0] if own else None
        return Cascade(connection, self._keys, self.tables, wanted, capture)

    def _wanted(
        self,
        connection: Connection,
        tables: frozenset[Table],
        statement: UpdateBase,
        options: Mapping[str, Any],
        captures: list[_Capture],
    ) -> frozenset[Table]:
        """Of the tables that a statement reaches by foreign keys, those whose rows are asked for.

        To forbid statements forbids those on the table itself.
        """
        target, wanted = _target(statement), set()
        named = _called(statement, target)
        for table in sorted(tables, key=lambda one: one.fullname):
            for recorded in self.tables.of(table):
                mode = self._mode(recorded, options)
                if mode == "off":
                    if table is not target:  # else it is counted already
                        self._services.gaps.note(_entities(recorded), named, "bulk off")
                elif options.get(_SCHEMAS) != connection.get_execution_options().get(_SCHEMAS):
                    self._tell(_entities(recorded), named, f"it has a {_SCHEMAS} of its own")
                elif mode == "statement":
                    faults = self._services.faults
                    whole = Whole(recorded, statement, connection.dialect, faults, cause=CASCADE)
                    captures.append(_Capture(recorded, whole))
                else:
                    wanted.add(table)
        return frozenset(wanted)

    def _is_of_flush(
        self, scope: Scope | None, statement: UpdateBase, options: Mapping[str, Any]
    ) -> bool:
        """Whether the unit of work made the statement, and not somebody who listens to it.

        It brings its own cache of statements, save for association tables.
        """
        return (
            scope is not None
            and scope.is_flushing
            and ("compiled_cache" in options or not self.tables.has_objects(_target(statement)))
        )

    def _recorded(self, statement: UpdateBase) -> Iterator[RecordedTable]:
        target = _target(statement)
        if isinstance(target, Table):
            yield from self.tables.of(target)
            return
        why = "it changes an alias, or more than one table"
        for one in target._from_objects:
            table = getattr(one, "element", one)
            for recorded in self.tables.of(table):
                self._miss(recorded, statement, why)
            cause = effects_of(self._keys, table, statement, ())
            if cause is not None:
                self._tell(self._entities_reached(cause), _called(statement, table), why)

    def _capture(
        self,
        connection: Connection,
        recorded: RecordedTable,
        statement: UpdateBase,
        parameters: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> _Captured | None:
        mode = self._mode(recorded, options)
        if mode == "forbid":
            raise ForbiddenWrite(
                f"{_named(statement, recorded)} is forbidden, for it passes the unit of work by: "
                "change the objects instead, or allow this one with "
                f'execution_options({OPTION}="rows")'
            )
        if mode == "off":
            self._services.gaps.note(_entities(recorded), _named(statement, recorded), "bulk off")
            return None
        if options.get(_SCHEMAS) != connection.get_execution_options().get(_SCHEMAS):
            self._miss(recorded, statement, f"it has a {_SCHEMAS} of its own")
            return None
        if mode == "statement":
            return Whole(recorded, statement, connection.dialect, self._services.faults)
        try:
            if isinstance(statement, Insert):
                return insertion_of(connection, recorded, statement, parameters)
            assert isinstance(statement, Update | Delete)
            return Rewrite(connection, recorded, statement, parameters)
        except (LifecycleError, DBAPIError):
            raise
        except Exception as error:
            return self._unread(recorded, statement, connection, error)

    def _mode(self, recorded: RecordedTable, options: Mapping[str, Any]) -> BulkMode:
        """What was asked for: with the statement, by its models (the strictest), or at all."""
        mode = options.get(OPTION)
        if mode is None:
            modes = {model.policy.bulk or self._services.bulk for model in recorded.models}
            return min(modes, key=_STRICTEST.index)
        if mode not in BULK_MODES:
            raise ConfigurationError(
                f"execution_options({OPTION}={mode!r}) is not known: use {', '.join(BULK_MODES)}"
            )
        known: BulkMode = mode
        return known

    def after(self, connection: Connection, statement: Any, result: CursorResult[Any]) -> None:
        """A statement has run: record what it changed."""
        watched = self._watched.get(connection)
        if watched is None or watched.running is None:
            return
        running, watched.running = watched.running, None
        if running.statement is not statement:
            return  # the one before has failed
        try:
            written = self._written(running, connection, result)
            if running.flushing is not None:
                running.flushing.caused(connection, list(written))
                return
            for some in chunks(written):
                watched.transcript.write(connection, some)
            for recorded, capture in running.captures:
                missed = capture.missed(result)
                if missed:
                    why = f"{missed} of its rows cannot be told from others"
                    self._miss(recorded, statement, why)
        except BaseException as error:
            self.doomed.doom(connection, _called(statement, _target(statement)), error)
            raise
        if watched.scope is None and connection._is_autocommit_isolation():
            watched.transcript.over()

    def _written(
        self, running: _Running, connection: Connection, result: CursorResult[Any]
    ) -> Iterator[Written]:
        own = chain.from_iterable(
            self._own(recorded, capture, connection, result)
            for recorded, capture in running.captures
        )
        if running.cascade is None:
            yield from own
            return
        try:
            yield from running.cascade.written(result, own)
        except (LifecycleError, DBAPIError):
            raise
        except Exception as error:
            yield from own  # what it has not been asked for yet
            wanted = running.cascade.wanted
            for _, whole in self._unread_caused(wanted, running.statement, connection, error):
                yield from whole.written(result)

    def _own(
        self,
        recorded: RecordedTable,
        capture: _Captured,
        connection: Connection,
        result: CursorResult[Any],
    ) -> Iterator[Written]:
        if isinstance(capture, Whole):
            yield from capture.written(result)
            return
        try:
            yield from recorded.written(capture.pairs(result), connection.dialect)
        except (LifecycleError, DBAPIError):
            raise
        except Exception as error:
            unread = self._unread(recorded, capture.statement, connection, error)
            yield from unread.written(result)

    def _unread(
        self,
        recorded: RecordedTable,
        statement: UpdateBase,
        connection: Connection,
        error: Exception,
        cause: str | None = None,
    ) -> Whole:
        """How a statement is recorded whose rows cannot be read.

        Raises ``RecordingError`` when such changes are to fail.
        """
        faults = self._services.faults
        what, why = (
            _called(statement, _target(statement)),
            f"they cannot be read: {cause_of(error)}",
        )
        if not faults.reported:
            rows = "rows" if cause is None else f"rows of {recorded.table.fullname}"
            raise RecordingError(
                f"{what} cannot be recorded: it hits {rows}, and {why}. Correct the column type, "
                f'or record it as a whole with execution_options({OPTION}="statement")'
            ) from None  # it may quote a value
        return Whole(recorded, statement, connection.dialect, faults, why, cause)

    def _unread_caused(
        self,
        tables: frozenset[Table],
        statement: UpdateBase,
        connection: Connection,
        error: Exception,
    ) -> Iterator[tuple[RecordedTable, Whole]]:
        """The same for the rows of other tables that the database changes with it."""
        for table in sorted(tables, key=lambda one: one.fullname):
            for recorded in self.tables.of(table):
                yield recorded, self._unread(recorded, statement, connection, error, CASCADE)

    def rolled_back(self, connection: Connection) -> None:
        """A transaction has been rolled back."""
        self.doomed.over(connection)
        self.over(connection)

    def over(self, connection: Connection) -> None:
        """A transaction has ended; that of a session is over when the session says so."""
        watched = self._watched.get(connection)
        if watched is not None and watched.scope is None:
            watched.transcript.over()

    def raw(self, connection: Connection, text: str, options: Mapping[str, Any]) -> None:
        """SQL text was executed: tell of it when it names recorded tables and words for writing."""
        if OF_THE_LOG in options or self._services.suppression.audit:
            return
        if self.watched(connection) is None:
            return
        recorded, referred = self.tables.names(), self._keys.by_name()
        entities: list[str] = []
        for name in tables_written(text, recorded.keys() | referred.keys()):
            entities += recorded.get(name, ())
            for table in referred.get(name, ()):
                effects = [GONE] if may_delete(text) else []
                effects += [self._keys.changes(table)] if may_update(text) else []
                entities += self._entities_reached((table, tuple(effects)))
        if entities:
            self._tell(entities, shape_of(text), "SQL text, whose rows nobody can know")

    def inside(self, connection: Connection, compiled: Any) -> None:
        """A query was executed: tell of what it changes in common table expressions."""
        if self.watched(connection) is None or self._services.suppression.audit:
            return
        for cte in compiled.ctes:
            if isinstance(cte.element, UpdateBase):
                table, why = _target(cte.element), "it is part of another statement"
                for recorded in self.tables.of(table):
                    self._miss(recorded, cte.element, why)
                cause = effects_of(self._keys, table, cte.element, ())
                if cause is not None:
                    named = _called(cte.element, table)
                    self._tell(self._entities_reached(cause), named, why)

    def _miss(self, recorded: RecordedTable, statement: UpdateBase, why: str) -> None:
        self._tell(_entities(recorded), _named(statement, recorded), why)

    def _tell(self, entities: list[str], what: str, why: str) -> None:
        if self._services.gaps.note(entities, what, why):
            warn(
                f"{what} may change {', '.join(sorted(set(entities)))} and is not recorded: {why}. "
                "Change the objects instead, or execute insert(), update() or delete() of one "
                "table whose rows have keys. lifecycle.coverage() counts such statements; each "
                "shape is told once",
                UnrecordedWriteWarning,
            )


def _entities(recorded: RecordedTable) -> list[str]:
    return [model.entity for model in recorded.models]


def _named(statement: UpdateBase, recorded: RecordedTable) -> str:
    return _called(statement, recorded.table)


def _called(statement: UpdateBase, table: Table) -> str:
    return f"{statement.__visit_name__} of {table.fullname}"


def _target(statement: UpdateBase) -> Any:
    """What a statement changes: of one the ORM splits by tables, the table at hand."""
    for note in ("_emit_insert_table", "_emit_update_table"):
        if note in statement._annotations:
            return statement._annotations[note]
    target: Any = statement.table
    return target._deannotate()


def _listeners(statements: ref[Statements]) -> tuple[tuple[str, Callable[..., Any]], ...]:
    """What to listen to on an engine; it keeps no Lifecycle from going."""

    def before_execute(
        connection: Connection, statement: Any, many: Any, one: Any, options: Any
    ) -> tuple[Any, Any, Any]:
        alive = statements()
        if alive is not None:
            parameters = many or ([one] if one else [])
            if isinstance(statement, TextClause):
                alive.raw(connection, statement.text, options)
            else:
                statement = alive.before(connection, statement, parameters, options)
        return statement, many, one

    def before_cursor_execute(
        connection: Connection, cursor: Any, text: str, _: Any, context: Any, many: bool
    ) -> None:
        compiled = context.compiled
        if compiled is None:  # it is of exec_driver_sql
            alive = statements()
            if alive is not None:
                alive.raw(connection, text, context.execution_options)
        elif getattr(compiled, "ctes", None):
            alive = statements()
            if alive is not None:
                alive.inside(connection, compiled)

    def after_execute(
        connection: Connection, statement: Any, many: Any, one: Any, options: Any, result: Any
    ) -> None:
        alive = statements()
        if alive is not None:
            alive.after(connection, statement, result)

    def release_savepoint(connection: Connection, name: str, context: None) -> None:
        alive = statements()
        if alive is not None and (watched := alive.watched(connection)) is not None:
            watched.transcript.released(name)
        if alive is not None:
            alive.doomed.released(connection, name)

    def rollback_savepoint(connection: Connection, name: str, context: None) -> None:
        alive = statements()
        if alive is not None and (watched := alive.watched(connection)) is not None:
            watched.transcript.rolled_back(name)
        if alive is not None:
            alive.doomed.rolled_back(connection, name)

    def prepare(connection: Connection, *_: object) -> None:
        alive = statements()
        if alive is not None:
            alive.doomed.check(connection)

    def commit(connection: Connection) -> None:
        alive = statements()
        if alive is not None:
            alive.doomed.refuse(connection, connection._rollback_impl)
            alive.over(connection)

    def commit_twophase(connection: Connection, xid: Any, is_prepared: bool) -> None:
        alive = statements()
        if alive is not None:
            roll_back = partial(connection._rollback_twophase_impl, xid, is_prepared)
            alive.doomed.refuse(connection, roll_back)
            alive.over(connection)

    def rollback(connection: Connection, *_: object) -> None:
        alive = statements()
        if alive is not None:
            alive.rolled_back(connection)

    return (
        ("before_execute", before_execute),
        ("after_execute", after_execute),
        ("before_cursor_execute", before_cursor_execute),
        ("release_savepoint", release_savepoint),
        ("rollback_savepoint", rollback_savepoint),
        ("prepare_twophase", prepare),
        ("commit", commit),
        ("rollback", rollback),
        ("commit_twophase", commit_twophase),
        ("rollback_twophase", rollback),
    )
