"""Lazy migrations of models that are not plain, and beside other things done to their objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import Engine, ForeignKey, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, load_only, mapped_column

from lifecycle import Lifecycle, acting, lazy_migration, migrates, post_load, pre_load
from lifecycle.errors import MigrationError
from lifecycle.mappers.mongoengine.tapping import untapped
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World
from tests.behaviours.test_lazy_migration import KINDS, Named, store, stored


@pytest.fixture
def rows(sqlite_engine: Engine) -> Iterator[SqlWorld]:
    """An application of SQLAlchemy."""
    with ExitStack() as after:
        yield SqlWorld(sqlite_engine, after)


@pytest.fixture
def documents(mongo: Any) -> Iterator[DocumentWorld]:
    """An application of mongoengine."""
    with ExitStack() as after:
        yield DocumentWorld(after)


def test_hooks_of_the_application_see_the_present_shape(world: World) -> None:
    """At the load, whatever their order of definition."""
    seen: list[Any] = []

    class Watching(Named):
        @pre_load
        def before(self, event: Any) -> None:
            seen.append((event.data.get("last"), event.data.get("version")))

        @post_load
        def after(self) -> None:
            seen.append((self.last, self.version))  # type: ignore[attr-defined]

    model = world.model("Watched", lazy_migration("version"), mixin=Watching, **KINDS)
    world.install()
    world.read(model, store(world, model, full="Ann Lee"), "first")
    assert seen == [("LEE", 3), ("LEE", 3)]


def test_a_subclass_may_have_steps_of_its_own(world: World) -> None:
    """They follow those it inherits, and it is counted and run by itself."""

    class Further(Named):
        @migrates(from_=3)
        def and_on(self, data: dict[str, Any]) -> None:
            data["note"] = "further"

    base = world.model("Walker", lazy_migration("version"), mixin=Named, **KINDS)
    other = world.model("Runner", lazy_migration("version"), mixin=Further, **KINDS)
    world.install()
    walker, runner = store(world, base, full="Ann Lee"), store(world, other, full="Bo Mo")
    found = {one.entity: one.current for one in world.lifecycle.migrations.versions()}
    assert found == {"Walker": 3, "Runner": 4}
    assert world.lifecycle.migrations.run(other).migrated == 1
    assert stored(world, other, runner)["note"] == "further"
    assert stored(world, base, walker)["version"] is None


def test_what_a_migration_brought_can_be_undone(world: World) -> None:
    """The object is then as it was stored, and is migrated again when it is loaded."""
    model = world.model("Undone", lazy_migration("version"), mixin=Named, **KINDS)
    world.install()
    ann = world.new(model, full="Ann Lee", version=1)
    world.lifecycle.migrations.run()
    (record,) = list(world.lifecycle.history.of(model, ann))[:1]
    assert record.cause == "migration"
    with acting("eve"):
        world.lifecycle.restore.undo(record)
    assert {**stored(world, model, ann)} == {
        "full": "Ann Lee",
        "first": None,
        "last": None,
        "note": None,
        "version": 1,
    }
    assert world.read(model, ann, "last") == "LEE"


def test_the_log_agrees_with_the_database_after_a_run(world: World) -> None:
    """Row by row, and document by document."""
    model = world.model("Agreeing", lazy_migration("version"), mixin=Named, **KINDS)
    world.install()
    for name in "Ann Lee", "Bo Mo":
        world.new(model, full=name, version=1)
    world.edit(model, world.find(model)[0].id, note="x")
    world.lifecycle.migrations.run()
    engine = world.engine if isinstance(world, SqlWorld) else None
    if engine is not None:
        compared = world.lifecycle.evidence.compare(engine)
        assert (compared.objects, compared.agrees) == (2, True)
    else:
        for one in world.find(model):
            newest = next(world.lifecycle.history.of(model, one.id))
            logged = world.lifecycle.history.as_of(model, one.id, newest).values
            assert {name: logged.get(name) for name in KINDS} == stored(world, model, one.id)


class TestRows:
    """What only rows can be."""

    def test_rows_of_several_tables_are_migrated_as_one(self, rows: SqlWorld) -> None:
        """Also when they are loaded by their base class, which reads the rest with a query."""

        class Worker(rows.base):
            __tablename__ = "workers"
            id: Mapped[int] = mapped_column(primary_key=True)
            kind: Mapped[str] = mapped_column(String(20))
            full: Mapped[str | None] = mapped_column(String(50))
            version: Mapped[int | None]
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "worker"}

        class Smith(Worker):
            __tablename__ = "smiths"
            id: Mapped[int] = mapped_column(ForeignKey("workers.id"), primary_key=True)
            last: Mapped[str | None] = mapped_column(String(50))
            __mapper_args__ = {"polymorphic_identity": "smith"}

            @migrates(from_=1)
            def name_the_last(self, data: dict[str, Any]) -> None:
                data["last"] = data["full"].split()[-1]

        lazy_migration("version")(Smith)
        rows.install()
        ann = store(rows, Smith, full="Ann Lee")
        with rows.factory() as session:
            assert session.scalars(select(Worker)).one().last == "Lee"
            session.scalars(select(Smith)).one().full = "Ann M. Lee"
            session.commit()
            row = session.execute(select(Smith.full, Smith.last, Smith.version)).one()
        assert tuple(row) == ("Ann M. Lee", "Lee", 2)
        assert rows.lifecycle.migrations.run().migrated == 0
        assert ann == 1

    def test_deferred_columns_are_there_for_the_steps(self, rows: SqlWorld) -> None:
        """And are what the steps made of them when they are loaded at last."""

        class Shelved(rows.base):
            __tablename__ = "shelved"
            id: Mapped[int] = mapped_column(primary_key=True)
            text: Mapped[str | None] = deferred(mapped_column(String(50)))
            size: Mapped[int | None]
            version: Mapped[int | None]

            @migrates(from_=1)
            def measure(self, data: dict[str, Any]) -> None:
                data["text"] = data["text"].strip()
                data["size"] = len(data["text"])

        lazy_migration("version")(Shelved)
        rows.install()
        store(rows, Shelved, text=" abc ")
        with rows.factory() as session:
            one = session.scalars(select(Shelved)).one()
            assert (one.size, one.text) == (3, "abc")
            one.size = 4
            session.commit()
        with rows.engine.connect() as connection:
            row = connection.execute(select(Shelved.__table__)).one()
        assert (row.text, row.size, row.version) == ("abc", 4, 2)

    @pytest.mark.asyncio
    async def test_it_works_under_an_async_session(self, tmp_path: Path) -> None:
        """Whole objects, parts of them, and saving them."""

        class Base(DeclarativeBase):
            pass

        class AsyncClient(Base):
            __tablename__ = "async_clients"
            id: Mapped[int] = mapped_column(primary_key=True)
            full: Mapped[str | None]
            last: Mapped[str | None]
            version: Mapped[int | None]

            @migrates(from_=1)
            def name_the_last(self, data: dict[str, Any]) -> None:
                data["last"] = data["full"].split()[-1]

        lazy_migration("version")(AsyncClient)
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/async.db")
        factory = async_sessionmaker(engine, class_=AsyncSession)
        lifecycle = Lifecycle()
        lifecycle.install(factory)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(lifecycle.metadata.create_all)
        async with factory() as session:
            session.add(AsyncClient(full="Ann Lee", version=1))
            await session.commit()
            part = select(AsyncClient).options(load_only(AsyncClient.last))
            assert (await session.scalars(part)).one().last == "Lee"
        async with factory() as session:
            (await session.scalars(select(AsyncClient))).one().full = "A. Lee"
            await session.commit()
            row = (await session.execute(select(AsyncClient.last, AsyncClient.version))).one()
        assert tuple(row) == ("Lee", 2)
        lifecycle.uninstall(factory)
        await engine.dispose()
        Base.registry.dispose()


class TestDocuments:
    """What only documents can be."""

    def test_names_and_values_of_fields_are_minded(self, documents: DocumentWorld) -> None:
        """Steps see attributes' names and BSON; what they give may be of Python's types."""

        class Haul(mongoengine.Document):
            meta = {"allow_inheritance": False}
            weight = fields.DecimalField(db_field="w", precision=2)
            to = fields.DictField(db_field="t")
            version = fields.IntField(db_field="v")

            @migrates(from_=1)
            def nest(self, data: dict[str, Any]) -> None:
                data["weight"] = Decimal(str(data["weight"])) * 2
                data["to"] = {"street": data.pop("street"), "zip": data.pop("zip")}

        lazy_migration("version")(Haul)
        documents.install()
        raw = untapped(Haul._get_collection())
        id = raw.insert_one({"w": 1.25, "street": "High", "zip": 7}).inserted_id
        found = Haul.objects.get()
        assert (found.weight, found.to) == (Decimal("2.50"), {"street": "High", "zip": 7})
        found.to["zip"] = 8
        found.save()
        assert raw.find_one() == {
            "_id": id,
            "w": 2.5,
            "t": {"street": "High", "zip": 8},
            "v": 2,
        }
        changes = [record.changes for record in documents.records()]
        assert changes[0].new("to") == {"street": "High", "zip": 7}
        assert changes[1].new("to.zip") == 8

    def test_a_migration_of_its_own_is_not_a_bulk_write(self, documents: DocumentWorld) -> None:
        """Where bulk writes are forbidden it is recorded all the same."""
        model = documents.model("Strictly", lazy_migration("version"), mixin=Named, **KINDS)
        documents.install()
        ann = store(documents, model, full="Ann Lee")
        with documents.lifecycle.bulk("forbid"):
            documents.edit(model, ann, note="x")
        assert [record.cause for record in documents.records()] == ["migration", None]

    def test_a_failing_step_fails_no_query_that_makes_no_documents(
        self, documents: DocumentWorld
    ) -> None:
        """It is the way to find and correct what is wrong."""
        model = documents.model("Failing", lazy_migration("version"), mixin=Named, **KINDS)
        documents.install()
        eve = store(documents, model, note="x")
        with pytest.raises(MigrationError):
            model.objects.first()
        assert [one["note"] for one in model.objects.as_pymongo()] == ["x"]
        model.objects(id=eve).update(set__full="Eve Poe")
        assert model.objects.first().last == "POE"


@pytest.mark.parametrize("place", ["postgresql", "mysql"])
def test_of_two_transactions_at_once_the_second_waits_and_leaves_it_to_the_first(
    request: pytest.FixtureRequest, place: str
) -> None:
    """The row is locked from when it is looked at until it is written."""
    with ExitStack() as after:
        world = SqlWorld(request.getfixturevalue(f"{place}_engine"), after)
        model = world.model("Contested", lazy_migration("version"), mixin=Named, **KINDS)
        world.install()
        ann = store(world, model, full="Ann Lee")
        first, second = world.factory(), world.factory()
        one, other = first.get(model, ann), second.get(model, ann)
        one.first, other.note = "Bo", "x"
        first.flush()
        waiting = threading.Thread(target=second.commit)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        first.commit()
        waiting.join(20)
        first.close()
        second.close()
        found = stored(world, model, ann)
        assert (found["first"], found["last"], found["note"]) == ("Bo", "LEE", "x")
        causes = [record.cause for record in world.records()]
        assert causes == ["migration", None]
