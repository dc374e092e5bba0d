"""Which fields a reader may see: values of the others are hidden before any page has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from msgspec.structs import replace

from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import AuditStore, Page, Query
from lifecycle.changes import ABSENT, MASKED, Change, ChangeSet, Delta, split_path

__all__ = ["MaySee", "veiled", "veiled_changes"]

MaySee = Callable[[str, str], bool]
"""Tells whether a field of an entity may be seen."""


def veiled(store: AuditStore, may_see: MaySee) -> AuditStore:
    """A store's records as one reader may see them."""
    return cast(AuditStore, _Veiled(store, may_see))


class _Veiled:
    _ASKED: Final = frozenset(
        {
            "append",
            "check",
            "count_at_most",
            "counts_at_most",
            "entities",
            "glimpses",
            "revision",
            "revision_at",
        }
    )
    """What holds no values of fields; what is not named here cannot be asked."""

    def __init__(self, store: AuditStore, may_see: MaySee) -> None:
        self._store = store
        self._may_see = may_see

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
        changes = veiled_changes(record.entity, record.changes, self._may_see)
        return record if changes is record.changes else replace(record, changes=changes)


def veiled_changes(entity: str, changes: ChangeSet, may_see: MaySee) -> ChangeSet:
    """The changes with the values hidden that may not be seen; the same ones where all may."""
    hidden = [path for path in changes if not may_see(entity, split_path(path)[0])]
    if not hidden:
        return changes
    deltas: dict[str, Delta] = dict(changes.items())
    for path in hidden:  # that it changed may be known, and where, but no part of a value
        field = split_path(path)[0]
        deltas[field] = _masked(deltas.pop(path))
    return ChangeSet(deltas, changes.operation)


def _masked(delta: Delta) -> Change:
    old, new = (delta.old, delta.new) if isinstance(delta, Change) else (MASKED, MASKED)
    return Change(old if old is ABSENT else MASKED, new if new is ABSENT else MASKED)
