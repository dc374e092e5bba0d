"""With Lifecycle installed, and no hooks, mongoengine does what it does without.

Every documented call is made twice on the same documents, without Lifecycle and with it: it has to
return or raise the same, leave the same documents in memory and in the database, and send the same
commands, so that nothing is dereferenced or asked for besides. Where recording takes a command more
it says so here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import mongoengine
import pytest
from bson import DBRef, ObjectId
from mongoengine import Document, QuerySet, fields
from mongoengine.base import BaseDocument
from mongoengine.context_managers import (
    no_dereference,
    no_sub_classes,
    query_counter,
    switch_collection,
    switch_db,
)
from mongoengine.queryset import QuerySetNoCache
from mongoengine.queryset.base import BaseQuerySet
from pymongo.command_cursor import CommandCursor
from pymongo.monitoring import CommandListener, CommandStartedEvent

from lifecycle import Lifecycle
from lifecycle.audit.stores.memory import MemoryStore
from tests.servers import MongoServer, unique_name

ALIAS: Final = "unchanged"
IDS: Final = [ObjectId(f"{number:024x}") for number in range(10)]


class Cabin(mongoengine.EmbeddedDocument):
    name = fields.StringField(required=True)
    deep = fields.IntField(db_field="d")


class Coast(mongoengine.Document):
    name = fields.StringField(required=True, unique=True)
    meta = {"db_alias": ALIAS, "collection": "unchanged_coast"}


class Steamer(mongoengine.Document):
    name = fields.StringField(required=True, max_length=20)
    seats = fields.IntField(db_field="s", min_value=0, default=5)
    tags = fields.ListField(fields.StringField())
    extra = fields.DictField()
    named = fields.MapField(fields.IntField())
    spot = fields.EmbeddedDocumentField(Cabin)
    spots = fields.EmbeddedDocumentListField(Cabin)
    home = fields.ReferenceField(Coast)
    lazy = fields.LazyReferenceField(Coast)
    coasts = fields.ListField(fields.ReferenceField(Coast))
    since = fields.DateTimeField()
    meta = {
        "db_alias": ALIAS,
        "collection": "unchanged_ferry",
        "allow_inheritance": True,
        "ordering": ["name"],
        "indexes": ["name"],
    }


class FastSteamer(Steamer):
    knots = fields.IntField()


class Visitor(mongoengine.Document):
    """Of whom the delete rules of coasts take care."""

    name = fields.StringField(primary_key=True)
    coast = fields.ReferenceField(Coast, reverse_delete_rule=mongoengine.CASCADE)
    other = fields.ReferenceField(Coast, reverse_delete_rule=mongoengine.NULLIFY)
    meta = {"db_alias": ALIAS, "collection": "unchanged_guest"}


class Drifter(mongoengine.DynamicDocument):
    meta = {"db_alias": ALIAS, "collection": "unchanged_loose"}


class Sent(CommandListener):
    """The commands that are sent, by their names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: object) -> None:
        """Of no interest."""

    def failed(self, event: object) -> None:
        """Of no interest."""


@pytest.fixture(scope="module")
def sent(mongo_server: MongoServer) -> Iterator[Sent]:
    """Connects the models here, with somebody who hears of each command."""
    listener, name = Sent(), unique_name()
    client = mongoengine.connect(
        name,
        alias=ALIAS,
        host=mongo_server.uri,
        uuidRepresentation="standard",
        event_listeners=[listener],
    )
    other = mongoengine.connect(
        name + "x", alias=ALIAS + "2", host=mongo_server.uri, uuidRepresentation="standard"
    )
    yield listener
    client.drop_database(name)
    other.drop_database(name + "x")
    mongoengine.disconnect(ALIAS)
    mongoengine.disconnect(ALIAS + "2")


def database() -> Any:
    return mongoengine.get_db(ALIAS)


def collections() -> Iterator[Any]:
    for place in (database(), mongoengine.get_db(ALIAS + "2")):
        yield from (place[name] for name in sorted(place.list_collection_names()))


