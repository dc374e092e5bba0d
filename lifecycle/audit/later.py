"""What the log tells of objects after some records: who changed them, and whether they stayed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from lifecycle.audit.history import History
from lifecycle.audit.records import Position, Record
from lifecycle.changes import Change, Operation, split_path
from lifecycle.markers import UNKNOWN
from lifecycle.restoring import Said

__all__ = ["Later"]

_SINGLY: Final = 20  # objects asked about one by one
_TOGETHER: Final = 5_000  # records of an entity read for the others
_FIRST: Final = Position(-1, 0)


class Later:
    """What became of objects after some records; a key's are read once, however often asked for.

    Of the ``objects``, given by entity and key, it is found out together which have newer records.
    """

    def __init__(self, history: History, objects: Collection[tuple[str, str]] = ()) -> None:
        self._history: Final = history
        self._read: Final[dict[tuple[str, str], tuple[list[Record], Iterator[Record]]]] = {}
        self._recent: Final[dict[str, _Recent]] = {}
        self._newest: Final = history.newest(objects) if len(objects) > 1 else {}

    def since(self, entity: str, key: str, record: Record | None, path: str | None) -> str:
        """Who last changed an object, or a field of it: ``", by ann at …"``."""
        name = None if path is None else split_path(path)[0]
        for later in self._after(entity, key, record):
            if name is None or later.changes.touches(name):
                who = later.revision.actor_label or later.actor or Said("nobody named")
                return Said(
                    ", by %(who)s at %(at)s UTC in record %(record)s",
                    who=who,
                    at=f"{later.at:%Y-%m-%d %H:%M:%S}",
                    record=later.id,
                )
        return Said(", by a write that the log does not have")

    def olds(self, entity: str, key: str, record: Record | None, name: str) -> list[Any]:
        """What a field held before each of its changes, newest first.

        ``UNKNOWN`` where only a part inside of it was changed.
        """
        found = (
            later.changes.get(name)
            for later in self._after(entity, key, record)
            if later.changes.touches(name)
        )
        return [one.old if isinstance(one, Change) else UNKNOWN for one in found]

    def is_same(self, entity: str, key: str, record: Record, *, marked: bool) -> bool:
        """Whether the object that has a key now is the one that a record left under it.

        It is another one when that one went since, or moved to another key, and no restore brought
        it back. ``marked`` is for objects whose rows stay when they are removed: what is inserted
        under the key then was there before. What the log does not tell of has not happened.
        """
        before: Position | None = None
        sought: frozenset[str] | None = None  # what a restore says it brought back
        following = True
        while following:
            following = False
            for later in self._under(entity, key, before, record.position):
                before = later.position
                if not _is_among(later, sought):
                    continue
                went = later.operation is Operation.DELETE or later.key != key
                if went and sought is None and not marked:
                    return False
                sought = None
                if went:
                    continue
                if later.operation is Operation.INSERT and not marked:
                    sought = _reverted(later)
                elif later.former_key not in (None, key):
                    key, following = later.former_key, True
                    break
        return key in (record.key, record.former_key) and _is_among(record, sought)

    def _under(
        self, entity: str, key: str, before: Position | None, after: Position
    ) -> Iterator[Record]:
        """The records of a key between two positions, newest first."""
        newest = self._newest.get((entity, key))
        if newest is not None and newest <= after:
            return
        for later in self._known(entity, key, after):
            if later.position <= after:
                return
            if before is None or later.position < before:
                yield later

    def _after(self, entity: str, key: str, record: Record | None) -> Iterator[Record]:
        """An object's records after one of them, newest first, over the keys it had."""
        after = _FIRST if record is None else record.position
        before: Position | None = None
        while True:
            for later in self._under(entity, key, before, after):
                yield later
                if later.key == key and later.former_key not in (None, key):
                    key, before = later.former_key, later.position
                    break
            else:
                return

    def _known(self, entity: str, key: str, after: Position) -> Iterable[Record]:
        """The records of a key, newest first, at least back to a position."""
        if (entity, key) not in self._read:
            recent = self._recent.setdefault(entity, _Recent(self._history.find(entity)))
            together = recent.under(key, after)
            if together is not None:
                return together
            self._read[entity, key] = ([], self._pages(entity, key))
        return self._singly(entity, key)

    def _singly(self, entity: str, key: str) -> Iterator[Record]:
        """Read as far as they are wanted, and no part twice."""
        known, rest = self._read[entity, key]
        yield from list(known)
        for record in rest:
            known.append(record)
            yield record

    def _pages(self, entity: str, key: str) -> Iterator[Record]:
        before: Position | None = None
        while True:
            page = self._history.page(entity, key, after=before)
            yield from page
            if page.next is None:
                return
            before = page.next


class _Recent:
    """The newest records of an entity, read together when many of its objects are asked about."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records: Final = records
        self._by_key: Final[dict[str, list[Record]]] = {}
        self._floor: Position | None = None  # they are known back to there
        self._asked = self._count = 0

    def under(self, key: str, after: Position) -> list[Record] | None:
        """Those of a key after a position, newest first; ``None`` when they are not known."""
        self._asked += 1
        if self._asked <= _SINGLY:
            return None
        while (self._floor is None or self._floor > after) and self._count < _TOGETHER:
            self._count += 1
            record = next(self._records, None)
            self._floor = _FIRST if record is None else record.position
            if record is not None:
                for name in {record.key, record.former_key or record.key}:
                    self._by_key.setdefault(name, []).append(record)
        known = self._floor is not None and self._floor <= after
        return self._by_key.get(key, []) if known else None


def _is_among(record: Record, ids: frozenset[str] | None) -> bool:
    return ids is None or not ids.isdisjoint((record.id, str(record.revision.id)))


def _reverted(record: Record) -> frozenset[str]:
    """The ids of the records, or else of the revisions, that a restore says it reverts."""
    told = record.revision.context.get("restores")
    if not isinstance(told, dict):
        return frozenset()
    return frozenset(told.get("records") or told.get("revisions") or ())
