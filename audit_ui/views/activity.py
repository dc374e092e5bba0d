"""The strip of the last days above the feed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.activity import drawn
from audit_ui.site import Site

__all__ = ["activity_image"]


def activity_image(site: Site, request: Request) -> Response:
    """An image, asked for by itself, so that the feed does not wait for it."""
    image = drawn(site.activity.days(site.store, site.now()))
    return Response(image, media_type="image/svg+xml")
