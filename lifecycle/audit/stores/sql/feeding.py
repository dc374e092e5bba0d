"""The feed: which revisions nothing can still appear before, on each database.

PostgreSQL: a revision carries the id of its transaction, its horizon. Every transaction older than
the oldest one still running (``pg_snapshot_xmin``) is over, so the feed is in the order of the
horizons and ends there; a transaction that stays open holds it up.

SQLite: it has one writer at a time, who numbers and commits before the next one begins, so the
order of the numbers is that of the commits.

MySQL and MariaDB: numbers are given out at the insert, and transactions commit in any order. The
feed is in the order of the numbers and ends at the first one whose row is there, seen by
``READ UNCOMMITTED``, but not committed. A number without any row was rolled back, or handed out a
moment ago with its row still to be inserted by the same statement: it is passed when it is still
without a row `PAUSE` after a higher one was seen.
"""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from lifecycle.audit.records import FeedPosition
from lifecycle.audit.stores.sql.tables import MYSQL, AuditTables
from lifecycle.errors import StoreError

__all__ = ["Feeding"]

PAUSE: Final = 0.5
"""Seconds after which a number without a row is taken for rolled back."""

_LAST_N: Final = 2**31 - 1
_BEGINNING: Final = FeedPosition(0, 0, _LAST_N)


class Feeding:
    """The statements of the feed for some tables in one dialect."""

    def __init__(self, tables: AuditTables, engine: Engine) -> None:
        self._revision, self._change = tables.revision, tables.change
        self._engine = engine
        self._is_postgresql = engine.dialect.name == "postgresql"
        self._numbered_early = engine.dialect.name in MYSQL
        self._ahead: tuple[float, int] | None = None  # the highest number in use, and since when
        self._over = 0  # up to here, what has no row will never have one

    @property
    def horizon(self) -> ColumnElement[int]:
        """What stands before a revision's number in the order of the feed."""
        if self._is_postgresql:
            return func.coalesce(self._revision.c.horizon, 0, type_=BigInteger)
        return literal(0, BigInteger)

    @property
    def order(self) -> list[ColumnElement[int]]:
        """The order of revisions in the feed, in words an index understands."""
        seq = self._revision.c.seq
        return [self.horizon, seq] if self._is_postgresql else [seq]

    def beyond(self, after: FeedPosition) -> ColumnElement[bool]:
        """That a revision comes after the one of a position."""
        seq = self._revision.c.seq
        if not self._is_postgresql:
            return seq > after.seq
        there = tuple_(literal(after.horizon, BigInteger), literal(after.seq, BigInteger))
        return tuple_(self.horizon, seq) > there

    def settled(self, after: FeedPosition | None, limit: int) -> list[ColumnElement[bool]]:
        """Conditions of the revisions after a position that nothing can appear before.

        They hold for all of them, or for the next ones, which are fewer than ``limit`` only when
        there are no more.
        """
        if self._is_postgresql:
            xmin = func.pg_snapshot_xmin(func.pg_current_snapshot())
            return [self.horizon < cast(cast(xmin, Text), BigInteger)]
        if self._numbered_early:
            return [self._revision.c.seq <= self._last_settled(after or _BEGINNING, limit)]
        return []

    def page(self, after: FeedPosition | None, limit: int) -> Select[Any]:
        """The next records, with the columns of both tables."""
        revision, change = self._revision, self._change
        columns = [*revision.c, *(one for one in change.c if one.name != "seq")]
        statement = (
            select(self.horizon.label("feed_horizon"), *columns)
            .join_from(revision, change, change.c.seq == revision.c.seq)
            .where(*self.settled(after, limit))
            .order_by(*self.order, change.c.n)
            .limit(limit)
        )
        if after is None:
            return statement
        same = and_(revision.c.seq == after.seq, self.horizon == after.horizon)
        return statement.where(or_(self.beyond(after), and_(same, change.c.n > after.n)))

    def refuse_foreign(self, connection: Connection) -> None:
        """Raise ``StoreError`` when revisions carry transactions this server has not had yet.

        As after a restore into another PostgreSQL: the feed would wait for them for years.
        """
        if not self._is_postgresql:
            return
        xmax = cast(cast(func.pg_snapshot_xmax(func.pg_current_snapshot()), Text), BigInteger)
        newest = select(self.horizon).order_by(*(one.desc() for one in self.order)).limit(1)
        found, limit = connection.execute(select(newest.scalar_subquery(), xmax)).one()
        if found is not None and found >= limit:
            raise StoreError(
                f"the log has a revision of transaction {found}, and this PostgreSQL is only at "
                f"{limit}: it was restored from another server, whose transaction ids are ahead. "
                f"Set them to 0 for what is there: UPDATE {self._revision.fullname} SET horizon = 0"
            )

    # MySQL and MariaDB

    def _last_settled(self, after: FeedPosition, limit: int) -> int:
        """The number up to which the feed may be read."""
        self._look_ahead()
        settled, has_gap = self._walk(after.seq, limit)
        if not has_gap:
            return settled
        sleep(PAUSE)
        self._look_ahead()
        return self._walk(after.seq, limit)[0]

    def _look_ahead(self) -> None:
        """Note which numbers are in use now, and know that of those in use a pause ago."""
        now = monotonic()
        if self._ahead is None or now - self._ahead[0] >= PAUSE:
            if self._ahead is not None:
                self._over = self._ahead[1]
            newest = select(func.max(self._revision.c.seq))
            self._ahead = now, self._read("READ COMMITTED", newest)[0][0] or 0

    def _walk(self, start: int, limit: int) -> tuple[int, bool]:
        """How far one can go from a number, and whether that ends at a gap."""
        seq = self._revision.c.seq
        query = select(seq).where(seq > start).order_by(seq).limit(limit + 1)
        query = query.with_hint(self._revision, "FORCE INDEX (PRIMARY)")  # written before others
        # What has a row, open transactions included, is read first: what is then not committed
        # was open, and what is in neither had no row.
        written = [number for (number,) in self._read("READ UNCOMMITTED", query)]
        committed = {number for (number,) in self._read("READ COMMITTED", query)}
        seen = committed.union(written)
        if len(written) > limit:  # nothing is known of what is open beyond them
            seen = {number for number in seen if number <= written[-1]}
        last = start
        for number in sorted(seen):
            if number not in committed:
                return last, False
            if number > last + 1 and number > self._over:
                return last, True
            last = number
        return last, False

    def _read(self, isolation: Any, query: Select[Any]) -> list[Row[Any]]:
        with self._engine.connect().execution_options(isolation_level=isolation) as connection:
            return list(connection.execute(query))
