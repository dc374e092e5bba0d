"""Mapped objects as behaviours ask of them: by key, by field, and where they came from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, Select, Table, TypeDecorator, event, inspect, select, tuple_
from sqlalchemy.exc import InvalidRequestError, UnboundExecutionError
from sqlalchemy.orm import InstanceState, Mapper, Session, class_mapper, object_session
from sqlalchemy.orm.attributes import flag_dirty, instance_state
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from lifecycle.errors import ConfigurationError
from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.model import mapper_of, root_of_hierarchy
from lifecycle.mappers.sqlalchemy.models import all_mappers
from lifecycle.objects import Identity, Row, converted
from lifecycle.policy import entity_of
from lifecycle.removal import WITH_DELETED

__all__ = ["OBJECTS", "SqlObjects", "can_await"]

_AT_ONCE: Final = 1_000
_UNASSIGNED: Final = "_lifecycle_unassigned"

_tables: Final[WeakKeyDictionary[Engine, dict[Table, bool]]] = WeakKeyDictionary()
"""Which tables are in the database of each engine, of those that were asked about."""


class SqlObjects:
    """The objects of every mapped class there is."""

    def maps(self, cls: type) -> bool:
        return mapper_of(cls) is not None

    def classes(self) -> Iterable[type]:
        return [mapper.class_ for mapper in all_mappers()]

    def is_current(self, cls: type) -> bool:
        return mapper_of(cls) is not None  # a registry lets go of what is defined again

    def entity(self, cls: type) -> str:
        return entity_of(root_of_hierarchy(class_mapper(cls, configure=False)))

    # --- one object ---

    def identity(self, instance: Any) -> Identity | None:
        state = instance_state(instance)
        known = state.key[1] if state.key is not None else (None,) * len(state.mapper.primary_key)
        names = self.identity_fields(type(instance))
        found = tuple(state.dict.get(name, part) for name, part in zip(names, known, strict=True))
        return None if None in found else found

    def peek(self, instance: Any, fields: Sequence[str]) -> Identity | None:
        state = instance_state(instance)
        values = state.dict
        if state.key is not None and not all(name in values for name in fields):
            return None
        return tuple(map(values.get, fields))

    def values_at(self, instance: Any, path: str) -> list[Any]:
        self.check_path(type(instance), path)
        return []

    def stamp(self, instance: Any) -> object:
        return instance_state(instance).runid  # of the query that filled it last

    def stands(self, instance: Any, stamp: object) -> bool:
        state = instance_state(instance)
        return state.key is None or state.modified

    def is_gone(self, instance: Any) -> bool:
        return bool(instance_state(instance).was_deleted)

    def await_assignment(self, instance: Any, fields: Sequence[str]) -> None:
        cls = type(instance)
        for name in fields:
            attribute = getattr(cls, name)
            if not event.contains(attribute, "set", _assigned):
                event.listen(attribute, "set", _assigned, raw=True)
        vars(instance).setdefault(_UNASSIGNED, set()).update(fields)

    def awaits_assignment(self, instance: Any, fields: Sequence[str]) -> bool:
        unassigned: set[str] = vars(instance).get(_UNASSIGNED, set())
        return unassigned.issuperset(fields)

    def unsaved(self, instance: Any) -> str | None:
        state = instance_state(instance)
        if state.transient:
            return "was never saved: there is nothing to bring back"
        if state.was_deleted or state.deleted:
            return (
                "has left its session, which has deleted it: find it again, as in "
                "session.scalars(with_deleted(select(…)))"
            )
        session = state.session
        if session is None:
            return (
                "is in no session: session.add(…) it, or find it again by with_deleted(select(…))"
            )
        if state in session._deleted:
            return "is in a session that is about to delete it: session.add(…) takes that back"
        return None

    def siblings(self, instance: Any) -> Iterator[Any]:
        state, session = instance_state(instance), object_session(instance)
        if session is None or state.runid is None:
            yield instance
            return
        for other in session.identity_map.all_states():
            if other.runid == state.runid:
                found = other.obj()
                if found is not None:
                    yield found

    def touch(self, instance: Any) -> None:
        if object_session(instance) is not None:
            flag_dirty(instance)

    def is_in(self, instance: Any, session: Any) -> bool:
        return session is not None and object_session(instance) is session

    def session_of(self, instance: Any, cls: type) -> Session | None:
        if not isinstance(inspect(instance, raiseerr=False), InstanceState):
            return None
        session = object_session(instance)
        return session if session is not None and self.reaches(session, cls) else None

    # --- a class ---

    def identity_fields(self, cls: type) -> tuple[str, ...]:
        mapper: Mapper[Any] = class_mapper(cls)
        return tuple(mapper.get_property_by_column(one).key for one in mapper.primary_key)

    def as_identity(self, cls: type, values: Sequence[Any]) -> Identity | None:
        columns = class_mapper(cls).primary_key
        if len(values) != len(columns):
            return None
        try:
            return tuple(
                _as_type(value, column.type) for value, column in zip(values, columns, strict=True)
            )
        except (ValueError, TypeError, ArithmeticError):
            return None

    def fitted(self, cls: type, fields: Sequence[str], values: Sequence[Any]) -> Identity:
        types = [class_mapper(cls).attrs[name].columns[0].type for name in fields]
        try:
            return tuple(map(_as_type, values, types))
        except (TypeError, ArithmeticError) as error:
            raise ValueError(str(error)) from error

    def is_nullable(self, cls: type, field: str) -> bool:
        return bool(class_mapper(cls).attrs[field].columns[0].nullable)

    def check_path(self, cls: type, path: str) -> None:
        raise ConfigurationError(
            f"{path!r} leads nowhere in {cls.__qualname__}, for no documents are embedded in rows: "
            "name a Document class"
        )

    def reaches(self, session: Any, cls: type) -> bool:
        """Whether the database that the session would ask about the class has its table."""
        mapper = mapper_of(cls)
        if mapper is None or not isinstance(session, Session):
            return False
        table = mapper.local_table
        if not isinstance(table, Table):
            table = class_mapper(root_of_hierarchy(mapper)).local_table
        try:
            bind = session.get_bind(mapper)
        except UnboundExecutionError:
            return False
        known = _tables.setdefault(bind.engine, {})
        if table not in known:
            if bind.dialect.is_async and not can_await():
                return False  # it cannot be asked here
            try:
                connection = session.connection(bind_arguments={"mapper": mapper})
            except InvalidRequestError:
                return False  # its transaction is over, and no new one can begin yet
            assert isinstance(table, Table)
            known[table] = inspect(connection).has_table(table.name, schema=table.schema)
        return known[table]

    # --- queries ---

    def load(self, cls: type, identities: Sequence[Identity], session: Any) -> list[Any]:
        found, wanted = [], []
        mapper: Mapper[Any] = class_mapper(cls)
        for identity in dict.fromkeys(identities):
            key = mapper.identity_key_from_primary_key(identity)
            there = session.identity_map.get(key)
            if there is None or inspect(there).expired or not isinstance(there, cls):
                wanted.append(identity)
            else:
                found.append(there)
        columns = mapper.primary_key
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            found += session.scalars(select(cls).where(is_one_of(columns, some)))
        return found

    def find(
        self,
        cls: type,
        fields: Sequence[str],
        values: Sequence[Identity],
        session: Any,
        *,
        after: Identity | None = None,
        limit: int | None = None,
    ) -> list[Any]:
        keys = [getattr(cls, name) for name in self.identity_fields(cls)]
        columns = [getattr(cls, name) for name in fields]
        found: list[Any] = []
        for start in range(0, len(values), _AT_ONCE):
            query: Select[Any] = select(cls).where(
                is_one_of(columns, values[start : start + _AT_ONCE])
            )
            if after is not None:
                query = query.where(_beyond(keys, after))
            found += session.scalars(query.order_by(*keys).limit(limit))
        return found

    def existing(self, cls: type, identities: Sequence[Identity], session: Any) -> set[Identity]:
        keys = [getattr(cls, name) for name in self.identity_fields(cls)]
        query: Select[Any] = select(*keys).where(is_one_of(keys, list(identities)))
        found = session.execute(query, execution_options={WITH_DELETED: True})
        return {tuple(row) for row in found}

    def rows(
        self, cls: type, fields: Sequence[str], session: Any, after: Identity | None, limit: int
    ) -> list[Row]:
        keys = [getattr(cls, name) for name in self.identity_fields(cls)]
        columns = [getattr(cls, name) for name in fields]
        query: Select[Any] = select(*keys, *columns).where(
            *(column.is_not(None) for column in columns)
        )
        if after is not None:
            query = query.where(_beyond(keys, after))
        return [
            Row(tuple(row[: len(keys)]), tuple(row[len(keys) :]))
            for row in session.execute(query.order_by(*keys).limit(limit))
        ]

    async def in_background(self, run: Callable[[], None]) -> None:
        await greenlet_spawn(run)

    # --- writing ---

    def save(self, instance: Any, session: Any) -> None:
        """The commit flushes it."""

    def delete(self, instance: Any, session: Any) -> None:
        session.delete(instance)

    def commit(self, session: Any) -> None:
        session.commit()


OBJECTS: Final = SqlObjects()


def _assigned(state: InstanceState[Any], value: Any, old: Any, initiator: Any) -> None:
    """Listens to fields of the classes that have had to wait for an identifier."""
    state.dict.get(_UNASSIGNED, set()).discard(initiator.key)


def can_await() -> bool:
    """Whether this runs in a task that SQLAlchemy can await in."""
    return bool(sys.modules.get("greenlet")) and in_greenlet()


def _as_type(value: Any, type_: TypeEngine[Any]) -> Any:
    """A value as a column takes it; a type that makes something else of it takes its own."""
    if isinstance(type_, TypeDecorator) and "python_type" not in vars(type(type_)):
        own = "process_bind_param" in vars(type(type_))
        return value if own else _as_type(value, type_.impl_instance)
    try:
        kind = type_.python_type
    except NotImplementedError:
        return value
    return converted(value, kind)


def _beyond(columns: Sequence[Any], values: Identity) -> Any:
    return columns[0] > values[0] if len(columns) == 1 else tuple_(*columns) > values
