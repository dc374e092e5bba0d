"""Sealing the log: a chain of Merkle roots over what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from lifecycle.audit.chain import Checkpoint, Signer, Tree, chained, finished
from lifecycle.audit.leaves import HEADER, Leaf, Row, leaf_of
from lifecycle.audit.ledger import Revised, ledger_of
from lifecycle.audit.progress import Progress, nobody
from lifecycle.audit.store import AuditStore
from lifecycle.context import current

__all__ = ["Sealed", "seal"]

REVISIONS: Final = 2_000
"""How many revisions one seal covers; its transaction locks no longer than these take."""

_PARTS: Final = 500  # of a leaf
_ROWS: Final = 5_000  # in memory at a time, or little more


class Sealed(Struct, frozen=True, kw_only=True):
    """What a sealing run did: ``checkpoint`` is the last of the chain, to be kept elsewhere."""

    revisions: int
    records: int
    seals: int
    checkpoint: Checkpoint | None


def seal(
    store: AuditStore, *, key: str | bytes | None = None, progress: Progress = nobody
) -> Sealed:
    """Seal what the feed has since the last seal.

    ``key`` is an Ed25519 private key, with which each seal is signed: 64 hexadecimal digits, 32
    bytes or PEM. A run may be interrupted, and be repeated at any time. Raises ``EvidenceError``
    when another job seals, prunes or erases at the same moment, ``ConfigurationError`` for a store
    that keeps no evidence, and what the store raises.
    """
    signer = None if key is None else Signer(key)
    ledger = ledger_of(store)
    revisions = records = seals = 0
    while True:
        before = ledger.newest("seal").get("seal")
        begun = chained(ledger.last(), "seal", **_who())
        with ledger.writing(begun) as writer:
            revised = writer.unsealed(None if before is None else before.position, REVISIONS)
            if not revised:
                writer.finish(None)
                break
            rows = writer.records([one.row[0] for one in revised])
            tree, sealed = Tree(), 0
            batch: list[Leaf] = []
            waiting = 0
            for leaf in _leaves(begun.number, revised, rows):
                tree.add(leaf.digest)
                batch.append(leaf)
                sealed += sum(part.n != HEADER for part in leaf.parts)
                waiting += len(leaf.parts)
                if waiting >= _ROWS:
                    writer.add_leaves(batch)
                    batch, waiting = [], 0
            writer.add_leaves(batch)
            position = {"horizon": revised[-1].horizon, "seq": revised[-1].row[0]}
            entry = replace(begun, count=tree.count, root=tree.root, **position)
            writer.finish(finished(entry, signer))
        seals += 1
        revisions += len(revised)
        records += sealed
        progress(sealed)
    newest = ledger.last()
    return Sealed(
        revisions=revisions,
        records=records,
        seals=seals,
        checkpoint=None if newest is None else Checkpoint.of(newest),
    )


def _who() -> dict[str, Any]:
    context = current()
    return {"actor": context.actor, "reason": context.reason}


def _leaves(number: int, revised: Sequence[Revised], records: Iterator[Row]) -> Iterator[Leaf]:
    """The leaves of some revisions, in the order of their numbers."""
    headers = {one.row[0]: one.row for one in revised}
    grouped = groupby(records, itemgetter(0))
    ahead = next(grouped, None)
    place = 0
    for seq in sorted(headers):
        mine: Iterable[Row] = ()
        if ahead is not None and ahead[0] == seq:
            mine = ahead[1]
        rows: list[Row] = []
        for row in chain((headers[seq],), mine):
            if len(rows) == _PARTS:
                yield leaf_of(number, place, seq, rows)
                place, rows = place + 1, []
            rows.append(row)
        yield leaf_of(number, place, seq, rows)
        place += 1
        if ahead is not None and ahead[0] == seq:
            ahead = next(grouped, None)
