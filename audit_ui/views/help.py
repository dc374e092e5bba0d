"""Help: what the pages show, and how to read their addresses."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.site import Site

__all__ = ["help_page"]


def help_page(site: Site, request: Request) -> Response:
    """A page of words; it reads nothing."""
    return site.render(request, "help.html")
