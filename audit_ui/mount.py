"""Under any mount and behind any proxy, the application sees only the path below its own root."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from audit_ui.links import locate

__all__ = ["BelowMount"]


class BelowMount:
    """Lets the application see only the path below its mount, and leads to a page's one address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        place = locate(scope)
        # A copy: the host's own middleware goes on with the path it knows.
        below = {**scope, "audit_ui.root": place.root, "path": place.path, "root_path": ""}
        app: ASGIApp = self._app
        if place.moved is not None and scope["method"] in ("GET", "HEAD"):
            query = scope.get("query_string", b"").decode("latin-1")
            app = RedirectResponse(f"{place.moved}?{query}" if query else place.moved, 307)
        await app(below, receive, send)
