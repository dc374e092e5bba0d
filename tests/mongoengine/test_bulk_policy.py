"""How bulk writes of documents are recorded: the policy, portions, and what cannot be told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import copy
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from pymongo import DeleteOne, ReturnDocument, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database

from lifecycle import ABSENT, UNKNOWN, Change, Lifecycle, acting, audited, not_audited
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.coverage import Unrecorded
from lifecycle.errors import (
    ConfigurationError,
    ForbiddenWrite,
    StoreError,
    StoreUnreachable,
    UnrecordedWriteWarning,
)
from lifecycle.mappers.mongoengine import asking, portions
from lifecycle.markers import MASKED


class Coin(mongoengine.Document):
    name = fields.StringField(db_field="n")
    size = fields.IntField(db_field="s")


@audited(bulk="forbid")
class Guarded(mongoengine.Document):
    name = fields.StringField()


@audited(bulk="statement", mask={"secret"})
class Summed(mongoengine.Document):
    name = fields.StringField(db_field="n")
    size = fields.IntField()
    secret = fields.StringField()
    extra = fields.DictField()


@audited(bulk="off")
class Ignored(mongoengine.Document):
    name = fields.StringField()


@not_audited
class Scrap(mongoengine.Document):
    name = fields.StringField()


@audited(label="name")
class Named(mongoengine.Document):
    name = fields.StringField()
    size = fields.IntField()
    meta = {"allow_inheritance": True}


@audited(mask={"size"})
class Secretive(Named):
    pass


def raw(cls: Any = Coin) -> Any:
    return cls._get_collection()


# --- the policy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "write"),
    [
        ("Guarded.objects.update()", lambda: Guarded.objects.update(name="y")),
        ("Guarded.objects.delete()", lambda: Guarded.objects.delete()),
        ("Guarded.objects.modify()", lambda: Guarded.objects.modify(name="y")),
        ("Guarded.objects.insert()", lambda: Guarded.objects.insert(Guarded(name="y"))),
        (
            "Guarded._get_collection().delete_many()",
            lambda: raw(Guarded).delete_many({}),
        ),
    ],
)
def test_a_forbidden_bulk_write_is_not_made(
    lifecycle: Lifecycle, records: Any, call: str, write: Callable[[], Any]
) -> None:
    """The error names the call, and how to allow it."""
    Guarded(name="x").save()
    records()
    with pytest.raises(ForbiddenWrite) as raised:
        write()
    assert str(raised.value) == (
        f"{call} is forbidden, for it passes save() and delete() by: save or delete the documents "
        'one by one instead, or allow this one inside lifecycle.bulk("rows")'
    )
    assert [one.name for one in Guarded.objects] == ["x"]
    with lifecycle.bulk("rows"):
        write()
    assert len(records()) == 1


def test_where_bulk_writes_are_forbidden_a_document_can_still_be_written(
    lifecycle: Lifecycle, records: Any
) -> None:
    """By its own methods."""
    guarded = Guarded(name="x").save()
    guarded.update(name="y")
    assert guarded.modify(name="z")
    guarded.delete()
    assert [one.operation for one in records()] == ["insert", "update", "update", "delete"]


def test_a_write_recorded_as_a_whole_has_one_record(lifecycle: Lifecycle, records: Any) -> None:
    """Which tells what was done without its values, what it set, and how many it hit."""
    for number in range(3):
        Summed(name=f"n{number}", size=number).save()
    records()
    criteria = {"__raw__": {"$or": [{"n": "n0"}, {"size": {"$gt": 1}}]}}
    update = {"$set": {"size": 7, "secret": "s", "extra": {"key": 1}}, "$inc": {"extra.k": 1}}
    assert Summed.objects(**criteria).update(__raw__={"$set": update["$set"]}) == 2
    (record,) = records()
    assert (record.operation, record.key, record.cause) == ("bulk", "", None)
    assert dict(record.changes) == {
        "$verb": Change(ABSENT, "update"),
        "$statement": Change(
            ABSENT,
            'summed.update_many {"$or": [{"n": ?}, {"size": {"$gt": ?}}]} '
            '{"$set": {"size": ?, "secret": ?, "extra": ?}}',
        ),
        "$rows": Change(ABSENT, 2),
        "size": Change(UNKNOWN, 7),
        "secret": Change(MASKED, MASKED),
        "extra": Change(UNKNOWN, {"key": 1}),
    }


@pytest.mark.parametrize(
    ("verb", "rows", "write"),
    [
        ("delete", 2, lambda: Summed.objects.delete()),
        ("insert", 1, lambda: Summed.objects.insert(Summed(name="c"))),
        ("insert", 2, lambda: Summed.objects.insert([Summed(name="c"), Summed(name="d")])),
        ("update", 1, lambda: Summed.objects(name="a").modify(size=1)),
        ("upsert", 1, lambda: Summed.objects(name="z").update(size=1, upsert=True)),
        ("upsert", UNKNOWN, lambda: Summed.objects(name="z").modify(size=1, upsert=True)),
        ("delete", 1, lambda: raw(Summed).find_one_and_delete({"n": "a"})),
        ("bulk", 2, lambda: raw(Summed).bulk_write([DeleteOne({"n": name}) for name in "ab"])),
    ],
)
def test_what_a_whole_record_counts(
    records: Any, verb: str, rows: Any, write: Callable[[], Any]
) -> None:
    """As far as the server's answer tells."""
    for name in "ab":
        Summed(name=name).save()
    records()
    write()
    (record,) = records()
    assert record.changes.new("$verb") == verb
    assert record.changes.new("$rows") == rows


