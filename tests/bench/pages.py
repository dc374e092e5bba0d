"""How long the history pages take over a large log: ``python -m tests.bench.pages``.

The log is made up: four records to a revision, over two years, of eleven entities that refer to
customers, some objects with thousands of changes and most with a few. Each page is asked for
several times, of an application that knows the models, so that names stand beside keys. "Queries"
are the SELECTs of the log, and after a + those of the application's own tables. "Wall" and "CPU"
are medians of what the process took from the request to its last byte, in which SQLite runs too;
"server CPU" is what the server's process took beside it, where this runs on the server's machine.
Databases run one after the other, and what they held is removed, unless ``--at`` names one to fill
once and keep.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import unquote

from sqlalchemy import Engine, create_engine, inspect, text

import audit_ui
from audit_ui.diffs import table
from lifecycle import Lifecycle
from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import Query
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation
from tests.bench.made_up import HOT, ONE, fill, large_revision, revision_id
from tests.bench.shop import open_shop
from tests.servers import sql_database
from tests.statements import statements

__all__ = ["main", "pages"]

ROUNDS: Final = 15


def main(arguments: list[str] | None = None) -> None:
    """Fill each database, and measure every page on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "all"], default="all")
    parser.add_argument("--export", type=int, default=1_000_000, help="records to export")
    parser.add_argument("--at", help="URL of an empty database to fill and keep, or of one so kept")
    parser.add_argument("--only", default="", help="pages whose name has this in it, and no export")
    choice = parser.parse_args(arguments)
    if choice.at:
        engine = create_engine(choice.at)
        if not inspect(engine).has_table("lifecycle_revision"):
            fill(engine, choice.records)
        measure(engine, choice.records, choice.only)
        if not choice.only:
            export(engine, choice.records, choice.export)
        return
    compare_texts()
    databases = ["sqlite", "postgresql"] if choice.database == "all" else [choice.database]
    for dialect in databases:
        with made_up_log(dialect, choice.records) as engine:
            measure(engine, choice.records, choice.only)
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


