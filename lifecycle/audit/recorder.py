"""From what a mapper has written to records in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeAlias
from uuid import UUID

from lifecycle.audit.format import dump_batch, dump_plain
from lifecycle.audit.intents import Intent, IntentStore
from lifecycle.audit.masking import recordable
from lifecycle.audit.mending import mend
from lifecycle.audit.records import Line, Lines, Record, Revision
from lifecycle.audit.store import AuditStore
from lifecycle.changes import ChangeSet
from lifecycle.context import current
from lifecycle.errors import ConfigurationError
from lifecycle.faults import Faults
from lifecycle.policy import Policy
from lifecycle.spooling import CHUNK
from lifecycle.uuids import uuid7
from lifecycle.written import Batch, Plain, Shape, Told, Written, in_full, portions

__all__ = ["AuditMode", "Beside", "Durability", "Recorder", "RevisionWriter"]

AuditMode: TypeAlias = Literal["all", "marked"]

Durability: TypeAlias = Literal["intent", "fast"]
"""What a crash may do between a write to one database and its record in another.

``"intent"``: an intent is stored before the write, and `Lifecycle.reconcile` settles what is left.
``"fast"``: one round trip less, and the log may lack that write.
"""


class Beside(Protocol):
    """A store whose tables can be written through the application's own connection."""

    def insert_revision(self, connection: Any, revision: Revision) -> Revision:
        """Insert a revision in the connection's transaction; returns it with its ``seq``."""
        ...

    def insert_records(
        self, connection: Any, revision: Revision, records: Sequence[Record | Line | Lines]
    ) -> None:
        """Insert a stored revision's records in the connection's transaction.

        Lines are only given where a mapper tells of `Plain` changes, or of a `Batch`.
        """
        ...


class Recorder:
    """Turns what has been written into revisions and records, after the models' policies.

    ``beside`` gives the store in the database a connection goes to, or raises ``RecordingError``
    when the records belong elsewhere; ``store`` gives the one for writes without a connection.
    ``joins`` says whether records can be written in the transaction of a session of documents.
    """

    def __init__(
        self,
        *,
        beside: Callable[[Any], Beside],
        store: Callable[[], AuditStore],
        mode: AuditMode = "all",
        origin: str | None = None,
        faults: Faults | None = None,
        joins: Callable[[Any], bool] = lambda connection: False,
        durability: Durability = "fast",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.beside = beside
        self.store = store
        self.mode = mode
        self.origin = origin
        self.faults = Faults() if faults is None else faults
        self.joins = joins
        self.durability = durability
        self.clock = clock
        self._keeps_intents: IntentStore | None = None

    def open(self, group: UUID | None = None) -> RevisionWriter:
        """A writer for one database transaction or one document write."""
        return RevisionWriter(self, group)

    def wants(self, policy: Policy) -> bool:
        """Whether models of this policy are recorded at all."""
        return self.mode == "all" if policy.recorded is None else policy.recorded

    def intents(self) -> IntentStore:
        """The store for writes without a connection, if it keeps intents.

        Raises ``ConfigurationError`` if it does not.
        """
        store = self.store()
        kept = self._keeps_intents  # it is asked at each write, and is slow to tell
        if kept is not None and id(kept) == id(store):
            return kept
        if not isinstance(store, IntentStore):
            raise ConfigurationError(
                f"{store!r} keeps no intents, so a crash between a write and its record would go "
                'unnoticed: give it the methods of IntentStore, or use durability="fast"'
            )
        self._keeps_intents = store
        return store

    def revision(self, group: UUID | None, *, kept: bool = False) -> Revision:
        """A new revision by whoever acts now, in the group of their block.

        ``kept`` says that it is part of what is recorded in the given group already.
        """
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
            group=(group if kept else None) or context.group or group or id,
        )


