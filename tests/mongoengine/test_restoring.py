"""Putting documents back."""

from __future__ import annotations

from typing import Any

import pytest
from mongoengine import (
    DENY,
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    IntField,
    ListField,
    ReferenceField,
    StringField,
)

from lifecycle import Lifecycle, acting, audited
from lifecycle.audit.records import Record
from lifecycle.changes import Change
from lifecycle.errors import RestoreConflict


class PutPart(EmbeddedDocument):
    """Something inside a document, by other names than its attributes have."""

    sku = StringField(db_field="s")
    count = IntField(db_field="c")


@audited(entity="put.Maker")
class PutMaker(Document):
    """What others refer to."""

    number = IntField(primary_key=True)  # nx-27017 finds no references that are ObjectIds
    name = StringField(unique=True)
    meta = {"collection": "put_maker", "allow_inheritance": True}


class PutWorkshop(PutMaker):
    """A class that inherits from it."""

    city = StringField()


@audited(entity="put.Box")
class PutBox(Document):
    """A document with everything inside."""

    title = StringField(db_field="t")
    part = EmbeddedDocumentField(PutPart)
    parts = ListField(EmbeddedDocumentField(PutPart))
    maker = ReferenceField(PutMaker, reverse_delete_rule=DENY)
    meta = {"collection": "put_box"}


def raw(cls: Any) -> list[dict[str, Any]]:
    """What the collection holds."""
    return list(cls._get_collection().find().sort("_id"))


def last(lifecycle: Lifecycle) -> Record:
    """The newest record."""
    return next(lifecycle.history.find())


def a_box(**values: Any) -> PutBox:
    """A saved document with something in every field."""
    given = {
        "title": "box",
        "part": PutPart(sku="a", count=1),
        "parts": [PutPart(sku="b", count=2), PutPart(sku="c", count=3)],
    }
    return PutBox(**{**given, **values}).save()


def test_undo_inverts_a_change_inside_a_document(lifecycle: Lifecycle) -> None:
    """Later changes to other fields stay; the way back is a record that says so."""
    box = a_box()
    before = raw(PutBox)
    box.part.count = 5
    box.parts[1].sku = "d"
    box.save()
    change = last(lifecycle)
    after = raw(PutBox)

    with acting("ann"):
        restored = lifecycle.restore.undo(change)

    assert raw(PutBox) == before
    assert last(lifecycle).reason == f"undo record {change.id} of put.Box {box.id}"
    assert last(lifecycle).revision.group == restored.group
    lifecycle.restore.undo(restored)
    assert raw(PutBox) == after


def test_undo_takes_away_a_field_that_was_not_there(lifecycle: Lifecycle) -> None:
    """A document may be without a field, which is not the same as none of a value."""
    box = PutBox(title="box").save()
    before = raw(PutBox)
    box.part = PutPart(sku="x")
    box.save()
    lifecycle.restore.undo(last(lifecycle))
    assert raw(PutBox) == before


def test_a_deleted_document_comes_back_as_it_was(lifecycle: Lifecycle) -> None:
    """With its key, its class and all that is inside."""
    maker = PutWorkshop(number=1, name="m", city="Graz").save()
    box = a_box(maker=maker)
    before = raw(PutBox), raw(PutMaker)
    box.delete()
    maker.delete()

    (step,) = lifecycle.restore.preview(undelete=(PutMaker, maker.number)).steps
    assert step.changes.new("city") == "Graz"
    lifecycle.restore.undelete(PutMaker, maker.number)
    lifecycle.restore.undelete("put.Box", str(box.id))
    assert (raw(PutBox), raw(PutMaker)) == before
    assert not lifecycle.restore.undelete(PutBox, box.id)


def test_to_makes_a_document_what_it_was(lifecycle: Lifecycle) -> None:
    """Whatever happened since, fields it did not have then included."""
    box = PutBox(title="box").save()
    version = last(lifecycle)
    box.title = "other"
    box.save()
    box.parts = [PutPart(sku="x")]
    box.save()
    assert lifecycle.restore.to(version)
    (found,) = PutBox.objects
    assert (found.title, found.parts) == ("box", [])
    assert not lifecycle.restore.to(version)


def test_nothing_is_put_back_onto_another_document_that_has_the_key(lifecycle: Lifecycle) -> None:
    """A document that was saved anew is another one; one that was brought back is not."""
    box = PutBox(title="box").save()
    box.delete()
    gone, made = lifecycle.history.of(PutBox, box.id)
    other = PutBox(id=box.id, title="other").save()
    (conflict,) = lifecycle.restore.preview(to=made).conflicts
    assert conflict.kind == "exists"
    with pytest.raises(RestoreConflict, match="another object has its key, with another title"):
        lifecycle.restore.to(made)
    assert PutBox.objects.get().title == "other"
    other.delete()
    lifecycle.restore.undo(gone)
    PutBox.objects.get().update(title="new")
    assert lifecycle.restore.to(made)


def test_what_is_in_the_way_is_said_before_anything_is_written(lifecycle: Lifecycle) -> None:
    """Changed since, gone, a reference gone, referred to, a unique value taken."""
    maker = PutMaker(number=1, name="m").save()
    made = last(lifecycle)
    box = a_box(maker=maker)
    box.title = "b"
    box.save()
    titled = last(lifecycle)
    box.title = "c"
    with acting("cyd"):
        box.save()

    def conflicts(**verb: Any) -> list[tuple[str, str | None]]:
        before = raw(PutBox), raw(PutMaker)
        preview = lifecycle.restore.preview(**verb)
        with pytest.raises(RestoreConflict, match="Nothing was written"):
            lifecycle.restore.apply(preview)
        assert (raw(PutBox), raw(PutMaker)) == before
        return [(one.kind, one.field) for one in preview.conflicts]

    assert conflicts(undo=titled) == [("changed", "title")]
    assert "by cyd at" in str(lifecycle.restore.preview(undo=titled))
    assert conflicts(undo=made) == [("referenced", None)]
    maker.name = "n"
    maker.save()
    renamed = last(lifecycle)
    PutMaker(number=2, name="m").save()
    assert conflicts(undo=renamed) == [("unique", "name")]
    box.delete()
    assert conflicts(undo=titled) == [("gone", None)]
    maker.delete()
    assert conflicts(undelete=(PutBox, box.id)) == [("reference", "maker")]


def test_a_document_changed_since_the_preview_is_left_alone(lifecycle: Lifecycle) -> None:
    """What the preview showed no longer holds."""
    box = a_box()
    box.title = "b"
    box.save()
    preview = lifecycle.restore.preview(undo=last(lifecycle))
    assert [dict(step.changes) for step in preview.steps] == [{"title": Change("b", "box")}]
    box.title = "c"
    box.save()
    with pytest.raises(RestoreConflict, match="its title changed"):
        lifecycle.restore.apply(preview)


def test_references_lead_to_documents_as_they_were(lifecycle: Lifecycle) -> None:
    """Through the log alone."""
    maker = PutMaker(number=1, name="m").save()
    box = a_box(maker=maker)
    then = last(lifecycle)
    maker.name = "n"
    maker.save()
    state = lifecycle.history.as_of(PutBox, box.id, then)
    assert state is not None
    assert [one["name"] for one in state.related("maker")] == ["m"]
