"""An object: its timeline, one version of it compared with the one before, and its state then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.diffs import state_table, table
from audit_ui.errors import Mistake
from audit_ui.places import Cursor, read_record_id
from audit_ui.reading import Slice, lineage, newest_first, state_at, version_of
from audit_ui.site import Site
from lifecycle.audit.records import Record
from lifecycle.audit.store import Query

__all__ = ["object_page"]

LIMIT = 50
_CALLS = 3


def object_page(site: Site, request: Request, entity: str, key: str) -> Response:
    """One object's history; the newest version is selected unless the address names another."""
    query = Query(entity=entity, key=key)
    known, selected, calls = _known(site, request, query)
    line = lineage(site.store, query, known, selected.position, _CALLS - calls)
    chosen = line.records.index(selected) if selected in line.records else 0
    full = request.query_params.get("full") == "1"
    state = state_at(line.records[chosen:])
    timeline = line.records[:LIMIT]
    return site.render(
        request,
        "object.html",
        entity=entity,
        key=key,
        standing=_standing(known),
        selected=selected,
        table=table(selected.changes, full=full),
        state=state,
        state_table=state_table(state.values, full=full),
        days=_days(timeline),
        last=timeline[-1],
        more=line.more or len(line.records) > LIMIT,
        newer=known.newer,
        other_life=_other_life(known, key),
        full=full,
    )


def _known(site: Site, request: Request, query: Query) -> tuple[Slice, Record, int]:
    """The records to begin with, the selected one, and how many questions that took."""
    wanted = request.query_params.get("v")
    revision_id, n = read_record_id(wanted) if wanted else (None, 0)
    known = newest_first(site.store, query, Cursor.of(request.query_params), LIMIT)
    if not known.records:
        raise _nothing_known(query)
    if revision_id is None:
        return known, known.records[0], 1
    for record in known.records:
        if (record.revision.id, record.n) == (revision_id, n):
            return known, record, 1
    found = version_of(site.store, query, revision_id, n)
    if found is None:
        raise _no_version(query, str(wanted))
    upto = newest_first(site.store, replace(query, upto=found.position), Cursor(), LIMIT)
    return replace(upto, newer=found.position), found, 3


def _nothing_known(query: Query) -> Mistake:
    return Mistake(
        404,
        f"Nothing is recorded for {query.entity} {query.key!r}",
        "Check the key as it is written here; it may also have been changed before recording "
        "began, or its records may have been pruned.",
    )


def _no_version(query: Query, wanted: str) -> Mistake:
    return Mistake(
        404,
        f"{query.entity} {query.key!r} has no version {wanted}",
        "That record belongs to another object, or is not in this store. "
        "Leave the version out to see the newest one.",
    )


def _standing(known: Slice) -> Record | None:
    """The record that says how the object stands today, when this page begins with it."""
    return known.records[0] if known.newer is None else None


def _days(records: Sequence[Record]) -> list[tuple[date, list[Record]]]:
    days = groupby(records, key=lambda record: record.at.date())
    return [(day, list(of_day)) for day, of_day in days]


def _other_life(known: Slice, key: str) -> Record | None:
    """The record that brought the object to this key, if another object had the key before."""
    for record in known.records:
        if record.key == key and record.former_key not in (None, key):
            is_last = record is known.records[-1] and known.older is None
            return None if is_last else record
    return None
