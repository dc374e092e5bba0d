"""Settling the intents that a crash has left: by the log where it tells, else by the object.

Where neither tells, by somebody's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TypeAlias
from uuid import UUID

from lifecycle.audit.deciding import decision
from lifecycle.audit.intents import Intent, IntentStore
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import AuditStore, Query
from lifecycle.changes import Change, Operation, same
from lifecycle.errors import ConfigurationError, UnknownRevision
from lifecycle.markers import is_hidden
from lifecycle.verdicts import Answer, Verdict

__all__ = ["Look", "Settled", "reconciled"]


Look: TypeAlias = Callable[[str], Verdict]
"""The verdict for a trace, from looking at its object."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the intents of one revision.

    ``id`` is the revision's. ``why`` says why the answer is unclear, and ``decided`` of how many
    of the records it is somebody's word, for it would have been.
    """

    id: UUID
    answer: Answer
    records: tuple[Record, ...]
    revision: Revision
    why: str | None = None
    decided: int = 0


def reconciled(
    store: AuditStore,
    look: Look,
    *,
    older_than: timedelta = timedelta(minutes=1),
    dry_run: bool = False,
    said: Mapping[UUID, bool] | None = None,
) -> Iterator[Settled]:
    """Settle every intent, oldest first, and tell what became of it.

    Intents of the last ``older_than`` may be of writes under way, and stay. With ``dry_run`` all
    stay. Any number of processes may do this at once, while others write: what one has settled is
    settled for all.

    ``said`` has, by the ids of revisions, whether what cannot be told of them was made, for
    somebody knows; who acts is recorded as having said so. Where it can be told, it is not asked.

    Raises ``ConfigurationError`` for a store that keeps no intents, and ``UnknownRevision``, with
    nothing settled, when something is said of a revision that has none.
    """
    if not isinstance(store, IntentStore):
        raise ConfigurationError(f"{store!r} keeps no intents, so there is nothing to reconcile")
    intents, said = list(store.intents()), said or {}
    _refuse_unknown(said, intents)
    others = _by_object(intents)
    youngest = datetime.now(UTC) - older_than
    for revision, grouped in groupby(intents, key=lambda intent: intent.revision):
        group = list(grouped)
        records = tuple(record for intent in group for record in intent.records)
        found = _looked_at(store, look, revision, group, others, youngest)
        word = said.get(revision.id)
        decided = () if word is None else found.open
        if decided:
            found = found.decided(bool(word))
        verdict = found.verdict
        made = found.made if verdict.answer is Answer.HAPPENED else ()
        if not dry_run:
            if decided:
                store.append(*decision(decided, made=bool(word)))
            ids = [intent.id for intent in group]
            if verdict.answer is Answer.HAPPENED:
                store.confirm(revision, made, ids)
            elif verdict.answer in (Answer.DID_NOT, Answer.RECORDED):
                store.withdraw(ids)
        there, by_word = ({record.n for record in some} for some in (made, decided))
        left = tuple(record for record in records if made and record.n not in there)
        for answer, some in ((verdict.answer, made or records), (Answer.DID_NOT, left)):
            if some:
                count = sum(record.n in by_word for record in some)
                yield Settled(revision.id, answer, some, revision, verdict.why, count)


def _refuse_unknown(said: Mapping[UUID, bool], intents: Sequence[Intent]) -> None:
    unknown = said.keys() - {intent.revision.id for intent in intents}
    if unknown:
        raise UnknownRevision(
            f"no change of revision {', '.join(sorted(map(str, unknown)))} is waiting to be "
            "settled: `lifecycle reconcile --dry-run` names those that are"
        )


def _by_object(intents: Sequence[Intent]) -> Mapping[tuple[str, str], list[Record]]:
    found: dict[tuple[str, str], list[Record]] = {}
    for intent in intents:
        for record in intent.records:
            found.setdefault((record.entity, record.key), []).append(record)
    return found


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of the changes of one revision: which were made, and which may have been."""

    verdict: Verdict
    made: tuple[Record, ...] = ()
    open: tuple[Record, ...] = ()

    def decided(self, word: bool) -> _Found:
        """The same with somebody's word about those that may have been."""
        made = sorted((*self.made, *self.open), key=lambda one: one.n) if word else self.made
        return _told_of(tuple(made))


def _told_of(made: tuple[Record, ...]) -> _Found:
    return _Found(Verdict.happened(), made) if made else _Found(Verdict.did_not())


def _looked_at(
    store: AuditStore,
    look: Look,
    revision: Revision,
    group: Sequence[Intent],
    others: Mapping[tuple[str, str], list[Record]],
    youngest: datetime,
) -> _Found:
    """Look which changes were made.

    An intent of several changes is of a bulk write, which may have got through some of them.
    Several intents are of one transaction, which makes all or none.
    """
    if store.revision(revision.id) is not None:
        return _Found(Verdict(Answer.RECORDED))
    if revision.at > youngest:
        return _Found(Verdict(Answer.PENDING))
    verdicts = [
        (record, _told(record, _later(store, record, others), look, trace))
        for intent in group
        for record, trace in zip(intent.records, intent.traces, strict=True)
    ]
    made = tuple(record for record, one in verdicts if one.answer is Answer.HAPPENED)
    unclear = [(record, one) for record, one in verdicts if one.answer is Answer.UNCLEAR]
    if len(group) > 1 and (unclear or 0 < len(made) < len(verdicts)):
        some = Verdict.unclear("some of its changes were made, and others were not")
        verdict = unclear[0][1] if unclear else some
        return _Found(verdict, open=tuple(record for record, _ in verdicts))
    if unclear:
        return _Found(unclear[0][1], made, tuple(record for record, _ in unclear))
    return _told_of(made)


def _later(
    store: AuditStore, record: Record, others: Mapping[tuple[str, str], list[Record]]
) -> list[Record]:
    """What else was done, or was to be done, to the same object since."""
    since = record.revision.at
    found = list(store.scan(Query(entity=record.entity, key=record.key, since=since)))
    found += [
        other
        for other in others.get((record.entity, record.key), ())
        if other.revision.id != record.revision.id and other.at >= since
    ]
    return sorted(found, key=lambda one: one.at)


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
        if any(map(is_hidden, (change.old, change.new, then.old))):
            continue
        if same(then.old, change.new):
            return True
        if same(then.old, change.old):
            return False
    return None
