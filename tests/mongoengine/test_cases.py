"""Cases of saving, one by one: what of each edit is told to hooks and recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mongoengine
import pytest
from mongoengine import fields, signals
from mongoengine.queryset import QuerySet
from pymongo.database import Database

from lifecycle import ABSENT, Change, Lifecycle, post_persist, post_update, pre_persist, pre_update
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.changes import ListEdit, Splice


class Knob(mongoengine.EmbeddedDocument):
    size = fields.IntField(db_field="s")
    marks = fields.DictField(db_field="m")


class Dial(mongoengine.Document):
    name = fields.StringField(db_field="n")
    level = fields.IntField(default=5, db_field="l")
    tags = fields.ListField(fields.StringField(), db_field="t")
    rows = fields.ListField(fields.ListField(fields.IntField()))
    extra = fields.DictField(db_field="x")
    counts = fields.MapField(fields.IntField())
    shelves = fields.MapField(fields.EmbeddedDocumentField(Knob))
    knob = fields.EmbeddedDocumentField(Knob, db_field="k")
    knobs = fields.EmbeddedDocumentListField(Knob, db_field="ks")
    next = fields.ReferenceField("self")
    lazy = fields.LazyReferenceField("self")
    others = fields.ListField(fields.ReferenceField("self"))


@pytest.fixture
def dial(lifecycle: Lifecycle) -> Dial:
    """One loaded from the database."""
    Dial(
        name="a",
        tags=["b", "a"],
        rows=[[1], [2, 3]],
        extra={"x": 1, "deep": {"list": [1, {"y": 2}]}},
        counts={"one": 1},
        shelves={"top": Knob(size=1)},
        knob=Knob(size=1, marks={"k": 1}),
        knobs=[Knob(size=1), Knob(size=2)],
    ).save()
    return Dial.objects.get()


def plus(dial: Dial) -> None:
    dial.tags += ["c"]


def times(dial: Dial) -> None:
    dial.tags *= 2


EDITS: list[tuple[str, Callable[[Any], Any], dict[str, Any]]] = [
    ("nothing", lambda d: None, {}),
    ("the same value", lambda d: setattr(d, "name", "a"), {}),
    ("there and back", lambda d: (setattr(d, "name", "x"), setattr(d, "name", "a")), {}),
    ("reading everything", lambda d: [getattr(d, name) for name in d], {}),
    ("a scalar", lambda d: setattr(d, "name", "x"), {"name": Change("a", "x")}),
    ("a value removed", lambda d: setattr(d, "name", None), {"name": Change("a", ABSENT)}),
    ("None where there is a default", lambda d: setattr(d, "level", None), {}),
    ("+=", plus, {"tags": ListEdit((Splice(2, (), ("c",)),))}),
    ("append", lambda d: d.tags.append("c"), {"tags": ListEdit((Splice(2, (), ("c",)),))}),
    ("extend", lambda d: d.tags.extend("cd"), {"tags": ListEdit((Splice(2, (), ("c", "d")),))}),
    ("insert", lambda d: d.tags.insert(1, "c"), {"tags": ListEdit((Splice(1, (), ("c",)),))}),
    ("pop", lambda d: d.tags.pop(), {"tags": ListEdit((Splice(1, ("a",), ()),))}),
    ("remove by value", lambda d: d.tags.remove("b"), {"tags": ListEdit((Splice(0, ("b",), ()),))}),
    ("del item", lambda d: d.tags.__delitem__(0), {"tags": ListEdit((Splice(0, ("b",), ()),))}),
    ("*=", times, {"tags": ListEdit((Splice(2, (), ("b", "a")),))}),
    ("reverse", lambda d: d.tags.reverse(), {"tags": Change(["b", "a"], ["a", "b"])}),
    (
        "slice",
        lambda d: d.tags.__setitem__(slice(0, 2), ["z"]),
        {"tags": Change(["b", "a"], ["z"])},
    ),
    ("item", lambda d: d.tags.__setitem__(1, "z"), {"tags.1": Change("a", "z")}),
    ("sort", lambda d: d.tags.sort(), {"tags": Change(["b", "a"], ["a", "b"])}),
    ("item of a list in a list", lambda d: d.rows[1].__setitem__(0, 9), {"rows.1.0": Change(2, 9)}),
    ("key", lambda d: d.extra.__setitem__("x", 2), {"extra.x": Change(1, 2)}),
    ("new key", lambda d: d.extra.setdefault("z", 2), {"extra.z": Change(ABSENT, 2)}),
    ("key gone", lambda d: d.extra.pop("x"), {"extra.x": Change(1, ABSENT)}),
    ("del key", lambda d: d.extra.__delitem__("x"), {"extra.x": Change(1, ABSENT)}),
    ("popitem", lambda d: d.counts.popitem(), {"counts": Change({"one": 1}, ABSENT)}),
    ("dict.clear()", lambda d: d.counts.clear(), {"counts": Change({"one": 1}, ABSENT)}),
    ("update", lambda d: d.extra.update(x=3), {"extra.x": Change(1, 3)}),
    (
        "deep inside",
        lambda d: d.extra["deep"]["list"][1].__setitem__("y", 3),
        {"extra.deep.list.1.y": Change(2, 3)},
    ),
    ("map", lambda d: d.counts.__setitem__("two", 2), {"counts.two": Change(ABSENT, 2)}),
    (
        "embedded in a map",
        lambda d: setattr(d.shelves["top"], "size", 2),
        {"shelves.top.size": Change(1, 2)},
    ),
    ("embedded", lambda d: setattr(d.knob, "size", 2), {"knob.size": Change(1, 2)}),
    (
        "dict in embedded",
        lambda d: d.knob.marks.__setitem__("k", 2),
        {"knob.marks.k": Change(1, 2)},
    ),
    (
        "embedded in a list",
        lambda d: setattr(d.knobs[1], "size", 3),
        {"knobs.1.size": Change(2, 3)},
    ),
    (
        "filter().update()",
        lambda d: d.knobs.filter(size=2).update(size=3),
        {"knobs.1.size": Change(2, 3)},
    ),
    (
        "create",
        lambda d: d.knobs.create(size=3),
        {"knobs": ListEdit((Splice(2, (), ({"size": 3, "marks": {}},)),))},
    ),
    (
        "append to a list of embedded",
        lambda d: d.knobs.append(Knob(size=3)),
        {"knobs": ListEdit((Splice(2, (), ({"size": 3, "marks": {}},)),))},
    ),
    (
        "filter().delete()",
        lambda d: d.knobs.filter(size=1).delete(),
        {"knobs": ListEdit((Splice(0, ({"size": 1, "marks": {}},), ()),))},
    ),
    (
        "remove",
        lambda d: d.knobs.remove(d.knobs[0]),
        {"knobs": ListEdit((Splice(0, ({"size": 1, "marks": {}},), ()),))},
    ),
]


@pytest.mark.parametrize(("case", "edit", "expected"), EDITS, ids=[case for case, *_ in EDITS])
def test_what_an_edit_changes_is_recorded(
    dial: Dial, records: Any, case: str, edit: Callable[[Any], Any], expected: dict[str, Any]
) -> None:
    """By path and element, in attribute names, as edits where that is smaller; else nothing."""
    records()
    edit(dial)
    dial.save()
    assert [dict(record.changes) for record in records()] == ([expected] if expected else [])


@pytest.mark.parametrize(("case", "edit", "expected"), EDITS, ids=[case for case, *_ in EDITS])
def test_hooks_are_told_the_same_before_and_after_an_edit_is_written(
    lifecycle: Lifecycle,
    dial: Dial,
    case: str,
    edit: Callable[[Any], Any],
    expected: dict[str, Any],
) -> None:
    """And nothing when nothing is going to change."""
    told: list[Any] = []

    @lifecycle.subscribe
    @pre_update(Dial)
    @post_update(Dial)
    def note(event: Any) -> None:
        told.append((str(event.moment), dict(event.changes)))

    edit(dial)
    dial.save()
    assert [moment for moment, _ in told] == (["pre_update", "post_update"] if expected else [])
    if expected:
        assert told[0][1] == told[1][1]
        assert {path.split(".")[0] for path in told[0][1]} == {
            path.split(".")[0] for path in expected
        }


EMPTIED: list[tuple[str, Callable[[Any], Any], dict[str, Any]]] = [
    ("list", lambda d: setattr(d, "tags", []), {"tags": []}),
    ("dict", lambda d: setattr(d, "extra", None), {"extra": {}}),
    ("map", lambda d: d.counts.pop("one"), {"counts": {}}),
    ("embedded", lambda d: d.knob.marks.pop("k"), {"knob.marks": {}}),
    ("as it was", lambda d: d.others.append(d) or d.others.pop(), {}),
]


@pytest.mark.parametrize(("case", "edit", "expected"), EMPTIED, ids=[case for case, *_ in EMPTIED])
def test_hooks_see_what_has_become_empty_as_the_document_does(
    lifecycle: Lifecycle,
    dial: Dial,
    records: Any,
    case: str,
    edit: Callable[[Any], Any],
    expected: dict[str, Any],
) -> None:
    """Before and after the write, by which mongoengine takes it from the database."""
    told: list[Any] = []

    @lifecycle.subscribe
    @pre_update(Dial)
    @post_update(Dial)
    def note(event: Any) -> None:
        told.append({name: event.changes.new(name) for name in event.changes})

    records()
    edit(dial)
    dial.save()
    assert told == ([expected, expected] if expected else [])
    assert [change.new for record in records() for change in record.changes.values()] == [ABSENT]


@pytest.mark.parametrize(
    ("edit", "field", "was", "then"),
    [
        (lambda d: setattr(d, "tags", []), "tags", ["b", "a"], ["z"]),
        (lambda d: d.counts.clear(), "counts", {"one": 1}, {"two": 2}),
        (lambda d: setattr(d.knob, "marks", {}), "knob.marks", {"k": 1}, {"z": 1}),
    ],
)
def test_a_list_or_map_that_is_not_stored_is_an_empty_one_to_hooks(
    lifecycle: Lifecycle,
    dial: Dial,
    edit: Callable[[Any], Any],
    field: str,
    was: Any,
    then: Any,
) -> None:
    """Before and after the write, and as an old value: mongoengine stores no empty ones."""
    told: list[Any] = []

    @lifecycle.subscribe
    @pre_update(Dial)
    @post_update(Dial)
    def note(event: Any) -> None:
        told.append(dict(event.changes))

    edit(dial)
    dial.save()
    empty = type(was)()
    assert told == [{field: Change(was, empty)}] * 2
    told.clear()
    found = Dial.objects.get()
    *owner, name = field.split(".")
    setattr(found.knob if owner else found, name, then)
    found.save()
    assert told == [{field: Change(empty, then)}] * 2


def test_a_field_deleted_goes_back_to_its_default(dial: Dial, records: Any) -> None:
    """mongoengine assigns it."""
    dial.level = 9
    dial.save()
    records()
    del dial.level
    dial.save()
    assert dial.level == 5
    assert [dict(record.changes) for record in records()] == [{"level": Change(9, 5)}]


def test_references_of_every_kind_are_recorded_by_id(dial: Dial, records: Any) -> None:
    """Nothing is loaded for it; what happens to the other document is nothing to the owner."""
    other = Dial(name="other").save()
    records()
    dial.next, dial.lazy, dial.others = other, other, [other]
    dial.save()
    (record,) = records()
    assert dict(record.changes) == {
        "next": Change(ABSENT, other.id),
        "lazy": Change(ABSENT, other.id),
        "others": Change([], [other.id]),
    }
    found = Dial.objects.get(id=dial.id)
    found.next.name = "changed"
    assert found.lazy.fetch().name == "other"
    found.save()
    assert records() == []
    found.next.save()
    assert [record.key for record in records()] == [str(other.id)]


class Signpost(mongoengine.Document):
    kept = fields.CachedReferenceField(Dial, fields=["name"])


def test_a_reference_with_a_copy_is_recorded_with_it(
    dial: Dial, records: Any, mongo: Database[Any]
) -> None:
    """As it is stored; followed, or assigned anew, it is no change."""
    Signpost(kept=dial).save()
    other = Dial(name="other").save()
    records()
    found = Signpost.objects.get()
    found.kept = other
    found.save()
    (record,) = records()
    assert dict(record.changes) == {
        "kept._id": Change(dial.id, other.id),
        "kept.n": Change("a", "other"),
    }
    followed = Signpost.objects.get()
    assert followed.kept.level == 5
    followed.kept = other
    followed.save()
    assert records() == []


class Sharded(mongoengine.Document):
    region = fields.StringField(db_field="r")
    name = fields.StringField()
    meta = {"shard_key": ("region",)}


def test_a_document_of_a_sharded_collection_is_recorded(records: Any) -> None:
    """Its shard key goes into the filter of its writes, and cannot be changed."""
    Sharded(region="north", name="a").save()
    found = Sharded.objects.get()
    found.name = "b"
    found.save()
    with pytest.raises(mongoengine.OperationError, match="immutable"):
        found.region = "south"
    found.delete()
    assert [dict(record.changes) for record in records()] == [
        {
            "id": Change(ABSENT, found.id),
            "region": Change(ABSENT, "north"),
            "name": Change(ABSENT, "a"),
        },
        {"name": Change("a", "b")},
        {
            "id": Change(found.id, ABSENT),
            "region": Change("north", ABSENT),
            "name": Change("b", ABSENT),
        },
    ]


class Freehand(mongoengine.DynamicEmbeddedDocument):
    size = fields.IntField(db_field="s")


class Easel(mongoengine.Document):
    sheet = fields.EmbeddedDocumentField(Freehand)
    any = fields.GenericEmbeddedDocumentField()


def test_embedded_documents_of_any_kind_are_recorded_inside(records: Any) -> None:
    """Their undeclared fields, too."""
    Easel(sheet=Freehand(size=1, color="red"), any=Freehand(size=1)).save()
    records()
    found = Easel.objects.get()
    found.sheet.color = "blue"
    found.sheet.ink = "dry"
    found.any.size = 2
    found.save()
    (record,) = records()
    assert dict(record.changes) == {
        "sheet.color": Change("red", "blue"),
        "sheet.ink": Change(ABSENT, "dry"),
        "any.size": Change(1, 2),
    }


def test_a_handler_that_raises_after_the_write_leaves_it_written_and_recorded(
    dial: Dial, records: Any
) -> None:
    """As mongoengine does, it lets the error through."""

    def fail(sender: object, **kwargs: object) -> None:
        raise ValueError("a handler of post_save")

    records()
    dial.name = "x"
    with signals.post_save.connected_to(fail), pytest.raises(ValueError, match="a handler"):
        dial.save()
    assert Dial.objects.get().name == "x"
    assert [dict(record.changes) for record in records()] == [{"name": Change("a", "x")}]


def test_a_handler_that_raises_before_the_write_keeps_it_from_being_made(
    dial: Dial, records: Any
) -> None:
    """mongoengine's own signals do what they did."""

    def fail(sender: object, **kwargs: object) -> None:
        raise ValueError("a handler of pre_save")

    records()
    dial.name = "x"
    with signals.pre_save.connected_to(fail), pytest.raises(ValueError, match="a handler"):
        dial.save()
    assert records() == []
    assert Dial.objects.get().name == "a"
    dial.save()
    assert len(records()) == 1


