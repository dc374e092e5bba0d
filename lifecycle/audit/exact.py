"""Revisions and records as rows of plain values, as `lifecycle.audit.leaves` has them, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from lifecycle import codec
from lifecycle.audit.format import dump, load
from lifecycle.audit.leaves import Row
from lifecycle.audit.records import Record, Revision
from lifecycle.changes import Operation

__all__ = ["record_of", "record_row", "revision_of", "revision_row"]


def revision_row(revision: Revision) -> Row:
    """A stored revision as a row."""
    return (
        revision.seq,
        revision.id.hex,
        revision.at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds"),
        revision.actor,
        revision.actor_label,
        revision.reason,
        revision.source,
        revision.request_id,
        codec.dumps(dict(revision.context)),
        revision.origin,
        None if revision.group is None else revision.group.hex,
        None,
    )


def revision_of(row: Row) -> Revision:
    """The revision of a row."""
    seq, id, at, actor, actor_label, reason, source, request_id, context, origin, group, _ = row
    return Revision(
        seq=seq,
        id=UUID(id),
        at=datetime.fromisoformat(at).replace(tzinfo=UTC),
        actor=actor,
        actor_label=actor_label,
        reason=reason,
        source=source,
        request_id=request_id,
        context=codec.loads(context),
        origin=origin,
        group=None if group is None else UUID(group),
    )


def record_row(record: Record) -> Row:
    """A stored record as a row."""
    return (
        record.revision.seq,
        record.n,
        record.entity,
        record.key,
        record.former_key,
        record.operation.value,
        record.label,
        record.error,
        record.cause,
        dump(record.changes),
        record.format,
    )


def record_of(row: Row, revision: Revision) -> Record:
    """The record of a row."""
    _, n, entity, key, former_key, operation, label, error, cause, changes, format = row
    return Record(
        revision=revision,
        n=n,
        entity=entity,
        key=key,
        former_key=former_key,
        operation=Operation(operation),
        label=label,
        error=error,
        cause=cause,
        changes=load(changes, Operation(operation), format),
        format=format,
    )
