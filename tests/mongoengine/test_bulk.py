"""Every write that passes save and delete by: recorded, with what each document was and became."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import mongoengine
import pytest
from bson import ObjectId
from mongoengine import fields
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, ReturnDocument, UpdateMany
from pymongo import UpdateOne as Update
from pymongo.errors import PyMongoError

from lifecycle import ABSENT, Change, Lifecycle
from lifecycle.audit.records import Record
from lifecycle.changes import ListEdit, Splice

IDS = {name: ObjectId(f"{number:024x}") for number, name in enumerate("abc", 1)}


class Piece(mongoengine.EmbeddedDocument):
    qty = fields.IntField(db_field="q")


class Quick(mongoengine.QuerySet):
    """A queryset of an application's own."""

    def grow(self) -> Any:
        return self.update(inc__size=1)


class Goods(mongoengine.Document):
    """Of which there are three: a, b and c, of sizes 1, 2 and 3."""

    name = fields.StringField(db_field="n", unique=True)
    size = fields.IntField(db_field="s")
    tags = fields.ListField(fields.StringField())
    part = fields.EmbeddedDocumentField(Piece)
    meta = {"queryset_class": Quick}


class Other(mongoengine.Document):
    name = fields.StringField()


def made() -> None:
    """Make the three."""
    for number, (name, id) in enumerate(IDS.items(), 1):
        Goods(id=id, name=name, size=number, tags=["t"], part=Piece(qty=number)).save()


def raw() -> Any:
    return Goods._get_collection()


def item(**values: Any) -> Any:
    return Goods(**values)


Expected = dict[tuple[str, str], dict[str, Any]]
"""By operation and name of the document, what changed."""


def updated(**by_name: Any) -> Expected:
    return {("update", name): changes for name, changes in by_name.items()}


def size(old: Any, new: Any) -> dict[str, Any]:
    return {"size": Change(old, new)}


def gone(name: str, number: int) -> Expected:
    """The three, taken away."""
    state = {
        "id": IDS[name],
        "name": name,
        "size": number,
        "tags": ["t"],
        "part": {"qty": number},
    }
    return {("delete", name): {field: Change(value, ABSENT) for field, value in state.items()}}


def came(name: str, **values: Any) -> Expected:
    """A document whose id nobody knows beforehand."""
    state = {"name": name, **values}
    return {("insert", name): {field: Change(ABSENT, value) for field, value in state.items()}}


APPENDED = {"tags": ListEdit((Splice(1, (), ("u",)),))}

