"""What rows of a table are to the log: objects, parts of objects, or members of collections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from sqlalchemy import Column, Dialect, Join, Table
from sqlalchemy.orm import MANYTOMANY, configure_mappers
from sqlalchemy.orm import Mapper as ORMMapper

from lifecycle.changes import Change, ChangeSet, Delta, Operation
from lifecycle.errors import RecordingError
from lifecycle.faults import Faults
from lifecycle.forms import ATOMS
from lifecycle.mappers.base import Recorder
from lifecycle.mappers.sqlalchemy.batches import batch_of
from lifecycle.mappers.sqlalchemy.members import Members
from lifecycle.mappers.sqlalchemy.model import Model, root_of_hierarchy
from lifecycle.mappers.sqlalchemy.models import Models, configured_mappers
from lifecycle.mappers.sqlalchemy.rows import Images, Pair, RowValues
from lifecycle.mappers.sqlalchemy.telling import Telling
from lifecycle.markers import ABSENT
from lifecycle.policy import entity_of, policy_of
from lifecycle.written import Batch, Plain, Told, Written, in_full

__all__ = ["ReadTable", "RecordedTable", "Tables", "entities_of"]

Logged: TypeAlias = Callable[[str, Any, Dialect], Any]
"""How a field's value goes to the log, by the field's name."""


class ReadTable(Protocol):
    """A table whose rows are read before a statement and after it."""

    @property
    def table(self) -> Table:
        """The table itself."""
        ...

    @property
    def identity(self) -> tuple[Column[Any], ...]:
        """The columns that tell its rows apart."""
        ...

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        """The columns whose values are needed, those of the identity among them."""
        ...

    def columns_for(self, assigned: Set[str]) -> tuple[Column[Any], ...]:
        """Those needed of an UPDATE that sets the columns of these keys."""
        ...


class RecordedTable(ReadTable, Protocol):
    """A table whose rows the log has something to say about."""

    @property
    def is_whole(self) -> bool:
        """Whether its rows are objects, and not parts of objects or members of collections."""
        ...

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that its rows belong to, or whose collections they are members of."""
        ...

    @property
    def collections(self) -> tuple[tuple[str, str], ...]:
        """The entity and name of each collection that its rows are members of."""
        ...

    def written(
        self, pairs: Iterable[Pair], dialect: Dialect, *, carried: bool = False
    ) -> Iterator[Written]:
        """What is to be recorded of rows that were changed.

        ``carried`` says that the database changed them, after the keys they refer to.
        """
        ...

    def told(self, portions: Iterable[Iterable[Pair]], dialect: Dialect) -> Iterator[Told]:
        """The same by values alone, where that is all there is to tell."""
        ...


def entities_of(recorded: RecordedTable) -> list[str]:
    """The names of those models in the log."""
    return [model.entity for model in recorded.models]


