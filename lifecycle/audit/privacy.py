"""Erasing, pruning, holding and handing out: what becomes of recorded personal data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from lifecycle.audit.acts import (
    CHUNK,
    Emptied,
    Place,
    begun,
    erase_chunk,
    prune_chunk,
    some_at_a_time,
)
from lifecycle.audit.chain import Signer
from lifecycle.audit.history import History, Names
from lifecycle.audit.holding import Guard, hold, release
from lifecycle.audit.intents import Intent, IntentStore
from lifecycle.audit.leaves import HEADER
from lifecycle.audit.ledger import Hold, Ledger, ledger_of
from lifecycle.audit.naming import instead_of
from lifecycle.audit.progress import Progress, nobody
from lifecycle.audit.records import Record
from lifecycle.audit.store import AuditStore, Query
from lifecycle.audit.tracing import pages, records_of
from lifecycle.changes import split_path
from lifecycle.errors import HeldError, HistoryError

__all__ = ["Erased", "Privacy", "Pruned", "erase", "export_subject", "hold", "keys_of", "prune"]

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


class Pruned(Struct, frozen=True, kw_only=True):
    """What a pruning did, or would do. ``held`` is what a legal hold kept."""

    records: int
    revisions: int
    held: int
    dry_run: bool


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
    ledger, signer = ledger_of(store), None if key is None else Signer(key)
    for what, given in (("keys", keys), ("fields", fields)):
        if isinstance(given, str):
            raise ValueError(f"{what}={given!r} is one text, not several: give [{given!r}]")
    names = None if fields is None else frozenset(fields)
    if (actor is None) == (entity is None):
        raise ValueError("erase takes an actor, or an entity with keys, fields or both")
    if actor is not None and (keys is not None or names is not None):
        raise ValueError("erase takes keys and fields of an entity, not of an actor")
    if entity is not None and keys is None and not names:
        raise ValueError(f"erase would take every value of {entity}: give keys or fields")
    known = None if keys is None else sorted(set(keys))
    if entity is not None and names is not None:
        _refuse_unknown(store, entity, names.difference(known_fields), known_fields)

    def by_actor(actor: str) -> Iterator[Place]:
        after = -1
        while seqs := ledger.revisions_of(actor, after, CHUNK):
            yield from ((seq, HEADER) for seq in seqs)
            after = seqs[-1]

    def places() -> Iterator[Place]:
        if actor is not None:
            yield from by_actor(actor)
            return
        queries = [Query(entity=entity)] if known is None else []
        for query in (*queries, *(Query(entity=entity, key=one) for one in known or ())):
            yield from (record.position for record in _oldest_first(store, query))

    guard = Guard(ledger)
    matched = 0
    for chunk in some_at_a_time(places(), CHUNK) if guard or dry_run else ():
        matched += len(chunk)
        _refuse_held(guard, chunk)

    def pending() -> int:
        return sum(_concerns(one, actor, entity, known, names) for one in _intents(store))

    if dry_run:
        return Erased(matched=matched, rows=0, values=0, dry_run=True, pending=pending())
    wanted = _wanted(actor is not None, names, with_keys)
    matched = rows = values = 0
    for chunk in some_at_a_time(places(), CHUNK):
        entry = begun(ledger, "erase")
        if guard.look():
            _refuse_held(guard, chunk)
        changed, gone = erase_chunk(ledger, entry, chunk, wanted, signer)
        matched, rows, values = matched + len(chunk), rows + changed, values + gone
        progress(len(chunk))
    return Erased(matched=matched, rows=rows, values=values, dry_run=False, pending=pending())


def _refuse_held(guard: Guard, places: Sequence[Place]) -> None:
    for (seq, n), found in guard.among(places).items():
        raise HeldError(
            f"revision {seq}{'' if n == HEADER else f', record {n},'} is kept by legal hold "
            f"{found.number} ({found.reason or 'no reason was given'}): release it first"
        )


def _refuse_unknown(
    store: AuditStore, entity: str, names: Iterable[str], known: Iterable[str]
) -> None:
    """Raise ``HistoryError`` for the first name that no record of an entity has, if it has any."""
    missing, found = set(names), set[str]()
    announced = (one for intent in _intents(store) for one in intent.records)
    for record in chain(_oldest_first(store, Query(entity=entity)), announced):
        if not missing:
            return
        if record.entity == entity:
            found |= record.changes.touched()
            missing -= found
    if found and missing:
        name = min(missing)
        raise HistoryError(
            f"no record of {entity} has a field {name!r}, nor has its model: "
            f"{instead_of(name, found.union(known))}"
        )


def _intents(store: AuditStore) -> Iterable[Intent]:
    return store.intents() if isinstance(store, IntentStore) else ()


def _concerns(
    intent: Intent,
    actor: str | None,
    entity: str | None,
    keys: list[str] | None,
    fields: frozenset[str] | None,
) -> bool:
    """Whether an intent has what is to be erased."""
    if actor is not None:
        return intent.revision.actor == actor
    return any(
        record.entity == entity
        and (keys is None or record.key in keys or record.former_key in keys)
        and (fields is None or not fields.isdisjoint(record.changes.touched()))
        for record in intent.records
    )


def _wanted(is_actor: bool, names: frozenset[str] | None, with_keys: bool) -> Callable[[str], bool]:
    """Which cells of a row are erased."""
    if is_actor:
        return _WHO.__contains__
    told = (_TOLD | _KEYS if with_keys else _TOLD) if names is None else frozenset()

    def wanted(title: str) -> bool:
        if not title.startswith("."):
            return title in told
        return names is None or split_path(title[1:])[0] in names

    return wanted


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
    records = held = 0

    def old() -> Iterator[list[Place]]:
        after = (-1, HEADER)
        while before is not None:
            found = ledger.old(before, entity, after, CHUNK)
            if not found:
                return
            yield found
            after = found[-1]

    def excess() -> Iterator[list[Place]]:
        after: str | None = None
        while keep is not None and entity is not None:
            found, after = ledger.excess(entity, keep, after, CHUNK)
            for some in some_at_a_time(found, CHUNK):
                yield some if before is None else _made_since(ledger, before, some)
            if after is None:
                return

    def bare() -> Iterator[list[Place]]:
        last = -1
        while before is not None:
            found = ledger.bare(before, last, CHUNK)
            if not found:
                return
            yield [(seq, HEADER) for seq in found]
            last = found[-1]

    def pruned(chunk: list[Place]) -> list[Place]:
        entry = begun(ledger, "prune")
        guard.look()
        kept = guard.among(chunk)
        free = [place for place in chunk if place not in kept]
        if free and not dry_run:
            prune_chunk(ledger, entry, free, signer)
        return free

    emptied = Emptied(ledger)
    by_age = ((chunk, dry_run) for chunk in old())
    for chunk, may_empty in chain(by_age, ((chunk, False) for chunk in excess())):
        free = pruned(chunk)
        held += len(chunk) - len(free)
        records += len(free)
        if may_empty:
            emptied.take(free)
        progress(len(chunk))
    revisions = sum(len(pruned(chunk)) for chunk in bare()) + emptied.count
    return Pruned(records=records, revisions=revisions, held=held, dry_run=dry_run)


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


def export_subject(
    store: AuditStore, *, actor: str | None = None, objects: Iterable[tuple[str, str]] = ()
) -> Iterator[Record]:
    """Everything the log has about one person, oldest first, each record once, in flat memory.

    That is what they did as ``actor``, and what happened to the ``objects`` that are about them,
    given by entity and key. Raises ``ValueError`` when neither is given.
    """
    queries = [Query(entity=entity, key=key) for entity, key in objects]
    if actor is not None:
        queries.append(Query(actor=actor))
    if not queries:
        raise ValueError("export_subject needs an actor, objects by entity and key, or both")
    place: Any = attrgetter("position")
    found = merge(*(store.scan(query) for query in queries), key=place)
    return (next(same) for _, same in groupby(found, key=place))


def keys_of(store: AuditStore, entity: str, key: str) -> set[str]:
    """Every key an object had, back over its moves."""
    keys = {key}
    for record in records_of(store, entity, key):
        keys.update({record.key, record.former_key or record.key})
    return keys


def _oldest_first(store: AuditStore, query: Query) -> Iterator[Record]:
    """Every matching record, page by page, while some are changed."""
    return pages(store, query, newest_first=False, size=CHUNK)


class Privacy:
    """What becomes of personal data in the log of one Lifecycle.

    Models are given as classes or by their registered names, objects by their identity.
    """

    def __init__(self, store: Callable[[], AuditStore], names: Names, history: History) -> None:
        self._store = store
        self._names = names
        self._history = history

    def erase(
        self,
        target: Any = None,
        identity: Any = None,
        *,
        actor: str | None = None,
        fields: Iterable[str] | None = None,
        with_keys: bool = False,
        dry_run: bool = False,
        key: str | bytes | None = None,
    ) -> Erased:
        """Put keyed digests in place of the values of an object, of some fields, or of an actor.

        ``erase(user)`` or ``erase(User, 1)`` for an object, under every key it had;
        ``erase(User, fields={"phone"})`` for fields of every object; ``erase(actor="ann")`` for who
        did it, and why. See `lifecycle.audit.privacy.erase` for what it does and raises.
        """
        entity, known = self._subject(target, identity)
        keys = None if entity is None or known is None else keys_of(self._store(), entity, known)
        return erase(
            self._store(),
            actor=actor,
            entity=entity,
            keys=keys,
            fields=fields,
            known_fields=() if entity is None else self._names.fields(entity),
            with_keys=with_keys,
            dry_run=dry_run,
            key=key,
        )

    def prune(
        self,
        model: type | str | None = None,
        *,
        older_than: timedelta | datetime | None = None,
        keep: int | None = None,
        dry_run: bool = False,
        key: str | bytes | None = None,
    ) -> Pruned:
        """Remove old records, of one model or all; see `lifecycle.audit.privacy.prune`."""
        entity = None if model is None else self._names.entity(model)
        return prune(
            self._store(),
            older_than=older_than,
            keep=keep,
            entity=entity,
            dry_run=dry_run,
            key=key,
        )

    def hold(
        self,
        target: Any = None,
        identity: Any = None,
        *,
        actor: str | None = None,
        reason: str | None = None,
        key: str | bytes | None = None,
    ) -> Hold:
        """Keep a model's, an object's or an actor's records from being pruned and erased.

        ``key`` signs it, as in the other acts; see `lifecycle.audit.holding.hold`.
        """
        entity, of = self._subject(target, identity)
        return hold(
            self._store(), entity=entity, key=of, actor=actor, reason=reason, signing_key=key
        )

    def holds(self) -> list[Hold]:
        """The legal holds there are."""
        return ledger_of(self._store()).holds()

    def release(self, number: int, *, key: str | bytes | None = None) -> bool:
        """Take a legal hold away; returns whether there was one of that number."""
        return release(self._store(), number, signing_key=key)

    def export_subject(
        self, *objects: tuple[type | str, Any] | Any, actor: str | None = None
    ) -> Iterator[Record]:
        """Everything the log has about one person: their acts, and objects that are about them.

        Objects are given as they are, or as a tuple of model and identity; each is followed back
        over changes of its key. Oldest first, each record once.
        """
        subjects = []
        for one in objects:
            entity, key = (
                self._subject(*one) if isinstance(one, tuple) else self._subject(one, None)
            )
            assert entity is not None
            if key is None:
                raise ValueError(f"export_subject({one!r}) has no identity: give (Model, identity)")
            subjects += [(entity, each) for each in keys_of(self._store(), entity, key)]
        return export_subject(self._store(), actor=actor, objects=subjects)

    def _subject(self, target: Any, identity: Any) -> tuple[str | None, str | None]:
        if target is None:
            return None, None
        if not isinstance(target, type | str):
            return self._names.subject(target)
        self._history.refuse_unknown(target)
        key = None if identity is None else self._names.key(target, identity)
        return self._names.entity(target), key
