"""The protocol of a ledger: where a store keeps its evidence, and how its rows are read exactly.

A store that can be sealed has a ``ledger``. Rows are as `lifecycle.audit.leaves` has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from msgspec import Struct

from lifecycle.audit.chain import Entry
from lifecycle.audit.leaves import Leaf, Row
from lifecycle.audit.records import FeedPosition
from lifecycle.audit.store import AuditStore
from lifecycle.audit.store import Entry as Stored
from lifecycle.errors import ConfigurationError

__all__ = ["Hold", "Ledger", "LedgerWriter", "Revised", "ledger_of"]


class Revised(NamedTuple):
    """A revision's row, and where it stands in the feed."""

    horizon: int
    row: Row


class Hold(Struct, frozen=True, kw_only=True):
    """A legal hold: what matches it is neither pruned nor erased.

    ``entity`` alone holds all objects of a model, with ``key`` one of them, under every key that
    it had and gets, and whatever else had one of these keys; ``actor`` everything that actor did.
    ``salt`` keeps anybody from guessing at what was held by its digest, when it is released.
    """

    number: int | None = None
    at: str
    entity: str | None = None
    key: str | None = None
    actor: str | None = None
    reason: str | None = None
    set_by: str | None = None
    salt: str | None = None


class LedgerWriter(Protocol):
    """One transaction that changes evidence, alone: another one waits, and then fails."""

    def unsealed(self, after: FeedPosition | None, limit: int) -> list[Revised]:
        """The next revisions of the feed, by the guarantee of ``AuditStore.feed``."""
        ...

    def leaves_of(self, seqs: Sequence[int]) -> list[Leaf]:
        """The leaves of some revisions, in the order of their places."""
        ...

    def revisions(self, seqs: Sequence[int]) -> dict[int, Revised]:
        """Those of some revisions that are there, and perhaps others."""
        ...

    def records(self, seqs: Sequence[int]) -> Iterator[Row]:
        """The rows of the records of some revisions, in order."""
        ...

    def add_leaves(self, leaves: Sequence[Leaf]) -> None:
        """Store new leaves."""
        ...

    def change_leaf(self, leaf: Leaf) -> None:
        """Store what became of a leaf's parts."""
        ...

    def change_row(self, before: Row, after: Row) -> None:
        """Put a row in place of another one at its place."""
        ...

    def remove(self, records: Sequence[tuple[int, int]], revisions: Sequence[int]) -> None:
        """Remove records, by seq and n, and the rows of revisions."""
        ...

    def add_hold(self, hold: Hold) -> Hold:
        """Store a hold; returns it with its number."""
        ...

    def remove_hold(self, number: int) -> None:
        """Take a hold away, if there is one of that number."""
        ...

    def finish(self, entry: Entry | None) -> None:
        """Store the finished entry, or take away the one the transaction began with."""
        ...


class Ledger(Protocol):
    """Reads rows exactly and keeps the evidence. Raises as the store does."""

    def last(self) -> Entry | None:
        """The newest entry of the chain."""
        ...

    def newest(self, *kinds: str) -> dict[str, Entry]:
        """The newest entry of each kind, by its kind; one statement where there are such."""
        ...

    def entries(self, after: int = 0, kinds: Collection[str] = ()) -> Iterator[Entry]:
        """The chain after an entry, in order; perhaps only entries of some kinds."""
        ...

    def leaves(self, seal: int, place: int, limit: int) -> list[Leaf]:
        """The next leaves of a seal, from a place on."""
        ...

    def leaf_count(self) -> int:
        """How many leaves there are; fast, and about right, is enough."""
        ...

    def foreign_leaves(self, last: int) -> list[int]:
        """The numbers of revisions with leaves of a seal that is none, some of them."""
        ...

    def revisions(self, seqs: Sequence[int]) -> dict[int, Revised]:
        """Those of some revisions that are there, and perhaps others."""
        ...

    def records(
        self,
        seqs: Sequence[int],
        start: tuple[int, int] | None = None,
        before: tuple[int, int] | None = None,
    ) -> Iterator[Row]:
        """The rows of the records of some revisions, in order, streamed.

        Only from one place on, which is in the first revision, and before one in the last.
        """
        ...

    def inserted(self, upto: FeedPosition, limit: int) -> list[int]:
        """Revisions up to a position of the feed that have no leaf, some of them."""
        ...

    def orphans(self, limit: int) -> list[tuple[int, int]]:
        """Records without a revision that are not in a leaf either, some of them."""
        ...

    def of_objects(self, entity: str, keys: Sequence[str]) -> list[Stored]:
        """Every record of some objects of an entity, under these keys before or after, in order."""
        ...

    def keys(self, entity: str, after: str | None, limit: int) -> list[str]:
        """The next keys that an entity has records of, in an order of the store's."""
        ...

    def revisions_of(self, actor: str, after: int, limit: int) -> list[int]:
        """The next revisions by an actor, in order."""
        ...

    def old(
        self, before: datetime, entity: str | None, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        """The next places of records made before a moment, of one entity or all, in order."""
        ...

    def bare(self, before: datetime, after: int, limit: int) -> list[int]:
        """The next revisions made before a moment that have no records, in order."""
        ...

    def excess(
        self, entity: str, keep: int, after: str | None, limit: int
    ) -> tuple[list[tuple[int, int]], str | None]:
        """Places of all but the newest records of each of the next objects of an entity.

        And the key to go on after, ``None`` after the last one.
        """
        ...

    def writing(self, entry: Entry) -> AbstractContextManager[LedgerWriter]:
        """A transaction that begins with an entry of the chain and ends with it or without.

        Raises ``EvidenceError`` when another one was quicker.
        """
        ...

    def holds(self) -> list[Hold]:
        """The legal holds."""
        ...


def ledger_of(store: AuditStore) -> Ledger:
    """The ledger of a store. Raises ``ConfigurationError`` for a store that cannot be sealed."""
    ledger: Ledger | None = getattr(store, "ledger", None)
    if ledger is None:
        raise ConfigurationError(
            f"{store!r} keeps no evidence, so it can be neither sealed nor pruned: "
            "use a SQL database, or MongoDB, as the store"
        )
    return ledger
