"""What somebody says of a write that was announced, where nobody can tell whether it was made.

It is a record of the log itself, by whoever acts, and the next seal covers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lifecycle.audit.records import Record, Revision
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation
from lifecycle.context import current
from lifecycle.uuids import uuid7

__all__ = ["DECISION", "decision"]

DECISION: Final = "lifecycle.Decision"
"""The entity under which decisions are recorded, each by the id of the record it is about."""


def decision(about: Sequence[Record], *, made: bool) -> tuple[Revision, list[Record]]:
    """A revision, to be stored, that tells who says of which changes whether they were made."""
    context = current()
    revision = Revision(
        id=uuid7(),
        at=datetime.now(UTC),
        actor=context.actor,
        actor_label=context.actor_label,
        reason=context.reason,
        source=context.source,
        request_id=context.request_id,
        group=about[0].revision.group,
    )
    return revision, [_record(revision, n, one, made) for n, one in enumerate(about)]


def _record(revision: Revision, n: int, about: Record, made: bool) -> Record:
    told: dict[str, Any] = {
        "made": made,
        "operation": about.operation.value,
        "entity": about.entity,
        "key": about.key,
        "announced_at": about.at,
        "announced_by": about.actor,
    }
    changes = {name: Change(ABSENT, value) for name, value in told.items()}
    return Record(
        revision=revision,
        n=n,
        entity=DECISION,
        key=about.id,
        operation=Operation.INSERT,
        changes=ChangeSet(changes, Operation.INSERT),
        label=f"{about.operation} of {about.entity} {'was' if made else 'was not'} made",
    )
