"""Which address shows which page, and to whom."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit_ui.access import Gate, Subject, is_local
from audit_ui.assets import ASSETS
from audit_ui.errors import Mistake
from audit_ui.filters import Filters
from audit_ui.forms import read_body, read_fields
from audit_ui.languages import gettext as _
from audit_ui.languages import gettext_noop
from audit_ui.links import JSON, BadEscape, unsegment
from audit_ui.origins import check_origin
from audit_ui.reader import Reader
from audit_ui.referring import Remembered
from audit_ui.search import parse
from audit_ui.site import Site
from audit_ui.veil import veiled
from audit_ui.views.activity import activity_image
from audit_ui.views.actor import actor_page
from audit_ui.views.coverage import coverage_page
from audit_ui.views.export import export_csv, export_jsonl
from audit_ui.views.feed import atom_feed, feed_page
from audit_ui.views.field import field_page
from audit_ui.views.group import group_page
from audit_ui.views.help import help_page
from audit_ui.views.object import object_page
from audit_ui.views.record import record_page
from audit_ui.views.related import related_page
from audit_ui.views.restore import Form, restore_page, undo_record_page, undo_revision_page
from audit_ui.views.revision import revision_page
from audit_ui.views.views import views_page
from audit_ui.witness import Viewings, note_view
from lifecycle.errors import StoreError

__all__ = ["Pages"]

_log = logging.getLogger("audit_ui")

_BOTH: Final = ("GET", "POST")

_ACTIONS: Final = {
    "view": gettext_noop("view"),
    "export": gettext_noop("export"),
    "restore": gettext_noop("restore"),
}
"""How the pages call what access is asked for."""

_View: TypeAlias = Callable[..., Response]
_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Pages:
    """The endpoints: who may see a page is asked first, then its view runs in a worker thread."""

    def __init__(self, site: Site, gate: Gate, viewings: Viewings | None = None) -> None:
        self._site = site
        self._gate = gate
        self._viewings = viewings

    def routes(self) -> list[Route]:
        """Every address below the mount."""
        pages: list[tuple[str, str, _View]] = [
            ("/o/{entity}/{key}", "object", object_page),
            ("/o/{entity}/{key}/related", "related", related_page),
            ("/o/{entity}/{key}/f/{field}", "field", field_page),
            ("/r/{record}", "record", record_page),
            ("/t/{revision}", "revision", revision_page),
            ("/g/{group}", "group", group_page),
            ("/a/{actor}", "actor", actor_page),
        ]
        feeds: list[tuple[str, str, _View]] = [
            ("/", "feed", feed_page),
            ("/o/{entity}/", "feed", feed_page),
            ("/-/help", "help", help_page),
            ("/-/coverage", "coverage", coverage_page),
            ("/feed.atom", "feed", atom_feed),
            ("/-/activity.svg", "feed", activity_image),
        ]
        deeds: list[tuple[str, str, _View]] = [
            ("/r/{record}/undo", "undo", undo_record_page),
            ("/t/{revision}/undo", "undo", undo_revision_page),
            ("/o/{entity}/{key}/restore", "restore", restore_page),
        ]
        as_json = [(f"{path}{JSON}", page, view) for path, page, view in pages]
        as_json.append(("/feed.json", "feed", feed_page))
        as_json.append((f"/-/coverage{JSON}", "coverage", coverage_page))
        exports = [("/export.csv", export_csv), ("/export.jsonl", export_jsonl)]
        return [
            *(Route(path, self._page(page, view, json=True)) for path, page, view in as_json),
            *(
                Route(f"{path}{JSON}", self._deed(page, view, json=True))
                for path, page, view in deeds
            ),
            *(Route(path, self._deed(page, view), methods=_BOTH) for path, page, view in deeds),
            *(Route(path, self._page(page, view)) for path, page, view in [*feeds, *pages]),
            *(Route(path, self._page("export", view, "export")) for path, view in exports),
            Route(f"/views{JSON}", self._kept(json=True)),
            Route("/views", self._kept(), methods=_BOTH),
            Route("/-/health", self._health),
            Route("/-/assets/{digest}/{name}", _asset),
        ]

    def _page(
        self, page: str, view: _View, action: str = "view", *, json: bool = False
    ) -> _Endpoint:
        async def endpoint(request: Request) -> Response:
            request.scope["audit_ui.json"] = json
            names = _names(request)
            self._refuse_strangers(request)
            request.scope["user"] = await self._gate.user_of(request.scope)
            subject = _subject(page, names, request)
            await self._admit(request, action, subject)
            await self._note(request, action, subject)
            return await run_in_threadpool(view, self._site_for(request, page), request, **names)

        return endpoint

    def _deed(self, page: str, view: _View, *, json: bool = False) -> _Endpoint:
        """A page that shows what would be done, and does it when its form is sent."""

        async def endpoint(request: Request) -> Response:
            request.scope["audit_ui.json"] = json
            names = _names(request)
            self._refuse_strangers(request)
            request.scope["user"] = await self._gate.user_of(request.scope)
            sent = request.method == "POST"
            if sent:
                check_origin(request.headers, self._site.trusted_origins)
            subject = _subject(page, names, request)
            await self._admit(request, "restore", subject)
            form = Form.read(await read_body(request)) if sent else None
            await self._note(request, "restore" if sent else "preview", subject)
            site = self._site_for(request, page)
            return await run_in_threadpool(view, site, request, form, **names)

        return endpoint

    def _kept(self, *, json: bool = False) -> _Endpoint:
        """The page of the views, which the reader may keep and forget by its forms."""

        async def endpoint(request: Request) -> Response:
            request.scope["audit_ui.json"] = json
            self._refuse_strangers(request)
            request.scope["user"] = await self._gate.user_of(request.scope)
            sent = request.method == "POST"
            if sent:
                check_origin(request.headers, self._site.trusted_origins)
            subject = Subject(page="views")
            await self._admit(request, "view", subject)
            form = read_fields(await read_body(request)) if sent else None
            await self._note(request, "view", subject)
            return await run_in_threadpool(
                views_page, self._site_for(request, "views"), request, form
            )

        return endpoint

    async def _note(self, request: Request, action: str, subject: Subject) -> None:
        """Tell who was let in, before anything is shown; what is done is recorded by itself."""
        user = request.scope.get("user")
        note_view(user, action, subject)
        shows = action in ("view", "preview") and subject.page not in ("help", "views")
        if self._viewings is not None and shows:
            await run_in_threadpool(self._viewings.note, self._site, user, subject)

    def _site_for(self, request: Request, page: str) -> Site:
        """The pages as this request's user may see them."""
        reader = Reader(self._gate, request.scope.get("user"), page)
        request.scope["audit_ui.reader"] = reader
        site = self._site
        if site.models is not None:
            site = replace(site, models=Remembered(site.models), briefs={})
        if not reader.is_veiled:
            return site
        return replace(
            site,
            store=veiled(site.store, reader.sees),
            unhurried=veiled(site.unhurried, reader.sees),
        )

    def _refuse_strangers(self, request: Request) -> None:
        if self._gate.local_only and not is_local(request.scope):
            raise Mistake(
                403,
                _("These pages answer this machine only"),
                _(
                    "They were set up with local_only=True, and this request came from "
                    "elsewhere, through a proxy, or under another host name. Open them on the "
                    "machine itself under http://127.0.0.1, or have the application pass "
                    "access=… to create_app."
                ),
            )

    async def _admit(self, request: Request, action: str, subject: Subject) -> None:
        if not await self._gate.admits(request.scope.get("user"), action, subject):
            raise Mistake(
                403,
                _("You may not see this page"),
                _(
                    "The application did not give you the right to %(action)s it. Sign in with "
                    "another account, or ask whoever runs the application.",
                    action=_(_ACTIONS[action]),
                ),
            )

    async def _health(self, request: Request) -> Response:
        self._refuse_strangers(request)
        try:
            await run_in_threadpool(self._site.store.check)
        except StoreError:
            _log.exception("the audit store failed its health check")
            return JSONResponse({"status": "store unavailable"}, 503)
        return JSONResponse({"status": "ok"})


