"""What could not be answered, as pages that say why and how to go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.filters import PRESETS, Filters
from audit_ui.languages import gettext as _
from audit_ui.languages import gettext_noop
from audit_ui.links import JSON, unsegment
from audit_ui.site import Site
from lifecycle.errors import QuestionTooSlow, StoreError, StoreUnreachable, TablesMissing

__all__ = ["Failures"]

_log = logging.getLogger("audit_ui")

_STORE_FAILURES: Final[dict[type[Exception], tuple[str, str]]] = {
    StoreUnreachable: (
        gettext_noop("The audit store cannot be reached"),
        gettext_noop(
            "Nothing is lost: the history is there once its database is. Try again in a moment; "
            "if that does not help, the application's log says which connection failed."
        ),
    ),
    TablesMissing: (
        gettext_noop("The audit store has no tables yet"),
        gettext_noop(
            "The application's database is there, the tables of the history are not. "
            "Create them once with lifecycle.create_tables(engine), or by a migration."
        ),
    ),
    QuestionTooSlow: (
        gettext_noop("This question takes too long"),
        gettext_noop(
            "It was stopped, so that it holds up nobody else. Narrow it: a more recent time, "
            "a shorter one, an entity, or one key."
        ),
    ),
    StoreError: (
        gettext_noop("The audit store could not answer"),
        gettext_noop("The application's log says why. Try again, or ask a narrower question."),
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
            title = _("This page can only be read")
            detail = _("Open it with a plain link, by GET.")
        else:
            title = _("There is no such page")
            detail = _("Check the address, or start from the feed.")
        response = self._message(request, error.status_code, title, detail)
        response.headers.update(error.headers or {})
        return response

    def store_failed(self, request: Request, error: Exception) -> Response:
        _log.error("the audit store could not answer %s", request.url.path, exc_info=error)
        title, detail = _STORE_FAILURES.get(type(error), _STORE_FAILURES[StoreError])
        ways = _narrower(self._site, request) if isinstance(error, QuestionTooSlow) else {}
        return self._message(request, 503, _(title), _(detail), ways)

    def failed(self, request: Request, error: Exception) -> Response:
        return self._message(  # the server's own log gets the error: it is raised again after this
            request,
            500,
            _("This page failed"),
            _("The fault is in the application, not in what you did. Its log says more."),
        )

    def _message(
        self,
        request: Request,
        status: int,
        title: str,
        detail: str,
        ways: Mapping[str, str] | None = None,
    ) -> Response:
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
            ways=ways or {},
        )


def _narrower(site: Site, request: Request) -> dict[str, str]:
    """Addresses of the same feed for shorter times, by what they are called."""
    if not request.scope["path"].endswith("/"):  # the feed, and that of one entity, are folders
        return {}
    entity = request.path_params.get("entity")
    fixed = {"entity": unsegment(entity)} if entity else {}
    filters = Filters.of(request.query_params.multi_items(), **fixed)
    links = site.links(request)
    return {
        _(words): links.feed(**filters.with_(since=since, until=""))
        for since, words in PRESETS.items()
    }
