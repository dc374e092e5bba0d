"""Which foreign keys make the database change rows by itself, and which rows they reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Connection, Engine, ForeignKeyConstraint, Table
from sqlalchemy.exc import NoReferenceError

from lifecycle.mappers.sqlalchemy.models import configured_mappers
from lifecycle.mappers.sqlalchemy.tables import Tables
from lifecycle.mappers.sqlalchemy.targets import root_of

__all__ = ["GONE", "Effect", "Effects", "ForeignKeys", "Reference", "changed"]

_SETTING: Final = ("SET NULL", "SET DEFAULT")
_CARRYING: Final = "CASCADE"


class Effect(NamedTuple):
    """What happens to rows of a table: they go, or columns of them change."""

    gone: bool
    columns: frozenset[Column[Any]]


Effects: TypeAlias = tuple[Table, tuple[Effect, ...]]
"""A table, and what a statement may do to its rows."""

GONE: Final = Effect(True, frozenset())


def changed(columns: Iterable[Column[Any]]) -> Effect:
    """That these columns change."""
    return Effect(False, frozenset(columns))


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A foreign key: columns of a table that refer to columns of another, or of the same."""

    table: Table
    columns: tuple[Column[Any], ...]
    to: Table
    referred: tuple[Column[Any], ...]
    ondelete: str
    onupdate: str

    @property
    def acts(self) -> bool:
        """Whether the database does anything but refuse."""
        actions = (_CARRYING, *_SETTING)
        return self.ondelete.startswith(actions) or self.onupdate.startswith(actions)

    def effect(self, cause: Effect) -> Effect | None:
        """What happens to the rows that refer to rows to which that happens."""
        if cause.gone:
            if self.ondelete.startswith(_CARRYING):
                return GONE
            return changed(self.columns) if self.ondelete.startswith(_SETTING) else None
        pairs = zip(self.columns, self.referred, strict=True)
        carried = [own for own, referred in pairs if referred in cause.columns]
        if not carried:
            return None
        if self.onupdate.startswith(_CARRYING):
            return changed(carried)
        return changed(self.columns) if self.onupdate.startswith(_SETTING) else None


class ForeignKeys:
    """The foreign keys that act, of all tables that are beside a mapped one."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._generation = -1
        self._to: dict[Table, tuple[Reference, ...]] = {}
        self._by_name: dict[str, list[Table]] = {}
        self._there: WeakKeyDictionary[Engine, set[tuple[str | None, str]]] = WeakKeyDictionary()
        self._reached: dict[tuple[Table, Effect], frozenset[Table]] = {}

    def to(self, table: Table) -> tuple[Reference, ...]:
        """Those that refer to a table and act when its rows go or change."""
        return self._all().get(table, ())

    def _all(self) -> Mapping[Table, tuple[Reference, ...]]:
        if self._generation != self._tables.generation:
            self._to = _acting()
            self._by_name = {}
            for table in self._to:
                self._by_name.setdefault(table.name.lower(), []).append(table)
            self._reached = {}
            self._generation = self._tables.generation
        return self._to

    def by_name(self) -> Mapping[str, list[Table]]:
        """The tables they refer to, by name without schema in lower case."""
        self._all()
        return self._by_name

    def is_there(self, connection: Connection, table: Table) -> bool:
        """Whether a table is in the database of a connection; asked once of each.

        Tables may be described together and be in several databases, or not be created yet.
        """
        there = self._there.setdefault(root_of(connection.engine), set())
        schema = connection.schema_for_object(table)
        if (schema, table.name) not in there:
            if not connection.dialect.has_table(connection, table.name, schema=schema):
                return False
            there.add((schema, table.name))
        return True

    def changes(self, table: Table) -> Effect:
        """That every column changes that others refer to."""
        return changed(column for one in self.to(table) for column in one.referred)

    def followed(self, table: Table, cause: Effect) -> Iterator[tuple[Reference, Effect]]:
        """Those that act when that happens to rows of a table, and what they do."""
        for reference in self.to(table):
            effect = reference.effect(cause)
            if effect is not None:
                yield reference, effect

    def reached(self, table: Table, cause: Effect) -> frozenset[Table]:
        """The recorded tables whose rows the database may change when that happens."""
        if not self.to(table):
            return frozenset()
        found = self._reached.get((table, cause))
        if found is None:
            found = self._reached[table, cause] = frozenset(self._reach(table, cause))
        return found

    def reached_by(self, effects: Effects) -> frozenset[Table]:
        """The same for all that a statement may do."""
        table, causes = effects
        return frozenset().union(*(self.reached(table, cause) for cause in causes))

    def _reach(self, table: Table, cause: Effect) -> Iterator[Table]:
        met, waiting = set(), [(table, cause)]
        while waiting:
            for reference, effect in self.followed(*waiting.pop()):
                if (reference.table, effect) not in met:
                    met.add((reference.table, effect))
                    waiting.append((reference.table, effect))
                    if self._tables.of(reference.table):
                        yield reference.table


def _acting() -> dict[Table, tuple[Reference, ...]]:
    found: dict[Table, list[Reference]] = {}
    for table in sorted(set(_all_tables()), key=lambda one: one.fullname):
        for constraint in sorted(
            table.foreign_key_constraints, key=lambda one: (*one.column_keys,)
        ):
            reference = _reference(table, constraint)
            if reference is not None and reference.acts:
                found.setdefault(reference.to, []).append(reference)
    return {table: tuple(references) for table, references in found.items()}


def _all_tables() -> Iterator[Table]:
    for mapper in configured_mappers():
        for table in (*mapper.tables, *(one.secondary for one in mapper.relationships)):
            if isinstance(table, Table):
                yield table
                yield from table.metadata.tables.values()


def _reference(table: Table, constraint: ForeignKeyConstraint) -> Reference | None:
    try:
        referred = tuple(element.column for element in constraint.elements)
    except NoReferenceError:
        return None  # it refers to what nobody has described
    return Reference(
        table=table,
        columns=tuple(element.parent for element in constraint.elements),
        to=constraint.referred_table,
        referred=referred,
        ondelete=(constraint.ondelete or "").upper(),
        onupdate=(constraint.onupdate or "").upper(),
    )
