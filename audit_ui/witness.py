"""Who looked: every page is told to a logger, every export recorded, and every view if wanted."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from audit_ui.access import Subject
from audit_ui.reader import actor_of
from audit_ui.site import Site
from lifecycle.audit.records import Record, Revision
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation
from lifecycle.uuids import uuid7

__all__ = ["EXPORT", "SOURCE", "VIEW", "Viewings", "note_export", "note_view"]

EXPORT = "audit_ui.Export"
"""The entity under which exports are recorded."""

VIEW = "audit_ui.View"
"""The entity under which views are recorded, where they are."""

_AGAIN = timedelta(hours=1)
_REMEMBERED = 10_000  # views

SOURCE = "history pages"
"""Where what is done on the pages comes from, as its revisions say."""

_log = logging.getLogger("audit_ui.access")


def note_view(user: Any, action: str, subject: Subject) -> None:
    """Tell the logger ``audit_ui.access`` what somebody was let in to see."""
    if _log.isEnabledFor(logging.INFO):
        _log.info("%r: %s %s", actor_of(user), action, subject)


class Viewings:
    """Records who viewed what: the same page by the same actor once an hour."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._seen: Final[OrderedDict[tuple[str | None, Subject], datetime]] = OrderedDict()

    def note(self, site: Site, user: Any, subject: Subject) -> None:
        """Record it before it is shown. Raises ``StoreError`` when that cannot be done."""
        now, viewing = site.now(), (site.actor(user), subject)
        with self._lock:
            seen = self._seen.get(viewing)
        if seen is not None and now - seen < _AGAIN:
            return
        named = {name: text for name, text in asdict(subject).items() if text is not None}
        _record(site, user, VIEW, named, f"view of {subject.page}")
        with self._lock:
            self._seen[viewing] = now
            self._seen.move_to_end(viewing)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)


def note_export(site: Site, user: Any, form: str, line: str) -> None:
    """Record an export before it begins. Raises ``StoreError`` when that cannot be done."""
    _log.info("%r exports the history as %s: %r", site.actor(user), form, line or "everything")
    if site.record_exports:
        _record(site, user, EXPORT, {"form": form, "filters": line}, f"export as {form}")


def _record(site: Site, user: Any, entity: str, told: Mapping[str, str], label: str) -> None:
    id = uuid7()
    changes = {name: Change(ABSENT, text) for name, text in told.items()}
    revision = Revision(id=id, at=site.now(), actor=site.actor(user), source=SOURCE)
    record = Record(
        revision=revision,
        n=0,
        entity=entity,
        key=str(id),
        operation=Operation.INSERT,
        changes=ChangeSet(changes, Operation.INSERT),
        label=label,
    )
    site.store.append(revision, [record])
