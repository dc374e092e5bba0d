"""What is known of a document after each way to load it, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mongoengine
import pytest
from bson.json_util import CANONICAL_JSON_OPTIONS
from hypothesis import given
from hypothesis import strategies as st
from mongoengine import fields
from mongoengine.context_managers import no_dereference, switch_collection
from pymongo.database import Database

from lifecycle import ABSENT, UNKNOWN, Change, Lifecycle
from lifecycle.changes import same
from lifecycle.mappers.mongoengine.images import Image, Projection, applied, image_of
from lifecycle.mappers.mongoengine.sending import update_of


class Inner(mongoengine.EmbeddedDocument):
    a = fields.IntField(db_field="ia")
    loose = fields.DynamicField()


class Thing(mongoengine.Document):
    name = fields.StringField(db_field="n")
    size = fields.IntField()
    inner = fields.EmbeddedDocumentField(Inner, db_field="in")
    tags = fields.ListField(fields.StringField())
    anything = fields.DynamicField()
    other = fields.ReferenceField("self")


@pytest.fixture
def thing(lifecycle: Lifecycle) -> Thing:
    """One stored document."""
    stored = Thing(name="x", size=1, inner=Inner(a=1), tags=["a", "b", "c"], anything={"k": [1]})
    return stored.save()


def saved(document: Any, records: Any, **values: Any) -> dict[str, Any]:
    """What is recorded when values are set and the document is saved."""
    records()
    for name, value in values.items():
        setattr(document, name, value)
    document.save()
    return {path: delta for record in records() for path, delta in record.changes.items()}


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (lambda: Thing.objects.only("name").get(), Change(UNKNOWN, 2)),
        (lambda: Thing.objects.only("size").first(), Change(1, 2)),
        (lambda: Thing.objects.exclude("name")[0], Change(1, 2)),
        (lambda: Thing.objects.exclude("size").get(), Change(UNKNOWN, 2)),
        (lambda: next(iter(Thing.objects.no_cache())), Change(1, 2)),
        (lambda: Thing.objects.no_dereference().get(), Change(1, 2)),
        (lambda: Thing.objects.only("name").modify(new=True, set__name="y"), Change(UNKNOWN, 2)),
    ],
)
@pytest.mark.filterwarnings("ignore::lifecycle.errors.UnrecordedWriteWarning")
def test_what_was_not_loaded_is_unknown(
    thing: Thing, records: Any, load: Any, expected: Change
) -> None:
    """And what was loaded is known, whichever way it was loaded."""
    assert saved(load(), records, size=2) == {"size": expected}


def test_a_bulk_load_knows_which_part_it_read(thing: Thing, records: Any) -> None:
    """As any other load."""
    (found,) = Thing.objects.only("name").in_bulk([thing.id]).values()
    assert saved(found, records, name="y", size=2) == {
        "name": Change("x", "y"),
        "size": Change(UNKNOWN, 2),
    }


@pytest.mark.real_mongodb("dotted paths in a projection")
def test_a_path_inside_a_field_can_be_all_that_was_loaded(
    mongo: object, thing: Thing, records: Any
) -> None:
    """Then the path is known and the rest of the field is not."""
    found = Thing.objects.only("inner.a").get()
    found.inner.a = 2
    assert saved(found, records) == {"inner.a": Change(1, 2)}


@pytest.mark.real_mongodb("$slice in a projection")
def test_a_list_of_which_a_slice_was_loaded_is_unknown(
    mongo: object, thing: Thing, records: Any
) -> None:
    """Its length is not known either."""
    found = Thing.objects.fields(slice__tags=1).get()
    assert saved(found, records, tags=["z"]) == {"tags": Change(UNKNOWN, ["z"])}


def test_what_was_written_is_known_afterwards(thing: Thing, records: Any) -> None:
    """Also of a document that was loaded in part."""
    found = Thing.objects.only("name").get()
    saved(found, records, size=2)
    assert saved(found, records, size=3) == {"size": Change(2, 3)}


def test_deleting_what_was_loaded_in_part_says_what_is_unknown(thing: Thing, records: Any) -> None:
    """Field by field."""
    found = Thing.objects.only("name").get()
    records()
    found.delete()
    (record,) = records()
    assert record.changes["name"] == Change("x", ABSENT)
    assert record.changes["size"] == Change(UNKNOWN, ABSENT)


def test_reloading_makes_known_what_others_have_written(
    thing: Thing, records: Any, mongo: Database[Any]
) -> None:
    """As a whole, or some fields of it."""
    mongo["thing"].update_one({}, {"$set": {"size": 5, "n": "five"}})
    thing.reload("size")
    assert saved(thing, records, size=6) == {"size": Change(5, 6)}
    mongo["thing"].update_one({}, {"$set": {"size": 7}})
    thing.reload()
    assert saved(thing, records, size=8, name="y") == {
        "size": Change(7, 8),
        "name": Change("five", "y"),
    }


def test_reloading_a_field_of_a_document_loaded_in_part_makes_it_known(
    thing: Thing, records: Any
) -> None:
    """And no other."""
    found = Thing.objects.only("name").get()
    found.reload("size")
    found.tags = ["z"]
    assert saved(found, records, size=2) == {
        "size": Change(1, 2),
        "tags": Change(UNKNOWN, ["z"]),
    }


def test_a_document_gone_when_reloaded_raises_as_before(thing: Thing, mongo: Database[Any]) -> None:
    """mongoengine's own error."""
    mongo["thing"].delete_many({})
    with pytest.raises(Thing.DoesNotExist):
        thing.reload()


