"""What is recorded of saves and deletes: what was sent, against what the database held."""

from __future__ import annotations

import gc
from datetime import datetime
from typing import Any

import mongoengine
import pytest
from bson import Int64, ObjectId
from mongoengine import fields, signals
from pymongo.collection import Collection
from pymongo.database import Database

from lifecycle import ABSENT, UNKNOWN, Change, Lifecycle, audited, not_audited
from lifecycle.changes import ListEdit, Splice
from lifecycle.errors import LostEditWarning, RecordingError, StoreError, StoreUnreachable
from lifecycle.markers import MASKED


class Address(mongoengine.EmbeddedDocument):
    street = fields.StringField()
    zip_code = fields.StringField(db_field="z")


class Line(mongoengine.EmbeddedDocument):
    qty = fields.IntField(db_field="q")


@audited(label="name")
class Customer(mongoengine.Document):
    name = fields.StringField(db_field="n", required=True)
    age = fields.IntField()
    credit = fields.IntField(default=0)
    born = fields.DateTimeField()
    tags = fields.ListField(fields.StringField())
    extra = fields.DictField()
    address = fields.EmbeddedDocumentField(Address, db_field="ad")
    lines = fields.EmbeddedDocumentListField(Line)
    friend = fields.ReferenceField("self")
    place = fields.GeoPointField()


class Invoice(mongoengine.Document):
    number = fields.StringField(primary_key=True)
    total = fields.IntField()
    customer = fields.ReferenceField(Customer)


def customer(**values: Any) -> Customer:
    return Customer(**{"name": "Ann", **values})


def changes(record: Any) -> dict[str, Any]:
    return dict(record.changes)


def test_a_new_document_is_an_insert_of_every_stored_field(records: Any) -> None:
    """Fields come by attribute name with the values as the database has them."""
    ann = customer(
        born=datetime(2000, 1, 1, 1, 1, 1, 123456),
        tags=["a"],
        credit=2**40,
        address=Address(zip_code="1"),
        lines=[Line(qty=1)],
    ).save()
    (record,) = records()
    assert (record.entity, record.operation, record.label) == ("Customer", "insert", "Ann")
    assert record.key == str(ann.id)
    assert record.changes == {
        "id": Change(ABSENT, ann.id),
        "name": Change(ABSENT, "Ann"),
        "credit": Change(ABSENT, Int64(2**40)),
        "born": Change(ABSENT, datetime(2000, 1, 1, 1, 1, 1, 123000)),
        "tags": Change(ABSENT, ["a"]),
        "extra": Change(ABSENT, {}),
        "address": Change(ABSENT, {"zip_code": "1"}),
        "lines": Change(ABSENT, [{"qty": 1}]),
    }


def test_a_change_is_recorded_with_the_value_that_was_loaded(records: Any) -> None:
    """A loaded document's old values are those of the SON it came from."""
    customer(age=4).save()
    records()
    loaded = Customer.objects.get()
    loaded.age = 5
    loaded.save()
    (record,) = records()
    assert record.operation == "update"
    assert record.changes == {"age": Change(4, 5)}


def test_a_document_can_be_saved_again_and_again(records: Any) -> None:
    """After a save the old values are what that save sent."""
    ann = customer(age=1).save()
    for age in (2, 3):
        ann.age = age
        ann.save()
    assert [changes(record).get("age") for record in records()] == [
        Change(ABSENT, 1),
        Change(1, 2),
        Change(2, 3),
    ]


def test_a_save_leaves_nothing_to_the_garbage_collector(records: Any) -> None:
    """It frees what it needed at once, or a process that saves a lot would wait for collections."""
    ann = customer(tags=["a"]).save()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        ann.name = "Eve"
        ann.save()
        gc.collect()
        left = [type(one) for one in gc.garbage if type(one).__module__.startswith("lifecycle")]
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
    assert left == []
    assert len(records()) == 2


def test_saving_an_unchanged_document_records_nothing(records: Any) -> None:
    """mongoengine sends no command then."""
    ann = customer().save()
    records()
    ann.save()
    assert records() == []


def test_a_value_set_and_set_back_is_no_change(records: Any) -> None:
    """mongoengine sends it all the same, but nothing changes."""
    customer(age=4).save()
    records()
    loaded = Customer.objects.get()
    loaded.age = 5
    loaded.age = 4
    loaded.save()
    assert records() == []


def test_what_is_unset_becomes_absent(records: Any) -> None:
    """None removes a field from the document."""
    ann = customer(age=4).save()
    records()
    ann.age = None
    ann.save()
    assert changes(records()[0]) == {"age": Change(4, ABSENT)}


