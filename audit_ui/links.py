"""Addresses: every link is relative to its page, so that no mount or proxy prefix can break it.

Servers decode a path before the application sees it, and browsers and proxies rewrite some
segments. A segment therefore escapes what would not survive, after the manner of RFC 6901:

==========  =================================================
``~0``      a tilde
``~1``      a slash
``~2``      a dot, where the segment holds nothing but dots, or ends with ``.json``
``~3``      nothing: the segment of an empty text
``~uXXXX``  a control character, a backslash, a percent sign or half a surrogate pair
==========  =================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote, urlencode
from uuid import UUID

__all__ = ["JSON", "Links", "Place", "locate", "page_path", "segment", "unsegment"]

# --- segments -------------------------------------------------------------------------------

JSON: Final = ".json"
"""What the address of a page ends with that is to be read by a program."""

_FRAGILE: Final = re.compile("[\x00-\x1f\x7f\\\\%\ud800-\udfff]")
_ESCAPE: Final = re.compile("~(u[0-9A-F]{4}|.?)", re.DOTALL)
_MEANING: Final = {"0": "~", "1": "/", "2": ".", "3": ""}


def segment(text: str) -> str:
    """One path segment that stands for any text at all."""
    if not text:
        return "~3"
    escaped = text.replace("~", "~0").replace("/", "~1")
    if not escaped.strip("."):
        escaped = escaped.replace(".", "~2")
    elif escaped.endswith(JSON):
        escaped = f"{escaped[: -len(JSON)]}~2json"
    escaped = _FRAGILE.sub(lambda match: f"~u{ord(match[0]):04X}", escaped)
    return quote(escaped, safe=":,@~")


class BadEscape(ValueError):
    """A segment has an escape that stands for nothing."""

    def __init__(self, escape: str) -> None:
        super().__init__(f"{escape!r} is no escape; known are ~0 ~1 ~2 ~3 and ~uXXXX")
        self.escape = escape


def unsegment(text: str) -> str:
    """The text a decoded segment stands for. Raises `BadEscape` for an unknown one."""
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    try:
        return _MEANING[escape]
    except KeyError:
        raise BadEscape(match[0]) from None


# --- where a request is ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Which page was asked for, how it links to the feed, and where it has moved to, if it has."""

    path: str
    root: str
    moved: str | None = None


def page_path(scope: Mapping[str, Any]) -> str:
    """The path below the mount; empty when the mount itself was asked for without its slash.

    Hosts disagree on whether ``path`` includes ``root_path``: the ASGI specification says yes; a
    proxy that strips its prefix leaves only the part below ``app_root_path``; and some hosts hand
    over a path that is stripped already.
    """
    path: str = scope["path"]
    full = scope.get("root_path", "").rstrip("/")
    below_proxy = full.removeprefix(scope.get("app_root_path", "").rstrip("/"))
    for prefix in (full, below_proxy):
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            return path[len(prefix) :]
    return path


def locate(scope: Mapping[str, Any]) -> Place:
    """Where a request is, seen from the browser: relative links count from there.

    The feed and the pages of entities end with a slash, no other page does; `Place.moved` leads
    there from the other spelling.
    """
    page = page_path(scope)
    raw = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
    seen = _as_written(scope["path"], page, raw)
    if not seen:
        last = (raw or quote(scope["path"])).rpartition("/")[2]
        return Place("/", "./", f"./{last}/" if last else None)
    bare = page.rstrip("/")
    is_folder = not bare or (bare.startswith("/o/") and bare.count("/") == 2)
    path = f"{bare}/" if is_folder else bare
    return Place(path, "../" * (seen.count("/") - 1) or "./", _moved(seen, is_folder))


def _as_written(path: str, page: str, raw: str) -> str:
    """The page's path as the browser wrote it: still quoted, with or without a last slash."""
    decoded = unquote(raw)
    if page and decoded == path:
        above = path.count("/") - page.count("/")
        return "/" + "/".join(raw.split("/")[above + 1 :])
    bare = page.rstrip("/")
    if raw and decoded.rstrip("/").endswith(bare):  # a host that adds a slash of its own
        return bare + "/" * raw.endswith("/")
    return page


def _moved(seen: str, is_folder: bool) -> str | None:
    if seen.endswith("/") == is_folder or seen.endswith("//"):
        return None
    last = quote(unquote(seen.rstrip("/").rpartition("/")[2]), safe=":,@~")
    return f"./{last}/" if is_folder else f"../{last}"


# --- links ----------------------------------------------------------------------------------


_Values: TypeAlias = "str | Sequence[str]"
"""One value of a parameter, or several."""


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses of all pages, relative to the page they stand on."""

    root: str
    assets: Mapping[str, str]

    def feed(self, **filters: _Values) -> str:
        return self.root + _query(filters)

    def feed_as(self, form: str, **filters: _Values) -> str:
        return f"{self.root}{form}{_query(filters)}"

    def entity(self, entity: str, **filters: _Values) -> str:
        return f"{self.root}o/{segment(entity)}/{_query(filters)}"

    def object(self, entity: str, key: str, **state: str) -> str:
        return f"{self.root}o/{segment(entity)}/{segment(key)}{_query(state)}"

    def field(self, entity: str, key: str, field: str, **state: str) -> str:
        return f"{self.root}o/{segment(entity)}/{segment(key)}/f/{segment(field)}{_query(state)}"

    def record(self, record: str, **state: str) -> str:
        return f"{self.root}r/{segment(record)}{_query(state)}"

    def revision(self, revision: UUID, **state: str) -> str:
        return f"{self.root}t/{segment(str(revision))}{_query(state)}"

    def undo(self, record: str) -> str:
        return f"{self.record(record)}/undo"

    def undo_revision(self, revision: UUID) -> str:
        return f"{self.revision(revision)}/undo"

    def restore(self, entity: str, key: str, **state: str) -> str:
        return f"{self.object(entity, key)}/restore{_query(state)}"

    def related(self, entity: str, key: str, **state: str) -> str:
        return f"{self.object(entity, key)}/related{_query(state)}"

    def group(self, group: UUID, **state: str) -> str:
        return f"{self.root}g/{segment(str(group))}{_query(state)}"

    def actor(self, actor: str, **state: str) -> str:
        return f"{self.root}a/{segment(actor)}{_query(state)}"

    def activity(self) -> str:
        return f"{self.root}-/activity.svg"

    def coverage(self) -> str:
        return f"{self.root}-/coverage"

    def views(self) -> str:
        return f"{self.root}views"

    def help(self) -> str:
        return f"{self.root}-/help"

    def asset(self, name: str) -> str:
        return f"{self.root}-/assets/{self.assets[name]}/{name}"


def _query(values: Mapping[str, _Values]) -> str:
    given = {name: value for name, value in values.items() if value}
    return f"?{urlencode(given, doseq=True, errors='replace')}" if given else ""