def seed() -> None:
    """Make the documents that every call finds."""
    for collection in collections():
        collection.delete_many({})
    database().unchanged_coast.insert_many(
        [{"_id": IDS[1], "name": "north"}, {"_id": IDS[2], "name": "south"}]
    )
    ferry = {
        "_cls": "Steamer",
        "s": 5,
        "tags": ["a", "b"],
        "extra": {"k": [1, {"x": 2}]},
        "named": {"one": 1},
        "spot": {"name": "bow", "d": 1},
        "spots": [{"name": "one", "d": 1}, {"name": "two", "d": 2}],
        "home": IDS[1],
        "lazy": IDS[2],
        "coasts": [IDS[1], IDS[2]],
        "since": datetime(2026, 1, 1),
    }
    database().unchanged_ferry.insert_many(
        [
            {"_id": IDS[3], "name": "ann", **ferry},
            {"_id": IDS[4], "name": "bob", **ferry, "s": 7, "tags": []},
            {"_id": IDS[5], "name": "eve", **ferry, "_cls": "Steamer.FastSteamer", "knots": 30},
        ]
    )
    database().unchanged_guest.insert_many(
        [{"_id": "g", "coast": IDS[1], "other": IDS[2]}, {"_id": "h", "other": IDS[1]}]
    )
    database().unchanged_loose.insert_one({"_id": IDS[6], "any": {"thing": [1]}, "n": 1})


def content() -> Any:
    found = {one.full_name: plain(list(one.find().sort("_id"))) for one in collections()}
    return {name: documents for name, documents in found.items() if documents[1]}


KNOWN: Final = {str(one) for one in IDS}


def plain(value: Any) -> Any:
    """A value by which to compare two runs: ids that are made for it are not the same."""
    if isinstance(value, BaseDocument):
        state = [value._get_changed_fields() if hasattr(value, "_changed_fields") else None]
        state += [getattr(value, "_created", None), type(value).__name__]
        return [*state, plain(dict(value.to_mongo()))]
    if isinstance(value, BaseQuerySet):
        return [type(value).__name__, plain(list(value))]
    if isinstance(value, CommandCursor):
        return plain(list(value))
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [type(value).__name__, [plain(one) for one in value]]
    if isinstance(value, ObjectId):
        return str(value) if str(value) in KNOWN else "new"
    if hasattr(value, "raw_result"):
        return [type(value).__name__, plain(value.raw_result)]
    if isinstance(value, str | int | float | bool | datetime | DBRef | type(None)):
        return value
    return type(value).__name__


def outcome(call: Callable[[], Any], sent: Sent) -> dict[str, Any]:
    """What a call comes to."""
    seed()
    sent.names.clear()
    found: dict[str, Any] = {}
    try:
        found["returns"] = plain(call())
    except Exception as error:
        text = re.sub(r"[0-9a-f]{24}", lambda id: id[0] if id[0] in KNOWN else "new", str(error))
        found["raises"] = [type(error), text]
    found["sends"] = [name for name in sent.names if name != "createIndexes"]  # made once
    found["content"] = content()
    return found


def ann() -> Any:
    return Steamer.objects.get(name="ann")


def changed() -> Any:
    """A document with a change of every kind, not saved yet."""
    one = ann()
    one.name, one.seats = "anna", 6
    one.tags.append("c")
    one.extra["k"][1]["x"] = 3
    one.named["two"] = 2
    one.spot.deep = 9
    one.spots[1].name = "second"
    one.home = Coast.objects.get(name="south")
    one.coasts.pop()
    del one.since
    return one


def then(one: Any, call: Callable[[Any], Any]) -> Any:
    """What a method returns, and the document after it."""
    return [call(one), one]


def each(one: Any, *names: str) -> Any:
    return [getattr(one, name) for name in names]


def switched(context: Any, call: Callable[[Any], Any]) -> Any:
    with context as found:
        return call(found)


def counted() -> Any:
    with query_counter(alias=ALIAS) as count:
        ann()
        return int(count)


