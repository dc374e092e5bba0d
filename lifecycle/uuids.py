"""Time-ordered identifiers (RFC 9562, version 7)."""

from __future__ import annotations

import os
import time
from uuid import UUID

__all__ = ["uuid7"]


def uuid7() -> UUID:
    """A new UUID that sorts, to the millisecond, by when it was made.

    After RFC 9562 section 5.7: 48 bits of Unix milliseconds, then random bits around the version
    and variant. The standard library has its own from Python 3.14 on.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=value)
