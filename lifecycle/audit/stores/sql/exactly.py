"""Reading rows of the log exactly as they are, past the types of their columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, false, or_, select, type_coerce
from sqlalchemy.types import NullType

from lifecycle.audit.leaves import Leaf, Row
from lifecycle.audit.ledger import Revised
from lifecycle.audit.stores.sql.feeding import Feeding
from lifecycle.audit.stores.sql.tables import AuditTables

__all__ = ["Reading", "among"]

_FETCHED: Final = 5_000
"""Records fetched at a time."""

_ID, _AT, _GROUP, _HORIZON = 1, 2, 10, 11


class Reading:
    """Statements that read rows exactly."""

    def __init__(self, tables: AuditTables, feeding: Feeding) -> None:
        self._tables, self._feeding = tables, feeding
        self._raw_revision: Final = [type_coerce(one, NullType()) for one in tables.revision.c]
        self._raw_change: Final = [type_coerce(one, NullType()) for one in tables.change.c]

    def _revised(self, connection: Connection, condition: Sequence[Any], limit: int | None) -> Any:
        statement = (
            select(self._feeding.horizon, *self._raw_revision)
            .select_from(self._tables.revision)
            .where(*condition)
            .order_by(*self._feeding.order)
            .limit(limit)
        )
        for horizon, *row in connection.execute(statement):
            yield Revised(horizon, _revision(row))

    def _records(
        self,
        connection: Connection,
        seqs: Sequence[int],
        start: tuple[int, int] | None = None,
        before: tuple[int, int] | None = None,
    ) -> Iterator[Row]:
        change = self._tables.change.c
        wanted = frozenset(seqs)
        statement = select(*self._raw_change).order_by(change.seq, change.n).limit(_FETCHED)
        if before is not None:
            last, n = before
            statement = statement.where(or_(change.seq != last, change.n < n))
        while wanted:
            page = statement.where(among(change.seq, wanted))
            if start is not None:
                first, n = start
                page = page.where(or_(change.seq > first, change.n >= n))
            rows: Sequence[Any] = connection.execute(page).all()
            for row in rows:
                if row[0] in wanted:
                    yield tuple(row)
            if len(rows) < _FETCHED:
                return
            reached, n = rows[-1][0], rows[-1][1]
            start = reached, n + 1
            wanted = frozenset(seq for seq in wanted if seq >= reached)

    def _leaves(self, connection: Connection, condition: Any, limit: int | None) -> list[Leaf]:
        leaf = self._tables.leaf
        statement = select(leaf).where(condition).order_by(leaf.c.seal, leaf.c.place).limit(limit)
        return [Leaf.stored(*row) for row in connection.execute(statement)]


def among(column: Column[Any], seqs: Collection[int]) -> ColumnElement[bool]:
    """A criterion that revisions with these numbers meet, and not many others."""
    if not seqs:
        return false()
    lowest, highest = min(seqs), max(seqs)
    if highest - lowest < 2 * len(seqs):
        return column.between(lowest, highest)
    return column.in_(seqs)


def _revision(row: list[Any]) -> Row:
    """A row with its ids and its time as texts; SQLite has them as such, and nothing is read in."""
    row[_ID], row[_GROUP] = _id(row[_ID]), _id(row[_GROUP])
    if isinstance(row[_AT], datetime):
        at = row[_AT] if row[_AT].tzinfo is None else row[_AT].astimezone(UTC).replace(tzinfo=None)
        row[_AT] = at.isoformat(" ", "microseconds")
    return tuple(row)


def _id(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.hex
    return value.replace("-", "") if isinstance(value, str) and len(value) == 36 else value
