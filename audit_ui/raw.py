"""A record as JSON, its changes in the form the log holds them."""

from __future__ import annotations

import json
from typing import Any

from lifecycle.audit.format import dump
from lifecycle.audit.records import Record
from lifecycle.changes import ChangeSet
from lifecycle.errors import EncodingError

__all__ = ["raw_json"]


def raw_json(record: Record) -> str:
    """The whole record, for reading and for copying."""
    revision = record.revision
    return json.dumps(
        {
            "id": record.id,
            "entity": record.entity,
            "key": record.key,
            "former_key": record.former_key,
            "label": record.label,
            "error": record.error,
            "operation": str(record.operation),
            "cause": record.cause,
            "format": record.format,
            "changes": _changes(record.changes),
            "revision": {
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
            },
        },
        indent=2,
        ensure_ascii=False,
    )


def _changes(changes: ChangeSet) -> Any:
    try:
        return json.loads(dump(changes))
    except EncodingError:  # a store in memory holds values that no log could
        return str(changes)
