"""Verifying the log against its seals: is anything altered, missing, added or out of order?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Final, get_args

import msgspec

from lifecycle.audit.chain import (
    Checkpoint,
    Entry,
    Kind,
    Tree,
    chained,
    public_key,
    signature_fault,
)
from lifecycle.audit.findings import MOST, VERIFICATION, Finding, Verdict
from lifecycle.audit.holding import unlike
from lifecycle.audit.leaves import (
    HEADER,
    SALT,
    Fate,
    Leaf,
    Part,
    Row,
    acts_of,
    part_digest,
)
from lifecycle.audit.ledger import Ledger, ledger_of
from lifecycle.audit.progress import Progress, nobody
from lifecycle.audit.store import AuditStore, Query
from lifecycle.audit.tracing import pages
from lifecycle.deltas import Change
from lifecycle.errors import EvidenceError, StoreError, StoreUnreachable, TablesMissing

__all__ = ["Finding", "Verdict", "verify"]

_LEAVES: Final = 1_000  # at most at a time
_ROWS: Final = 5_000  # in memory at a time, or little more
_NO_SALT: Final = bytes(SALT)


def verify(
    store: AuditStore,
    *,
    checkpoints: Iterable[Checkpoint] = (),
    trusted: Iterable[str] = (),
    progress: Progress = nobody,
) -> Verdict:
    """Compare what was sealed with what is there now.

    ``checkpoints`` were kept elsewhere: the chain must have grown from each. ``trusted`` are
    Ed25519 public keys as hexadecimal digits: with any, every entry must be signed with one of
    them. Nothing is changed, and memory does not grow with the log. Raises ``EvidenceError`` when
    nothing has been sealed, and nothing tells of seals that are gone; ``ConfigurationError`` for a
    key that is none, and for a store that keeps no evidence; and what the store raises.
    """
    ledger, kept = ledger_of(store), tuple(checkpoints)
    keys = tuple(map(public_key, (trusted,) if isinstance(trusted, str) else trusted))
    while True:
        newest = ledger.last()
        verdict = _Verification(store, ledger, keys, progress).run(kept)
        # What a job did meanwhile, of which the chain has an entry now, is no finding.
        if verdict.intact or ledger.last() == newest:
            return verdict


class _Act:
    """What the chain tells of an act, and what has been found of it."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.found = sha256()
        self.count = 0


