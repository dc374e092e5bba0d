"""An object: its timeline, one version of it compared with the one before, and its state then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_ui.comparing import Comparison, compared
from audit_ui.diffs import Table, state_table, table
from audit_ui.errors import Mistake
from audit_ui.filters import read_moment
from audit_ui.languages import gettext as _
from audit_ui.places import Cursor, place_text, read_record_id
from audit_ui.raw import plain, plain_changes
from audit_ui.reading import Lineage, Slice, State, lineage, newest_first, state_at, version_of
from audit_ui.referring import Target
from audit_ui.site import Site
from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import Query
from lifecycle.changes import ChangeSet, Operation, diff

__all__ = ["object_page"]

LIMIT = 50
KNOWN = 200
SIBLINGS = 20
FOLDED = 3
"""How many changes in a run are folded."""
CLOSE = timedelta(minutes=10)
"""How soon a change follows another one of the same run."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The records a page begins with, the selected one, and the records behind that.

    ``timeline`` are those that are listed, ``start`` is where among the records they begin.
    """

    known: Slice
    selected: Record
    line: Lineage
    start: int

    @property
    def timeline(self) -> Sequence[Record]:
        return self.line.records[self.start : self.start + LIMIT]

    @property
    def state(self) -> State:
        """That of the object at the selected version."""
        return state_at(self.line.records[self.line.records.index(self.selected) :])


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the tables hold: the comparison, where one is asked for, the changes, and the state."""

    comparison: Comparison | None
    changes: ChangeSet
    state: State
    table: Table
    state_table: Table


def object_page(site: Site, request: Request, entity: str, key: str) -> Response:
    """One object's history; the newest version is selected unless the address names another."""
    params, query = request.query_params, Query(entity=entity, key=key)
    known, selected, calls = _known(site, params, query)
    if params.get("nth"):
        chosen = _counted(known, params["nth"], params.get("of", ""))
        return RedirectResponse(site.links(request).object(entity, chosen.key, v=chosen.id), 303)
    page = _chosen(site, query, known, selected, 3 - calls)
    shown = _shown(site, params, page)
    calls, targets = page.line.calls, list[Target]()
    if calls:
        targets = site.targets(request, shown.table.targets(), shown.state_table.targets())
        calls -= bool(targets)
    siblings = _siblings(site, selected) if calls else []
    return site.render(
        request,
        "object.html",
        json=lambda: _plain(entity, key, page, shown),
        entity=entity,
        key=key,
        selected=selected,
        names=site.names(targets),
        siblings=siblings[:SIBLINGS],
        more_siblings=len(siblings) > SIBLINGS,
        full=params.get("full") == "1",
        may_undo=site.may_undo(request, selected),
        **_of_tables(params, shown),
        **_of_timeline(page, key),
    )


