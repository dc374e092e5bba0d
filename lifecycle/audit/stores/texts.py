"""Texts as every database keeps them: some characters are written as others."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["escaped", "unescaped"]

_ESCAPED: Final = re.compile("[\x00\ud800-\udfff\ue000]")
_ESCAPE: Final = re.compile("\ue000([0-9a-f]{4})")


def escaped(text: str) -> str:
    """A text without NUL and lone surrogates, which some databases and drivers do not take.

    Each is U+E000 and its four hexadecimal digits instead; so is U+E000 itself.
    """
    if text.isprintable():  # the common case; what is escaped is not
        return text
    return _ESCAPED.sub(lambda found: f"\ue000{ord(found[0]):04x}", text)


def unescaped(text: str) -> str:
    """The text that was escaped."""
    if "\ue000" not in text:
        return text
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
