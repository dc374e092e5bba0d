"""The feed of a SQL store under transactions that commit, roll back and stay open."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from time import sleep

import pytest
from sqlalchemy import Engine, text

from lifecycle.audit.records import FeedPosition, Record
from lifecycle.audit.store import AuditStore, Query
from lifecycle.audit.stores.sql import SqlStore, feeding
from lifecycle.errors import StoreError, TablesMissing
from lifecycle.testing.store_contract import a_record, a_revision, append
from tests.settling import settle


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that were rolled back are passed after a short time."""
    monkeypatch.setattr(feeding, "PAUSE", 0.05)


def test_an_open_transaction_is_not_passed(store: SqlStore) -> None:
    """What commits later than its successors comes in the feed nevertheless, and all just once."""
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    slow = a_revision(reason="slow")
    with store.engine.begin() as connection:
        stored = store.insert_revision(connection, slow)
        store.insert_records(connection, stored, [a_record(slow)])
        append(store, a_revision(reason="quick"), {})
        assert store.feed().records == ()
    settle(store)
    seen = store.feed()

    assert {record.reason for record in seen} == {"slow", "quick"}
    assert store.feed(seen.position).records == ()


def test_a_rolled_back_revision_is_passed(store: SqlStore) -> None:
    """A number that was given out for nothing holds nobody up."""
    with store.engine.connect() as connection:
        store.insert_revision(connection, a_revision())
        connection.rollback()
    stored = append(store, a_revision(), {})
    settle(store)

    assert list(store.feed()) == stored


def test_nothing_is_missed_under_concurrent_writers(store: SqlStore) -> None:
    """Transactions of random length, some rolled back: each committed record is fed once."""

    def write(number: int) -> None:
        random = Random(number)
        for _ in range(15):
            revision = a_revision(reason=str(number))
            with store.engine.connect() as connection:
                stored = store.insert_revision(connection, revision)
                sleep(random.choice((0, 0, 0.002, 0.01)))
                store.insert_records(connection, stored, [a_record(revision, n) for n in (0, 1)])
                connection.commit() if random.random() < 0.8 else connection.rollback()

    with ThreadPoolExecutor(4) as threads:
        writers = [threads.submit(write, number) for number in range(4)]
        seen, position = _followed(store, lambda: all(one.done() for one in writers))
    for writer in writers:
        writer.result()
    settle(store)
    while feed := store.feed(position):
        seen += feed
        position = feed.position

    assert sorted(record.id for record in seen) == sorted(
        record.id for record in store.scan(Query())
    )
    assert store.feed(position).records == ()


def _followed(
    store: AuditStore, done: Callable[[], bool]
) -> tuple[list[Record], FeedPosition | None]:
    seen: list[Record] = []
    position, last = None, False
    while True:
        feed = store.feed(position, limit=5)
        seen += feed
        position = feed.position
        if not feed.records:
            if last:
                return seen, position
            last = done()


def test_a_log_of_another_server_is_refused(postgresql_engine: Engine) -> None:
    """After a restore into a PostgreSQL with lower transaction ids the feed says what to do."""
    store = SqlStore(postgresql_engine)
    store.create_tables()
    append(store, a_revision(), {})
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE lifecycle_revision SET horizon = horizon + 1000000"))

    with pytest.raises(StoreError, match=r"restored from another server.*SET horizon = 0"):
        store.feed()

    with store.engine.begin() as connection:
        connection.execute(text("UPDATE lifecycle_revision SET horizon = 0"))
    assert len(store.feed()) == 1


def test_the_feed_is_found_by_an_index(postgresql_engine: Engine) -> None:
    """On PostgreSQL the order of the feed is that of an index."""
    store = SqlStore(postgresql_engine)
    store.create_tables()
    statement = store._feeding.page(FeedPosition(1, 2, 3), 10)
    compiled = statement.compile(store.engine, compile_kwargs={"literal_binds": True})
    with store.engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        plan = "\n".join(line for (line,) in connection.exec_driver_sql(f"EXPLAIN {compiled}"))

    assert "ix_lifecycle_revision_horizon" in plan


def test_missing_tables_are_named_by_the_feed(engine: Engine) -> None:
    """As by any other question."""
    with pytest.raises(TablesMissing, match="lifecycle create-tables"):
        SqlStore(engine).feed()
