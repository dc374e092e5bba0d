"""Rows that the database changes by itself: read before the statement that causes it, and after.

Nothing here works out what a database would do. Foreign keys only say where to look; what is
recorded is the difference between what was read before and after, which is none on a database
that does not enforce them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    Delete,
    Insert,
    Table,
    Update,
    select,
    type_coerce,
)
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.changes import Change, ChangeSet, Delta, Operation, SetEdit, same
from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.foreign_keys import (
    GONE,
    Effect,
    Effects,
    ForeignKeys,
    Reference,
    changed,
)
from lifecycle.mappers.sqlalchemy.images import rows_by_identity, rows_of
from lifecycle.mappers.sqlalchemy.inserts import Upsert, is_upsert
from lifecycle.mappers.sqlalchemy.rewrites import Rewrite, assigned_names, equalities
from lifecycle.mappers.sqlalchemy.rows import Identity, Pair, RowValues
from lifecycle.mappers.sqlalchemy.tables import RecordedTable, Tables
from lifecycle.spooling import Spool, chunks
from lifecycle.written import CASCADE, Written

__all__ = ["Cascade", "after_flush", "effects_of"]


def effects_of(
    keys: ForeignKeys, table: Any, statement: UpdateBase, parameters: Sequence[Mapping[str, Any]]
) -> Effects | None:
    """What a statement may do that makes the database change recorded rows by itself."""
    if not isinstance(table, Table) or not keys.to(table):
        return None
    effects: tuple[Effect, ...] = ()
    if isinstance(statement, Delete):
        effects = (GONE,)
    elif isinstance(statement, Update):
        names = assigned_names(statement, parameters, table)
        columns = [one for one in keys.changes(table).columns if one.key in names]
        effects = (changed(columns),)
    elif isinstance(statement, Insert) and is_upsert(statement):
        effects = (GONE, keys.changes(table))
    return (table, effects) if any(keys.reached(table, one) for one in effects) else None


class Cascade:
    """What the database does to other rows when a statement deletes, or changes, some.

    The rows that refer to those are read before it, and the rows that refer to them in turn, as
    far as foreign keys lead to ``wanted`` tables; after it they are read once more. ``capture`` is
    how the rows of the statement itself are read, when they are recorded with it.
    """

    def __init__(
        self,
        connection: Connection,
        keys: ForeignKeys,
        tables: Tables,
        wanted: frozenset[Table],
        capture: tuple[RecordedTable, Rewrite | Upsert] | None = None,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._tables = tables
        self.wanted: Final = wanted
        self._capture = capture
        self._images: dict[Table, _Images] = {}
        self._own: tuple[Table, Rewrite | Upsert] | None = None
        self._carried: dict[Reference, dict[Identity, Identity]] = {}
        self._moved: dict[Identity, Identity] = {}

    # --- before ---

    def read(
        self, cause: Effects, statement: UpdateBase, parameters: Sequence[Mapping[str, Any]]
    ) -> None:
        """Read what the database may be about to change."""
        table, effects = cause
        rows = self._rows(cause, statement, parameters)
        waiting: deque[tuple[Table, Iterable[RowValues], tuple[Effect, ...]]] = deque()
        waiting.append((table, rows, effects))
        while waiting:
            table, rows, effects = waiting.popleft()
            followed = self._followed(table, effects)
            for some in chunks(rows):
                for reference, effect in followed:
                    for new in self._referring(reference, effect, some):
                        if self._followed(reference.table, (effect,)):
                            waiting.append((reference.table, new, (effect,)))

    def _rows(
        self, cause: Effects, statement: UpdateBase, parameters: Sequence[Mapping[str, Any]]
    ) -> Iterable[RowValues]:
        """The rows of the statement itself, with the columns that others refer to."""
        table, effects = cause
        referred = {
            column
            for reference, _ in self._followed(table, effects)
            for column in reference.referred
        }
        if not referred:
            return ()  # the tables that refer to it are not in this database
        if self._capture is None and isinstance(statement, Delete):
            equal = equalities(statement, parameters, table) or {}
            if referred <= equal.keys():
                return [{own.key: one[equal[own]] for own in referred} for one in parameters]
        images, own = self._images_of(table), None
        if self._capture is not None:
            _, own = self._capture
            if not {*referred, *images.identity} <= {*own.columns}:
                own = None
        if own is None and isinstance(statement, Insert):
            own = Upsert(self._connection, images, statement, parameters)
        elif own is None:
            assert isinstance(statement, Update | Delete)
            own = Rewrite(self._connection, images, statement, parameters)
        if self._capture is not None:
            images.leave_out(own.found)
        if not isinstance(statement, Delete):
            self._own = table, own
        return own.found

    def _followed(
        self, table: Table, causes: tuple[Effect, ...]
    ) -> tuple[tuple[Reference, Effect], ...]:
        """The foreign keys to a table that lead to wanted ones, with what they do there."""
        found = dict.fromkeys(one for cause in causes for one in self._keys.followed(table, cause))
        return tuple(
            (reference, effect)
            for reference, effect in found
            if reference.table in self.wanted
            or self._keys.reached(reference.table, effect) & self.wanted
            if self._keys.is_there(self._connection, reference.table)
        )

    def _images_of(self, table: Table) -> _Images:
        images = self._images.get(table)
        if images is None:
            recorded = self._tables.of(table) if table in self.wanted else ()
            images = self._images[table] = _Images(table, recorded, self._keys.to(table))
        return images

    def _referring(
        self, reference: Reference, effect: Effect, rows: Iterable[RowValues]
    ) -> Iterator[list[RowValues]]:
        """The rows that refer to these, and were not met before, in lists."""
        values = dict.fromkeys(_values(row, reference.referred) for row in rows)
        known = [value for value in values if None not in value]
        if not known:
            return
        images = self._images_of(reference.table)
        if effect.columns & {*images.identity}:
            self._carried.setdefault(reference, {})
        pairs = zip(reference.columns, reference.referred, strict=True)
        columns = [type_coerce(own, referred.type) for own, referred in pairs]
        query = select(*images.columns).where(is_one_of(columns, known))
        for found in chunks(rows_of(self._connection, query.with_for_update())):
            if new := images.meet(found, effect):
                yield new

    # --- after ---

    def written(self, result: CursorResult[Any], own: Iterable[Written] = ()) -> Iterator[Written]:
        """What is to be recorded once the statement has run: what it did, and what it caused.

        ``own`` is what it did itself. What an object loses as it is deleted, the members of its
        collections and the parts it has in other tables, goes into the record of that.
        """
        self._follow_moves(result)
        parts: dict[tuple[str, str], Written] = {}
        for one in self._caused(whole=False):
            part = parts.setdefault((one.entity, one.key), one)
            if part is not one:
                part.changes = ChangeSet({**part.changes, **one.changes})
                part.error = part.error or one.error
        for one in chain(own, self._caused(whole=True)):
            if one.changes.operation is Operation.DELETE:
                lost = parts.pop((one.entity, one.key), None)
                if lost is not None:
                    one.changes = ChangeSet({**one.changes, **lost.changes}, Operation.DELETE)
                    one.error = one.error or lost.error
            yield one
        yield from parts.values()

    def _caused(self, *, whole: bool) -> Iterator[Written]:
        dialect = self._connection.dialect
        for images in self._images.values():
            for recorded in images.recorded:
                if recorded.is_whole is whole and images.before.count:
                    pairs = self._pairs(images)
                    for one in _in_order(recorded.written(pairs, dialect, carried=True)):
                        one.cause = CASCADE
                        yield one

    def _pairs(self, images: _Images) -> Iterator[Pair]:
        """The rows of a table as they were and as they are."""
        for chunk in images.before.chunks():
            olds = [images.identity_of(row) for row in chunk]
            news = [self._expected(images, row) for row in chunk]
            now: dict[Identity, RowValues] = {}
            for some in chunks(dict.fromkeys((*olds, *news))):
                now |= rows_by_identity(self._connection, images, some)
            # Where foreign keys are not enforced, an identity nobody moves to has not been left.
            taken = {*news}
            moves = any(old not in now for old in olds if old not in taken)
            for row, old, new in zip(chunk, olds, news, strict=True):
                if old == new or not moves or (new not in now and old not in taken):
                    yield row, now.get(old)
                else:
                    yield row, now.get(new)

    def _expected(self, images: _Images, row: RowValues) -> Identity:
        """Where a row is to be looked for: parts of its identity may have followed a key."""
        identity = images.identity_of(row)
        if self._own is not None and self._own[0] is images.table:
            identity = self._moved.get(identity, identity)
        if not self._carried:
            return identity
        parts = dict(zip(images.identity, identity, strict=True))
        for reference, carried in self._carried.items():
            if reference.table is images.table:
                new = carried.get(_values(row, reference.columns), ())
                values = dict(zip(reference.columns, new, strict=False))
                parts |= {column: values[column] for column in parts if column in values}
        return tuple(parts.values())

    def _follow_moves(self, result: CursorResult[Any]) -> None:
        """Note which keys became which, as far as they are in the identity of other rows."""
        if self._own is None:
            return
        table, own = self._own
        images = self._images[table]
        if not self._carried and not images.before.count:
            return
        for before, after in chain.from_iterable(own.portions(result)):
            if before is not None and after is not None:
                self._note(table, before, after)
                self._moved[images.identity_of(before)] = images.identity_of(after)
        count = -1
        while count != (count := sum(map(len, self._carried.values()))):
            for images in self._images.values():
                if any(reference.to is images.table for reference in self._carried):
                    for before, after in self._pairs(images):
                        if before is not None and after is not None:
                            self._note(images.table, before, after)

    def _note(self, table: Table, before: RowValues, after: RowValues) -> None:
        for reference, carried in self._carried.items():
            if reference.to is table:
                old, new = _values(before, reference.referred), _values(after, reference.referred)
                if old != new:
                    carried[old] = new


class _Images:
    """Rows of one table that the database may change, as they were before."""

    def __init__(
        self,
        table: Table,
        recorded: tuple[RecordedTable, ...],
        references: tuple[Reference, ...],
    ) -> None:
        self.table: Final = table
        self.recorded: Final = recorded
        self.identity: Final = _identity(table, recorded)
        needed = {*self.identity}
        needed.update(*(one.columns for one in recorded), *(one.referred for one in references))
        self.columns: Final = tuple(
            column for column in table.columns if column in needed or column.foreign_keys
        )
        self.before: Final = Spool()
        self._met: dict[Identity, tuple[Effect, ...]] = {}

    def columns_for(self, assigned: Set[str]) -> tuple[Column[Any], ...]:
        """All of them: others may refer to any."""
        return self.columns

    def identity_of(self, row: RowValues) -> Identity:
        """What tells a row from the others."""
        return _values(row, self.identity)

    def leave_out(self, rows: Iterable[RowValues]) -> None:
        """Keep no image of these, which are recorded otherwise."""
        self._met.update((self.identity_of(row), ()) for row in rows)

    def meet(self, rows: Iterable[RowValues], effect: Effect) -> list[RowValues]:
        """Keep the images of rows; returns those of which this effect was not known yet."""
        first, new = [], []
        for row in rows:
            identity = self.identity_of(row)
            known = self._met.get(identity)
            if known is None:
                first.append(row)
                known = ()
            if effect not in known:
                self._met[identity] = (*known, effect)
                new.append(row)
        self.before.add(first)
        return new


def _identity(table: Table, recorded: tuple[RecordedTable, ...]) -> tuple[Column[Any], ...]:
    for one in recorded:
        if one.is_whole:
            return one.identity
    columns = tuple(table.primary_key.columns)
    return columns or (recorded[0].identity if recorded else tuple(table.columns))


def _values(row: RowValues, columns: tuple[Column[Any], ...]) -> Identity:
    return tuple(row[column.key] for column in columns)


def _in_order(written: Iterable[Written]) -> Iterator[Written]:
    """The same, each change of a key after the one that gives its new key up."""
    moves: dict[tuple[str, str], Written] = {}
    for one in written:
        if one.former_key is None:
            yield one
        else:
            moves[one.entity, one.former_key] = one
    while moves:
        free = [at for at, one in moves.items() if (one.entity, one.key) not in moves]
        for at in free or list(moves):
            yield moves.pop(at)


# --- beside a flush -------------------------------------------------------------------------


def after_flush(own: list[Written], caused: list[Written]) -> list[Written]:
    """What a flush did, and what the database did because of it, in an order to be replayed.

    The flush tells of an object once, from what it was before to what it made of it. What the
    database did to it meanwhile is left out where the flush has written over it, or taken the
    object away.
    """
    known = {(one.entity, one.former_key): one for one in own}
    known |= {(one.entity, one.key): one for one in own}
    values: dict[int, dict[str, Any]] = {}
    moves: list[Written] = []
    others: list[Written] = []
    for one in caused:
        of_flush = known.get((one.entity, one.key))
        if of_flush is None and one.former_key is not None:
            of_flush = known.get((one.entity, one.former_key))
        if of_flush is None:
            (others if one.former_key is None else moves).append(one)
        elif of_flush.changes.operation is Operation.DELETE:
            _lose(of_flush, one.changes)
        elif one.changes.operation is Operation.DELETE:
            others.append(one)
        else:
            _take_over(of_flush, one)
            held = values.setdefault(id(of_flush), _held(of_flush.changes))
            left = ChangeSet(dict(_beyond(one.changes, of_flush.changes, held)))
            key = of_flush.key if one.key == of_flush.former_key else one.key
            former = one.former_key if one.former_key != of_flush.former_key else None
            if left or former is not None:
                one.key, one.former_key, one.changes = key, former, left
                others.append(one)
    first = sum(1 for one in own if one.former_key is not None)
    return [*own[:first], *moves, *own[first:], *others]


def _lose(deleted: Written, changes: ChangeSet) -> None:
    """Add what a deleted object lost to the record of that."""
    lost = dict(deleted.changes)
    for name, delta in changes.items():
        of_flush = lost.setdefault(name, delta)
        if of_flush is not delta and isinstance(of_flush, SetEdit) and isinstance(delta, SetEdit):
            lost[name] = SetEdit(
                of_flush.added - delta.removed,
                of_flush.removed | (delta.removed - of_flush.added),
            )
    deleted.changes = ChangeSet(lost, Operation.DELETE)


def _take_over(own: Written, caused: Written) -> None:
    """Make one edit of each set out of which the flush took what a changed key had put there.

    The database carries keys along before the unit of work removes rows of association tables.
    """
    for name, delta in caused.changes.items():
        mine = own.changes.get(name)
        if isinstance(delta, SetEdit) and isinstance(mine, SetEdit) and mine.removed & delta.added:
            edit = SetEdit(
                delta.added - mine.removed | mine.added,
                delta.removed | mine.removed - delta.added,
            )
            own.changes = ChangeSet({**own.changes, name: edit}, own.changes.operation)
            left = {path: other for path, other in caused.changes.items() if path != name}
            caused.changes = ChangeSet(left, caused.changes.operation)


def _held(changes: ChangeSet) -> dict[str, Any]:
    return {name: delta.new for name, delta in changes.items() if isinstance(delta, Change)}


def _beyond(caused: ChangeSet, own: ChangeSet, held: dict[str, Any]) -> Iterator[tuple[str, Delta]]:
    """What the database did after the flush, or to what the flush left alone."""
    for name, delta in caused.items():
        mine = own.get(name)
        if isinstance(delta, SetEdit) and isinstance(mine, SetEdit):
            delta = SetEdit(delta.added - mine.added, delta.removed - mine.removed)
            if not delta.added and not delta.removed:
                continue
        elif isinstance(delta, Change) and name in held:
            if not same(delta.old, held[name]):
                continue
            held[name] = delta.new
        yield name, delta
