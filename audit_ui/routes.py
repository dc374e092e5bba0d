"""Which address shows which page, and to whom."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

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
from audit_ui.links import unsegment
from audit_ui.search import parse
from audit_ui.site import Site
from audit_ui.views.actor import actor_page
from audit_ui.views.feed import feed_page
from audit_ui.views.field import field_page
from audit_ui.views.help import help_page
from audit_ui.views.object import object_page
from audit_ui.views.record import record_page
from audit_ui.views.revision import revision_page
from lifecycle.errors import StoreError

__all__ = ["Pages"]

_log = logging.getLogger("audit_ui")

_View: TypeAlias = Callable[..., Response]
_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Pages:
    """The endpoints: who may see a page is asked first, then its view runs in a worker thread."""

    def __init__(self, site: Site, gate: Gate) -> None:
        self._site = site
        self._gate = gate

    def routes(self) -> list[Route]:
        """Every address below the mount."""
        return [
            Route("/", self._page("feed", feed_page)),
            Route("/o/{entity}/", self._page("feed", feed_page)),
            Route("/o/{entity}/{key}", self._page("object", object_page)),
            Route("/o/{entity}/{key}/f/{field}", self._page("field", field_page)),
            Route("/r/{record}", self._page("record", record_page)),
            Route("/t/{revision}", self._page("revision", revision_page)),
            Route("/a/{actor}", self._page("actor", actor_page)),
            Route("/-/help", self._page("help", help_page)),
            Route("/-/health", self._health),
            Route("/-/assets/{digest}/{name}", _asset),
        ]

    def _page(self, page: str, view: _View) -> _Endpoint:
        async def endpoint(request: Request) -> Response:
            names = _names(request)
            self._refuse_strangers(request)
            await self._admit(request, _subject(page, names, request))
            return await run_in_threadpool(view, self._site, request, **names)

        return endpoint

    def _refuse_strangers(self, request: Request) -> None:
        if self._gate.local_only and not is_local(request.scope):
            raise Mistake(
                403,
                "These pages answer this machine only",
                "They were set up with local_only=True, and this request came from elsewhere, "
                "through a proxy, or under another host name. Open them on the machine itself "
                "under http://127.0.0.1, or have the application pass access=… to create_app.",
            )

    async def _admit(self, request: Request, subject: Subject) -> None:
        if not await self._gate.admits(request.scope.get("user"), "view", subject):
            raise Mistake(
                403,
                "You may not see this page",
                "The application did not give you the right to view it. "
                "Sign in with another account, or ask whoever runs the application.",
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
    except ValueError as error:
        raise Mistake(
            404, "This address is damaged", f"In it, {error}. Look for the record in the feed."
        ) from None
    if names.get("entity") == "":  # to the store it would mean every entity
        raise Mistake(404, "No entity has an empty name", "Choose the entity in the feed.")
    return names


def _subject(page: str, names: dict[str, str], request: Request) -> Subject:
    if page == "feed" and not names:
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
