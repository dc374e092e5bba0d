"""What `MongoStore` does beyond the contract: transactions, crashes, placements and its errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from pymongo import MongoClient, monitoring
from pymongo.client_session import ClientSession
from pymongo.database import Database

from lifecycle import Lifecycle
from lifecycle.audit.store import AuditStore, Query
from lifecycle.audit.stores.mongo import MongoStore
from lifecycle.audit.stores.opening import opened_store
from lifecycle.cli.commands import lifecycle as command
from lifecycle.errors import ConfigurationError, QuestionTooSlow, StoreUnreachable, TablesMissing
from lifecycle.testing.store_contract import a_record, a_revision, append


@pytest.fixture
def store(mongo: Database[Any]) -> MongoStore:
    store = MongoStore(mongo)
    store.create_tables()
    return store


@contextmanager
def transaction(store: MongoStore) -> Iterator[ClientSession]:
    """A bound session of the store's own client, in a transaction."""
    with (
        store.database.client.start_session() as session,
        session.bind(end_session=False),
        session.start_transaction(),
    ):
        yield session


def written(store: MongoStore, session: ClientSession, *numbers: int) -> Any:
    """A revision with records of these numbers, in the session's transaction."""
    stored = store.insert_revision(session, a_revision())
    store.insert_records(session, stored, [a_record(stored, n) for n in numbers])
    return stored


# --- in the application's transaction -------------------------------------------------------


def test_records_commit_with_the_transaction(store: MongoStore) -> None:
    """All of them, as one revision."""
    with transaction(store) as session:
        stored = written(store, session, 0)
        store.insert_records(session, stored, [a_record(stored, n) for n in (1, 2)])

    assert [record.n for record in store.scan(Query())] == [0, 1, 2]
    assert store.revision(stored.id) == stored


def test_records_go_with_the_transaction(store: MongoStore) -> None:
    """When the application aborts, nothing of its records stays."""
    with transaction(store) as session:
        stored = written(store, session, 0)
        session.abort_transaction()

    assert store.revision(stored.id) is None
    assert store.page(Query()).records == ()


@pytest.mark.real_mongodb("isolated transactions")
def test_the_feed_ends_before_an_open_transaction(store: MongoStore) -> None:
    """What it may still add is not passed; when it is over the feed goes on."""
    [before] = append(store, a_revision(), {})
    with transaction(store) as session:
        stored = written(store, session, 0)
        [after] = append(store, a_revision(), {})
        assert list(store.feed()) == [before]
    assert list(store.feed()) == [before]

    store.transaction_over(stored)

    assert [record.revision.seq for record in store.feed()] == [1, 2, 3]
    assert after.revision.seq == 3


@pytest.mark.real_mongodb("isolated transactions")
def test_a_transaction_that_nobody_ended_holds_the_feed_up_for_a_while(store: MongoStore) -> None:
    """As when its process was killed: the server has ended it by then."""
    with transaction(store) as session:
        written(store, session, 0)
        session.abort_transaction()
    [after] = append(store, a_revision(), {})
    assert list(store.feed()) == []

    store._log.update_many({}, {"$set": {"open_since": datetime.now(UTC) - timedelta(minutes=3)}})

    assert list(store.feed()) == [after]


@pytest.mark.real_mongodb("isolated transactions")
def test_a_number_is_never_taken_twice(store: MongoStore, mongo: Database[Any]) -> None:
    """Not that of a transaction that was aborted, nor by a store that knows only older ones."""
    other = MongoStore(mongo)
    other.append(a_revision(), [])
    with transaction(store) as session:
        aborted = written(store, session, 0)
        session.abort_transaction()
    store.transaction_over(aborted)

    assert aborted.seq == 2
    assert [other.append(a_revision(), []).seq, store.append(a_revision(), []).seq] == [3, 4]


# --- without transactions -------------------------------------------------------------------


def test_a_revision_of_one_record_is_one_command(store: MongoStore) -> None:
    """Once the store knows the newest number."""
    store.append(a_revision(), [])
    seen = _Commands()
    client: MongoClient[Any] = MongoClient(_uri(store), event_listeners=[seen])
    other = MongoStore(client[store.database.name])
    append(other, a_revision(), {})
    seen.names.clear()

    append(other, a_revision(), {})

    assert seen.names == ["insert"]
    client.close()


class _Commands(monitoring.CommandListener):
    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


def _uri(store: MongoStore) -> str:
    return store.url.rpartition("/")[0]