def pages(records: int, wide: str = "", version: str = "") -> dict[str, str]:
    """What is asked for, by name: each kind of page, at the newest end and far back.

    ``wide`` is the id of a record in a revision that has some more, ``version`` of one of `ONE`.
    """
    large = wide.partition(".")[0]
    revisions = records // 4
    middle = revision_id(revisions // 2)
    return {
        "feed": "/",
        "feed, halfway back": f"/?older_than={revisions // 2}.0",
        "feed, the oldest": "/?older_than=60.0",
        "feed, counted": "/?entity=store.Order&count=1",
        "feed as JSON": "/feed.json",
        "feed as Atom": "/feed.atom",
        "one entity": "/o/store.Order/",
        "entity and operation": "/?entity=store.Order&operation=delete",
        "deleted": "/?operation=delete",
        "one key": f"/?entity=store.Order&key={HOT}",
        "actor": "/?actor=user7",
        "actor and entity": "/?actor=user7&entity=store.Order",
        "request": f"/?request_id=req-{revisions // 3}",
        "last 24 hours": "/?since=24h",
        "last 7 days": "/?since=7d",
        "last 30 days": "/?since=30d",
        "last 30 days, one entity": "/?since=30d&entity=store.Order",
        "a week a year ago": "/?since=53w&until=52w",
        "until a year ago": "/?until=52w",
        "a day a year ago, one entity": "/?since=365d&until=364d&entity=store.Order",
        "actor, a year ago": "/?actor=user7&since=53w&until=52w",
        "words, found": "/?text=ticket",
        "words, rare": "/?text=nowhere",
        "field and value, found": "/?field=status%3Dpaid",
        "field and value, rare": "/?field=status%3Dnever",
        "all but updates": "/?-operation=update",
        "object": f"/o/store.Order/{ONE}",
        "object of many changes": f"/o/store.Order/{HOT}",
        "its state in the past": f"/o/store.Order/{HOT}?at=365d",
        "compared with now": f"/o/store.Order/{ONE}?against=now",
        "field": f"/o/store.Order/{ONE}/f/status",
        "field of many changes": f"/o/store.Order/{HOT}/f/status",
        "reference of many changes": f"/o/store.Order/{HOT}/f/customer_id",
        "related": f"/o/store.Customer/{ONE}/related",
        "record": f"/r/{middle}.0",
        "revision": f"/t/{middle}",
        "revision of many": f"/t/{revision_id(large_revision(records))}",
        "revision, net": f"/t/{large}?view=net",
        "actor's page": "/a/user7",
        "actor's page, busy": "/a/import",
        "preview of an undo": f"/r/{wide}/undo",
        "preview of an undo of many": f"/t/{large}/undo",
        "preview of a version": f"/o/store.Order/{ONE}/restore?v={version}",
        "views": "/views",
        "coverage": "/-/coverage",
        "help": "/-/help",
        "days, counted": "/-/activity.svg",
        "days, once counted": "/-/activity.svg",
    }


def everyone(user: Any, action: str, subject: audit_ui.Subject) -> bool:
    return True


@dataclass(frozen=True)
class Asked:
    """What one page took: seconds, and questions to the log and to the application's tables."""

    wall: float
    cpu: float
    server: float
    size: int
    log: int
    own: int


@contextmanager
def made_up_shop(engine: Engine, records: int) -> Iterator[tuple[Lifecycle, dict[str, str]]]:
    """The application of a made-up log, with what some of its objects are now, and its pages."""
    store = SqlStore(engine)
    wide = _wide_record(store, records // 8)
    changed = [*store.page(Query(revision=wide.revision.id), limit=100)]
    changed += store.page(Query(entity="store.Order", key=str(ONE)), limit=3)
    lifecycle, sessions = open_shop(engine, _rows(store, changed))
    yield lifecycle, pages(records, wide.id, changed[-1].id)
    lifecycle.uninstall(sessions)


def measure(engine: Engine, records: int, only: str = "") -> None:
    """Every page's time and queries, as a table."""
    print(f"  {'page':<32} {'queries':>7} {'wall ms':>8} {'worst':>7} {'CPU':>7} {'server':>7}  KB")
    with made_up_shop(engine, records) as (lifecycle, addresses):
        app = audit_ui.create_app(lifecycle, access=everyone, views=VIEWS)
        for name, address in addresses.items():
            if only not in name:
                continue
            taken = []
            for _ in range(ROUNDS + 1):
                if name == "days, counted":
                    app = audit_ui.create_app(lifecycle, access=everyone, views=VIEWS)
                taken.append(_asked(engine, app, address))
            _print(name, taken[1:])


def _print(name: str, taken: Sequence[Asked]) -> None:
    walls = [one.wall * 1e3 for one in taken]
    cpu, server = (
        median(times) * 1e3 for times in zip(*((one.cpu, one.server) for one in taken), strict=True)
    )
    last = taken[-1]
    queries = f"{last.log}+{last.own}" if last.own else f"{last.log}"
    print(
        f"  {name:<32} {queries:>7} {median(walls):>8.1f} {max(walls):>7.1f} {cpu:>7.1f} "
        f"{server:>7.1f}  {last.size / 1024:.0f}",
        flush=True,
    )


VIEWS: Final = {"Deleted": "operation:delete", "Imported today": "actor:import since:24h"}


def _asked(engine: Engine, app: Any, address: str) -> Asked:
    before = _server_seconds(engine)
    with statements(engine) as seen:
        wall, cpu, size = asyncio.run(ask(app, address))
    questions = [one for one in seen if one.lstrip("( ").startswith(("SELECT", "WITH"))]
    log = sum("lifecycle_" in one for one in questions)
    return Asked(
        wall, cpu, _server_seconds(engine) - before, size, log=log, own=len(questions) - log
    )


def _server_seconds(engine: Engine) -> float:
    """Processor time of the server's processes that have worked for this engine so far."""
    if engine.name != "postgresql":
        return 0.0
    with engine.connect() as connection:
        backends = connection.scalars(
            text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        ).all()
    files = [Path(f"/proc/{pid}/schedstat") for pid in backends]
    return sum(int(file.read_text().split()[0]) for file in files if file.exists()) / 1e9


def _wide_record(store: SqlStore, seq: int) -> Record:
    """The first update in the revision with most records, of a few in the middle."""
    page = store.page(Query(), after=Position(seq, 0), limit=1_000)
    sizes = Counter(one.revision.id for one in page)
    whole = store.page(Query(revision=max(sizes, key=sizes.__getitem__)), limit=100)
    return next(one for one in whole if one.operation is Operation.UPDATE)


def _rows(store: SqlStore, records: Iterable[Record]) -> dict[str, list[dict[str, Any]]]:
    """The objects of some records as their newest records left them, and all their customers."""
    rows: dict[str, list[dict[str, Any]]] = {"store.Customer": []}
    customers: set[Any] = {None}
    for entity, key in sorted({(one.entity, one.key) for one in records}):
        newest = store.page(Query(entity=entity, key=key), limit=50)
        row: dict[str, Any] = {**_EMPTY, "id": int(key)}
        for record in reversed(newest.records):
            row |= {
                name: change.new
                for name, change in record.changes.items()
                if isinstance(change, Change) and record.operation is not Operation.DELETE
            }
        if newest.records[0].operation is not Operation.DELETE:
            rows.setdefault(entity, []).append(row)
        referring = (one.changes.get("customer_id") for one in newest)
        customers.update(
            id for one in referring if isinstance(one, Change) for id in (one.old, one.new)
        )
    there = {None, ABSENT, *(row["id"] for row in rows["store.Customer"])}
    rows["store.Customer"] += [{**_EMPTY, "id": id} for id in customers - there]
    return rows


_EMPTY: Final = dict.fromkeys(("status", "total", "note", "city", "customer_id"))


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
