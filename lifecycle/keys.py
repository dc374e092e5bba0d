"""An object's identity as canonical text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time
from hashlib import sha256
from typing import Any, Final

from lifecycle import codec

__all__ = ["LONGEST", "key_text"]

LONGEST: Final = 255
"""The longest key, in characters; a longer one keeps its beginning and ends in its digest."""

_KEPT: Final = LONGEST - 65  # an ellipsis and 64 hexadecimal digits take the rest


def key_text(identity: Sequence[Any]) -> str:
    """The text of an identity: of one part as people write it, of several joined by commas.

    The parts of a composite identity are escaped (``~1`` a comma, ``~0`` a tilde, ``~`` no
    value), so that two identities of one model never share a text.
    """
    if len(identity) == 1:
        text = _part(identity[0])
    else:
        text = ",".join(
            "~" if part is None else _part(part).replace("~", "~0").replace(",", "~1")
            for part in identity
        )
    if len(text) <= LONGEST:
        return text
    return f"{text[:_KEPT]}…{sha256(text.encode()).hexdigest()}"


def _part(value: Any) -> str:
    kind = type(value)
    if kind is str or kind is int:
        text = str(value)
    elif isinstance(value, date | time):
        text = value.isoformat()
    elif isinstance(value, bytes):
        text = value.hex()
    elif isinstance(value, dict | list | tuple):
        text = codec.dumps(value)
    else:
        text = str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
