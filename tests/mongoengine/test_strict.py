"""``strict=True``: the old values are those that the write itself has overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from pymongo.collection import Collection
from pymongo.database import Database

from lifecycle import ABSENT, UNKNOWN, Change, Lifecycle
from lifecycle.audit.stores.memory import MemoryStore


class Ledge(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    height = fields.IntField(db_field="h")
    tags = fields.ListField(fields.StringField())


@pytest.fixture
def lifecycle(mongo: Database[Any]) -> Iterator[Lifecycle]:
    lifecycle = Lifecycle(store=MemoryStore(), strict=True)
    lifecycle.install(mongoengine)
    yield lifecycle
    lifecycle.uninstall(mongoengine)


def last(lifecycle: Lifecycle) -> Any:
    return next(lifecycle.history.find())


def changed_elsewhere(mongo: Database[Any]) -> Ledge:
    """A document that somebody else changes after it was loaded."""
    Ledge(name="a", height=1, tags=["x"]).save()
    loaded: Ledge = Ledge.objects.get(pk="a")
    mongo.ledge.update_one({"_id": "a"}, {"$set": {"h": 7}})
    return loaded


def test_a_save_tells_what_it_has_overwritten(lifecycle: Lifecycle, mongo: Database[Any]) -> None:
    """Not what the document was loaded with; and the next save goes on from there."""
    one = changed_elsewhere(mongo)
    one.height = 2
    one.save()
    assert last(lifecycle).changes == {"height": Change(7, 2)}

    one.tags.append("y")
    one.height = 3
    one.save()
    assert last(lifecycle).changes["height"] == Change(2, 3)
    assert mongo.ledge.find_one() == {"_id": "a", "h": 3, "tags": ["x", "y"]}


def test_old_values_come_with_the_write(
    lifecycle: Lifecycle, mongo: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same round trip: a save or a delete is one findAndModify, and nothing else is sent."""
    one = changed_elsewhere(mongo)
    for name in ("find", "find_one", "aggregate", "update_one", "delete_one"):
        monkeypatch.delattr(Collection, name)
    one.height = 2
    one.save()
    assert last(lifecycle).changes == {"height": Change(7, 2)}
    one.delete()
    assert last(lifecycle).changes["height"] == Change(2, ABSENT)


def test_what_somebody_else_has_set_already_is_no_change(
    lifecycle: Lifecycle, mongo: Database[Any]
) -> None:
    """For nothing was overwritten."""
    one = changed_elsewhere(mongo)
    one.height = 7
    one.save()
    assert last(lifecycle).operation == "insert"


def test_a_delete_tells_what_it_has_removed(lifecycle: Lifecycle, mongo: Database[Any]) -> None:
    """In the same round trip."""
    changed_elsewhere(mongo).delete()

    assert last(lifecycle).operation == "delete"
    assert last(lifecycle).changes["height"].old == 7
    assert mongo.ledge.count_documents({}) == 0


def test_a_field_that_was_not_loaded_has_an_old_value(
    lifecycle: Lifecycle, mongo: Database[Any]
) -> None:
    """Which without strict is unknown."""
    Ledge(name="a", height=1).save()
    one = Ledge.objects.only("tags").get(pk="a")
    one.height = 2
    one.save()
    assert last(lifecycle).changes == {"height": Change(1, 2)}
    assert last(lifecycle).changes["height"].old is not UNKNOWN


def test_saves_behave_as_they_did(lifecycle: Lifecycle, mongo: Database[Any]) -> None:
    """Conditions are kept, and what is gone is inserted again, as mongoengine does."""
    one = changed_elsewhere(mongo)
    one.height = 2
    with pytest.raises(mongoengine.SaveConditionError):
        one.save(save_condition={"height": 1})
    assert one.save(save_condition={"height": 7}) is one
    assert mongo.ledge.find_one({"_id": "a"})["h"] == 2

    mongo.ledge.delete_one({"_id": "a"})
    one.height = 4
    one.save()
    assert last(lifecycle).operation == "insert"
    assert mongo.ledge.count_documents({}) == 1
    one.delete()
    one.delete()  # it is gone already
    assert [record.operation.value for record in lifecycle.history.find()].count("delete") == 1
