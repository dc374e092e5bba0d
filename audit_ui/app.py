"""What a host mounts: the pages of one history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from starlette.applications import Starlette
from starlette.types import ASGIApp

from audit_ui.access import Access, Gate
from audit_ui.errors import Mistake
from audit_ui.failures import Failures
from audit_ui.filters import Filters
from audit_ui.headers import StrictHeaders
from audit_ui.mount import BelowMount
from audit_ui.routes import Pages
from audit_ui.search import parse
from audit_ui.site import Site
from lifecycle.audit.store import AuditStore, Limited
from lifecycle.errors import ConfigurationError

__all__ = ["HasStore", "create_app"]


class HasStore(Protocol):
    """What owns a store, as a Lifecycle does."""

    @property
    def store(self) -> AuditStore:
        """Where the revisions live."""
        ...


def create_app(
    lifecycle: HasStore | AuditStore,
    *,
    access: Access | None = None,
    local_only: bool = False,
    title: str = "History",
    frame_ancestors: str = "'none'",
    record_exports: bool = True,
    views: Mapping[str, str] | None = None,
    patience: float = 5.0,
    field_rights: bool = False,
) -> ASGIApp:
    """The history pages of a Lifecycle or an audit store, as an ASGI application to mount.

    ``access(user, action, subject)`` is asked before anything is read and returns True or False;
    ``user`` is the host's ``scope["user"]``, or None where the host has none, ``action`` is
    ``"view"`` or ``"export"``, ``subject`` a `Subject`. It may be async; a plain function runs in a
    worker thread.
    ``local_only`` answers requests from this machine to this machine alone, and may stand in for
    ``access``. ``frame_ancestors`` lists, separated by spaces, who may show the pages in a frame.
    An export is recorded in the store before it begins, and refused when it cannot be;
    ``record_exports=False`` is for a store that can only be read: only the logger
    ``audit_ui.access`` is told. ``views`` are searches with a name, shown above the feed, as
    ``{"Deleted today": "operation:delete since:24h"}``. ``patience`` is how many seconds a page may
    keep the database busy with one question before that is stopped and the page says so.
    Every page that somebody is let in to see is told to the logger ``audit_ui.access``.
    With ``field_rights`` access is asked about each field too, ``action`` being ``"view_field"``
    and ``subject`` naming entity and field; values of the others are hidden on every page and in
    every export. Labels, keys and reasons are texts of their own, and stay.

    Raises ``ConfigurationError`` when nothing says who may look, when there is no store, and for a
    view that is no search.
    """
    gate = Gate(access, local_only, field_rights)
    store = _store_of(lifecycle)
    site = Site(
        store.within(patience) if isinstance(store, Limited) else store,
        store,
        title,
        record_exports,
        getattr(lifecycle, "coverage", None),
        _read(views or {}),
    )
    app = Starlette(routes=Pages(site, gate).routes(), exception_handlers=Failures(site).handlers())
    app.router.redirect_slashes = False  # it answers with absolute addresses; BelowMount does not
    return StrictHeaders(BelowMount(app), frame_ancestors)


def _read(views: Mapping[str, str]) -> dict[str, Filters]:
    read = {}
    for name, line in views.items():
        try:
            filters = parse(line)
            filters.query(datetime.now(UTC))
            filters.sieve()
        except Mistake as error:
            raise ConfigurationError(f"the view {name!r} is no search: {error}") from error
        read[name] = filters
    return read


def _store_of(source: HasStore | AuditStore) -> AuditStore:
    store = source if isinstance(source, AuditStore) else getattr(source, "store", None)
    if not isinstance(store, AuditStore):
        raise ConfigurationError(
            f"create_app was given {source!r}, which is no audit store and has none; "
            "pass a Lifecycle or an AuditStore"
        )
    return store