def _names(request: Request) -> dict[str, str]:
    try:
        names = {name: unsegment(text) for name, text in request.path_params.items()}
    except BadEscape as error:
        raise Mistake(
            404,
            _("This address is damaged"),
            _(
                "%(escape)s stands for nothing in it. Look for the record in the feed.",
                escape=repr(error.escape),
            ),
        ) from None
    if names.get("entity") == "":  # to the store it would mean every entity
        raise Mistake(404, _("No entity has an empty name"), _("Choose the entity in the feed."))
    return names


def _subject(page: str, names: dict[str, str], request: Request) -> Subject:
    if page in ("feed", "export") and not names:
        return Subject(page=page, entity=_only_entity(request.query_params))
    return Subject(page=page, **names)


def _only_entity(params: QueryParams) -> str | None:
    """The entity that a feed is of; what cannot be understood its page tells."""
    try:
        filters = parse(params["q"]) if "q" in params else Filters.of(params.multi_items())
    except Mistake:
        return None
    return filters.only_entity


async def _asset(request: Request) -> Response:
    asset = ASSETS.get(request.path_params["name"])
    if asset is None or asset.digest != request.path_params["digest"]:
        raise HTTPException(404)
    return Response(
        asset.content,
        media_type=asset.type,
        headers={"cache-control": "public, max-age=31536000, immutable"},
    )
