"""Removing old records, so that what is left still verifies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from lifecycle.audit.acts import CHUNK, Emptied, Place, begun, prune_chunk, some_at_a_time
from lifecycle.audit.chain import Signer
from lifecycle.audit.holding import Guard
from lifecycle.audit.leaves import HEADER
from lifecycle.audit.ledger import Ledger, ledger_of
from lifecycle.audit.progress import Progress, nobody
from lifecycle.audit.store import AuditStore

__all__ = ["Pruned", "prune"]


class Pruned(Struct, frozen=True, kw_only=True):
    """What a pruning did, or would do. ``held`` is what a legal hold kept."""

    records: int
    revisions: int
    held: int
    dry_run: bool


def prune(
    store: AuditStore,
    *,
    older_than: timedelta | datetime | None = None,
    keep: int | None = None,
    entity: str | None = None,
    dry_run: bool = False,
    key: str | bytes | None = None,
    progress: Progress = nobody,
) -> Pruned:
    """Remove old records, by age, or all but the newest ``keep`` of each object.

    ``older_than`` is an age or an aware moment; ``entity`` narrows it to one model, and ``keep``
    needs it. What a legal hold keeps stays. What was sealed leaves its digest, and still verifies.
    ``key`` signs the acts.

    Runs in short transactions; one that was interrupted is taken up by doing it again. Raises
    ``ValueError`` when it is not said what to prune, and what the ledger and the store raise.
    """
    ledger, signer = ledger_of(store), None if key is None else Signer(key)
    before = _ago(older_than) if isinstance(older_than, timedelta) else older_than
    if before is None and keep is None:
        raise ValueError("prune takes an age (older_than), a number of records to keep, or both")
    if before is not None and before.tzinfo is None:
        raise ValueError(f"older_than={before!r} has no time zone; give an aware datetime")
    if keep is not None and (entity is None or keep < 1):
        raise ValueError("keep is a number from 1 on, and needs the entity it is for")
    guard = Guard(ledger)
    emptied = Emptied(ledger)
    records = held = 0

    def free_of(places: list[Place]) -> list[Place]:
        entry = begun(ledger, "prune")
        guard.look()
        kept = guard.among(places)
        free = [place for place in places if place not in kept]
        if free and not dry_run:
            prune_chunk(ledger, entry, free, signer)
        return free

    if before is not None:
        for places in _old(ledger, before, entity):
            free = free_of(places)
            records, held = records + len(free), held + len(places) - len(free)
            if dry_run:
                emptied.take(free)
            progress(len(places))
    if keep is not None and entity is not None:
        for places in _excess(ledger, entity, keep, before):
            free = free_of(places)
            records, held = records + len(free), held + len(places) - len(free)
            progress(len(places))
    revisions = emptied.count
    if before is not None:
        revisions += sum(len(free_of(places)) for places in _bare(ledger, before))
    return Pruned(records=records, revisions=revisions, held=held, dry_run=dry_run)


def _old(ledger: Ledger, before: datetime, entity: str | None) -> Iterator[list[Place]]:
    """Records made before a moment."""
    after = (-1, HEADER)
    while found := ledger.old(before, entity, after, CHUNK):
        yield found
        after = found[-1]


def _excess(
    ledger: Ledger, entity: str, keep: int, before: datetime | None
) -> Iterator[list[Place]]:
    """All but the newest records of each object, without those made before a moment."""
    after: str | None = None
    while True:
        found, after = ledger.excess(entity, keep, after, CHUNK)
        for some in some_at_a_time(found, CHUNK):
            yield some if before is None else _made_since(ledger, before, some)
        if after is None:
            return


def _bare(ledger: Ledger, before: datetime) -> Iterator[list[Place]]:
    """Revisions made before a moment that have no records."""
    last = -1
    while found := ledger.bare(before, last, CHUNK):
        yield [(seq, HEADER) for seq in found]
        last = found[-1]


def _made_since(ledger: Ledger, moment: datetime, places: list[Place]) -> list[Place]:
    """Those of some records that were not made before a moment."""
    text = moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]
    made = {seq: one.row[2] for seq, one in ledger.revisions([seq for seq, _ in places]).items()}
    return [place for place in places if made.get(place[0], text) >= text]


def _ago(age: timedelta) -> datetime:
    if age < timedelta():
        raise ValueError(f"older_than={age} is in the future, and would remove everything")
    try:
        return datetime.now(UTC) - age
    except OverflowError:
        raise ValueError(f"older_than={age} is before the first year there is") from None
