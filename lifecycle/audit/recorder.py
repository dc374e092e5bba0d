"""From what a mapper has written to records in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import AuditStore
from lifecycle.changes import Change, ChangeSet, Delta, split_path
from lifecycle.context import current
from lifecycle.markers import ABSENT, MASKED
from lifecycle.policy import Policy
from lifecycle.uuids import uuid7
from lifecycle.written import Written

__all__ = ["AuditMode", "Beside", "Recorder", "RevisionWriter"]

AuditMode: TypeAlias = Literal["all", "marked"]


class Beside(Protocol):
    """A store whose tables can be written through the application's own connection."""

    def insert_revision(self, connection: Any, revision: Revision) -> Revision:
        """Insert a revision in the connection's transaction; returns it with its ``seq``."""
        ...

    def insert_records(
        self, connection: Any, revision: Revision, records: Sequence[Record]
    ) -> None:
        """Insert a stored revision's records in the connection's transaction."""
        ...


class Recorder:
    """Turns what has been written into revisions and records, after the models' policies.

    ``beside`` gives the store in the database a connection goes to, or raises ``RecordingError``
    when the records belong elsewhere; ``store`` gives the one for writes without a connection.
    """

    def __init__(
        self,
        *,
        beside: Callable[[Any], Beside],
        store: Callable[[], AuditStore],
        mode: AuditMode = "all",
        origin: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.beside = beside
        self.store = store
        self.mode = mode
        self.origin = origin
        self.clock = clock

    def open(self, group: UUID | None = None) -> RevisionWriter:
        """A writer for one database transaction or one document write."""
        return RevisionWriter(self, group)

    def wants(self, policy: Policy) -> bool:
        """Whether models of this policy are recorded at all."""
        return self.mode == "all" if policy.recorded is None else policy.recorded

    def revision(self, group: UUID | None) -> Revision:
        """A new revision by whoever acts now."""
        context = current()
        id = uuid7()
        return Revision(
            id=id,
            at=self.clock(),
            actor=context.actor,
            actor_label=context.actor_label,
            reason=context.reason,
            source=context.source,
            request_id=context.request_id,
            context=dict(context.extra),
            origin=self.origin,
            group=group or context.group or id,
        )


class RevisionWriter:
    """Writes one revision: its row with the first record, and the records of every flush."""

    __slots__ = ("_group", "_n", "_recorder", "revision", "stored")

    def __init__(self, recorder: Recorder, group: UUID | None) -> None:
        self._recorder = recorder
        self._group = group
        self._n = 0
        self.stored = False
        self.revision: Revision | None = None

    @property
    def group(self) -> UUID | None:
        """The group of the revision, ``None`` before its first record."""
        return None if self.revision is None else self.revision.group

    def write(self, written: Sequence[Written], *, connection: Any = None) -> None:
        """Record these; through ``connection``, in its transaction, when one is given.

        Nothing is written when no policy wants any of it. Raises ``RecordingError`` when the
        records cannot be made or cannot commit with the change.
        """
        wanted = [
            (one, changes)
            for one in written
            if self._recorder.wants(one.policy) and (changes := _recordable(one))
        ]
        if not wanted:
            return
        revision = self.revision or self._recorder.revision(self._group)
        records = [
            self._record(revision, self._n + offset, one, changes)
            for offset, (one, changes) in enumerate(wanted)
        ]
        self.revision = self._store(revision, records, connection)
        self.stored = True
        self._n += len(records)

    def undone(self) -> None:
        """The revision's row has been rolled back: the next write inserts it again."""
        self.stored = False

    def _record(self, revision: Revision, n: int, one: Written, changes: ChangeSet) -> Record:
        return Record(
            revision=revision,
            n=n,
            entity=one.entity,
            key=one.key,
            former_key=one.former_key,
            operation=changes.operation,
            label=one.label,
            changes=changes,
        )

    def _store(self, revision: Revision, records: list[Record], connection: Any) -> Revision:
        if connection is None:
            return self._recorder.store().append(revision, records)
        beside = self._recorder.beside(connection)
        if not self.stored:
            revision = beside.insert_revision(connection, revision)
        beside.insert_records(connection, revision, records)
        return revision


def _recordable(one: Written) -> ChangeSet | None:
    """The changes as they may be recorded; ``None`` when nothing is left of an update."""
    policy = one.policy
    deltas: dict[str, Delta] = {}
    for path, delta in one.changes.items():
        field = split_path(path)[0]
        if field in policy.exclude:
            continue
        deltas[path] = _masked(delta) if field in policy.mask else delta
    if not deltas and one.changes:
        return None
    return ChangeSet(deltas, one.changes.operation).compacted()


def _masked(delta: Delta) -> Change:
    if not isinstance(delta, Change):
        return Change(MASKED, MASKED)
    return Change(
        ABSENT if delta.old is ABSENT else MASKED, ABSENT if delta.new is ABSENT else MASKED
    )
