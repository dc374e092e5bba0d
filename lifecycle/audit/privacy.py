"""Erasing, pruning, holding and handing out: what becomes of recorded personal data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Any

from lifecycle.audit.erasing import Erased, erase
from lifecycle.audit.history import History
from lifecycle.audit.holding import hold, release
from lifecycle.audit.ledger import Hold, ledger_of
from lifecycle.audit.names import Names
from lifecycle.audit.pruning import Pruned, prune
from lifecycle.audit.records import Record
from lifecycle.audit.store import AuditStore, Query
from lifecycle.audit.tracing import records_of

__all__ = [
    "Erased",
    "Privacy",
    "Pruned",
    "erase",
    "export_subject",
    "hold",
    "keys_of",
    "prune",
    "release",
]


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
