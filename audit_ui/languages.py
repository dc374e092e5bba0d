"""The language of a page: its catalogue, chosen for each request, and the texts in it.

English is the source, and what is shown where no catalogue fits. A catalogue is a gettext file
``locale/<language>/LC_MESSAGES/audit_ui.po``, read as it is, so that nothing has to be compiled.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from gettext import c2py
from pathlib import Path
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lifecycle.errors import ConfigurationError
from lifecycle.restoring import Said

__all__ = [
    "Catalogue",
    "Spoken",
    "catalogues",
    "checked_language",
    "chosen",
    "current",
    "gettext",
    "gettext_noop",
    "ngettext",
    "number",
    "read_catalogue",
    "speaking",
    "told",
]

_FOLDER: Final = Path(__file__).with_name("locale")
_ONE_OR_MORE: Final = c2py("n != 1")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language, by what they are in English; ``lang`` is for the page's tag."""

    lang: str = "en"
    thousands: str = ","
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    plural: Callable[[int], int] = _ONE_OR_MORE

    def gettext(self, message: str) -> str:
        """The text in this language, or as it is."""
        return self.texts.get(message, (message,))[0]

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        """The form of the text for a number of things."""
        return self.texts.get(singular, (singular, plural))[self.plural(n)]


# --- reading --------------------------------------------------------------------------------

_KEYWORD: Final = re.compile(r'(msgid_plural|msgid|msgstr)(?:\[\d\])? (".*")')


def read_catalogue(source: str) -> Catalogue:
    """The catalogue in the text of a gettext file. Raises ``ValueError`` for what is none."""
    entries: list[tuple[str, list[str]]] = []
    last: list[str] = []
    for number_, line in enumerate(source.splitlines(), 1):
        match = _KEYWORD.fullmatch(line)
        if match is not None and match[1] == "msgid":
            last = [ast.literal_eval(match[2])]
            entries.append((match[1], last))
        elif match is not None and entries:
            last = [ast.literal_eval(match[2])]
            if match[1] == "msgstr":
                entries.append((match[1], last))
        elif line.startswith('"') and last:
            last.append(ast.literal_eval(line))
        elif line and not line.startswith("#"):
            raise ValueError(f"line {number_} of the catalogue cannot be understood: {line}")
    texts: dict[str, tuple[str, ...]] = {}
    message = ""
    for keyword, parts in entries:
        if keyword == "msgid":
            message = "".join(parts)
        else:
            texts[message] = (*texts.get(message, ()), "".join(parts))
    head = dict(line.split(": ", 1) for line in texts.pop("")[0].splitlines())
    rule = head["Plural-Forms"].partition("plural=")[2].rstrip(";")
    return Catalogue(head["Language"], head["X-Thousands"], texts, c2py(rule))


@cache
def catalogues() -> Mapping[str, Catalogue]:
    """Every catalogue there is, by its language; English without one."""
    found = {"en": Catalogue()}
    for path in sorted(_FOLDER.glob("*/LC_MESSAGES/audit_ui.po")):
        found[path.parts[-3]] = read_catalogue(path.read_text("utf-8"))
    return found


# --- choosing -------------------------------------------------------------------------------

_WISH: Final = re.compile(
    r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=([01](?:\.\d*)?))?\s*"
)


def chosen(accepted: str) -> str:
    """The language that an ``Accept-Language`` header likes best, of those there are."""
    best, weight = "en", 0.0
    for wish in accepted[:1_000].split(","):
        match = _WISH.fullmatch(wish)
        if match is None:
            continue
        language, liking = match[1].lower(), float(match[2] or 1)
        if language in catalogues() and liking > weight:
            best, weight = language, liking
    return best


def checked_language(locale: str | None) -> str | None:
    """The language the host wants. Raises ``ConfigurationError`` where there is no such one."""
    if locale is not None and locale not in catalogues():
        raise ConfigurationError(
            f"locale={locale!r} is none of the languages of the pages; "
            f"there are {', '.join(catalogues())}, and None follows each reader's browser"
        )
    return locale


# --- speaking -------------------------------------------------------------------------------

_CURRENT: Final[ContextVar[Catalogue | None]] = ContextVar("audit_ui_language", default=None)
# Of the context and not of the thread: a worker thread gets that of the request it works for.


def current() -> Catalogue:
    """The catalogue of the request at hand; that of English outside one."""
    return _CURRENT.get() or catalogues()["en"]


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Everything inside in one language."""
    token = _CURRENT.set(catalogues()[language])
    try:
        yield
    finally:
        _CURRENT.reset(token)


def gettext(message: str, **values: Any) -> str:
    """A text in the language at hand, with values in their places."""
    text = current().gettext(message)
    return text % values if values else text


def ngettext(singular: str, plural: str, n: int, **values: Any) -> str:
    """The same where it depends on a number, which its places call ``number``."""
    return current().ngettext(singular, plural, n) % {"number": number(n), **values}


def gettext_noop(message: str) -> str:
    """Marks a text that is put into the language later, when it is shown."""
    return message


def told(message: str) -> str:
    """What the library says of an object, in the language at hand if it is `Said`."""
    if not isinstance(message, Said):
        return message
    values = {name: told(v) if isinstance(v, str) else v for name, v in message.values.items()}
    return gettext(message.text) % values


def number(value: int) -> str:
    """A whole number as the language at hand writes it."""
    return f"{value:,}".replace(",", current().thousands)


class Spoken:
    """Wraps the application: one language for each request, the host's or the reader's."""

    def __init__(self, app: ASGIApp, locale: str | None) -> None:
        self._app = app
        self._locale = checked_language(locale)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wishes = Headers(scope=scope).getlist("accept-language")

        async def send_varied(message: Message) -> None:
            if message["type"] == "http.response.start" and self._locale is None:
                headers = MutableHeaders(scope=message)
                if "immutable" not in headers.get("cache-control", ""):  # an asset has no language
                    headers.add_vary_header("Accept-Language")
            await send(message)

        with speaking(self._locale or chosen(",".join(wishes))):
            await self._app(scope, receive, send_varied)
