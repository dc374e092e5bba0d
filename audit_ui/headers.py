"""The headers every response carries, errors included."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lifecycle.errors import ConfigurationError

__all__ = ["StrictHeaders"]


class StrictHeaders:
    """Wraps an application so that a browser runs nothing but the pages' own files."""

    def __init__(self, app: ASGIApp, frame_ancestors: str) -> None:
        if any(character in frame_ancestors for character in ";,\r\n") or not frame_ancestors:
            raise ConfigurationError(
                f"frame_ancestors={frame_ancestors!r} is no list of sources; "
                "give them separated by spaces, as \"'self' https://intranet.example\""
            )
        self._app = app
        self._headers = {
            "content-security-policy": "; ".join(
                (
                    "default-src 'none'",
                    *(f"{kind}-src 'self'" for kind in ("style", "script", "img", "connect")),
                    "form-action 'self'",
                    "base-uri 'none'",
                    f"frame-ancestors {frame_ancestors}",
                )
            ),
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "cache-control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