def test_a_whole_write_that_hits_nothing_is_not_recorded(records: Any) -> None:
    """There is nothing to tell."""
    Summed.objects(name="x").update(size=1)
    Summed.objects(name="x").delete()
    assert Summed.objects(name="x").modify(size=1) is None
    assert records() == []


def test_a_bulk_write_that_is_left_out_is_counted(lifecycle: Lifecycle, records: Any) -> None:
    """Without a warning."""
    Ignored(name="x").save()
    records()
    Ignored.objects.update(name="y")
    Ignored.objects.update(name="z")
    assert records() == []
    assert lifecycle.coverage().unrecorded == (
        Unrecorded(("Ignored",), "Ignored.objects.update()", "bulk off", 2),
    )


def test_a_block_chooses_for_what_it_does(lifecycle: Lifecycle, records: Any) -> None:
    """The innermost goes first, and another Lifecycle does not mind."""
    Coin(name="a").save()
    records()
    with lifecycle.bulk("off"):
        Coin.objects.update(size=1)
        with lifecycle.bulk("statement"):
            Coin.objects.update(size=2)
        Coin.objects.update(size=3)
    Coin.objects.update(size=4)
    assert [str(one.operation) for one in records()] == ["bulk", "update"]
    with Lifecycle(store=MemoryStore()).bulk("off"):
        Coin.objects.update(size=5)
    assert len(records()) == 1


def test_a_mode_that_is_none_is_an_error(lifecycle: Lifecycle) -> None:
    """Before anything is done."""
    with (
        pytest.raises(ConfigurationError, match=r"bulk='all' is not known: use \"rows\" or"),
        lifecycle.bulk("all"),  # type: ignore[arg-type]
    ):
        pass


def test_nothing_is_read_for_classes_that_are_not_recorded(
    lifecycle: Lifecycle, records: Any
) -> None:
    """Nor while the log is switched off."""
    Scrap(name="x").save()
    Coin(name="x").save()
    records()
    Scrap.objects.update(name="y")
    with lifecycle.suppressed():
        Coin.objects.update(name="y")
        raw().delete_many({})
    assert records() == []


# --- many ----------------------------------------------------------------------------------


CHUNK = 10


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few documents are many."""
    monkeypatch.setattr(portions, "CHUNK", CHUNK)


@pytest.fixture
def many(records: Any) -> int:
    """More documents than a portion holds."""
    total = 2 * CHUNK + 1
    raw().insert_many([{"n": "x", "s": number} for number in range(total)])
    records()
    return total


@pytest.mark.parametrize("update", [{"$set": {"s": -1}}, {"$inc": {"s": 5000}}])
def test_an_update_of_many_has_a_record_for_each(records: Any, many: int, update: Any) -> None:
    """Each is written once, though what finds it is what it changes."""
    result = raw().update_many({"s": {"$gte": 0}}, update)
    assert result.raw_result == {"n": many, "nModified": many, "ok": 1, "updatedExisting": True}
    found = records()
    assert sorted(one.changes.old("size") for one in found) == list(range(many))
    assert {one.changes.new("size") for one in found} == (
        {-1} if "$set" in update else set(range(5000, 5000 + many))
    )


def test_what_is_found_again_is_not_written_again(
    records: Any, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a server whose index, in which it looks, the write has changed."""
    find = asking.Asked.find

    class FoundTwice:
        def __init__(self, cursor: Any) -> None:
            self._cursor = cursor

        def batch_size(self, count: int) -> Any:
            return nullcontext(again(list(self._cursor.batch_size(count))))

    def again(found: list[Any]) -> Iterator[Any]:
        yield from found[:CHUNK]
        yield from found[5:]
        yield from found

    monkeypatch.setattr(asking.Asked, "find", lambda *args: FoundTwice(find(*args)))
    assert raw().update_many({}, {"$inc": {"s": 1}}).modified_count == many
    assert sorted(one["s"] for one in raw().find()) == list(range(1, many + 1))
    assert sorted(one.changes.new("size") for one in records()) == list(range(1, many + 1))


