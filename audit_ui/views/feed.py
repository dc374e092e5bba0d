"""The feed: what happened, newest first, by any filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_ui.filters import Filters
from audit_ui.kept import kept, search_of
from audit_ui.places import Cursor, place_text
from audit_ui.raw import plain
from audit_ui.reading import LOOKED_AT, searched
from audit_ui.search import parse, render
from audit_ui.site import Site
from lifecycle.audit.records import Record, Revision

__all__ = ["Group", "atom_feed", "feed_page", "grouped"]

LIMIT = 50
CALLS = 3
"""How many questions a page may ask; without the last one nothing is named beside its key."""
COUNTED = 10_000
"""How far changes are counted, and only when asked."""

INPUTS = (
    "entity",
    "key",
    "actor",
    "operation",
    "field",
    "text",
    "source",
    "since",
    "until",
    "request_id",
)
"""The filters that have an input of their own in the form."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring records of one revision."""

    revision: Revision
    records: tuple[Record, ...]


def grouped(records: Iterable[Record]) -> list[Group]:
    """Records folded under their revisions, in the order they came."""
    groups = groupby(records, key=lambda record: record.revision.id)
    together = (tuple(records) for _, records in groups)
    return [Group(records[0].revision, records) for records in together]


def atom_feed(site: Site, request: Request) -> Response:
    """The newest records that match, as an Atom feed."""
    filters = Filters.of(request.query_params.multi_items())
    query, sieve = filters.query(site.now()), filters.sieve()
    slice = searched(site.store, query, sieve, Cursor(), LIMIT)
    page = site.render(
        request,
        "feed.atom",
        line=render(filters),
        filters=filters,
        records=slice.records,
        updated=slice.records[0].at if slice.records else datetime(1970, 1, 1, tzinfo=UTC),
    )
    page.headers["content-type"] = "application/atom+xml; charset=utf-8"
    return page


def feed_page(site: Site, request: Request, entity: str = "") -> Response:
    """The records that match, fifty a page; those of one entity where the address names it."""
    params = request.query_params
    if "q" in params:  # to the address that says the same as the form
        return RedirectResponse(site.links(request).feed(**parse(params["q"]).params()), 303)
    filters = Filters.of(params.multi_items(), **({"entity": entity} if entity else {}))
    cursor = Cursor.of(params)
    query, sieve = filters.query(site.now()), filters.sieve()
    slice = searched(site.store, query, sieve, cursor, LIMIT)
    own = kept(request.cookies)
    is_empty = not slice.records and not cursor and not filters
    count, calls = None, slice.calls
    if params.get("count") == "1" and sieve is None:
        count, calls = site.store.count_at_most(query, COUNTED + 1), calls + 1
    entities: Sequence[str] = ()
    if not is_empty and not site.is_json(request):
        calls += not site.entities.fresh(site.now())
        entities = site.entities.names(site.store, site.now())
    targets = site.brief_targets(request, slice.records) if calls < CALLS else []
    return site.render(
        request,
        "empty.html" if is_empty else "feed.html",
        json=lambda: {
            "filters": filters.params(),
            "records": [plain(record) for record in slice.records],
            "newer_than": place_text(slice.newer),
            "older_than": place_text(slice.older),
            "count": count if count is None or count <= COUNTED else f"{COUNTED}+",
            "searched_back_to": slice.stopped.at.isoformat() if slice.stopped else None,
        },
        json_link=site.links(request).feed_as("feed.json", **filters.params(), **cursor.params()),
        entity=entity,
        filters=filters,
        line=render(filters),
        inputs=INPUTS,
        looked_at=sum(LOOKED_AT),
        count=count,
        counted=COUNTED,
        countable=sieve is None,
        entities=entities,
        groups=grouped(slice.records),
        slice=slice,
        paged=bool(cursor),
        names=site.names(targets),
        own_views=own,
        search=search_of(filters),
        may_keep=bool(filters)
        and filters not in (*site.views.values(), *own.values())
        and site.may_keep(request),
    )
