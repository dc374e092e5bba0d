"""The three values that are not values: what is unknown, absent or hidden.

They are singletons, compared with ``is``, false in a condition, and survive copying, pickling and
the log. They are their own markers so that every real value, ``None`` and ``"*"`` included, can
still be recorded and matched.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

__all__ = ["ABSENT", "MASKED", "UNKNOWN", "Erased", "Marker", "is_hidden"]


class Marker(Enum):
    """The type of the markers, so that a type checker can tell them from values."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    MASKED = "masked"

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final[Literal[Marker.UNKNOWN]] = Marker.UNKNOWN
"""The value cannot be known; recorded instead of a guess."""

ABSENT: Final[Literal[Marker.ABSENT]] = Marker.ABSENT
"""There is no value: before an insert, after a delete, a key a document does not have."""

MASKED: Final[Literal[Marker.MASKED]] = Marker.MASKED
"""There is a value, and it was hidden before it was recorded."""


@dataclass(frozen=True, slots=True, repr=False)
class Erased:
    """There was a value, and it was erased from the log; only its keyed digest is left."""

    digest: str

    def __repr__(self) -> str:
        return "ERASED"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return False


def is_hidden(value: object) -> bool:
    """Whether the log does not tell a value that was there."""
    return value is UNKNOWN or value is MASKED or type(value) is Erased
