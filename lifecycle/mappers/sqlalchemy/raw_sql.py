"""SQL text: nobody can tell what it changes, but which tables it names can be seen."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

__all__ = ["ends_work", "may_delete", "may_update", "shape_of", "tables_written"]

_WRITES: Final = re.compile(r"\b(insert|update|delete|replace|merge|truncate|copy|load)\b", re.I)
_DELETES: Final = re.compile(r"\b(delete|replace|merge|truncate)\b", re.I)
_UPDATES: Final = re.compile(r"\b(update|replace|merge)\b", re.I)
_ENDS: Final = re.compile(r"\s*(?:rollback|abort|commit|end)\b", re.I)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
_NUMBER: Final = r"\b\d+(?:\.\d+)?\b"
_VALUES: Final = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)"
    r"|\be'(?:[^'\\]|\\.|'')*(?:'|\Z)|'(?:[^']|'')*(?:'|\Z)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"
    rf"|{_NUMBER}",
    re.I | re.S,
)
_VALUES_OF_MYSQL: Final = re.compile(
    r"(?P<comment>(?:--|\#)[^\n]*|/\*.*?\*/)"
    r"|(?P<quote>['\"])(?:\\.|(?P=quote){2}|(?!(?P=quote)).)*(?:(?P=quote)|\Z)"
    rf"|{_NUMBER}",
    re.S,
)
_NAME: Final = re.compile(r"[^\W\d][\w$]*")
_LONGEST: Final = 300


def ends_work(text: str) -> bool:
    """Whether a text ends a transaction, or goes back to a savepoint, without SQLAlchemy."""
    return _ENDS.match(_COMMENT.sub(" ", text)) is not None


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


def shape_of(text: str, *, of_mysql: bool = False) -> str:
    """A text without its values, which may be secrets, and without needless space.

    MySQL also has texts in double quotes, and a backslash in any of them escapes what follows.
    """
    values = _VALUES_OF_MYSQL if of_mysql else _VALUES
    plain = values.sub(lambda found: " " if found["comment"] else "?", text)
    shape = " ".join(plain.split())
    return shape if len(shape) <= _LONGEST else f"{shape[:_LONGEST]}…"
