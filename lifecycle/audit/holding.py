"""Legal holds: what they keep from being pruned and erased, and that nobody takes one away unseen.

To set and to release one are entries of the chain of seals. That of a hold has the digest of the
whole hold, with a salt that is kept beside it and goes with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from os import urandom
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import astuple, replace

from lifecycle.audit.chain import Entry, Kind, Signer, chained, finished
from lifecycle.audit.leaves import HEADER, Row
from lifecycle.audit.ledger import Hold, Ledger, LedgerWriter, ledger_of
from lifecycle.audit.store import AuditStore
from lifecycle.context import current
from lifecycle.errors import EvidenceError

__all__ = ["Guard", "Unlike", "hold", "release", "unlike"]

_HOLDING: Final[tuple[Kind, ...]] = ("hold", "release")
_ATTEMPTS: Final = 20

T = TypeVar("T")


def hold(
    store: AuditStore,
    *,
    entity: str | None = None,
    key: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    signing_key: str | bytes | None = None,
) -> Hold:
    """Keep records from being pruned and erased: of a model, an object or an actor.

    An object is held under every key it had and will have. The chain of seals has an entry of it,
    which ``signing_key`` signs. Returns the hold with its number, by which it is released. Raises
    ``ValueError`` when it is not said what to hold, ``ConfigurationError`` for a store that cannot,
    and what the store raises.
    """
    if entity is None and actor is None:
        raise ValueError("a hold needs an entity, perhaps with a key, or an actor")
    if key is not None and entity is None:
        raise ValueError(f"a hold on key {key!r} needs the entity the key belongs to")
    context = current()
    wanted = Hold(
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        entity=entity,
        key=key,
        actor=actor,
        reason=reason or context.reason,
        set_by=context.actor,
        salt=urandom(16).hex(),
    )

    def work(writer: LedgerWriter, entry: Entry) -> tuple[Hold, Entry]:
        made = writer.add_hold(wanted)
        assert made.number is not None
        return made, replace(
            entry, reason=made.reason, seq=made.number, count=1, root=_digest(made)
        )

    return _act(ledger_of(store), "hold", signing_key, work)


def release(store: AuditStore, number: int, *, signing_key: str | bytes | None = None) -> bool:
    """Take a legal hold away; returns whether there was one of that number.

    One that somebody took away past Lifecycle is released by it, too. Raises as `hold` does.
    """
    ledger = ledger_of(store)
    if number not in _told(ledger) and all(one.number != number for one in ledger.holds()):
        return False

    def work(writer: LedgerWriter, entry: Entry) -> tuple[bool, Entry]:
        writer.remove_hold(number)
        return True, replace(entry, seq=number)

    return _act(ledger, "release", signing_key, work)


def _act(
    ledger: Ledger,
    kind: Kind,
    signing_key: str | bytes | None,
    work: Callable[[LedgerWriter, Entry], tuple[T, Entry]],
) -> T:
    """Do some work as an entry of the chain, after whoever is at work on it just now."""
    signer, context = None if signing_key is None else Signer(signing_key), current()
    for attempt in range(1, _ATTEMPTS + 1):
        begun = chained(ledger.last(), kind, actor=context.actor, reason=context.reason)
        try:
            with ledger.writing(begun) as writer:
                done, entry = work(writer, begun)
                writer.finish(finished(entry, signer))
            return done
        except EvidenceError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError


# --- what is held ---------------------------------------------------------------------------


class _InForce(NamedTuple):
    """A legal hold, and every key its object has had; ``None`` when it is not on one object."""

    hold: Hold
    keys: frozenset[str] | None


class Guard:
    """The legal holds in force: one on an object holds it under all keys it had and has had since.

    Raises ``EvidenceError`` when the chain tells of one that is not there as it was set.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger: Final = ledger
        self._seen = 0
        self._holds: list[_InForce] = []
        self.look()

    def __bool__(self) -> bool:
        return bool(self._holds)

    def look(self) -> bool:
        """Look for holds that were set or released meanwhile; returns whether there are any."""
        before = self._seen
        if before and next(self._ledger.entries(before, _HOLDING), None) is None:
            return False
        while True:
            newest, holds = self._ledger.last(), self._ledger.holds()
            faults = [one for one in unlike(self._ledger) if one.what != "inserted"]
            if self._ledger.last() == newest:
                break
        for _, number, why in faults:
            raise EvidenceError(
                f"legal hold {number} is not as it was set ({why}): nothing is pruned or erased "
                "until it is; find out who did that, release it, and set it again if need be"
            )
        self._seen = 0 if newest is None else newest.number
        self._holds = [_InForce(one, _keys_of(self._ledger, one)) for one in holds]
        return True

    def among(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Hold]:
        """Which of some places a legal hold keeps, and which one."""
        if not self._holds or not places:
            return {}
        seqs = sorted({seq for seq, _ in places})
        wanted = set(places)
        actors = {seq: one.row[3] for seq, one in self._ledger.revisions(seqs).items()}
        found: dict[tuple[int, int], Hold] = {}
        for row in self._ledger.records(seqs):
            place = (row[0], row[1])
            for one in self._holds:
                if _holds(one, row, actors.get(row[0])):
                    found.setdefault((row[0], HEADER), one.hold)
                    found.setdefault(place, one.hold)
        for seq, actor in actors.items():
            for hold, _ in self._holds:
                if hold.entity is None and hold.actor is not None and hold.actor == actor:
                    found.setdefault((seq, HEADER), hold)
        return {place: hold for place, hold in found.items() if place in wanted}


def _keys_of(ledger: Ledger, hold: Hold) -> frozenset[str] | None:
    """The keys that changes of keys lead to from that of a hold, either way."""
    if not hold.entity or hold.key is None:
        return None
    known: frozenset[str] = frozenset()
    new = frozenset({hold.key})
    while new:
        known |= new
        found = ledger.of_objects(hold.entity, sorted(new))
        new = frozenset(name for one in found for name in (one.key, one.former_key) if name) - known
    return known


def _holds(one: _InForce, row: Row, actor: str | None) -> bool:
    hold, keys = one
    return (
        (hold.entity is None or hold.entity == row[2])
        and (keys is None or not keys.isdisjoint((row[3], row[4])))
        and (hold.actor is None or hold.actor == actor)
    )


# --- what the chain tells of it -------------------------------------------------------------


class Unlike(NamedTuple):
    """A hold that is not as the chain tells: ``deleted``, ``altered`` or ``inserted``."""

    what: str
    number: int | None
    why: str


def unlike(ledger: Ledger) -> Iterator[Unlike]:
    """Every hold that is not as the chain tells."""
    there = {one.number: one for one in ledger.holds()}
    for number, entry in _told(ledger).items():
        one = there.pop(number, None)
        if one is None:
            yield Unlike("deleted", number, "it was set and not released, and is not there")
        elif _digest(one) != entry.root:
            yield Unlike("altered", number, "it is not as it was set")
    for number in there:
        yield Unlike("inserted", number, "the chain does not tell that it was set")


def _told(ledger: Ledger) -> dict[int | None, Entry]:
    """The entries of the holds that the chain says were set and not released, by their numbers."""
    found: dict[int | None, Entry] = {}
    for entry in ledger.entries(kinds=_HOLDING):
        if entry.kind == "hold":
            found[entry.seq] = entry
        else:
            found.pop(entry.seq, None)
    return found


def _digest(hold: Hold) -> str:
    return sha256(b"\3" + json.dumps(astuple(hold)).encode()).hexdigest()
