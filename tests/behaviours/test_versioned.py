"""Versions: nobody writes over what another has written, on both mappers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import mongoengine
import pytest
from sqlalchemy import ForeignKey, Integer, String, bindparam, delete, update
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm.exc import StaleDataError

from lifecycle.behaviours import soft_delete, undelete, versioned
from lifecycle.errors import ConfigurationError, StaleVersion, UncountedVersionWarning
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World
from tests.behaviours.test_soft_delete import differences


def page(world: World) -> Any:
    model = world.model("VersionedPage", versioned, title="text", text="text", version="number")
    world.install()
    return model


@contextmanager
def held(world: World, model: Any, identifier: Any) -> Iterator[tuple[Any, Any]]:
    """An object as somebody else loaded it, and a function that saves it."""
    if isinstance(world, SqlWorld):
        with world.factory() as session:
            instance = session.get(model, identifier)
            yield instance, session.commit
    else:
        instance = model.objects.get(id=identifier)
        yield instance, instance.save


def test_each_change_counts_and_nothing_else(world: World) -> None:
    """It begins with one; a save without a change is no version."""
    model = page(world)
    one = world.new(model, title="a")
    assert world.read(model, one, "version") == 1
    world.edit(model, one, title="b")
    world.edit(model, one, title="b")
    assert world.read(model, one, "version") == 2
    assert world.records()[-1].changes["version"].new == 2


def test_a_stale_object_is_refused(world: World) -> None:
    """Whichever fields the other has changed; loaded again, it can be written."""
    model = page(world)
    one = world.new(model, title="a")
    with held(world, model, one) as (mine, save):
        world.edit(model, one, text="b")
        mine.title = "c"
        with pytest.raises(StaleVersion, match=r"(?i)omebody else has changed or deleted it"):
            save()
    assert world.read(model, one, "title", "text", "version") == (("a", "b", 2))
    world.edit(model, one, title="d")
    assert world.read(model, one, "version") == 3
    assert [str(record.operation) for record in world.records()] == ["insert", "update", "update"]


def test_the_error_of_other_models_stays_what_it_was(sqlite: SqlWorld) -> None:
    """It is SQLAlchemy's alone, although some model of the process counts versions."""
    plain = sqlite.model("UncountedPage", title="text")
    page(sqlite)
    one = sqlite.new(plain, title="a")
    with sqlite.factory() as session:
        mine = session.get(plain, one)
        session.execute(delete(plain), execution_options={"synchronize_session": False})
        mine.title = "c"
        with pytest.raises(StaleDataError) as caught:
            session.flush()
    assert type(caught.value) is StaleDataError


def test_what_is_gone_is_stale_too(world: World) -> None:
    """Saving it would bring it back, or change nothing."""
    model = page(world)
    one = world.new(model, title="a")
    with held(world, model, one) as (mine, save):
        with world.transaction():
            world.delete(world.one(model, one))
        mine.title = "c"
        with pytest.raises(StaleVersion):
            save()
    assert world.find(model) == []


def test_the_error_is_that_of_sqlalchemy_as_well(sqlite: SqlWorld) -> None:
    """Code that handles its error goes on to work; the table is named."""
    model = page(sqlite)
    one = sqlite.new(model, title="a")
    with held(sqlite, model, one) as (mine, save):
        sqlite.edit(model, one, title="b")
        mine.title = "c"
        with pytest.raises(StaleDataError, match="on table 'versionedpage' expected to update 1"):
            save()


def test_a_condition_of_the_application_goes_on_to_count(documents: DocumentWorld) -> None:
    """Its own error stays its own; both conditions have to hold."""
    model = page(documents)
    one = model.objects.get(id=documents.new(model, title="a"))
    one.title = "b"
    with pytest.raises(mongoengine.errors.SaveConditionError):
        one.save(save_condition={"title": "x"})
    one.title = "b"
    one.save(save_condition={"title": "a"})
    assert documents.read(model, one.id, "title", "version") == ("b", 2)


def test_documents_from_before_have_no_version_yet(documents: DocumentWorld) -> None:
    """The first save gives them one, unless another has been quicker."""
    model = page(documents)
    one = documents.new(model, title="a")
    model._get_collection().update_one({"_id": one}, {"$unset": {"version": 1}})
    documents.edit(model, one, title="b")
    assert documents.read(model, one, "version") == 1


def test_documents_inserted_together_begin_with_one(documents: DocumentWorld) -> None:
    """As those that are saved; one that brings its version along keeps it."""
    model = page(documents)
    model.objects.insert([model(title="a"), model(title="b", version=7)])
    assert [one.version for one in documents.find(model)] == [1, 7]
    assert [record.changes["version"].new for record in documents.records()] == [1, 7]