def test_what_someone_else_has_deleted_is_told_as_the_insert_it_turned_out_to_be(
    lifecycle: Lifecycle, dial: Dial, mongo: Database[Any]
) -> None:
    """Before the write it looks like an update."""
    told: list[str] = []

    @lifecycle.subscribe
    @pre_persist(Dial)
    @pre_update(Dial)
    @post_persist(Dial)
    @post_update(Dial)
    def note(event: Any) -> None:
        told.append(str(event.moment))

    mongo["dial"].delete_many({})
    dial.name = "x"
    dial.save()
    assert told == ["pre_update", "post_persist"]


def test_a_save_without_validation_has_its_hooks(lifecycle: Lifecycle, records: Any) -> None:
    """Only clean() and validation are left out."""

    @lifecycle.subscribe
    @pre_persist(Dial)
    def name_it(event: Any) -> None:
        event.instance.name = "hooked"

    Dial(level=1).save(validate=False)
    assert Dial.objects.get().name == "hooked"
    assert records()[0].changes["name"] == Change(ABSENT, "hooked")


# --- classes of every kind ------------------------------------------------------------------


class Choosy(QuerySet):
    def named(self) -> Any:
        return self.filter(name__ne=None)


class Odd(mongoengine.Document):
    """With options that change what mongoengine does."""

    name = fields.StringField(db_field="n")
    meta = {
        "queryset_class": Choosy,
        "collection": "odd_ones",
        "strict": False,
        "ordering": ["-name"],
        "indexes": ["name"],
        "auto_create_index": False,
        "index_background": True,
        "cascade": True,
    }


