"""What points to an object, and how that changed: the lines of an order, say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.diffs import edits_of
from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.raw import plain
from audit_ui.site import Site
from audit_ui.views.feed import grouped
from lifecycle.audit.records import Record
from lifecycle.audit.store import Page, Query
from lifecycle.changes import Change
from lifecycle.errors import HistoryError
from lifecycle.markers import is_hidden
from lifecycle.relations import Pointer

__all__ = ["related_page"]

LOOKED_AT: Final = 500
"""How many of its newest changes are looked at of each entity."""

ENTITIES: Final = 3
"""How many entities are looked at together."""

SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Looked:
    """An entity whose objects may point here: by which fields, and how far was looked."""

    entity: str
    fields: tuple[str, ...]
    back_to: Record | None


def related_page(site: Site, request: Request, entity: str, key: str) -> Response:
    """The newest changes of objects that point to one, or did, by foreign keys and references.

    Known are those that a change among the ones looked at brought here or took away. One question
    for each entity.
    """
    if site.models is None:
        raise Mistake(
            404,
            _("These pages know the store only"),
            _("What points where knows the application: give create_app the Lifecycle itself."),
        )
    by_source: dict[str, list[Pointer]] = {}
    for pointer in site.models.pointers(entity):
        by_source.setdefault(pointer.source, []).append(pointer)
    sources = sorted(by_source)
    chosen = request.query_params.get("of")
    found: list[Record] = []
    looked: list[Looked] = []
    for source in [one for one in sources if chosen in (None, "", one)][:ENTITIES]:
        page = site.store.page(Query(entity=source), limit=LOOKED_AT)
        pointers = by_source[source]
        found += _related(page, pointers, key)
        fields = tuple(", ".join(pointer.fields) for pointer in pointers)
        looked.append(Looked(source, fields, page.records[-1] if page.next else None))
    found.sort(key=lambda record: record.position, reverse=True)
    return site.render(
        request,
        "related.html",
        json=lambda: {
            "entity": entity,
            "key": key,
            "pointing": {
                source: [list(one.fields) for one in by_source[source]] for source in sources
            },
            "looked_back_to": {
                one.entity: one.back_to and one.back_to.at.isoformat() for one in looked
            },
            "records": [plain(record) for record in found[:SHOWN]],
        },
        entity=entity,
        key=key,
        sources=sources,
        chosen=chosen or "",
        looked=looked,
        looked_at=LOOKED_AT,
        groups=grouped(found[:SHOWN]),
        left_out=max(0, len(found) - SHOWN),
    )


def _related(page: Page, pointers: Sequence[Pointer], key: str) -> Iterator[Record]:
    """Of one entity's records those of the objects that point to a key at some time."""
    keys: set[str] = set()
    for record in page:
        if any(key in told for pointer in pointers for told in _told(record, pointer)):
            keys.update(filter(None, (record.key, record.former_key)))
    return (one for one in page if one.key in keys or one.former_key in keys)


def _told(record: Record, pointer: Pointer) -> Iterator[list[str]]:
    """The keys that a record tells an object pointed to, before and after, and element by element.

    A value that is no key, as of a field that was something else once, points to nothing.
    """
    olds: dict[str, object] = {}
    news: dict[str, object] = {}
    for field in pointer.fields:
        delta = record.changes.get(field)
        if delta is None:
            return
        for _path, edit in edits_of((field,), delta):
            if isinstance(edit, Change):
                for values, value in ((olds, edit.old), (news, edit.new)):
                    if value is None or is_hidden(value):
                        continue
                    values[field] = value
                    if len(pointer.fields) == 1:
                        yield _keys(pointer, values)
    if len(pointer.fields) > 1:
        yield _keys(pointer, olds)
        yield _keys(pointer, news)


def _keys(pointer: Pointer, values: dict[str, object]) -> list[str]:
    try:
        return list(pointer.keys(values))
    except (AttributeError, HistoryError, LookupError, TypeError, ValueError):  # no key's value
        return []