def saved_by_steps() -> Any:
    one = changed()
    one.save()
    one.seats = 8
    one.save()
    one.reload()
    one.tags = []
    return one.save()


def bulk_with_a_duplicate() -> Any:
    return Coast.objects.insert([Coast(name="west"), Coast(name="north"), Coast(name="east")])


DOCUMENT: dict[str, Callable[[], Any]] = {
    "save": lambda: then(Steamer(name="new", home=IDS[1]), Steamer.save),
    "save, changed": lambda: then(changed(), Steamer.save),
    "save, nothing to do": lambda: then(ann(), Steamer.save),
    "save, by steps": saved_by_steps,
    "save, subclass": lambda: then(FastSteamer(name="new", knots=3), FastSteamer.save),
    "save, invalid": lambda: Steamer(seats=-1).save(),
    "save, not validated": lambda: Steamer(seats=-1).save(validate=False),
    "save, not cleaned": lambda: Steamer(name="x").save(clean=False),
    "save, force_insert": lambda: Steamer(id=IDS[3], name="x").save(force_insert=True),
    "save, duplicate": lambda: Coast(name="north").save(),
    "save, explicit key": lambda: then(Coast(id=IDS[9], name="west"), Coast.save),
    "save, key that is there": lambda: then(Coast(id=IDS[1], name="west"), Coast.save),
    "save, cascade": lambda: then(changed(), lambda one: one.save(cascade=True)),
    "cascade_save": lambda: then(changed(), lambda one: one.cascade_save()),
    "save, condition": lambda: changed().save(save_condition={"seats": 5}),
    "save, condition that fails": lambda: changed().save(save_condition={"seats": 6}),
    "save, write concern": lambda: changed().save(write_concern={"w": 1}),
    "save, signal arguments": lambda: changed().save(signal_kwargs={"a": 1}),
    "save, deleted meanwhile": lambda: then(changed(), lambda one: (ann().delete(), one.save())),
    "save, dynamic": lambda: then(Drifter(any={"x": [1]}, made=True), Drifter.save),
    "save, loaded in part": lambda: then(Steamer.objects.only("name").first(), Steamer.save),
    "delete": lambda: ann().delete(),
    "delete, with rules": lambda: Coast.objects.get(name="north").delete(),
    "delete, never saved": lambda: Steamer(name="x").delete(),
    "delete, condition": lambda: ann().delete(signal_kwargs={"a": 1}, w=1),
    "update": lambda: then(ann(), lambda one: one.update(inc__seats=1, push__tags="z")),
    "update, nothing": lambda: ann().update(),
    "update, unknown field": lambda: ann().update(set__none=1),
    "update, never saved": lambda: Steamer(name="x").update(set__name="y"),
    "update, deleted meanwhile": lambda: then(
        ann(), lambda one: (ann().delete(), one.update(name="x"))
    ),
    "update, raw": lambda: ann().update(__raw__={"$set": {"s": 9}}),
    "modify": lambda: then(ann(), lambda one: one.modify(inc__seats=1)),
    "modify, unsaved": lambda: then(changed(), lambda one: one.modify(inc__seats=1)),
    "modify, query": lambda: then(ann(), lambda one: one.modify({"seats": 6}, set__name="x")),
    "modify, never saved": lambda: Steamer(name="x").modify(set__name="y"),
    "reload": lambda: then(changed(), Steamer.reload),
    "reload, fields": lambda: then(changed(), lambda one: one.reload("name", "tags")),
    "reload, deleted": lambda: then(ann(), lambda one: (ann().delete(), one.reload())),
    "validate": lambda: Steamer(seats=-1).validate(),
    "clean": lambda: ann().clean(),
    "to_mongo": lambda: [ann().to_mongo(), ann().to_mongo(fields=["name"])],
    "to_json": lambda: ann().to_json(),
    "from_json": lambda: [
        Steamer.from_json(ann().to_json()),
        Steamer.from_json(ann().to_json(), True),
    ],
    "from_json, and save": lambda: then(Steamer.from_json(ann().to_json()), Steamer.save),
    "to_dbref": lambda: ann().to_dbref(),
    "select_related": lambda: then(ann(), lambda one: each(one.select_related(), "home", "coasts")),
    "pk": lambda: [ann().pk, ann().id],
    "objects": lambda: Steamer.objects,
    "get_text_score": lambda: ann().get_text_score(),
    "switch_db": lambda: ann().switch_db(ALIAS + "2").save(),
    "switch_collection": lambda: then(ann().switch_collection("unchanged_other"), Steamer.save),
    "switch_collection, delete": lambda: ann().switch_collection("unchanged_other").delete(),
    "drop_collection": lambda: Drifter.drop_collection(),
    "create_index": lambda: Coast.create_index("name"),
    "ensure_indexes": lambda: Coast.ensure_indexes(),
    "list_indexes": lambda: Steamer.list_indexes(),
    "compare_indexes": lambda: Steamer.compare_indexes(),
    "register_delete_rule": lambda: Coast._meta.get("delete_rules"),
    "my_metaclass": lambda: Steamer.my_metaclass,
    "STRICT": lambda: Steamer.STRICT,
    "DoesNotExist": lambda: Steamer.objects.get(name="nobody"),
    "MultipleObjectsReturned": lambda: Steamer.objects.get(),
    "references": lambda: each(ann(), "home", "lazy", "coasts"),
    "equality": lambda: [ann() == ann(), ann() in [ann()], ann() != Coast.objects.first()],
}

