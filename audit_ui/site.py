"""What all pages share: the store, the templates, and how a page is rendered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import takewhile
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from audit_ui.assets import ASSETS
from audit_ui.briefs import brief
from audit_ui.filters import PRESETS, VERBS
from audit_ui.links import Links
from audit_ui.text import breakable, one_line, shortened, span, typed, visible
from lifecycle.audit.store import AuditStore
from lifecycle.changes import join_path

__all__ = ["Site"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _finalize(value: Any) -> Any:
    """Every text on a page passes here, so that none can hide or turn round what it says."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_ADDRESSABLE: Final = 1_000  # characters; servers refuse addresses that are much longer


def _field_name(path: tuple[str, ...]) -> str:
    """The field or path that has a page, up to the first place in a list; else an empty text."""
    named = takewhile(lambda segment: not segment.isdecimal(), path[1:])
    name = join_path(path[0], *named)
    return "" if name.startswith("$") or len(name) > _ADDRESSABLE else name


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("audit_ui"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(brief=brief, field_name=_field_name, presets=PRESETS, verbs=VERBS)
    environment.filters.update(
        breakable=breakable, one_line=one_line, shortened=shortened, span=span, typed=typed
    )
    return environment


@dataclass(frozen=True, slots=True)
class Site:
    """The pages of one store."""

    store: AuditStore
    title: str
    now: Callable[[], datetime] = _utc_now
    templates: Environment = field(default_factory=_environment)

    def links(self, request: Request) -> Links:
        """Links relative to the page asked for."""
        digests = {name: asset.digest for name, asset in ASSETS.items()}
        return Links(request.scope["audit_ui.root"], digests)

    def render(
        self, request: Request, template: str, status: int = 200, **data: Any
    ) -> HTMLResponse:
        """A page from its template."""
        html = self.templates.get_template(template).render(
            site=self, links=self.links(request), params=request.query_params, **data
        )
        return HTMLResponse(html, status)
