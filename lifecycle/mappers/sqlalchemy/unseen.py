"""Writes whose rows cannot be known: counted, and told once for each shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Dialect, Table
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.coverage import Gaps
from lifecycle.errors import UnrecordedWriteWarning, warn
from lifecycle.mappers.sqlalchemy.cascades import effects_of
from lifecycle.mappers.sqlalchemy.dml import called, target_of
from lifecycle.mappers.sqlalchemy.foreign_keys import GONE, Effects, ForeignKeys
from lifecycle.mappers.sqlalchemy.raw_sql import may_delete, may_update, shape_of, tables_written
from lifecycle.mappers.sqlalchemy.tables import RecordedTable, Tables, entities_of

__all__ = ["Unseen"]


class Unseen:
    """Tells which recorded models a write may change that is not recorded."""

    def __init__(self, tables: Tables, keys: ForeignKeys, gaps: Gaps) -> None:
        self._tables: Final = tables
        self._keys: Final = keys
        self._gaps: Final = gaps

    def text(self, text: str, dialect: Dialect) -> bool:
        """SQL text that names recorded tables, or what they refer to, and words for writing.

        Returns whether it is one.
        """
        recorded, referred = self._tables.names(), self._keys.by_name()
        entities: list[str] = []
        for name in tables_written(text, recorded.keys() | referred.keys()):
            entities += recorded.get(name, ())
            for table in referred.get(name, ()):
                effects = [GONE] if may_delete(text) else []
                effects += [self._keys.changes(table)] if may_update(text) else []
                entities += self._reached((table, tuple(effects)))
        if entities:
            shape = shape_of(text, of_mysql=dialect.name in ("mysql", "mariadb"))
            self.tell(entities, shape, "SQL text, whose rows nobody can know")
        return bool(entities)

    def within(self, expressions: Iterable[Any]) -> None:
        """The common table expressions of a query, when they write."""
        for one in expressions:
            if isinstance(one.element, UpdateBase):
                self.written(one.element, target_of(one.element), "it is part of another statement")

    def of_several(self, statement: UpdateBase) -> None:
        """A statement whose target is no table."""
        for one in target_of(statement)._from_objects:
            table = getattr(one, "element", one)
            self.written(statement, table, "it changes an alias, or more than one table")

    def written(self, statement: UpdateBase, table: Table, why: str) -> None:
        for recorded in self._tables.of(table):
            self.missed(recorded, statement, why)
        cause = effects_of(self._keys, table, statement, ())
        if cause is not None:
            self.tell(self._reached(cause), called(statement, table), why)

    def _reached(self, cause: Effects) -> list[str]:
        found = [self._tables.of(table) for table in self._keys.reached_by(cause)]
        return [entity for some in found for recorded in some for entity in entities_of(recorded)]

    def missed(self, recorded: RecordedTable, statement: UpdateBase, why: str) -> None:
        """Rows of a table that a statement changes."""
        self.tell(entities_of(recorded), called(statement, recorded.table), why)

    def left_out(self, recorded: RecordedTable, what: str) -> None:
        """The same where nobody wants them recorded: only counted."""
        self._gaps.note(entities_of(recorded), what, "bulk off")

    def tell(self, entities: list[str], what: str, why: str) -> None:
        """Count a write that may have changed objects of these, and warn when its shape is new."""
        if self._gaps.note(entities, what, why):
            warn(
                f"{what} may change {', '.join(sorted(set(entities)))} and is not recorded: {why}. "
                "Change the objects instead, or execute insert(), update() or delete() of one "
                "table whose rows have keys. lifecycle.coverage() counts such statements; each "
                "shape is told once",
                UnrecordedWriteWarning,
            )
