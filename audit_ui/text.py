"""Text as it can be looked at: what is invisible, or misleads the eye, gets a visible form."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

from markupsafe import Markup, escape

from audit_ui.languages import gettext as _
from audit_ui.languages import gettext_noop, number

__all__ = [
    "breakable",
    "long_day",
    "one_line",
    "shortened",
    "spaces_shown",
    "span",
    "typed",
    "visible",
]

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad"  # control characters, except tab and newline
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # no width, or turns the line round
    "\ud800-\udfff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"  # half ones, no ones, tags
)
_SPANS: Final = (
    (86_400, gettext_noop("d")),
    (3_600, gettext_noop("h")),
    (60, gettext_noop("min")),
    (1, gettext_noop("s")),
)
_WEEKDAYS: Final = (
    gettext_noop("Mon"),
    gettext_noop("Tue"),
    gettext_noop("Wed"),
    gettext_noop("Thu"),
    gettext_noop("Fri"),
    gettext_noop("Sat"),
    gettext_noop("Sun"),
)
_MONTHS: Final = (
    gettext_noop("Jan"),
    gettext_noop("Feb"),
    gettext_noop("Mar"),
    gettext_noop("Apr"),
    gettext_noop("May"),
    gettext_noop("Jun"),
    gettext_noop("Jul"),
    gettext_noop("Aug"),
    gettext_noop("Sep"),
    gettext_noop("Oct"),
    gettext_noop("Nov"),
    gettext_noop("Dec"),
)
_SPACES: Final = str.maketrans({" ": "·", "\t": "→", "\n": "↵\n", "\xa0": "⍽"})


def visible(text: str) -> str:
    """The text with every character that cannot be seen replaced by a picture or its number."""
    return _UNSEEN.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def breakable(name: str) -> Markup:
    """The name with places where a line may break: after each underscore."""
    return escape(visible(name)).replace("_", Markup("_<wbr>"))


def span(length: timedelta) -> str:
    """How long something lasted, in its two largest units."""
    seconds = max(0, int(length.total_seconds()))
    parts: list[str] = []
    for size, unit in _SPANS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{number(count)} {_(unit)}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or _("less than a second")


def long_day(day: date) -> str:
    """A day with its weekday, and the month by its name."""
    return _(
        "%(weekday)s %(day)s %(month)s %(year)s",
        weekday=_(_WEEKDAYS[day.weekday()]),
        day=day.day,
        month=_(_MONTHS[day.month - 1]),
        year=day.year,
    )


def typed(text: str) -> Markup:
    """The text as it stands in an input, exactly; half a character, which no page holds, as �."""
    return escape(text.encode("utf-8", "replace").decode())


def spaces_shown(text: str) -> str:
    """The text with its white space visible, for where the white space is what changed."""
    return text.translate(_SPACES)


def one_line(text: str) -> str:
    """The first line that says anything."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def shortened(text: str, length: int) -> str:
    """The text in one line of at most so many characters, an ellipsis where it was cut."""
    head = text[: length + 1].replace("\n", " ")
    return head if len(text) <= length else f"{head[: length - 1].rstrip()}…"
