"""Who looked: every export is itself recorded, and told to a logger."""

from __future__ import annotations

import logging
from typing import Any

from audit_ui.site import Site
from lifecycle.audit.records import Record, Revision
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation
from lifecycle.uuids import uuid7

__all__ = ["EXPORT", "actor_of", "note_export"]

EXPORT = "audit_ui.Export"
"""The entity under which exports are recorded."""

_log = logging.getLogger("audit_ui.access")


def actor_of(user: Any) -> str | None:
    """The id of a host's user, as its framework tells it; ``None`` for nobody."""
    if user is None or getattr(user, "is_authenticated", True) is False:
        return None
    if isinstance(user, str):
        return user
    for name in ("username", "id", "pk", "email"):
        found = getattr(user, name, None)
        if isinstance(found, str | int):
            return str(found)
    return str(user)


def note_export(site: Site, user: Any, form: str, line: str) -> None:
    """Record an export before it begins. Raises ``StoreError`` when that cannot be done."""
    actor = actor_of(user)
    _log.info("%s exports the history as %s: %s", actor, form, line or "everything")
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