def test_changes_inside_embedded_documents_have_paths_by_attribute_names(records: Any) -> None:
    """Whatever the fields are called in the database."""
    customer(address=Address(zip_code="1", street="x"), lines=[Line(qty=1), Line(qty=2)]).save()
    records()
    loaded = Customer.objects.get()
    loaded.address.zip_code = "2"
    loaded.lines[1].qty = 5
    loaded.save()
    assert changes(records()[0]) == {
        "address.zip_code": Change("1", "2"),
        "lines.1.qty": Change(2, 5),
    }


def test_an_embedded_document_that_was_not_there_is_recorded_as_a_whole(records: Any) -> None:
    """A path inside it would have nothing to be applied to."""
    mongo_id = customer().save().id
    records()
    loaded = Customer.objects.get(id=mongo_id)
    loaded.address = Address(street="x")
    loaded.save()
    assert changes(records()[0]) == {"address": Change(ABSENT, {"street": "x"})}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda tags: tags.append("d"), ListEdit((Splice(3, (), ("d",)),))),
        (lambda tags: tags.pop(0), ListEdit((Splice(0, ("a",), ()),))),
        (lambda tags: tags.insert(1, "x"), ListEdit((Splice(1, (), ("x",)),))),
    ],
)
def test_an_edit_of_a_list_is_recorded_as_an_edit(records: Any, edit: Any, expected: Any) -> None:
    """Not as two whole lists."""
    customer(tags=["a", "b", "c"]).save()
    records()
    loaded = Customer.objects.get()
    edit(loaded.tags)
    loaded.save()
    assert changes(records()[0]) == {"tags": expected}


def test_elements_of_lists_and_keys_of_dicts_have_paths(records: Any) -> None:
    """As mongoengine sends them."""
    customer(tags=["a", "b"], extra={"x": {"y": 1}}).save()
    records()
    loaded = Customer.objects.get()
    loaded.tags[1] = "c"
    loaded.extra["x"]["y"] = 2
    loaded.extra["new"] = 3
    loaded.save()
    assert changes(records()[0]) == {
        "tags.1": Change("b", "c"),
        "extra.x.y": Change(1, 2),
        "extra.new": Change(ABSENT, 3),
    }


def test_an_edit_that_mongoengine_does_not_send_is_not_recorded(records: Any) -> None:
    """An edit in place of a geo field is in memory only; the next save does not take it along."""
    customer(place=[1, 2]).save()
    records()
    loaded = Customer.objects.get()
    loaded.place[0] = 9
    loaded.age = 1
    with pytest.warns(LostEditWarning, match="a change of place of Customer"):
        loaded.save()
    assert changes(records()[0]) == {"age": Change(ABSENT, 1)}
    loaded.place = [9, 3]
    loaded.save()
    assert records()[0].changes.applied_to({"place": [1, 2]}) == {"place": [9, 3]}


