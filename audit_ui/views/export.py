"""Exports: everything a filter finds, oldest first, as CSV or JSON Lines, in flat memory."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from itertools import islice
from json import dumps
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from audit_ui.diffs import edits_of
from audit_ui.filters import Filters
from audit_ui.raw import plain
from audit_ui.search import render
from audit_ui.site import Site
from audit_ui.values import shown
from audit_ui.witness import note_export
from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import Query
from lifecycle.changes import Change, SetEdit, join_path

__all__ = ["export_csv", "export_jsonl"]

_AT_ONCE: Final = 500
_NOTHING: Final = Position(0, 0)


def export_jsonl(site: Site, request: Request) -> Response:
    """One record a line, its changes in the form the log holds them."""
    return _export(site, request, "jsonl", "application/x-ndjson", _lines)


def export_csv(site: Site, request: Request) -> Response:
    """One changed value a line, under a line of titles."""
    return _export(site, request, "csv", "text/csv; charset=utf-8", _table)


def _export(
    site: Site,
    request: Request,
    form: str,
    media_type: str,
    written: Callable[[Iterator[Record]], Iterator[str]],
) -> Response:
    """What is there now: what is recorded while the file is made is not in it."""
    filters = Filters.of(request.query_params.multi_items())
    query, sieve = filters.query(site.now()), filters.sieve()
    newest = site.store.page(Query(), limit=1).records
    upto = newest[0].position if newest else _NOTHING
    note_export(site, request.scope.get("user"), form, render(filters))
    found = site.unhurried.scan(replace(query, upto=upto))
    if sieve is not None:
        found = filter(sieve, found)
    name = f"history-{site.now():%Y%m%dT%H%M%SZ}.{form}"
    return StreamingResponse(
        (text.encode("utf-8", "replace") for text in written(found)),
        media_type=media_type,
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _lines(records: Iterator[Record]) -> Iterator[str]:
    while batch := list(islice(records, _AT_ONCE)):
        yield "".join(f"{dumps(plain(record))}\n" for record in batch)


# --- CSV ------------------------------------------------------------------------------------

TITLES: Final = (
    "at", "actor", "actor_label", "reason", "source", "request_id", "revision", "record",
    "entity", "key", "former_key", "operation", "label", "field", "old", "new",
)  # fmt: skip

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def harmless(text: str) -> str:
    """The text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _table(records: Iterator[Record]) -> Iterator[str]:
    file = StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(TITLES)
    while batch := list(islice(records, _AT_ONCE)):
        for record in batch:
            about = [harmless(text) for text in _about(record)]
            writer.writerows([*about, *values] for values in _values(record))
        yield file.getvalue()
        file.seek(0)
        file.truncate()
    yield file.getvalue()  # the titles, where there were no records


def _about(record: Record) -> Iterator[str]:
    revision = record.revision
    yield revision.at.isoformat()
    for text in (revision.actor, revision.actor_label, revision.reason, revision.source):
        yield text or ""
    yield revision.request_id or ""
    yield str(revision.id)
    yield record.id
    yield from (record.entity, record.key, record.former_key or "", str(record.operation))
    yield record.label or ""


def _values(record: Record) -> Iterator[tuple[str, str, str]]:
    if not record.changes:
        yield "", "", ""
    for field, delta in record.changes.items():
        for path, edit in edits_of((field,), delta):
            name = harmless(field if len(path) == 1 else f"{field}.{join_path(*path[1:])}")
            if isinstance(edit, SetEdit):
                yield from ((name, _cell(one), "") for one in sorted(edit.removed, key=repr))
                yield from ((name, "", _cell(one)) for one in sorted(edit.added, key=repr))
            elif isinstance(edit, Change):
                yield name, _cell(edit.old), _cell(edit.new)


def _cell(value: Any) -> str:
    text = shown(value)
    if text.kind in ("null", "empty", "absent"):
        return {"null": "NULL", "empty": '""', "absent": ""}[text.kind]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return text.text  # a number is no formula, its sign neither
    return harmless(text.text)
