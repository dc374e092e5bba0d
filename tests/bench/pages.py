"""How long the history pages take over a large log: ``python -m tests.bench.pages``.

The log is made up: four records to a revision, over two years, of twelve entities, some objects
with thousands of changes and most with a few. Each page is asked for several times; "wall" and
"CPU" are medians of what the application took, from the request to its last byte, and "queries" are
the SELECTs of one. Databases run one after the other, and what they held is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import unquote

from sqlalchemy import Engine, create_engine

import audit_ui
from audit_ui.diffs import table
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.changes import Change, ChangeSet, Operation
from tests.bench.made_up import HOT, ONE, fill, large_revision, revision_id
from tests.servers import sql_database
from tests.statements import statements

__all__ = ["main", "pages"]

ROUNDS: Final = 15
Report = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Fill each database, and measure every page on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "all"], default="all")
    parser.add_argument("--export", type=int, default=1_000_000, help="records to export")
    choice = parser.parse_args(arguments)
    compare_texts()
    databases = ["sqlite", "postgresql"] if choice.database == "all" else [choice.database]
    for dialect in databases:
        with made_up_log(dialect, choice.records) as engine:
            measure(engine, choice.records)
            export(engine, choice.records, choice.export)


@contextmanager
def made_up_log(dialect: str, records: int) -> Iterator[Engine]:
    """A log of so many records on a database of its own, gone afterwards."""
    with ExitStack() as stack:
        if dialect == "sqlite":
            folder = stack.enter_context(TemporaryDirectory())
            url: Any = f"sqlite:///{Path(folder) / 'log.sqlite'}"
        else:
            url = stack.enter_context(sql_database(dialect))
        engine = create_engine(url)
        stack.callback(engine.dispose)
        began = time.perf_counter()
        fill(engine, records)
        print(f"{dialect}: {records:,} records in {time.perf_counter() - began:.0f} s", flush=True)
        yield engine


# --- pages ----------------------------------------------------------------------------------


def pages(records: int) -> dict[str, str]:
    """What is asked for, by name: each kind of page, at the newest end and far back."""
    revisions = records // 4
    middle = revision_id(revisions // 2)
    return {
        "feed": "/",
        "feed, halfway back": f"/?older_than={revisions // 2}.0",
        "feed, the oldest": "/?older_than=60.0",
        "feed as JSON": "/feed.json",
        "feed as Atom": "/feed.atom",
        "one entity": "/o/shop.Order/",
        "entity and operation": "/?entity=shop.Order&operation=delete",
        "deleted": "/?operation=delete",
        "one key": f"/?entity=shop.Order&key={HOT}",
        "actor": "/?actor=user7",
        "actor and entity": "/?actor=user7&entity=shop.Order",
        "request": f"/?request_id=req-{revisions // 3}",
        "last 24 hours": "/?since=24h",
        "last 7 days": "/?since=7d",
        "last 30 days": "/?since=30d",
        "last 30 days, one entity": "/?since=30d&entity=shop.Order",
        "a week a year ago": "/?since=53w&until=52w",
        "a day a year ago, one entity": "/?since=365d&until=364d&entity=shop.Order",
        "actor, a year ago": "/?actor=user7&since=53w&until=52w",
        "words, rare": "/?text=nowhere",
        "field and value, rare": "/?field=status%3Dnever",
        "all but updates": "/?-operation=update",
        "object": f"/o/shop.Order/{ONE}",
        "object of many changes": f"/o/shop.Order/{HOT}",
        "its state in the past": f"/o/shop.Order/{HOT}?at=365d",
        "field": f"/o/shop.Order/{ONE}/f/status",
        "field of many changes": f"/o/shop.Order/{HOT}/f/status",
        "record": f"/r/{middle}.0",
        "revision": f"/t/{middle}",
        "revision of many": f"/t/{revision_id(large_revision(records))}",
        "actor's page": "/a/user7",
        "actor's page, busy": "/a/import",
        "coverage": "/-/coverage",
        "help": "/-/help",
        "days, counted": "/-/activity.svg",
        "days, once counted": "/-/activity.svg",
    }


def everyone(user: Any, action: str, subject: audit_ui.Subject) -> bool:
    return True


def measure(engine: Engine, records: int) -> None:
    """Every page's time and queries, as a table."""
    print(f"  {'page':<32} {'queries':>7} {'wall ms':>9} {'CPU ms':>8} {'worst':>8}  KB")
    app = audit_ui.create_app(SqlStore(engine), access=everyone)
    for name, address in pages(records).items():
        fresh = name == "days, counted"
        walls, cpus = [], []
        for turn in range(ROUNDS + 1):
            if fresh:
                app = audit_ui.create_app(SqlStore(engine), access=everyone)
            with statements(engine) as seen:
                wall, cpu, size = asyncio.run(ask(app, address))
            if turn:
                walls.append(wall)
                cpus.append(cpu)
            queries = sum(one.lstrip("( ").startswith(("SELECT", "WITH")) for one in seen)
        figures = f"{median(walls) * 1e3:>9.1f} {median(cpus) * 1e3:>8.1f} {max(walls) * 1e3:>8.1f}"
        print(f"  {name:<32} {queries:>7} {figures}  {size / 1024:.0f}", flush=True)


