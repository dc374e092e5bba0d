"""Times in the log: what was there right after a moment, a revision or a record."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from lifecycle.audit.records import Position, Record, Revision
from lifecycle.audit.store import AuditStore
from lifecycle.errors import HistoryError, UnknownRevision

__all__ = ["When", "position_at", "revision_id", "revision_of"]

When: TypeAlias = datetime | Revision | Record | UUID | str
"""A time in the log: an aware datetime, a revision, its id, or one record of it."""

_LAST: Final = sys.maxsize
_BEFORE_ALL: Final = Position(-1, 0)


def position_at(store: AuditStore, when: When) -> Position:
    """The last position that counts; one before all when the log had not begun.

    Raises as `History.as_of` does.
    """
    if isinstance(when, Record):
        return when.position
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            raise ValueError(f"{when!r} has no time zone; give an aware datetime")
        revision = store.revision_at(when)
        return _BEFORE_ALL if revision is None else _end_of(revision)
    if isinstance(when, Revision) and when.seq is not None:
        return _end_of(when)
    if isinstance(when, Revision | UUID | str):
        return _end_of(revision_of(store, revision_id(when)))
    raise TypeError(
        f"{when!r} is no time in the log: give an aware datetime, a revision or its id, or a record"
    )


def revision_of(store: AuditStore, id: UUID | str) -> Revision:
    """The revision of an id. Raises ``UnknownRevision`` when there is none such."""
    found = store.revision(revision_id(id))
    if found is None:
        raise UnknownRevision(f"the audit store has no revision {id}")
    return found


def _end_of(revision: Revision) -> Position:
    if revision.seq is None:
        raise HistoryError(f"revision {revision.id} has not been stored yet")
    return Position(revision.seq, _LAST)


def revision_id(id: UUID | str | Revision) -> UUID:
    """The id that is meant. Raises ``UnknownRevision`` for what cannot be one."""
    if isinstance(id, Revision):
        return id.id
    if isinstance(id, UUID):
        return id
    try:
        return UUID(id)
    except (AttributeError, TypeError, ValueError):
        raise UnknownRevision(
            f"{id!r} is no revision id: give a UUID or its text, or an aware datetime for a time"
        ) from None
