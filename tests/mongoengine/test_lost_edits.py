"""Edits in place that mongoengine loses: warned of, and not recorded as if they had happened."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from typing import Any

import mongoengine
import pytest
from mongoengine import fields

from lifecycle import Lifecycle, not_audited, pre_load
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import LostEditWarning


class Stop(mongoengine.EmbeddedDocument):
    name = fields.StringField(default="nowhere")
    at = fields.DateTimeField(default=datetime.now)
    price = fields.DecimalField(precision=2)


class Trip(mongoengine.Document):
    title = fields.StringField()
    tags = fields.ListField(fields.StringField())
    prices = fields.ListField(fields.DecimalField(precision=2))
    extra = fields.DictField()
    anything = fields.DynamicField()
    place = fields.GeoPointField()
    stop = fields.EmbeddedDocumentField(Stop)
    stops = fields.EmbeddedDocumentListField(Stop)
    by_name = fields.MapField(fields.IntField())


class LooseTrip(mongoengine.DynamicDocument):
    name = fields.StringField()


@not_audited
class Unwatched(mongoengine.Document):
    tags = fields.ListField(fields.StringField())


@pytest.fixture
def trip(lifecycle: Lifecycle) -> Trip:
    """One loaded from the database."""
    Trip(
        title="x",
        tags=["a"],
        prices=["1.10"],
        extra={"a": 1},
        anything={"k": [1]},
        place=[1, 2],
        stop=Stop(name="s"),
        stops=[Stop(name="t")],
    ).save()
    return Trip.objects.get()


def merged(trip: Trip) -> None:
    trip.extra |= {"b": 2}


EDITS: list[tuple[str, Any]] = [
    ("tags", lambda trip: trip.tags.clear()),
    ("extra", merged),
    ("anything", lambda trip: trip.anything["k"].append(2)),
    ("place", lambda trip: trip.place.__setitem__(0, 9)),
]


@pytest.mark.parametrize("other_change", [False, True])
@pytest.mark.parametrize(("field", "edit"), EDITS)
def test_an_edit_that_is_not_saved_is_warned_of(
    trip: Trip, records: Any, field: str, edit: Any, other_change: bool
) -> None:
    """Once, naming field and document, at the line that saves; the record does not have it."""
    records()
    stored = next(iter(Trip.objects.as_pymongo()))
    edit(trip)
    if other_change:
        trip.title = "y"
    with pytest.warns(LostEditWarning) as warned:
        trip.save()
    (warning,) = warned
    assert str(warning.message) == (
        f"a change of {field} of Trip {trip.id} was not saved, for it was made in place in a way "
        "that mongoengine does not notice: assign a new value to the field instead"
    )
    assert warning.filename == __file__
    assert next(iter(Trip.objects.as_pymongo()))[field] == stored[field]
    assert [set(record.changes) for record in records()] == ([{"title"}] if other_change else [])


@pytest.mark.parametrize("beside", [{}, {"q": 5}, {"q": [1]}])
def test_an_edit_inside_a_dynamic_document_is_warned_of(
    lifecycle: Lifecycle, records: Any, beside: dict[str, Any]
) -> None:
    """mongoengine marks another field than the one that was edited, which may be there as well."""
    LooseTrip(name="x", z={"q": [1]}, **beside).save()
    loose = LooseTrip.objects.get()
    loose.z["q"].append(2)
    records()
    with pytest.warns(
        LostEditWarning, match=f"a change of z of LooseTrip {loose.id} was not saved"
    ):
        loose.save()
    stored = LooseTrip.objects.exclude("id").as_pymongo().get()
    assert stored == {"name": "x", "z": {"q": [1]}, **beside}
    assert records() == []


TRACKED: list[Any] = [
    lambda trip: trip.tags.append("b"),
    lambda trip: trip.tags.__setitem__(0, "b"),
    lambda trip: trip.tags.pop(),
    lambda trip: setattr(trip, "tags", []),
    lambda trip: trip.extra.update(b=2),
    lambda trip: trip.extra.pop("a"),
    lambda trip: setattr(trip, "place", [5, 6]),
    lambda trip: setattr(trip, "anything", {"k": [1, 2]}),
    lambda trip: setattr(trip.stop, "name", "new"),
    lambda trip: trip.stops.append(Stop(price="1.1")),
    lambda trip: trip.stops.pop(),
    lambda trip: setattr(trip, "stop", None),
    lambda trip: trip.by_name.__setitem__("a", 1),
    lambda trip: setattr(trip, "title", "y"),
]


@pytest.mark.parametrize("edit", TRACKED)
def test_nothing_is_said_of_what_is_saved(trip: Trip, edit: Any) -> None:
    """Warnings are errors here."""
    edit(trip)
    trip.save()
    trip.save()


def test_nothing_is_said_of_what_a_load_makes_of_old_data(lifecycle: Lifecycle) -> None:
    """Defaults of fields that are not stored, and values stored in another form."""
    Trip._get_collection().insert_one(
        {"prices": ["1.1", 2], "stop": {"price": 3}, "stops": [{}], "by_name": {"a": 1.0}}
    )
    trip = Trip.objects.get()
    trip.title = "y"
    trip.save()


def test_nothing_is_said_of_a_document_loaded_in_part(trip: Trip) -> None:
    """Of what was not loaded nothing is known."""
    found = Trip.objects.only("title").get()
    found.title = "y"
    found.save()


def test_nothing_is_said_of_what_pre_load_has_replaced(lifecycle: Lifecycle, trip: Trip) -> None:
    """It differs from the database on purpose."""

    @lifecycle.subscribe
    @pre_load(Trip)
    def before(event: Any) -> None:
        event.data["tags"] = ["made", "up"]
        del event.data["extra"]

    found = Trip.objects.get()
    found.title = "y"
    found.save()
    found.title = "z"
    found.save()


def test_nothing_is_said_of_what_an_update_of_the_document_has_changed(trip: Trip) -> None:
    """Which leaves the document in memory as it was."""
    trip.update(set__tags=["b"], unset__extra=1)
    trip.title = "y"
    trip.save()
    trip.tags = ["c"]
    trip.save()
    trip.tags.clear()
    with pytest.warns(LostEditWarning, match="change of tags"):
        trip.save()


@pytest.fixture
def strictly(mongo: object) -> Iterator[Lifecycle]:
    """A Lifecycle whose old values come from each write itself."""
    lifecycle = Lifecycle(store=MemoryStore(), strict=True)
    lifecycle.install(mongoengine)
    yield lifecycle
    lifecycle.uninstall(mongoengine)


def test_nothing_is_said_of_what_others_have_changed_meanwhile(strictly: Lifecycle) -> None:
    """Which the save has found, though it did not touch it."""
    Trip(tags=["a"], extra={"a": 1}).save()
    trip, part, copy = Trip.objects.get(), Trip.objects.only("title").get(), Trip.objects.get()
    copy = deepcopy(copy)
    Trip.objects.update(set__tags=["b"], set__extra={"a": 2, "b": 3}, unset__place=1)
    for stale in (trip, part, copy):
        stale.title = f"{stale.title}y"
        stale.save()


def test_an_edit_that_is_lost_is_warned_of_beside_what_others_have_changed(
    strictly: Lifecycle,
) -> None:
    """And again when a field that others have changed is saved, and then edited in place."""
    Trip(tags=["a"], extra={"a": 1}).save()
    trip = Trip.objects.get()
    Trip.objects.update(set__tags=["b"])
    trip.title = "y"
    merged(trip)
    with pytest.warns(LostEditWarning, match="change of extra") as warned:
        trip.save()
    assert len(warned) == 1
    trip.tags = ["c"]
    trip.extra = {}
    trip.save()
    trip.tags.clear()
    with pytest.warns(LostEditWarning, match="change of tags"):
        trip.save()


def test_nothing_is_said_of_what_a_document_lacks_that_was_deleted_meanwhile(
    lifecycle: Lifecycle, trip: Trip
) -> None:
    """mongoengine has made it anew of the changes alone."""
    Trip.objects.delete()
    for title in ("y", "z"):
        trip.title = title
        trip.save()


def test_nothing_is_compared_of_classes_that_nobody_wants(lifecycle: Lifecycle) -> None:
    """Neither the log nor a hook."""
    Unwatched(tags=["a"]).save()
    found = Unwatched.objects.get()
    found.tags.clear()
    found.save()
    assert Unwatched.objects.get().tags == ["a"]
