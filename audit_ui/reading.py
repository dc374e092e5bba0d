"""What the pages ask the store: a few bounded questions each, never a count or an offset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from audit_ui.filters import Sieve
from audit_ui.places import Cursor
from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import Asked, AuditStore, Page, Query
from lifecycle.changes import ChangeSet, Delta, Operation, split_path
from lifecycle.errors import ConflictError
from lifecycle.markers import UNKNOWN

__all__ = [
    "Around",
    "Lineage",
    "Slice",
    "State",
    "around",
    "lineage",
    "neighbours",
    "newest_first",
    "oldest_first",
    "searched",
    "state_at",
    "version_of",
]

LOOKED_AT: Final = (200, 800)
"""How many records each question of a search looks at."""

DEEP: Final = 250
"""How many older records one more question may fetch to put a state together."""


# --- pages of records -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slice:
    """Some records in page order, and where the pages before and after it begin.

    ``stopped`` is the last record looked at where a search was ended before its page was full.
    ``calls`` is how many questions it may have taken.
    """

    records: tuple[Record, ...]
    newer: Position | None
    older: Position | None
    stopped: Record | None = None
    calls: int = 1


def newest_first(store: AuditStore, query: Query, cursor: Cursor, limit: int) -> Slice:
    """One page of records, newest first. One question."""
    if cursor.newer_than is not None:
        page = store.page(query, after=cursor.newer_than, limit=limit, newest_first=False)
        records = page.records[::-1]
        newer = records[0].position if page.next is not None else None
        return Slice(records, newer, records[-1].position if records else None)
    page = store.page(query, after=cursor.older_than, limit=limit)
    newer = page.records[0].position if page.records and cursor else None
    return Slice(page.records, newer, page.next)


def searched(
    store: AuditStore, query: Query, sieve: Sieve | None, cursor: Cursor, limit: int
) -> Slice:
    """One page of the records that also pass a sieve, newest first. At most two questions.

    A sieve looks at so many records and no more, so that a page costs what it costs however rare
    its records are; the next page goes on from there.
    """
    if sieve is None:
        return replace(newest_first(store, query, cursor, limit), calls=_calls(query))
    forward = cursor.newer_than is not None
    after, found, last = cursor.newer_than if forward else cursor.older_than, list[Record](), None
    calls = 0
    for size in LOOKED_AT:
        page, calls = (
            store.page(query, after=after, limit=size, newest_first=not forward),
            calls + 1,
        )
        for last in page:
            if sieve(last):
                found.append(last)
                if len(found) == limit:
                    break
        full = len(found) == limit
        ended = page.next is None and (not page.records or last is page.records[-1])
        after = None if ended or last is None else last.position
        if full or after is None:
            break
    stopped = None if after is None or len(found) == limit else last
    if forward:
        older = found[0].position if found else _just_after(cursor.newer_than)
        return Slice(tuple(found[::-1]), after, older, stopped, calls)
    newer = found[0].position if found and cursor else None
    return Slice(tuple(found), newer, after, stopped, calls)


def _calls(query: Query) -> int:
    """A store may look near the newest records first for those of a time."""
    return 1 if query.since is None and query.until is None else 2


def _just_after(position: Position | None) -> Position | None:
    """The first place after a position, so that a page of what is older begins with it."""
    return None if position is None else Position(position.seq, position.n + 1)


def oldest_first(store: AuditStore, query: Query, cursor: Cursor, limit: int) -> Slice:
    """One page of records in the order they were written. One question."""
    page = store.page(query, after=cursor.newer_than, limit=limit, newest_first=False)
    return Slice(page.records, page.next, None)


# --- one record and what is around it -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Around:
    """A record, and others of its revision."""

    record: Record
    siblings: tuple[Record, ...]
    more_siblings: bool


def around(store: AuditStore, revision: UUID, n: int, limit: int) -> Around | None:
    """A record by its id, ``None`` when there is none. One question, or two in a large revision."""
    whole = Query(revision=revision)
    first = store.page(whole, limit=limit, newest_first=False)
    record = _numbered(first, n)
    if record is None and first.next is not None:
        just_before = Position(first.records[0].position.seq, n - 1)
        record = _numbered(store.page(whole, after=just_before, limit=1, newest_first=False), n)
    if record is None:
        return None
    siblings = tuple(sibling for sibling in first if sibling.n != n)
    return Around(record, siblings, more_siblings=first.next is not None)


def neighbours(record: Record) -> tuple[Asked, Asked]:
    """How to ask for the changes of the same object before a record and after it."""
    entity, key = record.entity, record.key
    before = Query(entity=entity, key=record.former_key or key)
    after = Query(entity=entity, key=key)
    return Asked(before, record.position), Asked(after, record.position, newest_first=False)


def _numbered(page: Page, n: int) -> Record | None:
    return next((record for record in page if record.n == n), None)


def version_of(store: AuditStore, query: Query, revision: UUID, n: int) -> Record | None:
    """The record of that id among those of one object. One question."""
    return _numbered(store.page(replace(query, revision=revision), limit=200), n)


# --- an object over time --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lineage:
    """An object's records, newest first, over the keys it had; ``more`` when older ones remain.

    ``calls`` is how many questions were not needed.
    """

    records: tuple[Record, ...]
    more: bool
    calls: int


def lineage(
    store: AuditStore, query: Query, known: Slice, selected: Position, calls: int
) -> Lineage:
    """The known records of an object and those before them, on to the keys it had before.

    Asks at most ``calls`` questions. Older records of the same key are fetched only while they
    are needed to put the selected version's state together.
    """
    records: list[Record] = []
    batch, older = known.records, known.older
    while True:
        moved = _taken(batch, query.key, records)
        if moved is not None:
            just_before = Position(moved.position.seq, moved.n - 1)
            query, older = replace(query, key=moved.former_key, upto=just_before), None
        elif older is None or _reaches_insert(records, selected):
            break
        if not calls:
            break
        page = store.page(query, after=older, limit=DEEP)
        batch, older, calls = page.records, page.next, calls - 1
    return Lineage(tuple(records), moved is not None or older is not None, calls)


def _taken(batch: Sequence[Record], key: str | None, records: list[Record]) -> Record | None:
    """Add a batch's records up to the one that brought the object to this key, and return that."""
    for record in batch:
        records.append(record)
        if record.key == key and record.former_key not in (None, key):
            return record
    return None


