"""The random workload, for as long as one likes: ``python -m tests.workload --help``."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import URL

from tests.servers import Unavailable, sql_database
from tests.workload.database import Database
from tests.workload.exploring import replay
from tests.workload.judging import KINDS
from tests.workload.limits import OFF
from tests.workload.programs import from_text
from tests.workload.soaking import Figures, soak

DATABASES: Final = ("sqlite", "postgresql", "mysql")
SECONDS_BETWEEN_LINES: Final = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when anything is wrong."""
    choice = _parser().parse_args(arguments)
    databases = DATABASES if choice.database == "all" else (choice.database,)
    if choice.program:
        text = sys.stdin.read() if choice.program == "-" else Path(choice.program).read_text()
        return max(_replay(name, text) for name in databases)
    off = OFF - {*choice.on}
    print(f"seed {choice.seed}; left out: {', '.join(sorted(off)) or 'nothing'}", flush=True)
    found = []
    try:
        for name in databases:
            found.append(Figures(name))
            with _database(name, off) as database:
                _soak(database, found[-1], choice.transactions, choice.seed, off)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 2
    _print(found)
    return 0 if all(one.is_right for one in found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.workload", description=__doc__)
    parser.add_argument(
        "--transactions", type=int, default=10_000, metavar="N", help="per database"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first program")
    parser.add_argument("--database", choices=(*DATABASES, "all"), default="all")
    parser.add_argument(
        "--on",
        action="append",
        default=[],
        choices=sorted(OFF),
        help="a need whose steps are not to be left out; may be repeated",
    )
    parser.add_argument(
        "--program",
        metavar="FILE",
        help="replay the program in a file instead (- for standard input)",
    )
    return parser


@contextmanager
def _database(name: str, off: frozenset[str]) -> Iterator[Database]:
    collections = "many-to-many" not in off
    with _url(name) as url, closing(Database(url, collections=collections)) as database:
        yield database


@contextmanager
def _url(name: str) -> Iterator[URL | str]:
    if name == "sqlite":
        with TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'workload.sqlite'}"
    else:
        with sql_database(name) as url:
            yield url


# --- soaking --------------------------------------------------------------------------------


def _soak(
    database: Database, figures: Figures, transactions: int, seed: int, off: frozenset[str]
) -> None:
    with _progress(figures.database, transactions) as (advance, tell):
        for done in soak(
            database, figures, transactions=transactions, seed=seed, off=off, tell=tell
        ):
            advance(done)


@contextmanager
def _progress(
    name: str, total: int
) -> Iterator[tuple[Callable[[int], object], Callable[[str], object]]]:
    """How to tell that so many are done, and what else is going on: a bar, or lines."""
    if not (sys.stdout.isatty() and find_spec("rich")):
        yield _Lines(name, total), lambda text: None
        return
    from rich import progress as rich

    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeRemainingColumn())
    with rich.Progress("{task.description}", *columns, "{task.fields[of]}") as progress:
        task = progress.add_task(name, total=total, of="")
        yield (
            lambda done: progress.update(task, advance=done, of=""),
            lambda text: progress.update(task, of=f"making a failing program short: {text}"),
        )


class _Lines:
    """A line now and then."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._done, self._shown = 0, time.monotonic()

    def __call__(self, done: int) -> None:
        self._done += done
        if time.monotonic() - self._shown > SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            print(f"{self._name} {self._done:,} of {self._total:,}", flush=True)


def _print(found: list[Figures]) -> None:
    kinds = [kind.replace("mismatch", "mismatche") + "s" for kind in KINDS]
    heads = ["transactions", "commits", "records", *kinds]
    print()
    print("  ".join(("          ", *heads)))
    for one in found:
        wrong = [one.complaints[kind] for kind in KINDS]
        numbers = [one.transactions, one.commits, one.records, *wrong]
        cells = (f"{n:>{len(head)},}" for n, head in zip(numbers, heads, strict=True))
        print("  ".join((f"{one.database:<10}", *cells)))
    print()
    for one in found:
        steps = ", ".join(f"{count:,} {outcome}" for outcome, count in one.steps.most_common())
        print(f"{one.database}: {one.programs:,} programs; steps: {steps}")
    for one in found:
        for text in one.reports.values():
            print(f"\n{text}")


# --- replaying ------------------------------------------------------------------------------


def _replay(name: str, text: str) -> int:
    """Do one program and print what the judge says, expected or not."""
    with _database(name, frozenset()) as database:
        run = replay(database, from_text(text), tolerated=lambda complaint: False)
    print(f"{name}: {run.verdict.records} records, {dict(run.outcomes)}")
    for complaint in run.complaints:
        print(complaint)
    return 1 if run.complaints else 0


if __name__ == "__main__":
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it tells of every refused batch
    sys.exit(main())
