"""A record as JSON, its changes in the form the log holds them."""

from __future__ import annotations

import json
from typing import Any

from lifecycle.audit.format import dump
from lifecycle.audit.records import Record, Revision
from lifecycle.changes import ChangeSet
from lifecycle.errors import EncodingError

__all__ = ["plain", "plain_changes", "plain_revision", "raw_json"]


def raw_json(record: Record) -> str:
    """The whole record, for reading and for copying."""
    return json.dumps(plain(record), indent=2, ensure_ascii=False)


def plain(record: Record) -> dict[str, Any]:
    """A record as JSON holds it."""
    return {
        "id": record.id,
        "entity": record.entity,
        "key": record.key,
        "former_key": record.former_key,
        "label": record.label,
        "error": record.error,
        "operation": str(record.operation),
        "cause": record.cause,
        "format": record.format,
        "changes": plain_changes(record.changes),
        "revision": plain_revision(record.revision),
    }


def plain_revision(revision: Revision) -> dict[str, Any]:
    """A revision as JSON holds it."""
    return {
        "id": str(revision.id),
        "seq": revision.seq,
        "at": revision.at.isoformat(),
        "actor": revision.actor,
        "actor_label": revision.actor_label,
        "reason": revision.reason,
        "source": revision.source,
        "request_id": revision.request_id,
        "context": dict(revision.context),
        "origin": revision.origin,
        "group": str(revision.group) if revision.group else None,
    }


def plain_changes(changes: ChangeSet) -> Any:
    """A changeset in the form the log holds it."""
    try:
        return json.loads(dump(changes))
    except EncodingError:  # a store in memory holds values that no log could
        return str(changes)
