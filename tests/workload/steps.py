"""The kinds of steps: each a small function that does one thing an application may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from tests.workload.running import Here

__all__ = ["ALL", "Kind", "step"]

Doing: TypeAlias = "Callable[[Here], None]"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step: what it does, what it needs, and how often it is chosen beside others."""

    do: Doing
    needs: str
    weight: int


ALL: Final[dict[str, Kind]] = {}
"""By name, in the order they are defined in."""


def step(needs: str, weight: int = 2) -> Callable[[Doing], Doing]:
    """Register a kind of step under the name of its function."""

    def register(do: Doing) -> Doing:
        name = do.__name__
        assert name not in ALL, name
        ALL[name] = Kind(do, needs, weight)
        return do

    return register
