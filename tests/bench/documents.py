"""What Lifecycle costs mongoengine: loads, saves and bulk writes, beside mongoengine alone."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns, process_time_ns
from typing import Any, Final, TypeAlias

import mongoengine
from mongoengine import fields
from sqlalchemy import Engine, create_engine

from lifecycle import Lifecycle
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.audit.stores.sql import SqlStore, audit_tables
from tests.bench.measuring import Figure, spread
from tests.bench.workers import Failed, Taken
from tests.servers import MongoServer, mongodb, unique_name

__all__ = ["PARTS", "SIZE", "figures"]

SIZE: Final = 10_000
SAVES: Final = 10
"""Of how many documents one is saved."""
PARTS: Final = 3
"""How often `figures` tells what is done next, in each round and once before."""

Times: TypeAlias = dict[str, Taken]


class BenchLine(mongoengine.EmbeddedDocument):
    """What is embedded."""

    name = fields.StringField()
    amount = fields.IntField()


class BenchDocument(mongoengine.Document):
    """A document of ten fields, of the kinds that applications have."""

    name = fields.StringField()
    code = fields.StringField()
    text = fields.StringField()
    price = fields.FloatField()
    amount = fields.IntField()
    active = fields.BooleanField()
    group = fields.StringField()
    tags = fields.ListField(fields.StringField())
    line = fields.EmbeddedDocumentField(BenchLine)
    meta: Final = {"collection": "bench_item"}


REACH: Final = {
    "load": "<= 1.03 x",
    "save of a changed document": "<= 1.2 x",
    "QuerySet.update, set": "<= 4 x",
    "QuerySet.update, inc": "<= 4 x",
}


def figures(size: int, rounds: int, tell: Callable[[str], object]) -> Iterator[Figure]:
    """The lines about documents; raises `Unavailable` for want of a server."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = stack.enter_context(mongodb(folder))
        engine = create_engine(f"sqlite:///{folder / 'log.sqlite'}")
        stack.callback(engine.dispose)
        database = stack.enter_context(_connected(server))
        stores = {
            "plain": lambda: None,
            "in memory": MemoryStore,
            "lifecycle": lambda: _emptied(engine),
        }
        times: dict[str, list[Times]] = {who: [] for who in stores}
        for number in range(rounds + 1):
            for who, taken in times.items():
                tell(f"documents: {who}")
                database["bench_item"].drop()
                found = _recorded(stores[who](), database["bench_item"], size)
                if number:  # the first one warms up
                    taken.append(found)
        name = "MongoDB" if server.real else "nx-27017"
        yield from _figures(f"{name}, documents: {size:,} objects", times)


@contextmanager
def _connected(server: MongoServer) -> Iterator[Any]:
    name = unique_name()
    client = mongoengine.connect(name, host=server.uri, uuidRepresentation="standard")
    try:
        yield client[name]
    finally:
        client.drop_database(name)
        mongoengine.disconnect()


def _emptied(engine: Engine) -> SqlStore:
    """A log in SQLite."""
    store = SqlStore(engine)
    audit_tables().metadata.drop_all(engine)
    store.create_tables()
    return store


def _recorded(store: Any, collection: Any, size: int) -> Times:
    """What each step takes, with a log in this store; with none without Lifecycle."""
    if store is None:
        return _run(collection, size)
    lifecycle = Lifecycle(store=store)
    lifecycle.install(BenchDocument)
    try:
        found = _run(collection, size)
    finally:
        lifecycle.uninstall(BenchDocument)
    records, expected = sum(1 for _ in lifecycle.history.find()), _saves(size) + 2 * size
    if records != expected:
        raise Failed(f"{store!r} has {records:,} records of documents, not {expected:,}")
    return found


def _saves(size: int) -> int:
    return len(range(0, size, SAVES))


def _run(collection: Any, size: int) -> Times:
    collection.insert_many(
        {
            "name": f"item {number}",
            "code": f"C-{number:06}",
            "text": "some words about it",
            "price": number / 100,
            "amount": number,
            "active": True,
            "group": f"group {number % 7}",
            "tags": ["a", "b"],
            "line": {"name": "line", "amount": number},
        }
        for number in range(size)
    )
    found: Times = {}
    documents: list[Any] = []
    with _timed(found, "load"):
        documents = list(BenchDocument.objects)
    changed = documents[::SAVES]
    for document in changed:
        document.name += "!"
        document.amount += 1
        document.price += 1
    with _timed(found, "save of a changed document", len(changed)):
        for document in changed:
            document.save()
    with _timed(found, "QuerySet.update, set"):
        BenchDocument.objects.update(name="changed", amount=-1, price=0.5)
    with _timed(found, "QuerySet.update, inc"):
        BenchDocument.objects.update(inc__amount=1, inc__price=1)
    return found


@contextmanager
def _timed(found: Times, what: str, times: int = 1) -> Iterator[None]:
    gc.collect()
    clock, cpu = perf_counter_ns(), process_time_ns()
    yield
    clock, cpu = perf_counter_ns() - clock, process_time_ns() - cpu
    found[what] = Taken(clock / 1e6 / times, cpu / 1e6 / times)


def _figures(section: str, times: dict[str, list[Times]]) -> Iterator[Figure]:
    for what, reach in REACH.items():
        for who, rounds in times.items():
            pairs = [
                (one[what], plain[what]) for one, plain in zip(rounds, times["plain"], strict=True)
            ]
            clock = [one.clock for one, _ in pairs]
            yield Figure(
                section=section,
                what=what,
                contestant=who,
                value=median(clock),
                unit="ms",
                spread=spread(clock),
                ratio=median(one.clock / plain.clock for one, plain in pairs),
                cpu_ratio=median(one.cpu / plain.cpu for one, plain in pairs),
                reach="" if who == "plain" else reach,
            )
