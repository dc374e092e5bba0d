"""Recorded values as text that people can read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from audit_ui.languages import gettext as _
from audit_ui.languages import gettext_noop
from lifecycle.markers import ABSENT, MASKED, UNKNOWN, Erased, Marker

__all__ = ["Kind", "Shown", "shown", "worded"]

Kind: TypeAlias = Literal[
    "text", "plain", "structure", "binary", "null", "empty", "absent", "unknown", "masked"
]


@dataclass(frozen=True, slots=True)
class Shown:
    """A value's text, what kind of text that is, and the name of the value's type."""

    kind: Kind
    text: str
    type: str


_WORDED: Final[dict[object, tuple[Kind, str]]] = {
    None: ("null", gettext_noop("NULL")),
    ABSENT: ("absent", gettext_noop("no value")),
    UNKNOWN: ("unknown", gettext_noop("not known")),
    MASKED: ("masked", gettext_noop("hidden")),
}
_CONTAINERS: Final = (Mapping, list, tuple, set, frozenset)
_WIDTH: Final = 72
_DEPTH: Final = 100  # as deep as the log itself goes


def shown(value: Any) -> Shown:
    """A value as people read it."""
    name = type(value).__name__
    if value is None or isinstance(value, Marker):
        kind, text = _WORDED[value]
        return Shown(kind, text, name)
    if isinstance(value, Erased):
        return Shown("masked", gettext_noop("erased"), name)
    if isinstance(value, str) and not isinstance(value, Enum):
        return (
            Shown("text", str(value), name)
            if value
            else Shown("empty", gettext_noop("empty text"), name)
        )
    if isinstance(value, bytes | bytearray | memoryview):
        return Shown("binary", _binary(bytes(value)), name)
    if isinstance(value, _CONTAINERS):
        return Shown("structure", _pretty(value, 0), name)
    return Shown("plain", _scalar(value), name)


def worded(value: Shown) -> str:
    """The text in the language of the page, where it is ours; of the data's it is left alone."""
    ours = value.kind in ("null", "empty", "absent", "unknown", "masked")
    return _(value.text) if ours else value.text


def _binary(value: bytes) -> str:
    unit = "byte" if len(value) == 1 else "bytes"
    return f"{len(value):,} {unit}, sha256 {sha256(value).hexdigest()[:16]}…"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, int):
        return _whole_number(value)
    return str(value)


def _whole_number(value: int) -> str:
    try:
        return str(int(value))
    except ValueError:  # Python refuses to write thousands of digits in decimal
        return hex(value)


def _pretty(value: Any, level: int) -> str:
    """Like JSON, over several lines where one would be too long."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return json.dumps(value, ensure_ascii=False)
    if value is None:
        return "null"
    if not isinstance(value, _CONTAINERS):
        return shown(value).text
    if level > _DEPTH:
        return "…"
    opening, closing = _brackets(value)
    parts = list(_parts(value, level))
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(line) + 2 * level <= _WIDTH and "\n" not in line:
        return line
    indent = "  " * (level + 1)
    body = ",\n".join(f"{indent}{part}" for part in parts)
    return f"{opening}\n{body}\n{'  ' * level}{closing}"


def _brackets(value: object) -> tuple[str, str]:
    if isinstance(value, Mapping | set | frozenset):
        return "{", "}"
    return ("(", ")") if isinstance(value, tuple) else ("[", "]")


def _parts(value: Any, level: int) -> Iterable[str]:
    if isinstance(value, Mapping):
        return (f"{_pretty(k, level + 1)}: {_pretty(v, level + 1)}" for k, v in value.items())
    parts = (_pretty(element, level + 1) for element in value)
    return sorted(parts) if isinstance(value, set | frozenset) else parts
