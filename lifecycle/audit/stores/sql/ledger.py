"""The evidence of a log in its own database: leaves, the chain, holds, and what jobs look for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from operator import itemgetter
from typing import Any

from msgspec.json import encode as to_json
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
from lifecycle.audit.stores.sql.exactly import Reading, among
from lifecycle.audit.stores.sql.feeding import Feeding
from lifecycle.audit.stores.sql.tables import AuditTables
from lifecycle.audit.stores.texts import escaped, unescaped
from lifecycle.errors import EvidenceError

__all__ = ["SqlLedger"]

Transaction = Callable[[], AbstractContextManager[Connection]]


class SqlLedger(Reading):
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

    def newest(self, *kinds: str) -> dict[str, Entry]:
        seal, other = self._tables.seal, self._tables.seal.alias()
        numbers = (
            select(func.max(other.c.number)).where(other.c.kind == kind).scalar_subquery()
            for kind in kinds
        )
        statement = select(seal).where(seal.c.number.in_(tuple(numbers))).limit(len(kinds))
        with self._transaction() as connection:
            rows = connection.execute(statement).all()
        return {row.kind: Entry(**row._mapping) for row in rows}

    def _entry(self, statement: Select[Any]) -> Entry | None:
        with self._transaction() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else Entry(**row._mapping)

    def entries(self, after: int = 0, kinds: Collection[str] = ()) -> Iterator[Entry]:
        seal = self._tables.seal
        wanted = [seal.c.kind.in_(kinds)] if kinds else []
        while True:
            statement = select(seal).where(seal.c.number > after, *wanted).order_by(seal.c.number)
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
        wanted = [among(self._tables.revision.c.seq, seqs)]
        with self._transaction() as connection:
            return _by_seq(self._revised(connection, wanted, None))

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
        moves = change.former_key.is_not(None)
        # Read as they are, past the types: there are many, and few have anything escaped. Labels
        # are not asked for, and former keys only where there are any.
        names = ("seq", "n", "key", "operation", "changes", "format")
        columns = [type_coerce(change[name], NullType()) for name in names]
        with self._transaction() as connection:
            moved = select(change.n).where(change.entity == entity, moves).limit(1)
            is_moved = connection.execute(moved).first() is not None
            if is_moved:
                columns.append(type_coerce(change.former_key, NullType()))
            named = select(*columns).where(change.entity == entity)
            found = connection.execute(named.where(self._is_one_of(change.key, keys)))
            rows: list[Any] = list(found.all())
            if is_moved:
                places = {(row[0], row[1]) for row in rows}
                formerly = connection.execute(named.where(self._is_one_of(change.former_key, keys)))
                rows += [row for row in formerly.all() if (row[0], row[1]) not in places]
        entries = [
            Stored(seq, n, key, former[0] if former else None, operation, None, changes, format)
            for seq, n, key, operation, changes, format, *former in rows
        ]
        entries.sort(key=itemgetter(0, 1))
        return [entry if entry.key.isascii() else _unescaped(entry) for entry in entries]

    def _is_one_of(self, column: Column[Any], keys: Sequence[str]) -> ColumnElement[bool]:
        """Whether a column holds one of some keys, which are sent as one value, not as so many."""
        if self._engine.dialect.name == "postgresql":
            given = [escaped(key) for key in keys]
            return type_coerce(column, Text()) == any_(bindparam(None, given, ARRAY(Text())))
        if self._engine.dialect.name == "sqlite":
            text = to_json([escaped(key) for key in keys]).decode()
            return column.in_(select(func.json_each(text).table_valued("value").c.value))
        return column.in_(keys)

    def keys(self, entity: str, after: str | None, limit: int) -> list[str]:
        change = self._tables.change.c
        statement = select(change.key).where(change.entity == entity).distinct()
        if after is not None:
            statement = statement.where(change.key > after)
        with self._transaction() as connection:
            return list(connection.scalars(statement.order_by(change.key).limit(limit)).all())

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


class _Writer(Reading):
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
        wanted = [among(self._tables.revision.c.seq, seqs)]
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

    def add_hold(self, hold: Hold) -> Hold:
        values = asdict(hold)
        del values["number"]
        result = self._connection.execute(insert(self._tables.hold), values)
        assert result.inserted_primary_key is not None
        return replace(hold, number=result.inserted_primary_key[0])

    def remove_hold(self, number: int) -> None:
        hold = self._tables.hold
        self._connection.execute(delete(hold).where(hold.c.number == number))

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


def _unescaped(entry: Stored) -> Stored:
    former_key = entry.former_key and unescaped(entry.former_key)
    return entry._replace(key=unescaped(entry.key), former_key=former_key)


def _by_seq(found: Iterator[Revised]) -> dict[int, Revised]:
    return {one.row[0]: one for one in found}