async def ask(
    app: Any, address: str, taken: Callable[[int], None] = lambda size: None
) -> tuple[float, float, int]:
    """Ask an application once: seconds, processor seconds of the process, and bytes."""
    path, _, query = address.partition("?")
    size, status = 0, 0

    async def send(message: Any) -> None:
        nonlocal size, status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            size += len(message["body"])
            taken(size)

    async def receive() -> Any:
        await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
    }
    wall, cpu = time.perf_counter(), time.process_time()
    await app(scope, receive, send)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if status != 200:
        raise AssertionError(f"{address} was answered with {status}")
    return wall, cpu, size


# --- what takes long ------------------------------------------------------------------------


def export(engine: Engine, records: int, count: int) -> None:
    """Export about so many records, and how much the process grew meanwhile."""
    app = audit_ui.create_app(SqlStore(engine), access=everyone, record_exports=False)
    weeks = max(1, min(104, round(104 * count / records)))
    grown = [_resident()]
    for form in ("jsonl", "csv"):
        start, most, last = _resident(), 0, 0

        def look(size: int) -> None:
            nonlocal most, last
            if size - last > 5_000_000:
                last, most = size, max(most, _resident())

        wall, cpu, size = asyncio.run(ask(app, f"/export.{form}?since={weeks}w", look))
        found = "" if form == "csv" else f"{count:,} records or so, "
        print(
            f"  export.{form}: {found}{size / 1e6:,.0f} MB in {wall:.0f} s ({cpu:.0f} s CPU); "
            f"the process grew from {start} to {most} MB",
            flush=True,
        )
        grown.append(most)


def _resident() -> int:
    """Megabytes of the process in memory."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) // 1024 if found else 0


def compare_texts() -> None:
    """Differences of texts of 20,000 words: one in a hundred changed, and nothing in common."""
    random = Random(1)
    words = [
        random.choice("abcdefghij") * random.randint(1, 8) + str(i % 977) for i in range(20_000)
    ]
    other = [f"changed{i}" if random.random() < 0.01 else word for i, word in enumerate(words)]
    texts = {
        "of one line": (" ".join(words), " ".join(other)),
        "of lines": tuple(
            "\n".join(" ".join(some[at : at + 12]) for at in range(0, 20_000, 12))
            for some in (words, other)
        ),
        "with nothing in common": (" ".join(words), " ".join(f"x{word}" for word in words)),
    }
    for name, (old, new) in texts.items():
        changes = ChangeSet({"text": Change(old, new)}, Operation.UPDATE)
        cpus = []
        for _ in range(7):
            cpu = time.process_time()
            table(changes)
            cpus.append(time.process_time() - cpu)
        print(f"two texts of 20,000 words {name}: {median(cpus) * 1e3:.0f} ms CPU", flush=True)


if __name__ == "__main__":
    main()
