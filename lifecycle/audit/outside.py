"""What was written past the log: how it is told, and recorded as changes by nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct, field

from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import AuditStore
from lifecycle.changes import ChangeSet
from lifecycle.context import current
from lifecycle.uuids import uuid7

__all__ = ["EXTERNAL", "Comparison", "Difference", "Findings"]

EXTERNAL: Final = "external"
"""The cause of records of what was written past the log."""

_MOST: Final = 1_000
_BATCH: Final = 500


class Difference(Struct, frozen=True, kw_only=True):
    """One object that is not as the log tells: ``inserted``, ``altered`` or ``deleted`` past it.

    ``fields`` are those that differ. No value is told.
    """

    what: str
    entity: str
    key: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f": {', '.join(self.fields)}" if self.fields else ""
        return f"{self.what} past the log: {self.entity} {self.key}{named}"


class Comparison(Struct, kw_only=True):
    """What a comparison saw; ``differences`` are the first thousand, ``found`` counts all.

    ``unknown`` counts rows the log cannot tell, for a statement was recorded as a whole, or for
    there is no record of them and the log has been pruned.
    ``elsewhere`` are tables with recorded objects that are not in the database at hand.
    """

    rows: int = 0
    objects: int = 0
    unknown: int = 0
    found: int = 0
    recorded: int = 0
    elsewhere: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether the database is as the log tells."""
        return not self.found


class Findings:
    """Takes down differences, and records them where that is wanted, some at a time."""

    def __init__(self, store: AuditStore, record: bool) -> None:
        self.result: Final = Comparison()
        self._store = store
        self._record = record
        self._changes: list[tuple[str, str, ChangeSet]] = []

    def add(
        self, what: str, entity: str, key: str, fields: tuple[str, ...], changes: ChangeSet
    ) -> None:
        """One more object that is not as the log tells, and how it is changed by that."""
        self.result.found += 1
        if len(self.result.differences) < _MOST:
            self.result.differences.append(
                Difference(what=what, entity=entity, key=key, fields=fields)
            )
        if self._record:
            self._changes.append((entity, key, changes))
            if len(self._changes) == _BATCH:
                self.flush()

    def flush(self) -> None:
        """Record what was found since the last time as one revision."""
        found, self._changes = self._changes, []
        if not found:
            return
        context, id = current(), uuid7()
        revision = Revision(
            id=id,
            at=datetime.now(UTC),
            actor=context.actor,
            actor_label=context.actor_label,
            reason=context.reason or "found in the database, and not in the log",
            source=EXTERNAL,
            group=id,
        )
        records = [
            Record(
                revision=revision,
                n=n,
                entity=entity,
                key=key,
                operation=changes.operation,
                changes=changes,
                cause=EXTERNAL,
            )
            for n, (entity, key, changes) in enumerate(found)
        ]
        self._store.append(revision, records)
        self.result.recorded += len(records)
