"""A revision: everything one transaction recorded, in the order it was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.places import Cursor, place_text, read_uuid
from audit_ui.raw import plain, plain_revision
from audit_ui.reading import oldest_first
from audit_ui.restoring import reverted
from audit_ui.site import Site
from audit_ui.views.feed import Group, grouped
from lifecycle.audit.netting import netted
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import Query
from lifecycle.errors import HistoryError

__all__ = ["revision_page"]

LIMIT = 100
BESIDE = 100
"""How many records are looked at for other revisions of the group."""

NET = 1_000
"""How many records are summed up object by object."""


def revision_page(site: Site, request: Request, revision: str) -> Response:
    """The records of one revision, a hundred a page, with its context and counts per entity."""
    id = read_uuid(revision)
    cursor = Cursor.of(request.query_params)
    net = request.query_params.get("view") == "net"
    limit = NET if net else LIMIT
    slice = oldest_first(site.store, Query(revision=id), Cursor() if net else cursor, limit)
    found = slice.records[0].revision if slice.records else site.store.revision(id)
    if found is None:
        raise Mistake(
            404,
            _("This revision is not in the store"),
            _(
                "No revision has the id %(id)s. It may have been pruned, or the address "
                "belongs to another store.",
                id=id,
            ),
        )
    whole = not net or slice.newer is None
    records = _net(slice.records) if net and whole else slice.records
    return site.render(
        request,
        "revision.html",
        json=lambda: {
            "revision": plain_revision(found),
            "records": [plain(record) for record in records],
            "newer_than": place_text(slice.newer),
        },
        revision=found,
        records=records if whole else (),
        net=net,
        whole=whole,
        limit=NET,
        counts=Counter((record.entity, record.operation) for record in records),
        more=slice.newer,
        paged=bool(cursor),
        names=site.names(site.brief_targets(request, records if whole else ())),
        beside=_beside(site, found) if not cursor else [],
        may_undo=site.may_undo_any(request, slice.records),
        restores=(restores := reverted(found)),
        restored=restores is not None and request.query_params.get("restored") == "1",
    )


def _beside(site: Site, found: Revision) -> list[Group]:
    """Other revisions of the same group, the first of them."""
    if found.group is None:
        return []
    page = site.store.page(Query(group=found.group), limit=BESIDE, newest_first=False)
    return grouped(record for record in page if record.revision.id != found.id)


def _net(records: Sequence[Record]) -> tuple[Record, ...]:
    """What the records come to, as the last record of each object with all its changes."""
    try:
        nets = netted(records)
    except HistoryError as error:
        raise Mistake(
            409,
            _("These changes do not add up"),
            _("One of them does not follow from the one before it. See them one by one instead."),
        ) from error
    return tuple(
        replace(
            net.records[-1],
            operation=net.operation,
            changes=net.changes,
            former_key=net.former_key,
            label=net.label,
        )
        for net in nets
    )
