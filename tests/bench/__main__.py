"""What hooks and the log cost beside plain SQLAlchemy and other audit logs, measured in one run.

  flush   insert, load, update and delete 2,000 objects, a flush and a commit each
  single  the same for 200 objects, a commit for each object
  among   one change and its commit, in an empty session and among 50,000 clean objects
  update  session.execute(update(Model)) of 100,000 rows
  hooks   what asking for hooks costs where there are none, and ten of them (in memory)
  documents
          load 10,000 documents of mongoengine, save one, QuerySet.update all; with the log in
          SQLite, and in memory, which shows what capturing alone costs

How to read it. Every figure is a median of several rounds, and "±" is how far the middle half of
them lies around it: two figures closer than that are the same. Where commits are many, it is for
one of them. The contestants take turns, each in a process and on a database of its own, and
"x plain" is the median of each round's own ratio, so it is steadier than the milliseconds, which
other work on the machine moves. "x CPU" is the same of the process's CPU time, without waiting
for disk and server; what triggers do is not in it. "sent" (statements) and "recorded" (rows in
the log) were counted in a run that is not timed; one that leaves out what it claims to record is
an error (SQLAlchemy-Continuum does not claim to record what update(Model) writes).
This is no test: nothing fails when a figure is not reached.

Nanoseconds are CPU time, less what the loop and the hooks themselves take; a few are noise.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Final

import sqlalchemy

from tests.bench import documents, hooks
from tests.bench.contestants import CONTESTANTS, PEERS, Contestant
from tests.bench.loads import LOADS
from tests.bench.measuring import Figure, measure
from tests.bench.printing import print_tables, progress
from tests.bench.workers import Failed
from tests.servers import Unavailable

DATABASES: Final = ("sqlite", "postgresql")
HOOKS: Final = "hooks"
HOOK_PARTS: Final = 2
DOCUMENTS: Final = "documents"
SMALLER: Final = 20
"""By how much --quick divides the sizes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables or their JSON; 1 when a contestant fails, 2 for no server."""
    choice = _parser().parse_args(arguments)
    without = {*choice.without, *(PEERS if "peers" in choice.without else ())}
    contestants = [one for one in CONTESTANTS if one.name not in without]
    for one in contestants:
        if one.missing:
            _say(f"{one.name} is not measured: {one.missing}")
    contestants = [one for one in contestants if not one.missing]
    figures: list[Figure] = []
    status = 0
    try:
        with closing(_figures(choice, contestants)) as found:
            for figure in found:
                figures.append(figure)
    except KeyboardInterrupt:
        _say("stopped; what was measured until then:")
        status = 130
    except (Failed, Unavailable) as reason:
        _say(reason)
        status = 2 if isinstance(reason, Unavailable) else 1
    versions = {
        "python": platform.python_version(),
        "sqlalchemy": sqlalchemy.__version__,
        "machine": platform.machine(),
        **{one.name: one.version for one in contestants if one.package},
    }
    if choice.json:
        print(json.dumps({**versions, "figures": [asdict(one) for one in figures]}, indent=2))
    else:
        print(", ".join(f"{what} {which}" for what, which in versions.items()))
        print_tables(figures)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m tests.bench --database sqlite --load flush --without peers",
    )
    parser.add_argument(
        "--database",
        choices=(*DATABASES, "all"),
        default="all",
        help="where to measure (default: all, without the server that cannot be reached)",
    )
    parser.add_argument(
        "--load",
        action="append",
        choices=(*LOADS, HOOKS, DOCUMENTS),
        help="what to measure (default: all of it); may be repeated",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=[*(one.name for one in CONTESTANTS[1:]), "peers"],
        help="whom to leave out, or all peers of Lifecycle; may be repeated",
    )
    parser.add_argument(
        "--rounds", type=_rounds, metavar="N", help="how many (default: 7, with --quick 3)"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"1/{SMALLER} of the objects and fewer rounds"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def _rounds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: give 1 or more")
    return int(text)


def _figures(choice: argparse.Namespace, contestants: Sequence[Contestant]) -> Generator[Figure]:
    names = choice.load or (*LOADS, HOOKS, DOCUMENTS)
    loads = [load for name, load in LOADS.items() if name in names]
    if choice.quick:
        loads = [load.of(load.size // SMALLER) for load in loads]
    rounds = choice.rounds or (3 if choice.quick else 7)
    databases = DATABASES if choice.database == "all" else (choice.database,)
    on = {name: [one for one in contestants if name in one.databases] for name in databases}
    if not loads:
        on.clear()
    total = sum(len(those) * len(loads) * (rounds + 1) for those in on.values())
    total += HOOK_PARTS * (HOOKS in names)
    total += documents.PARTS * (rounds + 1) * (DOCUMENTS in names)
    with progress(total) as tell:
        if HOOKS in names:
            yield from hooks.figures(choice.quick, tell)
        if DOCUMENTS in names:
            size = documents.SIZE // SMALLER if choice.quick else documents.SIZE
            try:
                yield from documents.figures(size, rounds, tell)
            except Unavailable as reason:
                _say(f"documents are not measured: {reason}")
        for database, those in on.items():
            try:
                yield from measure(database, those, loads, rounds, tell)
            except Unavailable as reason:
                if choice.database != "all":
                    raise
                _say(f"{database} is not measured: {reason}")


def _say(text: object) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
