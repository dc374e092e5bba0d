"""What all pages share: the store, the templates, and how a page is rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import takewhile
from json import dumps
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from audit_ui.activity import Activity
from audit_ui.assets import ASSETS
from audit_ui.briefs import brief
from audit_ui.filters import PRESETS, VERBS, Filters
from audit_ui.links import JSON, Links
from audit_ui.text import breakable, one_line, shortened, span, typed, visible
from lifecycle.audit.store import AuditStore
from lifecycle.changes import join_path
from lifecycle.coverage import Coverage

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


class _Json(JSONResponse):
    """JSON that holds any text, half a surrogate pair too."""

    def render(self, content: Any) -> bytes:
        return dumps(content, indent=1).encode("ascii")


def _json_link(request: Request) -> str:
    """The address of the page asked for, seen from it, as JSON."""
    last = request.scope["path"].rpartition("/")[2]
    query = request.url.query
    return f"./{quote(last, safe=':,@~')}{JSON}{'?' * bool(query)}{query}"


@dataclass(frozen=True, slots=True)
class Site:
    """The pages of one store; ``unhurried`` is the store without a limit, for what takes long."""

    store: AuditStore
    unhurried: AuditStore
    title: str
    record_exports: bool = True
    coverage: Callable[[], Coverage] | None = None
    views: Mapping[str, Filters] = field(default_factory=dict)
    activity: Activity = field(default_factory=Activity)
    now: Callable[[], datetime] = _utc_now
    templates: Environment = field(default_factory=_environment)

    def is_json(self, request: Request) -> bool:
        """Whether the page was asked for by a program."""
        return bool(request.scope.get("audit_ui.json"))

    def links(self, request: Request) -> Links:
        """Links relative to the page asked for."""
        digests = {name: asset.digest for name, asset in ASSETS.items()}
        return Links(request.scope["audit_ui.root"], digests)

    def render(
        self,
        request: Request,
        template: str,
        status: int = 200,
        json: Callable[[], Any] | None = None,
        **data: Any,
    ) -> Response:
        """A page from its template, or what ``json`` gives where that was asked for."""
        if json is not None and self.is_json(request):
            return _Json(json(), status)
        html = self.templates.get_template(template).render(
            {
                "site": self,
                "links": self.links(request),
                "params": request.query_params,
                "json_link": _json_link(request) if json else "",
                **data,
            }
        )
        return HTMLResponse(html, status)
