"""How one statement is recorded: what is read before it runs, and told when it has run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import Connection, CursorResult, Delete, Insert, Table, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.errors import ConfigurationError, ForbiddenWrite, LifecycleError, RecordingError
from lifecycle.faults import cause_of
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.cascades import Cascade, effects_of
from lifecycle.mappers.sqlalchemy.dml import called, target_of, writes_inside
from lifecycle.mappers.sqlalchemy.foreign_keys import ForeignKeys
from lifecycle.mappers.sqlalchemy.inserts import Insertion, Upsert, insertion_of, is_upsert
from lifecycle.mappers.sqlalchemy.rewrites import Rewrite, tables_assigned
from lifecycle.mappers.sqlalchemy.tables import RecordedTable, Tables, entities_of
from lifecycle.mappers.sqlalchemy.unseen import Unseen
from lifecycle.mappers.sqlalchemy.wholes import Whole
from lifecycle.policy import BULK_MODES, BulkMode, strictest
from lifecycle.written import CASCADE, Told, in_full

__all__ = ["Captured", "Capturing"]

OPTION: Final = "lifecycle_bulk"
"""The execution option that says for one statement how it is recorded."""

_SCHEMAS: Final = "schema_translate_map"

_Way: TypeAlias = Rewrite | Insertion | Upsert | Whole


class _Capture(NamedTuple):
    recorded: RecordedTable
    way: _Way


class Captured(NamedTuple):
    """What is known of a statement before it runs; ``statement`` is what is to run."""

    statement: UpdateBase
    captures: list[_Capture]
    cascade: Cascade | None


class Capturing:
    """Reads what statements will change, as far as it is wanted, and tells what they changed."""

    def __init__(
        self, services: Services, tables: Tables, keys: ForeignKeys, unseen: Unseen
    ) -> None:
        self._services: Final = services
        self._tables: Final = tables
        self._keys: Final = keys
        self._unseen: Final = unseen

    # --- before the statement ---

    def before(
        self,
        connection: Connection,
        statement: UpdateBase,
        parameters: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
        *,
        caused_only: bool,
    ) -> Captured | None:
        """Read what a statement will change; ``None`` when nothing of it is wanted.

        ``caused_only`` asks for nothing but what the database will do by itself.
        """
        if not caused_only and _is_read_by_writing(connection, statement):
            self._unseen.written(statement, target_of(statement), "a part of it writes, too")
            return None
        captures: list[_Capture] = []
        if not caused_only:
            captures = [
                _Capture(recorded, way)
                for recorded in self._recorded(statement)
                if (way := self._way(connection, recorded, statement, parameters, options))
            ]
        cause = effects_of(self._keys, target_of(statement), statement, parameters)
        cascade = None
        if cause is not None:
            wanted = self._keys.reached_by(cause)
            if not caused_only:
                wanted = self._wanted(connection, wanted, statement, options, captures)
            if wanted:
                cascade = self._cascade(connection, wanted, captures)
                try:
                    cascade.read(cause, statement, parameters)
                except (LifecycleError, DBAPIError):
                    raise
                except Exception as error:
                    cascade = None
                    unread = self._unread_caused(wanted, statement, connection, error)
                    captures += (_Capture(recorded, whole) for recorded, whole in unread)
        for _, way in captures:
            if isinstance(way, Insertion):
                statement = way.statement
        if captures or cascade is not None:
            return Captured(statement, captures, cascade)
        return None

    def _recorded(self, statement: UpdateBase) -> Iterator[RecordedTable]:
        target = target_of(statement)
        if isinstance(target, Table):
            yield from self._tables.of(target)
            if entities := self._tables.in_joins(target):
                why = "it changes a part of what a class is mapped to"
                self._unseen.tell(entities, called(statement, target), why)
            if isinstance(statement, Update):
                for other in tables_assigned(statement):
                    yield from self._tables.of(other)
        else:
            self._unseen.of_several(statement)

    def _way(
        self,
        connection: Connection,
        recorded: RecordedTable,
        statement: UpdateBase,
        parameters: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> _Way | None:
        mode = self._mode(recorded, options)
        if mode == "forbid":
            raise ForbiddenWrite(
                f"{called(statement, recorded.table)} is forbidden, for it passes the unit of work "
                "by: change the objects instead, or allow this one with "
                f'execution_options({OPTION}="rows")'
            )
        if mode == "off":
            self._unseen.left_out(recorded, called(statement, recorded.table))
            return None
        if _is_elsewhere(connection, options):
            self._unseen.missed(recorded, statement, _ELSEWHERE)
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
        """What was asked for: with it, around it, by its models (the strictest), or at all."""
        mode = options.get(OPTION, self._services.bulk_here.mode)
        if mode is None:
            return strictest(model.policy.bulk or self._services.bulk for model in recorded.models)
        if mode not in BULK_MODES:
            raise ConfigurationError(
                f"execution_options({OPTION}={mode!r}) is not known: use {', '.join(BULK_MODES)}"
            )
        known: BulkMode = mode
        return known

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
        target, wanted = target_of(statement), set()
        named = called(statement, target)
        for table, recorded in self._in_order(tables):
            mode = self._mode(recorded, options)
            if mode == "off":
                if table is not target:  # else it is counted already
                    self._unseen.left_out(recorded, named)
            elif _is_elsewhere(connection, options):
                self._unseen.tell(entities_of(recorded), named, _ELSEWHERE)
            elif mode == "statement":
                faults = self._services.faults
                whole = Whole(recorded, statement, connection.dialect, faults, cause=CASCADE)
                captures.append(_Capture(recorded, whole))
            else:
                wanted.add(table)
        return frozenset(wanted)

    def _in_order(self, tables: frozenset[Table]) -> Iterator[tuple[Table, RecordedTable]]:
        for table in sorted(tables, key=lambda one: one.fullname):
            for recorded in self._tables.of(table):
                yield table, recorded

    def _cascade(
        self, connection: Connection, wanted: frozenset[Table], captures: list[_Capture]
    ) -> Cascade:
        own = [(recorded, way) for recorded, way in captures if isinstance(way, Rewrite | Upsert)]
        return Cascade(connection, self._keys, self._tables, wanted, own[0] if own else None)

    # --- after the statement ---

    def after(
        self, captured: Captured, connection: Connection, result: CursorResult[Any]
    ) -> Iterator[Told]:
        """What a statement has changed."""
        own = chain.from_iterable(
            self._own(recorded, way, connection, result) for recorded, way in captured.captures
        )
        cascade = captured.cascade
        if cascade is None:
            yield from own
            return
        try:
            yield from cascade.written(result, in_full(own))
        except (LifecycleError, DBAPIError):
            raise
        except Exception as error:
            yield from own  # what it has not been asked for yet
            unread = self._unread_caused(cascade.wanted, captured.statement, connection, error)
            for _, whole in unread:
                yield from whole.written(result)

    def _own(
        self,
        recorded: RecordedTable,
        way: _Way,
        connection: Connection,
        result: CursorResult[Any],
    ) -> Iterator[Told]:
        if isinstance(way, Whole):
            yield from way.written(result)
            return
        try:
            yield from recorded.told(way.portions(result), connection.dialect)
        except (LifecycleError, DBAPIError):
            raise
        except Exception as error:
            unread = self._unread(recorded, way.statement, connection, error)
            yield from unread.written(result)

    def tell_missed(self, captured: Captured, result: CursorResult[Any]) -> None:
        """Tell of the rows that turned out not to be recorded, when all others are."""
        for recorded, way in captured.captures:
            missed = way.missed(result)
            if missed:
                why = (
                    f"{missed} of its rows cannot be told from others by their keys as these are "
                    "read, or were written by others while it ran"
                )
                self._unseen.missed(recorded, captured.statement, why)

    # --- when rows cannot be read ---

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
        why = f"they cannot be read: {cause_of(error)}"
        if not faults.reported:
            rows = "rows" if cause is None else f"rows of {recorded.table.fullname}"
            raise RecordingError(
                f"{called(statement, target_of(statement))} cannot be recorded: it hits {rows}, "
                f"and {why}. Correct the column type, or record it as a whole with "
                f'execution_options({OPTION}="statement")'
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
        for _, recorded in self._in_order(tables):
            yield recorded, self._unread(recorded, statement, connection, error, CASCADE)


def _is_read_by_writing(connection: Connection, statement: UpdateBase) -> bool:
    """Whether to read the rows of a statement would be to write what a part of it writes.

    Only PostgreSQL knows such parts. Of new rows nothing is read before.
    """
    reads = not isinstance(statement, Insert) or is_upsert(statement)
    return reads and connection.dialect.name == "postgresql" and writes_inside(statement)


_ELSEWHERE: Final = f"it has a {_SCHEMAS} of its own"


def _is_elsewhere(connection: Connection, options: Mapping[str, Any]) -> bool:
    """Whether a statement goes to other schemas than what is read beside it."""
    return bool(options.get(_SCHEMAS) != connection.get_execution_options().get(_SCHEMAS))
