"""What the database would have against some steps, asked before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Column, ForeignKeyConstraint, Table, literal, select
from sqlalchemy.orm import Mapper, Session

from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.model import Model, attribute_of
from lifecycle.mappers.sqlalchemy.models import configured_mappers
from lifecycle.mappers.sqlalchemy.restoring.classes import Classes
from lifecycle.mappers.sqlalchemy.restoring.facts import (
    Columns,
    Facts,
    Reference,
    tables_of,
    value_of,
)
from lifecycle.restoring import Obstacle, ObstacleKind, Said, Step, Values

__all__ = ["Obstacles"]

_ENOUGH: Final = 5  # rows named that refer to one that is to go


class Obstacles:
    """Looks at all steps together, for one may remove what is in another's way."""

    def __init__(self, session: Session, classes: Classes, steps: Sequence[Step]) -> None:
        self._session = session
        self._classes = classes
        self._steps = steps
        self._by_key = {(step.entity, step.key): step for step in steps}
        self._by_new_key = {
            (step.entity, step.new_key): step for step in steps if step.after is not None
        }
        self._by_columns: dict[Columns, tuple[set[Any], set[Any]]] = {}
        self._mappers = {
            table: mapper for mapper in configured_mappers() for table in _own_tables(mapper)
        }

    def all(self) -> Iterator[Obstacle]:
        """Every obstacle there is."""
        for step in self._steps:
            model = self._classes.of(step.entity, step.after or step.before or {})
            facts = self._classes.facts(model)
            if step.after is not None:
                yield from self._missing_targets(step, facts, step.after)
                yield from self._missing_members(step, model)
                yield from self._taken(step, facts, step.after)
            else:
                yield from self._left_behind(step, model)

    # --- what it needs ---

    def _missing_targets(self, step: Step, facts: Facts, after: Values) -> Iterator[Obstacle]:
        for reference in facts.references:
            wanted = value_of(after, reference.fields)
            if wanted is None or wanted == value_of(step.before, reference.fields):
                continue
            if not self._is_there(facts.model, reference, wanted):
                told = ", ".join(map(repr, wanted))
                field = ", ".join(reference.fields)
                yield _obstacle(
                    step,
                    "reference",
                    Said(
                        "%(field)s would refer to %(target)s, which is not there",
                        field=field,
                        target=f"{reference.target[0].table.name} {told}",
                    ),
                    field,
                )

    def _is_there(self, model: Model, reference: Reference, wanted: tuple[Any, ...]) -> bool:
        brought, taken = self._planned(reference.target)
        if wanted in brought:
            return True
        if wanted in taken:  # it goes, or gets another key
            return False
        parts = self._python(model, reference.fields, wanted)
        query = select(literal(1)).where(
            *(column == part for column, part in zip(reference.target, parts, strict=True))
        )
        return self._first(model, query) is not None

    def _planned(self, target: Columns) -> tuple[set[Any], set[Any]]:
        """What rows will hold in some columns after the steps, and what they hold before."""
        if target not in self._by_columns:
            brought, taken = self._by_columns[target] = (set(), set())
            for step in self._steps:
                model = self._classes.of(step.entity, step.after or step.before or {})
                names = self._classes.facts(model).names(target)
                if names is not None:
                    brought.add(value_of(step.after, names))
                    taken.add(value_of(step.before, names))
        return self._by_columns[target]

    def _missing_members(self, step: Step, model: Model) -> Iterator[Obstacle]:
        for one in model.many_to_many:
            before = (step.before or {}).get(one.name) or frozenset()
            after = (step.after or {}).get(one.name) or frozenset()
            target = self._classes.of_class(one.target.class_)
            for key in sorted(after - before):
                there = (target.entity, key) in self._by_new_key or (
                    (target.entity, key) not in self._by_key
                    and self._classes.exists(self._session, target, key)
                )
                if not there:
                    yield _obstacle(
                        step,
                        "reference",
                        Said(
                            "%(field)s would have %(target)s again, which is not there",
                            field=one.name,
                            target=f"{target.entity} {key}",
                        ),
                        one.name,
                    )

    # --- what is taken ---

    def _taken(self, step: Step, facts: Facts, after: Values) -> Iterator[Obstacle]:
        uniques = list(facts.uniques)
        if step.new_key != step.key:
            uniques.append(facts.model.identity)
        for unique in uniques:
            wanted = value_of(after, unique)
            if wanted is None or wanted == value_of(step.before, unique):
                continue
            holder = self._holder(step, facts, unique, wanted)
            if holder is not None:
                named = ", ".join(
                    f"{name}={value!r}" for name, value in zip(unique, wanted, strict=True)
                )
                told = Said(
                    "%(value)s is taken by %(object)s",
                    value=named,
                    object=f"{step.entity} {holder}",
                )
                yield _obstacle(step, "unique", told, unique[0])

    def _holder(
        self, step: Step, facts: Facts, unique: tuple[str, ...], wanted: tuple[Any, ...]
    ) -> str | None:
        """The key of another object that has, and keeps, a unique value."""
        values = self._python(facts.model, unique, wanted)
        columns = facts.columns(unique)
        mapper = facts.model.mapper
        identity = facts.columns(facts.model.identity)
        query = (
            select(*identity)
            .select_from(mapper.persist_selectable)
            .where(*(column == value for column, value in zip(columns, values, strict=True)))
        )
        row = self._first(facts.model, query)
        if row is None:
            return None
        key = key_text(tuple(row))
        if key == step.key and step.before is not None:
            return None
        other = self._by_key.get((step.entity, key))
        if other is not None and value_of(other.after, unique) != wanted:
            return None
        return key

    # --- what it would leave behind ---

    def _left_behind(self, step: Step, model: Model) -> Iterator[Obstacle]:
        own = set(tables_of(model))
        secondaries = {
            relationship.secondary
            for relationship in model.mapper.relationships
            if relationship.secondary is not None and not relationship.viewonly
        }
        tables = {table for one in own for table in one.metadata.tables.values()}
        for table in sorted(tables, key=lambda one: one.fullname):
            if table in secondaries:
                continue
            for constraint in sorted(table.foreign_key_constraints, key=lambda one: str(one.name)):
                joins = table in own and constraint.referred_table is not table
                if constraint.referred_table in own and not joins:
                    yield from self._referring(step, model, table, constraint)

    def _referring(
        self, step: Step, model: Model, table: Table, constraint: ForeignKeyConstraint
    ) -> Iterator[Obstacle]:
        names = self._classes.facts(model).names(tuple(one.column for one in constraint.elements))
        wanted = None if names is None else value_of(step.before, names)
        if names is None or wanted is None:
            return
        values = self._python(model, names, wanted)
        criteria = [
            column == value for column, value in zip(constraint.columns, values, strict=True)
        ]
        mapper = self._mappers.get(table)
        columns: list[Any] = list(mapper.primary_key if mapper else table.primary_key)
        columns = columns or list(table.columns)
        planned = len(self._steps)
        query = (
            select(*(_column_in(table, column) for column in columns))
            .where(*criteria)
            .limit(_ENOUGH + planned)
        )
        bind = {"mapper": model.mapper}
        told = 0
        for row in self._session.execute(query, bind_arguments=bind):
            name = self._stays(step, model, mapper, table, constraint, tuple(row), columns)
            if name is not None and told < _ENOUGH:
                told += 1
                yield _obstacle(step, "referenced", Said("%(object)s refers to it", object=name))

    def _stays(
        self,
        step: Step,
        model: Model,
        mapper: Mapper[Any] | None,
        table: Table,
        constraint: ForeignKeyConstraint,
        row: tuple[Any, ...],
        columns: list[Any],
    ) -> str | None:
        """What is left behind, by name; ``None`` for what the other steps take away."""
        if mapper is None:
            return self._stays_member(step, table, constraint, row, columns)
        owner = self._classes.of_class(mapper.class_)
        key = key_text(row)
        if owner.entity == step.entity and key == step.key:
            return None
        other = self._by_key.get((owner.entity, key))
        if other is not None:
            names = [attribute_of(mapper, column) for column in constraint.columns]
            if other.after is None or any(name in other.changes for name in names if name):
                return None
        return f"{owner.entity} {key}"

    def _stays_member(
        self,
        step: Step,
        table: Table,
        constraint: ForeignKeyConstraint,
        row: tuple[Any, ...],
        columns: list[Any],
    ) -> str | None:
        """The same for a row of an association table that only its other end knows."""
        values: dict[Any, Any] = dict(zip(columns, row, strict=True))
        for other in self._steps:
            theirs = self._classes.of(other.entity, other.after or other.before or {})
            for relationship in theirs.mapper.relationships:
                if relationship.secondary is not table or relationship.viewonly:
                    continue
                pairs = relationship.synchronize_pairs
                own = tuple((attribute_of(theirs.mapper, local), remote) for local, remote in pairs)
                is_it = all(
                    name is not None and (other.before or {}).get(name) == values.get(remote)
                    for name, remote in own
                )
                gone = (other.before or {}).get(relationship.key) or frozenset()
                kept = (other.after or {}).get(relationship.key) or frozenset()
                if is_it and (other.after is None or step.key in gone - kept):
                    return None
        return Said("a row of %(table)s", table=table.name)

    # --- asking ---

    def _python(
        self, model: Model, names: tuple[str, ...], values: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        dialect = self._session.get_bind(model.mapper).dialect
        return tuple(
            model.python(name, value, dialect) for name, value in zip(names, values, strict=True)
        )

    def _first(self, model: Model, query: Any) -> Any:
        bind = {"mapper": model.mapper}
        return self._session.execute(query.limit(1), bind_arguments=bind).first()


def _own_tables(mapper: Mapper[Any]) -> Iterator[Any]:
    if mapper.local_table is not None and not mapper.single:
        yield mapper.local_table


def _column_in(table: Table, column: Column[Any]) -> Any:
    """A key's column as a table has it; that of a joined table goes by another name."""
    if column.table is table:
        return column
    own = [one for one in table.primary_key if any(fk.column is column for fk in one.foreign_keys)]
    return own[0] if own else next(iter(table.primary_key))


def _obstacle(step: Step, kind: ObstacleKind, message: str, field: str | None = None) -> Obstacle:
    return Obstacle(entity=step.entity, key=step.key, kind=kind, message=message, field=field)