def test_edits_in_place_that_mongoengine_does_not_see_do_not_reach_what_is_known(
    thing: Thing, records: Any
) -> None:
    """A dynamic field hands out the very containers it was loaded from."""
    found = Thing.objects.get()
    found.anything["k"].append(2)
    found.inner.loose = {"z": 1}
    found.anything = {"k": [9]}
    records()
    found.save()
    (record,) = records()
    before = {"anything": {"k": [1]}, "inner": {"a": 1}}
    assert record.changes.applied_to(before) == {
        "anything": {"k": [9]},
        "inner": {"a": 1, "loose": {"z": 1}},
    }
    assert record.changes.conflicts_with(before) == {}


def test_a_document_made_from_json_was_not_loaded(thing: Thing, records: Any) -> None:
    """Nobody knows whether the database holds what the JSON says."""
    text = Thing.objects.to_json(json_options=CANONICAL_JSON_OPTIONS)
    (made,) = Thing.objects.from_json(text)
    assert saved(made, records, size=2) == {"size": Change(UNKNOWN, 2)}
    single = Thing.from_json(text[1:-1], json_options=CANONICAL_JSON_OPTIONS)
    assert saved(single, records, size=3) == {"size": Change(UNKNOWN, 3)}


def test_the_document_before_a_modify_is_not_what_is_stored(thing: Thing, records: Any) -> None:
    """modify() returns it as it was; what it is now is not known."""
    old = Thing.objects.modify(set__size=5)
    assert old.size == 1
    assert saved(old, records, size=6) == {"size": Change(UNKNOWN, 6)}


def test_after_an_update_of_a_document_what_is_stored_is_known(thing: Thing, records: Any) -> None:
    """update() leaves the document in memory as it was, but not what is known of it."""
    thing.update(inc__size=4)
    assert thing.size == 1
    assert saved(thing, records, size=6) == {"size": Change(5, 6)}


def test_after_an_update_that_hit_nothing_what_is_stored_is_unknown(
    thing: Thing, records: Any
) -> None:
    """Somebody has deleted it."""
    Thing.objects.delete()
    assert thing.update(set__size=5) == 0
    records()
    thing.size = 6
    thing.save()
    assert records()[0].operation == "insert"


def test_after_a_modify_of_a_document_what_is_stored_is_known(thing: Thing, records: Any) -> None:
    """modify() loads what it made of it."""
    assert thing.modify(set__size=5)
    assert saved(thing, records, size=6) == {"size": Change(5, 6)}


def test_what_a_modify_discards_is_not_recorded(thing: Thing, records: Any) -> None:
    """It loads all fields anew, whatever was assigned and not saved."""
    thing.name, thing.inner.a, thing.anything = "unsaved", 2, None
    records()
    assert thing.modify(set__size=5)
    assert (thing.name, thing.inner.a, thing.anything) == ("x", 1, {"k": [1]})
    assert [dict(record.changes) for record in records()] == [{"size": Change(1, 5)}]
    assert saved(thing, records, name="y") == {"name": Change("x", "y")}