class Open(mongoengine.DynamicDocument):
    name = fields.StringField()


def test_a_class_with_options_and_its_own_querysets_is_hooked_and_recorded(
    lifecycle: Lifecycle, records: Any, mongo: Database[Any]
) -> None:
    """Its querysets, collection and order are its own, and unknown fields stay where they are."""
    mongo["odd_ones"].insert_one({"n": "a", "unknown": 1})
    odd = Odd.objects.named().get()
    odd.name = "b"
    odd.save()
    assert mongo["odd_ones"].find_one({}, {"_id": 0}) == {"n": "b", "unknown": 1}
    (record,) = records()
    assert (record.entity, dict(record.changes)) == ("Odd", {"name": Change("a", "b")})
    odd.delete()
    assert records()[0].changes["unknown"] == Change(1, ABSENT)


def test_hooks_of_a_dynamic_document_may_set_any_field(lifecycle: Lifecycle, records: Any) -> None:
    """Declared or not."""

    @lifecycle.subscribe
    @pre_persist(Open)
    @pre_update(Open)
    def color(event: Any) -> None:
        event.instance.color = "red" if event.operation == "insert" else "blue"

    one = Open(name="x").save()
    one.name = "y"
    one.save()
    assert Open.objects.get().color == "blue"
    assert [record.changes["color"] for record in records()] == [
        Change(ABSENT, "red"),
        Change("red", "blue"),
    ]


def test_installing_connects_nothing_to_the_signals_of_mongoengine(mongo: object) -> None:
    """A receiver of its delete signals would make a delete of many one of each."""

    def receivers() -> dict[str, set[Any]]:
        return {name: set(getattr(signals, name).receivers) for name in signals.__all__}

    before, lifecycle = receivers(), Lifecycle(store=MemoryStore())
    lifecycle.install(mongoengine)
    try:
        assert receivers() == before
    finally:
        lifecycle.uninstall(mongoengine)
