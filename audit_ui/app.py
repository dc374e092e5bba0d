"""What a host mounts: the pages of one history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.types import ASGIApp

from audit_ui.access import Access, Gate, UserOf
from audit_ui.errors import Mistake
from audit_ui.failures import Failures
from audit_ui.filters import Filters
from audit_ui.headers import StrictHeaders
from audit_ui.languages import Spoken
from audit_ui.mount import BelowMount
from audit_ui.origins import checked_origins
from audit_ui.reader import actor_of
from audit_ui.referring import MOST, Models
from audit_ui.restoring import Restorer
from audit_ui.routes import Pages
from audit_ui.search import parse
from audit_ui.site import Site
from audit_ui.witness import Viewings
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
    record_views: bool = False,
    views: Mapping[str, str] | None = None,
    patience: float = 5.0,
    field_rights: bool = False,
    restore: bool = True,
    require_reason: bool = False,
    actor: Callable[[Any], str | None] = actor_of,
    trusted_origins: Collection[str] = (),
    user: UserOf | None = None,
    locale: str | None = None,
) -> ASGIApp:
    """The history pages of a Lifecycle or an audit store, as an ASGI application to mount.

    ``access(user, action, subject)`` is asked before anything is read and returns True or False;
    ``user`` is the host's ``scope["user"]``, or None where the host has none, or what the function
    ``user(scope)`` returns where the host keeps its user elsewhere (under ``a2wsgi`` the scope has
    the request's ``wsgi_environ``; docs/mounting.md shows it for each framework), ``action`` is
    ``"view"``, ``"export"`` or ``"restore"``, ``subject`` a `Subject`. It may be async; a plain
    function runs in a worker thread.
    ``local_only`` answers requests from this machine to this machine alone, and may stand in for
    ``access``: then everyone on it may do everything. ``frame_ancestors`` lists, separated by
    spaces, who may show the pages in a frame.
    An export is recorded in the store before it begins, and refused when it cannot be;
    ``record_exports=False`` is for a store that can only be read: only the logger
    ``audit_ui.access`` is told. ``views`` are searches with a name, shown above the feed, as
    ``{"Deleted today": "operation:delete since:24h"}``; readers keep views of their own beside
    them, in a cookie, if access lets them see the page ``"views"``. ``patience`` is how many
    seconds a page may keep the database busy with one question before that is stopped and the page
    says so.
    Every page that somebody is let in to see is told to the logger ``audit_ui.access``; with
    ``record_views`` it is also recorded, before it is shown: one page of one actor once an hour.
    With ``field_rights`` access is asked about each field too, ``action`` being ``"view_field"``
    and ``subject`` naming entity and field; values of the others are hidden on every page and in
    every export. Labels, keys and reasons are texts of their own, and stay.
    ``locale`` is the language of all pages; without it each reader gets the first of theirs, by
    ``Accept-Language``, that there is a catalogue of, else English.

    Of a Lifecycle the pages also put things back: who has the right to ``"restore"`` undoes
    changes and whole revisions, restores versions and brings back deleted objects, each after a
    preview to choose from. Access is asked for the page, and again about every object. It is done
    in a worker thread, in a session of a plain ``sessionmaker`` that is installed (an application
    with an async engine installs one of those beside). Whoever ``actor(user)`` names did it, by
    default the user's name or id; where that is ``None``, whoever an `acting` block of the host
    names, or nobody. ``restore=False`` switches it off, ``require_reason`` insists on a reason, and
    ``trusted_origins`` are addresses such as ``https://intranet.example`` under which a proxy shows
    the pages while it asks for them under another host.

    Raises ``ConfigurationError`` when nothing says who may look, when there is no store, for a
    view that is no search, for an origin that is none, and for a language that is not there.
    """
    gate = Gate(access, local_only, field_rights, user)
    store = _store_of(lifecycle)
    limited = store.within(patience) if isinstance(store, Limited) else store
    site = Site(
        limited,
        store,
        title,
        record_exports,
        getattr(lifecycle, "coverage", None),
        _read(views or {}),
        actor=actor,
        restorer=_restorer(lifecycle, limited, require_reason) if restore else None,
        trusted_origins=checked_origins(trusted_origins),
        ledger=getattr(limited, "ledger", None),
        models=_models(lifecycle),
        names_at_once=getattr(store, "glimpses_at_once", MOST),
    )
    app = Starlette(
        routes=Pages(site, gate, Viewings() if record_views else None).routes(),
        exception_handlers=Failures(site).handlers(),
    )
    app.router.redirect_slashes = False  # it answers with absolute addresses; BelowMount does not
    return StrictHeaders(Spoken(BelowMount(app), locale), frame_ancestors)


def _restorer(source: Any, store: AuditStore, needs_reason: bool) -> Restorer | None:
    """What puts things back; a store alone cannot."""
    if isinstance(source, AuditStore):
        return None
    verbs, models = getattr(source, "restore", None), getattr(source, "models", None)
    if verbs is None or models is None:
        return None
    return Restorer(
        verbs=verbs,
        store=store,
        entities=models.entities,
        needs_reason=needs_reason,
    )


def _models(source: Any) -> Models | None:
    """What knows where objects point to; a store alone does not."""
    models: Models | None = getattr(source, "models", None)
    return models


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
