"""The search box: filters as one line of qualifiers, ``actor:ann -operation:update since:7d``.

It says the same as the form: ``parse(render(filters)) == filters``. Words without a qualifier are
looked for in labels, reasons and keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from audit_ui.errors import Mistake
from audit_ui.filters import NAMES, Filters, Term
from audit_ui.languages import gettext as _

__all__ = ["parse", "render"]

_ALSO: Final = {
    "by": "actor",
    "user": "actor",
    "model": "entity",
    "action": "operation",
    "id": "key",
    "request": "request_id",
    "transaction": "revision",
    "tx": "revision",
}
"""Other words for the filters, as people know them from elsewhere."""

_TOKEN: Final = re.compile(
    r"""\s*(?P<not>-?)
    (?:(?P<name>[^\s":]+):)?
    (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s"]+))
    (?=\s|\Z)\s*""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN: Final = re.compile(r'[^\s"\\:-][^\s"\\]*')


def parse(line: str) -> Filters:
    """The filters a line asks for. Raises `Mistake` where it cannot be understood."""
    terms = list(_terms(line))
    for name in ("since", "until"):
        if sum(term.name == name for term in terms) > 1:
            raise Mistake(
                400,
                _("%(name)s: is given twice", name=name),
                _("Changes are shown of one stretch of time."),
            )
    return Filters.ordered(terms)


def _terms(line: str) -> Iterator[Term]:
    at = 0
    while line[at:].strip():
        token = _TOKEN.match(line, at)
        bare = token is not None and token["name"] is None and token["plain"]
        if token is None or (bare and ":" in bare):
            raise Mistake(
                400,
                _("%(strip)s cannot be understood", strip=repr(line[at:].strip()[:60])),
                _(
                    "Write name:value, with the value in double quotes if it has spaces; every "
                    'opening quote needs a closing one, as in reason:"price corrected".'
                ),
            )
        at = token.end()
        quoted = token["quoted"]
        value = token["plain"] if quoted is None else re.sub(r"(?s)\\(.)", r"\1", quoted)
        name = _name(token["name"]) if token["name"] else "text"
        if not value:
            raise Mistake(
                400, _("%(name)s: has no value", name=name), _("Give it one, or leave it out.")
            )
        if token["not"] and name in ("since", "until"):
            raise Mistake(
                400,
                _("%(name)s: cannot be turned round", name=name),
                _("Use since: for after, until: for before."),
            )
        yield Term(name, value, bool(token["not"]))


def _name(word: str) -> str:
    name = _ALSO.get(word.lower(), word.lower())
    if name in NAMES:
        return name
    close = get_close_matches(name, (*NAMES, *_ALSO), 1)
    raise Mistake(
        400,
        _("%(word)s is no filter", word=repr(word[:60])),
        (_("Did you mean %(name)s:?", name=close[0]) + " " if close else "")
        + _(
            "There are %(names)s. To look for a text with a colon, put it in quotes.",
            names=", ".join(NAMES),
        ),
    )


def render(filters: Filters) -> str:
    """The line that asks for these filters."""
    return " ".join(map(_written, filters))


def _written(term: Term) -> str:
    value = term.value
    if not _PLAIN.fullmatch(value) or (term.name == "text" and ":" in value):
        value = '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))
    name = "" if term.name == "text" else f"{term.name}:"
    return f"{'-' * term.negated}{name}{value}"
