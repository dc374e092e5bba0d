"""Blame: who made and changed objects, on both mappers from one declaration."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import mongoengine
import pytest
from bson import ObjectId
from mongoengine import fields
from sqlalchemy import ForeignKey, update
from sqlalchemy.orm import mapped_column, relationship

from lifecycle import Veto, acting, blame
from lifecycle.conditions import Becomes
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World


def note(world: World, **on: Any) -> Any:
    names = dict.fromkeys(("created_by", "updated_by", "approved_by"), "text")
    model = world.model("BlamedNote", blame(**on) if on else blame, text="text", **names)
    world.install()
    return model


def test_an_object_knows_who_made_and_who_changed_it(world: World) -> None:
    """The actor of the moment, as its id; whoever changes nothing is not blamed."""
    model = note(world)
    with acting("ann"):
        one = world.new(model, text="a")
    assert world.read(model, one, "created_by", "updated_by") == ("ann", "ann")
    with acting("bob"):
        world.edit(model, one, text="b")
    with acting("cid"):
        world.edit(model, one, text="b")
    assert world.read(model, one, "created_by", "updated_by") == ("ann", "bob")


def test_nobody_is_not_blamed_for_another(mapper: World) -> None:
    """A change of nobody known takes the name away, or puts the one there that was declared."""
    system = mapper.model(
        "SystemNote", blame(updated="by", nobody="system"), text="text", by="text"
    )
    model = note(mapper, updated="updated_by")
    with acting("ann"):
        one, other = mapper.new(model, text="a"), mapper.new(system, text="a")
    mapper.edit(model, one, text="b")
    mapper.edit(system, other, text="b")
    assert mapper.read(model, one, "updated_by") is None
    assert mapper.read(system, other, "by") == "system"


def test_who_made_a_certain_change_and_values_by_hand(mapper: World) -> None:
    """Conditions are those of timestamps; a name given by hand stays."""
    model = note(mapper, created="created_by", approved_by=Becomes("text", "approved"))
    with acting("ann"):
        one = mapper.new(model, text="a", created_by="import")
        mapper.edit(model, one, text="b")
    assert mapper.read(model, one, "created_by", "approved_by") == ("import", None)
    with acting("bob"):
        mapper.edit(model, one, text="approved")
    assert mapper.read(model, one, "approved_by") == "bob"


def test_statements_are_given_the_actor(world: World) -> None:
    """As they are given times."""
    model = note(world)
    one = world.new(model, text="a")
    with acting("ann"), world.transaction() as session:
        update_all(model, session, text="b")
    assert world.read(model, one, "created_by", "updated_by") == (None, "ann")


def test_an_id_takes_the_type_of_its_field(world: World) -> None:
    """A number is made of the id; one that does not fit is refused, and says why."""
    numbered = world.model("Numbered", blame(updated="by"), text="text", by="number")
    world.install()
    with acting(7):
        one = world.new(numbered, text="a")
    assert world.read(numbered, one, "by") == 7
    with pytest.raises(Veto, match="by cannot be set by @blame"), acting("ann"):
        world.edit(numbered, one, text="b")
    told = "Numbered.by cannot be set as declared: "
    with pytest.raises(Veto, match=told), acting("ann"), world.transaction() as session:
        update_all(numbered, session, text="b")
    assert world.read(numbered, one, "text", "by") == ("a", 7)


def update_all(model: Any, session: Any, **values: Any) -> None:
    if session is None:
        model.objects.update(**values)
    else:
        session.execute(update(model).values(**values))


def test_a_uuid_is_made_of_the_id(sql: SqlWorld) -> None:
    """Users that are known by a UUID are named by it."""
    model = sql.model("Unmistakable", blame(updated="by"), text="text", by="uuid")
    sql.install()
    someone = UUID("12345678-1234-5678-1234-567812345678")
    with acting(someone):
        one = sql.new(model, text="a")
    assert sql.read(model, one, "by") == someone


def test_a_foreign_key_names_the_user(sql: SqlWorld) -> None:
    """With the column blamed, the relationship leads to the user as always."""
    user = sql.model("BlamedUser", name="text")

    @blame(updated="updated_by_id")
    class BlamedPage(sql.base):
        __tablename__ = "blamed_pages"
        id = mapped_column(user.id.type, primary_key=True)
        text = mapped_column(user.name.type)
        updated_by_id = mapped_column(ForeignKey(user.id))
        updated_by = relationship(user)

    sql.install()
    ann = sql.new(user, name="Ann")
    with acting(ann):
        one = sql.new(BlamedPage, text="a")
    with sql.transaction():
        assert sql.one(BlamedPage, one).updated_by.name == "Ann"


def test_a_reference_names_the_user(documents: DocumentWorld) -> None:
    """A reference field and an ObjectId are made of the id."""
    user = documents.model("ReferredUser", name="text")

    @blame(created="created_by", updated="updated_by")
    class ReferringPage(mongoengine.Document):
        text = fields.StringField()
        created_by = fields.ReferenceField(user)
        updated_by = fields.ObjectIdField()

    documents.install()
    ann = documents.new(user, name="Ann")
    with acting(ann if isinstance(ann, str) else str(ann)):
        one = documents.new(ReferringPage, text="a")
    made, updated = documents.read(ReferringPage, one, "created_by", "updated_by")
    assert (made.name, updated) == ("Ann", ObjectId(ann))
    with pytest.raises(Veto, match="_by cannot be set by @blame"), acting("ann"):
        documents.new(ReferringPage, text="b")


def test_no_reference_is_made_of_what_is_no_identifier(documents: DocumentWorld) -> None:
    """Else it would lead to nobody, and the document could not be read."""
    user = documents.model("LooselyReferredUser", name="text")

    @blame(created="created_by")
    class LooselyReferringPage(mongoengine.Document):
        text = fields.StringField()
        created_by = fields.ReferenceField(user)

    documents.install()
    with acting("ann"):
        with pytest.raises(Veto, match="created_by cannot be set"):
            documents.new(LooselyReferringPage, text="a")
        with pytest.raises(Veto, match="created_by cannot be set"):
            LooselyReferringPage.objects.insert(LooselyReferringPage(text="a"))
