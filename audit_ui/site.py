"""What all pages share: the store, the templates, and how a page is rendered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from itertools import chain, islice, takewhile
from json import dumps
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from audit_ui.access import Subject
from audit_ui.activity import Activity
from audit_ui.assets import ASSETS
from audit_ui.briefs import Brief, brief
from audit_ui.choices import Entities
from audit_ui.filters import PRESETS, VERBS, Filters
from audit_ui.languages import current, gettext, ngettext, number, told
from audit_ui.links import JSON, Links
from audit_ui.places import mentioned
from audit_ui.reader import Reader, actor_of
from audit_ui.referring import MOST, Known, Leading, Models, Target, asked_for, named
from audit_ui.restoring import Restorer
from audit_ui.text import breakable, long_day, one_line, shortened, span, typed, visible
from lifecycle.audit.ledger import Ledger
from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import AuditStore
from lifecycle.changes import join_path
from lifecycle.coverage import Coverage

__all__ = ["Site"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _finalize(value: Any) -> Any:
    """Every text on a page passes here, so that none can hide or turn round what it says."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _marked_up(text: Callable[..., str]) -> Callable[..., Markup]:
    """A source of texts for templates: its texts are markup, the values put into them are not."""

    def marked_up(*message: Any, **values: Any) -> Markup:
        return Markup(text(*message, **{name: escape(_finalize(v)) for name, v in values.items()}))

    return marked_up


_ADDRESSABLE: Final = 1_000  # characters; servers refuse addresses that are much longer


def _field_name(path: tuple[str, ...]) -> str:
    """The field or path that has a page, up to the first place in a list; else an empty text."""
    named = takewhile(lambda segment: not segment.isdecimal(), path[1:])
    name = join_path(path[0], *named)
    return "" if name.startswith("$") or len(name) > _ADDRESSABLE else name


def _lang() -> str:
    return current().lang


_SAID: Final = re.findall(r'say\("([^"]+)"', ASSETS["pages.js"].content.decode())


def _script_texts() -> dict[str, str]:
    """What the script says, in the language of the page; nothing for English."""
    return {text: gettext(text) for text in _SAID} if current().texts else {}


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
    environment.globals.update(_=_marked_up(gettext), ngettext=_marked_up(ngettext), lang=_lang)
    environment.globals.update(script_texts=_script_texts)
    environment.filters.update(
        breakable=breakable,
        long_day=long_day,
        mentions=mentioned,
        number=number,
        one_line=one_line,
        shortened=shortened,
        span=span,
        told=told,
        typed=typed,
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


_NOW: Final = 2**62  # a revision that no store comes to


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
    entities: Entities = field(default_factory=Entities)
    now: Callable[[], datetime] = _utc_now
    templates: Environment = field(default_factory=_environment)
    actor: Callable[[Any], str | None] = actor_of
    restorer: Restorer | None = None
    trusted_origins: frozenset[str] = frozenset()
    ledger: Ledger | None = None
    models: Models | None = None
    names_at_once: int = MOST
    """How many objects are named on one page."""
    briefs: dict[Position, Brief] | None = None
    """Those of one request, so that each is made once; ``None`` for pages of a store alone."""

    def is_json(self, request: Request) -> bool:
        """Whether the page was asked for by a program."""
        return bool(request.scope.get("audit_ui.json"))

    def reader(self, request: Request) -> Reader:
        """Who asks."""
        reader: Reader = request.scope["audit_ui.reader"]
        return reader

    def may_keep(self, request: Request) -> bool:
        """Whether to offer the reader to keep a search as a view."""
        return self.reader(request).may("view", Subject(page="views"))

    def may_undo(self, request: Request, record: Record) -> bool:
        """Whether to offer the reader to undo a change, or to restore its object to it."""
        if self.restorer is None or not self.restorer.knows(record):
            return False
        subject = Subject(page="undo", record=record.id, entity=record.entity, key=record.key)
        return self.reader(request).may("restore", subject)

    def may_undo_any(self, request: Request, records: Sequence[Record]) -> bool:
        """Whether to offer the reader to undo a whole revision with these records."""
        if self.restorer is None or not any(map(self.restorer.knows, records)):
            return False
        subject = Subject(page="undo", revision=str(records[0].revision.id))
        return self.reader(request).may("restore", subject)

    def leading(
        self, entity: str, before: Record | None = None, after: Record | None = None
    ) -> Leading | None:
        """What values of an entity refer to, as of two records; ``None`` where that is unknown.

        No record stands for now.
        """
        if self.models is None:
            return None
        first, last = (_NOW if one is None else one.position.seq for one in (before, after))
        return partial(Known, self.models, entity, first, last)

    def targets(self, request: Request, *found: Iterable[Target]) -> list[Target]:
        """Of some targets the first that the reader may see, none twice."""
        reader = self.reader(request)
        seen = (
            one
            for one in dict.fromkeys(chain.from_iterable(found))
            if reader.may("view", Subject(page="object", entity=one.entity, key=one.key))
        )
        return list(islice(seen, self.names_at_once))

    def brief_targets(self, request: Request, records: Iterable[Record]) -> list[Target]:
        """What the values of records refer to, as lists of changes show them."""
        if self.models is None or self.is_json(request):
            return []
        return self.targets(request, *(self.brief(one).targets() for one in records))

    def brief(self, record: Record) -> Brief:
        """A record in a few words."""
        if self.briefs is None:
            return brief(record.changes)
        if record.position not in self.briefs:
            leading = self.leading(record.entity, record, record)
            self.briefs[record.position] = brief(record.changes, leading)
        return self.briefs[record.position]

    def names(self, targets: Sequence[Target]) -> dict[Target, str]:
        """What targets called themselves. One question."""
        if not targets:
            return {}
        return named(targets, self.store.glimpses([asked_for(one) for one in targets]))

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
                "names": {},
                "json_link": _json_link(request) if json else "",
                **data,
            }
        )
        return HTMLResponse(html, status)
