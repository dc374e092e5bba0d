"""An actor: what one person or program did lately."""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.places import Cursor, place_text
from audit_ui.raw import plain
from audit_ui.reading import newest_first
from audit_ui.site import Site
from audit_ui.views.feed import grouped
from lifecycle.audit.store import Query

__all__ = ["actor_page"]

LIMIT = 50


def actor_page(site: Site, request: Request, actor: str) -> Response:
    """The actor's newest records, fifty a page, and what those add up to."""
    cursor = Cursor.of(request.query_params)
    slice = newest_first(site.store, Query(actor=actor), cursor, LIMIT)
    if not slice.records and not cursor:
        raise Mistake(
            404,
            _("Nothing is recorded of an actor %(actor)s", actor=repr(actor)),
            _("Check how the id is written; labels, such as a full name, are no ids."),
        )
    return site.render(
        request,
        "actor.html",
        json=lambda: {
            "actor": actor,
            "records": [plain(record) for record in slice.records],
            "newer_than": place_text(slice.newer),
            "older_than": place_text(slice.older),
        },
        actor=actor,
        groups=grouped(slice.records),
        slice=slice,
        counts=Counter((record.entity, record.operation) for record in slice.records),
        paged=bool(cursor),
        names=site.names(site.brief_targets(request, slice.records)),
    )
