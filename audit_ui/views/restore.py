"""Putting things back: a preview to look at and choose from, and doing what was chosen."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_ui.access import Subject
from audit_ui.diffs import table
from audit_ui.errors import Mistake
from audit_ui.forms import read_fields
from audit_ui.languages import gettext as _
from audit_ui.languages import number, told
from audit_ui.places import read_record_id, read_uuid
from audit_ui.previewing import drawn_up, seen
from audit_ui.reader import Reader
from audit_ui.restoring import Plan, Restorer, Wish
from audit_ui.site import Site
from audit_ui.witness import SOURCE
from lifecycle.audit.records import Record
from lifecycle.audit.restore import Restored
from lifecycle.audit.store import Query
from lifecycle.changes import Operation
from lifecycle.context import acting
from lifecycle.errors import (
    HistoryError,
    InstallError,
    LifecycleError,
    RestoreConflict,
    StoreError,
)
from lifecycle.restoring import Obstacle

__all__ = ["Form", "restore_page", "undo_record_page", "undo_revision_page"]

MOST: Final = 1_000
"""How many changes are undone together from a page."""

_REASON: Final = 2_000
"""How long a reason may be."""

_log = logging.getLogger("audit_ui")


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent: the preview it was sent from, what was chosen there, and why."""

    token: str
    taken: frozenset[str]
    reason: str

    @classmethod
    def read(cls, body: bytes) -> Form:
        """The form in a request's body. Raises `Mistake` when it is damaged."""
        pairs = read_fields(body)
        values = dict(pairs)
        reason = values.get("reason", "").strip()
        if len(reason) > _REASON:
            raise Mistake(
                400,
                _("The reason is too long"),
                _(
                    "Nothing was done. Go back, and say it in %(reason)s characters.",
                    reason=number(_REASON),
                ),
            )
        return cls(
            token=values.get("shown", ""),
            taken=frozenset(value for name, value in pairs if name == "take"),
            reason=reason,
        )


# --- the three pages ------------------------------------------------------------------------


def undo_record_page(site: Site, request: Request, form: Form | None, record: str) -> Response:
    """Undo one change."""
    restorer = _restorer(site)
    revision, n = read_record_id(record)
    found = _records(restorer, Query(revision=revision), n)
    subject = Subject(page="undo", record=record)
    return _page(site, request, form, Wish(verb="undo", records=(found,)), subject)


def undo_revision_page(site: Site, request: Request, form: Form | None, revision: str) -> Response:
    """Undo all that a revision changed, with the other revisions of its group."""
    restorer = _restorer(site)
    id = read_uuid(revision)
    records = _all_of(restorer, Query(revision=id))
    if not records and restorer.store.revision(id) is None:
        raise _not_there(_("This revision is not in the store"))
    if records and records[0].revision.group is not None:
        records = _all_of(restorer, Query(group=records[0].revision.group))
    if len(records) > MOST:
        raise Mistake(
            409,
            _("This is too much for a page"),
            _(
                "It made more than %(most)s changes. Undo them one by one, or all of them "
                "by the command: lifecycle undo %(id)s",
                most=number(MOST),
                id=id,
            ),
        )
    subject = Subject(page="undo", revision=revision)
    return _page(site, request, form, Wish(verb="undo", records=records), subject)


def restore_page(
    site: Site, request: Request, form: Form | None, entity: str, key: str
) -> Response:
    """Make an object what it was at a version, or bring a deleted one back."""
    restorer = _restorer(site)
    subject = Subject(page="restore", entity=entity, key=key)
    query = Query(entity=entity, key=key)
    wanted = request.query_params.get("v")
    if wanted:
        revision, n = read_record_id(wanted)
        found = _records(restorer, replace(query, revision=revision), n)
        if found.operation not in (Operation.INSERT, Operation.UPDATE):
            raise Mistake(
                409,
                _("There is no version to restore to"),
                _("Only an object that was there then has one. Choose another change of it."),
            )
        return _page(site, request, form, Wish(verb="to", records=(found,)), subject)
    page = restorer.store.page(replace(query, operation=Operation.DELETE), limit=1)
    if not page.records:
        raise Mistake(
            404,
            _("No deletion of %(entity)s %(key)s is recorded", entity=entity, key=repr(key)),
            _("So it cannot be brought back from here. Choose a version of it instead."),
        )
    return _page(site, request, form, Wish(verb="undelete", records=page.records), subject)


def _restorer(site: Site) -> Restorer:
    if site.restorer is None:
        raise Mistake(
            404,
            _("These pages put nothing back"),
            _(
                "They know the store only, or the application switched it off. For them to "
                "do it, the application gives create_app its Lifecycle."
            ),
        )
    return site.restorer


def _all_of(restorer: Restorer, query: Query) -> tuple[Record, ...]:
    return restorer.store.page(query, limit=MOST + 1, newest_first=False).records