class _Verification:
    def __init__(
        self, store: AuditStore, ledger: Ledger, trusted: tuple[str, ...], progress: Progress
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._trusted = trusted
        self._progress = progress
        self._verdict = Verdict()
        self._acts: dict[int, _Act] = {}
        self._size = 50

    def run(self, checkpoints: Iterable[Checkpoint]) -> Verdict:
        """Everything, in one pass over the chain and the leaves."""
        last = self._chain(checkpoints)
        for entry in self._ledger.entries():
            if entry.kind == "seal":
                self._seal(entry)
        if last is None:
            self._without_seals()
        else:
            self._rest(last)
        self._finished_acts()
        self._holds()
        if last is None and not self._verdict.found:
            raise EvidenceError(
                "nothing has been sealed in this log, so there is nothing to verify against: "
                "run `lifecycle seal`"
            )
        return self._verdict

    # the chain

    def _chain(self, checkpoints: Iterable[Checkpoint]) -> Entry | None:
        """Check the entries among themselves; returns the last seal."""
        verdict = self._verdict
        kept = {one.number: one for one in checkpoints}
        before: Entry | None = None
        last: Entry | None = None
        for entry in self._ledger.entries():
            for why in self._faults(entry, before, last):
                verdict.add("chain", f"entry {entry.number}", why)
            one = kept.pop(entry.number, None)
            if one is not None and (one.digest, one.at) != (entry.digest, entry.at):
                verdict.add("chain", f"entry {entry.number}", "it is not that of the checkpoint")
            if entry.kind == "seal":
                last = entry
                verdict.seals += 1
            elif entry.kind in ("prune", "erase"):
                self._acts[entry.number] = _Act(entry)
                verdict.acts += 1
            before = entry
        for one in kept.values():
            verdict.add(
                "chain", f"entry {one.number}", "the checkpoint is of an entry that is gone"
            )
        verdict.checkpoint = None if before is None else Checkpoint.of(before)
        return last

    def _faults(self, entry: Entry, before: Entry | None, last: Entry | None) -> Iterator[str]:
        expected = chained(before, "seal")
        if entry.number != expected.number:
            yield f"it comes after entry {expected.number - 1}; what was between them is gone"
        elif entry.previous != expected.previous:
            yield "it does not continue the one before it, which was altered or replaced"
        if entry.digest != entry.worked_out():
            yield "it was altered"
        if entry.kind not in get_args(Kind):
            yield f"it is of an unknown kind, {entry.kind!r}"
        if entry.kind == "seal" and last is not None and entry.position <= last.position:
            yield "it goes back behind the seal before it"
        fault = signature_fault(entry, self._trusted)
        if fault is not None:
            yield fault

    # leaves and rows

    def _seal(self, entry: Entry) -> None:
        """Compare what one seal covers."""
        tree, place = Tree(), 0
        where = f"seal {entry.number}"
        for leaves, following in self._leaves(entry.number):
            for leaf in leaves:
                if leaf.place != place:
                    self._verdict.add(
                        "chain", where, f"its leaf {place} is missing or out of order", seq=leaf.seq
                    )
                place = leaf.place + 1
                tree.add(leaf.digest)
                for number, item in acts_of(leaf):
                    self._act(leaf, number, item)
            self._compare(leaves, following)
        if tree.count != entry.count:
            self._verdict.add(
                "chain", where, f"it covered {entry.count} leaves, and there are {tree.count}"
            )
        elif tree.root != entry.root:
            self._verdict.add("chain", where, "its leaves were altered, swapped or replaced")

    def _leaves(self, number: int) -> Iterator[tuple[list[Leaf], Leaf | None]]:
        """The leaves of a seal, some at a time, and the one that follows them."""
        place, size = 0, min(_LEAVES, self._size)
        while True:
            try:
                leaves = self._ledger.leaves(number, place, size + 1)
            except (EvidenceError, StoreError) as error:
                if _is_elsewhere(error):
                    raise
                if size > 1:
                    size = 1
                    continue
                self._verdict.add(
                    "unreadable", f"seal {number}, leaf {place} or the next", str(error)
                )
                return
            following = leaves[size] if len(leaves) > size else None
            yield leaves[:size], following
            if following is None:
                return
            place = following.place
            # As many at a time as have about so many rows.
            rows = sum(len(leaf.parts) for leaf in leaves[:size])
            size = self._size = max(1, min(_LEAVES, size * _ROWS // max(1, rows)))

    def _act(self, leaf: Leaf, number: int, item: list[Any]) -> None:
        act = self._acts.get(number)
        if act is None:
            self._verdict.add(
                "deleted", f"revision {leaf.seq}", f"entry {number} of the chain, which would have "
                "removed something of it, is not there", seq=leaf.seq,
            )  # fmt: skip
            return
        act.count += 1
        act.found.update(msgspec.msgpack.encode(item))

    def _finished_acts(self) -> None:
        for number, act in self._acts.items():
            if (act.count, act.found.hexdigest()) != (act.entry.count, act.entry.root):
                self._verdict.add(
                    "chain",
                    f"entry {number}",
                    f"it tells of {act.entry.count} things that a {act.entry.kind} removed, and "
                    "they are not the ones that are gone by it",
                )

    def _holds(self) -> None:
        """Compare the legal holds with what the chain tells of them."""
        try:
            for what, number, why in unlike(self._ledger):
                self._verdict.add(what, f"legal hold {number}", why)
        except (EvidenceError, StoreError, ValueError, TypeError) as error:
            if _is_elsewhere(error):
                raise
            self._verdict.add("unreadable", "the legal holds", str(error))

    def _compare(self, leaves: list[Leaf], following: Leaf | None) -> None:
        """Compare some leaves with the rows of the log."""
        if not leaves:
            return
        seqs = list(dict.fromkeys(leaf.seq for leaf in leaves))
        start = (leaves[0].seq, leaves[0].n)
        before = None
        if following is not None and following.seq == leaves[-1].seq:
            before = (following.seq, following.n)
        try:
            headers = self._ledger.revisions(seqs) if any(map(_has_header, leaves)) else {}
            rows = self._ledger.records(seqs, start, before)
            grouped = {key: list(some) for key, some in groupby(rows, _home(leaves))}
        except (EvidenceError, StoreError, ValueError, TypeError) as error:
            if _is_elsewhere(error):
                raise
            if len(leaves) == 1:
                self._verdict.add(
                    "unreadable", f"revision {leaves[0].seq}", str(error), seq=leaves[0].seq
                )
                return
            middle = len(leaves) // 2
            self._compare(leaves[:middle], leaves[middle])
            self._compare(leaves[middle:], following)
            return
        for leaf in leaves:
            found = {row[1]: row for row in grouped.get((leaf.seq, leaf.n), ())}
            if leaf.parts and leaf.parts[0].n == HEADER and leaf.seq in headers:
                found[HEADER] = headers[leaf.seq].row
            self._compare_parts(leaf, found)
        self._progress(len(leaves))

    def _compare_parts(self, leaf: Leaf, found: dict[int, Row]) -> None:
        verdict = self._verdict
        untouched = leaf.all_pruned is None and not leaf.fates
        for part in leaf.parts:
            n, digest, salt = part
            row = found.pop(n, None)
            fate = None if untouched else leaf.fate(n)
            if n == HEADER:
                verdict.revisions += 1
            else:
                verdict.records += 1
            if fate is None:
                why = None
                if row is None:
                    what, why = "deleted", "it was sealed, and is not there"
                else:
                    try:
                        if part_digest(row, salt) != digest:
                            what, why = "altered", "it is not as it was sealed"
                    except Exception as error:
                        what, why = "altered", str(error)
                if why is not None:
                    self._add(what, leaf, n, row, why)
            else:
                self._compare_touched(leaf, part, fate, row)
        for n, row in found.items():
            self._add("inserted", leaf, n, row, "it was not there when its revision was sealed")
        for n in leaf.fates.keys() - {part.n for part in leaf.parts}:
            self._add("altered", leaf, n, None, "the evidence tells of a record it does not have")

    def _compare_touched(self, leaf: Leaf, part: Part, fate: Fate, row: Row | None) -> None:
        """A part that an act has pruned or erased something of."""
        verdict = self._verdict
        if part.salt != _NO_SALT:
            self._add("altered", leaf, part.n, row, "the salt of what is gone was put back")
        if fate.pruned is not None:
            verdict.pruned += 1
            if row is not None:
                self._add("inserted", leaf, part.n, row, "it was pruned, and is there again")
            if fate.salts is not None:
                self._add("altered", leaf, part.n, row, "the salts of what is gone were put back")
            return
        verdict.erased += 1
        if row is None:
            self._add("deleted", leaf, part.n, row, "it was sealed, and is not there")
            return
        gone = sorted(cell for cells in fate.erased.values() for cell in cells)
        left = [place for place, salt in enumerate(fate.salts or ()) if salt is None]
        try:
            if gone != left:
                why = "not what the chain tells of was erased from it"
            elif part_digest(row, part.salt, fate.salts or ()) != part.digest:
                why = "it is not as it was sealed, but for what was erased"
            else:
                return
        except Exception as error:
            why = str(error)
        self._add("altered", leaf, part.n, row, why)

    def _add(self, what: str, leaf: Leaf, n: int, row: Row | None, why: str) -> None:
        where = f"revision {leaf.seq}"
        if n != HEADER:
            where = f"record {n} of {where}"
            if row is not None and len(row) == 11:
                where += f" ({row[2]} {row[3]})"
        elif row is not None:
            where += f" ({row[1]})"
        self._verdict.add(what, where, why, seq=leaf.seq, n=n)

    def _without_seals(self) -> None:
        """Find what tells of seals where there are none."""
        for seq in self._ledger.foreign_leaves(0)[:1]:
            why = f"they are gone: revision {seq} has been sealed, and there is no seal"
            self._verdict.add("chain", "all seals", why, seq=seq)
        for record in pages(self._store, Query(entity=VERIFICATION)):
            seals = record.changes.get("seals")
            if isinstance(seals, Change) and seals.new:
                why = f"they are gone: record {record.id} tells of {seals.new}, and there is none"
                self._verdict.add("chain", "all seals", why, seq=record.revision.seq, n=record.n)
                break

    def _rest(self, last: Entry) -> None:
        """What no seal knows, and should."""
        for seq in self._ledger.inserted(last.position, MOST):
            self._verdict.add(
                "inserted", f"revision {seq}", "it was not there when its time was sealed", seq=seq
            )
        for seq, n in self._ledger.orphans(MOST):
            self._verdict.add(
                "inserted", f"record {n} of revision {seq}", "it has no revision", seq=seq, n=n
            )
        for seq in self._ledger.foreign_leaves(last.number):
            self._verdict.add("chain", f"revision {seq}", "its seal is not in the chain", seq=seq)


def _has_header(leaf: Leaf) -> bool:
    return bool(leaf.parts) and leaf.parts[0].n == HEADER


def _home(leaves: Sequence[Leaf]) -> Callable[[Row], tuple[int, int]]:
    """The leaf that a row belongs to, as rows come in the order of their places."""
    starts: dict[int, list[int]] = {}
    for leaf in leaves:
        starts.setdefault(leaf.seq, []).append(leaf.n)
    single = {seq: (seq, found[0]) for seq, found in starts.items() if len(found) == 1}

    def home(row: Row) -> tuple[int, int]:
        known = single.get(row[0])
        if known is not None:
            return known
        return row[0], max((n for n in starts[row[0]] if n <= row[1]), default=starts[row[0]][0])

    return home


def _is_elsewhere(error: Exception) -> bool:
    """Whether an error is not about a row."""
    return isinstance(error, StoreUnreachable | TablesMissing)
