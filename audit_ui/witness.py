"""Who looked: every page is told to a logger, and every export is itself recorded."""

from __future__ import annotations

import logging
from typing import Any

from audit_ui.access import Subject
from audit_ui.site import Site
from lifecycle.audit.records import Record, Revision
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation
from lifecycle.uuids import uuid7

__all__ = ["EXPORT", "actor_of", "note_export", "note_view"]

EXPORT = "audit_ui.Export"
"""The entity under which exports are recorded."""

_LONGEST = 255  # characters a store keeps of an actor

_log = logging.getLogger("audit_ui.access")


def actor_of(user: Any) -> str | None:
    """The id of a host's user, as its framework tells it; ``None`` for nobody."""
    if user is None or getattr(user, "is_authenticated", True) is False:
        return None
    if isinstance(user, str):
        return user[:_LONGEST]
    for name in ("username", "id", "pk", "email"):
        found = getattr(user, name, None)
        if isinstance(found, str | int):
            return str(found)[:_LONGEST]
    return str(user)[:_LONGEST]


def note_view(user: Any, action: str, subject: Subject) -> None:
    """Tell the logger ``audit_ui.access`` what somebody was let in to see."""
    if _log.isEnabledFor(logging.INFO):
        _log.info("%r: %s %s", actor_of(user), action, subject)


def note_export(site: Site, user: Any, form: str, line: str) -> None:
    """Record an export before it begins. Raises ``StoreError`` when that cannot be done."""
    actor = actor_of(user)
    _log.info("%r exports the history as %s: %r", actor, form, line or "everything")
    if not site.record_exports:
        return
    id = uuid7()
    changes = {"form": Change(ABSENT, form), "filters": Change(ABSENT, line)}
    revision = Revision(id=id, at=site.now(), actor=actor, source="history pages")
    record = Record(
        revision=revision,
        n=0,
        entity=EXPORT,
        key=str(id),
        operation=Operation.INSERT,
        changes=ChangeSet(changes, Operation.INSERT),
        label=f"export as {form}",
    )
    site.store.append(revision, [record])