QUERYSET: dict[str, Callable[[], Any]] = {
    "aggregate": lambda: Steamer.objects.aggregate([{"$match": {"s": 5}}]),
    "all": lambda: Steamer.objects.all(),
    "all_fields": lambda: Steamer.objects.only("name").all_fields(),
    "as_pymongo": lambda: Steamer.objects.as_pymongo(),
    "average": lambda: Steamer.objects.average("seats"),
    "batch_size": lambda: Steamer.objects.batch_size(1),
    "clear_cls_query": lambda: FastSteamer.objects.clear_cls_query(),
    "clear_initial_query": lambda: FastSteamer.objects.clear_initial_query(),
    "clone": lambda: Steamer.objects(name="ann").clone(),
    "comment": lambda: Steamer.objects.comment("why"),
    "count": lambda: [Steamer.objects.count(), Steamer.objects(seats=5).skip(1).count(True)],
    "create": lambda: Coast.objects.create(name="west"),
    "delete": lambda: Steamer.objects(seats=5).delete(),
    "delete, with rules": lambda: Coast.objects(name="north").delete(),
    "delete, some": lambda: Steamer.objects.skip(1).delete(),
    "delete, none": lambda: Steamer.objects(name="nobody").delete(),
    "distinct": lambda: [Steamer.objects.distinct("seats"), Steamer.objects.distinct("home")],
    "exclude": lambda: Steamer.objects.exclude("tags", "spots"),
    "fields": lambda: Steamer.objects.fields(name=1, spot=1),
    "filter": lambda: Steamer.objects.filter(name__startswith="a", spots__name="two"),
    "first": lambda: [Steamer.objects.first(), Steamer.objects(name="nobody").first()],
    "from_json": lambda: Steamer.objects.from_json(Steamer.objects.to_json()),
    "get": lambda: Steamer.objects.get(name="ann"),
    "hint": lambda: Coast.objects.hint("_id_"),
    "in_bulk": lambda: Steamer.objects.in_bulk([IDS[3], IDS[5], IDS[9]]),
    "insert": lambda: Coast.objects.insert([Coast(name="west"), Coast(name="east")]),
    "insert, one": lambda: Coast.objects.insert(Coast(name="west")),
    "insert, ids": lambda: Coast.objects.insert([Coast(id=IDS[8], name="west")], load_bulk=False),
    "insert, duplicate": bulk_with_a_duplicate,
    "insert, of another class": lambda: Coast.objects.insert(Steamer(name="x")),
    "insert, saved": lambda: Coast.objects.insert(Coast.objects.first()),
    "insert, nothing": lambda: Coast.objects.insert([]),
    "item_frequencies": lambda: Steamer.objects.item_frequencies("tags"),
    "limit": lambda: [Steamer.objects.limit(1), Steamer.objects[1:2], Steamer.objects[0]],
    "max_time_ms": lambda: Steamer.objects.max_time_ms(1000),
    "modify": lambda: Steamer.objects(name="ann").modify(inc__seats=1),
    "modify, new": lambda: Steamer.objects(name="ann").modify(
        new=True, inc__seats=1, push__tags="z"
    ),
    "modify, remove": lambda: Steamer.objects(name="ann").modify(remove=True),
    "modify, upsert": lambda: Coast.objects(name="east").modify(
        upsert=True, new=True, set__name="east"
    ),
    "modify, none": lambda: Steamer.objects(name="nobody").modify(set__seats=1),
    "modify, nothing": lambda: Steamer.objects(name="ann").modify(),
    "next": lambda: [next(Steamer.objects), Steamer.objects.next()],
    "no_cache": lambda: Steamer.objects.no_cache(),
    "no_dereference": lambda: each(Steamer.objects.no_dereference().first(), "home", "coasts"),
    "no_sub_classes": lambda: Steamer.objects.no_sub_classes(),
    "none": lambda: Steamer.objects.none(),
    "only": lambda: Steamer.objects.only("name", "spot.name"),
    "order_by": lambda: Steamer.objects.order_by("-seats", "name"),
    "read_concern": lambda: Steamer.objects.read_concern({"level": "local"}),
    "read_preference": lambda: (
        Steamer.objects.read_preference(mongoengine.ReadPreference.PRIMARY)
        if hasattr(mongoengine, "ReadPreference")
        else Steamer.objects
    ),
    "rewind": lambda: Steamer.objects.rewind(),
    "scalar": lambda: [Steamer.objects.scalar("name"), Steamer.objects.scalar("name", "seats")],
    "select_related": lambda: each(Steamer.objects.select_related()[0], "home", "coasts"),
    "skip": lambda: Steamer.objects.skip(1),
    "snapshot": lambda: Steamer.objects.snapshot(True),
    "sum": lambda: Steamer.objects.sum("seats"),
    "timeout": lambda: Steamer.objects.timeout(False),
    "allow_disk_use": lambda: Steamer.objects.allow_disk_use(False),
    "collation": lambda: Steamer.objects.collation({"locale": "en"}).count(),
    "to_json": lambda: Steamer.objects.to_json(),
    "update": lambda: Steamer.objects(seats=5).update(inc__seats=1),
    "update, result": lambda: Steamer.objects.update(full_result=True, set__seats=1),
    "update, same": lambda: Steamer.objects(seats=5).update(set__seats=5),
    "update, none": lambda: Steamer.objects(name="nobody").update(set__seats=5),
    "update, nothing": lambda: Steamer.objects.update(),
    "update, unknown field": lambda: Steamer.objects.update(set__none=1),
    "update, of a kind the server refuses": lambda: Steamer.objects.update(
        __raw__={"$inc": {"name": 1}}
    ),
    "update, unset": lambda: Steamer.objects.update(unset__spot=1, set__extra__k=3),
    "update_one": lambda: Steamer.objects(seats=5).update_one(push__tags="z"),
    "update_one, result": lambda: Steamer.objects(seats=5).update_one(
        full_result=True, set__seats=1
    ),
    "upsert_one": lambda: Coast.objects(name="north").upsert_one(set__name="far north"),
    "using": lambda: Steamer.objects.using(ALIAS + "2"),
    "using, update": lambda: Steamer.objects.using(ALIAS + "2").update(set__seats=1),
    "values_list": lambda: Steamer.objects.values_list("name", "home"),
    "with_id": lambda: [Steamer.objects.with_id(IDS[3]), Steamer.objects.with_id(IDS[9])],
    "where": lambda: Steamer.objects.where("this.s == 5").count(),
    "explain": lambda: type(Steamer.objects.explain()),
    "len, bool, repr": lambda: [len(Steamer.objects), bool(Steamer.objects), repr(Steamer.objects)],
    "custom no cache": lambda: QuerySetNoCache(Steamer, Steamer._get_collection()),
}

