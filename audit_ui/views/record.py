"""A record: the permanent address of one change."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.diffs import table
from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.places import read_record_id
from audit_ui.raw import plain, raw_json
from audit_ui.reading import around, neighbours
from audit_ui.referring import asked_for, named
from audit_ui.site import Site

__all__ = ["record_page"]

SIBLINGS = 20


def record_page(site: Site, request: Request, record: str) -> Response:
    """One change with who, when and why, and the changes beside it."""
    found = around(site.store, *read_record_id(record), limit=SIBLINGS + 1)
    if found is None:
        raise Mistake(
            404,
            _("This record is not in the store"),
            _(
                "No record has the id %(record)s. It may have been pruned, or the address "
                "belongs to another store.",
                record=record,
            ),
        )
    full = request.query_params.get("full") == "1"
    leading = site.leading(found.record.entity, found.record, found.record)
    shown = table(found.record.changes, full=full, leading=leading)
    targets = site.targets(request, shown.targets(), site.brief_targets(request, found.siblings))
    asked = (*neighbours(found.record), *map(asked_for, targets))
    previous, following, *glimpses = site.store.glimpses(asked)
    return site.render(
        request,
        "record.html",
        json=lambda: {
            "record": plain(found.record),
            "previous": previous and previous.id,
            "next": following and following.id,
        },
        record=found.record,
        around=found,
        previous=previous,
        following=following,
        full=full,
        table=shown,
        names=named(targets, glimpses),
        raw=raw_json(found.record),
        may_undo=site.may_undo(request, found.record),
    )
