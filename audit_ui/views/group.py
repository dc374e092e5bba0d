"""A group: all revisions that were written together, in whatever databases."""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.places import Cursor, place_text, read_uuid
from audit_ui.raw import plain
from audit_ui.reading import oldest_first
from audit_ui.site import Site
from audit_ui.views.feed import grouped
from lifecycle.audit.store import Query

__all__ = ["group_page"]

LIMIT = 100


def group_page(site: Site, request: Request, group: str) -> Response:
    """Everything of one group in the order it was written, a hundred changes a page."""
    id = read_uuid(group, "group")
    cursor = Cursor.of(request.query_params)
    slice = oldest_first(site.store, Query(group=id), cursor, LIMIT)
    if not slice.records and not cursor:
        raise Mistake(
            404,
            _("This group is not in the store"),
            _(
                "Nothing was written as %(id)s. It may have been pruned, or the address "
                "belongs to another store.",
                id=id,
            ),
        )
    return site.render(
        request,
        "group.html",
        json=lambda: {
            "group": str(id),
            "records": [plain(record) for record in slice.records],
            "newer_than": place_text(slice.newer),
        },
        group=id,
        groups=grouped(slice.records),
        counts=Counter((record.entity, record.operation) for record in slice.records),
        more=slice.newer,
        paged=bool(cursor),
        names=site.names(site.brief_targets(request, slice.records)),
        may_undo=site.may_undo_any(request, slice.records),
    )