def test_records_whose_revision_was_cut_off_do_not_count(store: MongoStore) -> None:
    """A process that is killed between writing the records and their head has stored nothing."""
    revision = a_revision(actor="ann")
    append(store, a_revision(actor="ann"), {})
    append(store, revision, {}, {}, {})
    store._log.delete_one({"_id": str(revision.id)})

    assert len(store.page(Query(actor="ann"))) == 1
    assert store.count_at_most(Query(), 10) == 1
    assert len(store.page(Query(), limit=1, newest_first=True)) == 1
    store.append(revision, [a_record(revision, n) for n in range(3)])
    assert store.count_at_most(Query(revision=revision.id), 10) == 3


def test_stores_of_several_processes_share_their_numbers(mongo: Database[Any]) -> None:
    """Whoever comes second looks again; every revision gets a number of its own, without gaps."""
    stores = [MongoStore(mongo) for _ in range(4)]
    stores[0].create_tables()

    def appending(store: MongoStore) -> None:
        for _ in range(10):
            append(store, a_revision(), {}, {})

    threads = [Thread(target=appending, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    numbers = [record.position for record in stores[0].scan(Query())]
    assert numbers == [(seq, n) for seq in range(1, 41) for n in (0, 1)]


# --- placements and errors ------------------------------------------------------------------


def test_a_lifecycle_takes_a_database_or_its_url(mongo: Database[Any], store: MongoStore) -> None:
    """And creates what is missing there."""
    for given in (mongo, f"{_uri(store)}/{mongo.name}"):
        lifecycle = Lifecycle(store=given)
        lifecycle.create_tables()
        found = lifecycle.store
        assert isinstance(found, MongoStore | AuditStore)
        assert found.page(Query()).records == ()
        getattr(found, "close", lambda: None)()


def test_a_store_without_its_indexes_says_so(mongo: Database[Any]) -> None:
    """Every write to it would be a risk, and every page a scan."""
    store = MongoStore(mongo)
    for ask in (store.check, lambda: store.append(a_revision(), [])):
        with pytest.raises(TablesMissing, match="lifecycle create-tables mongodb://"):
            ask()


def test_the_log_is_exact_whatever_the_application_does_with_its_database(
    mongo: Database[Any],
) -> None:
    """Unacknowledged writes and other codecs are the application's, not the log's."""
    from bson import CodecOptions
    from bson.son import SON
    from pymongo import WriteConcern

    options: CodecOptions[Any] = CodecOptions(document_class=SON, tz_aware=True)
    lax = mongo.client.get_database(
        mongo.name, codec_options=options, write_concern=WriteConcern(w=0)
    )
    store = MongoStore(lax)
    store.create_tables()
    [record] = append(store, a_revision(), {})

    assert store.page(Query()).records == (record,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mongodb://ann:s3cret@host/", "names no database"),
        ("mongodb://ann:s3cret@/app", "cannot be read"),
        ("mongodb://ann:s3cret@host:port/app", "cannot be read"),
        (42, "42 is no audit store"),
    ],
)
def test_what_is_no_store_is_refused_at_once(given: Any, message: str) -> None:
    """A URL that can never work is an error when the store is made, without the password."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        MongoStore(given)

    assert "s3cret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    """With what to check."""
    store = MongoStore("mongodb://ann:s3cret@127.0.0.1:1/x?serverSelectionTimeoutMS=50")
    with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:1/x.*check that it runs") as caught:
        store.check()
    store.close()

    assert "s3cret" not in str(caught.value) + repr(store)


def test_the_command_reads_a_log_in_mongodb(mongo: Database[Any], mongo_server: Any) -> None:
    """Having created its indexes; before that it says what to do."""
    url = f"{mongo_server.uri}{mongo.name}"

    def run(*words: str) -> Any:
        return CliRunner().invoke(command, words)

    assert "create them with `lifecycle create-tables" in run("history", url, "Thing", "1").output
    assert run("create-tables", url).exit_code == 0
    append(MongoStore(mongo), a_revision(actor="ann"), {"entity": "Thing"})
    told = run("history", url, "Thing", "1")
    assert (told.exit_code, told.output.splitlines()[1:]) == (0, ["    name: 'a' -> 'b'"])
    assert run("seal", url).exit_code == 0
    assert run("verify", url).exit_code == 0


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "lifecycle.audit.stores.mongo", None)
    with pytest.raises(ConfigurationError, match="pip install"):
        opened_store("mongodb://host/x")


# --- limits ---------------------------------------------------------------------------------


def test_a_question_that_takes_too_long_is_stopped(store: MongoStore) -> None:
    """With an error of its own; the store that was asked takes the time it needs."""
    append(store, a_revision(), {})
    assert len(store.within(5).page(Query())) == 1
    with pytest.raises(QuestionTooSlow, match="narrow it"):
        store.within(0.000_000_1).page(Query())
    assert len(store.page(Query())) == 1
