"""Whether what a request wants done was asked for on these pages, and not by another site.

No token and no session is needed: browsers say where a form was sent from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from lifecycle.errors import ConfigurationError

__all__ = ["check_origin", "checked_origins"]

_OWN: Final = ("same-origin", "none")  # none: the user's own doing, as a bookmark


def checked_origins(origins: Collection[str]) -> frozenset[str]:
    """The origins as browsers write them. Raises ``ConfigurationError`` for what is none."""
    if isinstance(origins, str):
        origins = (origins,)
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
            raise ConfigurationError(
                f"{origin!r} in trusted_origins is no origin: write scheme and host, "
                'as in "https://intranet.example"'
            )
    return frozenset(origin.lower() for origin in origins)


def check_origin(headers: Mapping[str, str], trusted: frozenset[str]) -> None:
    """Raise `Mistake` unless a request was sent from a page of the same origin, or a trusted one.

    Browsers that speak HTTPS say so in ``Sec-Fetch-Site``. Over plain HTTP they leave that out and
    the ``Origin`` has to be the host that was asked. Without either nothing is done.
    """
    origin = headers.get("origin", "").lower()
    if origin in trusted:
        return
    site = headers.get("sec-fetch-site")
    if site in _OWN:
        return
    if site is None and origin and urlsplit(origin).netloc == headers.get("host", "").lower():
        return
    raise Mistake(
        403,
        _("This was not asked for on these pages"),
        _(
            "Nothing was done: the request came from another site, or nothing says "
            "from where. Go back to the page, load it again and repeat it there. "
            "Behind a proxy that changes the host, the application names the address "
            "people use: create_app(trusted_origins=…)."
        ),
    )
