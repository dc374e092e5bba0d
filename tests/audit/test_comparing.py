"""The log compared with the database: what was written past it is found, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any

import mongoengine
import pytest
from pymongo.database import Database
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Numeric,
    String,
    Table,
    create_engine,
    func,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

from lifecycle import Lifecycle, audited
from lifecycle.audit.comparing import EXTERNAL, Comparison
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import ConfigurationError


class ComparedBase(DeclarativeBase):
    pass


tagged = Table(
    "compared_tagged",
    ComparedBase.metadata,
    Column("thing_id", ForeignKey("compared_thing.id"), primary_key=True),
    Column("tag_id", ForeignKey("compared_tag.name"), primary_key=True),
)


class ComparedTag(ComparedBase):
    __tablename__ = "compared_tag"
    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    things: Mapped[list[ComparedThing]] = relationship(secondary=tagged, back_populates="tags")


@audited(mask={"secret"}, exclude={"noise"})
class ComparedThing(ComparedBase):
    __tablename__ = "compared_thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str | None] = mapped_column(String(50))
    price: Mapped[Any] = mapped_column(Numeric(10, 2), nullable=True)
    made: Mapped[datetime | None] = mapped_column(DateTime, server_default=func.now())
    extra: Mapped[Any] = mapped_column(JSON, nullable=True)
    secret: Mapped[str | None] = mapped_column(String(50))
    noise: Mapped[int | None]
    tags: Mapped[list[ComparedTag]] = relationship(secondary=tagged, back_populates="things")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "thing"}


class ComparedSpecial(ComparedThing):
    __tablename__ = "compared_special"
    id: Mapped[int] = mapped_column(ForeignKey("compared_thing.id"), primary_key=True)
    power: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "special"}


World = tuple[Lifecycle, Any, Engine]


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """A database with objects of every shape, all written through the ORM."""
    ComparedBase.metadata.create_all(engine)
    Session = sessionmaker(engine)
    lifecycle = Lifecycle()
    lifecycle.install(Session)
    lifecycle.create_tables(engine)
    with Session.begin() as session:
        new, old = ComparedTag(name="new"), ComparedTag(name="old")
        for n in range(1, 6):
            tags = [] if n == 2 else [new]  # it will move, which its members would not let it
            session.add(
                ComparedThing(id=n, name=f"n{n}", price=1.5, secret="s", noise=n, tags=tags)
            )
        session.add(ComparedSpecial(id=10, name="x", power=9, extra={"a": [1]}, tags=[new, old]))
    with Session.begin() as session:
        session.get(ComparedThing, 1).name = None
        session.get(ComparedThing, 2).id = 20
        session.get(ComparedThing, 3).tags = []
        session.delete(session.get(ComparedThing, 4))
        session.get(ComparedSpecial, 10).power = 10
        session.execute(update(ComparedThing).where(ComparedThing.id == 5).values(price=7))
    with Session.begin() as session:
        session.get(ComparedThing, 20).name = "moved"
        session.add(ComparedThing(id=2, name="another one"))
    yield lifecycle, Session, engine
    lifecycle.uninstall(Session)


def told(comparison: Comparison) -> list[str]:
    return [str(one) for one in comparison.differences]


def test_what_was_written_through_the_orm_agrees(world: World) -> None:
    """Inheritance, collections, moved keys, statements, masks, server defaults: no false alarm."""
    lifecycle, _, _ = world
    found = lifecycle.evidence.compare()

    assert told(found) == []
    assert found.agrees
    assert (found.objects, found.unknown) == (8, 0)
    assert "compared_thing" not in found.elsewhere


def test_what_was_written_past_the_log_is_found(world: World) -> None:
    """Rows added, altered and removed by SQL text, each with its fields and without its values."""
    lifecycle, _, engine = world
    with engine.begin() as connection:
        for statement in (
            "UPDATE compared_thing SET name = 'stolen', secret = 'z', noise = 0 WHERE id = 1",
            "UPDATE compared_thing SET price = 8 WHERE id = 20",
            "UPDATE compared_special SET power = 11 WHERE id = 10",
            "INSERT INTO compared_thing (id, kind, name) VALUES (77, 'thing', 'smuggled')",
            "INSERT INTO compared_tagged VALUES (1, 'old')",
            "DELETE FROM compared_tagged WHERE thing_id = 5",
            "DELETE FROM compared_tagged WHERE thing_id = 10 AND tag_id = 'new'",
            "DELETE FROM compared_thing WHERE id = 5",
        ):
            connection.execute(text(statement))

    found = lifecycle.evidence.compare()

    assert set(told(found)) == {
        "altered past the log: ComparedThing 1: name",
        "altered past the log: ComparedThing 1: tags",
        "altered past the log: ComparedThing 10: power",
        "altered past the log: ComparedThing 10: tags",
        "altered past the log: ComparedThing 20: price",
        "altered past the log: ComparedTag new: things",
        "altered past the log: ComparedTag old: things",
        "deleted past the log: ComparedThing 5",
        "inserted past the log: ComparedThing 77",
    }
    assert "stolen" not in repr(found)
    assert found.recorded == 0

    recorded = lifecycle.evidence.compare(record=True)
    assert (recorded.found, recorded.recorded) == (9, 9)
    assert told(lifecycle.evidence.compare()) == []
    [newest, *_] = lifecycle.history.of(ComparedThing, 20)
    assert (newest.cause, newest.revision.source) == (EXTERNAL, EXTERNAL)
    assert str(newest.changes["price"]) == "Change(old=1.5, new=Decimal('8.00'))"


def test_what_was_pruned_or_erased_is_no_difference(world: World) -> None:
    """The log does not know it any more, and says nothing false."""
    lifecycle, _, engine = world
    lifecycle.privacy.erase(ComparedThing, fields={"name"})
    assert told(lifecycle.evidence.compare()) == []
    lifecycle.privacy.prune(ComparedThing, keep=1)
    assert told(lifecycle.evidence.compare()) == []
    with engine.begin() as connection:
        connection.execute(text("UPDATE compared_thing SET price = 9 WHERE id = 5"))
    assert told(lifecycle.evidence.compare()) == ["altered past the log: ComparedThing 5: price"]


def test_rows_without_records_are_unknown_once_the_log_was_pruned(world: World) -> None:
    """Nobody knows whether they are older than the log or were written past it."""
    lifecycle, _, _ = world
    before = lifecycle.evidence.compare()
    lifecycle.privacy.prune(older_than=timedelta(0))
    found = lifecycle.evidence.compare()
    assert (before.unknown, told(found)) == (0, [])
    assert found.unknown == found.rows > 0


def test_objects_of_statements_recorded_as_a_whole_are_unknown(world: World) -> None:
    """Nobody knows which rows it changed, and that is what is said."""
    lifecycle, Session, _ = world
    with Session.begin() as session:
        session.execute(
            update(ComparedThing).values(name="all"),
            execution_options={"lifecycle_bulk": "statement"},
        )
    found = lifecycle.evidence.compare()
    assert told(found) == []
    assert found.unknown > 0


def test_writers_at_the_same_time_are_no_difference(sqlite_engine: Engine) -> None:
    """What changes while it is compared is looked at again."""
    ComparedBase.metadata.create_all(sqlite_engine)
    Session = sessionmaker(sqlite_engine)
    lifecycle = Lifecycle()
    lifecycle.install(Session)
    lifecycle.create_tables(sqlite_engine)
    with Session.begin() as session:
        session.add_all([ComparedThing(id=n, name="0") for n in range(30)])
    done = Event()

    def write() -> None:
        count = 0
        while not done.wait(0.001):  # else SQLite lets no reader in on a busy machine
            count += 1
            with Session.begin() as session:
                session.get(ComparedThing, count % 30).name = str(count)

    writer = Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            assert told(lifecycle.evidence.compare()) == []
    finally:
        done.set()
        writer.join()
        lifecycle.uninstall(Session)


def test_the_place_of_the_tables_has_to_be_known() -> None:
    """A log in memory tells nothing of where the data is."""
    with pytest.raises(ConfigurationError, match=r"evidence\.compare\(engine\)"):
        Lifecycle(store=MemoryStore()).evidence.compare()


def test_tables_that_are_elsewhere_are_named() -> None:
    """They are not taken for empty."""
    engine = create_engine("sqlite://")
    lifecycle = Lifecycle(store=MemoryStore())
    try:
        assert "compared_thing" in lifecycle.evidence.compare(engine).elsewhere
    finally:
        engine.dispose()


class ComparedDocument(mongoengine.Document):
    name = mongoengine.StringField(db_field="n")
    size = mongoengine.IntField()
    lines = mongoengine.ListField(mongoengine.IntField())


class UnconnectedDocument(mongoengine.Document):
    meta = {"db_alias": "nobody has said where", "collection": "unconnected_documents"}


def test_collections_without_a_connection_are_named(
    mongo: Database[Any], sqlite_engine: Engine
) -> None:
    """As tables that are elsewhere are, and the others are compared all the same."""
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables(sqlite_engine)
    lifecycle.install(mongoengine)
    try:
        assert "unconnected_documents" in lifecycle.evidence.compare().elsewhere
    finally:
        lifecycle.uninstall(mongoengine)


def test_documents_are_compared(mongo: Database[Any], sqlite_engine: Engine) -> None:
    """In their collections, whatever wrote to these past the log."""
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables(sqlite_engine)
    lifecycle.install(ComparedDocument)
    try:
        first = ComparedDocument(name="a", size=1, lines=[1, 2]).save()
        second = ComparedDocument(name="b", size=2).save()
        first.lines.append(3)
        first.save()
        assert told(lifecycle.evidence.compare(sqlite_engine)) == []

        collection = mongo["compared_document"]
        collection.update_one({"_id": first.id}, {"$set": {"n": "z"}, "$unset": {"size": 1}})
        collection.delete_one({"_id": second.id})
        collection.insert_one({"n": "c"})
        found = told(lifecycle.evidence.compare(sqlite_engine, record=True))

        assert f"altered past the log: ComparedDocument {first.id}: name, size" in found
        assert f"deleted past the log: ComparedDocument {second.id}" in found
        assert len(found) == 3
        assert told(lifecycle.evidence.compare(sqlite_engine)) == []
    finally:
        lifecycle.uninstall(ComparedDocument)
