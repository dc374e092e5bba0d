"""Taking times: rounds in which the contestants take turns, and what the rounds say together."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import process_time_ns
from typing import TypeAlias

from sqlalchemy import URL

from tests.bench.contestants import Contestant
from tests.bench.loads import Load
from tests.bench.workers import Counted, Taken, Worker, worker
from tests.servers import sql_database

__all__ = ["Figure", "empty_database", "measure", "per_call", "spread"]

Run: TypeAlias = dict[str, Taken]
"""What each step of a load took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table: what was measured, the median, and what is to be reached.

    ``spread`` is how far the middle half of the rounds lies around the median. ``ratio`` compares
    with the plain run of the same round, ``cpu_ratio`` does so without the time of disk and server.
    ``statements`` and ``records`` are what the step sent and what it left in the log; ``None``
    where there is nothing to record.
    """

    section: str
    what: str
    contestant: str = ""
    value: float
    unit: str
    spread: float
    ratio: float | None = None
    cpu_ratio: float | None = None
    statements: float | None = None
    records: int | None = None
    reach: str = ""


def measure(
    database: str,
    contestants: Sequence[Contestant],
    loads: Sequence[Load],
    rounds: int,
    tell: Callable[[str], object],
) -> Iterator[Figure]:
    """The lines about one database; one contestant has to be "plain".

    ``tell`` is called before each run. The first run of each contestant warms up, and is the one
    in which statements and records are counted. Raises `Failed` for a contestant that does not
    record what it claims to, and `Unavailable` for want of a server.
    """
    with ExitStack() as stack:
        workers = []
        for one in contestants:
            url = stack.enter_context(empty_database(database))
            workers.append(stack.enter_context(worker(one, url)))
        for load in loads:
            yield from _figures(database, workers, load, rounds, tell)


@contextmanager
def empty_database(name: str) -> Iterator[URL | str]:
    """A new database for one contestant, gone with the block."""
    if name == "sqlite":
        with TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'bench.sqlite'}"
    else:
        with sql_database(name) as url:
            yield url


def _figures(
    database: str,
    workers: Sequence[Worker],
    load: Load,
    rounds: int,
    tell: Callable[[str], object],
) -> Iterator[Figure]:
    counted: dict[str, list[Counted]] = {}
    times: dict[str, list[Run]] = {one.contestant.name: [] for one in workers}
    for number in range(rounds + 1):
        for one in workers:
            name = one.contestant.name
            tell(f"{database}, {load.name}: {name}")
            if number:
                times[name].append(one.time(load))
            else:
                counted[name] = one.count(load)
    steps = {one.step.name: one.step for one in counted["plain"]}
    parts = {**{name: (name,) for name in steps}, **load.sums}
    for what, names in parts.items():
        taken = {who: [_sum(run, names) for run in runs] for who, runs in times.items()}
        for who, those in taken.items():
            clock = [one.clock for one in those]
            pairs = list(zip(those, taken["plain"], strict=True))
            sent = [one for one in counted[who] if one.step.name in names]
            to_reach = steps[what].reach if what in steps else load.reach
            yield Figure(
                section=f"{database}, {load.name}: {load.size:,} objects",
                what=what,
                contestant=who,
                value=median(clock),
                unit="ms",
                spread=spread(clock),
                ratio=median(one.clock / plain.clock for one, plain in pairs),
                cpu_ratio=median(one.cpu / plain.cpu for one, plain in pairs),
                statements=sum(one.statements / one.step.commits for one in sent),
                records=sum(one.records for one in sent)
                if any(one.step.records for one in sent)
                else None,
                reach=to_reach if who == "lifecycle" else "",
            )


def _sum(run: Run, names: Sequence[str]) -> Taken:
    return reduce(add, (run[name] for name in names))


def spread(times: Sequence[float]) -> float:
    """How far the middle half lies around the median."""
    if len(times) < 2:
        return 0.0
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
