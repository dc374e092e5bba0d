"""Objects are brought to the present shape of their model when they are loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import load_only

from lifecycle import ABSENT, Change, Veto, lazy_migration, migrates, pre_update
from lifecycle.errors import ConfigurationError, MigrationError
from lifecycle.mappers.mongoengine.tapping import untapped
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World


class Named:
    """Steps from one name to two, and on."""

    @migrates(from_=1)
    def split_the_name(self, data: dict[str, Any]) -> None:
        first, _, last = data["full"].partition(" ")
        data["first"], data["last"] = first, last

    @staticmethod
    @migrates(from_=2)
    def shout_the_last_name(data: dict[str, Any]) -> None:
        data["last"] = data["last"].upper()


KINDS = {"full": "text", "first": "text", "last": "text", "note": "text", "version": "number"}


def store(world: World, model: Any, **values: Any) -> Any:
    """Put an object into the database as an earlier version of the code left it."""
    with world.lifecycle.suppressed():
        return world.new(model, **values)


def stored(world: World, model: Any, identifier: Any) -> dict[str, Any]:
    """What the database holds of an object; what is missing is None."""
    if isinstance(world, SqlWorld):
        with world.engine.connect() as connection:
            row = connection.execute(select(model.__table__).filter_by(id=identifier)).one()
            return {name: value for name, value in row._mapping.items() if name != "id"}
    son = model._get_collection().find_one({"_id": identifier})
    return {name: son.get(name) for name in KINDS}


@pytest.fixture
def person(world: World) -> Any:
    """A model at version 3."""
    found = world.model("Settler", lazy_migration("version"), mixin=Named, **KINDS)
    world.install()
    return found


def test_an_object_is_migrated_when_it_is_loaded(world: World, person: Any) -> None:
    """Loading writes nothing; the next change brings it along, with its cause."""
    ann = store(world, person, full="Ann Lee")
    assert world.read(person, ann, "first", "last", "version") == ("Ann", "LEE", 3)
    assert stored(world, person, ann)["first"] is None
    assert world.records() == []
    world.edit(person, ann, note="x")
    assert stored(world, person, ann) == {
        "full": "Ann Lee",
        "first": "Ann",
        "last": "LEE",
        "note": "x",
        "version": 3,
    }
    merged: dict[str, Any] = {}
    for record in world.records():
        merged |= {name: (one.old or None, one.new) for name, one in record.changes.items()}
    assert merged == {
        "first": (None, "Ann"),
        "last": (None, "LEE"),
        "note": (None, "x"),
        "version": (None, 3),
    }
    assert world.records()[0].cause == "migration"
    world.edit(person, ann, note="y")
    assert world.records()[-1].cause is None
    assert list(world.records()[-1].changes) == ["note"]


def test_a_new_object_has_the_current_version(world: World, person: Any) -> None:
    """One that brings a version along, as a restored one, keeps it and is migrated later."""
    new = world.new(person, first="Bo", last="Mo")
    assert stored(world, person, new)["version"] == 3
    old = world.new(person, full="Ann Lee", version=1)
    assert stored(world, person, old)["version"] == 1
    assert world.read(person, old, "last") == "LEE"


def test_an_object_in_the_middle_goes_through_the_steps_it_lacks(world: World, person: Any) -> None:
    """And one that is current through none."""
    ann = store(world, person, full="Ann Lee", first="A.", last="L.", version=2)
    eve = store(world, person, full="Eve Mo", first="E.", last="M.", version=3)
    assert world.read(person, ann, "first", "last", "version") == ("A.", "L.".upper(), 3)
    assert world.read(person, eve, "first", "last", "version") == ("E.", "M.", 3)


def test_what_is_assigned_counts_over_what_the_steps_made(world: World, person: Any) -> None:
    """Also when it is what the steps had made, or what the database had before."""
    ids = [store(world, person, full="Ann Lee") for _ in range(4)]
    world.edit(person, ids[0], first="Bo")
    with world.edited(person, ids[1]) as one:
        one.first, one.note = "Bo", "x"
        one.first = "Ann"
    with world.edited(person, ids[2]) as one:
        one.first = None
    with world.edited(person, ids[3]) as one:
        one.first, one.note = None, "x"
    found = [stored(world, person, one) for one in ids]
    assert [one["first"] for one in found] == ["Bo", "Ann", None, None]
    assert [one["last"] for one in found] == ["LEE"] * 4
    assert [one["version"] for one in found] == [3] * 4


def test_a_change_that_is_none_saves_nothing(world: World, person: Any) -> None:
    """The object stays as it is stored, to be migrated by the next one."""
    ann = store(world, person, full="Ann Lee")
    with world.edited(person, ann) as one:
        one.note, one.note = "x", None
    assert stored(world, person, ann)["version"] is None
    assert world.records() == []


def test_at_once_saves_it_without_another_change(world: World) -> None:
    """A document while it is loaded, a row with the next flush."""
    decorator = lazy_migration("version", save="at once")
    model = world.model("Hasty", decorator, mixin=Named, **KINDS)
    world.install()
    ann = store(world, model, full="Ann Lee")
    assert world.read(model, ann, "last") == "LEE"
    found = stored(world, model, ann)
    assert (found["first"], found["last"], found["version"]) == ("Ann", "LEE", 3)
    (record,) = world.records()
    assert record.cause == "migration"
    assert world.read(model, ann, "last") == "LEE"
    assert len(world.records()) == 1


def test_of_two_that_loaded_it_the_first_one_migrates_it(world: World, person: Any) -> None:
    """What the other saves are its own changes: what the first one changed since stays."""
    ann = store(world, person, full="Ann Lee")
    if isinstance(world, SqlWorld):
        with world.factory() as session:
            late = session.get(person, ann)
            session.commit()  # nobody holds a lock, and what it has is expired
            with world.factory(expire_on_commit=False) as other:
                late = other.get(person, ann)
                other.commit()
                world.edit(person, ann, first="Bo")
                late.note = "x"
                other.commit()
    else:
        late = world.one(person, ann)
        world.edit(person, ann, first="Bo")
        late.note = "x"
        late.save()
    found = stored(world, person, ann)
    assert (found["first"], found["last"], found["note"]) == ("Bo", "LEE", "x")
    assert [record.cause for record in world.records()].count("migration") == 1


def test_a_failing_step_names_object_and_step_and_touches_nothing(
    world: World, person: Any
) -> None:
    """No value of the object is repeated."""
    eve = store(world, person, note="secret")
    with pytest.raises(MigrationError) as caught:
        world.read(person, eve, "first")
    error = "KeyError" if isinstance(world, DocumentWorld) else "AttributeError"
    assert str(caught.value) == (
        f"Settler {eve} cannot be migrated by split_the_name (1 to 2), which raised "
        f"{error}: correct it, or the data"
    )
    assert isinstance(caught.value.__cause__, MigrationError)
    assert stored(world, person, eve)["version"] is None


def test_a_version_from_the_future_is_an_error(world: World, person: Any) -> None:
    """Older code must not write what newer code has written."""
    eve = store(world, person, first="Eve", version=4)
    with pytest.raises(MigrationError, match="is at version 4, and this code knows Settler up to"):
        world.read(person, eve, "first")


def test_a_version_that_no_step_begins_at_is_an_error(world: World) -> None:
    """As when a step was deleted too early."""

    class Late:
        @staticmethod
        @migrates(from_=3)
        def nothing(data: dict[str, Any]) -> None:
            pass

    model = world.model("Latecomer", lazy_migration("version"), mixin=Late, **KINDS)
    world.install()
    old = store(world, model, first="Eve", version=2)
    none = store(world, model, first="Eve")
    assert world.read(model, none, "version") == 4
    with pytest.raises(MigrationError, match="no step begins there: Latecomer has steps from"):
        world.read(model, old, "first")


def test_a_step_that_takes_a_field_away_takes_it_from_the_database(world: World) -> None:
    """A mapped column becomes NULL, a field of a document is gone."""

    class Leaner:
        @staticmethod
        @migrates(from_=1)
        def rename(data: dict[str, Any]) -> None:
            data["note"] = data.pop("full")

    model = world.model("Leaner", lazy_migration("version"), mixin=Leaner, **KINDS)
    world.install()
    ann = store(world, model, full="Ann Lee")
    assert world.read(model, ann, "full", "note") == (None, "Ann Lee")
    world.edit(model, ann, first="x")
    found = stored(world, model, ann)
    assert (found["full"], found["note"], found["version"]) == (None, "Ann Lee", 2)
    changes = {name: one for record in world.records() for name, one in record.changes.items()}
    assert changes["full"].old == "Ann Lee"
    if isinstance(world, DocumentWorld):
        assert "full" not in model._get_collection().find_one({"_id": ann})


def test_without_its_lifecycle_nothing_is_migrated(world: World, person: Any) -> None:
    """Hooks that are suppressed are off, these too."""
    ann = store(world, person, full="Ann Lee")
    with world.lifecycle.suppressed():
        assert world.read(person, ann, "first", "version") == (None, None)


def test_what_is_deleted_is_recorded_as_it_was_stored(world: World, person: Any) -> None:
    """The log tells what the database held, not what memory made of it."""
    ann = store(world, person, full="Ann Lee")
    with world.transaction():
        world.delete(world.one(person, ann))
    (record,) = world.records()
    assert record.changes["full"].old == "Ann Lee"
    assert record.changes.get("first", Change(None, None)).old is None


def test_a_veto_leaves_it_to_be_migrated(world: World) -> None:
    """Of a row nothing has been written; a document is migrated, and the change is not."""

    class Refusing(Named):
        @pre_update(when="note", becomes="no")
        def refuse(self, event: Any) -> None:
            event.veto("no")

    model = world.model("Refusing", lazy_migration("version"), mixin=Refusing, **KINDS)
    world.install()
    ann = store(world, model, full="Ann Lee")
    with pytest.raises(Veto):
        world.edit(model, ann, note="no")
    assert stored(world, model, ann)["note"] is None
    world.edit(model, ann, note="yes")
    found = stored(world, model, ann)
    assert (found["last"], found["note"], found["version"]) == ("LEE", "yes", 3)


BAD: list[tuple[str, Any, str]] = [
    ("a gap", (1, 3), "the one from 2 is missing"),
    ("the same twice", (1, 1), "both migrate from version 1"),
]


@pytest.mark.parametrize(("what", "versions", "message"), BAD)
def test_a_chain_that_cannot_work_is_an_error_where_it_is_declared(
    what: str, versions: tuple[int, int], message: str
) -> None:
    """It names the steps."""

    class Broken:
        @migrates(from_=versions[0])
        def one(self, data: dict[str, Any]) -> None:
            pass

        @migrates(from_=versions[1])
        def other(self, data: dict[str, Any]) -> None:
            pass

    with pytest.raises(ConfigurationError, match=message):
        lazy_migration("version")(Broken)


def test_bad_declarations_are_refused() -> None:
    """With what to do instead."""

    class Argless:
        @migrates(from_=1)
        def step(self) -> None:
            pass

    for declare in (
        lambda: migrates(from_=0),
        lambda: migrates(from_="1"),  # type: ignore[arg-type]
        lambda: migrates(from_=1)(staticmethod(len)),
        lambda: lazy_migration(""),
        lambda: lazy_migration("version", save="never"),  # type: ignore[arg-type]
        lambda: lazy_migration("version")(Argless),
    ):
        with pytest.raises(ConfigurationError):
            declare()


def test_a_step_that_returns_something_is_an_error(world: World) -> None:
    """It would be lost: the data is to be changed in place."""

    class Returning:
        @classmethod
        @migrates(from_=1)
        def step(cls, data: dict[str, Any]) -> dict[str, Any]:
            return {**data}

    model = world.model("Answering", lazy_migration("version"), mixin=Returning, **KINDS)
    world.install()
    ann = store(world, model, full="Ann Lee")
    with pytest.raises(MigrationError, match="to change the data in place"):
        world.read(model, ann, "full")


class TestRows:
    """What only rows have."""

    @pytest.fixture
    def rows(self, sqlite_engine: Any) -> Iterator[SqlWorld]:
        with ExitStack() as after:
            yield SqlWorld(sqlite_engine, after)

    def people(self, rows: SqlWorld, *decorators: Any, mixin: Any = Named) -> Any:
        model = rows.model("Sql", lazy_migration("version"), *decorators, mixin=mixin, **KINDS)
        rows.install()
        return model

    def test_expired_and_refreshed_objects_are_migrated_again(self, rows: SqlWorld) -> None:
        """Assignments that wait stay."""
        model = self.people(rows)
        ann = store(rows, model, full="Ann Lee")
        with rows.factory() as session:
            one = session.get(model, ann)
            session.expire(one)
            assert (one.first, one.version) == ("Ann", 3)
            session.refresh(one)
            assert (one.first, one.version) == ("Ann", 3)
            session.commit()
            one.first = "Bo"  # while everything is expired
            assert one.last == "LEE"
            session.commit()
        found = stored(rows, model, ann)
        assert (found["first"], found["last"], found["version"]) == ("Bo", "LEE", 3)

    def test_after_a_rollback_it_is_still_to_be_saved(self, rows: SqlWorld) -> None:
        """What the transaction wrote is gone with it."""
        model = self.people(rows)
        ann = store(rows, model, full="Ann Lee")
        with rows.factory() as session:
            one = session.get(model, ann)
            one.note = "x"
            session.flush()
            session.rollback()
            assert (one.first, one.note) == ("Ann", None)
            one.note = "y"
            session.commit()
            one.note = "z"
            session.commit()
        found = stored(rows, model, ann)
        assert (found["first"], found["note"], found["version"]) == ("Ann", "z", 3)
        assert [record.cause for record in rows.records()] == ["migration", None]

    def test_a_part_of_an_object_is_migrated_of_the_whole(self, rows: SqlWorld) -> None:
        """With one more query, unless it is known to be current."""
        model = self.people(rows)
        ann = store(rows, model, full="Ann Lee")
        bo = store(rows, model, first="Bo", last="MO", version=3)
        with rows.factory() as session, counted(rows.engine) as queries:
            query = select(model).options(load_only(model.first)).order_by(model.id)
            assert [one.first for one in session.scalars(query)] == ["Ann", "Bo"]
            assert len(queries) == 3
            del queries[:]
            one = session.get(model, ann)
            assert (one.last, one.version) == ("LEE", 3)
            one.note = "x"
            session.commit()
        with rows.factory() as session, counted(rows.engine) as queries:
            query = select(model).options(load_only(model.first, model.version))
            assert [one.first for one in session.scalars(query)] == ["Ann", "Bo"]
            assert len(queries) == 1
            assert session.get(model, bo).last == "MO"
            assert len(queries) == 2
        found = stored(rows, model, ann)
        assert (found["first"], found["last"], found["note"]) == ("Ann", "LEE", "x")

    def test_a_column_that_is_no_longer_mapped_is_read_for_the_step(self, rows: SqlWorld) -> None:
        """With a query for each object that is migrated, and none for others."""

        class Reading:
            @staticmethod
            @migrates(from_=1, reads=["full_name"])
            def split(data: dict[str, Any]) -> None:
                data["first"], _, data["last"] = data.pop("full_name").partition(" ")

        model = self.people(rows, mixin=Reading)
        ids = [store(rows, model, note=str(n)) for n in range(3)]
        with rows.engine.begin() as connection:
            connection.execute(text("ALTER TABLE sql ADD full_name VARCHAR(100)"))
            connection.execute(text("UPDATE sql SET full_name = 'Ann Lee'"))
        with counted(rows.engine) as queries:
            assert [one.last for one in rows.find(model)] == ["Lee"] * 3
        assert len(queries) == 4
        rows.edit(model, ids[0], note="x")
        assert stored(rows, model, ids[0])["last"] == "Lee"
        with counted(rows.engine) as queries:
            rows.find(model, id=ids[0])
        assert len(queries) == 1

    def test_a_column_that_is_not_there_is_an_error_that_names_it(self, rows: SqlWorld) -> None:
        """At the object that needs it."""

        class Reading:
            @staticmethod
            @migrates(from_=1, reads="full_name")
            def split(data: dict[str, Any]) -> None:
                pass

        model = self.people(rows, mixin=Reading)
        store(rows, model, note="x")
        with pytest.raises(MigrationError, match=r"see that all columns .* \(full_name\)"):
            rows.find(model)

    def test_loading_current_objects_takes_no_other_query(self, rows: SqlWorld) -> None:
        """And saving one that is behind no more than reading its row again."""
        model = self.people(rows)
        ids = [store(rows, model, full="Ann Lee") for _ in range(3)]
        with rows.factory() as session:
            found = rows.find(model)
            with counted(rows.engine) as queries:
                found = list(session.scalars(select(model)))
                assert len(queries) == 1
                for one in found:
                    one.note = "x"
                session.commit()
            changing = [one for one in queries if one.startswith(("SELECT", "UPDATE sql"))]
            assert len(changing) == 3  # the load, the old values, and one UPDATE for all of them
        assert [stored(rows, model, one)["version"] for one in ids] == [3, 3, 3]


class TestDocuments:
    """What only documents have."""

    @pytest.fixture
    def documents(self, mongo: Any) -> Iterator[DocumentWorld]:
        with ExitStack() as after:
            yield DocumentWorld(after)

    def people(self, documents: DocumentWorld, mixin: Any = Named) -> Any:
        kinds = {name: kind for name, kind in KINDS.items() if name != "full"}
        model = documents.model("Doc", lazy_migration("version"), mixin=mixin, **kinds)
        documents.install()
        return model

    def old(self, model: Any, **values: Any) -> Any:
        son = {"_cls": model._class_name, "full": "Ann Lee", **values}
        return untapped(model._get_collection()).insert_one(son).inserted_id

    def test_a_field_that_is_no_longer_declared_is_there_for_the_steps(
        self, documents: DocumentWorld
    ) -> None:
        """A strict class would refuse it; when it is taken away it is gone with the save."""

        class Dropping:
            @staticmethod
            @migrates(from_=1)
            def split(data: dict[str, Any]) -> None:
                data["first"], _, data["last"] = data.pop("full").partition(" ")

        model = self.people(documents, Dropping)
        ann = self.old(model)
        one = documents.one(model, ann)
        assert (one.first, one.last, one.version) == ("Ann", "Lee", 2)
        one.reload()
        assert (one.first, one.last, one.version) == ("Ann", "Lee", 2)
        one.note = "x"
        one.save()
        son = model._get_collection().find_one({"_id": ann})
        del son["_id"], son["_cls"]
        assert son == {"first": "Ann", "last": "Lee", "note": "x", "version": 2}
        migration, change = documents.records()
        assert (migration.cause, change.cause) == ("migration", None)
        assert migration.changes["full"] == Change("Ann Lee", ABSENT)
        assert set(change.changes) == {"note"}
        assert documents.lifecycle.history.as_of(model, ann, change.at).values["last"] == "Lee"

    def test_only_some_fields_are_migrated_of_the_whole(self, documents: DocumentWorld) -> None:
        """Whichever way they are asked for."""

        class Dropping:
            @staticmethod
            @migrates(from_=1)
            def split(data: dict[str, Any]) -> None:
                data["first"], _, data["last"] = data.pop("full").partition(" ")

        model = self.people(documents, Dropping)
        ann = self.old(model)
        assert model.objects.only("first").get().first == "Ann"
        assert model.objects.only("first").get().last is None
        assert model.objects.exclude("note", "version").get().last == "Lee"
        assert list(model.objects.scalar("last")) == ["Lee"]
        assert model.objects.only("last").in_bulk([ann])[ann].last == "Lee"
        assert model.objects.as_pymongo().first()["full"] == "Ann Lee"
        one = model.objects.only("note").get()
        one.note = "x"
        one.save()
        son = model._get_collection().find_one({"_id": ann})
        assert (son["first"], son["last"], son["note"], son["version"]) == ("Ann", "Lee", "x", 2)
        assert "full" not in son

    def test_updating_a_document_by_operators_migrates_it_before(
        self, documents: DocumentWorld
    ) -> None:
        """As saving it does; a copy, of which nobody knows how it is stored, too."""
        kinds = dict(KINDS)
        model = documents.model("Updated", lazy_migration("version"), mixin=Named, **kinds)
        documents.install()
        for change in (
            lambda one: one.update(set__note="x"),
            lambda one: one.modify(set__note="x"),
            lambda one: copied(one).save(),
        ):
            ann = store(documents, model, full="Ann Lee")
            change(documents.one(model, ann))
            found = stored(documents, model, ann)
            assert (found["last"], found["note"], found["version"]) == ("LEE", "x", 3)


def copied(document: Any) -> Any:
    """A copy of a document, changed."""
    found = copy.deepcopy(document)
    found.note = "x"
    return found


@contextmanager
def counted(engine: Any) -> Iterator[list[str]]:
    """The statements that are executed inside the block."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