def _reaches_insert(records: Sequence[Record], selected: Position) -> bool:
    return any(r.operation is Operation.INSERT and r.position <= selected for r in records)


@dataclass(frozen=True, slots=True)
class State:
    """An object's values as far as its records tell, and the insert they reach back to, if any."""

    values: Mapping[str, Any]
    inserted: Record | None


def state_at(records: Sequence[Record]) -> State:
    """The state after the first of an object's records, newest first; before it if a deletion."""
    steps = list(_of_this_life(records))
    inserted = steps[-1] if steps and steps[-1].operation is Operation.INSERT else None
    values: dict[str, Any] = {}
    for record in reversed(steps):
        for field, deltas in _by_field(record.changes).items():
            _apply(values, field, deltas, inserted is not None)
    return State(values, inserted)


def _of_this_life(records: Sequence[Record]) -> Iterator[Record]:
    """Back to the insert, or to where an earlier object ended that had the same key."""
    if records and records[0].operation is Operation.DELETE:
        records = records[1:]
    key = records[0].key if records else None
    for record in records:
        if record.operation is Operation.DELETE or record.key != key:
            return
        yield record
        if record.operation is Operation.INSERT:
            return
        key = record.former_key or key


def _by_field(changes: ChangeSet) -> dict[str, dict[str, Delta]]:
    fields: dict[str, dict[str, Delta]] = {}
    for path, delta in changes.items():
        fields.setdefault(split_path(path)[0], {})[path] = delta
    return fields


def _apply(values: dict[str, Any], field: str, deltas: dict[str, Delta], whole: bool) -> None:
    """Apply one field's changes; where they do not fit what is known, the value is not known."""
    before = {field: values[field]} if field in values else {} if whole else {field: UNKNOWN}
    try:
        after = ChangeSet(deltas).applied_to(before)
    except ConflictError:
        after = {field: UNKNOWN}
    if field in after:
        values[field] = after[field]
    else:
        values.pop(field, None)
