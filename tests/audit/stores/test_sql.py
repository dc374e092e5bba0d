"""What `SqlStore` does beyond the contract: transactions, plans, placements and its errors."""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import (
    Connection,
    Engine,
    TextClause,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.schema import CreateSchema, DropSchema

from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import Asked, Query
from lifecycle.audit.stores.sql import SqlStore, audit_tables
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.errors import ConfigurationError, QuestionTooSlow, StoreUnreachable, TablesMissing
from lifecycle.testing.store_contract import NOON, a_record, a_revision, append
from tests.statements import statements


@pytest.fixture
def sqlite_store(sqlite_engine: Engine) -> SqlStore:
    store = SqlStore(sqlite_engine)
    store.create_tables()
    return store


# --- in the application's transaction -------------------------------------------------------


def test_records_are_written_in_two_statements(store: SqlStore) -> None:
    """A revision is one statement, and its records another one, however many they are."""
    revision = a_revision()
    with store.engine.begin() as connection, statements(store.engine) as seen:
        stored = store.insert_revision(connection, revision)
        store.insert_records(connection, stored, [a_record(revision, n) for n in range(50)])

    tables = [re.search(r"lifecycle_\w+", statement) for statement in seen]
    assert [table and table[0] for table in tables] == ["lifecycle_revision", "lifecycle_change"]
    assert stored.seq is not None
    assert len(store.page(Query())) == 50


def together(store: SqlStore, connection: Connection) -> AbstractContextManager[None]:
    """The block in which records are sent ahead; of a database that has none, any block."""
    found = store.together(connection)
    assert (found is None) is (connection.dialect.name != "postgresql")
    return found or nullcontext()


def test_records_sent_ahead_are_there_for_the_next_statement(store: SqlStore) -> None:
    """Whatever is executed meanwhile finds them, and so does the end of the block."""
    change = store.tables.change
    count = select(func.count()).select_from(change)
    with store.engine.begin() as connection:
        stored = store.insert_revision(connection, a_revision())
        with together(store, connection):
            for start in (0, 700, 1_400):
                records = [a_record(stored, n) for n in range(start, start + 700)]
                store.insert_records(connection, stored, records)
                if start == 700:
                    assert connection.scalar(count) == 1_400
                    with connection.begin_nested():
                        store.insert_records(connection, stored, [a_record(stored, 9_999)])
        with together(store, connection), together(store, connection):
            store.insert_records(connection, stored, [a_record(stored, n) for n in range(-9, 0)])
        driver = connection.connection.driver_connection
        assert driver is not None
        cursor = driver.cursor()  # past SQLAlchemy, which is not told of it
        cursor.execute(f"SELECT count(*) FROM {change.name}")
        assert cursor.fetchone()[0] == 2_110
        cursor.close()
    assert [record.n for record in store.page(Query(), newest_first=False, limit=3_000)] == [
        *range(-9, 2_100),
        9_999,
    ]


def test_records_sent_together_reach_the_database_by_one_copy(postgresql_engine: Engine) -> None:
    """Nobody waits for it in between."""
    store = SqlStore(postgresql_engine)
    store.create_tables()
    with store.engine.begin() as connection, statements(store.engine) as seen:
        stored = store.insert_revision(connection, a_revision())
        with together(store, connection):
            for start in (0, 10, 20):
                records = [a_record(stored, n) for n in range(start, start + 10)]
                store.insert_records(connection, stored, records)
    assert [statement.split()[0] for statement in seen] == ["INSERT", "COPY"]


@pytest.mark.parametrize("by", ["statement", "end"])
def test_what_a_database_says_of_records_sent_ahead_is_raised(store: SqlStore, by: str) -> None:
    """As an error of SQLAlchemy, and the transaction can be rolled back and used again."""

    def send(connection: Connection, numbers: range) -> None:
        stored = store.insert_revision(connection, a_revision())
        with together(store, connection):
            for _ in range(2):
                records = [a_record(stored, n) for n in numbers]
                store.insert_records(connection, stored, records)
            if by == "statement":
                connection.execute(select(1))

    with store.engine.connect() as connection:
        with pytest.raises(IntegrityError):
            send(connection, range(20))
        connection.rollback()
        assert connection.scalar(select(1)) == 1
        connection.commit()
    assert not store.page(Query())


def test_an_error_in_between_leaves_what_was_sent_ahead(store: SqlStore) -> None:
    """It is the one that is raised, and the connection stays in its transaction."""

    def send_and_fail(connection: Connection) -> None:
        stored = store.insert_revision(connection, a_revision())
        with together(store, connection):
            store.insert_records(connection, stored, [a_record(stored, n) for n in range(20)])
            raise ZeroDivisionError

    with store.engine.begin() as connection:
        with pytest.raises(ZeroDivisionError):
            send_and_fail(connection)
        assert connection.scalar(select(1)) == 1
    assert len(store.page(Query())) == 20


@pytest.mark.parametrize("count", [1, 7, 8, 19, 20, 21, 40, 45])
def test_records_come_back_however_many_are_written_at_once(store: SqlStore, count: int) -> None:
    """With what only some of them have, and with texts that some databases do not take."""
    given = [
        {
            "key": f"k{n}",
            "label": "\0\ud800" if n % 20 == 3 else None,
            "former_key": f"f{n}" if n % 20 == 4 else None,
            "cause": "cascade" if n >= 40 else None,
        }
        for n in range(count)
    ]
    stored = append(store, a_revision(), *given)
    assert [*store.page(Query(), newest_first=False).records] == stored


def test_records_go_with_the_transaction(store: SqlStore) -> None:
    """When the application rolls back, nothing of its records stays."""
    revision = a_revision()
    with store.engine.connect() as connection:
        stored = store.insert_revision(connection, revision)
        store.insert_records(connection, stored, [a_record(revision)])
        connection.rollback()

    assert store.revision(revision.id) is None
    assert store.page(Query()).records == ()


def test_no_records_are_no_statement(sqlite_store: SqlStore) -> None:
    """Where there is nothing to insert, the database is not asked."""
    with sqlite_store.engine.begin() as connection, statements(sqlite_store.engine) as seen:
        sqlite_store.insert_records(connection, a_revision(seq=1), [])

    assert seen == []


def test_other_errors_stay_the_applications(store: SqlStore) -> None:
    """In the application's transaction an error of the database is raised as it is."""
    revision = a_revision()
    with store.engine.connect() as connection:
        store.insert_revision(connection, revision)
        with pytest.raises(IntegrityError):
            store.insert_revision(connection, revision)


def test_missing_tables_are_named_in_the_applications_transaction(engine: Engine) -> None:
    """A write that cannot be recorded says which tables are missing and how to make them."""
    store = SqlStore(engine)
    with engine.connect() as connection, pytest.raises(TablesMissing) as caught:
        store.insert_revision(connection, a_revision())

    message = str(caught.value)
    assert "lifecycle_revision" in message
    assert store.url in message
    assert "lifecycle create-tables" in message


def test_a_time_without_zone_is_refused(sqlite_store: SqlStore) -> None:
    """The time of a revision is never guessed to be in some zone."""
    with (
        sqlite_store.engine.connect() as connection,
        pytest.raises(StatementError, match="has no time zone"),
    ):
        sqlite_store.insert_revision(connection, a_revision(at=datetime(2026, 11, 21)))


def test_a_revision_number_is_never_used_again(store: SqlStore) -> None:
    """After the newest revision has been removed, the next one has a higher number all the same."""
    first = store.append(a_revision(), [])
    with store.engine.begin() as connection:
        connection.execute(store.tables.revision.delete())

    second = store.append(a_revision(), [])

    assert first.seq is not None
    assert second.seq == first.seq + 1


def test_the_horizon_is_the_transaction_on_postgresql(store: SqlStore) -> None:
    """On PostgreSQL a revision carries its transaction's id; elsewhere there is none to carry."""
    with store.engine.begin() as connection:
        store.insert_revision(connection, a_revision())
        horizon = connection.scalar(select(store.tables.revision.c.horizon))
        if connection.dialect.name == "postgresql":
            assert horizon == int(connection.scalar(text("SELECT pg_current_xact_id()::text")) or 0)
        else:
            assert horizon is None


# --- reading --------------------------------------------------------------------------------


def test_a_page_is_one_statement(sqlite_store: SqlStore) -> None:
    """Records come with their revisions in one statement."""
    append(sqlite_store, a_revision(), {}, {"key": "2", "former_key": "1"})
    with statements(sqlite_store.engine) as seen:
        page = sqlite_store.page(Query(entity="shop.Order", key="1", actor=None))

    assert len(page) == 2
    assert len(seen) == 1


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_many_objects_are_looked_up_by_the_statement_of_a_few(
    request: pytest.FixtureRequest, dialect: str
) -> None:
    """So nothing is built, sent or planned for each; and it goes by the indexes of keys."""
    engine = request.getfixturevalue(f"{dialect}_engine")
    store = SqlStore(engine)
    store.create_tables()
    said = set()
    for count in (1, 2, 300):
        end = Position(10, 2**31 - 1)
        asked = [Asked(Query(entity="shop.Order", key=f"{n}", upto=end)) for n in range(count)]
        with statements(engine) as seen:
            assert store.glimpses(asked) == [None] * count
        said.update(one for one in seen if "lifecycle_change" in one)
    assert len(said) == 1

    with engine.begin() as connection:
        for number in range(400):
            revision = store.insert_revision(connection, a_revision())
            keys = [{"key": f"{number}-{n}", "former_key": f"{n}"} for n in range(9)]
            made = [a_record(revision, n, **fields) for n, fields in enumerate(keys)]
            store.insert_records(connection, revision, made)
    explain = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
    statement = store._statements.glimpses(asked)
    compiled = str(statement.compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
        if dialect == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # the tables are small here
        plan = "\n".join(map(str, connection.exec_driver_sql(f"{explain} {compiled}")))
    assert plan.count("ix_lifecycle_change_key") >= 2, plan
    assert plan.count("ix_lifecycle_change_former_key") >= 2, plan
    assert "Seq Scan" not in plan, plan
    assert "SCAN lifecycle" not in plan, plan


WINDOWS = {
    "open": (None, None),
    "the last hours": (51, None),
    "hours long past": (10, 20),
    "up to then": (None, 30),
    "none": (99, None),
}


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_pages_of_a_time_hold_all_of_it_in_order(
    store: SqlStore, window: str, newest_first: bool
) -> None:
    """However few of the nearest records are of it, and though times and order differ."""
    for number in range(60):
        at = NOON + timedelta(hours=number - 9 * (number % 7 == 0))
        entity = "shop.Order" if number % 3 else "shop.Customer"
        append(store, a_revision(at=at), {"entity": entity}, {"entity": "shop.Tag"})
    every = list(store.page(Query(), limit=500, newest_first=newest_first))
    assert len(every) == 120
    since, until = (
        None if hours is None else NOON + timedelta(hours=hours) for hours in WINDOWS[window]
    )
    for entity, operation in ((None, None), ("shop.Order", None), (None, Operation.INSERT)):
        query = Query(entity=entity, operation=operation, since=since, until=until)
        for limit in (1, 4, 500):
            found, after = list[Record](), None
            while True:
                page = store.page(query, after=after, limit=limit, newest_first=newest_first)
                found += page.records
                if (after := page.next) is None:
                    break
            assert found == [record for record in every if query.matches(record)]


def test_the_records_of_a_time_are_one_statement_where_they_are_near(
    sqlite_store: SqlStore,
) -> None:
    """Only where too few of the nearest are of it, that time is looked up by its index."""
    for number in range(60):
        append(sqlite_store, a_revision(at=NOON + timedelta(hours=number)), {})
    with statements(sqlite_store.engine) as seen:
        near = sqlite_store.page(Query(since=NOON + timedelta(hours=40)), limit=10)
    assert (len(near), len(seen)) == (10, 1)
    long_past = Query(since=NOON + timedelta(hours=5), until=NOON + timedelta(hours=9))
    with statements(sqlite_store.engine) as seen:
        assert len(sqlite_store.page(long_past, limit=10)) == 4
    assert len(seen) == 1  # what is newest is not of it
    lately = Query(since=NOON + timedelta(hours=5), operation=Operation.DELETE)
    with statements(sqlite_store.engine) as seen:
        assert len(sqlite_store.page(lately, limit=10)) == 0
    assert len(seen) == 2
    with sqlite_store.engine.connect() as connection:
        steps = [
            str(row[3])
            for row in _plan(connection, sqlite_store, long_past, None, "EXPLAIN QUERY PLAN")
        ]
    assert [
        step
        for step in steps
        if "lifecycle_revision USING" in step and "ix_lifecycle_revision_at" in step
    ]
    assert [step for step in steps if "lifecycle_change USING COVERING INDEX" in step]


QUERIES = {
    "everything": Query(),
    "an entity": Query(entity="E1"),
    "an object": Query(entity="E1", key="1"),
    "an actor": Query(actor="ann"),
    "a request": Query(request_id="r"),
    "a revision": Query(revision=uuid4()),
    "a group": Query(group=uuid4()),
}


@pytest.mark.parametrize("after", [None, Position(7, 1)])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_sqlite_finds_a_page_by_an_index(
    sqlite_store: SqlStore, query: Query, after: Position | None
) -> None:
    """No question reads a table from end to end, or sorts what it does not return."""
    with sqlite_store.engine.connect() as connection:
        plan = _plan(connection, sqlite_store, query, after, "EXPLAIN QUERY PLAN")

    finding = {id for id, _, _, step in plan if step.startswith("MATERIALIZE")}
    steps = [step for _, parent, _, step in plan if parent in finding]
    assert [step for step in steps if "lifecycle_change USING INDEX" in step]
    assert not [step for step in steps if "TEMP B-TREE" in step]
    assert not [step for step in steps if step.startswith("SCAN") and "INDEX" not in step]


@pytest.mark.parametrize("after", [None, Position(7, 1)])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_postgresql_finds_a_page_by_an_index(
    postgresql_engine: Engine, query: Query, after: Position | None
) -> None:
    """No question has to read a table from end to end."""
    store = SqlStore(postgresql_engine)
    store.create_tables()
    with store.engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))  # the tables are empty here
        connection.execute(text("SET enable_bitmapscan = off"))
        plan = [line for (line,) in _plan(connection, store, query, after, "EXPLAIN")]

    assert not [line for line in plan if "Seq Scan" in line]
    assert [line for line in plan if "Index" in line and "lifecycle_change" in line]


