"""What tables say of a class's rows: what they refer to, and what has to be unique."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Column, Index, Table, UniqueConstraint

from lifecycle.mappers.sqlalchemy.model import Model, attribute_of
from lifecycle.markers import ABSENT
from lifecycle.restoring import Values

__all__ = ["Columns", "Facts", "Reference", "facts_of", "tables_of", "value_of"]

Columns: TypeAlias = tuple[Column[Any], ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Fields that hold what some columns of another row hold."""

    fields: tuple[str, ...]
    target: Columns
    nullable: bool


@dataclass(frozen=True)
class Facts:
    """What there is to know of a model's rows, by the names of its fields."""

    model: Model
    references: tuple[Reference, ...]
    uniques: tuple[tuple[str, ...], ...]

    def columns(self, names: tuple[str, ...]) -> Columns:
        """The columns of some fields."""
        return tuple(self.model.mapper.attrs[name].columns[0] for name in names)

    def names(self, columns: Columns) -> tuple[str, ...] | None:
        """The fields that hold some columns; ``None`` when they are not the model's."""
        found = [attribute_of(self.model.mapper, column) for column in columns]
        return None if None in found else tuple(name for name in found if name)


def facts_of(model: Model) -> Facts:
    """What the tables of a model say."""
    references = tuple(dict.fromkeys(_references(model)))
    return Facts(model, references, tuple(dict.fromkeys(_uniques(model))))


def _references(model: Model) -> Iterator[Reference]:
    own = set(tables_of(model))
    for table in tables_of(model):
        for constraint in sorted(table.foreign_key_constraints, key=lambda one: str(one.name)):
            if constraint.referred_table in own and constraint.referred_table is not table:
                continue  # of a joined table to that of its base: one object
            fields = [attribute_of(model.mapper, column) for column in constraint.columns]
            if None not in fields:
                yield Reference(
                    tuple(name for name in fields if name),
                    tuple(element.column for element in constraint.elements),
                    all(column.nullable for column in constraint.columns),
                )


def _uniques(model: Model) -> Iterator[tuple[str, ...]]:
    for table in tables_of(model):
        together = [
            tuple(one.columns) for one in table.constraints if isinstance(one, UniqueConstraint)
        ]
        together += [
            tuple(index.columns) for index in table.indexes if index.unique and _is_whole(index)
        ]
        for columns in together:
            fields = [attribute_of(model.mapper, column) for column in columns]
            if None not in fields:
                yield tuple(name for name in fields if name)


def _is_whole(index: Index) -> bool:
    """Whether an index is of columns alone, and of all rows."""
    conditions = (options.get("where") for options in index.dialect_options.values())
    return len(index.columns) == len(index.expressions) and all(one is None for one in conditions)


def tables_of(model: Model) -> list[Table]:
    """The tables an object has rows in."""
    return [table for table in model.mapper.tables if isinstance(table, Table)]


def value_of(values: Values | None, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """What some fields hold together; ``None`` when one of them holds nothing."""
    if values is None:
        return None
    found = tuple(values.get(name) for name in names)
    if any(part is None or part is ABSENT for part in found):
        return None
    try:
        hash(found)
    except TypeError:
        return None
    return found