def test_a_document_switched_to_another_collection_is_unknown_there(
    thing: Thing, records: Any, mongo: Database[Any]
) -> None:
    """What was loaded came from elsewhere."""
    Thing.objects.get().switch_collection("things_archived").save(force_insert=True)
    found = Thing.objects.get()
    found.switch_collection("things_archived")
    assert saved(found, records, size=2) == {"size": Change(UNKNOWN, 2)}
    assert mongo["things_archived"].find_one()["size"] == 2  # type: ignore[index]
    assert mongo["thing"].find_one()["size"] == 1  # type: ignore[index]
    assert saved(found, records, size=3) == {"size": Change(2, 3)}


def test_a_document_loaded_from_a_switched_class_is_known_there_only(
    thing: Thing, records: Any
) -> None:
    """Saved after the switch it goes to the class's own collection."""
    with switch_collection(Thing, "things_archived") as archived:
        archived(id=thing.id, size=7).save()
        inside = archived.objects.get()
        assert saved(inside, records, size=8) == {"size": Change(7, 8)}
        outside = archived.objects.get()
    assert saved(outside, records, size=9) == {"size": Change(UNKNOWN, 9)}


@pytest.fixture
def elsewhere(mongo: Database[Any]) -> Iterator[str]:
    """The alias of a connection to another database."""
    name = mongo.name + "_elsewhere"
    host, port = mongo.client.address or ("localhost", 27017)
    client = mongoengine.connect(
        name, alias="elsewhere", host=host, port=port, uuidRepresentation="standard"
    )
    yield "elsewhere"
    client.drop_database(name)
    mongoengine.disconnect(alias="elsewhere")


def test_a_document_loaded_using_another_connection_is_unknown_in_its_own(
    thing: Thing, records: Any, elsewhere: str
) -> None:
    """using() loads from there, and save() writes here."""
    Thing(id=thing.id, size=7).switch_db(elsewhere).save()
    found = Thing.objects.using(elsewhere).get()
    assert saved(found, records, size=9) == {"size": Change(UNKNOWN, 9)}


def test_referenced_documents_load_as_ever(thing: Thing, records: Any) -> None:
    """Lazily, on their own account, and not at all where that is switched off."""
    Thing(name="y", other=thing).save()
    referring = Thing.objects.get(name="y")
    assert saved(referring.other, records, size=2) == {"size": Change(1, 2)}
    with no_dereference(Thing):
        assert Thing.objects.get(name="y").other.id == thing.id


def test_what_was_loaded_while_nobody_watched_is_not_trusted_later(mongo: object) -> None:
    """Between two installations writes go unseen."""
    from lifecycle.audit.stores.memory import MemoryStore

    lifecycle = Lifecycle(store=MemoryStore())
    lifecycle.install(mongoengine)
    thing = Thing(size=1).save()
    lifecycle.uninstall(mongoengine)
    thing.size = 2
    thing.save()
    lifecycle.install(mongoengine)
    thing.size = 3
    thing.save()
    newest = next(iter(lifecycle.history.of(thing)))
    lifecycle.uninstall(mongoengine)
    assert newest.changes == {"size": Change(UNKNOWN, 3)}


def test_loads_that_make_no_documents_give_what_they_gave(thing: Thing) -> None:
    """Raw, as scalars, and aggregated."""
    assert next(iter(Thing.objects.as_pymongo()))["n"] == "x"
    assert list(Thing.objects.scalar("name", "size")) == [("x", 1)]
    assert [row["n"] for row in Thing.objects.aggregate([{"$match": {"n": "x"}}])] == ["x"]


@pytest.mark.real_mongodb("fields beside $meta in a projection")
def test_the_score_of_a_text_search_is_no_field(mongo: object, records: Any) -> None:
    """It comes with the document, but is not part of it."""

    class Text(mongoengine.Document):
        words = fields.StringField()
        meta = {"indexes": ["$words"]}

    Text(words="some words").save()
    records()
    found = Text.objects.search_text("words").first()
    found.delete()
    assert set(records()[0].changes) == {"id", "words"}


