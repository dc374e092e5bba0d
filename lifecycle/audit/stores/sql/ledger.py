"""The evidence of a log in its own database: rows read exactly as they are, leaves, the chain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from msgspec.structs import asdict, replace
from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import NullType

from lifecycle.audit.chain import Entry
from lifecycle.audit.leaves import HEADER, Leaf, Row
from lifecycle.audit.ledger import Hold, Revised
from lifecycle.audit.records import FeedPosition
from lifecycle.audit.store import Entry as Stored
from lifecycle.audit.stores.sql.feeding import Feeding
from lifecycle.audit.stores.sql.tables import AuditTables
from lifecycle.audit.stores.texts import escaped, unescaped
from lifecycle.errors import EvidenceError

__all__ = ["SqlLedger"]

Transaction = Callable[[], AbstractContextManager[Connection]]

_FETCHED: Final = 5_000
"""Records fetched at a time."""

_ID, _AT, _GROUP, _HORIZON = 1, 2, 10, 11


class _Reading:
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
            page = statement.where(_among(change.seq, wanted))
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


class SqlLedger(_Reading):
    """The `Ledger` of a `SqlStore`."""

    def __init__(
        self, tables: AuditTables, engine: Engine, feeding: Feeding, transaction: Transaction
    ) -> None:
        super().__init__(tables, feeding)
        self._engine = engine
        self._transaction = transaction

    def last(self) -> Entry | None:
        seal = self._tables.seal
        return self._entry(select(seal).order_by(seal.c.number.desc()).limit(1))

    def last_seal(self) -> Entry | None:
        seal = self._tables.seal
        newest = select(seal).where(seal.c.kind == "seal")
        return self._entry(newest.order_by(seal.c.number.desc()).limit(1))

    def _entry(self, statement: Select[Any]) -> Entry | None:
        with self._transaction() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else Entry(**row._mapping)

    def entries(self, after: int = 0) -> Iterator[Entry]:
        seal = self._tables.seal
        while True:
            statement = select(seal).where(seal.c.number > after).order_by(seal.c.number)
            with self._transaction() as connection:
                rows = connection.execute(statement.limit(500)).all()
            for row in rows:
                yield Entry(**row._mapping)
            if len(rows) < 500:
                return
            after = rows[-1].number

    def leaves(self, seal: int, place: int, limit: int) -> list[Leaf]:
        leaf = self._tables.leaf.c
        with self._transaction() as connection:
            return self._leaves(connection, and_(leaf.seal == seal, leaf.place >= place), limit)

    def leaf_count(self) -> int:
        seal = self._tables.seal.c
        with self._transaction() as connection:
            total = select(func.sum(seal.count)).where(seal.kind == "seal")
            return int(connection.scalar(total) or 0)

    def foreign_leaves(self, last: int) -> list[int]:
        seal, leaf = self._tables.seal.c, self._tables.leaf.c
        known = select(seal.number).where(seal.kind == "seal", seal.number <= last)
        statement = select(leaf.seq).where(leaf.seal.not_in(known)).order_by(leaf.seq).limit(100)
        with self._transaction() as connection:
            return list(connection.scalars(statement))

    def revisions(self, seqs: Sequence[int]) -> dict[int, Revised]:
        among = _among(self._tables.revision.c.seq, seqs)
        with self._transaction() as connection:
            return _by_seq(self._revised(connection, [among], None))

    def records(
        self,
        seqs: Sequence[int],
        start: tuple[int, int] | None = None,
        before: tuple[int, int] | None = None,
    ) -> Iterator[Row]:
        with self._transaction() as connection:
            yield from self._records(connection, seqs, start, before)

    def inserted(self, upto: FeedPosition, limit: int) -> list[int]:
        revision, leaf = self._tables.revision, self._tables.leaf
        same = and_(leaf.c.seq == revision.c.seq, leaf.c.n == HEADER)
        statement = (
            select(revision.c.seq)
            .join_from(revision, leaf, same, isouter=True)
            .where(leaf.c.seq.is_(None), ~self._feeding.beyond(upto))
            .order_by(revision.c.seq)
            .limit(limit)
        )
        with self._transaction() as connection:
            return list(connection.scalars(statement))

    def orphans(self, limit: int) -> list[tuple[int, int]]:
        revision, change = self._tables.revision, self._tables.change
        statement = (
            select(change.c.seq, change.c.n)
            .join_from(change, revision, change.c.seq == revision.c.seq, isouter=True)
            .where(revision.c.seq.is_(None))
            .limit(limit)
        )
        with self._transaction() as connection:
            return [(row.seq, row.n) for row in connection.execute(statement)]

    def of_objects(self, entity: str, keys: Sequence[str]) -> list[Stored]:
        change = self._tables.change.c
        # Read as they are, past the types: there are many, and few have anything escaped.
        columns = [type_coerce(change[name], NullType()) for name in Stored._fields]
        named = select(*columns).where(change.entity == entity)
        with self._transaction() as connection:
            found = connection.execute(named.where(self._is_one_of(change.key, keys))).all()
            places = {(row[0], row[1]) for row in found}
            formerly = connection.execute(named.where(self._is_one_of(change.former_key, keys)))
            rows: list[Any] = [*found, *(row for row in formerly if (row[0], row[1]) not in places)]
        entries = [Stored(*row) for row in rows]
        entries.sort(key=itemgetter(0, 1))
        return [
            entry
            if "\ue000" not in f"{entry.key}{entry.former_key}"
            else entry._replace(
                key=unescaped(entry.key),
                former_key=entry.former_key and unescaped(entry.former_key),
            )
            for entry in entries
        ]

    def _is_one_of(self, column: Column[Any], keys: Sequence[str]) -> ColumnElement[bool]:
        if self._engine.dialect.name != "postgresql":
            return column.in_(keys)
        given = [escaped(key) for key in keys]  # as one value, not as so many
        return type_coerce(column, Text()) == any_(bindparam(None, given, ARRAY(Text())))

    def keys(self, entity: str, after: str | None, limit: int) -> list[str]:
        change = self._tables.change.c
        statement = select(change.key).where(change.entity == entity).distinct()
        if after is not None:
            statement = statement.where(change.key > after)
        with self._transaction() as connection:
            return list(connection.scalars(statement.order_by(change.key).limit(limit)))

    def revisions_of(self, actor: str, after: int, limit: int) -> list[int]:
        revision = self._tables.revision.c
        statement = select(revision.seq).where(revision.actor == actor, revision.seq > after)
        with self._transaction() as connection:
            return list(connection.scalars(statement.order_by(revision.seq).limit(limit)))

    def old(
        self, before: datetime, entity: str | None, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        revision, change = self._tables.revision, self._tables.change
        beyond = or_(change.c.seq > after[0], change.c.n > after[1])
        statement = (
            select(change.c.seq, change.c.n)
            .join_from(change, revision, change.c.seq == revision.c.seq)
            .where(revision.c.at < before, change.c.seq >= after[0], beyond)
            .order_by(change.c.seq, change.c.n)
            .limit(limit)
        )
        if entity is not None:
            statement = statement.where(change.c.entity == entity)
        with self._transaction() as connection:
            return [(row.seq, row.n) for row in connection.execute(statement)]

    def bare(self, before: datetime, after: int, limit: int) -> list[int]:
        revision, change = self._tables.revision, self._tables.change
        statement = (
            select(revision.c.seq)
            .where(revision.c.at < before, revision.c.seq > after)
            .where(~exists().where(change.c.seq == revision.c.seq))
            .order_by(revision.c.seq)
            .limit(limit)
        )
        with self._transaction() as connection:
            return list(connection.scalars(statement))

    def excess(
        self, entity: str, keep: int, after: str | None, limit: int
    ) -> tuple[list[tuple[int, int]], str | None]:
        change = self._tables.change.c
        of_entity = [change.entity == entity]
        if after is not None:
            of_entity.append(change.key > after)
        keys = select(change.key).where(*of_entity).distinct().order_by(change.key).limit(limit)
        newest_first = [change.seq.desc(), change.n.desc()]
        rank = func.row_number().over(partition_by=change.key, order_by=newest_first)
        with self._transaction() as connection:
            found = list(connection.scalars(keys))
            if not found:
                return [], None
            ranked = select(change.seq, change.n, rank.label("place_in_object"))
            ranked = ranked.where(*of_entity, change.key <= found[-1])
            older = ranked.subquery()
            statement = select(older.c.seq, older.c.n).where(older.c.place_in_object > keep)
            statement = statement.order_by(older.c.seq, older.c.n)
            places = [(row.seq, row.n) for row in connection.execute(statement)]
        return places, found[-1] if len(found) == limit else None

    @contextmanager
    def writing(self, entry: Entry) -> Iterator[_Writer]:
        try:
            with self._transaction() as connection:
                # First of all: whoever else begins with this number waits here, and the rows are
                # read as they are after that.
                connection.execute(insert(self._tables.seal), asdict(entry))
                yield _Writer(self._tables, self._feeding, connection, entry.number)
        except IntegrityError as error:
            raise EvidenceError(
                f"entry {entry.number} of the chain was written by somebody else at the same "
                "time: sealing, pruning and erasing take turns; do it again"
            ) from error

    def holds(self) -> list[Hold]:
        hold = self._tables.hold
        with self._transaction() as connection:
            rows = connection.execute(select(hold).order_by(hold.c.number)).all()
        return [Hold(**row._mapping) for row in rows]

    def add_hold(self, hold: Hold) -> Hold:
        values = asdict(hold)
        del values["number"]
        with self._transaction() as connection:
            result = connection.execute(insert(self._tables.hold), values)
            assert result.inserted_primary_key is not None
            return replace(hold, number=result.inserted_primary_key[0])

    def release(self, number: int) -> bool:
        hold = self._tables.hold
        with self._transaction() as connection:
            return connection.execute(delete(hold).where(hold.c.number == number)).rowcount > 0


class _Writer(_Reading):
    """The `LedgerWriter` of one transaction."""

    def __init__(
        self, tables: AuditTables, feeding: Feeding, connection: Connection, number: int
    ) -> None:
        super().__init__(tables, feeding)
        self._connection = connection
        self._number = number

    def unsealed(self, after: FeedPosition | None, limit: int) -> list[Revised]:
        conditions = list(self._feeding.settled(after, limit))
        if after is not None:
            conditions.append(self._feeding.beyond(after))
        found = list(self._revised(self._connection, conditions, limit))
        if not found:
            self._feeding.refuse_foreign(self._connection)
        return found

    def leaves_of(self, seqs: Sequence[int]) -> list[Leaf]:
        return self._leaves(self._connection, self._tables.leaf.c.seq.in_(seqs), None)

    def revisions(self, seqs: Sequence[int]) -> dict[int, Revised]:
        wanted = [_among(self._tables.revision.c.seq, seqs)]
        return _by_seq(self._revised(self._connection, wanted, None))

    def records(self, seqs: Sequence[int]) -> Iterator[Row]:
        return self._records(self._connection, seqs)

    def add_leaves(self, leaves: Sequence[Leaf]) -> None:
        if leaves:
            rows = [_leaf_row(leaf) for leaf in leaves]
            self._connection.execute(insert(self._tables.leaf), rows)

    def change_leaf(self, leaf: Leaf) -> None:
        table = self._tables.leaf
        self._connection.execute(
            update(table)
            .where(table.c.seq == leaf.seq, table.c.n == leaf.n)
            .values(parts=leaf.packed, kept=leaf.kept)
        )

    def change_row(self, before: Row, after: Row) -> None:
        is_revision = len(before) == len(self._tables.revision.c)
        table = self._tables.revision if is_revision else self._tables.change
        values = {
            column: type_coerce(new, NullType())
            for column, old, new in zip(table.c, before, after, strict=True)
            if old != new
        }
        place = [table.c.seq == before[0]]
        if not is_revision:
            place.append(table.c.n == before[1])
        self._connection.execute(update(table).where(*place).values(values))

    def remove(self, records: Sequence[tuple[int, int]], revisions: Sequence[int]) -> None:
        revision, change = self._tables.revision, self._tables.change
        whole = set(revisions)
        if revisions:
            self._connection.execute(delete(change).where(change.c.seq.in_(revisions)))
            self._connection.execute(delete(revision).where(revision.c.seq.in_(revisions)))
        single = [place for place in records if place[0] not in whole]
        if single:
            there = tuple_(change.c.seq, change.c.n).in_(single)
            self._connection.execute(delete(change).where(there))

    def finish(self, entry: Entry | None) -> None:
        seal = self._tables.seal
        if entry is None:
            self._connection.execute(delete(seal).where(seal.c.number == self._number))
        else:
            changed = update(seal).where(seal.c.number == self._number)
            self._connection.execute(changed, asdict(entry))


def _leaf_row(leaf: Leaf) -> Mapping[str, Any]:
    return {
        "seq": leaf.seq,
        "n": leaf.n,
        "seal": leaf.seal,
        "place": leaf.place,
        "parts": leaf.packed,
        "kept": leaf.kept,
    }


def _among(column: Column[Any], seqs: Collection[int]) -> ColumnElement[bool]:
    """A criterion that revisions with these numbers meet, and not many others."""
    if not seqs:
        return false()
    lowest, highest = min(seqs), max(seqs)
    if highest - lowest < 2 * len(seqs):
        return column.between(lowest, highest)
    return column.in_(seqs)


def _by_seq(found: Iterator[Revised]) -> dict[int, Revised]:
    return {one.row[0]: one for one in found}


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