WRITES: dict[str, tuple[Callable[[], Any], Expected]] = {
    # --- querysets ---
    "update": (
        lambda: Goods.objects(size__gte=2).update(set__size=9),
        updated(b=size(2, 9), c=size(3, 9)),
    ),
    "update by what the server works out": (
        lambda: Goods.objects(size__gte=2).update(inc__size=10, push__tags="u"),
        updated(b=size(2, 12) | APPENDED, c=size(3, 13) | APPENDED),
    ),
    "update of what it is found by": (
        lambda: Goods.objects(size=2).update(set__size=3),
        updated(b=size(2, 3)),
    ),
    "update of some to what they are": (
        lambda: Goods.objects.update(set__size=2),
        updated(a=size(1, 2), c=size(3, 2)),
    ),
    "update inside an embedded document": (
        lambda: Goods.objects(name="a").update(set__part__qty=7),
        updated(a={"part.qty": Change(1, 7)}),
    ),
    "update that takes a field away": (
        lambda: Goods.objects(name="a").update(unset__size=1, unset__part=1),
        updated(a={"size": Change(1, ABSENT), "part": Change({"qty": 1}, ABSENT)}),
    ),
    "update of an element that is found": (
        lambda: Goods.objects(tags="t", name="a").update(set__tags__S="z"),
        updated(a={"tags.0": Change("t", "z")}),
    ),
    "update by operators": (
        lambda: Goods.objects(name="a").update(__raw__={"$rename": {"s": "size2"}}),
        updated(a={"size": Change(1, ABSENT), "size2": Change(ABSENT, 1)}),
    ),
    "update of nothing": (lambda: Goods.objects(name="x").update(set__size=9), {}),
    "update of none()": (lambda: Goods.objects.none().update(set__size=9), {}),
    "update, full result": (
        lambda: Goods.objects(size__gte=2).update(set__size=9, full_result=True).raw_result,
        updated(b=size(2, 9), c=size(3, 9)),
    ),
    "update_one": (
        lambda: Goods.objects(name="b").update_one(set__size=9),
        updated(b=size(2, 9)),
    ),
    "update_one, full result": (
        lambda: Goods.objects(name="b").update_one(inc__size=1, full_result=True).raw_result,
        updated(b=size(2, 3)),
    ),
    "update_one of nothing": (lambda: Goods.objects(name="x").update_one(set__size=9), {}),
    "update_one to what it is": (
        lambda: Goods.objects(name="b").update_one(set__size=2, full_result=True).modified_count,
        {},
    ),
    "update that inserts": (
        lambda: Goods.objects(name="d").update(set__size=4, upsert=True),
        came("d", size=4),
    ),
    "update_one that inserts": (
        lambda: Goods.objects(name="d").update_one(set__size=4, upsert=True),
        came("d", size=4),
    ),
    "update_one that could insert": (
        lambda: Goods.objects(name="b").update_one(set__size=4, upsert=True),
        updated(b=size(2, 4)),
    ),
    "upsert_one that updates": (
        lambda: Goods.objects(name="b").upsert_one(set__size=4).size,
        updated(b=size(2, 4)),
    ),
    "upsert_one that inserts": (
        lambda: Goods.objects(name="d").upsert_one(set__size=4).name,
        came("d", size=4),
    ),
    "modify": (
        lambda: Goods.objects(name="b").modify(set__size=4).size,
        updated(b=size(2, 4)),
    ),
    "modify, new": (
        lambda: Goods.objects(name="b").modify(inc__size=4, new=True).size,
        updated(b=size(2, 6)),
    ),
    "modify of the first": (
        lambda: Goods.objects.order_by("-size").modify(inc__size=4).name,
        updated(c=size(3, 7)),
    ),
    "modify of the first, new": (
        lambda: Goods.objects.order_by("-size").modify(inc__size=4, new=True).name,
        updated(c=size(3, 7)),
    ),
    "modify of one without the field, new": (
        lambda: Goods.objects(name="b").modify(set__tags=[], new=True).tags,
        updated(b={"tags": Change(["t"], [])}),
    ),
    "modify of some fields": (
        lambda: Goods.objects(name="b").only("name").modify(inc__size=4).name,
        updated(b=size(2, 6)),
    ),
    "modify of nothing": (lambda: Goods.objects(name="x").modify(set__size=4), {}),
    "modify that inserts": (
        lambda: Goods.objects(name="d").modify(set__size=4, upsert=True),
        came("d", size=4),
    ),
    "modify that inserts, new": (
        lambda: Goods.objects(name="d").modify(set__size=4, upsert=True, new=True).size,
        came("d", size=4),
    ),
    "modify that removes": (
        lambda: Goods.objects(name="b").modify(remove=True).size,
        gone("b", 2),
    ),
    "insert of one": (
        lambda: Goods.objects.insert(item(name="d", size=4)).name,
        came("d", size=4, tags=[]),
    ),
    "insert of several": (
        lambda: [one.name for one in Goods.objects.insert([item(name="d"), item(name="e")])],
        came("d", tags=[]) | came("e", tags=[]),
    ),
    "insert of several, ids only": (
        lambda: len(Goods.objects.insert([item(name="d"), item(name="e")], load_bulk=False)),
        came("d", tags=[]) | came("e", tags=[]),
    ),
    "delete": (lambda: Goods.objects(size__gte=2).delete(), gone("b", 2) | gone("c", 3)),
    "delete of nothing": (lambda: Goods.objects(name="x").delete(), {}),
    "delete of a slice": (lambda: Goods.objects.order_by("size")[1:2].delete(), gone("b", 2)),
    "update without a cache": (
        lambda: Goods.objects.no_cache()(name="a").update(set__size=9),
        updated(a=size(1, 9)),
    ),
    "update by a queryset class": (
        lambda: Goods.objects(name="a").grow(),
        updated(a=size(1, 2)),
    ),
    # --- documents ---
    "Document.update": (
        lambda: Goods.objects.get(name="a").update(set__size=9),
        updated(a=size(1, 9)),
    ),
    "Document.modify": (
        lambda: Goods.objects.get(name="a").modify(inc__size=9),
        updated(a=size(1, 10)),
    ),
    "Document.modify of what does not match": (
        lambda: Goods.objects.get(name="a").modify({"size": 7}, inc__size=9),
        {},
    ),
    # --- pymongo, through the class ---
    "update_many": (
        lambda: raw().update_many({"s": {"$gt": 1}}, {"$set": {"s": 9}}).raw_result,
        updated(b=size(2, 9), c=size(3, 9)),
    ),
    "update_many that inserts": (
        lambda: raw().update_many({"n": "d"}, {"$set": {"s": 4}}, upsert=True).did_upsert,
        came("d", size=4),
    ),
    "raw update_one": (
        lambda: raw().update_one({"n": "b"}, {"$inc": {"s": 9}}).modified_count,
        updated(b=size(2, 11)),
    ),
    "replace_one": (
        lambda: raw().replace_one({"n": "b"}, {"n": "b", "tags": ["t"]}).raw_result,
        updated(b={"size": Change(2, ABSENT), "part": Change({"qty": 2}, ABSENT)}),
    ),
    "replace_one that inserts": (
        lambda: raw().replace_one({"n": "d"}, {"n": "d"}, upsert=True).did_upsert,
        came("d"),
    ),
    "insert_one": (lambda: raw().insert_one({"n": "d"}).acknowledged, came("d")),
    "insert_many": (
        lambda: len(raw().insert_many([{"n": "d"}, {"n": "e"}]).inserted_ids),
        came("d") | came("e"),
    ),
    "insert_many of a generator": (
        lambda: len(raw().insert_many({"n": name} for name in "de").inserted_ids),
        came("d") | came("e"),
    ),
    "delete_one": (lambda: raw().delete_one({"n": "b"}).deleted_count, gone("b", 2)),
    "delete_one of nothing": (lambda: raw().delete_one({"n": "x"}).raw_result, {}),
    "delete_many": (
        lambda: raw().delete_many({"s": {"$gt": 1}}).raw_result,
        gone("b", 2) | gone("c", 3),
    ),
    "find_one_and_update": (
        lambda: raw().find_one_and_update({"n": "b"}, {"$set": {"s": 4}})["s"],
        updated(b=size(2, 4)),
    ),
    "find_one_and_update of some fields": (
        lambda: raw().find_one_and_update({"n": "b"}, {"$set": {"s": 4}}, projection={"n": 1}),
        updated(b=size(2, 4)),
    ),
    "find_one_and_update, after": (
        lambda: raw().find_one_and_update(
            {"n": "b"}, {"$set": {"s": 4}}, return_document=ReturnDocument.AFTER
        )["s"],
        updated(b=size(2, 4)),
    ),
    "find_one_and_replace": (
        lambda: raw().find_one_and_replace({"n": "b"}, {"n": "b", "s": 4, "tags": ["t"]})["s"],
        updated(b=size(2, 4) | {"part": Change({"qty": 2}, ABSENT)}),
    ),
    "find_one_and_delete": (
        lambda: raw().find_one_and_delete({"n": "b"})["s"],
        gone("b", 2),
    ),
    "find_one_and_delete of some fields": (
        lambda: raw().find_one_and_delete({"n": "b"}, projection={"n": 1})["n"],
        gone("b", 2),
    ),
    "bulk_write": (
        lambda: (
            raw()
            .bulk_write(
                [
                    Update({"_id": IDS["a"]}, {"$inc": {"s": 1}}),
                    UpdateMany({"s": 2}, {"$inc": {"s": 10}}),  # what the one before has left too
                    DeleteOne({"n": "c"}),
                    InsertOne({"n": "d"}),
                    Update({"n": "e"}, {"$set": {"s": 5}}, upsert=True),
                    ReplaceOne({"n": "d"}, {"n": "d", "s": 4}),
                    InsertOne({"n": "f"}),
                    DeleteMany({"n": "f"}),
                ]
            )
            .matched_count
        ),
        updated(a=size(1, 12), b=size(2, 12))
        | gone("c", 3)
        | came("d", size=4)
        | came("e", size=5),
    ),
    # --- what raises ---
    "an insert that fails half way": (
        lambda: Goods.objects.insert([item(name="d"), item(name="a"), item(name="e")]),
        came("d", tags=[]),
    ),
    "an insert_many that fails in the middle and goes on": (
        lambda: raw().insert_many([{"n": "d"}, {"n": "a"}, {"n": "e"}], ordered=False),
        came("d") | came("e"),
    ),
    "a bulk_write that fails half way": (
        lambda: raw().bulk_write([InsertOne({"n": "d"}), InsertOne({"n": "a"})]),
        came("d"),
    ),
    "an update that the server refuses": (
        lambda: Goods.objects(name="a").update(__raw__={"$inc": {"n": 1}}),
        {},
    ),
    "an update_one that the server refuses": (
        lambda: Goods.objects(name="a").update_one(__raw__={"$inc": {"n": 1}}),
        {},
    ),
    "an update_one to a name that is taken": (
        lambda: Goods.objects(name="a").update_one(set__name="b"),
        {},
    ),
    "an update without operators": (lambda: raw().update_one({"n": "a"}, {"s": 1}), {}),
    "a replacement with operators": (lambda: raw().replace_one({}, {"$set": {"s": 1}}), {}),
    "a filter that is none": (lambda: raw().update_many("a", {"$set": {"s": 1}}), {}),
    "too few arguments": (lambda: raw().update_many({}), {}),
    "nothing to insert": (lambda: raw().insert_many([]), {}),
    "no requests": (lambda: raw().bulk_write([]), {}),
    "an update with nothing to do": (lambda: Goods.objects.update(), {}),
    "an update of an unknown field": (lambda: Goods.objects.update(set__color=1), {}),
    "an insert of what is stored already": (
        lambda: Goods.objects.insert(Goods.objects.first()),
        {},
    ),
    "an insert of another class": (lambda: Goods.objects.insert(Other(name="x")), {}),
}