def test_mysql_counts_a_day_by_its_time(mysql_engine: Engine) -> None:
    """What was before that day is not read, though the order of a page would begin there."""
    store = SqlStore(mysql_engine)
    store.create_tables()
    with mysql_engine.begin() as connection:
        for day in range(100):
            revision = store.insert_revision(connection, a_revision(at=NOON + timedelta(days=day)))
            records = [a_record(revision, n) for n in range(5)]
            store.insert_records(connection, revision, records)
    with store._transaction() as connection:
        connection.execute(text("ANALYZE TABLE lifecycle_revision, lifecycle_change")).all()
        connection.execute(text("FLUSH STATUS"))
        last = Query(since=NOON + timedelta(days=98))
        assert connection.scalar(store._statements.count(last, 500)) == 10
        status = connection.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'")).all()
    assert sum(int(number) for name, number in status if "tmp" not in name) < 100


def _plan(
    connection: Connection, store: SqlStore, query: Query, after: Position | None, explain: str
) -> list[Any]:
    statement = store._statements.page(query, after, 51, True)
    compiled = statement.compile(store.engine, compile_kwargs={"literal_binds": True})
    return [tuple(row) for row in connection.exec_driver_sql(f"{explain} {compiled}")]


# --- tables ---------------------------------------------------------------------------------


