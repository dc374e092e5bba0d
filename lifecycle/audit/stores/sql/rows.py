"""Revisions and records as rows of their tables, and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any, Final

from sqlalchemy import Row

from lifecycle import codec
from lifecycle.audit.format import dump, load
from lifecycle.audit.records import FORMAT, Line, Lines, Record, Revision
from lifecycle.audit.store import Asked, Glimpse
from lifecycle.changes import Operation
from lifecycle.errors import HistoryError

__all__ = ["change_columns", "glimpses_of", "records_of", "revision_of", "revision_row"]


def revision_row(revision: Revision) -> dict[str, Any]:
    return {
        "id": revision.id,
        "at": revision.at,
        "actor": revision.actor,
        "actor_label": revision.actor_label,
        "reason": revision.reason,
        "source": revision.source,
        "request_id": revision.request_id,
        "context": codec.dumps(dict(revision.context)),
        "origin": revision.origin,
        "group": revision.group,
    }


def change_columns(
    seq: int | None, records: Sequence[Record | Line | Lines]
) -> list[Sequence[Any]]:
    """The values of records in the columns of their table, each those of all records."""
    parts: list[Sequence[Sequence[Any]]] = []
    for are_many, some in groupby(records, lambda one: isinstance(one, Lines)):
        if are_many:
            parts += [_columns_of(seq, lines) for lines in some if isinstance(lines, Lines)]
        else:
            rows = [_row(seq, one) for one in some if not isinstance(one, Lines)]
            parts.append(list(zip(*rows, strict=True)))
    if len(parts) == 1:
        return [*parts[0]]
    return [[*chain.from_iterable(some)] for some in zip(*parts, strict=True)]


def _columns_of(seq: int | None, lines: Lines) -> list[Sequence[Any]]:
    count = len(lines)
    numbers = range(lines.n, lines.n + count)
    none, what = [None] * count, [[lines.entity] * count, lines.keys]
    verbs, formats = [lines.verb] * count, [FORMAT] * count
    return [[seq] * count, numbers, *what, none, verbs, none, none, none, lines.changes, formats]


def _row(seq: int | None, record: Record | Line) -> tuple[Any, ...]:
    if isinstance(record, Line):
        what = record.entity, record.key, None, record.verb
        return (seq, record.n, *what, None, None, None, record.changes, FORMAT)
    return (
        seq,
        record.n,
        record.entity,
        record.key,
        record.former_key,
        _OPERATIONS[record.operation],
        record.label,
        record.error,
        record.cause,
        dump(record.changes),
        record.format,
    )


_OPERATIONS: Final = {one: one.value for one in Operation}
"""Plain texts, as every driver takes them, without asking the enum for each."""


def revision_of(row: Row[Any]) -> Revision:
    return Revision(
        seq=row.seq,
        id=row.id,
        at=row.at,
        actor=row.actor,
        actor_label=row.actor_label,
        reason=row.reason,
        source=row.source,
        request_id=row.request_id,
        context=codec.loads(row.context),
        origin=row.origin,
        group=row.group,
    )


def glimpses_of(rows: Sequence[Row[Any]], asked: Sequence[Asked]) -> list[Glimpse | None]:
    """What was asked for, from rows that give each at most as often as it has arms."""
    found: list[Glimpse | None] = [None] * len(asked)
    for row in rows:
        operation = Operation(row.operation)
        one = Glimpse(row.id, row.seq, row.n, row.at, row.key, operation, row.label)
        other, newest_first = found[row.number], asked[row.number].newest_first
        if other is None or ((one.seq, one.n) > (other.seq, other.n)) is newest_first:
            found[row.number] = one
    return found


def records_of(rows: Sequence[Row[Any]]) -> tuple[Record, ...]:
    """The records of joined rows; the records of one revision share it."""
    revisions: dict[int, Revision] = {}
    records = []
    for row in rows:
        revision = revisions.get(row.seq) or revisions.setdefault(row.seq, revision_of(row))
        records.append(_record(revision, row))
    return tuple(records)


def _record(revision: Revision, row: Row[Any]) -> Record:
    operation = Operation(row.operation)
    try:
        changes = load(row.changes, operation, row.format)
    except HistoryError as error:
        raise HistoryError(
            f"record {revision.id}.{row.n} of {row.entity} {row.key} cannot be read: {error}"
        ) from error
    return Record(
        revision=revision,
        n=row.n,
        entity=row.entity,
        key=row.key,
        former_key=row.former_key,
        operation=operation,
        label=row.label,
        error=row.error,
        cause=row.cause,
        changes=changes,
        format=row.format,
    )
