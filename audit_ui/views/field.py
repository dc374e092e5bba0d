"""A field of an object over time: every value it had, who set it, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.diffs import Side, cell
from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.places import Cursor, place_text
from audit_ui.reading import lineage, newest_first
from audit_ui.site import Site
from lifecycle.audit.fields import FieldValue, field_values
from lifecycle.audit.records import Record
from lifecycle.audit.store import Query
from lifecycle.changes import Change, Operation, split_path
from lifecycle.codec import encode
from lifecycle.markers import ABSENT

__all__ = ["field_page"]

RECORDS = 200
STATEMENTS = 100


def field_page(site: Site, request: Request, entity: str, key: str, field: str) -> Response:
    """The values of one field, newest first, from as many records as two questions give."""
    query = Query(entity=entity, key=key)
    cursor = Cursor.of(request.query_params)
    known = newest_first(site.store, query, cursor, RECORDS)
    if not known.records:
        raise Mistake(
            404,
            _("Nothing is recorded for %(entity)s %(key)s", entity=entity, key=repr(key)),
            _("Check the key as it is written here; its records may also have been pruned."),
        )
    line = lineage(site.store, query, known, known.records[0].position, 1)
    records = _with_statements(site, entity, line.records)
    values = field_values(records, field)
    if not values and not line.more and not cursor:
        raise Mistake(
            404,
            _(
                "No value of %(field)s is recorded for %(entity)s %(key)s",
                field=repr(field),
                entity=entity,
                key=repr(key),
            ),
            _("Choose a field on the page of the object."),
        )
    last = line.records[-1]
    full = request.query_params.get("full") == "1"
    told = [(one, _cell(site, entity, field, one, full=full)) for one in values]
    leading_to = (side.target for _, side in told if side.target is not None)
    targets = site.targets(request, leading_to) if line.calls else []
    return site.render(
        request,
        "field.html",
        json=lambda: {
            "entity": entity,
            "key": key,
            "field": field,
            "values": [
                {
                    "value": encode(one.value),
                    "since": one.since.isoformat(),
                    "until": one.until and one.until.isoformat(),
                    "actor": one.actor,
                    "reason": one.record.reason,
                    "record": one.record.id,
                }
                for one in values
            ],
            "older_than": place_text(last.position) if line.more else None,
        },
        entity=entity,
        key=key,
        field=field,
        label=known.records[0].label,
        values=told,
        names=site.names(targets),
        before=_before(records, field, full),
        may_undo=site.may_undo(request, known.records[0]),
        whole=split_path(field)[0],
        newer=known.newer,
        more=line.more,
        older_key=last.former_key if last.former_key is not None else last.key,
        last=last.position,
    )


def _cell(site: Site, entity: str, field: str, one: FieldValue, *, full: bool) -> Side:
    leading = site.leading(entity, one.record, one.record)
    return cell(one.value, path=tuple(split_path(field)), full=full, leading=leading)


def _with_statements(site: Site, entity: str, records: Sequence[Record]) -> list[Record]:
    """The records and those of statements over many rows in between, oldest first."""
    statements = Query(entity=entity, key="", operation=Operation.BULK, upto=records[0].position)
    page = site.store.page(statements, limit=STATEMENTS)
    between = (record for record in page if record.position > records[-1].position)
    return sorted((*records, *between), key=lambda record: record.position)


def _before(records: Sequence[Record], field: str, full: bool) -> Any:
    """The value the field had before the first record of it, where that record tells."""
    for record in records:
        if record.operation is Operation.BULK:
            continue
        change = record.changes.get(field)
        if change is None and not record.changes.touches(field):
            continue
        told = record.operation is Operation.UPDATE and isinstance(change, Change)
        if told and isinstance(change, Change) and change.old is not ABSENT:
            return cell(change.old, full=full)
        return None
    return None