def test_tables_can_be_created_twice(store: SqlStore) -> None:
    """Creating what is there changes nothing."""
    [record] = append(store, a_revision(), {})

    store.create_tables()

    assert store.page(Query()).records == (record,)
    store.check()


def test_the_metadata_holds_the_tables_of_the_log() -> None:
    """Alembic sees just the tables of the log, the same for every store."""
    assert SqlStore("sqlite://").metadata is audit_tables().metadata
    names = ("change", "hold", "intent", "leaf", "revision", "seal")
    assert sorted(audit_tables().metadata.tables) == [f"lifecycle_{name}" for name in names]


def test_the_tables_may_be_in_a_schema(postgresql_engine: Engine) -> None:
    """A store keeps to the schema it was given."""
    with postgresql_engine.begin() as connection:
        connection.execute(CreateSchema("audit"))
    try:
        store = SqlStore(postgresql_engine, schema="audit")
        with pytest.raises(TablesMissing, match=r"audit\.lifecycle_revision"):
            store.check()
        store.create_tables()
        [record] = append(store, a_revision(), {})

        assert store.page(Query()).records == (record,)
        assert inspect(postgresql_engine).get_table_names(schema="audit")
        assert not inspect(postgresql_engine).get_table_names()
    finally:
        with postgresql_engine.begin() as connection:
            connection.execute(DropSchema("audit", cascade=True))


