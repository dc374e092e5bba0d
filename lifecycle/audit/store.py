"""The protocol of an audit store: where revisions live.

A store appends whole revisions and answers bounded questions about them, newest or oldest first.
No method can ask for a full count or skip by offset, so no page built on a store can either.
``lifecycle.testing`` holds the contract suite that proves an implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from lifecycle.audit.records import FeedPosition, Position, Record, Revision
from lifecycle.changes import Operation

__all__ = ["Asked", "AuditStore", "Entry", "Feed", "Glimpse", "Limited", "Page", "Query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records are wanted; every part that is given must hold.

    ``key`` matches records whose object had that key before or after the change, and needs
    ``entity``. ``since`` is inclusive and ``until`` exclusive; both are aware. ``upto`` is the last
    position included. ``revision``, ``request_id`` and ``group`` match those of the revision.
    """

    entity: str | None = None
    key: str | None = None
    operation: Operation | None = None
    actor: str | None = None
    revision: UUID | None = None
    request_id: str | None = None
    group: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    upto: Position | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.entity is None:
            raise ValueError(f"a query for key {self.key!r} needs the entity the key belongs to")
        for name in ("since", "until"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name}={moment!r} has no time zone; give an aware datetime")

    def matches(self, record: Record) -> bool:
        """Whether every part that is given holds for a stored record."""
        revision = record.revision
        wanted_and_found = (
            (self.entity, record.entity),
            (self.operation, record.operation),
            (self.actor, revision.actor),
            (self.revision, revision.id),
            (self.request_id, revision.request_id),
            (self.group, revision.group),
        )
        return (
            all(wanted is None or wanted == found for wanted, found in wanted_and_found)
            and (self.key is None or self.key in (record.key, record.former_key))
            and (self.since is None or self.since <= revision.at)
            and (self.until is None or revision.at < self.until)
            and (self.upto is None or record.position <= self.upto)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some records in order, and where to go on: ``next`` is ``None`` when these were the last."""

    records: tuple[Record, ...]
    next: Position | None

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


class Asked(NamedTuple):
    """One record that is wanted: the first that a query finds after a position, in that order."""

    query: Query
    after: Position | None = None
    newest_first: bool = True


class Glimpse(NamedTuple):
    """A record without its changes: enough to name it, and to lead to it."""

    revision: UUID
    seq: int
    n: int
    at: datetime
    key: str
    operation: Operation
    label: str | None

    @property
    def id(self) -> str:
        """The record's id."""
        return f"{self.revision}.{self.n}"

    @classmethod
    def of(cls, record: Record) -> Glimpse:
        """That of a stored record."""
        seq, n = record.position
        return cls(
            record.revision.id, seq, n, record.at, record.key, record.operation, record.label
        )


@dataclass(frozen=True, slots=True)
class Feed:
    """The next records of the feed, and the position to go on after.

    Without records ``position`` is the one that was asked after: there is nothing new yet.
    """

    records: tuple[Record, ...]
    position: FeedPosition | None

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


class Entry(NamedTuple):
    """A record as it is stored, without who and why: what a replay needs, and quick to read.

    ``changes`` is the text of `lifecycle.audit.format`, in the version that ``format`` names.
    """

    seq: int
    n: int
    key: str
    former_key: str | None
    operation: str
    label: str | None
    changes: str
    format: int


@runtime_checkable
class AuditStore(Protocol):
    """Where revisions live. Every method may raise ``StoreUnreachable`` or ``TablesMissing``."""

    def append(self, revision: Revision, records: Sequence[Record]) -> Revision:
        """Store a revision with its records, all or nothing, and return it with its ``seq``.

        Appending a revision whose id is stored already adds nothing and returns the stored one:
        a delivery may be repeated.
        """
        ...

    def page(
        self,
        query: Query,
        *,
        after: Position | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Page:
        """At most ``limit`` matching records that come after position ``after`` in that order."""
        ...

    def glimpses(self, asked: Sequence[Asked]) -> list[Glimpse | None]:
        """The record that each asks for, in that order, ``None`` where there is none.

        In one statement where the database has such. Queries by time are not for this.
        """
        ...

    def scan(self, query: Query) -> Iterator[Record]:
        """Every matching record, oldest first, streamed in flat memory."""
        ...

    def feed(self, after: FeedPosition | None = None, *, limit: int = 500) -> Feed:
        """The next records, at most ``limit``, in an order in which nothing appears behind them.

        A reader that goes on from each answer's position sees every record once, however many
        transactions write at the same time: what an open one may still add is not passed. The
        order is that of the store, the same at each reading, and may differ from `scan`.
        """
        ...

    def trail(self, query: Query, *, newest_first: bool = False) -> Iterator[Entry]:
        """Every matching record as it is stored, in that order, streamed in flat memory."""
        ...

    def count_at_most(self, query: Query, n: int) -> int:
        """How many records match, counting no further than ``n``."""
        ...

    def counts_at_most(self, queries: Sequence[Query], n: int) -> list[int]:
        """The same of several queries, in one statement where the database has such."""
        ...

    def revision(self, id: UUID) -> Revision | None:
        """The revision of that id, ``None`` when the store has none such."""
        ...

    def revision_at(self, moment: datetime) -> Revision | None:
        """The newest revision made at or before an aware moment, ``None`` when there is none."""
        ...

    def entities(self) -> list[str]:
        """The names of the entities that have records, sorted, found without a full scan."""
        ...

    def check(self) -> None:
        """Return if the store can be read, else raise ``StoreUnreachable`` or ``TablesMissing``."""
        ...


@runtime_checkable
class Limited(Protocol):
    """A store whose questions can be given a time, as those of a web page should be."""

    def within(self, seconds: float) -> AuditStore:
        """The same store, where a statement that takes longer raises ``QuestionTooSlow``."""
        ...
