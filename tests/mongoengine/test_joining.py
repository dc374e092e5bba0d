"""Records and transactions: together in one MongoDB, after the commit elsewhere, in one group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from pymongo.database import Database
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from lifecycle import Lifecycle, acting
from lifecycle.audit.intents import IntentStore
from lifecycle.audit.stores.mongo import MongoStore


class Parcel(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    weight = fields.IntField()


class Base(DeclarativeBase):
    pass


class Invoiced(Base):
    __tablename__ = "invoiced_parcels"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture(params=["database", "url", "sql"])
def lifecycle(
    request: pytest.FixtureRequest, mongo: Database[Any], sqlite_engine: Engine
) -> Iterator[Lifecycle]:
    """With its log in the same MongoDB, given in either way, or elsewhere."""
    url = f"{request.getfixturevalue('mongo_server').uri}{mongo.name}"
    lifecycle = Lifecycle(
        store={"database": mongo, "url": url, "sql": sqlite_engine}[request.param]
    )
    lifecycle.create_tables()
    lifecycle.install(Parcel)
    yield lifecycle
    lifecycle.uninstall(Parcel)
    if request.param == "url":
        assert isinstance(lifecycle.store, MongoStore)
        lifecycle.store.close()


@pytest.fixture(autouse=True)
def collection(mongo: Database[Any]) -> None:
    """The collection is there: nx-27017 ends a transaction that makes one."""
    Parcel(name="z").save()
    mongo.parcel.delete_one({"_id": "z"})


@contextmanager
def transaction(mongo: Database[Any]) -> Iterator[Any]:
    with (
        mongo.client.start_session() as session,
        session.bind(end_session=False),
        session.start_transaction(),
    ):
        yield session


def records(lifecycle: Lifecycle) -> list[tuple[str, str]]:
    return [
        (record.key, record.operation.value)
        for record in lifecycle.history.find(newest_first=False)
    ]


def intents(lifecycle: Lifecycle) -> list[Any]:
    assert isinstance(lifecycle.store, IntentStore)
    return list(lifecycle.store.intents())


def test_a_transaction_is_one_revision(lifecycle: Lifecycle, mongo: Database[Any]) -> None:
    """Of everything that was written in it: saves, bulk writes and deletes."""
    with acting("ann"), transaction(mongo):
        Parcel(name="a", weight=1).save()
        Parcel(name="b", weight=2).save()
        Parcel.objects(name="b").update(weight=3)
        Parcel.objects.get(pk="a").delete()

    found = list(lifecycle.history.find(newest_first=False))
    assert [(record.key, record.operation.value, record.n) for record in found] == [
        ("a", "insert", 0),
        ("b", "insert", 1),
        ("b", "update", 2),
        ("a", "delete", 3),
    ]
    assert len({record.revision.id for record in found}) == 1
    assert found[0].actor == "ann"
    assert intents(lifecycle) == []
    assert [record.key for record in lifecycle.store.feed()] == ["a", "b", "b", "a"]


def test_an_aborted_transaction_is_not_recorded(lifecycle: Lifecycle, mongo: Database[Any]) -> None:
    """For nothing of it has happened; the next one is recorded as ever."""
    with transaction(mongo) as session:
        Parcel(name="a").save()
        session.abort_transaction()
    assert mongo.parcel.count_documents({}) == 0
    assert records(lifecycle) == []
    assert intents(lifecycle) == []

    with transaction(mongo):
        Parcel(name="b").save()
    Parcel(name="c").save()

    assert records(lifecycle) == [("b", "insert"), ("c", "insert")]
    assert len({record.revision.id for record in lifecycle.history.find()}) == 2


def test_an_error_in_a_transaction_takes_its_records_along(
    lifecycle: Lifecycle, mongo: Database[Any]
) -> None:
    """As it does the documents."""

    def failing() -> None:
        with transaction(mongo):
            Parcel(name="a").save()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()

    assert records(lifecycle) == []
    assert intents(lifecycle) == []


def test_the_log_elsewhere_is_told_of_a_transaction_beforehand(
    mongo: Database[Any], sqlite_engine: Engine
) -> None:
    """So that a crash between its commit and its records can be settled, as one revision."""
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables()
    lifecycle.install(Parcel)
    try:
        with transaction(mongo):
            Parcel(name="a").save()
            Parcel(name="b").save()
            waiting = intents(lifecycle)
            assert records(lifecycle) == []
    finally:
        lifecycle.uninstall(Parcel)

    assert [[record.key for record in intent.records] for intent in waiting] == [["a"], ["b"]]
    assert len({intent.revision.id for intent in waiting}) == 1
    assert records(lifecycle) == [("a", "insert"), ("b", "insert")]


def test_what_one_request_writes_to_both_databases_is_one_group(
    lifecycle: Lifecycle, mongo: Database[Any], tmp_path: Any
) -> None:
    """Each database has revisions of its own, and one question finds them all."""
    engine = create_engine(f"sqlite:///{tmp_path / 'beside.sqlite'}")
    Base.metadata.create_all(engine)
    Session = sessionmaker(engine)
    beside = Lifecycle()
    beside.install(Session)
    beside.create_tables(engine)
    try:
        with acting("ann", request_id="r1") as block:
            with Session.begin() as session:
                session.add(Invoiced(id=1))
            Parcel(name="a").save()
            with Session.begin() as session:
                session.delete(session.get(Invoiced, 1))
        with acting("ann"):
            Parcel(name="b").save()

        of_sql = list(beside.history.find(group=block.group))
        of_documents = list(lifecycle.history.find(group=block.group))
        assert [record.entity for record in of_sql] == ["Invoiced"] * 2
        assert [record.key for record in of_documents] == ["a"]
    finally:
        beside.uninstall(Session)
        engine.dispose()


def test_one_log_for_both_has_one_group(mongo: Database[Any], sqlite_engine: Engine) -> None:
    """Documents and rows of one block are found together."""
    Base.metadata.create_all(sqlite_engine)
    Session = sessionmaker(sqlite_engine)
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables()
    lifecycle.install(Session)
    lifecycle.install(Parcel)
    try:
        with acting("ann") as block:
            with Session.begin() as session:
                session.add(Invoiced(id=1))
            Parcel(name="a").save()
        found = lifecycle.history.find(group=block.group, newest_first=False)
        assert [record.entity for record in found] == ["Invoiced", "Parcel"]
    finally:
        lifecycle.uninstall(Parcel)
        lifecycle.uninstall(Session)
