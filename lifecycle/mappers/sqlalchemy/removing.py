"""Marking rows as removed in place of deleting them, and hiding what is marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Delete, Engine, select, true, update
from sqlalchemy.orm import (
    LoaderCriteriaOption,
    Mapper,
    ORMExecuteState,
    RelationshipProperty,
    Session,
    with_parent,
)
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.base import PassiveFlag
from sqlalchemy.orm.collections import collection_adapter
from sqlalchemy.orm.interfaces import ORMOption, RelationshipDirection

from lifecycle.bundles import filled, fitted
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.context import Suppression
from lifecycle.mappers.sqlalchemy.exists import without_marked
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models, configured_mappers
from lifecycle.mappers.sqlalchemy.reading import State
from lifecycle.mappers.sqlalchemy.tables import RecordedTable
from lifecycle.removal import HARD, WITH_DELETED, Removal, hard, is_hard, removal_of

__all__ = ["Removing", "is_marked", "marked_elsewhere"]


class _Hiding(LoaderCriteriaOption):
    """Hides the marked rows of a class.

    Loaded objects keep it for what they load later, and it is pickled with them: by its class
    alone, for SQLAlchemy would pickle the condition with the whole mapping in it, and fail.
    """

    _traverse_internals = LoaderCriteriaOption._traverse_internals  # else no query is cached

    def __reduce__(self) -> tuple[Any, ...]:
        assert self.entity is not None
        return _hiding, (self.entity.mapper.class_,)


def _hiding(model: type) -> _Hiding:
    removal = removal_of(model)  # none if the model had one when it was pickled, and has no more
    unmarked = true() if removal is None else getattr(model, removal.field).is_(None)
    return _Hiding(model, unmarked, include_aliases=True)


class Removing:
    """What is to be marked, and what is marked already, in the sessions of one Lifecycle."""

    def __init__(self, models: Models, suppression: Suppression) -> None:
        self._models: Final = models
        self._suppression: Final = suppression
        self._criteria: tuple[ORMOption, ...] = ()
        self._marks: tuple[Column[Any], ...] = ()
        self._generation = -1

    # --- statements ---

    def of_orm(self, state: ORMExecuteState) -> Any:
        """Hide marked rows from a statement, and let a DELETE of a mapped class mark them.

        Returns the result, of what was executed instead; ``None`` to go on.
        """
        if self._generation != self._models.generation:
            self._look()
        if not self._criteria or state.is_column_load:
            return None
        if not state.execution_options.get(WITH_DELETED):
            hidden = without_marked(state.statement, self._marks)
            state.statement = hidden.options(*self._criteria)
        if isinstance(state.statement, Delete) and not state.execution_options.get(HARD):
            return self._marking(state, state.statement)
        return None

    def _look(self) -> None:
        self._generation = self._models.generation
        soft = [
            (mapper, removal)
            for mapper in configured_mappers()
            if (removal := removal_of(mapper.class_)) is not None
            and (mapper.inherits is None or removal_of(mapper.inherits.class_) is None)
        ]
        self._criteria = tuple(_hiding(mapper.class_) for mapper, _ in soft)
        self._marks = tuple(mapper.attrs[one.field].columns[0] for mapper, one in soft)

    def _marking(self, state: ORMExecuteState, statement: Delete) -> Any:
        mapper = statement._propagate_attrs.get("plugin_subject")
        removal = removal_of(mapper.class_) if isinstance(mapper, Mapper) else None
        if removal is None or self._suppression.hooks:
            return None
        assert isinstance(mapper, Mapper)
        session, field = state.session, removal.field
        model = self._models.get(mapper.class_)
        owner, joined = _to_owner(mapper, field)
        marking = update(owner.class_).values({field: model.fitted(field, removal.mark())})
        marking._where_criteria = (*statement._where_criteria, *joined)
        marking._returning = statement._returning
        marking._with_options = statement._with_options
        result = session.execute(
            marking, state.parameters, execution_options=state.execution_options
        )
        marked = [
            one
            for one in session.identity_map.all_states()
            if issubclass(one.class_, mapper.class_) and one.dict.get(field) is not None
        ]
        if not state.execution_options.get(WITH_DELETED):
            session._remove_newly_deleted(marked)
        return result

    # --- objects ---

    def reach(self, session: Session, reached: set[State]) -> bool:
        """Let what is really deleted take along what is marked below it, which no cascade sees.

        ``reached`` has the objects that were looked at in this flush. Returns whether the session
        is to delete more now.
        """
        more = False
        while states := _with_cascades(filter(self._is_hard, session._deleted)) - reached:
            reached |= states
            for state in states:
                for relationship in state.mapper.relationships if state.persistent else ():
                    if _takes_along(relationship):
                        more |= _taken_along(session, state, relationship)
        return more

    def _is_hard(self, state: State) -> bool:
        """Whether an object that is to be deleted really is."""
        return self._suppression.hooks or is_hard(state.obj())

    def mark(self, session: Session, states: Iterable[State]) -> Iterator[State]:
        """Mark those of the objects to be deleted that their models let be marked.

        Gives the ones that are not deleted therefore.
        """
        if self._suppression.hooks:
            return
        soft = {state: removal for state in states if (removal := removal_of(state.class_))}
        if not soft:
            return
        spared = _with_cascades(state for state in session._deleted if is_hard(state.obj()))
        for state, removal in soft.items():
            if state in spared:
                continue
            instance = session._deleted.pop(state)
            if state.dict.get(removal.field) is None:
                self._mark(self._models.get(state.class_), instance, removal)
            yield state

    def _mark(self, model: Model, instance: Any, removal: Removal) -> None:
        mark = model.fitted(removal.field, removal.mark())
        setattr(instance, removal.field, mark)
        changes = ChangeSet({removal.field: Change(None, mark)}, Operation.UPDATE)
        more = filled(model.cls, changes)
        for name, value in fitted(model.cls, more, model.fitted).items():
            setattr(instance, name, value)


def _to_owner(mapper: Mapper[Any], field: str) -> tuple[Mapper[Any], list[ColumnElement[bool]]]:
    """The mapper whose table has a column, and what picks a subclass's rows of it.

    An ``UPDATE`` of the subclass would not join its table to that one.
    """
    table = mapper.attrs[field].columns[0].table
    if mapper.local_table is table:
        return mapper, []
    above = [*mapper.iterate_to_root()]
    owner = next(one for one in above if one.local_table is table)
    conditions = [mapper._single_table_criterion]
    conditions += [one.inherit_condition for one in above[: above.index(owner)]]
    return owner, [one for one in conditions if one is not None]


def _with_cascades(states: Iterable[State]) -> set[State]:
    """Objects that are really deleted, with those whose delete follows from theirs."""
    found = set(states)
    for state in list(found):
        for _, _, other, _ in state.mapper.cascade_iterator("delete", state):
            found.add(other)
    return found


def _takes_along(relationship: RelationshipProperty[Any]) -> bool:
    """Whether a delete changes what a relationship leads to, which may be marked."""
    return (
        removal_of(relationship.mapper.class_) is not None
        and relationship.direction is not RelationshipDirection.MANYTOONE
        and not relationship.viewonly
        and not relationship.passive_deletes
        and relationship.lazy not in ("dynamic", "write_only")
    )


def _taken_along(session: Session, state: State, relationship: RelationshipProperty[Any]) -> bool:
    """Put what is marked into a relationship of an object that is deleted, as the flush has it.

    It is deleted too if the relationship says so; returns whether anything is.
    """
    instance, target = state.obj(), relationship.mapper.class_
    removal = removal_of(target)
    assert removal is not None  # else nothing there is marked
    query = select(target).where(
        with_parent(instance, relationship.class_attribute),
        getattr(target, removal.field).is_not(None),
    )
    found = session.scalars(query, execution_options={WITH_DELETED: True}).all()
    there = state.manager[relationship.key].impl.get(
        state, state.dict, passive=PassiveFlag.PASSIVE_OFF | PassiveFlag.NO_RAISE
    )
    if not relationship.uselist:
        if found and there is None:
            set_committed_value(instance, relationship.key, found[0])
    elif not isinstance(there, Mapping):  # where one could take the place of another
        known = {id(one) for one in collection_adapter(there)}
        for one in found:
            if id(one) not in known:
                collection_adapter(there).append_without_event(one)
    for one in found if relationship.cascade.delete else ():
        session.delete(hard(one))
    return relationship.cascade.delete and bool(found)


def is_marked(state: State) -> bool:
    """Whether an object is marked as removed, as memory has it."""
    removal = removal_of(state.class_)
    return removal is not None and state.dict.get(removal.field) is not None


def marked_elsewhere(recorded: RecordedTable, engine: Engine) -> set[tuple[str, str]]:
    """The entity and key of objects of a table that a column of another table marks as removed."""
    found: set[tuple[str, str]] = set()
    for model in () if recorded.is_whole else recorded.models:
        if model.removal is not None:
            mark = model.mapper.attrs[model.removal.field].columns[0]
            identity = list(mark.table.primary_key)
            query = select(*identity).where(mark.is_not(None))
            with engine.connect() as connection:
                rows = connection.execute(query)
                found.update((model.entity, model.key_text(tuple(row))) for row in rows)
    return found
