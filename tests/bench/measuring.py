"""Taking times: several repeats of runs that take turns."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import quantiles
from time import perf_counter_ns, process_time_ns
from typing import NamedTuple, TypeAlias

__all__ = ["Figure", "Steps", "Taken", "Times", "per_call", "progress", "spread", "taking_turns"]

Steps: TypeAlias = Iterator[str]
"""A run: it yields the name of each step when the step is done, "" for one that is not timed."""


class Taken(NamedTuple):
    """What a step took, in milliseconds: on the clock, and of this process's own CPU time."""

    clock: float
    cpu: float


Times: TypeAlias = dict[str, list[Taken]]
"""By step, one for each repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table: what was measured, the median, and what is to be reached.

    ``spread`` is how far the middle half of the repeats lies around the median. ``ratio`` compares
    with the plain run, ``cpu_ratio`` does so without the time of disk and server, and
    ``statements`` is what the step sent.
    """

    section: str
    what: str
    value: float
    unit: str
    spread: float
    ratio: float | None = None
    cpu_ratio: float | None = None
    statements: int | None = None
    reach: str = ""


def progress(text: str) -> None:
    """Tell on stderr what is being measured."""
    print(text, file=sys.stderr, flush=True)


def spread(times: list[float]) -> float:
    """How far the middle half lies around the median."""
    first, _, third = quantiles(times, n=4)
    return (third - first) / 2


def per_call(
    function: Callable[[], object], beside: Callable[[], object], calls: int, repeats: int
) -> list[float]:
    """CPU time of a call in nanoseconds, for each repeat, less what the other function takes."""
    gc.collect()
    return [_per_call(function, calls) - _per_call(beside, calls) for _ in range(repeats)]


def _per_call(function: Callable[[], object], calls: int) -> float:
    start = process_time_ns()
    for _ in range(calls):
        function()
    return (process_time_ns() - start) / calls


def taking_turns(runs: Mapping[str, Callable[[], Steps]], repeats: int) -> dict[str, Times]:
    """The times of every run. The first turn of each warms up and does not count."""
    times: dict[str, Times] = {name: {} for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            gc.collect()
            for step, taken in _timed(run()):
                if turn and step:
                    times[name].setdefault(step, []).append(taken)
    return times


def _timed(steps: Steps) -> Iterator[tuple[str, Taken]]:
    clock, cpu = perf_counter_ns(), process_time_ns()
    for step in steps:
        yield step, Taken((perf_counter_ns() - clock) / 1e6, (process_time_ns() - cpu) / 1e6)
        clock, cpu = perf_counter_ns(), process_time_ns()
