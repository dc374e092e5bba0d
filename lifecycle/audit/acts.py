"""Acts on what has been recorded: removing records and values so that what is left still verifies.

An act runs in chunks, each a short transaction of its own with an entry in the chain of seals: who,
when, why, and the digest of exactly what it removed. It may be interrupted and repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from lifecycle.audit.chain import Entry, Kind, Signer, chained, finished
from lifecycle.audit.leaves import HEADER, SALT, Fate, Leaf, Part, Row, acts_of, erased
from lifecycle.audit.ledger import Ledger, LedgerWriter
from lifecycle.context import current

__all__ = [
    "CHUNK",
    "Emptied",
    "Place",
    "begun",
    "erase_chunk",
    "prune_chunk",
    "some_at_a_time",
]

CHUNK: Final = 500
"""How many records one transaction removes or changes."""

Place: TypeAlias = tuple[int, int]
"""A record's revision and number; with `HEADER` as its number the revision's own row."""

_NO_SALT: Final = bytes(SALT)


def some_at_a_time(places: Iterable[Place], size: int) -> Iterator[list[Place]]:
    """Lists of at most so many places."""
    iterator = iter(places)
    while chunk := list(islice(iterator, size)):
        yield chunk


class _Chunk:
    """One transaction of an act: the places, and the leaves that have them."""

    def __init__(self, writer: LedgerWriter, number: int, places: Sequence[Place]) -> None:
        self.number = number
        self.places = set(places)
        self.seqs = sorted({seq for seq, _ in places})
        self.leaves = writer.leaves_of(self.seqs)
        self._home = {
            (leaf.seq, part.n): leaf
            for leaf in self.leaves
            for part in leaf.parts
            if (leaf.seq, part.n) in self.places
        }
        self._touched: set[Place] = set()

    def part(self, place: Place) -> tuple[Leaf, Part] | None:
        """The leaf and the part of a place; ``None`` when it is not sealed."""
        leaf = self._home.get(place)
        if leaf is None:
            return None
        return leaf, next(part for part in leaf.parts if part.n == place[1])

    def set_fate(self, leaf: Leaf, n: int, fate: Fate) -> None:
        """Say what became of a part, and forget the salt it had."""
        leaf.parts = tuple(
            Part(part.n, part.digest, _NO_SALT) if part.n == n else part for part in leaf.parts
        )
        leaf.fates = {**leaf.fates, n: fate}
        self._touched.add((leaf.seq, leaf.n))

    def finish(self, writer: LedgerWriter, begun: Entry, signer: Signer | None) -> None:
        """Store the leaves, and the entry that tells of them."""
        content, count = sha256(), 0
        for leaf in self.leaves:
            if (leaf.seq, leaf.n) not in self._touched:
                continue
            _contract(leaf, self.number)
            writer.change_leaf(leaf)
            for act, item in acts_of(leaf):
                if act == self.number:
                    content.update(msgspec.msgpack.encode(item))
                    count += 1
        entry = replace(begun, count=count, root=content.hexdigest())
        writer.finish(finished(entry, signer))


def _contract(leaf: Leaf, number: int) -> None:
    """Say in one word that one act removed all of a leaf."""
    everything = Fate(pruned=number)
    if len(leaf.fates) == len(leaf.parts) and all(
        fate == everything for fate in leaf.fates.values()
    ):
        leaf.fates, leaf.all_pruned = {}, number


def begun(ledger: Ledger, kind: Kind) -> Entry:
    """The entry to begin a chunk with; it fails if the chain has got another one since."""
    context = current()
    return chained(ledger.last(), kind, actor=context.actor, reason=context.reason)


def prune_chunk(
    ledger: Ledger, entry: Entry, places: Sequence[Place], signer: Signer | None
) -> None:
    """Remove some records, and rows of revisions."""
    with ledger.writing(entry) as writer:
        chunk = _Chunk(writer, entry.number, places)
        for place in sorted(places):
            sealed = chunk.part(place)
            if sealed is not None:
                leaf, _ = sealed
                before = leaf.fate(place[1])
                erasures = {} if before is None else before.erased
                chunk.set_fate(leaf, place[1], Fate(erased=erasures, pruned=entry.number))
        whole = [seq for seq, n in places if n == HEADER]
        writer.remove([place for place in places if place[1] != HEADER], whole)
        chunk.finish(writer, entry, signer)


def erase_chunk(
    ledger: Ledger,
    entry: Entry,
    places: Sequence[Place],
    wanted: Callable[[str], bool],
    signer: Signer | None,
) -> tuple[int, int]:
    """Put digests in place of values; returns how many rows and how many values were erased."""
    rows = values = 0
    with ledger.writing(entry) as writer:
        chunk = _Chunk(writer, entry.number, places)
        for place, row in _rows(writer, chunk):
            sealed = chunk.part(place)
            leaf, part = sealed or (None, None)
            fate = None if leaf is None else leaf.fate(place[1])
            done = erased(row, wanted, part, fate)
            if done is None:
                continue
            after, gone, salts = done
            writer.change_row(row, after)
            rows, values = rows + 1, values + len(gone)
            if leaf is not None:
                acts = {} if fate is None else fate.erased
                acts = {**acts, entry.number: gone}
                chunk.set_fate(leaf, place[1], Fate(salts=salts, erased=acts))
        if rows:
            chunk.finish(writer, entry, signer)
        else:
            writer.finish(None)
    return rows, values


def _rows(writer: LedgerWriter, chunk: _Chunk) -> Iterator[tuple[Place, Row]]:
    """The rows at the places of a chunk, read before any is changed."""
    headers = writer.revisions([seq for seq, n in chunk.places if n == HEADER])
    found: list[tuple[Place, Row]] = [
        ((seq, HEADER), one.row) for seq, one in headers.items() if (seq, HEADER) in chunk.places
    ]
    seqs = sorted({seq for seq, n in chunk.places if n != HEADER})
    for row in writer.records(seqs):
        if (row[0], row[1]) in chunk.places:
            found.append(((row[0], row[1]), row))
    yield from found


class Emptied:
    """Counts revisions that would have no record left, as records come that would be removed."""

    def __init__(self, ledger: Ledger) -> None:
        self.count = 0
        self._ledger = ledger
        self._begun = Counter[int]()

    def take(self, places: Sequence[Place]) -> None:
        """The next records, in order; a revision's may come in several parts."""
        removed = self._begun + Counter(seq for seq, _ in places)
        there = Counter(row[0] for row in self._ledger.records(sorted(removed)))
        self.count += sum(there[seq] == number for seq, number in removed.items())
        newest = max(removed, default=0)
        self._begun = Counter[int]()
        if there[newest] != removed[newest]:
            self._begun[newest] = removed[newest]