CONTEXTS: dict[str, Callable[[], Any]] = {
    "switch_db": lambda: switched(
        switch_db(Coast, ALIAS + "2"),
        lambda cls: [cls(name="w").save(), cls.objects.update(name="v")],
    ),
    "switch_collection": lambda: switched(
        switch_collection(Coast, "unchanged_other"),
        lambda cls: [cls(name="w").save(), cls.objects.update(name="v"), cls.objects.delete()],
    ),
    "no_dereference": lambda: switched(
        no_dereference(Steamer), lambda cls: each(cls.objects.first(), "home", "coasts")
    ),
    "no_sub_classes": lambda: switched(no_sub_classes(Steamer), lambda cls: cls.objects.count()),
    "query_counter": counted,
    "collection": lambda: Steamer._get_collection().find_one({"name": "ann"}),
    "collection, writes": lambda: [
        Steamer._get_collection().update_many({}, {"$inc": {"s": 1}}),
        Steamer._get_collection().delete_one({"name": "bob"}),
        Steamer._get_collection().replace_one({"name": "ann"}, {"name": "x"}),
        Steamer._get_collection().insert_one({"_id": IDS[9]}).inserted_id,
    ],
}

CALLS: Final = {
    **{f"Document.{what}": call for what, call in DOCUMENT.items()},
    **{f"QuerySet.{what}": call for what, call in QUERYSET.items()},
    **{f"context: {what}": call for what, call in CONTEXTS.items()},
}