def versions(world: World, model: Any) -> list[Any]:
    with world.transaction():
        return [one.version for one in world.find(model)]


def test_a_statement_counts_the_versions_of_what_it_changes(sql: SqlWorld) -> None:
    """Somebody who holds one of the objects is stale then; who executes it is not."""
    model = page(sql)
    one, other = sql.new(model, title="a"), sql.new(model, title="b")
    with held(sql, model, one) as (mine, save):
        with sql.transaction() as session:
            at_hand = session.get(model, one)
            change = update(model).where(model.title == "a").values(text="x")
            assert session.execute(change).rowcount == 1
            assert at_hand.version == 2
            at_hand.title = "c"
        mine.title = "d"
        with pytest.raises(StaleVersion):
            save()
    assert versions(sql, model) == [3, 1]
    with sql.transaction() as session:
        session.query(model).update({"text": "y"})
    assert versions(sql, model) == [4, 2]
    assert sql.read(model, other, "text") == "y"
    assert differences(sql) == []


def test_each_kind_of_update_counts_them_once(sql: SqlWorld) -> None:
    """Of the table, by parameters, in an order, by keys; one that sets them is left alone."""
    model = page(sql)
    one = sql.new(model, title="a")
    table = model.__table__
    by_parameters = update(table).where(table.c.id == bindparam("key")).values(text=bindparam("to"))
    steps: list[Any] = [
        lambda session: session.execute(update(table).values(text="b")),
        lambda session: session.execute(update(table).values({table.c.text: "b2"})),
        lambda session: session.connection().execute(update(table), {"text": "c"}),
        lambda session: session.connection().execute(by_parameters, [{"key": one, "to": "d"}]),
        lambda session: session.execute(update(model).ordered_values((model.text, "e"))),
        lambda session: session.execute(
            update(model), [{"id": one, "version": session.get(model, one).version, "text": "f"}]
        ),
        lambda session: session.execute(
            update(model).values(text="g"), execution_options={"synchronize_session": False}
        ),
        lambda session: session.execute(update(model).values(text="h", version=model.version + 1)),
    ]
    for number, step in enumerate(steps, 2):
        with sql.transaction() as session:
            step(session)
        assert versions(sql, model) == [number], number
    with sql.transaction() as session:
        session.execute(update(model).values(version=40))
    assert versions(sql, model) == [40]
    assert differences(sql) == []


def test_versions_are_counted_where_hooks_are_off(mapper: World) -> None:
    """As those of objects are, for they are no hooks."""
    model = page(mapper)
    mapper.new(model, title="a")
    with mapper.lifecycle.suppressed(), mapper.transaction() as session:
        if session is None:
            model.objects.update(title="b")
        else:
            session.execute(update(model).values(title="b"))
    assert versions(mapper, model) == [2]


def test_to_mark_counts_and_leaves_others_stale(mapper: World) -> None:
    """Else one who holds it would write to what is deleted, without a word."""
    model = mapper.model(
        "MarkedPage", versioned, soft_delete, title="text", version="number", deleted_at="time"
    )
    mapper.install()
    for many in (False, True):
        one = mapper.new(model, title="a")
        with held(mapper, model, one) as (mine, save):
            with mapper.transaction() as session:
                if not many:
                    mapper.delete(mapper.one(model, one))
                elif session is None:
                    model.objects(id=one).delete()
                else:
                    session.execute(delete(model).where(model.id == one))
            mine.title = "c"
            with pytest.raises(StaleVersion):
                save()
    assert differences(mapper) == []


def test_a_document_that_is_marked_can_be_brought_back_as_it_is(documents: DocumentWorld) -> None:
    """It has counted its own mark."""
    model = documents.model(
        "MarkedLeaf", versioned, soft_delete, title="text", version="number", deleted_at="time"
    )
    documents.install()
    one = model.objects.get(id=documents.new(model, title="a"))
    one.delete()
    undelete(one).save()
    assert documents.read(model, one.id, "title", "version") == ("a", 3)
    assert differences(documents) == []