def test_a_delete_of_many_has_a_record_for_each(records: Any, many: int) -> None:
    """And they are one group."""
    assert Coin.objects.delete() == many
    found = records()
    assert sorted(one.changes.old("size") for one in found) == list(range(many))
    assert len({one.revision.group for one in found}) == 1
    assert Coin.objects.count() == 0


def test_what_a_failing_update_of_many_got_through_is_recorded(
    lifecycle: Lifecycle, records: Any
) -> None:
    """It stops at the first document that it cannot change."""
    raw().insert_many([{"n": str(number), "s": number} for number in range(CHUNK + 2)])
    raw().update_one({"s": CHUNK}, {"$set": {"s": "text"}})
    records()
    with pytest.raises(mongoengine.errors.OperationError):
        Coin.objects.update(inc__size=10_000)
    changed = {one["n"] for one in raw().find() if one["s"] != "text" and one["s"] >= 10_000}
    assert {str(one.changes.old("size")) for one in records()} == changed
    assert len(changed) >= CHUNK


def test_never_all_documents_are_held(
    lifecycle: Lifecycle, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store gets them in portions."""
    sizes: list[int] = []
    append = MemoryStore.append

    def counted(self: Any, revision: Any, records: Any) -> Any:
        sizes.append(len(records))
        return append(self, revision, records)

    monkeypatch.setattr(MemoryStore, "append", counted)
    Coin.objects.update(size=7)
    assert max(sizes) <= CHUNK
    assert sum(sizes) == many - 1  # one was of that size


# --- who else writes -------------------------------------------------------------------------


class Meddling:
    """Writes past Lifecycle right before a method of pymongo's runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, times: int = 1) -> None:
        self._left = times
        original = getattr(Collection, method)

        def meddled(collection: Any, *args: Any, **kwargs: Any) -> Any:
            if self._left and collection.name == "coin":
                self._left -= 1
                self.meddle(collection)
            return original(collection, *args, **kwargs)

        monkeypatch.setattr(Collection, method, meddled)

    def meddle(self, collection: Any) -> None:
        """Count one up."""
        collection.update_one({"n": "a"}, {"$inc": {"s": 100}})


def test_the_old_value_of_a_write_of_one_is_what_it_overwrote(
    lifecycle: Lifecycle, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what was there a moment before."""
    Coin(name="a", size=1).save()
    records()
    Meddling(monkeypatch, "find_one_and_update")
    Coin.objects(name="a").update_one(size=5)
    assert dict(records()[0].changes) == {"size": Change(101, 5)}


def test_the_old_value_of_a_modify_is_what_it_overwrote(
    lifecycle: Lifecycle, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it returns the document as it became, in one step."""
    Coin(name="a", size=1).save()
    records()
    Meddling(monkeypatch, "find_one_and_update")
    assert Coin.objects(name="a").modify(inc__size=1, new=True).size == 102
    assert dict(records()[0].changes) == {"size": Change(101, 102)}


def test_a_modify_that_never_finds_a_document_as_it_was_does_not_know_what_it_was(
    lifecycle: Lifecycle, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But it is made, and recorded."""
    Coin(name="a", size=1).save()
    records()
    Meddling(monkeypatch, "find_one_and_update", times=10)
    assert Coin.objects(name="a").modify(inc__size=1, new=True).size == 602
    assert dict(records()[0].changes) == {"size": Change(UNKNOWN, 602)}


# --- what cannot be told ---------------------------------------------------------------------


@pytest.mark.real_mongodb("writes without an answer")
def test_a_write_that_is_not_acknowledged_is_told_of(
    mongo: object, lifecycle: Lifecycle, records: Any
) -> None:
    """Once for each kind, with a count of all."""
    Coin(name="a").save()
    records()
    with pytest.warns(UnrecordedWriteWarning) as warned:
        Coin.objects.update(size=1, write_concern={"w": 0})
    (warning,) = warned
    assert str(warning.message) == (
        "Coin.objects.update() may have changed Coin, and not all of it is recorded: the server "
        "was not asked to acknowledge it. Save or delete the documents one by one instead, or take "
        "the class out with @not_audited. lifecycle.coverage() counts such writes; each kind is "
        "told once"
    )
    assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Coin.objects.update(size=2, write_concern={"w": 0})
    assert lifecycle.coverage().unrecorded[0].times == 2


def test_a_method_that_another_library_has_replaced_is_still_called(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it does not tell what it takes, what was written is not recorded, and told of."""
    Coin(name="a").save()
    original = Collection.update_many

    def traced(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    monkeypatch.setattr(Collection, "update_many", traced)
    asking._signature.cache_clear()
    with pytest.warns(UnrecordedWriteWarning, match="what it was called with cannot be told"):
        raw().update_many({}, {"$set": {"s": 5}})
    asking._signature.cache_clear()
    assert Coin.objects.get().size == 5


def test_an_aggregation_that_writes_is_told_of(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a write to the class whose collection it names; one that reads is not."""
    Coin(name="a").save()
    assert len(list(Coin.objects.aggregate([{"$match": {"n": "a"}}]))) == 1
    monkeypatch.setattr(Collection, "aggregate", lambda *args, **kwargs: [])
    with pytest.warns(UnrecordedWriteWarning, match=r"aggregate\(\) may have changed Named"):
        raw().aggregate([{"$merge": {"into": "named"}}])
    raw().aggregate([{"$out": "elsewhere"}])


def test_a_write_that_cannot_be_recorded_says_so(
    lifecycle: Lifecycle, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documents have been written, as the error tells."""
    Coin(name="a", size=1).save()

    def refuse(self: object, revision: object, records: object) -> None:
        raise StoreUnreachable("it is down")

    monkeypatch.setattr(MemoryStore, "append", refuse)
    with pytest.raises(StoreError, match=r"has been written by Coin\.objects\.update"):
        Coin.objects.update(size=2)
    assert Coin.objects.get().size == 2


# --- which class, which names ---------------------------------------------------------------


def test_each_document_is_recorded_as_its_class_says(lifecycle: Lifecycle, records: Any) -> None:
    """With its label, and what is to be hidden hidden."""
    Named(name="x", size=1).save()
    Secretive(name="y", size=1).save()
    records()
    assert Named.objects.update(inc__size=1) == 2
    plain, secretive = records()
    assert (plain.entity, plain.label) == ("Named", "x")
    assert dict(plain.changes) == {"size": Change(1, 2)}
    assert (secretive.entity, secretive.label) == ("Named", "y")
    assert dict(secretive.changes) == {"size": Change(MASKED, MASKED)}
    Secretive.objects.delete()
    (gone,) = records()
    assert (gone.label, gone.changes.old("_cls")) == ("y", "Named.Secretive")


def test_a_subclass_alone_is_seen_in_the_writes_of_its_base(mongo: object) -> None:
    """Of the others nothing is recorded."""
    lifecycle = Lifecycle(store=MemoryStore())
    lifecycle.install(Secretive)
    try:
        Named(name="x").save()
        Secretive(name="y").save()
        Named.objects.update(size=1)
        raw(Named).delete_many({})
    finally:
        lifecycle.uninstall(Secretive)
    assert [str(one.operation) for one in lifecycle.history.find(newest_first=False)] == [
        "insert",
        "update",
        "delete",
    ]


def test_every_lifecycle_records_its_own(lifecycle: Lifecycle, records: Any) -> None:
    """By its own policy."""
    other = Lifecycle(store=MemoryStore(), bulk="statement")
    other.install(mongoengine)
    try:
        Coin(name="a").save()
        records()
        Coin.objects.update(size=1)
    finally:
        other.uninstall(mongoengine)
    assert [one.operation for one in records()] == ["update"]
    assert [one.operation for one in other.history.find()] == ["bulk", "insert"]


def test_bulk_writes_elsewhere_are_recorded_too(lifecycle: Lifecycle, records: Any) -> None:
    """In a switched collection, by the class or by a document."""
    with mongoengine.context_managers.switch_collection(Coin, "old_coins") as switched:
        switched(name="a", size=1).save()
        switched.objects.update(size=2)
        raw(switched).update_many({}, {"$set": {"s": 3}})
    coin = Coin(name="b").save()
    coin.switch_collection("old_coins")
    coin.save(force_insert=True)
    coin.update(size=5)
    changes = [dict(one.changes) for one in records() if one.operation == "update"]
    assert changes == [
        {"size": Change(1, 2)},
        {"size": Change(2, 3)},
        {"size": Change(ABSENT, 5)},
    ]


def test_a_bulk_write_has_its_actor(lifecycle: Lifecycle, records: Any) -> None:
    """As any other."""
    Coin(name="a").save()
    records()
    with acting("cron", reason="nightly"):
        Coin.objects.update(size=1)
    assert [(one.actor, one.reason) for one in records()] == [("cron", "nightly")]


# --- the collection it stands for -----------------------------------------------------------


@pytest.fixture
def collections(lifecycle: Lifecycle, mongo: Database[Any]) -> tuple[Any, Any]:
    """What a class gives for its collection, and the collection."""
    return raw(), mongo["coin"]


def test_a_collection_stays_what_it_was(collections: tuple[Any, Any]) -> None:
    """For all who look at it."""
    given, real = collections
    assert isinstance(given, Collection)
    assert given == real
    assert real == given
    assert given == raw()
    assert hash(given) == hash(real)
    assert repr(given) == repr(real)
    assert copy(given) == real
    assert (given.name, given.full_name, given.database) == (
        real.name,
        real.full_name,
        real.database,
    )
    assert given.sub == real.sub
    assert given["sub"] == real["sub"]
    with pytest.raises(NotImplementedError):
        bool(given)
    with pytest.raises(TypeError):
        given()


def test_a_collection_with_options_is_seen_too(lifecycle: Lifecycle, records: Any) -> None:
    """As mongoengine itself asks for one."""
    raw().with_options(write_concern=WriteConcern(w=1)).insert_one({"n": "a"})
    assert len(records()) == 1


def test_what_is_kept_of_a_collection_does_nothing_once_uninstalled(
    lifecycle: Lifecycle, records: Any
) -> None:
    """It is the collection, and nothing else."""
    kept = raw()
    lifecycle.uninstall(mongoengine)
    try:
        kept.insert_one({"n": "a"})
        assert type(raw()) is Collection
    finally:
        lifecycle.install(mongoengine)
    assert records() == []


@pytest.mark.real_mongodb("pipelines in updates")
def test_an_update_by_a_pipeline_is_recorded(
    mongo: object, lifecycle: Lifecycle, records: Any
) -> None:
    """What it makes of each document is read again."""
    Coin(name="a", size=1).save()
    records()
    assert Coin.objects.update(__raw__=[{"$set": {"s": {"$add": ["$s", 1]}}}]) == 1
    assert Coin.objects.update_one(__raw__=[{"$unset": "s"}]) == 1
    assert [dict(one.changes) for one in records()] == [
        {"size": Change(1, 2)},
        {"size": Change(2, ABSENT)},
    ]


@pytest.mark.real_mongodb("array filters")
def test_an_update_by_array_filters_is_recorded(
    mongo: object, lifecycle: Lifecycle, records: Any
) -> None:
    """By paths inside the list."""
    raw().insert_one({"n": "a", "list": [{"k": 1}, {"k": 2}]})
    records()
    raw().update_one({}, {"$set": {"list.$[e].k": 9}}, array_filters=[{"e.k": 2}])
    found = raw().find_one_and_update(
        {},
        {"$inc": {"list.$[e].k": 1}},
        array_filters=[{"e.k": 9}],
        return_document=ReturnDocument.AFTER,
    )
    assert found["list"] == [{"k": 1}, {"k": 10}]
    assert [dict(one.changes) for one in records()] == [
        {"list.1.k": Change(2, 9)},
        {"list.1.k": Change(9, 10)},
    ]


@pytest.mark.real_mongodb("ids other than text in upserts")
def test_an_upsert_with_an_id_is_recorded_under_it(
    mongo: object, lifecycle: Lifecycle, records: Any
) -> None:
    """As an insert."""
    raw().update_one({"_id": 7}, {"$set": {"n": "a"}}, upsert=True)
    (record,) = records()
    assert (record.operation, record.key) == ("insert", "7")
