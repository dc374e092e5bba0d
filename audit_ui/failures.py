"""What could not be answered, as pages that say why and how to go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.links import JSON
from audit_ui.site import Site
from lifecycle.errors import QuestionTooSlow, StoreError, StoreUnreachable, TablesMissing

__all__ = ["Failures"]

_log = logging.getLogger("audit_ui")

_STORE_FAILURES: Final[dict[type[Exception], tuple[str, str]]] = {
    StoreUnreachable: (
        "The audit store cannot be reached",
        "Nothing is lost: the history is there once its database is. Try again in a moment; "
        "if that does not help, the application's log says which connection failed.",
    ),
    TablesMissing: (
        "The audit store has no tables yet",
        "The application's database is there, the tables of the history are not. "
        "Create them once with lifecycle.create_tables(engine), or by a migration.",
    ),
    QuestionTooSlow: (
        "This question takes too long",
        "It was stopped, so that it holds up nobody else. Narrow it: a more recent time, "
        "a shorter one, an entity, or one key.",
    ),
    StoreError: (
        "The audit store could not answer",
        "The application's log says why. Try again, or ask a narrower question.",
    ),
}


class Failures:
    """One handler for every kind of failure."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def handlers(self) -> dict[Any, Callable[[Request, Exception], Response]]:
        """The handlers by the exception they are for."""
        return {
            Mistake: self.mistake,
            HTTPException: self.refused,
            StoreError: self.store_failed,
            Exception: self.failed,
        }

    def mistake(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Mistake)
        return self._message(request, error.status, error.title, error.detail)

    def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            title, detail = "This page can only be read", "Open it with a plain link, by GET."
        else:
            title, detail = "There is no such page", "Check the address, or start from the feed."
        response = self._message(request, error.status_code, title, detail)
        response.headers.update(error.headers or {})
        return response

    def store_failed(self, request: Request, error: Exception) -> Response:
        _log.error("the audit store could not answer %s", request.url.path, exc_info=error)
        title, detail = _STORE_FAILURES.get(type(error), _STORE_FAILURES[StoreError])
        return self._message(request, 503, title, detail)

    def failed(self, request: Request, error: Exception) -> Response:
        return self._message(  # the server's own log gets the error: it is raised again after this
            request,
            500,
            "This page failed",
            "The fault is in the application, not in what you did. Its log says more.",
        )

    def _message(self, request: Request, status: int, title: str, detail: str) -> Response:
        if request.scope["path"].endswith(JSON):
            request.scope["audit_ui.json"] = True
        return self._site.render(
            request,
            "message.html",
            status,
            json=lambda: {"status": status, "title": title, "detail": detail},
            code=status,
            heading=title,
            detail=detail,
        )
