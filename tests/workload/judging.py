"""The judge: whether the log, replayed from empty, is the tables, and every old value true."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from lifecycle.audit.records import Record
from lifecycle.changes import Change, ChangeSet, Delta, Operation, SetEdit, split_path
from lifecycle.errors import ConflictError
from lifecycle.markers import ABSENT, MASKED, UNKNOWN
from tests.workload.truth import Rows

__all__ = ["Complaint", "Verdict", "judge"]

MISMATCH: Final = "mismatch"
WRONG_OLD: Final = "wrong old value"
UNKNOWN_OLD: Final = "unknown old value"
ERROR: Final = "error"
KINDS: Final = (MISMATCH, WRONG_OLD, UNKNOWN_OLD, ERROR)


class Complaint(NamedTuple):
    """What is wrong, of which kind, and where."""

    kind: str
    entity: str
    key: str
    field: str
    text: str

    @property
    def signature(self) -> tuple[str, str, str]:
        """What complaints about the same fault have in common."""
        return self.kind, self.entity, self.field

    def __str__(self) -> str:
        where = " ".join(part for part in (self.entity, self.key) if part)
        return f"{self.kind}: {where}{'.' if self.field else ''}{self.field}: {self.text}"


@dataclass(slots=True)
class Verdict:
    """What the judge found in how many records."""

    records: int = 0
    complaints: list[Complaint] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """How many complaints there are of a kind."""
        return sum(1 for one in self.complaints if one.kind == kind)


def judge(records: Iterable[Record], truth: Rows, committed: set[str | None]) -> Verdict:
    """Replay all records, in their order, and compare with the tables.

    ``committed`` names the actors of the transactions that were committed: each has its own, so it
    shows when one of them has two revisions, or one that was rolled back has any.
    """
    verdict, replay = Verdict(), _Replay()
    revisions: dict[str | None, Any] = {}
    for record in records:
        verdict.records += 1
        replay.apply(record)
        actor, revision = record.actor, record.revision
        if actor not in committed:
            text = f"recorded for {actor}, which was not committed"
            replay.complain(MISMATCH, record, "", text)
        elif revisions.setdefault(actor, revision.id) != revision.id:
            replay.complain(MISMATCH, record, "", f"a second revision of {actor}")
    verdict.complaints = [*replay.complaints, *_differences(replay.states, truth)]
    return verdict


class _Replay:
    """The tables as the log tells them."""

    def __init__(self) -> None:
        self.states: Rows = {}
        self.complaints: list[Complaint] = []

    def complain(self, kind: str, record: Record, name: str, text: str) -> None:
        self.complaints.append(Complaint(kind, record.entity, record.key, name, text))

    def apply(self, record: Record) -> None:
        objects = self.states.setdefault(record.entity, {})
        before = objects.pop(record.former_key or record.key, None)
        is_insert = record.operation is Operation.INSERT
        if is_insert == (before is not None):
            what = "of what is there already" if is_insert else "of what is not there"
            self.complain(MISMATCH, record, "", f"{record.operation} {what}")
        elif record.operation is Operation.UPDATE and not record.changes:
            self.complain(MISMATCH, record, "", "an update of nothing")
        if record.key in objects:
            self.complain(MISMATCH, record, "", "moved to where another one is")
        if record.operation is Operation.DELETE:
            if before is not None:
                self._check_nothing_left(record, self._after(record, before))
        elif is_insert or before is not None:
            objects[record.key] = self._after(record, {} if is_insert else before or {})

    def _check_nothing_left(self, record: Record, after: dict[str, Any]) -> None:
        for name, value in sorted(after.items()):
            if value != frozenset():
                self.complain(MISMATCH, record, name, f"{value!r} outlives the delete")

    def _after(self, record: Record, before: dict[str, Any]) -> dict[str, Any]:
        parts: dict[str, Delta] = {}
        after = dict(before)
        for path, delta in record.changes.items():
            name, *inside = split_path(path)
            if isinstance(delta, SetEdit):
                after.setdefault(name, frozenset())  # a collection begins empty
            if inside or not isinstance(delta, Change):
                parts[path] = delta
            else:
                self._check_old(record, name, delta, before.get(name, ABSENT))
        edits = ChangeSet(parts, record.operation)
        for path, held in edits.conflicts_with(after).items():
            text = f"{edits[path]!r} at {path}, which held {held!r}"
            self.complain(WRONG_OLD, record, split_path(path)[0], text)
        try:
            return record.changes.applied_to(after)
        except ConflictError as error:
            self.complain(MISMATCH, record, "", f"its edits do not fit: {error}")
            return after

    def _check_old(self, record: Record, name: str, delta: Change, was: Any) -> None:
        if delta.old is UNKNOWN:
            self.complain(UNKNOWN_OLD, record, name, f"it was {was!r}")
        elif not alike(delta.old, was):
            self.complain(WRONG_OLD, record, name, f"{delta.old!r}, but it was {was!r}")
        elif alike(delta.old, delta.new) and delta.new is not MASKED:
            self.complain(MISMATCH, record, name, f"{delta.new!r} was no change")


def _differences(replayed: Rows, truth: Rows) -> Iterator[Complaint]:
    for entity in sorted(truth.keys() | replayed.keys()):
        logged, held = replayed.get(entity, {}), truth.get(entity, {})
        for key in sorted(logged.keys() | held.keys()):
            if key not in held:
                yield Complaint(MISMATCH, entity, key, "", "in the log, not in the table")
            elif key not in logged:
                yield Complaint(MISMATCH, entity, key, "", "in the table, not in the log")
            else:
                yield from _field_differences(entity, key, logged[key], held[key])


def _field_differences(
    entity: str, key: str, logged: dict[str, Any], held: dict[str, Any]
) -> Iterator[Complaint]:
    for name in sorted(logged.keys() | held.keys()):
        nothing = frozenset() if isinstance(held.get(name), frozenset) else ABSENT
        now, value = logged.get(name, nothing), held.get(name, ABSENT)
        if not alike(now, value):
            text = f"{now!r} in the log, {value!r} in the table"
            yield Complaint(MISMATCH, entity, key, name, text)


def alike(one: Any, other: Any) -> bool:
    """Whether two values are one to a database: of one type, and equal at every depth."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict | list):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return bool(one == other)
