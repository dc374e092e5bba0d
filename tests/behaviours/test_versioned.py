"""Versions: nobody writes over what another has written, on both mappers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.orm.exc import StaleDataError

from lifecycle.behaviours import versioned
from lifecycle.errors import ConfigurationError, StaleVersion
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World


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
    import mongoengine

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


def test_what_cannot_work_is_an_error() -> None:
    """Before anything is installed."""
    with pytest.raises(ConfigurationError, match="give the name of a field"):
        versioned(field="")
