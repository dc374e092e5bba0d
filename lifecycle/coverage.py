"""What the log has, and what it is known not to have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Final

__all__ = ["Coverage", "Gaps", "Unrecorded"]


@dataclass(frozen=True, slots=True, order=True)
class Unrecorded:
    """Writes of one shape to recorded objects that the log does not have, or not all of."""

    entities: tuple[str, ...]
    what: str
    why: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which models are recorded, and which writes to them were seen but are not all in the log.

    Counted since the Lifecycle was made, in this process. ``recorded`` and ``not_recorded`` are
    the names of models as the log has them.
    """

    recorded: tuple[str, ...]
    not_recorded: tuple[str, ...]
    unrecorded: tuple[Unrecorded, ...]


class Gaps:
    """Counts the writes that are not recorded, by shape; safe for threads."""

    MOST: Final = 1_000
    """Shapes that are told apart; what comes after them is counted as one more."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._times: dict[tuple[tuple[str, ...], str, str], int] = {}

    def note(self, entities: Iterable[str], what: str, why: str) -> bool:
        """Count a write; returns whether it is the first of its shape."""
        shape = (tuple(sorted(set(entities))), what, why)
        with self._lock:
            if shape not in self._times and len(self._times) >= self.MOST:
                shape = ((), "other statements", "more shapes than are told apart")
            times = self._times[shape] = self._times.get(shape, 0) + 1
        return times == 1

    def all(self) -> tuple[Unrecorded, ...]:
        """Every shape, in order."""
        with self._lock:
            found = dict(self._times)
        return tuple(sorted(Unrecorded(*shape, times) for shape, times in found.items()))
