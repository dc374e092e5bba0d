"""Views: searches with a name, the application's and the reader's own."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_ui.errors import Mistake
from audit_ui.filters import Filters
from audit_ui.forms import Fields
from audit_ui.kept import LONGEST, MOST, keep, kept
from audit_ui.languages import gettext as _
from audit_ui.languages import number
from audit_ui.search import render
from audit_ui.site import Site

__all__ = ["views_page"]


def views_page(site: Site, request: Request, form: Fields | None) -> Response:
    """All views; a form keeps one more, or forgets one."""
    own = kept(request.cookies)
    if form is not None:
        return _changed(site, request, own, dict(form))
    return site.render(
        request,
        "views.html",
        json=lambda: {
            "application": {name: render(filters) for name, filters in site.views.items()},
            "own": {name: render(filters) for name, filters in own.items()},
        },
        own=own,
        line=render,
        most=MOST,
    )


def _changed(
    site: Site, request: Request, own: dict[str, Filters], form: dict[str, str]
) -> Response:
    links = site.links(request)
    if "forget" in form:
        own.pop(form["forget"], None)
        there = links.views()
    else:
        name = " ".join(form.get("name", "").split())
        if not 0 < len(name) <= LONGEST:
            raise Mistake(
                400,
                _("A view needs a name"),
                _(
                    "Nothing was kept. Go back, and give it one of at most %(longest)s characters.",
                    longest=number(LONGEST),
                ),
            )
        filters = _read(site, form.get("search", ""))
        own[name] = filters
        there = links.feed(**filters.params())
    response = RedirectResponse(there, 303)
    keep(response, own, secure=request.url.scheme == "https")
    return response


def _read(site: Site, search: str) -> Filters:
    """A search that finds something, or could. Raises `Mistake` for any other."""
    filters = Filters.of(parse_qsl(search, errors="replace"))
    if not filters:
        raise Mistake(
            400, _("There is no search to keep"), _("Search for something first, and keep that.")
        )
    filters.query(site.now())
    filters.sieve()
    return filters
