"""An audit store in this process's memory, for tests and for trying things out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from operator import attrgetter
from threading import Lock
from uuid import UUID

from msgspec.structs import replace

from lifecycle.audit.format import dump
from lifecycle.audit.intents import Intent
from lifecycle.audit.records import FeedPosition, Position, Record, Revision
from lifecycle.audit.store import Asked, Entry, Feed, Glimpse, Page, Query
from lifecycle.audit.stores.memory_ledger import Evidence, MemoryLedger
from lifecycle.audit.stores.numbering import refuse_twins

__all__ = ["MemoryStore"]

_POSITION = attrgetter("position")


class MemoryStore:
    """An `AuditStore` that keeps everything in lists and forgets it with the process.

    Safe to use from several threads. Questions read every record: it is not for production.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._revisions: list[Revision] = []  # in the order of their seq
        self._last_seq = 0
        self._evidence = Evidence()
        self._by_id: dict[UUID, Revision] = {}
        self._records: list[Record] = []  # in the order of their positions
        self._intents: dict[UUID, Intent] = {}

    def append(self, revision: Revision, records: Sequence[Record]) -> Revision:
        with self._lock:
            stored = self._by_id.get(revision.id)
            if stored is not None:
                return stored
            ordered = sorted(records, key=lambda record: record.n)
            refuse_twins(revision, ordered)
            self._last_seq += 1
            stored = replace(revision, seq=self._last_seq)
            self._revisions.append(stored)
            self._by_id[stored.id] = stored
            self._records.extend(replace(record, revision=stored) for record in ordered)
            return stored

    def intend(self, intent: Intent) -> None:
        with self._lock:
            self._intents[intent.id] = intent

    def confirm(
        self, revision: Revision, records: Sequence[Record], intents: Sequence[UUID]
    ) -> Revision:
        stored = self.append(revision, records)
        self.withdraw(intents)
        return stored

    def withdraw(self, intents: Sequence[UUID]) -> None:
        with self._lock:
            for id in intents:
                self._intents.pop(id, None)

    def intents(self) -> Iterator[Intent]:
        with self._lock:
            return iter(list(self._intents.values()))

    def page(
        self,
        query: Query,
        *,
        after: Position | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Page:
        if limit < 1:
            raise ValueError(f"a page of {limit} records is none; limit must be at least 1")
        found = tuple(islice(self._matching(query, after, newest_first), limit + 1))
        more = len(found) > limit
        return Page(found[:limit], found[limit - 1].position if more else None)

    def _newest_first(self, after: Position | None) -> list[Record]:
        with self._lock:
            end = None if after is None else bisect_left(self._records, after, key=_POSITION)
            return self._records[:end][::-1]

    def _oldest_first(self, after: Position | None = None) -> list[Record]:
        with self._lock:
            start = None if after is None else bisect_right(self._records, after, key=_POSITION)
            return self._records[start:]

    def glimpses(self, asked: Sequence[Asked]) -> list[Glimpse | None]:
        return [self._glimpse(*one) for one in asked]

    def _glimpse(self, query: Query, after: Position | None, newest_first: bool) -> Glimpse | None:
        found = next(self._matching(query, after, newest_first), None)
        return None if found is None else Glimpse.of(found)

    def _matching(
        self, query: Query, after: Position | None, newest_first: bool
    ) -> Iterator[Record]:
        candidates = self._newest_first(after) if newest_first else self._oldest_first(after)
        return (record for record in candidates if query.matches(record))

    def scan(self, query: Query) -> Iterator[Record]:
        return (record for record in self._oldest_first() if query.matches(record))

    def trail(self, query: Query, *, newest_first: bool = False) -> Iterator[Entry]:
        candidates = self._newest_first(None) if newest_first else self._oldest_first()
        return (_entry(record) for record in candidates if query.matches(record))

    def feed(self, after: FeedPosition | None = None, *, limit: int = 500) -> Feed:
        there = None if after is None else Position(after.seq, after.n)
        found = self.page(Query(), after=there, limit=limit, newest_first=False).records
        return Feed(found, FeedPosition(0, *found[-1].position) if found else after)

    def count_at_most(self, query: Query, n: int) -> int:
        return sum(1 for _ in islice(self.scan(query), n))

    def counts_at_most(self, queries: Sequence[Query], n: int) -> list[int]:
        return [self.count_at_most(query, n) for query in queries]

    def revision(self, id: UUID) -> Revision | None:
        with self._lock:
            return self._by_id.get(id)

    def revision_at(self, moment: datetime) -> Revision | None:
        with self._lock:
            made = [revision for revision in reversed(self._revisions) if revision.at <= moment]
        return max(made, key=attrgetter("at"), default=None)

    def entities(self) -> list[str]:
        with self._lock:
            return sorted({record.entity for record in self._records})

    def check(self) -> None:
        """Nothing can be missing."""

    @property
    def ledger(self) -> MemoryLedger:
        """Where the evidence of this log is kept."""
        return MemoryLedger(self)


def _entry(record: Record) -> Entry:
    return Entry(
        *record.position,
        record.key,
        record.former_key,
        record.operation.value,
        record.label,
        dump(record.changes),
        record.format,
    )
