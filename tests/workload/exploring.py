"""Making programs up at random, doing them again, and making those that fail short."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final

from tests.workload.choices import CAST
from tests.workload.database import Database
from tests.workload.judging import Complaint
from tests.workload.kinds import ALL, enabled
from tests.workload.limits import OFF, is_known
from tests.workload.programs import Step
from tests.workload.running import SKIPPED, Run, quietly

__all__ = ["explore", "replay", "shrink"]

TRANSACTIONS: Final = 60
"""How many a program has: enough to build things up, few enough to read."""

EVERY: Final = 15


def explore(
    database: Database,
    seed: int,
    *,
    off: Collection[str] = OFF,
    transactions: int = TRANSACTIONS,
    every: int = EVERY,
    tolerated: Callable[[Complaint], bool] = is_known,
) -> Run:
    """Make a program up and do it, in empty tables, until it is long enough or fails."""
    run = Run(database, ALL, every, tolerated, reuse="row switch" not in off)
    with _on(database), closing(run):
        author = _Author(run, off, Random(seed))
        while run.transactions < transactions and not run.complaints:
            author.write_a_step()
        run.end()
    return run


def replay(
    database: Database,
    steps: Sequence[Step],
    *,
    every: int = 1,
    tolerated: Callable[[Complaint], bool] = is_known,
) -> Run:
    """Do a program, in empty tables, until its end or until it fails."""
    run = Run(database, ALL, every, tolerated)
    with _on(database), closing(run):
        for step in steps:
            run.do(step)
            if run.complaints:
                break
        run.end()
    return run


@contextmanager
def _on(database: Database) -> Iterator[None]:
    """Nothing is collected at a moment of its own, so that a program does the same each time."""
    gc.disable()
    try:
        with quietly(database):
            yield
    finally:
        gc.collect(0)  # what the program made, not what was there before
        gc.enable()


# --- making programs up ---------------------------------------------------------------------


class _Author:
    """Chooses the next step, and in which session.

    Two transactions that are open at once keep to rows of their own: one to even keys, the other
    to odd ones. A session that comes back to keys another one has written since forgets what it
    knew, as it would have to.
    """

    def __init__(self, run: Run, off: Collection[str], random: Random) -> None:
        kinds = enabled(off)
        self._rooms = (0, 1) if "shared rows" in off else (0, 0)
        self._run = run
        self._random = random
        is_sqlite = run.database.engine.dialect.name == "sqlite"  # which has one writer at a time
        self._alone = random.random() < (0.8 if is_sqlite else 0.5)
        self._cast = {name for names in random.sample(CAST, 8) for name in names.split()}
        self._ends = [name for name, kind in kinds.items() if kind.needs == "end"]
        self._others = [name for name in kinds if name not in self._ends]
        self._weights = {name: kind.weight for name, kind in kinds.items()}
        self._last_in: dict[int, str] = {}

    def write_a_step(self) -> None:
        """Do one more step."""
        run, random = self._run, self._random
        session = "a" if self._alone else random.choice("aab")
        if session not in run.rooms:
            self._enter(session)
        names = self._ends if random.random() < 0.2 else self._others
        for name in random.choices(names, [self._weights[name] for name in names], k=10):
            if run.do_some(session, name, random, self._cast) != SKIPPED:
                break

    def _enter(self, session: str) -> None:
        """Begin a transaction in a room where no other is."""
        rooms = list(self._rooms)
        for taken in self._run.rooms.values():
            rooms.remove(taken)
        room = self._random.choice(rooms)
        self._run.rooms[session] = room
        if self._last_in.get(room, session) != session:
            self._run.do(Step(session, "expire_all"))
        self._last_in[room] = session


# --- making programs short ------------------------------------------------------------------


def shrink(
    database: Database, steps: Sequence[Step], tell: Callable[[str], object] = lambda text: None
) -> Run:
    """The shortest program found that ends in the same complaint as this one.

    Steps are taken out, many at once and then one by one, and then the values they set, for as
    long as the complaint is still there. Gives the run of the whole when that has no complaint.
    """
    best = [replay(database, steps)]
    if not best[0].complaints:
        return best[0]
    wanted = best[0].complaints[0].signature

    def fails(steps: Sequence[Step]) -> bool:
        tried = replay(database, steps)
        if wanted not in {one.signature for one in tried.complaints}:
            return False
        best[0] = tried
        tell(f"{len(tried.steps)} steps")
        return True

    _without_steps(best, fails)
    _without_values(best, fails)
    _without_steps(best, fails)
    return best[0]


def _without_steps(best: list[Run], fails: Callable[[Sequence[Step]], bool]) -> None:
    size = max(1, len(best[0].steps) // 2)
    while True:
        taken, at = False, 0
        while at < len(best[0].steps):
            steps = best[0].steps
            if fails([*steps[:at], *steps[at + size :]]):
                taken = True
            else:
                at += size
        if size == 1 and not taken:
            return
        size = max(1, size // 2)


def _without_values(best: list[Run], fails: Callable[[Sequence[Step]], bool]) -> None:
    for at in range(len(best[0].steps) - 1, -1, -1):
        if at >= len(best[0].steps):
            continue
        step = best[0].steps[at]
        for place, choice in enumerate(step.choices):
            for name in choice if isinstance(choice, dict) else ():
                steps = best[0].steps
                if at >= len(steps):
                    return
                chosen: list[Any] = list(steps[at].choices)
                chosen[place] = {key: item for key, item in chosen[place].items() if key != name}
                changed = replace(steps[at], choices=tuple(chosen))
                fails([*steps[:at], changed, *steps[at + 1 :]])