def _chosen(site: Site, query: Query, known: Slice, selected: Record, calls: int) -> _Chosen:
    line = lineage(site.store, query, known, selected.position, calls)
    chosen_at = line.records.index(selected)
    return _Chosen(known, selected, line, max(0, chosen_at - LIMIT // 2) * (chosen_at >= LIMIT))


def _shown(site: Site, params: QueryParams, page: _Chosen) -> _Shown:
    """Raises `Mistake` where there is nothing to compare with."""
    full, against, selected = params.get("full") == "1", params.get("against", ""), page.selected
    comparison = None
    if against not in ("", "prev"):
        comparison = compared(page.line.records, selected, against)
    if against == "now" and page.known.newer is not None:
        raise _too_far()
    first, last, changes = selected, selected, selected.changes
    if comparison is not None:
        first, last, changes = comparison.older, comparison.newer, comparison.changes
    leading = site.leading(selected.entity, first, last)
    leading_then = site.leading(selected.entity, selected, selected)
    state = page.state
    return _Shown(
        comparison=comparison,
        changes=changes,
        state=state,
        table=table(changes, full=full, leading=leading),
        state_table=state_table(state.values, full=full, leading=leading_then),
    )


def _plain(entity: str, key: str, page: _Chosen, shown: _Shown) -> dict[str, Any]:
    """The page as JSON holds it."""
    return {
        "entity": entity,
        "key": key,
        "selected": plain(page.selected),
        "compared": plain_changes(shown.changes),
        "state": plain_changes(diff({}, shown.state.values)),
        "complete": shown.state.inserted is not None,
        "versions": [plain(record) for record in page.timeline],
        "newer_than": place_text(page.known.newer),
        "older_than": place_text(page.timeline[-1].position),
    }


def _of_tables(params: QueryParams, shown: _Shown) -> dict[str, Any]:
    """What the template is told of the changes and the state."""
    return {
        "comparison": shown.comparison,
        "against": params.get("against", "") if shown.comparison else "prev",
        "table": shown.table,
        "state": shown.state,
        "state_table": shown.state_table,
    }


def _of_timeline(page: _Chosen, key: str) -> dict[str, Any]:
    """What the template is told of the versions, and of the pages before and after."""
    known, selected, timeline = page.known, page.selected, page.timeline
    newest_last = known.records[::-1]
    return {
        "standing": _standing(known),
        "versions": len(known.records),
        "number": newest_last.index(selected) + 1 if selected in known.records else 1,
        "counted_from": _just_after(known.records[0].position),
        "is_newest": known.newer is None,
        "days": _days(timeline, selected),
        "timeline": timeline,
        "last": timeline[-1],
        "more": page.line.more or len(page.line.records) > page.start + LIMIT,
        "newer": timeline[0].position if page.start else known.newer,
        "other_life": _other_life(known, key),
    }


def _known(site: Site, params: QueryParams, query: Query) -> tuple[Slice, Record, int]:
    """The records to begin with, the selected one, and how many questions that took."""
    wanted = params.get("v")
    revision_id, n = read_record_id(wanted) if wanted else (None, 0)
    if params.get("at") and not wanted:
        return _known_at(site, params["at"], query)
    cursor = Cursor.of(params)
    known = newest_first(site.store, query, cursor, LIMIT if cursor.newer_than else KNOWN)
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
    upto = newest_first(site.store, replace(query, upto=found.position), Cursor(), KNOWN)
    return replace(upto, newer=found.position), found, 3


def _known_at(site: Site, at: str, query: Query) -> tuple[Slice, Record, int]:
    """The records up to a moment, that included."""
    until = read_moment("at", at, site.now()) + timedelta(microseconds=1)
    known = newest_first(site.store, replace(query, until=until), Cursor(), KNOWN)
    if not known.records:
        raise Mistake(
            404,
            _(
                "%(entity)s %(key)s is not recorded at %(at)s",
                entity=query.entity,
                key=repr(query.key),
                at=at,
            ),
            _("It came later, or recording began later. Leave the time out to see the newest."),
        )
    return replace(known, newer=known.records[0].position), known.records[0], 1


def _counted(known: Slice, number: str, of: str) -> Record:
    """The record of that number among so many, the oldest being the first."""
    if re.fullmatch("[0-9]{1,4}", number) and re.fullmatch("[0-9]{1,4}", of):
        index = int(of) - int(number)
        if 0 <= index < min(int(of), len(known.records)):
            return known.records[index]
    raise Mistake(
        404,
        _("There is no version %(number)s", number=repr(number[:20])),
        _("Choose one from the timeline."),
    )


def _just_after(position: Position) -> Position:
    return Position(position.seq, position.n + 1)


def _siblings(site: Site, selected: Record) -> list[Record]:
    """What was recorded in the same transaction, and one more than is shown."""
    whole = Query(revision=selected.revision.id)
    page = site.store.page(whole, limit=SIBLINGS + 2, newest_first=False)
    return [record for record in page if record.id != selected.id][: SIBLINGS + 1]


def _too_far() -> Mistake:
    return Mistake(
        404,
        _("Too many changes lie between"),
        _(
            "A version can be compared with the newest when it is one of the last "
            "%(known)s. Choose one from the timeline.",
            known=KNOWN,
        ),
    )


def _nothing_known(query: Query) -> Mistake:
    return Mistake(
        404,
        _("Nothing is recorded for %(entity)s %(key)s", entity=query.entity, key=repr(query.key)),
        _(
            "Check the key as it is written here; it may also have been changed before "
            "recording began, or its records may have been pruned."
        ),
    )


def _no_version(query: Query, wanted: str) -> Mistake:
    return Mistake(
        404,
        _(
            "%(entity)s %(key)s has no version %(wanted)s",
            entity=query.entity,
            key=repr(query.key),
            wanted=wanted,
        ),
        _(
            "That record belongs to another object, or is not in this store. Leave the "
            "version out to see the newest one."
        ),
    )


def _standing(known: Slice) -> Record | None:
    """The record that says how the object stands today, when this page begins with it."""
    return known.records[0] if known.newer is None else None


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring changes on the timeline; ``folded`` when they are several of one hand."""

    records: tuple[Record, ...]
    folded: bool


def _days(records: Sequence[Record], selected: Record) -> list[tuple[date, list[Run]]]:
    days = groupby(records, key=lambda record: record.at.date())
    return [(day, list(_runs(of_day, selected))) for day, of_day in days]


def _runs(records: Iterable[Record], selected: Record) -> Iterator[Run]:
    """Updates by the same actor, each some minutes after the one before, as one run.

    The selected one stays by itself.
    """
    run: list[Record] = []
    for record in records:
        if run and (selected in (run[-1], record) or not _goes_on(run[-1], record)):
            yield Run(tuple(run), len(run) >= FOLDED)
            run = []
        run.append(record)
    if run:
        yield Run(tuple(run), len(run) >= FOLDED)


def _goes_on(newer: Record, older: Record) -> bool:
    return (
        newer.operation is older.operation is Operation.UPDATE
        and newer.revision.actor == older.revision.actor
        and newer.at - older.at <= CLOSE
    )


def _other_life(known: Slice, key: str) -> Record | None:
    """The record that brought the object to this key, if another object had the key before."""
    for record in known.records:
        if record.key == key and record.former_key not in (None, key):
            is_last = record is known.records[-1] and known.older is None
            return None if is_last else record
    return None
