"""Erasing recorded values for good, so that what is left still verifies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

from msgspec import Struct

from lifecycle.audit.acts import CHUNK, Place, begun, erase_chunk, some_at_a_time
from lifecycle.audit.chain import Signer
from lifecycle.audit.holding import Guard
from lifecycle.audit.intents import Intent, IntentStore
from lifecycle.audit.leaves import HEADER
from lifecycle.audit.ledger import Ledger, ledger_of
from lifecycle.audit.names import instead_of
from lifecycle.audit.progress import Progress, nobody
from lifecycle.audit.records import Record
from lifecycle.audit.store import AuditStore, Query
from lifecycle.audit.tracing import pages
from lifecycle.changes import split_path
from lifecycle.errors import HeldError, HistoryError

__all__ = ["Erased", "erase"]

_WHO: Final = frozenset({"actor", "actor_label", "reason", "request_id", "context"})
_KEYS: Final = frozenset({"key", "former_key"})
_TOLD: Final = frozenset({"label", "error"})


class Erased(Struct, frozen=True, kw_only=True):
    """What an erasure did, or would do: how many rows of the log it looked at and changed.

    ``pending`` counts the writes of documents that have been announced and not recorded yet, and
    may bring such values: reconcile, and erase again.
    """

    matched: int
    rows: int
    values: int
    dry_run: bool
    pending: int = 0


def erase(
    store: AuditStore,
    *,
    actor: str | None = None,
    entity: str | None = None,
    keys: Iterable[str] | None = None,
    fields: Iterable[str] | None = None,
    known_fields: Iterable[str] = (),
    with_keys: bool = False,
    dry_run: bool = False,
    key: str | bytes | None = None,
    progress: Progress = nobody,
) -> Erased:
    """Put a keyed digest in place of recorded values, for good.

    With ``actor``: who, why, in which request and context, of all that this actor did. With
    ``entity`` and ``keys``: every value, label and error of one object, under each of its keys, and
    with ``with_keys`` the keys themselves. With ``entity`` and ``fields``: the values of these
    fields of every object, or of the one. What was sealed still verifies. The database of the
    application is not touched. ``key`` signs the acts. ``known_fields`` are those the model has,
    whether any record has them or not.

    Runs in short transactions; one that was interrupted is taken up by doing it again. Raises
    ``ValueError`` when it is not said what to erase, and, before anything is changed,
    ``HistoryError`` for a field that the entity has not, ``HeldError`` when a legal hold keeps some
    of it; and what the ledger and the store raise.
    """
    target = _target(actor, entity, keys, fields, with_keys)
    ledger, signer = ledger_of(store), None if key is None else Signer(key)
    _refuse_unknown(store, target, frozenset(known_fields))
    guard = Guard(ledger)
    matched = 0
    for chunk in some_at_a_time(target.places(store, ledger), CHUNK) if guard or dry_run else ():
        matched += len(chunk)
        _refuse_held(guard, chunk)
    rows = values = 0
    if not dry_run:
        matched = 0
        for chunk in some_at_a_time(target.places(store, ledger), CHUNK):
            entry = begun(ledger, "erase")
            if guard.look():
                _refuse_held(guard, chunk)
            changed, gone = erase_chunk(ledger, entry, chunk, target.takes, signer)
            matched, rows, values = matched + len(chunk), rows + changed, values + gone
            progress(len(chunk))
    pending = sum(map(target.concerns, _intents(store)))
    return Erased(matched=matched, rows=rows, values=values, dry_run=dry_run, pending=pending)


class _Target(NamedTuple):
    """What is to be erased: of an actor, or of an entity."""

    actor: str | None
    entity: str | None
    keys: tuple[str, ...] | None
    fields: frozenset[str] | None
    with_keys: bool

    def places(self, store: AuditStore, ledger: Ledger) -> Iterator[Place]:
        """The revisions or records that may have something of it, while some are changed."""
        if self.actor is not None:
            after = -1
            while seqs := ledger.revisions_of(self.actor, after, CHUNK):
                yield from ((seq, HEADER) for seq in seqs)
                after = seqs[-1]
            return
        for key in (None,) if self.keys is None else self.keys:
            found = _oldest_first(store, Query(entity=self.entity, key=key))
            yield from (record.position for record in found)

    def takes(self, title: str) -> bool:
        """Whether a cell of such a row is erased."""
        if self.actor is not None:
            return title in _WHO
        if title.startswith("."):
            return self.fields is None or split_path(title[1:])[0] in self.fields
        if self.fields is not None:
            return False
        return title in _TOLD or (self.with_keys and title in _KEYS)

    def concerns(self, intent: Intent) -> bool:
        """Whether an intent has something of it."""
        if self.actor is not None:
            return intent.revision.actor == self.actor
        return any(
            record.entity == self.entity
            and (self.keys is None or not {record.key, record.former_key}.isdisjoint(self.keys))
            and (self.fields is None or not self.fields.isdisjoint(record.changes.touched()))
            for record in intent.records
        )


def _target(
    actor: str | None,
    entity: str | None,
    keys: Iterable[str] | None,
    fields: Iterable[str] | None,
    with_keys: bool,
) -> _Target:
    """The target that the arguments of an erasure give. Raises ``ValueError`` when they do not."""
    for what, given in (("keys", keys), ("fields", fields)):
        if isinstance(given, str):
            raise ValueError(f"{what}={given!r} is one text, not several: give [{given!r}]")
    if (actor is None) == (entity is None):
        raise ValueError("erase takes an actor, or an entity with keys, fields or both")
    if actor is not None and (keys is not None or fields is not None):
        raise ValueError("erase takes keys and fields of an entity, not of an actor")
    names = None if fields is None else frozenset(fields)
    if entity is not None and keys is None and not names:
        raise ValueError(f"erase would take every value of {entity}: give keys or fields")
    known = None if keys is None else tuple(sorted(set(keys)))
    return _Target(actor, entity, known, names, with_keys)


def _refuse_held(guard: Guard, places: Sequence[Place]) -> None:
    for (seq, n), hold in guard.among(places).items():
        raise HeldError(
            f"revision {seq}{'' if n == HEADER else f', record {n},'} is kept by legal hold "
            f"{hold.number} ({hold.reason or 'no reason was given'}): release it first"
        )


def _refuse_unknown(store: AuditStore, target: _Target, known: frozenset[str]) -> None:
    """Raise ``HistoryError`` for a field that no record of the entity has, if it has any."""
    missing, found = set(target.fields or ()) - known, set[str]()
    announced = (one for intent in _intents(store) for one in intent.records)
    for record in chain(_oldest_first(store, Query(entity=target.entity)), announced):
        if not missing:
            return
        if record.entity == target.entity:
            found |= record.changes.touched()
            missing -= found
    if found and missing:
        name = min(missing)
        raise HistoryError(
            f"no record of {target.entity} has a field {name!r}, nor has its model: "
            f"{instead_of(name, found | known)}"
        )


def _intents(store: AuditStore) -> Iterable[Intent]:
    return store.intents() if isinstance(store, IntentStore) else ()


def _oldest_first(store: AuditStore, query: Query) -> Iterator[Record]:
    """Every matching record, page by page, while some are changed."""
    return pages(store, query, newest_first=False, size=CHUNK)
