"""BSON values in the log: each comes back exactly."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import bson
import mongoengine
import pytest
from bson import (
    Binary,
    Code,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from hypothesis import given
from hypothesis import strategies as st
from mongoengine import fields
from pymongo import MongoClient
from pymongo.database import Database

from lifecycle import Lifecycle, Veto, codec, pre_update
from lifecycle.changes import same
from lifecycle.mappers.mongoengine.fields import logged, python
from lifecycle.mappers.mongoengine.values import as_stored, copied

ID = ObjectId("64b0c0ffee0000000000cafe")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (ID, {"$oid": "64b0c0ffee0000000000cafe"}),
        (Decimal128("1.10"), {"$numberDecimal": "1.10"}),
        (Decimal128("NaN"), {"$numberDecimal": "NaN"}),
        (Int64(2**40), {"$numberLong": "1099511627776"}),
        (Binary(b"\x00\xff", 128), {"$binary": {"base64": "AP8=", "subType": "80"}}),
        (b"\x00\xff", {"$bytes": "AP8="}),
        (Timestamp(7, 2), {"$timestamp": {"t": 7, "i": 2}}),
        (MinKey(), {"$minKey": 1}),
        (MaxKey(), {"$maxKey": 1}),
        (Regex("^a", "i"), {"$regularExpression": {"pattern": "^a", "options": re.I}}),
        (Code("f()"), {"$code": {"code": "f()", "scope": None}}),
        (Code("f()", {"x": ID}), {"$code": {"code": "f()", "scope": {"x": {"$oid": str(ID)}}}}),
        (
            DBRef("users", ID, "app", note=1),
            {
                "$ref": {
                    "collection": "users",
                    "id": {"$oid": str(ID)},
                    "database": "app",
                    "extra": {"note": 1},
                }
            },
        ),
    ],
)
def test_a_bson_value_goes_into_the_log_and_comes_back(value: Any, encoded: Any) -> None:
    """In the manner of MongoDB Extended JSON."""
    assert codec.encode(value) == encoded
    back = codec.loads(codec.dumps(value))
    assert type(back) is type(value)
    assert same(back, value)
    assert back == value or value == Decimal128("NaN")


def test_integers_of_different_bson_types_are_not_the_same() -> None:
    """The database tells them apart too."""
    assert not same(Int64(5), 5)
    assert not same(ID, str(ID))


bson_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
    | st.uuids()
    | st.binary(min_size=12, max_size=12).map(ObjectId)
    | st.decimals(allow_nan=False, places=3, min_value=-(10**9), max_value=10**9).map(Decimal128),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc.$", min_size=1), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc", min_size=1), bson_values, max_size=4))
def test_what_is_stored_is_what_a_load_gives_and_the_log_keeps(document: dict[str, Any]) -> None:
    """Reading it again, or out of the log, changes nothing more."""
    stored = as_stored(document)
    assert same(as_stored(stored), stored)
    assert same(codec.loads(codec.dumps(stored)), stored)
    assert same(copied(stored), stored)


def test_what_is_stored_is_what_the_server_would_give_back() -> None:
    """Milliseconds, no zone, lists for tuples, and Int64 for what needs it."""
    east = timezone(timedelta(hours=1))
    stored = as_stored(
        {"at": datetime(2020, 1, 1, 1, 0, 0, 123456, east), "pair": (1, 2**40), "x": bson.SON(a=1)}
    )
    assert stored == {
        "at": datetime(2020, 1, 1, 0, 0, 0, 123000),
        "pair": [1, 2**40],
        "x": {"a": 1},
    }
    assert type(stored["pair"][1]) is Int64
    assert type(stored["x"]) is dict


# --- along the fields -----------------------------------------------------------------------


class Color(Enum):
    RED = "r"


class Base(mongoengine.EmbeddedDocument):
    name = fields.StringField(db_field="n")
    meta = {"allow_inheritance": True}


class Derived(Base):
    amount = fields.DecimalField(db_field="am")


class Sample(mongoengine.Document):
    number = fields.IntField()
    amount = fields.DecimalField(precision=2)
    day = fields.DateField()
    color = fields.EnumField(Color)
    uid = fields.UUIDField()
    near = fields.ReferenceField("self")
    far = fields.ReferenceField("self", dbref=True)
    lazy = fields.LazyReferenceField("self")
    any = fields.GenericReferenceField()
    one = fields.EmbeddedDocumentField(Base, db_field="o")
    generic = fields.GenericEmbeddedDocumentField()
    several = fields.ListField(fields.EmbeddedDocumentField(Base))
    by_name = fields.MapField(fields.EmbeddedDocumentField(Base))
    refs = fields.ListField(fields.ReferenceField("self"))
    free = fields.DynamicField()


DERIVED = {"_cls": "Base.Derived", "n": "x", "am": 1.5}
DERIVED_LOGGED = {"_cls": "Base.Derived", "name": "x", "amount": 1.5}
DERIVED_PYTHON = {"_cls": "Base.Derived", "name": "x", "amount": Decimal("1.50")}
REFERENCE = {"_cls": "Sample", "_ref": DBRef("sample", ID)}


@pytest.mark.parametrize(
    ("name", "stored", "in_log", "for_hooks"),
    [
        ("number", Int64(2**40), Int64(2**40), 2**40),
        ("amount", 1.5, 1.5, Decimal("1.50")),
        ("day", datetime(2020, 1, 2), datetime(2020, 1, 2), date(2020, 1, 2)),
        ("color", "r", "r", Color.RED),
        ("color", "unknown", "unknown", "unknown"),
        ("uid", UUID(int=1), UUID(int=1), UUID(int=1)),
        ("near", ID, ID, ID),
        ("far", DBRef("sample", ID), DBRef("sample", ID), ID),
        ("lazy", ID, ID, ID),
        ("any", REFERENCE, REFERENCE, REFERENCE),
        ("one", DERIVED, DERIVED_LOGGED, DERIVED_PYTHON),
        ("generic", DERIVED, DERIVED_LOGGED, DERIVED_PYTHON),
        ("generic", {"_cls": "Gone", "n": 1}, {"_cls": "Gone", "n": 1}, {"_cls": "Gone", "n": 1}),
        ("several", [DERIVED], [DERIVED_LOGGED], [DERIVED_PYTHON]),
        ("by_name", {"n": DERIVED}, {"n": DERIVED_LOGGED}, {"n": DERIVED_PYTHON}),
        ("refs", [ID], [ID], [ID]),
        ("free", {"n": [1]}, {"n": [1]}, {"n": [1]}),
        ("free", None, None, None),
    ],
)
def test_a_value_is_plain_in_the_log_and_of_python_types_for_hooks(
    name: str, stored: Any, in_log: Any, for_hooks: Any
) -> None:
    """Embedded documents by attribute names, references by id, and nothing asked of a server."""
    field = Sample._fields[name]
    assert same(logged(field, stored), in_log)
    given = python(field, stored)
    assert given == for_hooks
    assert type(given) is type(for_hooks)


class Everything(mongoengine.Document):
    precise = fields.Decimal128Field()
    uid = fields.UUIDField()
    any = fields.GenericReferenceField()


class Pointing(mongoengine.Document):
    title = fields.StringField()
    any = fields.GenericReferenceField()
    several = fields.ListField(fields.GenericReferenceField())
    lazy = fields.GenericLazyReferenceField()
    meta = {"collection": "pointing"}


def test_generic_references_are_compared_by_what_is_stored(
    lifecycle: Lifecycle, mongo: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook sees class and id, and nothing is asked of the server to tell that."""
    told: list[Any] = []

    @lifecycle.subscribe
    @pre_update(Pointing)
    def look(event: Any) -> None:
        told.append({name: (change.old, change.new) for name, change in event.changes.items()})
        event.veto("nx-27017 cannot store a DBRef")

    one, other = Pointing(title="one").save(), Pointing(title="other").save()
    reference = {"_cls": "Pointing", "_ref": DBRef("pointing", other.id)}
    found = Pointing.objects.get(id=one.id)
    found.any, found.several, found.lazy = other, [other], other
    monkeypatch.setattr(MongoClient, "_retry_internal", None)  # from here on nothing can be sent
    with pytest.raises(Veto):
        found.save()
    assert told == [
        {"any": (None, reference), "several": ([], [reference]), "lazy": (None, reference)}
    ]

    son = {"_id": one.id, "title": "one", "any": reference, "several": [reference]}
    found = Pointing._from_son(son)
    found.any, found.several = None, []
    with pytest.raises(Veto):
        found.save()
    monkeypatch.undo()
    assert [new for _, new in told[-1].values()] == [None, []]


@pytest.mark.real_mongodb("Decimal128, DBRef and native UUIDs")
def test_values_of_every_type_are_recorded_as_they_are_stored(
    mongo: Database[Any], records: Any
) -> None:
    """And a load after it finds nothing changed."""
    first = Everything(precise=Decimal("1.10"), uid=UUID(int=1)).save()
    Everything(any=first).save()
    for record in records():
        stored = mongo["everything"].find_one({"_id": record.changes.new("id")})
        assert stored is not None
        stored["id"] = stored.pop("_id")
        assert same(record.changes.applied_to({}), stored)


def test_datetimes_are_recorded_as_stored_whatever_their_zone(records: Any) -> None:
    """MongoDB keeps UTC, without a zone."""

    class Event(mongoengine.Document):
        at = fields.DateTimeField()

    Event(at=datetime(2020, 1, 1, tzinfo=UTC)).save()
    assert records()[0].changes.new("at") == Event.objects.get().at == datetime(2020, 1, 1)
