"""Fixtures for the databases the tests run against.

Every test gets a clean database of its own. A server that cannot be reached skips the tests that
want it, with the reason; with ``LIFECYCLE_TEST_REQUIRE=all`` it fails them.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import mongoengine
import pytest
from pymongo.database import Database
from sqlalchemy import URL, Engine, create_engine, event

from lifecycle import Lifecycle
from lifecycle.audit.stores.memory import MemoryStore
from tests.registering import documents_forgotten
from tests.servers import MongoServer, Unavailable, empty, mongodb, sql_database, unique_name


def pytest_configure(config: pytest.Config) -> None:
    """Set up Hypothesis, and refuse a requirement that would silently require nothing."""
    # A program that is started in the background ignores Ctrl-C, and so would those it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Under coverage, on a busy machine, the time an example takes says nothing.
    hypothesis.settings.register_profile("project", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("project")
    required = os.environ.get("LIFECYCLE_TEST_REQUIRE", "")
    if required not in ("", "all"):
        raise pytest.UsageError(f"LIFECYCLE_TEST_REQUIRE={required!r}: give 'all' or leave it out")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a real_mongodb mark that could have no effect."""
    for item in items:
        mark = item.get_closest_marker("real_mongodb")
        if mark and ("mongo" not in getattr(item, "fixturenames", ()) or len(mark.args) != 1):
            raise pytest.UsageError(
                f"{item.nodeid}: real_mongodb takes one argument, what nx-27017 lacks, "
                "and marks a test that uses the fixture 'mongo'"
            )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse models of two modules with one name, and let collections of garbage be quick.

    The first stay known in tests of others; the second look only at what tests make.
    """
    refuse_equal_names()
    while gc.collect():
        pass  # what is let go of may let go of more
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Refuse what the tests of a module would leave to those of the next ones.

    A model that stays known takes its name from others, and an installed Lifecycle checks theirs.
    """
    result = yield
    if nextitem is None or nextitem.path != item.path:
        while gc.collect():
            pass
        refuse_equal_names()
        for one in gc.get_objects():
            if type(one) is Lifecycle:  # isinstance asks proxies of what is gone
                installed = [
                    into for mapper in one._adapters._made.values() for into in mapper._installed
                ]
                assert not installed, f"tests of {item.path.name} leave {one} in {installed}"
    return result


def refuse_equal_names() -> None:
    """Raise when two of the models that are known would have one name in a log."""
    Lifecycle(store=MemoryStore()).describe()


def without(reason: object) -> NoReturn:
    """End the test for want of a server: a skip, or a failure where all are required."""
    if os.environ.get("LIFECYCLE_TEST_REQUIRE") == "all":
        pytest.fail(f"LIFECYCLE_TEST_REQUIRE=all, but {reason}", pytrace=False)
    pytest.skip(str(reason))


@contextmanager
def wanted() -> Iterator[None]:
    """End the test when a server it wants is unavailable."""
    try:
        yield
    except Unavailable as reason:
        without(reason)


@pytest.fixture(autouse=True)
def _documents_forgotten() -> Iterator[None]:
    """A document class of one test is none for the others."""
    with documents_forgotten():
        yield


@pytest.fixture(scope="session")
def postgresql_database() -> Iterator[URL]:
    """A database on PostgreSQL for this worker."""
    with wanted(), sql_database("postgresql") as url:
        yield url


@pytest.fixture(scope="session")
def mysql_database() -> Iterator[URL]:
    """A database on MariaDB or MySQL for this worker."""
    with wanted(), sql_database("mysql") as url:
        yield url


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """The MongoDB server for this worker."""
    with wanted(), mongodb(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a new SQLite file that enforces foreign keys."""
    engine = create_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    event.listen(engine, "connect", enforce_foreign_keys)
    yield engine
    engine.dispose()


def enforce_foreign_keys(connection: Any, record: object) -> None:
    """SQLite checks foreign keys only on connections that ask for it."""
    connection.execute("PRAGMA foreign_keys = ON")


@pytest.fixture
def postgresql_engine(postgresql_database: URL) -> Iterator[Engine]:
    """An engine on an empty PostgreSQL database."""
    yield from clean_engine(postgresql_database)


@pytest.fixture
def mysql_engine(mysql_database: URL) -> Iterator[Engine]:
    """An engine on an empty MariaDB or MySQL database."""
    yield from clean_engine(mysql_database)


def clean_engine(url: URL) -> Iterator[Engine]:
    """An engine on that database, which is emptied afterwards."""
    engine = create_engine(url)
    yield engine
    engine.dispose()
    empty(url)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """An engine on an empty database, on each of the supported databases in turn."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture
def mongo(request: pytest.FixtureRequest, mongo_server: MongoServer) -> Iterator[Database[Any]]:
    """An empty MongoDB database, which mongoengine's default connection points at."""
    mark = request.node.get_closest_marker("real_mongodb")
    if mark and not mongo_server.real:
        pytest.skip(f"nx-27017 lacks {mark.args[0]}; this runs against a real MongoDB")
    name = unique_name()
    client = mongoengine.connect(name, host=mongo_server.uri, uuidRepresentation="standard")
    yield client[name]
    client.drop_database(name)
    mongoengine.disconnect()
