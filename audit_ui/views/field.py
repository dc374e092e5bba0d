"""A field of an object over time: every value it had, who set it, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import Query
from lifecycle.changes import Change, Operation, split_path
from lifecycle.codec import encode
from lifecycle.markers import ABSENT

__all__ = ["field_page"]

RECORDS = 200
STATEMENTS = 100
SHOWN = 100
"""How many values a page shows."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The values on a page, newest first, and the records they were told from, oldest first.

    ``last`` is where the next page begins, under ``key``; ``None`` when there is nothing older.
    ``calls`` is how many questions are left.
    """

    values: list[FieldValue]
    records: list[Record]
    newest: Record
    newer: Position | None
    last: Position | None
    key: str
    calls: int


def field_page(site: Site, request: Request, entity: str, key: str, field: str) -> Response:
    """The values of one field, newest first, a hundred a page."""
    told = _told(site, Query(entity=entity, key=key), field, Cursor.of(request.query_params))
    full = request.query_params.get("full") == "1"
    cells = [(one, _cell(site, entity, field, one, full=full)) for one in told.values]
    leading_to = (side.target for _, side in cells if side.target is not None)
    targets = site.targets(request, leading_to) if told.calls else []
    return site.render(
        request,
        "field.html",
        json=lambda: {
            "entity": entity,
            "key": key,
            "field": field,
            "values": [_plain(one) for one in told.values],
            "older_than": place_text(told.last),
        },
        entity=entity,
        key=key,
        field=field,
        label=told.newest.label,
        values=cells,
        names=site.names(targets),
        before=None if told.last is not None else _before(told.records, field, full),
        may_undo=site.may_undo(request, told.newest),
        whole=split_path(field)[0],
        newer=told.newer,
        older_key=told.key,
        last=told.last,
    )


def _told(site: Site, query: Query, field: str, cursor: Cursor) -> _Told:
    """From the records of one question, or of two where those hold too few values.

    Raises `Mistake` for an object that is not recorded, and for a field that never had a value.
    """
    known = newest_first(site.store, query, cursor, RECORDS)
    if not known.records:
        raise _no_object(query)
    statements = _statements(site, query, known.records[0].position)
    newest, calls = known.records[0], 1
    line = lineage(site.store, query, known, newest.position, 0)
    records = _together(line.records, statements)
    values = field_values(records, field)
    if line.more and len(values) < SHOWN:
        line = lineage(site.store, query, known, newest.position, calls)
        calls = line.calls
        records = _together(line.records, statements)
        values = field_values(records, field)
    if not values and not line.more and not cursor:
        raise _no_value(query, field)
    last, more = line.records[-1], line.more
    if len(values) > SHOWN:
        values, more = values[:SHOWN], True
        came = values[-1].record.position
        last = next(one for one in reversed(line.records) if one.position >= came)
    return _Told(
        values=values,
        records=records,
        newest=newest,
        newer=known.newer,
        last=last.position if more else None,
        key=last.key if last.former_key is None else last.former_key,
        calls=calls,
    )


def _no_object(query: Query) -> Mistake:
    return Mistake(
        404,
        _("Nothing is recorded for %(entity)s %(key)s", entity=query.entity, key=repr(query.key)),
        _("Check the key as it is written here; its records may also have been pruned."),
    )


def _no_value(query: Query, field: str) -> Mistake:
    return Mistake(
        404,
        _(
            "No value of %(field)s is recorded for %(entity)s %(key)s",
            field=repr(field),
            entity=query.entity,
            key=repr(query.key),
        ),
        _("Choose a field on the page of the object."),
    )


def _plain(one: FieldValue) -> dict[str, Any]:
    """A value as JSON holds it."""
    return {
        "value": encode(one.value),
        "since": one.since.isoformat(),
        "until": one.until and one.until.isoformat(),
        "actor": one.actor,
        "reason": one.record.reason,
        "record": one.record.id,
    }


def _cell(site: Site, entity: str, field: str, one: FieldValue, *, full: bool) -> Side:
    leading = site.leading(entity, one.record, one.record)
    return cell(one.value, path=tuple(split_path(field)), full=full, leading=leading)


def _statements(site: Site, query: Query, upto: Position) -> Sequence[Record]:
    """The last statements over many rows up to a place, newest first."""
    bulk = Query(entity=query.entity, key="", operation=Operation.BULK, upto=upto)
    return site.store.page(bulk, limit=STATEMENTS).records


def _together(records: Sequence[Record], statements: Sequence[Record]) -> list[Record]:
    """An object's records and those of statements in between, oldest first."""
    between = (one for one in statements if one.position > records[-1].position)
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