class RevisionWriter:
    """Writes one revision: its row with the first record, and the records of every flush.

    A write without a connection is a revision of its own, in the same group.
    """

    __slots__ = (
        "_foretold",
        "_grouped",
        "_intended",
        "_intents",
        "_n",
        "_recorder",
        "group",
        "revision",
    )

    def __init__(self, recorder: Recorder, group: UUID | None) -> None:
        self._recorder = recorder
        self._n = 0
        self._intended: Revision | None = None
        self._intents: list[UUID] = []
        self._foretold: dict[int, tuple[Written, ChangeSet, ChangeSet]] = {}
        self._grouped = False
        self.group = group
        self.revision: Revision | None = None

    @property
    def stored(self) -> bool:
        """Whether the revision's row is in the store."""
        return self.revision is not None

    @property
    def intends(self) -> bool:
        """Whether `intend` stores anything."""
        return self._recorder.durability == "intent"

    def intend(self, written: Sequence[Written], traces: Sequence[str]) -> None:
        """Store that these are about to be written; ``traces`` are those of `Intent`.

        The next `write` without a connection takes its place. Does nothing with
        ``durability="fast"``. Raises as `write` does, and then nothing may be written.
        """
        if not self.intends:
            return
        try:
            self._intend(written, traces)
        except Exception:
            wanted = [one for one in written if self._recorder.wants(one.policy)]
            if not mend(wanted, self._recorder.faults):
                raise
            self._intend(written, traces)

    def _intend(self, written: Sequence[Written], traces: Sequence[str]) -> None:
        wanted = [
            (one, changes, trace)
            for one, trace in zip(written, traces, strict=True)
            if self._recorder.wants(one.policy) and (changes := recordable(one)) is not None
        ]
        if not wanted:
            return
        revision = self._intended or self._recorder.revision(self.group, kept=self._grouped)
        records = [
            self._record(revision, n, one, changes)
            for n, (one, changes, _) in enumerate(wanted, self._n)
        ]
        intent = Intent(
            id=revision.id if self._intended is None else uuid7(),
            revision=revision,
            records=tuple(records),
            traces=tuple([trace for _, _, trace in wanted]),
        )
        self._recorder.intents().intend(intent)
        self._foretold |= {id(one): (one, one.changes, changes) for one, changes, _ in wanted}
        self._intended = revision
        self.group = revision.group
        self._grouped = True
        self._n += len(records)
        self._intents.append(intent.id)

    def withdraw(self) -> None:
        """What was intended has not been written."""
        if self._intents:
            self._recorder.intents().withdraw(self._intents)
            self._settled()

    def _settled(self) -> None:
        self._intended = None
        self._intents = []
        self._foretold = {}
        self._n = 0

    def _recordable(self, one: Written) -> ChangeSet | None:
        """The changes as they may be recorded: those intended, while they are the same."""
        _, given, changes = self._foretold.get(id(one), (one, None, None))
        return changes if given is one.changes else recordable(one)

    def write(self, written: Sequence[Told], *, connection: Any = None) -> None:
        """Record these; through ``connection``, in its transaction, when one is given.

        Nothing is written when no policy wants any of it. Raises ``RecordingError`` when the
        records cannot be made, unless that is to be reported in them, and when they cannot commit
        with the change; what the store itself raises is raised as it is.
        """
        if connection is None:
            self._write_mended(list(in_full(written)), None)
            return
        large = any(isinstance(one, Batch) and len(one.keys) > CHUNK for one in written)
        ahead = self._sent_ahead(connection) if large else None
        if ahead is None:
            self._write_mended(_told(written), connection)
            return
        with ahead:  # the store works on some while the texts of others are made
            for some in portions(written):
                self._write_mended(_told(some), connection)

    def _write_mended(self, told: Sequence[_Told], connection: Any) -> None:
        try:
            self._write(told, connection)
        except Exception:
            wants = self._recorder.wants
            wanted = [one for one in told if not isinstance(one, Written) or wants(one.policy)]
            full = [one for one in wanted if isinstance(one, Written)]
            if not mend(full, self._recorder.faults):
                raise  # nothing is wrong with them, so the store has failed
            self._write(wanted, connection)

    def _write(self, told: Sequence[_Told], connection: Any) -> None:
        wanted: list[tuple[Written, ChangeSet] | Line | Lines] = []
        for one in told:
            if not isinstance(one, Written):
                wanted.append(one)
            elif self._recorder.wants(one.policy):
                changes = self._recordable(one)
                if changes is not None:
                    wanted.append((one, changes))
        if not wanted:
            self.withdraw()
            return
        revision = (
            self.revision
            or self._intended
            or self._recorder.revision(self.group, kept=self._grouped)
        )
        n = 0 if connection is None else self._n
        records: list[Any] = []
        for found in wanted:
            if isinstance(found, tuple):
                records.append(self._record(revision, n, *found))
            else:
                found.n = n
                records.append(found)
            n += len(found) if isinstance(found, Lines) else 1
        if connection is None and self._intents:
            self._recorder.intents().confirm(revision, records, self._intents)
            self._settled()
        elif connection is None:
            self._recorder.store().append(revision, records)
        else:
            self._insert(revision, records, connection)
            self._n = n
        self.group = revision.group
        self._grouped = True

    def together(self, connection: Any) -> AbstractContextManager[None]:
        """A block whose records may be on their way until it ends, after the first `write`.

        What the store raises of them may be raised at its end.
        """
        return self._sent_ahead(connection) or nullcontext()

    def _sent_ahead(self, connection: Any) -> AbstractContextManager[None] | None:
        """Such a block of the store's, if it can do more than to write at once."""
        together = getattr(self._recorder.beside(connection), "together", None)
        found: AbstractContextManager[None] | None = together and together(connection)
        return found

    def over(self, connection: Any) -> None:
        """The transaction of this connection, which was written through, is over."""
        if self.revision is not None:
            over = getattr(self._recorder.beside(connection), "transaction_over", None)
            if over is not None:
                over(self.revision)

    def undone(self) -> None:
        """The revision's row has been rolled back: the next write starts it anew.

        It belongs to the same group, and to whoever acts by then.
        """
        self.revision = None
        self._n = 0

    def _record(self, revision: Revision, n: int, one: Written, changes: ChangeSet) -> Record:
        return Record(
            revision=revision,
            n=n,
            entity=one.entity,
            key=one.key,
            former_key=one.former_key,
            operation=changes.operation,
            label=one.label,
            error=one.error,
            cause=one.cause,
            changes=changes,
        )

    def _insert(self, revision: Revision, records: list[Record], connection: Any) -> None:
        beside = self._recorder.beside(connection)
        if self.revision is None:  # kept at once: it is there even if its records then fail
            self.revision = beside.insert_revision(connection, revision)
        beside.insert_records(connection, self.revision, records)


_MANY: Final = 3
"""From so many changes of one shape on it pays to make their texts all at once."""


_Told: TypeAlias = Written | Line | Lines


def _told(written: Sequence[Told]) -> list[_Told]:
    """Plain changes as lines, those of one shape all at once; in full where it takes that."""
    shapes: dict[Shape, list[Sequence[Any]]] = {}
    for one in written:
        if isinstance(one, Plain):
            shapes.setdefault(one.shape, []).append(one.values)
    known = {}
    for shape, values in shapes.items():
        found = dump_plain(shape, values) if len(values) >= _MANY else None
        if found is not None:
            known[shape] = shape.entity, shape.operation.value, iter(found)
    told: list[_Told] = []
    for one in written:
        if isinstance(one, Batch):
            told += _lines(one)
        elif not isinstance(one, Plain):
            told.append(one)
        elif one.shape in known:
            entity, verb, texts = known[one.shape]
            told.append(Line(0, entity, one.key, verb, next(texts)))
        else:
            told.append(one.shape.written(one))
    return told


def _lines(batch: Batch) -> list[_Told]:
    texts = dump_batch(batch)
    if texts is None:
        return _told(batch.plains())
    return [Lines(0, batch.entity, batch.keys, batch.operation.value, texts)]
