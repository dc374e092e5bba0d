"""The questions to a store as SQL statements, each entered through an index.

No statement counts everything, skips by offset or sorts more than it returns, with two exceptions
the planners leave no way around: the places of all records of a time are sorted where `near` does
not find enough of them (MySQL and MariaDB walk there from the newest instead), and MySQL and
MariaDB sort all records of an actor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    CompoundSelect,
    Select,
    Subquery,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from lifecycle.audit.records import Position
from lifecycle.audit.store import Asked, Entry, Query
from lifecycle.audit.stores.sql.newest import ASKED, Newest
from lifecycle.audit.stores.sql.tables import BY_ENTITY, BY_FORMER_KEY, BY_KEY, MYSQL, AuditTables
from lifecycle.changes import Operation

__all__ = ["Statements"]

_LAST_N: Final = 2**31 - 1
_NEAR: Final = 4
"""How many times as many records as a page holds are looked at before a time is looked up."""


class Statements:
    """The statements for some tables in one dialect."""

    def __init__(self, tables: AuditTables, dialect: str) -> None:
        self._revision, self._change = tables.revision, tables.change
        self._is_mysql = dialect in MYSQL
        self._newest = Newest(tables, dialect)

    def page(
        self, query: Query, after: Position | None, limit: int, newest_first: bool
    ) -> Select[Any]:
        """The columns of both tables, one row a record, in order.

        Each arm finds its records first, and only those are merged, joined and sorted.
        """
        if self._is_of_a_time(query):  # many may be sorted, so let their places be all that is
            (arm,) = self._arms(query, after, newest_first)
            arm = arm.where(*self._within(query))
            found = _ordered(arm, newest_first).limit(limit).subquery()
            return self._whole(found, newest_first).limit(limit)
        columns = [column for column in self._change.c if column.name not in ("seq", "n")]
        found = self._found(query, columns, after, limit, newest_first).subquery()
        joined = found.join(self._revision, found.c.seq == self._revision.c.seq)
        both = [*self._revision.c, found.c.n, *(found.c[column.name] for column in columns)]
        return _ordered(select(*both).select_from(joined), newest_first).limit(limit)

    def near(
        self, query: Query, after: Position | None, limit: int, newest_first: bool
    ) -> Select[Any] | None:
        """What of a page is among the nearest records; if that is all of it, it is the page.

        ``None`` where no time is asked for, where the page begins at a time and not at a record, or
        where something else finds the records anyway.
        """
        if not self._is_of_a_time(query) or _begins_at_a_time(query, after, newest_first):
            return None
        nearest = replace(query, operation=None, since=None, until=None)
        found = self._found(nearest, [], after, _NEAR * limit, newest_first).subquery()
        # With a limit of its own, so that no planner begins with the times instead.
        looked_at = self._whole(found, newest_first).limit(_NEAR * limit).subquery()
        statement = select(looked_at)
        if query.operation is not None:
            operation = Operation(query.operation).value
            statement = statement.where(looked_at.c.operation == operation)
        if query.since is not None:
            statement = statement.where(looked_at.c.at >= query.since)
        if query.until is not None:
            statement = statement.where(looked_at.c.at < query.until)
        return _ordered(statement, newest_first).limit(limit)

    def _within(self, query: Query) -> list[ColumnElement[bool]]:
        """Between which places of the order a time lies: nothing is walked past to get there."""
        revision, change = self._revision.c, self._change.c
        # Materialised, for else PostgreSQL walks to the edges, too.
        times = _materialized(select(revision.seq).where(*self._timed(query)).cte("of_time"))
        both = select(func.min(times.c.seq).label("low"), func.max(times.c.seq).label("high"))
        edges = _materialized(both.cte("edges"))
        low, high = (select(column).scalar_subquery() for column in (edges.c.low, edges.c.high))
        return [seq.between(low, high) for seq in (change.seq, revision.seq)]

    def _whole(self, found: Subquery, newest_first: bool) -> Select[Any]:
        """The columns of both tables for places that were found."""
        change, revision = self._change, self._revision
        columns = [column for column in change.c if column.name != "seq"]
        here = and_(change.c.seq == found.c.seq, change.c.n == found.c.n)
        joined = found.join(change, here).join(revision, revision.c.seq == found.c.seq)
        return _ordered(select(*revision.c, *columns).select_from(joined), newest_first)

    def _is_of_a_time(self, query: Query) -> bool:
        by_another = query.key is not None or bool(self._named(query))
        return bool(self._timed(query)) and not by_another and not self._is_mysql

    def trail(
        self, query: Query, after: Position | None, limit: int, newest_first: bool
    ) -> Select[Any] | CompoundSelect[Any]:
        """The columns of an `Entry`, one row a record, in order; of the changes' table alone."""
        columns = [self._change.c[name] for name in Entry._fields[2:]]
        found = self._found(query, columns, after, limit, newest_first)
        if isinstance(found, Select):
            return found
        place = (found.selected_columns.seq, found.selected_columns.n)
        order = [column.desc() for column in place] if newest_first else place
        return found.order_by(*order).limit(limit)

    def _found(
        self,
        query: Query,
        columns: list[Column[Any]],
        after: Position | None,
        limit: int,
        newest_first: bool,
    ) -> Select[Any] | CompoundSelect[Any]:
        within: list[ColumnElement[bool]] = []
        if self._named(query) and _begins_at_a_time(query, after, newest_first):
            within = [] if self._is_mysql else self._within(query)  # not past all that came since
        arms = [
            _ordered(arm.add_columns(*columns).where(*within), newest_first).limit(limit)
            for arm in self._arms(query, after, newest_first)
        ]
        if len(arms) == 1:
            return arms[0]
        return union_all(*(select(arm.subquery()) for arm in arms))

    def count(self, query: Query, limit: int) -> Select[Any]:
        """How many records match, looking at no more than the limit."""
        arms = [arm.limit(limit).subquery() for arm in self._arms(query, ordered=False)]
        matching = union_all(*(select(arm) for arm in arms)).limit(limit).subquery()
        return select(func.count()).select_from(matching)

    def counts(self, queries: Sequence[Query], limit: int) -> Select[Any]:
        """The same of several queries, as the columns of one row."""
        return select(*(self.count(query, limit).scalar_subquery() for query in queries))

    @property
    def glimpses_at_once(self) -> int:
        """How many objects `glimpses` is good for: each is looked up, or has arms of its own."""
        return 300 if self._newest.is_known else 20

    def glimpses(self, asked: Sequence[Asked]) -> Select[Any]:
        """The number of each that is asked for, with the first record of every arm of it."""
        change, revision = self._change.c, self._revision.c
        columns = [change.key, change.operation, change.label]
        numbered = list(enumerate(asked))
        newest = [one for one in numbered if self._newest.finds(one[1])]
        arms = [
            select(literal(number).label("number"), _first(arm, columns, one.newest_first))
            for number, one in numbered
            if not self._newest.finds(one)
            for arm in self._arms(*one)
        ]
        if newest:
            arms += self._newest.arms(columns)
        found = union_all(*arms).subquery()
        joined = found.join(self._revision, revision.seq == found.c.seq)
        statement = select(found, revision.id, revision.at).select_from(joined)
        return statement.params({ASKED: self._newest.parameter(newest)}) if newest else statement

    def revision(self, id: UUID) -> Select[Any]:
        """The revision of that id."""
        return select(self._revision).where(self._revision.c.id == id)

    def revision_at(self, moment: datetime) -> Select[Any]:
        """The newest revision made at or before a moment."""
        at, seq = self._revision.c.at, self._revision.c.seq
        newest_first = (at.desc(), seq.desc())
        return select(self._revision).where(at <= moment).order_by(*newest_first).limit(1)

    def entities(self) -> Select[Any]:
        """The names of the entities: from one to the next, by the index, past all the records."""
        entity = self._change.c.entity
        names = select(func.min(entity).label("name")).cte("names", recursive=True)
        following = select(func.min(entity)).where(entity > names.c.name).scalar_subquery()
        names = names.union_all(select(following).where(names.c.name.isnot(None)))
        return select(names.c.name).where(names.c.name.isnot(None))

    # parts

    def _arms(
        self,
        query: Query,
        after: Position | None = None,
        newest_first: bool = True,
        *,
        ordered: bool = True,
    ) -> list[Select[Any]]:
        """What finds the records; two where a key is wanted, which may be the former one."""
        change, revision = self._change, self._revision
        named, timed = self._named(query), self._timed(query)
        # The order, and the bounds, of the table that is better entered first lead the planner.
        seq = revision.c.seq if named else change.c.seq
        arm = select(seq, change.c.n).where(*self._of_change(query))
        if named or timed:
            arm = arm.join_from(change, revision, change.c.seq == revision.c.seq)
            arm = arm.where(*named, *timed)
        if query.upto is not None:
            arm = arm.where(self._beyond(seq, _next(query.upto), newest_first=True))
        if after is not None:
            arm = arm.where(self._beyond(seq, after, newest_first))
        indexed = {"PRIMARY" if query.entity is None else BY_ENTITY: arm}
        if query.key is not None:
            key, former_key = change.c.key, change.c.former_key
            indexed = {
                BY_KEY: arm.where(key == query.key),
                BY_FORMER_KEY: arm.where(former_key == query.key, key != query.key),
            }
        if named or (timed and not ordered):  # without an order, times are best entered by theirs
            return list(indexed.values())
        return [self._through(index, arm) for index, arm in indexed.items()]

    def _through(self, index: str, arm: Select[Any]) -> Select[Any]:
        """Name the index to MySQL and MariaDB, which else read and sort every candidate."""
        for dialect in MYSQL:
            arm = arm.prefix_with("STRAIGHT_JOIN", dialect=dialect)
            arm = arm.with_hint(self._change, f"FORCE INDEX ({index})", dialect)
        return arm

    def _of_change(self, query: Query) -> list[ColumnElement[bool]]:
        change = self._change.c
        conditions = []
        if query.entity is not None:
            conditions.append(change.entity == query.entity)
        if query.operation is not None:
            conditions.append(change.operation == Operation(query.operation).value)
        return conditions

    def _named(self, query: Query) -> list[ColumnElement[bool]]:
        """The conditions that only few revisions fulfil."""
        revision = self._revision.c
        wanted = {
            revision.actor: query.actor,
            revision.id: query.revision,
            revision.request_id: query.request_id,
            revision.group: query.group,
        }
        return [column == value for column, value in wanted.items() if value is not None]

    def _timed(self, query: Query) -> list[ColumnElement[bool]]:
        at = self._revision.c.at
        conditions = []
        if query.since is not None:
            conditions.append(at >= query.since)
        if query.until is not None:
            conditions.append(at < query.until)
        return conditions

    def _beyond(
        self, seq: Column[int], position: Position, newest_first: bool
    ) -> ColumnElement[bool]:
        """That a record comes after a position in that order, in words an index understands."""
        n = self._change.c.n
        if seq.table is self._change and not self._is_mysql:
            there = tuple_(literal(position.seq, BigInteger), literal(position.n, BigInteger))
            return tuple_(seq, n) < there if newest_first else tuple_(seq, n) > there
        if newest_first:
            return and_(seq <= position.seq, or_(seq < position.seq, n < position.n))
        return and_(seq >= position.seq, or_(seq > position.seq, n > position.n))


def _begins_at_a_time(query: Query, after: Position | None, newest_first: bool) -> bool:
    """Whether a page begins where a time does, and not at a position or the end of the log."""
    edge = query.until if newest_first else query.since
    return after is None and edge is not None


def _first(arm: Select[Any], columns: list[Column[Any]], newest_first: bool) -> Subquery:
    return _ordered(arm.add_columns(*columns), newest_first).limit(1).subquery()


def _materialized(cte: CTE) -> CTE:
    return cte.prefix_with("MATERIALIZED", dialect="postgresql")


def _ordered(statement: Select[Any], newest_first: bool) -> Select[Any]:
    columns = statement.selected_columns
    if newest_first:
        return statement.order_by(columns.seq.desc(), columns.n.desc())
    return statement.order_by(columns.seq, columns.n)


def _next(position: Position) -> Position:
    """The smallest position after this one."""
    if position.n < _LAST_N:
        return Position(position.seq, position.n + 1)
    return Position(position.seq + 1, -1)
