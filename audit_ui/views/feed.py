"""The feed: what happened, newest first, by any filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.filters import Cursor, Filters
from audit_ui.reading import newest_first
from audit_ui.site import Site
from lifecycle.audit.records import Record, Revision

__all__ = ["Group", "feed_page", "grouped"]

LIMIT = 50


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


def feed_page(site: Site, request: Request, entity: str = "") -> Response:
    """The records that match, fifty a page; those of one entity where the address names it."""
    filters = Filters.of(request.query_params, **({"entity": entity} if entity else {}))
    cursor = Cursor.of(request.query_params)
    slice = newest_first(site.store, filters.query(site.now()), cursor, LIMIT)
    is_empty = not slice.records and not cursor and not any(filters.items())
    return site.render(
        request,
        "empty.html" if is_empty else "feed.html",
        entity=entity,
        filters=filters,
        entities=[] if is_empty else site.store.entities(),
        groups=grouped(slice.records),
        slice=slice,
        paged=bool(cursor),
    )
