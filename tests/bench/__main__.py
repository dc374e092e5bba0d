"""What hooks and the log cost, measured side by side in one run: ``python -m tests.bench``.

How to read it. Every figure is a median of several repeats, and "±" is how far the middle half of
them lies around it: two figures closer than that are the same. Runs that are compared take turns,
and "x plain" is the median of each turn's own ratio, so it is steadier than the milliseconds, which
other work on the machine moves. "x CPU" is the same of this process's CPU time, without waiting for
disk and server: steadier still, and larger. A ratio of 0.97 or 1.03 is noise. Nanoseconds are CPU
time, less what the loop and the hooks themselves take, so a few of them are noise too. This is no
test: nothing fails when a figure is not reached.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Engine, create_engine

from tests.bench import flushes, hooks
from tests.bench.measuring import Figure, progress
from tests.bench.models import Base
from tests.servers import Unavailable, sql_database


def main() -> None:
    """Measure, and print the table or its JSON."""
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer objects, fewer repeats")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    choice = parser.parse_args()
    found = list(_figures(choice.quick))
    machine = {
        "python": platform.python_version(),
        "sqlalchemy": sqlalchemy.__version__,
        "machine": platform.machine(),
    }
    if choice.json:
        print(json.dumps({**machine, "figures": [asdict(one) for one in found]}, indent=2))
    else:
        print(", ".join(f"{what} {which}" for what, which in machine.items()))
        _print(found)


def _figures(quick: bool) -> Iterator[Figure]:
    with (
        TemporaryDirectory() as folder,
        _engine(f"sqlite:///{Path(folder) / 'bench.sqlite'}") as engine,
    ):
        yield from hooks.figures(engine, quick)
        yield from flushes.figures("SQLite", engine, quick)
    try:
        with sql_database("postgresql") as url, _engine(url) as engine:
            yield from flushes.figures("PostgreSQL", engine, quick)
    except Unavailable as reason:
        progress(f"PostgreSQL is not measured: {reason}")


@contextmanager
def _engine(url: URL | str) -> Iterator[Engine]:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def _print(found: list[Figure]) -> None:
    for section, figures in groupby(found, lambda figure: figure.section):
        print()
        _print_row(section, "median", "±", "x plain", "x CPU", "statements", "to reach")
        for one in figures:
            _print_row(
                f"  {one.what}",
                f"{one.value:,.1f} {one.unit}",
                f"{one.spread:,.1f}",
                "" if one.ratio is None else f"{one.ratio:.2f}",
                "" if one.cpu_ratio is None else f"{one.cpu_ratio:.2f}",
                "" if one.statements is None else str(one.statements),
                one.reach,
            )


def _print_row(what: str, *cells: Any) -> None:
    *numbers, reach = cells
    columns = [f"{cell:>{width}}" for cell, width in zip(numbers, (13, 9, 9, 9, 12), strict=True)]
    print(f"{what:<78}{''.join(columns)}  {reach}".rstrip())


if __name__ == "__main__":
    main()
