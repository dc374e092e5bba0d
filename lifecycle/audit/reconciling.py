"""Settling the intents that a crash has left: by the log where it tells, else by the object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TypeAlias
from uuid import UUID

from lifecycle.audit.intents import Intent, IntentStore
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import AuditStore, Query
from lifecycle.changes import Change, Operation, same
from lifecycle.errors import ConfigurationError
from lifecycle.markers import MASKED, UNKNOWN
from lifecycle.verdicts import Answer, Verdict

__all__ = ["Look", "Settled", "reconciled"]


Look: TypeAlias = Callable[[str], Verdict]
"""The verdict for a trace, from looking at its object."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the intents of one revision.

    ``id`` is the revision's. ``why`` says why the answer is unclear.
    """

    id: UUID
    answer: Answer
    records: tuple[Record, ...]
    revision: Revision
    why: str | None = None


def reconciled(
    store: AuditStore,
    look: Look,
    *,
    older_than: timedelta = timedelta(minutes=1),
    dry_run: bool = False,
) -> Iterator[Settled]:
    """Settle every intent, oldest first, and tell what became of it.

    Intents of the last ``older_than`` may be of writes under way, and stay. With ``dry_run`` all
    stay. Any number of processes may do this at once, while others write: what one has settled is
    settled for all. Raises ``ConfigurationError`` for a store that keeps no intents.
    """
    if not isinstance(store, IntentStore):
        raise ConfigurationError(f"{store!r} keeps no intents, so there is nothing to reconcile")
    intents = list(store.intents())
    youngest = datetime.now(UTC) - older_than
    for revision, grouped in groupby(intents, key=lambda intent: intent.revision):
        group = list(grouped)
        records = tuple(record for intent in group for record in intent.records)
        verdict = _verdict(store, look, revision, group, intents, youngest)
        if not dry_run:
            ids = [intent.id for intent in group]
            if verdict.answer is Answer.HAPPENED:
                store.confirm(revision, records, ids)
            elif verdict.answer in (Answer.DID_NOT, Answer.RECORDED):
                store.withdraw(ids)
        yield Settled(revision.id, verdict.answer, records, revision, verdict.why)


def _verdict(
    store: AuditStore,
    look: Look,
    revision: Revision,
    group: Sequence[Intent],
    intents: Sequence[Intent],
    youngest: datetime,
) -> Verdict:
    if store.revision(revision.id) is not None:
        return Verdict(Answer.RECORDED)
    if revision.at > youngest:
        return Verdict(Answer.PENDING)
    verdicts = [
        _told(record, _later(store, record, intents), look, trace)
        for intent in group
        for record, trace in zip(intent.records, intent.traces, strict=True)
    ]
    answers = {verdict.answer for verdict in verdicts}
    if len(answers) == 1:
        return verdicts[0]
    unclear = next((one for one in verdicts if one.answer is Answer.UNCLEAR), None)
    return unclear or Verdict.unclear("some of its changes were made, and others were not")


def _later(store: AuditStore, record: Record, intents: Sequence[Intent]) -> list[Record]:
    """What else was done, or was to be done, to the same object since."""
    since = record.revision.at
    others = list(store.scan(Query(entity=record.entity, key=record.key, since=since)))
    others += [
        other
        for intent in intents
        if intent.revision.id != record.revision.id
        for other in intent.records
        if (other.entity, other.key) == (record.entity, record.key) and other.at >= since
    ]
    return sorted(others, key=lambda one: one.at)


def _told(record: Record, later: Sequence[Record], look: Look, trace: str) -> Verdict:
    """By what the first of these found there; by the object when they do not tell.

    Or when the object is as this change was to leave it, and none of them has left it so.
    """
    answers = (_found(record, other) for other in later)
    found = next((answer for answer in answers if answer is not None), None)
    if found:
        return Verdict.happened()
    seen = look(trace)
    if found is None:
        return seen
    explained = any(_does_the_same(record, other) for other in later)
    return seen if seen.answer is Answer.HAPPENED and not explained else Verdict.did_not()


def _does_the_same(record: Record, other: Record) -> bool:
    if record.operation is not Operation.UPDATE:
        return record.operation is other.operation
    return any(
        isinstance(change, Change)
        and isinstance(then := other.changes.get(path), Change)
        and same(then.new, change.new)
        for path, change in record.changes.items()
    )


def _found(record: Record, later: Record) -> bool | None:
    """Whether a later change found the object as this one was to leave it."""
    if record.operation is Operation.INSERT or later.operation is Operation.INSERT:
        was_there = record.operation is not Operation.DELETE
        if record.operation is Operation.UPDATE:
            return None  # somebody has removed it in between
        return was_there is (later.operation is not Operation.INSERT)
    if record.operation is Operation.DELETE:
        return False
    for path, change in record.changes.items():
        then = later.changes.get(path)
        if not isinstance(change, Change) or not isinstance(then, Change):
            continue
        if MASKED in (change.old, then.old) or UNKNOWN in (change.old, change.new, then.old):
            continue
        if same(then.old, change.new):
            return True
        if same(then.old, change.old):
            return False
    return None
