"""How jobs on the log tell how far they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Progress", "nobody"]

Progress: TypeAlias = Callable[[int], None]
"""Is told of so many more records, or leaves that are verified, that are done."""


def nobody(done: int) -> None:
    """Nobody looks at the progress."""
