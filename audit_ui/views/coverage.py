"""What is recorded, and what was seen but is not in the log."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.errors import Mistake
from audit_ui.site import Site

__all__ = ["coverage_page"]


def coverage_page(site: Site, request: Request) -> Response:
    """The coverage of the Lifecycle these pages were made with; it reads nothing of the store."""
    if site.coverage is None:
        raise Mistake(
            404,
            "These pages know the store only",
            "What is recorded knows the application: give create_app the Lifecycle itself.",
        )
    found = site.coverage()
    return site.render(
        request,
        "coverage.html",
        json=lambda: asdict(found),
        coverage=found,
        times=sum(one.times for one in found.unrecorded),
    )