def test_a_reference_is_recorded_as_its_id_without_a_query(
    records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither loading, saving nor recording asks for the document referred to."""
    ann = customer().save()
    Invoice(number="a", customer=ann).save()
    bob = customer(name="Bob").save()
    records()
    invoice = Invoice.objects.get()
    for name in ("find", "find_one", "aggregate"):
        monkeypatch.delattr(Collection, name)
    invoice.customer = bob
    invoice.save()
    assert changes(records()[0]) == {"customer": Change(ann.id, bob.id)}


def test_an_existing_key_makes_a_save_an_update_from_what_the_server_held(records: Any) -> None:
    """mongoengine replaces the document, and the server gives the one before back."""
    ann = customer(age=4, tags=["a"]).save()
    records()
    customer(id=ann.id, age=5).save()
    (record,) = records()
    assert record.operation == "update"
    assert changes(record) == {"age": Change(4, 5), "tags": Change(["a"], [])}


def test_a_key_that_does_not_exist_makes_a_save_an_insert(records: Any) -> None:
    """A key of one's own says nothing about what is in the database."""
    Invoice(number="b", total=1).save()
    (record,) = records()
    assert (record.operation, record.key) == ("insert", "b")
    assert changes(record) == {"number": Change(ABSENT, "b"), "total": Change(ABSENT, 1)}


def test_a_key_set_later_on_an_existing_document_leaves_old_values_unknown(records: Any) -> None:
    """mongoengine updates then without asking what was there."""
    ann = customer(age=4).save()
    records()
    other = customer(age=5)
    other.id = ann.id
    other.save()
    (record,) = records()
    assert record.operation == "update"
    assert changes(record)["age"] == Change(UNKNOWN, 5)


def test_a_key_set_later_that_does_not_exist_is_an_insert(records: Any) -> None:
    """mongoengine sends an upsert then."""
    ann = customer(age=5)
    ann.id = ObjectId()
    ann.save()
    (record,) = records()
    assert (record.operation, record.key) == ("insert", str(ann.id))
    assert changes(record)["age"] == Change(ABSENT, 5)


def test_saving_what_someone_else_has_deleted_is_an_insert_of_what_was_sent(
    records: Any, mongo: Database[Any]
) -> None:
    """mongoengine makes a document anew of the changed fields only."""
    ann = customer(age=4).save()
    mongo["customer"].delete_many({})
    records()
    ann.age = 5
    ann.save()
    (record,) = records()
    assert record.operation == "insert"
    assert changes(record) == {"id": Change(ABSENT, ann.id), "age": Change(ABSENT, 5)}


def test_a_forced_insert_is_an_insert(records: Any) -> None:
    """Of the whole document."""
    ann = customer(age=4).save()
    ann.delete()
    records()
    ann.save(force_insert=True)
    (record,) = records()
    assert record.operation == "insert"
    assert changes(record)["age"] == Change(ABSENT, 4)


def test_a_save_condition_that_does_not_hold_records_nothing(records: Any) -> None:
    """Nothing is written, and the document keeps its changes for the next save."""
    ann = customer(age=4).save()
    records()
    ann.age = 5
    with pytest.raises(mongoengine.errors.SaveConditionError):
        ann.save(save_condition={"age": 99})
    assert records() == []
    ann.save(save_condition={"age": 4})
    assert changes(records()[0]) == {"age": Change(4, 5)}


def test_an_invalid_document_records_nothing(records: Any) -> None:
    """mongoengine's own error comes through."""
    with pytest.raises(mongoengine.ValidationError, match="name"):
        Customer().save()
    assert records() == []


def test_a_duplicate_key_records_nothing(records: Any) -> None:
    """mongoengine's own error comes through."""
    Invoice(number="a").save()
    records()
    with pytest.raises(mongoengine.NotUniqueError):
        Invoice(number="a").save(force_insert=True)
    assert records() == []


def test_a_cascade_records_each_document_it_saves(records: Any) -> None:
    """The one referred to, and the owner."""
    ann = customer().save()
    invoice = Invoice(number="a", customer=ann).save()
    records()
    ann.age, invoice.total = 1, 2
    invoice.save(cascade=True)
    assert {record.entity: changes(record) for record in records()} == {
        "Customer": {"age": Change(ABSENT, 1)},
        "Invoice": {"total": Change(ABSENT, 2)},
    }


def test_a_delete_records_every_field_going(records: Any) -> None:
    """With the values that were loaded."""
    ann = customer(age=4, address=Address(zip_code="1")).save()
    records()
    Customer.objects.get().delete()
    (record,) = records()
    assert (record.operation, record.key, record.label) == ("delete", str(ann.id), "Ann")
    assert changes(record) == {
        "id": Change(ann.id, ABSENT),
        "name": Change("Ann", ABSENT),
        "age": Change(4, ABSENT),
        "credit": Change(0, ABSENT),
        "tags": Change([], ABSENT),
        "extra": Change({}, ABSENT),
        "address": Change({"zip_code": "1"}, ABSENT),
        "lines": Change([], ABSENT),
    }


def test_deleting_what_is_gone_records_nothing(records: Any, mongo: Database[Any]) -> None:
    """Nothing is written then."""
    ann = customer().save()
    mongo["customer"].delete_many({})
    records()
    ann.delete()
    assert records() == []


def test_deleting_a_document_that_was_not_loaded_leaves_old_values_unknown(records: Any) -> None:
    """Its fields are listed all the same."""
    Invoice(number="a", total=1).save()
    records()
    Invoice(number="a").delete()
    assert changes(records()[0]) == {
        "number": Change(UNKNOWN, ABSENT),
        "total": Change(UNKNOWN, ABSENT),
        "customer": Change(UNKNOWN, ABSENT),
    }


def test_what_was_written_is_recorded_even_if_the_save_then_fails(records: Any) -> None:
    """As when a handler of mongoengine's own signal raises after the write."""

    def fail(sender: object, document: object, **kwargs: object) -> None:
        raise ValueError("a handler of post_save")

    with signals.post_save.connected_to(fail), pytest.raises(ValueError, match="handler"):
        Invoice(number="a", total=1).save()
    assert [(record.operation, record.key) for record in records()] == [("insert", "a")]


def test_a_store_that_fails_is_loud_about_what_has_been_written(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names document, operation and cause, and the cause is chained."""

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(lifecycle.store, "append", fail)
    with pytest.raises(RecordingError) as raised:
        Invoice(number="a").save()
    assert str(raised.value) == (
        "Invoice a has been written (insert), but not recorded: disk full. "
        "`lifecycle reconcile` will record it"
    )
    assert isinstance(raised.value.__cause__, OSError)
    assert Invoice.objects.count() == 1


class OwnWay(mongoengine.Document):
    name = fields.StringField()

    def _save_create(self, doc: Any, force_insert: Any, write_concern: Any) -> Any:
        return self._get_collection().insert_one(doc).inserted_id


class StrangeWay(mongoengine.Document):
    name = fields.StringField()

    def _save_create(self, doc: Any, force_insert: Any, write_concern: Any) -> Any:
        return self._get_collection().replace_one({}, doc, upsert=True).upserted_id


def test_a_class_that_writes_its_own_way_is_recorded_all_the_same(records: Any) -> None:
    """As long as the writes are such as mongoengine makes."""
    own = OwnWay(name="x").save()
    assert changes(records()[0]) == {"id": Change(ABSENT, own.id), "name": Change(ABSENT, "x")}


def test_a_write_that_is_not_understood_is_not_let_through(records: Any) -> None:
    """It could not be recorded truthfully."""
    with pytest.raises(RecordingError, match=r"StrangeWay is saved or deleted by replace_one\(\)"):
        StrangeWay(name="x").save()
    assert StrangeWay.objects.count() == 0
    assert records() == []


def test_a_store_error_stays_one(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a caller can tell what failed."""

    def fail(*arguments: object) -> None:
        raise StoreUnreachable("no route to the store")

    monkeypatch.setattr(lifecycle.store, "append", fail)
    with pytest.raises(StoreError, match=r"has been written .* no route to the store"):
        Invoice(number="a").save()


@audited(mask={"secret"}, exclude={"noise"}, entity="vault.Vault")
class Vault(mongoengine.Document):
    secret = fields.StringField()
    noise = fields.IntField()


@not_audited
class Scratch(mongoengine.Document):
    name = fields.StringField()


def test_masked_values_are_not_stored_and_excluded_fields_not_mentioned(records: Any) -> None:
    """And a change of excluded fields alone leaves no record."""
    vault = Vault(secret="x", noise=1).save()
    vault.secret = "y"
    vault.save()
    vault.noise = 2
    vault.save()
    inserted, updated = records()
    assert inserted.entity == "vault.Vault"
    assert changes(inserted) == {"id": Change(ABSENT, vault.id), "secret": Change(ABSENT, MASKED)}
    assert changes(updated) == {"secret": Change(MASKED, MASKED)}


def test_a_class_that_is_not_audited_leaves_no_record(records: Any) -> None:
    """Its saves work as ever."""
    Scratch(name="x").save()
    assert Scratch.objects.get().name == "x"
    assert records() == []


class Animal(mongoengine.Document):
    name = fields.StringField()
    meta = {"allow_inheritance": True}


class Dog(Animal):
    barks = fields.BooleanField()


def test_classes_that_share_a_collection_share_an_entity(
    lifecycle: Lifecycle, records: Any
) -> None:
    """That of the class at the top, with the class of each document among its fields."""
    rex = Dog(name="Rex", barks=True).save()
    (record,) = records()
    assert record.entity == "Animal" == lifecycle.models.entity(Dog)
    assert changes(record)["_cls"] == Change(ABSENT, "Animal.Dog")
    loaded = Animal.objects.get()
    loaded.barks = False
    loaded.save()
    assert changes(records()[0]) == {"barks": Change(True, False)}
    assert len(list(lifecycle.history.of(rex))) == 2


class Loose(mongoengine.DynamicDocument):
    name = fields.StringField()


def test_fields_of_a_dynamic_document_are_recorded_by_name(records: Any) -> None:
    """Those it got, and those it lost."""
    loose = Loose(name="x", color="red").save()
    assert changes(records()[0])["color"] == Change(ABSENT, "red")
    loose = Loose.objects.get()
    loose.size = [1]
    del loose.color
    loose.save()
    assert changes(records()[0]) == {"size": Change(ABSENT, [1]), "color": Change("red", ABSENT)}
