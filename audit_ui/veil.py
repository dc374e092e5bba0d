"""Which fields a reader may see: values of the others are hidden before any page has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from msgspec.structs import replace

from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import AuditStore, Page, Query
from lifecycle.changes import ABSENT, MASKED, Change, ChangeSet, Delta, split_path

__all__ = ["MaySee", "veiled"]

MaySee = Callable[[str, str], bool]
"""Tells whether a field of an entity may be seen."""


def veiled(store: AuditStore, may_see: MaySee) -> AuditStore:
    """A store's records as one reader may see them; asked once for each field of an entity."""
    return cast(AuditStore, _Veiled(store, may_see))


class _Veiled:
    _ASKED: Final = frozenset(
        {"append", "check", "count_at_most", "entities", "revision", "revision_at"}
    )
    """What holds no values of fields; what is not named here cannot be asked."""

    def __init__(self, store: AuditStore, may_see: MaySee) -> None:
        self._store = store
        self._may_see = may_see
        self._known: dict[tuple[str, str], bool] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self._ASKED:
            raise AttributeError(name)
        return getattr(self._store, name)

    def page(
        self,
        query: Query,
        *,
        after: Position | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Page:
        page = self._store.page(query, after=after, limit=limit, newest_first=newest_first)
        return Page(tuple(map(self._seen, page)), page.next)

    def scan(self, query: Query) -> Iterator[Record]:
        return map(self._seen, self._store.scan(query))

    def _seen(self, record: Record) -> Record:
        hidden = [path for path in record.changes if not self._shows(record.entity, path)]
        if not hidden:
            return record
        deltas: dict[str, Delta] = dict(record.changes.items())
        for path in hidden:  # that it changed may be known, and where, but no part of a value
            field = split_path(path)[0]
            deltas[field] = _masked(deltas.pop(path))
        return replace(record, changes=ChangeSet(deltas, record.changes.operation))

    def _shows(self, entity: str, path: str) -> bool:
        field = split_path(path)[0]
        known = self._known.get((entity, field))
        if known is None:
            known = self._known[entity, field] = self._may_see(entity, field)
        return known


def _masked(delta: Delta) -> Change:
    old, new = (delta.old, delta.new) if isinstance(delta, Change) else (MASKED, MASKED)
    return Change(old if old is ABSENT else MASKED, new if new is ABSENT else MASKED)
