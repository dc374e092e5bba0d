"""Running many programs on one database, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from tests.workload.database import Database
from tests.workload.exploring import TRANSACTIONS, explore, shrink
from tests.workload.judging import KINDS, Complaint
from tests.workload.limits import OFF
from tests.workload.programs import to_text
from tests.workload.running import Run

__all__ = ["Figures", "report", "soak"]

MOST_REPORTS = 5
"""How many different faults are made short and printed: that takes its time."""


@dataclass
class Figures:
    """What has been done on a database, and how much of it was wrong."""

    database: str
    programs: int = 0
    transactions: int = 0
    commits: int = 0
    records: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)
    reports: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether nothing was wrong."""
        return not self.complaints.total()

    def add(self, run: Run) -> None:
        """Count a program that has been run."""
        self.programs += 1
        self.transactions += run.transactions
        self.commits += run.commits
        self.records += run.verdict.records
        self.steps += run.outcomes
        for kind in KINDS:
            found = [*run.verdict.complaints, *run.failures]
            self.complaints[kind] += sum(1 for one in found if one.kind == kind)


def soak(
    database: Database,
    figures: Figures,
    *,
    transactions: int,
    seed: int,
    off: Collection[str] = OFF,
    tell: Callable[[str], object] = lambda text: None,
) -> Iterator[int]:
    """Run programs until there are so many transactions, and yield how many each has had.

    The first program that shows a fault is made short and kept as text.
    """
    while figures.transactions < transactions:
        wanted = min(TRANSACTIONS, transactions - figures.transactions)
        run = explore(database, seed, off=off, transactions=wanted)
        figures.add(run)
        if run.complaints:
            signature = run.complaints[0].signature
            if signature not in figures.reports and len(figures.reports) < MOST_REPORTS:
                figures.reports[signature] = report(database, seed, run, tell)
        seed += 1
        yield run.transactions


def report(
    database: Database, seed: int, run: Run, tell: Callable[[str], object] = lambda text: None
) -> str:
    """The shortest program that shows what is wrong with a run, and what that is."""
    short = shrink(database, run.steps, tell)
    if not short.complaints:
        short = run  # it does not happen again: all there is to show is the whole
    return "\n".join(
        (
            f"# seed {seed} on {database.engine.dialect.name}; the shortest program that fails",
            to_text(short.steps),
            *(f"# {line}" for one in short.complaints[:5] for line in _lines(one)),
        )
    )


def _lines(complaint: Complaint) -> list[str]:
    return str(complaint).splitlines()
