"""What the tables really hold, read with plain selects, in the form in which the log has it.

Nothing here uses the code that captures or records; only the text of a key is the log's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Enum,
    Interval,
    Select,
    String,
    TypeDecorator,
    select,
)
from sqlalchemy import type_coerce as as_type
from sqlalchemy.orm import Mapper, configure_mappers

from lifecycle.keys import key_text
from lifecycle.markers import MASKED
from lifecycle.policy import entity_of
from tests.workload.models import COLLECTIONS, Account, Base, Draft

__all__ = ["Rows", "Truth"]

Rows: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""By entity and key, the fields."""

MASKS: Final = {Account: {"password"}}
EXCLUDES: Final = {Account: {"seen"}}
UNRECORDED: Final = (Draft,)


class Truth:
    """Reads everything that the log should know."""

    def __init__(self, dialect: Dialect, collections: bool) -> None:
        configure_mappers()
        self._tables: Final = [
            _Table(mapper, dialect)
            for mapper in sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__)
            if _is_root(mapper) and mapper.class_ not in UNRECORDED
        ]
        self._collections: Final = COLLECTIONS if collections else ()

    def read(self, connection: Connection) -> Rows:
        """The rows of every entity, with the keys in their many-to-many collections."""
        found: Rows = {table.entity: dict(table.read(connection)) for table in self._tables}
        for cls, name, owner, member in self._collections:
            objects = found[entity_of(cls)]
            for fields in objects.values():
                fields[name] = frozenset()
            for owner_key, member_key in connection.execute(select(owner, member)):
                objects[str(owner_key)][name] |= {str(member_key)}
        return found


class _Table:
    """The rows of one class and of those that inherit from it and share its keys."""

    def __init__(self, root: Mapper[Any], dialect: Dialect) -> None:
        cls = root.class_
        self.entity: Final = entity_of(cls)
        self._masked: Final = MASKS.get(cls, set())
        classes = [one for one in root.self_and_descendants if not one.concrete or one is root]
        self._fields: Final = {
            one.polymorphic_identity: {
                name: column for name, column in _columns(one) if name not in EXCLUDES.get(cls, ())
            }
            for one in classes
        }
        self._identity: Final = [column.key for column in root.primary_key]
        self._kind: Final[Any] = root.polymorphic_on
        self._statement: Final = _select(root, classes, self._fields, dialect)

    def read(self, connection: Connection) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in connection.execute(self._statement).mappings():
            fields = self._fields[None if self._kind is None else row[_label(self._kind)]]
            key = key_text([row[f"key_{name}"] for name in self._identity])
            yield (
                key,
                {
                    name: MASKED if name in self._masked else row[_label(column)]
                    for name, column in fields.items()
                },
            )


def _is_root(mapper: Mapper[Any]) -> bool:
    return mapper.inherits is None or mapper.concrete


def _columns(mapper: Mapper[Any]) -> Iterator[tuple[str, Column[Any]]]:
    for prop in mapper.column_attrs:
        if isinstance(prop.columns[0], Column):
            yield prop.key, prop.columns[0]


def _label(column: Column[Any]) -> str:
    return f"{column.table.name}_{column.name}"


def _select(
    root: Mapper[Any],
    classes: list[Mapper[Any]],
    fields: dict[Any, dict[str, Column[Any]]],
    dialect: Dialect,
) -> Select[Any]:
    tables: Any = root.local_table
    for one in classes:
        if one.local_table is not root.local_table and not one.single:
            tables = tables.outerjoin(one.local_table, _same_key(root, one))
    columns = {_label(column): column for named in fields.values() for column in named.values()}
    keys = [column.label(f"key_{column.key}") for column in root.primary_key]
    return select(
        *keys, *(_as_stored(column, dialect).label(name) for name, column in columns.items())
    ).select_from(tables)


def _same_key(root: Mapper[Any], one: Mapper[Any]) -> Any:
    (key,) = root.primary_key
    (own,) = one.local_table.primary_key  # type: ignore[attr-defined]
    return key == own


def _as_stored(column: Column[Any], dialect: Dialect) -> Any:
    """The column without what its type makes of the values, where only the application knows it."""
    type_ = column.type
    if isinstance(type_, Enum):
        return as_type(column, String())
    if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
        return as_type(column, type_.load_dialect_impl(dialect))
    return column