def told(records: list[Record]) -> Expected:
    """The records, by operation and name, without ids that nobody knows beforehand."""
    found: Expected = {}
    names = {str(id): name for name, id in IDS.items()}
    for record in records:
        changes = dict(record.changes)
        name = names.get(record.key)
        if name is None:
            name = changes["name"].new
            assert str(changes.pop("id").new) == record.key
        place = (str(record.operation), name)
        assert place not in found, f"{place} is recorded twice"
        found[place] = changes
    return found


@pytest.mark.parametrize("write", WRITES)
def test_every_write_is_recorded(lifecycle: Lifecycle, records: Any, write: str) -> None:
    """With what each document was in the database, and what it became."""
    call, expected = WRITES[write]
    made()
    records()
    outcome(call)
    found = records()
    assert told(found) == expected
    assert {record.cause for record in found} <= {None}


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or raises."""
    try:
        return call()
    except (mongoengine.errors.MongoEngineException, PyMongoError, TypeError, ValueError) as error:
        return type(error), re.sub("[0-9a-f]{24}", "id", str(error))


def stored() -> list[dict[str, Any]]:
    """Every document, without ids that nobody knows beforehand."""
    found = list(raw().find().sort("n"))
    return [{k: v for k, v in one.items() if k != "_id"} for one in found]


@pytest.mark.parametrize("write", WRITES)
def test_every_write_does_what_it_did(lifecycle: Lifecycle, write: str) -> None:
    """It returns, raises and leaves behind the same as without Lifecycle."""
    call, _ = WRITES[write]
    made()
    watched = outcome(call), stored()
    raw().delete_many({})
    lifecycle.uninstall(mongoengine)
    try:
        made()
        assert (outcome(call), stored()) == watched
    finally:
        lifecycle.install(mongoengine)