def test_what_is_stored_can_be_read_without_lifecycle(store: SqlStore) -> None:
    """The tables speak plain SQL: text, UTC times and JSON."""
    changes = ChangeSet({"name": Change("Ann", "Eve")})
    append(store, a_revision(actor="ann"), {"changes": changes, "label": "Order 1"})
    revision, change = store.tables.revision, store.tables.change
    with store.engine.connect() as connection:
        found = connection.execute(
            select(
                revision.c.actor,
                change.c.entity,
                change.c.label,
                change.c.changes,
            ).join_from(change, revision, change.c.seq == revision.c.seq)
        ).one()

    assert tuple(found) == ("ann", "shop.Order", "Order 1", '{"name":["Ann","Eve"]}')


# --- what can go wrong ----------------------------------------------------------------------


def test_missing_tables_are_named(engine: Engine) -> None:
    """Every question to a database without the tables says so, and what to do."""
    store = SqlStore(engine)
    questions = (
        store.check,
        store.entities,
        lambda: store.page(Query()),
        lambda: store.append(a_revision(), []),
        lambda: store.count_at_most(Query(), 1),
        lambda: store.revision_at(NOON),
    )
    for question in questions:
        with pytest.raises(TablesMissing, match="lifecycle create-tables"):
            question()


def test_missing_tables_in_memory_can_only_be_created_from_inside() -> None:
    """No command reaches a database that lives in this process."""
    store = SqlStore("sqlite://")
    with pytest.raises(
        TablesMissing, match=r"create them with Lifecycle\.create_tables\(engine\)$"
    ):
        store.check()
    store.close()