READS_AROUND: Final = {
    # Of what passes save() and delete() by, the old values, and what the server made of them, have
    # to be read.
    "Document.update",
    "Document.modify",
    "QuerySet.delete",
    "QuerySet.modify",
    "QuerySet.update",
    "QuerySet.update_one",
    "QuerySet.upsert_one",
    "QuerySet.using",
    "Document.delete, with rules",
    "context: switch_db",
    "context: switch_collection",
    "context: collection",
}
"""Calls that may send other commands than without Lifecycle."""

LOOKED_FOR: Final = {"Document.save, explicit key", "Document.save, key that is there"}
"""Saves that look for the document first, to tell the log whether it will be an insert."""

WITHOUT: Final[dict[str, dict[str, Any]]] = {}
"""What each call came to without Lifecycle."""

NOT_HERE: Final = {
    "exec_js": "runs JavaScript on the server, which MongoDB has given up",
    "map_reduce": "nx-27017 has none",
    "search_text": "nx-27017 has none",
    "slave_okay": "gone from pymongo",
}


def test_the_table_has_every_public_method() -> None:
    """Of documents and of querysets."""
    named = {what.partition(",")[0].partition(" ")[0] for what in (*DOCUMENT, *QUERYSET)}
    public = {name for cls in (Document, QuerySet) for name in dir(cls) if name[0] != "_"}
    assert public - named - NOT_HERE.keys() == set()


@pytest.mark.parametrize("durability", ["fast", "intent"])
@pytest.mark.parametrize("what", CALLS)
def test_a_call_does_what_it_did(sent: Sent, what: str, durability: Any) -> None:
    """Its answer, its error, the documents, and what it sends."""
    if what not in WITHOUT:
        WITHOUT[what] = outcome(CALLS[what], sent)
    expected = dict(WITHOUT[what])
    lifecycle = Lifecycle(store=MemoryStore(), durability=durability)
    lifecycle.install(mongoengine)
    try:
        found = outcome(CALLS[what], sent)
    finally:
        lifecycle.uninstall(mongoengine)
    if what in READS_AROUND or what.partition(",")[0] in READS_AROUND:
        del expected["sends"], found["sends"]
    elif what in LOOKED_FOR and durability == "intent":
        found["sends"].remove("find")
    assert found == expected
