"""What behaviours set in statements, for which no hook runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Column, Insert, Table, Update
from sqlalchemy.orm import Mapper, ORMExecuteState
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.bundles import behaviours_of, filled, fitted
from lifecycle.changes import Change, ChangeSet, Operation, same
from lifecycle.context import Suppression
from lifecycle.errors import UncountedVersionWarning, warn
from lifecycle.mappers.sqlalchemy.dml import called, target_of
from lifecycle.mappers.sqlalchemy.model import attribute_of
from lifecycle.mappers.sqlalchemy.models import Models, configured_mappers, counts_by_one
from lifecycle.mappers.sqlalchemy.reading import is_expression
from lifecycle.markers import UNKNOWN
from lifecycle.versioning import version_of

__all__ = ["Filling"]


class Filling:
    """Adds to INSERT and UPDATE statements what the behaviours of their model want set."""

    def __init__(self, models: Models, suppression: Suppression) -> None:
        self._models: Final = models
        self._suppression: Final = suppression
        self._mappers: dict[Table, Mapper[Any]] = {}
        self._are_any = False
        self._generation = -1
        self._told: Final[set[tuple[str, str]]] = set()

    def of_orm(self, state: ORMExecuteState) -> None:
        """Fill an UPDATE of a mapped class, so that the session knows of it for its objects."""
        if state.is_update and not isinstance(state.parameters, list):
            given: list[Mapping[str, Any]] = [state.parameters] if state.parameters else []  # type: ignore[list-item]
            state.statement = self.filled(state.statement, given)

    def filled(
        self, statement: Any, parameters: Sequence[Mapping[str, Any]], *, counts: bool = True
    ) -> Any:
        """The statement with the values that behaviours add to it, if there are any.

        It ``counts`` the versions of what it changes, if nobody else does.
        """
        if self._generation != self._models.generation:
            self._look()
        mapper = self._mapper(statement) if self._are_any else None
        if mapper is None or not isinstance(statement, Insert | Update) or _selects(statement):
            return statement
        table, cls = target_of(statement), mapper.class_
        changes = _changes(mapper, statement, parameters)
        found: dict[str, Any] = {}
        if not self._suppression.hooks:
            found = fitted(cls, filled(cls, changes), self._models.get(cls).fitted)
        values = {
            column: value
            for name, value in found.items()
            for column in mapper.attrs[name].columns
            if column.table is table
        }
        if counts and isinstance(statement, Update) and version_of(cls) is not None:
            values |= self._version(mapper, statement, changes)
        return _with(statement, values) if values else statement

    def _version(
        self, mapper: Mapper[Any], statement: Update, changes: ChangeSet
    ) -> dict[Column[Any], Any]:
        """The next version of what an update changes, unless it sets one, or the database does."""
        model, table = self._models.get(mapper.class_), target_of(statement)
        column = mapper.version_id_col
        if not isinstance(column, Column) or mapper.version_id_generator is False:
            return {}
        name = attribute_of(mapper, column)
        if name is None or name in changes:
            return {}
        if column.table is table and counts_by_one(mapper):
            of_orm = "plugin_subject" in statement._propagate_attrs
            known = getattr(mapper.class_, name) if of_orm else _named(statement, column)
            return {column: known + 1}
        shape = called(statement, table), model.entity
        if shape not in self._told:
            self._told.add(shape)
            why = (
                "the application makes it itself"
                if column.table is table
                else f"it is in {column.table}, the table of a base class"
            )
            warn(
                f"{shape[0]} changes objects of {mapper.class_.__qualname__} and cannot count "
                f"their {name}, for {why}: who holds one of them may write over this. Set it in "
                "the statement, or change the objects instead. Each is told once",
                UncountedVersionWarning,
            )
        return {}

    def _look(self) -> None:
        self._generation = self._models.generation
        concerned = [mapper for mapper in configured_mappers() if _is_concerned(mapper)]
        self._are_any = bool(concerned)
        self._mappers = {
            mapper.local_table: mapper
            for mapper in concerned
            if isinstance(mapper.local_table, Table) and not mapper.single
        }

    def _mapper(self, statement: Any) -> Mapper[Any] | None:
        """The mapped class that a statement names, or else the one its table is of."""
        if not isinstance(statement, UpdateBase):
            return None
        table = target_of(statement)
        subject = statement._propagate_attrs.get("plugin_subject")
        if isinstance(subject, Mapper) and subject.local_table is table and _is_concerned(subject):
            return subject
        return self._mappers.get(table) if isinstance(table, Table) else None


def _is_concerned(mapper: Mapper[Any]) -> bool:
    """Whether a class has a behaviour that adds to statements."""
    cls = mapper.class_
    return version_of(cls) is not None or any(one.fill is not None for one in behaviours_of(cls))


def _named(statement: Update, column: Column[Any]) -> Any:
    """A column of what a statement calls its table, which may be an alias."""
    return statement.table.corresponding_column(column)


def _selects(statement: Insert | Update) -> bool:
    return isinstance(statement, Insert) and statement.select is not None


def _changes(
    mapper: Mapper[Any], statement: Insert | Update, parameters: Sequence[Mapping[str, Any]]
) -> ChangeSet:
    """What a statement tells of the changes it makes to each row."""
    found: dict[str, Any] = {}
    for key, value in _assignments(statement, parameters):
        name = _name(mapper, key)
        if name is not None:
            value = _known(value)
            found[name] = value if same(found.get(name, value), value) else UNKNOWN
    insert = isinstance(statement, Insert)
    return ChangeSet(
        {name: Change(UNKNOWN, value) for name, value in found.items()},
        Operation.INSERT if insert else Operation.UPDATE,
    )


def _assignments(
    statement: Insert | Update, parameters: Iterable[Mapping[str, Any]]
) -> Iterable[tuple[Any, Any]]:
    yield from (statement._values or {}).items()
    yield from getattr(statement, "_ordered_values", None) or ()  # SQLAlchemy 2.0
    for rows in getattr(statement, "_multi_values", ()):
        for row in rows:
            named = (
                row if isinstance(row, Mapping) else dict(zip(statement.table.c, row, strict=False))
            )
            yield from named.items()
    for one in parameters:
        yield from one.items()


def _name(mapper: Mapper[Any], key: Any) -> str | None:
    """The field that is assigned to under some key."""
    if isinstance(key, str):
        if key in mapper.column_attrs:
            return key
        column = mapper.local_table.columns.get(key)
    else:
        column = key if isinstance(key, Column) else mapper.local_table.columns.get(key.key)
    return None if column is None else attribute_of(mapper, column)


def _known(value: Any) -> Any:
    if isinstance(value, BindParameter):
        return UNKNOWN if value.callable is not None else value.value
    return UNKNOWN if is_expression(value) else value


def _with(statement: Any, values: dict[Column[Any], Any]) -> Any:
    both, ordered = statement._clone(), getattr(statement, "_ordered_values", None)
    if ordered:  # SQLAlchemy 2.0, which takes no others then
        more: Any = Update(statement.table).ordered_values(*values.items())
        both._ordered_values = [*ordered, *more._ordered_values]
    elif getattr(statement, "_maintain_values_ordering", False):  # the same of 2.1
        more = Update(statement.table).values(values)
        both._values = statement._values.union(more._values)
    elif getattr(statement, "_multi_values", ()):
        rows = ([_row(row, values) for row in some] for some in statement._multi_values)
        both._multi_values = tuple(rows)
    else:
        both = statement.values(values)
    return both


def _row(row: Any, values: dict[Column[Any], Any]) -> Any:
    if not isinstance(row, Mapping):  # by position
        return row
    plain = all(isinstance(key, str) for key in row)
    return {**row, **({c.key: v for c, v in values.items()} if plain else values)}