@pytest.mark.parametrize("server", ["postgresql", "mysql"])
def test_an_unknown_database_is_unreachable(request: pytest.FixtureRequest, server: str) -> None:
    """A database that does not exist is named, with the cause."""
    url = request.getfixturevalue(f"{server}_database").set(database="no_such_database")
    with pytest.raises(StoreUnreachable, match=r"no_such_database.*check that it runs"):
        SqlStore(url).check()


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://ann:s3cret@127.0.0.1:1/x", "mysql+pymysql://ann:s3cret@127.0.0.1:1/x"],
)
def test_a_refused_connection_is_unreachable(url: str) -> None:
    """A server that does not answer is named, without the password."""
    with pytest.raises(StoreUnreachable) as caught:
        SqlStore(url).check()

    assert "127.0.0.1:1" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_missing_directory_is_unreachable(tmp_path: Path) -> None:
    """A SQLite file that cannot be opened is named."""
    with pytest.raises(StoreUnreachable, match="nowhere"):
        SqlStore(f"sqlite:///{tmp_path}/nowhere/audit.db").check()


def test_a_check_makes_no_file(tmp_path: Path) -> None:
    """Asking for a SQLite store that is not there does not leave an empty one behind."""
    file = tmp_path / "typo.db"
    with pytest.raises(TablesMissing, match=r"no file .*typo\.db"):
        SqlStore(f"sqlite:///{file}").check()

    assert not file.exists()


