"""Time-ordered identifiers (RFC 9562, version 7)."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

__all__ = ["uuid7", "uuid7_of"]


def uuid7() -> UUID:
    """A new UUID that sorts, to the millisecond, by when it was made.

    After RFC 9562 section 5.7: 48 bits of Unix milliseconds, then random bits around the version
    and variant. The standard library has its own from Python 3.14 on.
    """
    return _made(time.time_ns() // 1_000_000, os.urandom(10))


def uuid7_of(at: datetime, name: str) -> UUID:
    """The UUID of something that happened at an aware moment: the same for the same name."""
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return _made(milliseconds, sha256(name.encode()).digest()[:10])


def _made(milliseconds: int, random: bytes) -> UUID:
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(random)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=value)