def _records(restorer: Restorer, query: Query, n: int) -> Record:
    for record in restorer.store.page(query, limit=MOST, newest_first=False):
        if record.n == n:
            return record
    raise _not_there(_("This record is not in the store"))


def _not_there(title: str) -> Mistake:
    return Mistake(
        404,
        title,
        _("It may have been pruned, or the address belongs to another store."),
    )


# --- preview and confirm --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Notice:
    """Why what was sent has not been done."""

    status: int
    title: str
    detail: str
    conflicts: tuple[Obstacle, ...] = ()


def _changed() -> _Notice:
    return _Notice(
        409,
        _("This is no longer as it was shown"),
        _("Nothing was done. Something changed while you looked; below is how it stands now."),
    )


def _page(
    site: Site, request: Request, form: Form | None, wish: Wish, subject: Subject
) -> Response:
    restorer, reader = _restorer(site), site.reader(request)

    def may(entity: str, key: str) -> bool:
        return reader.may("restore", replace(subject, entity=entity, key=key))

    try:
        plan = drawn_up(restorer, wish, reader, may)
        if form is None:
            return _shown(site, request, plan)
        try:
            outcome = _carried_out(site, reader, plan, form)
        except RestoreConflict:
            plan, outcome = drawn_up(restorer, wish, reader, may), _changed()
    except HistoryError as error:
        why = (
            _("The log's records do not fit together") if reader.is_veiled else told(error.args[0])
        )
        raise Mistake(
            409, _("This cannot be worked out"), _("%(why)s. Nothing was done.", why=why)
        ) from error
    except InstallError as error:
        raise Mistake(
            409,
            _("The application has no session for this"),
            _(
                "Nothing was done. Rows are put back in a session of a plain sessionmaker: "
                "install one, beside that of an async engine too, and keep it."
            ),
        ) from error
    if isinstance(outcome, _Notice):
        return _shown(site, request, plan, form, outcome)
    return _result(site, request, restorer, outcome)


def _carried_out(site: Site, reader: Reader, plan: Plan, form: Form) -> Restored | _Notice:
    """What the restore did, or why it did nothing."""
    restorer = _restorer(site)
    if form.token != plan.token:
        return _changed()
    if restorer.needs_reason and not form.reason:
        return _Notice(400, _("Say why"), _("Nothing was done. A reason is asked for here."))
    preview = plan.chosen(restorer.verbs, form.taken)
    if preview.conflicts:
        conflicts = tuple(seen(one, reader) for one in preview.conflicts)
        title = _("As chosen, something is in the way")
        detail = _("Nothing was done. Choose otherwise, or put it right.")
        return _Notice(409, title, detail, conflicts)
    if not preview:
        return _Notice(400, _("Nothing is chosen"), _("Nothing was done. Choose what to put back."))
    actor = site.actor(reader.user) or None
    try:
        with acting(actor, reason=form.reason or None, source=SOURCE):
            return restorer.verbs.apply(preview)
    except (RestoreConflict, HistoryError, InstallError, StoreError):
        raise
    except LifecycleError as error:  # their messages repeat no values
        _log.warning("%s was refused: %s", preview.described, type(error).__name__)
        return _Notice(409, _("It was refused"), f"{error}.")
    except Exception as error:  # of the application's own rules: what they say may be secret
        _log.exception("%s failed", preview.described)
        return _Notice(
            409,
            _("The application refused it (%(error)s)", error=type(error).__name__),
            _(
                "A rule or a hook of its own failed; its log says which. If that was after the "
                "writing, the history of the object has it."
            ),
        )


def _shown(
    site: Site,
    request: Request,
    plan: Plan,
    form: Form | None = None,
    notice: _Notice | None = None,
) -> Response:
    tables = {
        one.name: table(one.changes, leading=site.leading(item.entity))
        for item in plan.items
        for one in item.choices
        if len(one.fields) == 1
    }
    targets = site.targets(request, *(one.targets() for one in tables.values()))
    taken = plan.defaults(request.query_params.get("field", ""))
    if form is not None and form.token == plan.token:
        taken = form.taken
    return site.render(
        request,
        "restore.html",
        200 if notice is None else notice.status,
        json=plan.plain,
        plan=plan,
        verb=plan.wish.verb,
        record=plan.wish.records[0] if plan.wish.records else None,
        taken=taken,
        reason="" if form is None else form.reason,
        notice=notice,
        needs_reason=_restorer(site).needs_reason,
        shown_fields=tables,
        names=site.names(targets),
    )


def _result(site: Site, request: Request, restorer: Restorer, done: Restored) -> Response:
    """To the revision that the restore wrote."""
    records = restorer.store.page(Query(group=done.group), limit=1, newest_first=False).records
    if not records:
        raise Mistake(
            200, _("Done"), _("It was put back. The application does not record such changes.")
        )
    link = site.links(request).revision(records[0].revision.id, restored="1")
    return RedirectResponse(link, 303)