def test_an_update_of_another_table_than_that_of_the_version_is_told(sqlite: SqlWorld) -> None:
    """Once for each: it cannot count what is in the table of the base class."""

    @versioned
    class VersionedAnimal(sqlite.base):
        __tablename__ = "versioned_animals"
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(10))
        name = mapped_column(String(10))
        version = mapped_column(Integer)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    class VersionedDog(VersionedAnimal):
        __tablename__ = "versioned_dogs"
        id = mapped_column(ForeignKey(VersionedAnimal.id), primary_key=True)
        legs = mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "dog"}

    class VersionedPuppy(VersionedAnimal):
        __mapper_args__ = {"polymorphic_identity": "puppy"}

    sqlite.install()
    with sqlite.transaction() as session:
        session.add_all([VersionedDog(id=1, legs=4), VersionedPuppy(id=2)])
    with sqlite.transaction() as session:
        with pytest.warns(
            UncountedVersionWarning, match=r"update of versioned_dogs .*VersionedDog"
        ):
            session.execute(update(VersionedDog).values(legs=3))
        session.execute(update(VersionedDog).values(legs=2))  # it has been told
        session.execute(update(VersionedPuppy).values(name="x"))
    assert versions(sqlite, VersionedAnimal) == [1, 2]


def test_versions_that_the_application_makes_are_left_to_it(sqlite: SqlWorld) -> None:
    """A statement does not know how, which is told, too."""

    @versioned
    class OwnVersions(sqlite.base):
        __tablename__ = "own_versions"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(10))
        version = mapped_column(String(40))
        __mapper_args__ = {
            "version_id_col": version,
            "version_id_generator": lambda version: uuid4().hex,
        }

    sqlite.install()
    one = sqlite.new(OwnVersions, name="a")
    before = versions(sqlite, OwnVersions)
    warned = pytest.warns(UncountedVersionWarning, match="own_versions")
    with sqlite.transaction() as session, warned:
        session.execute(update(OwnVersions).values(name="b"))
    assert versions(sqlite, OwnVersions) == before
    sqlite.edit(OwnVersions, one, name="c")
    assert versions(sqlite, OwnVersions) != before


def test_an_update_of_documents_counts_their_versions(documents: DocumentWorld) -> None:
    """By querysets, by the document, by pymongo's methods; whoever holds one is stale then."""
    model = page(documents)
    one = documents.new(model, title="a")
    collection = model._get_collection()
    steps: list[Any] = [
        lambda: model.objects(title="a").update(text="b"),
        lambda: model.objects(title="a").update_one(set__text="c"),
        lambda: model.objects(title="a").upsert_one(text="d"),
        lambda: model.objects(title="a").modify(text="e", new=True),
        lambda: model.objects(title="a").update(inc__version=1),
        lambda: model.objects(title="a").update(__raw__={"$set": {"text": "f"}}),
        lambda: collection.update_many({}, {"$set": {"text": "g"}}),
        lambda: collection.find_one_and_update({}, {"$set": {"text": "h"}}),
        lambda: model.objects.get(id=one).update(text="i"),
        lambda: model.objects.get(id=one).modify(text="j"),
    ]
    with held(documents, model, one) as (mine, save):
        for number, step in enumerate(steps, 2):
            step()
            assert versions(documents, model) == [number], number
        mine.title = "c"
        with pytest.raises(StaleVersion):
            save()
    model.objects(title="a").update(version=40)
    assert versions(documents, model) == [40]
    assert differences(documents) == []


def test_an_upsert_makes_the_first_version(documents: DocumentWorld) -> None:
    """As a save would."""
    model = page(documents)
    assert model.objects(title="new").upsert_one(text="b").version == 1
    assert documents.records()[-1].changes["version"].new == 1


@pytest.mark.real_mongodb("updates by a pipeline")
def test_an_update_by_a_pipeline_counts_them_too(documents: DocumentWorld, mongo: object) -> None:
    """Also of documents from before, which have none yet."""
    model = page(documents)
    documents.new(model, title="a")
    documents.new(model, title="a")
    model._get_collection().update_one({}, {"$unset": {"version": 1}})
    model._get_collection().update_many({}, [{"$set": {"text": "$title"}}])
    assert sorted(versions(documents, model)) == [1, 2]


def test_a_document_goes_on_after_its_own_update(documents: DocumentWorld) -> None:
    """What it has counted itself is not somebody else's; what was not hit is not counted."""
    model = page(documents)
    one = model.objects.get(id=documents.new(model, title="a"))
    one.update(set__text="b")
    assert (one.text, one.version) == (None, 2)
    one.title = "c"
    one.save()
    one.modify({"title": "c"}, set__text="d")
    one.title = "e"
    one.save()
    assert documents.read(model, one.id, "title", "text", "version") == ("e", "d", 5)
    other = model.objects.get(id=one.id)
    documents.edit(model, one.id, text="f")
    other.update(set__title="g")
    other.text = "h"
    with pytest.raises(StaleVersion):
        other.save()
    assert differences(documents) == []


def test_what_cannot_work_is_an_error() -> None:
    """Before anything is installed."""
    with pytest.raises(ConfigurationError, match="give the name of a field"):
        versioned(field="")
