"""SQL text: nobody can tell what it changes, but which tables it names can be seen."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

__all__ = ["may_delete", "may_update", "shape_of", "tables_written"]

_WRITES: Final = re.compile(r"\b(insert|update|delete|replace|merge|truncate|copy|load)\b", re.I)
_DELETES: Final = re.compile(r"\b(delete|replace|merge|truncate)\b", re.I)
_UPDATES: Final = re.compile(r"\b(update|replace|merge)\b", re.I)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
_LITERAL: Final = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
_NAME: Final = re.compile(r"[^\W\d][\w$]*")
_LONGEST: Final = 300


def may_delete(text: str) -> bool:
    """Whether a text has a word for deleting rows."""
    return _DELETES.search(text) is not None


def may_update(text: str) -> bool:
    """Whether a text has a word for changing rows."""
    return _UPDATES.search(text) is not None


def tables_written(text: str, tables: Set[str]) -> Set[str]:
    """The tables among these, by lower-case name, that a text names if it has a word for writing.

    A quoted text may hold such words and names too: better one warning too many.
    """
    if not _WRITES.search(text):
        return frozenset()
    return tables & {name.lower() for name in _NAME.findall(_COMMENT.sub(" ", text))}


def shape_of(text: str) -> str:
    """A text without its values, which may be secrets, and without needless space."""
    plain = _LITERAL.sub("?", _COMMENT.sub(" ", text))
    shape = " ".join(plain.split())
    return shape if len(shape) <= _LONGEST else f"{shape[:_LONGEST]}…"
