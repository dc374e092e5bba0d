"""A large log, made up and written as fast as a database takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.schema import CreateIndex, DropIndex

from lifecycle.audit.format import dump
from lifecycle.audit.records import FORMAT
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.audit.stores.sql.tables import BY_HORIZON
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation
from tests.bench.shop import CUSTOMERS, ENTITIES, STATES

__all__ = ["HOT", "ONE", "fill", "large_revision", "revision_id"]

HOT: Final = 1
"""The key of an order that is changed again and again."""

ONE: Final = 4_321
"""The key of an order that was changed now and then."""

MANY: Final = 10_000
"""How many records the largest revision has, in a log that is large itself."""

BODIES: Final = 500
"""How many changesets there are of each operation."""

YEARS: Final = timedelta(days=730)


def revision_id(seq: int) -> UUID:
    """The id of the revision of that number."""
    return UUID(int=(0x01936D5E << 96) | (7 << 76) | (2 << 62) | seq)


def large_revision(records: int) -> int:
    """The number of the largest revision."""
    return min(10_000, records // 8)


def fill(engine: Engine, records: int) -> None:
    """Write so many records, four to a revision; indexes are made afterwards, which is faster."""
    store = SqlStore(engine)
    store.create_tables()
    tables = (store.tables.revision, store.tables.change)
    indexes = [index for one in tables for index in one.indexes]
    if engine.name != "postgresql":
        indexes = [index for index in indexes if index.name != BY_HORIZON]
    with engine.begin() as connection:
        for index in indexes:
            connection.execute(DropIndex(index))
    if engine.name == "postgresql":
        _copy(engine, *tables, records)
    else:
        _insert(engine, *tables, records)
    with engine.begin() as connection:
        for index in indexes:
            connection.execute(CreateIndex(index))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _copy(engine: Engine, revision: Any, change: Any, records: int) -> None:
    connection: Any = engine.raw_connection()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
            for table, rows in ((revision, _revisions(records)), (change, _changes(records))):
                with cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
                    for row in rows:
                        copy.write("\t".join(_NULL if v is None else str(v) for v in row) + "\n")
        connection.commit()
    finally:
        connection.close()


_NULL: Final = r"\N"


def _insert(engine: Engine, revision: Any, change: Any, records: int) -> None:
    connection: Any = engine.raw_connection()
    try:
        for pragma in ("synchronous = OFF", "cache_size = -400000"):
            connection.cursor().execute(f"PRAGMA {pragma}")
        ids = ((seq, UUID(id).hex, *rest) for seq, id, *rest in _revisions(records))
        for table, rows in ((revision, ids), (change, _changes(records))):
            marks = ", ".join("?" * len(table.columns))
            statement = f"INSERT INTO {table.name} VALUES ({marks})"
            while batch := list(islice(rows, 100_000)):
                connection.cursor().executemany(statement, batch)
                connection.commit()
    finally:
        connection.close()


# --- what is in it --------------------------------------------------------------------------


def _revisions(records: int) -> Iterator[tuple[Any, ...]]:
    count = records // 4
    step = YEARS / count
    start = datetime.now(UTC).replace(tzinfo=None) - YEARS
    random = Random(1)
    for seq in range(1, count + 1):
        at = (start + step * seq).isoformat(sep=" ", timespec="microseconds")
        job = random.random() < 0.2
        number = int(random.paretovariate(0.6)) % 500
        actor, label = ("import", None) if job else (f"user{number}", f"User Number {number}")
        reason = None if seq % 3 else f"ticket {seq % 9973}"
        source = "job" if job else "web"
        id = str(revision_id(seq))
        yield (seq, id, at, actor, label, reason, source, f"req-{seq}", "{}", None, None, None)


def _changes(records: int) -> Iterable[tuple[Any, ...]]:
    random = Random(2)
    bodies = {operation: _bodies(operation) for operation in Operation if operation.value != "bulk"}
    count, written, seq = records // 4, 0, 0
    large, many = large_revision(records), min(MANY, records // 10)
    while written < records and seq < count:
        seq += 1
        size = many if seq == large else min(1 + int(random.expovariate(0.33)), 40)
        for n in range(min(size, records - written)):
            entity = ENTITIES[int(random.random() * len(ENTITIES))]
            luck = random.random()
            operation = Operation.UPDATE
            if luck > 0.93:
                operation = Operation.DELETE if luck > 0.98 else Operation.INSERT
            chance = random.random()
            key = HOT if chance < 0.002 else ONE if chance < 0.0021 else int(chance * CUSTOMERS)
            if seq <= 20:  # so that a small log has them too
                entity, key = "store.Order", HOT if seq % 2 else ONE
            if key in (HOT, ONE):
                operation = Operation.UPDATE
            body = bodies[operation][int(random.random() * BODIES)]
            label = f"No. {key}"
            yield (seq, n, entity, key, None, operation.value, label, None, None, body, FORMAT)
        written += size


def _bodies(operation: Operation) -> list[str]:
    """Some changesets as the log holds them."""
    random = Random(operation.value)
    out = []
    for number in range(BODIES):
        pairs = {
            "status": random.sample(list(STATES), 2),
            "customer_id": [random.randint(1, CUSTOMERS - 1), random.randint(1, CUSTOMERS - 1)],
            "total": [random.randint(1, 10**6), random.randint(1, 10**6)],
            "note": [f"ring {number} times", f"ring {number + 1} times, at the back"],
            "city": ["Bern", "Basel"],
        }
        kept = dict(list(pairs.items())[: random.randint(1, 5)])
        if operation is not Operation.UPDATE:
            kept = pairs
        changes = {
            name: Change(
                ABSENT if operation is Operation.INSERT else old,
                ABSENT if operation is Operation.DELETE else new,
            )
            for name, (old, new) in kept.items()
        }
        out.append(dump(ChangeSet(changes, operation)))
    return out