def test_a_lost_connection_is_unreachable(postgresql_engine: Engine) -> None:
    """A server that goes away in the middle of a question is unreachable, too."""
    store = SqlStore(postgresql_engine)
    store.create_tables()
    other = create_engine(postgresql_engine.url)

    def cut(connection: Any, *rest: Any) -> None:
        with other.connect() as killer:
            pid = connection.connection.driver_connection.info.backend_pid
            killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    event.listen(postgresql_engine, "before_cursor_execute", cut)
    try:
        with pytest.raises(StoreUnreachable):
            store.page(Query())
    finally:
        event.remove(postgresql_engine, "before_cursor_execute", cut)
        other.dispose()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("postgres//ann:s3cret@host", "cannot be read"),
        ("postgresql://ann:s3cret@host:port/x", "cannot be read"),
        ("nonesuch://ann:s3cret@host/x", "no driver"),
        ("mongodb://ann:s3cret@host/x", "MongoStore"),
        ("sqlite+aiosqlite:///x.db", "driver"),
        (42, "42 is no audit store"),
    ],
)
def test_what_is_no_store_is_refused_at_once(given: Any, message: str) -> None:
    """A URL that can never work is an error when the store is made, without the password."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        SqlStore(given)

    assert "s3cret" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which driver is missing."""
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(ConfigurationError, match="pymysql"):
        SqlStore("mysql+pymysql://host/x")


@pytest.mark.parametrize(
    "url",
    ["postgresql://ann:s3cret@host/x", "postgresql+psycopg://host/x?user=ann&password=s3cret"],
)
def test_a_password_is_never_shown(url: str) -> None:
    """Wherever in the URL a password is, the store's own URL hides it."""
    store = SqlStore(make_url(url).set(drivername="postgresql+psycopg"))

    assert "s3cret" not in store.url + repr(store)
    assert "***" in store.url or "password=hidden" in store.url


# --- limits ---------------------------------------------------------------------------------


def taking(seconds: float, store: SqlStore) -> TextClause:
    """A statement that takes about so long, or longer."""
    ways = {"postgresql": f"SELECT pg_sleep({seconds})", "mysql": f"SELECT SLEEP({seconds})"}
    counting = (
        f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < "
        f"{int(seconds * 10_000_000)}) SELECT max(n) FROM c"
    )
    return text(ways.get(store.engine.dialect.name, counting))


def test_a_question_that_takes_too_long_is_stopped(store: SqlStore) -> None:
    """After so many seconds, with an error of its own; the connection is as it was before."""
    append(store, a_revision(), {})
    limited = store.within(0.05)
    with pytest.raises(QuestionTooSlow, match=r"within 0\.05 seconds"), limited._transaction() as c:
        c.execute(taking(5, store))
    assert len(limited.page(Query())) == 1
    assert len(store.page(Query())) == 1


def test_a_limit_is_for_the_store_it_was_asked_of(store: SqlStore) -> None:
    """Others on the same connections take the time they need."""
    append(store, a_revision(), *({"key": str(n)} for n in range(300)))
    assert len(store.within(0.02).page(Query(), limit=5)) == 5
    with store._transaction() as connection:
        connection.execute(taking(0.03, store))
