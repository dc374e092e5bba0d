"""An object's identity as canonical text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import Any, Final

from lifecycle import codec
from lifecycle.errors import EncodingError

__all__ = ["LONGEST", "key_text"]

LONGEST: Final = 255
"""The longest key, in characters; one that would be as long or longer ends in its digest."""

_KEPT: Final = LONGEST - 65  # an ellipsis and 64 hexadecimal digits take the rest
_UNWRITABLE: Final = re.compile("[\ud800-\udfff\ue000]")


def key_text(identity: Sequence[Any]) -> str:
    """The text of an identity: of one part as people write it, of several joined by commas.

    The parts of a composite identity are escaped (``~1`` a comma, ``~0`` a tilde, ``~`` no
    value), so that two identities of one model, whose parts have one type each, never share a
    text. Values that a database holds to be one do: ``Decimal("1.0")``, ``1.0`` and ``1``; one
    instant in two zones; a text and its subclass. Raises ``EncodingError`` for a value that has no
    text of its own.
    """
    if len(identity) == 1:
        if type(identity[0]) is int:
            return str(identity[0])
        text = _part(identity[0])
    else:
        text = ",".join(
            "~" if part is None else _part(part).replace("~", "~0").replace(",", "~1")
            for part in identity
        )
    if len(text) < LONGEST and (text.isprintable() or _stored_length(text) < LONGEST):
        return text
    kept = text[:_KEPT]
    if _stored_length(kept) > _KEPT:
        kept = kept[: _KEPT // 5]  # whatever is in it, that fits
    return f"{kept}…{sha256(text.encode()).hexdigest()}"


def _stored_length(text: str) -> int:
    """The length a text has in the store, where NUL and U+E000 take five characters."""
    return len(text) + 4 * (text.count("\x00") + text.count("\ue000"))


def _part(value: Any) -> str:
    text = _text(value)
    # As in the store: a lone surrogate as U+E000 and its digits, and so U+E000 itself.
    return text if text.isascii() else _UNWRITABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\ue000{ord(found[0]):04x}"


def _text(value: Any) -> str:
    kind: Any = type(value)
    if kind is int or kind is str:
        return str(value)
    # Of a subclass the database stores the plain value, whatever its own __str__ says.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and kind is not bool:
        return int.__repr__(value)
    if isinstance(value, Enum):
        return str(value.name)
    if isinstance(value, float | Decimal):
        return _number(Decimal(str(value)))
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    if isinstance(value, dict | list | tuple):
        return codec.dumps(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        raise EncodingError(
            f"an identity of type {kind.__module__}.{kind.__qualname__} has no text: give the "
            "class a __str__ that tells its values apart"
        )
    try:
        return str(value)
    except Exception as error:
        raise EncodingError(
            f"the __str__ of {kind.__module__}.{kind.__qualname__} raised {type(error).__name__}; "
            "give the class one that tells its values apart"
        ) from None  # the cause may quote the value


def _number(value: Decimal) -> str:
    """A number without the zeros that make no difference."""
    if not value.is_finite():
        return str(value)
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