class Tables:
    """The tables of the mapped classes, each worked out when a statement first names it."""

    def __init__(self, models: Models, recorder: Recorder, faults: Faults) -> None:
        self._models = models
        self._recorder = recorder
        self._faults = faults
        self._known: dict[Table, tuple[RecordedTable, ...]] = {}
        self._of_joins: dict[Table, list[str]] = {}
        self._names: dict[str, tuple[str, ...]] | None = None
        self._generation = models.generation

    @property
    def generation(self) -> int:
        """Changes when there may be more mapped classes."""
        return self._models.generation

    def of(self, table: Any) -> tuple[RecordedTable, ...]:
        """How the rows of a table are recorded; empty when they are not."""
        if self._generation != self._models.generation:
            self._known, self._names, self._of_joins = {}, None, {}
            self._generation = self._models.generation
        known = self._known.get(table)
        if known is None:
            configure_mappers()  # as every query does that names a mapped class
            known = tuple(self._work_out(table))
            self._known[table] = known
        return known

    def names(self) -> Mapping[str, tuple[str, ...]]:
        """The entities in each recorded table, by its name without schema in lower case."""
        if self._names is None or self._generation != self._models.generation:
            self._names = self._all_names()
        return self._names

    def _all_names(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {}
        for mapper in configured_mappers():
            if self._recorder.wants(policy_of(mapper.class_)):
                entity = entity_of(root_of_hierarchy(mapper))
                secondary = (one.secondary for one in mapper.relationships)
                for table in (*mapper.tables, *secondary):
                    if isinstance(table, Table):
                        found.setdefault(table.name.lower(), set()).add(entity)
        return {name: tuple(sorted(entities)) for name, entities in found.items()}

    def in_joins(self, table: Table) -> list[str]:
        """The entities of classes that are mapped to a join of this table with others."""
        if table not in self._of_joins:
            self._of_joins[table] = [
                entity_of(root_of_hierarchy(mapper))
                for mapper in configured_mappers()
                if isinstance(mapper.local_table, Join)
                and table in mapper.tables
                and self._recorder.wants(policy_of(mapper.class_))
            ]
        return self._of_joins[table]

    def has_objects(self, table: Any) -> bool:
        """Whether the rows of a table are recorded as objects, or parts of them."""
        return any(isinstance(one, _Objects) for one in self.of(table))

    def _work_out(self, table: Table) -> Iterator[RecordedTable]:
        for mapper in configured_mappers():
            if mapper.local_table is table and not mapper.single:
                objects = _Objects(mapper, table, self._models, self._recorder, self._faults)
                if objects.is_wanted:
                    yield objects
                    break
        members = Members(table)
        for mapper in configured_mappers():
            for relationship in mapper.relationships:
                if (
                    relationship.secondary is table
                    and relationship.direction is MANYTOMANY
                    and not relationship.viewonly
                    and relationship.parent is mapper  # else it is inherited, and met there
                ):
                    model = self._models.get(mapper.class_)
                    if self._recorder.wants(model.policy):
                        members.add(model, relationship)
        if members.columns:
            yield members


class _Objects:
    """A table whose rows are objects, or the part of objects that a subclass adds."""

    def __init__(
        self,
        mapper: ORMMapper[Any],
        table: Table,
        models: Models,
        recorder: Recorder,
        faults: Faults,
    ) -> None:
        self.table: Final = table
        self.collections: Final[tuple[tuple[str, str], ...]] = ()
        self._faults = faults
        self._models = models
        self._recorder = recorder
        self._mapper = mapper
        root = models.get(mapper.class_).root
        self.is_whole: Final = mapper.class_ is root
        classes = [one for one in mapper.self_and_descendants if one is mapper or one.single]
        self._names: Final = {one.class_: _names(models.get(one.class_), table) for one in classes}
        self.is_wanted: Final = any(
            recorder.wants(models.get(one.class_).policy) for one in classes
        )
        self.identity: Final = tuple(_own(mapper, column, table) for column in mapper.primary_key)
        self._keys: Final = tuple(column.key for column in self.identity)
        self._discriminator: Final = (
            mapper.polymorphic_on if mapper.polymorphic_on in set(table.columns) else None
        )
        needed = {key for names in self._names.values() for key in names}
        if not self.is_whole:  # its key is a field of the root's table
            for names in self._names.values():
                for column in self.identity:
                    names.pop(column.key, None)
        self.columns: Final = tuple(
            column
            for column in table.columns
            if column.key in needed or column in self.identity or column is self._discriminator
        )
        self.models: Final = tuple(models.get(one.class_) for one in classes)
        marks = {model.cls: self._mark_of(model) for model in self.models}
        self._marks: Final = {cls: key for cls, key in marks.items() if key is not None}

    def _mark_of(self, model: Model) -> str | None:
        """The key of the column that marks rows of a model as removed, if it is in the table."""
        field = None if model.removal is None else model.removal.field
        return next((key for key, name in self._names[model.cls].items() if name == field), None)

    def _unless_marked(self, row: RowValues | None) -> RowValues | None:
        """The row, if it is there for the log."""
        mark = None if row is None else self._marks.get(self._model(row).cls)
        return None if row is None or (mark is not None and row.get(mark) is not None) else row

    def columns_for(self, assigned: Set[str]) -> tuple[Column[Any], ...]:
        if any(one.policy.label is not None or one.removal is not None for one in self.models):
            return self.columns  # nobody knows what a label is made of; a mark takes all
        return tuple(
            column
            for column in self.columns
            if column.key in assigned
            or column in self.identity
            or column is self._discriminator
            or column.onupdate is not None
            or column.server_onupdate is not None
            or column.computed is not None
        )

    def written(
        self, pairs: Iterable[Pair], dialect: Dialect, *, carried: bool = False
    ) -> Iterator[Written]:
        return in_full(self.told([pairs], dialect))

    def told(self, portions: Iterable[Iterable[Pair]], dialect: Dialect) -> Iterator[Told]:
        tellings: dict[Model, Telling | None] = {}
        for some in portions:
            batch = self._batch(some, dialect, tellings) if isinstance(some, Images) else None
            if batch is None:
                yield from self._told_singly(some, dialect, tellings)
            elif batch.keys:
                yield batch

    def _batch(
        self, images: Images, dialect: Dialect, tellings: dict[Model, Telling | None]
    ) -> Batch | None:
        """What there is to tell, in columns; ``None`` when each row has to be looked at."""
        model = self._only_model(images)
        telling = None if model is None else self._telling(model, dialect, tellings)
        if telling is None:
            return None
        return batch_of(images, telling, self._names[telling.model.cls], self._keys, self.is_whole)

    def _telling(
        self, model: Model, dialect: Dialect, known: dict[Model, Telling | None]
    ) -> Telling | None:
        """What tells of objects of a model; none for one that is not recorded."""
        if model not in known:
            wanted = self._recorder.wants(model.policy)
            known[model] = Telling(model, dialect, self._faults) if wanted else None
        return known[model]

    def _only_model(self, images: Images) -> Model | None:
        """The model of all rows, if it is one and nothing but their values says what was done."""
        if self._marks:
            return None
        rows = images.before if images.after is None else images.after
        if self._discriminator is None or rows is None:
            return self.models[0]
        key = self._discriminator.key
        try:
            models = {self._model({key: value}) for value in set(rows.columns[key])}
        except TypeError:  # a value without a hash
            return None
        return models.pop() if len(models) == 1 else None

    def _told_singly(
        self, pairs: Iterable[Pair], dialect: Dialect, tellings: dict[Model, Telling | None]
    ) -> Iterator[Written | Plain]:
        for before, after in pairs:
            if self._marks:
                before, after = self._unless_marked(before), self._unless_marked(after)
            row = after if after is not None else before
            if row is None:
                continue  # it was marked as removed, and still is
            model = self._model(row)
            telling = self._telling(model, dialect, tellings)
            if telling is None:
                continue
            key = self._key(model, row)
            # That an object moves to another key is told by the row that is the whole of it.
            former: str | None = key
            if before is not None and after is not None and self._moved(before, after):
                former = self._key(model, before)
            if former == key and self.is_whole and model.is_plain:
                names = self._names[model.cls]
                if before is None or after is None:
                    state = {name: row[at] for at, name in names.items() if at in row}
                    yield telling.came(key, state) if before is None else telling.went(key, state)
                else:
                    deltas = _differences(model, names, before, after, dialect, model.logged)
                    if deltas:
                        yield telling.updated(key, deltas)
                continue
            error = None
            try:
                changes = self._changes(model, before, after, dialect, model.logged)
            except Exception:
                found: dict[str, str] = {}
                logged = partial(model.logged_or_unknown, found)
                changes = self._changes(model, before, after, dialect, logged)
                error = self._faults.settle(model.entity, key, found)
            if former == key:
                former = None
            if changes or changes.operation is not Operation.UPDATE or former is not None:
                label = None if model.policy.label is None else self._label(model, row)
                yield Written(model.entity, key, changes, model.policy, former, label, error)

    def _model(self, row: RowValues) -> Model:
        """The model of a row: that of the class its discriminator names, if it has one."""
        if self._discriminator is not None:
            named = self._mapper.polymorphic_map.get(row.get(self._discriminator.key))
            if named is not None and named.class_ in self._names:
                return self._models.get(named.class_)
        return self.models[0]

    def _changes(
        self,
        model: Model,
        before: RowValues | None,
        after: RowValues | None,
        dialect: Dialect,
        logged: Logged,
    ) -> ChangeSet:
        names = self._names[model.cls]
        if before is not None and after is not None:
            return ChangeSet(_differences(model, names, before, after, dialect, logged))
        row = before or after
        assert row is not None  # a row that never was is no pair
        state = {name: row[key] for key, name in names.items() if key in row}
        if model.converted or not ATOMS.issuperset(map(type, state.values())):
            state = {name: logged(name, value, dialect) for name, value in state.items()}
        if self.is_whole:
            return ChangeSet.of_state(
                state, Operation.DELETE if after is None else Operation.INSERT
            )
        if after is None:
            return ChangeSet({name: Change(value, ABSENT) for name, value in state.items()})
        return ChangeSet({name: Change(ABSENT, value) for name, value in state.items()})

    def _moved(self, before: RowValues, after: RowValues) -> bool:
        if self.is_whole:
            for key in self._keys:
                if before[key] != after[key]:
                    return True
        return False

    def _key(self, model: Model, row: RowValues) -> str:
        keys = self._keys
        if len(keys) == 1 and type(row[keys[0]]) is int:
            return str(row[keys[0]])  # as `key_text` has it, for every row of every statement
        return model.key_text(tuple([row[key] for key in keys]))

    def _label(self, model: Model, row: RowValues) -> str | None:
        """The label of an object that has just the values of its row; none if it needs more."""
        instance = model.mapper.class_manager.new_instance()
        names = self._names[model.cls]
        instance.__dict__.update({name: row[key] for key, name in names.items() if key in row})
        try:
            return model.policy.label_of(instance)
        except RecordingError:
            return None  # of a flush it would be an error, but here is no object to correct


def _own(mapper: ORMMapper[Any], column: Any, table: Table) -> Column[Any]:
    """The column of this table that holds what a column of the primary key holds."""
    same: Iterable[Column[Any]] = mapper.get_property_by_column(column).columns
    return next(own for own in same if own.table is table)


def _differences(
    model: Model,
    names: Mapping[str, str],
    before: RowValues,
    after: RowValues,
    dialect: Dialect,
    logged: Logged,
) -> dict[str, Delta]:
    found: dict[str, Delta] = {}
    fields = model.fields
    for key, old in before.items():
        new = after.get(key, ABSENT)
        if old is new or (name := names.get(key)) is None:
            continue
        field = fields[name]
        kind = type(new)
        if kind in ATOMS and kind is type(old) and kind is not Decimal and field.compares:
            if old == new:  # as a rule; what else there may be to it, others find out
                continue
        elif field.equal(old, new):
            continue
        if field.to_log is not None or type(old) not in ATOMS or kind not in ATOMS:
            old, new = logged(name, old, dialect), logged(name, new, dialect)
        found[name] = Change(old, new)
    return found


def _names(model: Model, table: Table) -> dict[str, str]:
    """The fields of a model that are in a table, by the keys of their columns."""
    return {
        column.key: name
        for name in model.fields
        for column in model.mapper.attrs[name].columns
        if column.table is table
    }
