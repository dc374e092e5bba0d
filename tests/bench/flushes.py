"""What the log costs: the same transactions without Lifecycle, with its log off, and with it on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Final

from sqlalchemy import Engine, select

from tests.bench.measuring import Figure, Steps, Taken, progress, spread, taking_turns
from tests.bench.models import VARIANTS, Item, change, counted, items, sessions

__all__ = ["figures"]

INSERT: Final = "insert"
UPDATE: Final = "update 3 of 10 columns"
DELETE: Final = "delete"
TOGETHER: Final = "insert, update and delete"
LOAD: Final = "load"
CLEAN: Final = "change one, the others clean"

REACH: Final = {
    (LOAD, "audit off"): "0 statements added",
    (CLEAN, "audit off"): "0 statements added",
    (TOGETHER, "audit off"): "0 statements added",
    (LOAD, "audited"): "0 statements added",
    (CLEAN, "audited"): "2 statements added",
    (TOGETHER, "audited"): "2 statements added a flush; 1.35 x",
}


def figures(database: str, engine: Engine, quick: bool) -> Iterator[Figure]:
    """The lines about one database."""
    count, repeats = (200, 3) if quick else (2_000, 9)
    progress(f"{database}: transactions of {count:,} objects")
    runs = {name: partial(_transactions, name, engine, count) for name in VARIANTS}
    times = taking_turns(runs, repeats)
    statements = {name: _statements(run(), engine) for name, run in runs.items()}
    for name in VARIANTS:
        parts = [times[name][step] for step in (INSERT, UPDATE, DELETE)]
        times[name][TOGETHER] = [
            Taken(*map(sum, zip(*taken, strict=True))) for taken in zip(*parts, strict=True)
        ]
        statements[name][TOGETHER] = sum(statements[name][s] for s in (INSERT, UPDATE, DELETE))
    for step in (LOAD, CLEAN, INSERT, UPDATE, DELETE, TOGETHER):
        for name in VARIANTS:
            clock = [taken.clock for taken in times[name][step]]
            yield Figure(
                section=f"{database}, {count:,} objects",
                what=f"{step}: {name}",
                value=median(clock),
                unit="ms",
                spread=spread(clock),
                ratio=_ratio(times[name][step], times["plain"][step], "clock"),
                cpu_ratio=_ratio(times[name][step], times["plain"][step], "cpu"),
                statements=statements[name][step],
                reach=REACH.get((step, name), ""),
            )


def _transactions(variant: str, engine: Engine, count: int) -> Steps:
    """Each step is a flush with its commit, or a query; the Python before it is not timed."""
    with sessions(variant, engine) as factory:
        with factory() as session:
            session.add_all(items(count))
            yield ""
            session.commit()
            yield INSERT
        with factory() as session:
            found = session.scalars(select(Item)).all()
            yield LOAD
            change(found[0])
            yield ""
            session.commit()
            yield CLEAN
            for item in found:
                change(item)
            yield ""
            session.commit()
            yield UPDATE
            for item in found:
                session.delete(item)
            yield ""
            session.commit()
            yield DELETE


def _statements(steps: Steps, engine: Engine) -> dict[str, int]:
    with counted(engine) as statements:
        found = {}
        for step in steps:
            found[step] = statements.count
            statements.count = 0
    return found


def _ratio(times: list[Taken], plain: list[Taken], of: str) -> float:
    """The median of each turn's own ratio, which drifts of the machine's speed do not touch."""
    ratios = (getattr(a, of) / getattr(b, of) for a, b in zip(times, plain, strict=True))
    return float(median(ratios))
