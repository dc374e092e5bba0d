"""Reading rows as the log has them, and writing them through the unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Dialect, Enum, String, TypeDecorator, select, type_coerce
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session, lazyload, with_parent
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.collections import collection_adapter
from sqlalchemy.orm.exc import StaleDataError

from lifecycle.changes import Operation, split_path
from lifecycle.errors import ConflictError, RestoreConflict
from lifecycle.hiding import filled, hidden_places
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.restoring.classes import Classes
from lifecycle.mappers.sqlalchemy.restoring.identities import identity_of
from lifecycle.mappers.sqlalchemy.restoring.obstacles import Obstacles
from lifecycle.mappers.sqlalchemy.restoring.ordering import Part, layers
from lifecycle.mappers.sqlalchemy.values import plain
from lifecycle.markers import ABSENT, MASKED
from lifecycle.removal import WITH_DELETED
from lifecycle.restoring import Obstacle, Shape, Step, Values

__all__ = ["SqlSite"]


class SqlSite:
    """The rows that one session reaches."""

    def __init__(
        self,
        opened: Callable[[], Session],
        models: Models,
        check: Callable[[Session], None],
        *,
        own: bool,
    ) -> None:
        self._own: Final = own
        self._opened: Final = opened
        self._check: Final = check
        self._classes: Final = Classes(models)

    @property
    def _session(self) -> Session:
        return self._opened()

    def has(self, entity: str) -> bool:
        return self._classes.root(entity) is not None

    def shape(self, entity: str, values: Values) -> Shape:
        model = self._classes.of(entity, values)
        return self._classes.shape(model, _dialect_of(self._session, model))

    # --- reading ---

    def read(self, entity: str, key: str, *, lock: bool = False) -> Values | None:
        root = self._classes.root(entity)
        assert root is not None
        identity = identity_of(root, key)
        if lock:
            self._lock(root, identity)
        with self._session.no_autoflush:
            found = self._session.get(
                root.cls, identity, populate_existing=True, options=[lazyload("*")]
            )
            return None if found is None else self._values(found)

    def _lock(self, root: Model, identity: tuple[Any, ...]) -> None:
        """Keep others from writing the row until the transaction ends, where that is possible."""
        criteria = [
            column == value for column, value in zip(root.mapper.primary_key, identity, strict=True)
        ]
        locking = select(*root.mapper.primary_key).where(*criteria).with_for_update()
        self._session.execute(locking, bind_arguments={"mapper": root.mapper})

    def _values(self, instance: Any) -> dict[str, Any]:
        model = self._classes.of_class(type(instance))
        dialect = _dialect_of(self._session, model)
        hidden = model.policy.mask
        stored = self._stored(instance, model)
        values: dict[str, Any] = {}
        for name in model.fields:
            if name in model.policy.exclude:
                continue
            if name in hidden:
                values[name] = MASKED
            else:
                is_read = name in stored
                value = stored[name] if is_read else _logged(instance, model, name, dialect)
                values[name] = model.policy.hidden(name, value)
        for one in model.many_to_many:
            if one.name not in model.policy.exclude | hidden:
                members = select(one.target.class_).where(
                    with_parent(instance, getattr(model.cls, one.name))
                )
                member_model = self._classes.of_class(one.target.class_)
                values[one.name] = frozenset(
                    member_model.stored_key(instance_state(member)) or ""
                    for member in self._session.scalars(members)
                )
        return values

    def _stored(self, instance: Any, model: Model) -> dict[str, Any]:
        """What the database holds for the fields whose types make something else of it.

        As it is: an encrypting type may write one value in a different way each time.
        """
        names = [name for name in sorted(model.converted) if name not in model.policy.mask]
        if not names:
            return {}
        dialect = _dialect_of(self._session, model)
        columns = [
            type_coerce(getattr(model.cls, name), _raw(model, name, dialect)).label(name)
            for name in names
        ]
        identity = instance_state(instance).key[1]  # type: ignore[index]  # it is persistent
        criteria = [
            getattr(model.cls, name) == part
            for name, part in zip(model.identity, identity, strict=True)
        ]
        row = self._session.execute(select(*columns).where(*criteria)).one()
        return {name: plain(row._mapping[name]) for name in names}

    # --- writing ---

    def obstacles(self, steps: Sequence[Step]) -> Iterator[Obstacle]:
        with self._session.no_autoflush:
            yield from Obstacles(self._session, self._classes, steps).all()

    def apply(self, steps: Sequence[Step]) -> None:
        self._check(self._session)
        try:
            for layer in layers(self._classes, steps):
                for part in layer:
                    self._take(part)
                self._session.flush()
                self._session.expire_all()
        except (DBAPIError, StaleDataError, StatementError) as error:
            cause = getattr(error, "orig", None) or error
            raise ConflictError(
                f"the database refused it ({type(cause).__name__}), so nothing was written: "
                "make a new preview; what is in the way came up since, or is a rule of the "
                "database that the mapping does not tell"
            ) from error

    def make_way(self) -> bool:
        if self._session.get_bind().dialect.name != "sqlite":
            return False
        if not self._own:
            raise RestoreConflict(
                "rows and documents cannot be put back together in a session of the caller's on "
                "SQLite, which has one writer at a time: leave session= out"
            )
        self._session.commit()
        return True

    def _take(self, part: Part) -> None:
        step = part.step
        if step.operation is Operation.INSERT and part.only is None:
            assert step.after is not None
            model = self._classes.of(step.entity, step.after)
            instance = self._marked(model, step.key)
            if instance is None:
                instance = model.mapper.class_manager.new_instance()
            self._assign(instance, model, part, step.after)
            self._session.add(instance)
            self._change_members(instance, model, part)
            return
        found = self._find(step)
        if found is None:
            return
        model = self._classes.of_class(type(found))
        if part.nulled:
            self._assign(found, model, part, dict.fromkeys(part.nulled))
        elif step.operation is Operation.DELETE:
            self._session.delete(found)
        else:
            assert step.after is not None
            touched = {split_path(path)[0] for path in step.changes}
            names = sorted(touched if part.only is None else touched & part.only)
            self._assign(found, model, part, {name: step.after.get(name) for name in names})
            self._change_members(found, model, part)

    def _marked(self, model: Model, key: str) -> Any:
        """The object whose row is there, marked as removed: to change it brings it back."""
        if model.removal is None:
            return None
        found = self._session.get(
            model.cls, identity_of(model, key), execution_options={WITH_DELETED: True}
        )
        if found is not None:
            setattr(found, model.removal.field, None)
        return found

    def _find(self, step: Step) -> Any:
        root = self._classes.root(step.entity)
        assert root is not None
        for key in dict.fromkeys((step.key, step.new_key)):  # a cascade may have moved it already
            found = self._session.get(root.cls, identity_of(root, key))
            if found is not None:
                return found
        return None

    def _assign(self, instance: Any, model: Model, part: Part, values: Values) -> None:
        dialect = _dialect_of(self._session, model)
        shape = self._classes.shape(model, dialect)
        for name, value in values.items():
            if name in model.fields and name not in shape.generated | part.without:
                if any(hidden_places(value)):  # which stays as it is
                    value = filled(value, _logged(instance, model, name, dialect))
                new = None if value is ABSENT else model.python(name, value, dialect)
                setattr(instance, name, new)

    def _change_members(self, instance: Any, model: Model, part: Part) -> None:
        for one in model.many_to_many:
            before = (part.step.before or {}).get(one.name) or frozenset()
            after = (part.step.after or {}).get(one.name) or frozenset()
            target = self._classes.of_class(one.target.class_)
            if part.members in ("all", "add"):
                for key in sorted(after - before):
                    self._member(instance, one.name, target, key, add=True)
            if part.members in ("all", "remove"):
                for key in sorted(before - after):
                    self._member(instance, one.name, target, key, add=False)

    def _member(self, instance: Any, name: str, target: Model, key: str, *, add: bool) -> None:
        member = self._session.get(target.cls, identity_of(target, key))
        if member is None:
            return
        collection = getattr(instance, name)
        if hasattr(collection, "select"):  # one that is never loaded, and knows no members
            known = self._session.scalars(
                select(target.cls).where(with_parent(instance, getattr(type(instance), name)))
            ).all()
            if add is not (member in known):
                (collection.add if add else collection.remove)(member)
            return
        adapter = collection_adapter(collection)
        if add is (member in list(adapter)):
            return
        if add:
            adapter.append_with_event(member)
        else:
            adapter.remove_with_event(member)


def _logged(instance: Any, model: Model, name: str, dialect: Dialect) -> Any:
    return model.logged(name, getattr(instance, name), dialect)


def _raw(model: Model, name: str, dialect: Dialect) -> Any:
    """The type of what is stored, without what the application makes of it."""
    type_ = model.mapper.attrs[name].columns[0].type
    if isinstance(type_, Enum):
        return String()
    while isinstance(type_, TypeDecorator):
        type_ = type_.load_dialect_impl(dialect)
    return String() if isinstance(type_, Enum) else type_


def _dialect_of(session: Session, model: Model) -> Dialect:
    return session.get_bind(model.mapper).dialect
