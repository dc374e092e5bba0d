"""A revision: everything one transaction recorded, in the order it was written."""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.places import Cursor, place_text, read_uuid
from audit_ui.raw import plain, plain_revision
from audit_ui.reading import oldest_first
from audit_ui.site import Site
from lifecycle.audit.store import Query

__all__ = ["revision_page"]

LIMIT = 100


def revision_page(site: Site, request: Request, revision: str) -> Response:
    """The records of one revision, a hundred a page, with its context and counts per entity."""
    id = read_uuid(revision)
    cursor = Cursor.of(request.query_params)
    slice = oldest_first(site.store, Query(revision=id), cursor, LIMIT)
    found = slice.records[0].revision if slice.records else site.store.revision(id)
    if found is None:
        raise Mistake(
            404,
            "This revision is not in the store",
            f"No revision has the id {id}. It may have been pruned, "
            "or the address belongs to another store.",
        )
    return site.render(
        request,
        "revision.html",
        json=lambda: {
            "revision": plain_revision(found),
            "records": [plain(record) for record in slice.records],
            "newer_than": place_text(slice.newer),
        },
        revision=found,
        records=slice.records,
        counts=Counter((record.entity, record.operation) for record in slice.records),
        more=slice.newer,
        paged=bool(cursor),
    )
