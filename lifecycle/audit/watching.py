"""Recording what a database told of writes, except for those that the log has already.

What Lifecycle itself writes is told by the database, too, and nothing marks it. So each write that
was heard of is looked for in the log: a record, or an intent, of the same object, operation and
fields, made within five minutes of it, of which no value contradicts, and that no other write was
found to be. A record may come later than its write, so each is looked for when some seconds
(``patience``) have passed. What is not found was written by others, or without Lifecycle's
knowledge, and is recorded then: each write as a revision of its own, with the time at the server,
``source`` `SOURCE` and no actor; those of one transaction share a group.

Nothing is lost or doubled, wherever it is stopped or killed: how far it has come is kept in a
file, replaced as a whole, always after the records. What comes between the two is told again next
time, and then gets the same revision ids, which a store takes only once.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

import msgspec

from lifecycle.audit.intents import IntentStore
from lifecycle.audit.masking import recordable
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import AuditStore, Query
from lifecycle.changes import Change, ChangeSet, Operation, same, split_path
from lifecycle.errors import ConfigurationError
from lifecycle.markers import is_hidden
from lifecycle.uuids import uuid7_of
from lifecycle.written import ROWS, VERB, Heard, Written

__all__ = ["SOURCE", "Progress", "watched"]

SOURCE: Final = "change stream"
"""The ``source`` of revisions that are made here."""

_APART: Final = timedelta(minutes=5)
"""How far the time of a record may be from that of its write, at the server's clock."""

_VERBS: Final = {
    Operation.INSERT: {"insert", "upsert", "bulk"},
    Operation.UPDATE: {"update", "upsert", "bulk"},
    Operation.DELETE: {"delete", "bulk"},
}
_EACH: Final = 1.0  # seconds between two times that progress is saved, while there is work


class _State(msgspec.Struct):
    token: str | None = None
    seen: dict[str, tuple[int, datetime]] = msgspec.field(default_factory=dict)
    version: int = 1


class Progress:
    """How far watching has come, in a file.

    Raises ``ConfigurationError`` for a file that is not one, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Final = Path(path)
        self._state = self._read()
        self._saved_at = 0.0
        self._changed = False

    def _read(self) -> _State:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_State)
        except FileNotFoundError:
            if self.path.parent.is_dir():
                return _State()
            raise ConfigurationError(f"there is no folder {self.path.parent}") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigurationError(
                f"{self.path} does not tell how far watching has come ({error}): name the file "
                "that was used before, or one that is not there, to begin from now"
            ) from error

    @property
    def token(self) -> str | None:
        """Where to go on; ``None`` for from now on."""
        return self._state.token

    def times(self, record: Record) -> int:
        """How many writes a record was found to be of."""
        return self._state.seen.get(record.id, (0, record.at))[0]

    def found(self, record: Record) -> None:
        """A record was found to be of a write."""
        self._state.seen[record.id] = (self.times(record) + 1, record.at)

    def reached(self, heard: Heard) -> None:
        """All up to this is settled."""
        self._state.token = heard.token
        self._changed = True
        if time.monotonic() - self._saved_at > _EACH:
            oldest = heard.at - 2 * _APART
            seen = self._state.seen
            self._state.seen = {id: one for id, one in seen.items() if one[1] >= oldest}
            self.save()

    def save(self) -> None:
        """Write the file, which is the old one or the new one, whenever the machine may fail."""
        if not self._changed:
            return
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with beside.open("wb") as file:
                file.write(msgspec.json.encode(self._state))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be written ({error.strerror}), so it cannot be kept how far "
                "watching has come: name another file"
            ) from error
        self._saved_at = time.monotonic()
        self._changed = False


def watched(
    heards: Iterable[Heard],
    store: AuditStore,
    wants: Callable[[Any], bool],
    progress: Progress,
    patience: timedelta,
) -> Iterator[Record]:
    """Record what was heard of and is not in the log; gives each record that was made.

    Raises as the store does. It may be ended at any place.
    """
    log = _Log(store, progress)
    waiting: deque[tuple[float, Heard]] = deque()

    def settled() -> Iterator[Record]:
        heard = waiting.popleft()[1]
        if heard.written is not None and wants(heard.written.policy):
            record = log.take(heard, heard.written)
            if record is not None:
                yield record
        progress.reached(heard)

    try:
        for heard in heards:
            waiting.append((time.monotonic() + patience.total_seconds(), heard))
            while waiting and waiting[0][0] <= time.monotonic():
                yield from settled()
        while waiting:
            time.sleep(max(0.0, waiting[0][0] - time.monotonic()))
            yield from settled()
    finally:
        progress.save()


class _Log:
    """The log, asked whether it has a write."""

    def __init__(self, store: AuditStore, progress: Progress) -> None:
        self._store = store
        self._progress = progress

    def take(self, heard: Heard, written: Written) -> Record | None:
        """Record a write; ``None`` when it is recorded, or nothing of it is to be."""
        changes = recordable(written)
        if changes is None:
            return None
        id = uuid7_of(heard.at, heard.name)
        if self._store.revision(id) is not None:
            return None
        for record in self._candidates(heard, written):
            if self._is_of(record, changes):
                self._progress.found(record)
                return None
        group = id
        if heard.transaction is not None:
            group = uuid5(NAMESPACE_OID, heard.transaction)
        revision = Revision(id=id, at=heard.at, source=SOURCE, group=group)
        record = _record(revision, written, changes)
        stored = self._store.append(revision, [record])
        return msgspec.structs.replace(record, revision=stored)

    def _candidates(self, heard: Heard, written: Written) -> Iterator[Record]:
        """What Lifecycle wrote, or was about to write, to the object around that time."""
        if written.changes.operation is Operation.BULK:
            return
        since, until = heard.at - _APART, heard.at + _APART
        for key in (written.key, ""):
            query = Query(entity=written.entity, key=key, since=since, until=until)
            for record in self._store.scan(query):
                if record.revision.source != SOURCE:
                    yield record
        if isinstance(self._store, IntentStore):
            for record in chain.from_iterable(one.records for one in self._store.intents()):
                if (record.entity, record.key) == (written.entity, written.key):
                    yield record

    def _is_of(self, record: Record, changes: ChangeSet) -> bool:
        """Whether a record can be of a write that changed this."""
        times = self._progress.times(record)
        if record.operation is Operation.BULK:
            verb, rows = record.changes.get(VERB), record.changes.get(ROWS)
            if not isinstance(verb, Change) or verb.new not in _VERBS[changes.operation]:
                return False
            most = rows.new if isinstance(rows, Change) else None
            return not isinstance(most, int) or times < most
        if times or record.operation is not changes.operation:
            return False
        if record.operation is Operation.UPDATE and not _fields(changes) <= _fields(record.changes):
            return False
        return not any(
            isinstance(change, Change) and _contradicts(change, record.changes.get(path))
            for path, change in changes.items()
        )


def _fields(changes: ChangeSet) -> set[str]:
    return {split_path(path)[0] for path in changes}


def _contradicts(change: Change, other: Any) -> bool:
    """Whether two changes of one value cannot have left the same."""
    if not isinstance(other, Change):
        return False
    new = (change.new, other.new)
    return not any(map(is_hidden, new)) and not same(*new)


def _record(revision: Revision, written: Written, changes: ChangeSet) -> Record:
    return Record(
        revision=revision,
        n=0,
        entity=written.entity,
        key=written.key,
        operation=changes.operation,
        label=written.label,
        error=written.error,
        cause=written.cause,
        changes=changes,
    )