def test_a_document_keeps_the_very_son_it_was_loaded_from(lifecycle: Lifecycle) -> None:
    """No copy is made where mongoengine shares nothing of it."""

    class Simple(mongoengine.Document):
        tags = fields.ListField(fields.StringField())
        inner = fields.DictField()

    Simple(tags=["a"], inner={"b": {"c": 1}}).save()
    (son,) = Simple._get_collection().find()
    simple = Simple._from_son(son)
    image = image_of(simple)
    assert image is not None
    assert image.son is son
    before = {"_id": simple.id, "tags": ["a"], "inner": {"b": {"c": 1}}}
    simple.tags.append("b")
    simple.inner["b"]["c"] = 2
    simple.inner["d"] = {}
    assert son == before


# --- images ---------------------------------------------------------------------------------


def image(son: dict[str, Any], projection: Projection | None = None) -> Image:
    return Image(son, None, None, *([] if projection is None else [projection]))


@pytest.mark.parametrize(
    ("sets", "unsets", "expected"),
    [
        ({"a": 1}, [], {"a": 1, "d": {"k": 1}, "l": [1, 2]}),
        ({"d.k": 2, "d.x.y": 3}, [], {"d": {"k": 2, "x": {"y": 3}}, "l": [1, 2]}),
        ({"l.0": 9}, [], {"d": {"k": 1}, "l": [9, 2]}),
        ({"l.3": 9}, [], {"d": {"k": 1}, "l": [1, 2, None, 9]}),
        ({"l.2.x": 9}, [], {"d": {"k": 1}, "l": [1, 2, {"x": 9}]}),
        ({"n.0": 9}, [], {"d": {"k": 1}, "l": [1, 2], "n": {"0": 9}}),
        ({}, ["d.k"], {"d": {}, "l": [1, 2]}),
        ({}, ["d", "l.0"], {"l": [None, 2]}),
        ({}, ["z.y", "l.7"], {"d": {"k": 1}, "l": [1, 2]}),
    ],
)
def test_an_update_is_applied_as_the_server_does(
    sets: dict[str, Any], unsets: list[str], expected: dict[str, Any]
) -> None:
    """After MongoDB's rules for $set and $unset, and never in place."""
    before = {"d": {"k": 1}, "l": [1, 2]}
    assert applied(image(before), sets, unsets).son == expected
    assert before == {"d": {"k": 1}, "l": [1, 2]}


def test_an_update_that_does_not_fit_makes_the_field_unknown() -> None:
    """Someone else must have replaced it since it was loaded."""
    after = applied(image({"a": 1, "b": 2}), {"a.x": 1}, ())
    assert (after.at("a"), after.at("a.x"), after.at("b")) == (UNKNOWN, UNKNOWN, 2)


_SONS = st.dictionaries(
    st.sampled_from("abcd"), st.integers(0, 2) | st.floats(0, 1) | st.lists(st.integers(0, 1))
)


@given(_SONS, _SONS, st.lists(st.sampled_from("abcd")))
def test_whole_fields_are_written_at_once_as_they_are_one_by_one(
    son: dict[str, Any], sets: dict[str, Any], unsets: list[str]
) -> None:
    """What an update changes and leaves is the same either way."""
    sent, after = update_of(1, image(son), sets, unsets)
    long_sent, long_after = update_of(1, image(son, Projection()), sets, unsets)
    assert same(after.son, long_after.son)
    assert (sent is None) is (long_sent is None)
    if sent is not None and long_sent is not None:
        assert [*sent.changes] == [*long_sent.changes]
        assert sent.changes == long_sent.changes


def test_a_projection_covers_what_it_read() -> None:
    """Included paths with what is inside them, or all but the excluded ones."""
    only = Projection.of({"a": 1, "b.c": 1, "_id": 1})
    assert [only.covers(path) for path in ("a", "a.x", "b", "b.c", "b.d", "_id", "z")] == [
        True,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    but = Projection.of({"a": 0, "b.c": 0, "l": {"$slice": 2}})
    assert [but.covers(path) for path in ("a", "b", "b.c", "b.d", "l", "l.0", "z", "_id")] == [
        False,
        False,
        False,
        True,
        False,
        False,
        True,
        True,
    ]
