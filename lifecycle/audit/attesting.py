"""That the log was verified, and what was found, as a record of the log itself.

The next seal covers it like any other record.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lifecycle.audit.findings import VERIFICATION, Verdict
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import AuditStore
from lifecycle.changes import ChangeSet, Operation
from lifecycle.context import current
from lifecycle.deltas import Change
from lifecycle.markers import ABSENT
from lifecycle.uuids import uuid7

__all__ = ["VERIFICATION", "attest"]


def attest(store: AuditStore, verdict: Verdict) -> Record:
    """Record a verdict, by whoever acts. Raises what the store raises.

    It says what was found then, by whoever could write to the log; proof is to verify again.
    """
    context = current()
    id = uuid7()
    told: dict[str, Any] = {
        "intact": verdict.intact,
        "found": verdict.found,
        "seals": verdict.seals,
        "revisions": verdict.revisions,
        "records": verdict.records,
        "checkpoint": None if verdict.checkpoint is None else verdict.checkpoint.text(),
    }
    changes = {name: Change(ABSENT, value) for name, value in told.items()}
    revision = Revision(
        id=id,
        at=datetime.now(UTC),
        actor=context.actor,
        actor_label=context.actor_label,
        reason=context.reason,
        source=context.source,
        request_id=context.request_id,
        group=context.group,
    )
    record = Record(
        revision=revision,
        n=0,
        entity=VERIFICATION,
        key=str(id),
        operation=Operation.INSERT,
        changes=ChangeSet(changes, Operation.INSERT),
        label="intact" if verdict.intact else f"{verdict.found} found",
    )
    store.append(revision, [record])
    return record
