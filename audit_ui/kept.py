"""The reader's own views: searches with a name, kept by their browser.

A cookie holds them, so that there is no session, no table and nothing of one reader's that another
could see. It is read as what anybody may have written: what is no view is left out.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.filters import Filters
from audit_ui.languages import gettext as _
from audit_ui.languages import number

__all__ = ["LONGEST", "MOST", "keep", "kept", "search_of"]

COOKIE: Final = "audit_views"
LONGEST: Final = 60
"""How many characters the name of a view may have."""
MOST: Final = 20
"""How many views a browser keeps."""

_ROOM: Final = 3_800  # bytes; browsers keep cookies of 4,096, with their names and attributes
_STAYS: Final = timedelta(days=400)  # as long as browsers keep any


def search_of(filters: Filters) -> str:
    """Filters as the query of an address, which is how a view is kept."""
    return urlencode(filters.params(), doseq=True, errors="replace")


def kept(cookies: Mapping[str, str]) -> dict[str, Filters]:
    """The views in a request's cookies, by their names."""
    try:
        given = json.loads(urlsafe_b64decode(cookies.get(COOKIE, "").encode("ascii")))
    except (ValueError, RecursionError):
        return {}
    views: dict[str, Filters] = {}
    for name, search in given.items() if isinstance(given, dict) else ():
        if isinstance(search, str) and 0 < len(name) <= LONGEST and len(views) < MOST:
            filters = Filters.of(parse_qsl(search, errors="replace"))
            if filters:
                views[name] = filters
    return views


def keep(response: Response, views: Mapping[str, Filters], *, secure: bool) -> None:
    """Have the browser keep these views instead of those it has.

    Without a path the cookie belongs to the folder of the address it comes from: to wherever the
    pages are mounted. Raises `Mistake` when they are too many.
    """
    told = json.dumps({name: search_of(filters) for name, filters in views.items()})
    value = urlsafe_b64encode(told.encode()).decode() if views else ""
    if len(views) > MOST or len(value) > _ROOM:
        raise Mistake(
            409,
            _("There is no room for another view"),
            _(
                "A browser keeps %(most)s of them, fewer when they are long. Forget one first.",
                most=number(MOST),
            ),
        )
    response.set_cookie(
        COOKIE,
        value,
        max_age=int(_STAYS.total_seconds()) if views else 0,
        path=None,
        secure=secure,
        httponly=True,
        samesite="lax",
    )
