"""The evidence of a log in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lifecycle.audit.chain import Entry
from lifecycle.audit.exact import record_of, record_row, revision_of, revision_row
from lifecycle.audit.format import dump
from lifecycle.audit.leaves import HEADER, Leaf, Row
from lifecycle.audit.ledger import Hold, Revised
from lifecycle.audit.records import FeedPosition
from lifecycle.audit.store import Entry as Stored
from lifecycle.errors import EvidenceError

if TYPE_CHECKING:
    from lifecycle.audit.stores.memory import MemoryStore

__all__ = ["Evidence", "MemoryLedger"]


class Evidence:
    """What has been sealed, and which holds there are."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.leaves: list[Leaf] = []
        self.holds: dict[int, Hold] = {}


class MemoryLedger:
    """The `Ledger` of a `MemoryStore`; its own `LedgerWriter`, too."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._evidence = store._evidence

    def last(self) -> Entry | None:
        return next(reversed(self._evidence.entries), None)

    def newest(self, *kinds: str) -> dict[str, Entry]:
        return {one.kind: one for one in self._evidence.entries if one.kind in kinds}

    def entries(self, after: int = 0, kinds: Collection[str] = ()) -> Iterator[Entry]:
        there = [one for one in self._evidence.entries if not kinds or one.kind in kinds]
        return (one for one in there if one.number > after)

    def leaves(self, seal: int, place: int, limit: int) -> list[Leaf]:
        mine = (one for one in self._evidence.leaves if one.seal == seal and one.place >= place)
        return sorted(mine, key=lambda leaf: leaf.place)[:limit]

    def leaf_count(self) -> int:
        return len(self._evidence.leaves)

    def foreign_leaves(self, last: int) -> list[int]:
        known = {one.number for one in self._evidence.entries if one.kind == "seal"}
        return [one.seq for one in self._evidence.leaves if one.seal not in known]

    def unsealed(self, after: FeedPosition | None, limit: int) -> list[Revised]:
        start = 0 if after is None else after.seq
        rows = map(revision_row, self._store._revisions)
        return [Revised(0, row) for row in rows if row[0] > start][:limit]

    def leaves_of(self, seqs: Sequence[int]) -> list[Leaf]:
        wanted = set(seqs)
        mine = (one for one in self._evidence.leaves if one.seq in wanted)
        return sorted(mine, key=lambda leaf: (leaf.seal, leaf.place))

    def revisions(self, seqs: Sequence[int]) -> dict[int, Revised]:
        wanted = set(seqs)
        rows = (revision_row(one) for one in self._store._revisions if one.seq in wanted)
        return {row[0]: Revised(0, row) for row in rows}

    def records(
        self,
        seqs: Sequence[int],
        start: tuple[int, int] | None = None,
        before: tuple[int, int] | None = None,
    ) -> Iterator[Row]:
        wanted = set(seqs)
        for record in list(self._store._records):
            place = tuple(record.position)
            if (
                place[0] in wanted
                and (start is None or place >= start)
                and (before is None or place < before)
            ):
                yield record_row(record)

    def inserted(self, upto: FeedPosition, limit: int) -> list[int]:
        known = {leaf.seq for leaf in self._evidence.leaves if leaf.n == HEADER}
        there = (one.seq for one in self._store._revisions)
        return [seq for seq in there if seq and seq <= upto.seq and seq not in known][:limit]

    def orphans(self, limit: int) -> list[tuple[int, int]]:
        known = {one.seq for one in self._store._revisions}
        places = (record.position for record in self._store._records)
        return [(place.seq, place.n) for place in places if place.seq not in known][:limit]

    def of_objects(self, entity: str, keys: Sequence[str]) -> list[Stored]:
        wanted = set(keys)
        return [
            Stored(
                record.position.seq,
                record.n,
                record.key,
                record.former_key,
                record.operation.value,
                record.label,
                dump(record.changes),
                record.format,
            )
            for record in list(self._store._records)
            if record.entity == entity and wanted & {record.key, record.former_key}
        ]

    def keys(self, entity: str, after: str | None, limit: int) -> list[str]:
        there = {one.key for one in list(self._store._records) if one.entity == entity}
        return sorted(key for key in there if after is None or key > after)[:limit]

    def revisions_of(self, actor: str, after: int, limit: int) -> list[int]:
        mine = (one.seq for one in self._store._revisions if one.actor == actor)
        return [seq for seq in mine if seq and seq > after][:limit]

    def old(
        self, before: datetime, entity: str | None, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        return [
            (record.position.seq, record.position.n)
            for record in self._store._records
            if record.at < before
            and entity in (None, record.entity)
            and tuple(record.position) > after
        ][:limit]

    def bare(self, before: datetime, after: int, limit: int) -> list[int]:
        full = {record.revision.seq for record in self._store._records}
        made = (one for one in self._store._revisions if one.at < before)
        return [one.seq for one in made if one.seq and one.seq > after and one.seq not in full][
            :limit
        ]

    def excess(
        self, entity: str, keep: int, after: str | None, limit: int
    ) -> tuple[list[tuple[int, int]], str | None]:
        objects: dict[str, list[tuple[int, int]]] = {}
        for record in self._store._records:
            if record.entity == entity and (after is None or record.key > after):
                objects.setdefault(record.key, []).append((record.position.seq, record.position.n))
        keys = sorted(objects)[:limit]
        places = [place for key in keys for place in objects[key][: -keep or None]]
        return sorted(places), keys[-1] if len(keys) == limit else None

    @contextmanager
    def writing(self, entry: Entry) -> Iterator[MemoryLedger]:
        store, evidence = self._store, self._evidence
        with store._lock:
            last = self.last()
            if entry.number != (0 if last is None else last.number) + 1:
                raise EvidenceError(
                    f"entry {entry.number} of the chain was written by somebody else at the same "
                    "time: sealing, pruning and erasing take turns; do it again"
                )
            before = (
                list(store._revisions),
                list(store._records),
                list(evidence.entries),
                deepcopy(evidence.leaves),
            )
            holds = dict(evidence.holds)
            evidence.entries.append(entry)
            try:
                yield self
            except BaseException:
                store._revisions, store._records, evidence.entries, evidence.leaves = before
                evidence.holds = holds
                raise
            finally:
                store._by_id = {one.id: one for one in store._revisions}

    def add_leaves(self, leaves: Sequence[Leaf]) -> None:
        self._evidence.leaves.extend(leaves)

    def change_leaf(self, leaf: Leaf) -> None:
        place = (leaf.seq, leaf.n)
        self._evidence.leaves = [
            leaf if (one.seq, one.n) == place else one for one in self._evidence.leaves
        ]

    def change_row(self, before: Row, after: Row) -> None:
        store, seq = self._store, before[0]
        if len(after) == 12:
            changed = revision_of(after)
            store._revisions = [changed if one.seq == seq else one for one in store._revisions]
            store._records = [
                replace(one, revision=changed) if one.revision.seq == seq else one
                for one in store._records
            ]
        else:
            store._records = [
                record_of(after, one.revision) if tuple(one.position) == before[:2] else one
                for one in store._records
            ]

    def remove(self, records: Collection[tuple[int, int]], revisions: Sequence[int]) -> None:
        store, whole, single = self._store, set(revisions), set(records)
        store._revisions = [one for one in store._revisions if one.seq not in whole]
        store._records = [
            one
            for one in store._records
            if one.revision.seq not in whole and tuple(one.position) not in single
        ]

    def finish(self, entry: Entry | None) -> None:
        if entry is None:
            self._evidence.entries.pop()
        else:
            self._evidence.entries[-1] = entry

    def holds(self) -> list[Hold]:
        return list(self._evidence.holds.values())

    def add_hold(self, hold: Hold) -> Hold:
        number = max(self._evidence.holds, default=0) + 1
        stored = self._evidence.holds[number] = replace(hold, number=number)
        return stored

    def remove_hold(self, number: int) -> None:
        self._evidence.holds.pop(number, None)
