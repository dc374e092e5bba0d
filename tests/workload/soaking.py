"""Running many programs on one database, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from tests.workload.database import Database
from tests.workload.exploring import TRANSACTIONS, explore, replay, shrink
from tests.workload.judging import KINDS, Complaint
from tests.workload.limits import OFF
from tests.workload.programs import to_text
from tests.workload.running import FAILED, Run

__all__ = ["FAILED_ALONE", "Figures", "own_failures", "report", "soak"]

FAILED_ALONE = "failed without a Lifecycle too"
"""What became of a step that raises what no application should see, whoever listens."""

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

    def add(self, run: Run, own: Collection[Complaint] = ()) -> None:
        """Count a program that has been run, and those of its failures that are not SQLAlchemy's.

        The others are no fault of the log.
        """
        self.programs += 1
        self.transactions += run.transactions
        self.commits += run.commits
        self.records += run.verdict.records
        alone = len(run.failures) - len(own)
        self.steps += run.outcomes + Counter({FAILED_ALONE: alone}) - Counter({FAILED: alone})
        for kind in KINDS:
            found = [*run.verdict.complaints, *own]
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

    The first program that shows a fault is made short and kept as text. A program with a step that
    fails is done again without a Lifecycle, to tell what is SQLAlchemy's own fault.
    """
    while figures.transactions < transactions:
        wanted = min(TRANSACTIONS, transactions - figures.transactions)
        run = explore(database, seed, off=off, transactions=wanted)
        own = own_failures(database, run)
        figures.add(run, own)
        run.complaints += (one for one in own if one not in run.complaints)
        if run.complaints:
            signature = run.complaints[0].signature
            if signature not in figures.reports and len(figures.reports) < MOST_REPORTS:
                figures.reports[signature] = report(database, seed, run, tell)
        seed += 1
        yield run.transactions


def own_failures(database: Database, run: Run) -> list[Complaint]:
    """The failures of a program that it does not have without a Lifecycle."""
    if not run.failures:
        return []
    with database.unrecorded():
        alone = replay(database, run.steps, every=1000, tolerated=lambda complaint: True)
    expected = Counter(one.signature for one in alone.failures)
    own = []
    for one in run.failures:
        if expected[one.signature]:
            expected[one.signature] -= 1
        else:
            own.append(one)
    return own


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
