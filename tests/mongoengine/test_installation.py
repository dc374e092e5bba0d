"""Installing, uninstalling, and what is said when that cannot work."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import mongoengine
import pytest
from bson import ObjectId
from mongoengine import fields
from mongoengine.base import BaseDocument
from mongoengine.queryset.base import BaseQuerySet

from lifecycle import Lifecycle, ReferenceOne, audited, pre_persist, pre_update
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import ConfigurationError, HistoryError, HookDefinitionError, InstallError
from lifecycle.mappers.mongoengine import MongoengineMapper, patches
from lifecycle.mappers.mongoengine.targets import covered

OWNERS = (BaseDocument, mongoengine.Document, BaseQuerySet)


class Plant(mongoengine.Document):
    name = fields.StringField()
    meta = {"allow_inheritance": True}


class Tree(Plant):
    height = fields.IntField()


class Stone(mongoengine.Document):
    name = fields.StringField()


class Base(mongoengine.Document):
    meta = {"abstract": True}


class Crystal(Base):
    code = fields.UUIDField(primary_key=True)


class Spot(mongoengine.EmbeddedDocument):
    x = fields.IntField(db_field="px")


class Place(mongoengine.Document):
    spot = fields.EmbeddedDocumentField(Spot, primary_key=True)


class Numbered(mongoengine.Document):
    number = fields.IntField(primary_key=True)


@pytest.fixture
def new() -> Iterator[Any]:
    """Makes Lifecycles, and uninstalls what is left of them."""
    made: list[Lifecycle] = []

    def make() -> Lifecycle:
        made.append(Lifecycle(store=MemoryStore()))
        return made[-1]

    yield make
    for lifecycle in made:
        for target in (mongoengine, Plant, Tree, Stone):
            try:
                lifecycle.uninstall(target)
            except InstallError:
                continue


def functions() -> list[dict[str, Any]]:
    return [dict(vars(owner)) for owner in OWNERS]


def test_uninstalling_leaves_every_function_as_it_was(mongo: object, new: Any) -> None:
    """Whatever order Lifecycles come and go in."""
    before = functions()
    first, second = new(), new()
    first.install(mongoengine)
    second.install(Stone)
    assert functions() != before
    first.uninstall(mongoengine)
    Stone(name="x").save()
    assert len(list(second.history.find())) == 1
    assert list(first.history.find()) == []
    second.uninstall(Stone)
    assert functions() == before
    Stone(name="y").save()
    assert len(list(second.history.find())) == 1


def test_signatures_and_names_stay(lifecycle: Lifecycle) -> None:
    """So that help() and tools that inspect find what they found before."""
    assert mongoengine.Document.save.__name__ == "save"
    assert "save_condition" in inspect.signature(mongoengine.Document.save).parameters
    assert "cascade_refs" in inspect.signature(BaseQuerySet.delete).parameters


def test_one_class_is_seen_with_those_that_inherit_from_it(mongo: object, new: Any) -> None:
    """And no other."""
    lifecycle = new()
    lifecycle.install(Plant)
    Tree(name="oak").save()
    Stone(name="x").save()
    assert [record.changes.new("name") for record in lifecycle.history.find()] == ["oak"]
    assert "_lifecycle_image" not in vars(Stone.objects.get())


def test_an_abstract_class_can_be_installed_for_all_below_it(mongo: object, new: Any) -> None:
    """It has no documents itself."""
    lifecycle = new()
    lifecycle.install(Base)
    Crystal(code=uuid4()).save()
    assert len(list(lifecycle.history.find())) == 1
    lifecycle.uninstall(Base)


class Signed(mongoengine.Document):
    """Hooks and fields for all below it."""

    name = fields.StringField()
    meta = {"abstract": True}

    @pre_persist
    def sign(self) -> None:
        self.name += f" of {type(self).__name__}"


class SignedEarly(Signed):
    meta = {"allow_inheritance": True}


def test_hooks_of_an_abstract_class_are_those_of_all_below_it(lifecycle: Lifecycle) -> None:
    """Of classes that were defined before it was installed, and of later ones."""

    class SignedLate(Signed):
        pass

    class SignedChild(SignedEarly):
        pass

    for cls in (SignedEarly, SignedLate, SignedChild):
        cls(name="x").save()
    names = [record.changes.new("name") for record in lifecycle.history.find(newest_first=False)]
    assert names == ["x of SignedEarly", "x of SignedLate", "x of SignedChild"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(mongoengine, mongoengine), (mongoengine, Plant), (Plant, mongoengine), (Plant, Tree)],
)
def test_installing_what_is_seen_already_is_refused(new: Any, first: Any, second: Any) -> None:
    """Every write would be recorded twice."""
    lifecycle = new()
    lifecycle.install(first)
    with pytest.raises(InstallError, match="is installed already, or shares documents with"):
        lifecycle.install(second)


def test_uninstalling_what_is_not_installed_is_refused(new: Any) -> None:
    """Also when it is covered by something that is."""
    lifecycle = new()
    lifecycle.install(mongoengine)
    with pytest.raises(InstallError, match="is not installed, so it cannot be uninstalled"):
        lifecycle.uninstall(Plant)


class Archived(mongoengine.Document):
    name = fields.StringField()
    meta = {"db_alias": "archive", "allow_inheritance": True}


class ArchivedTwice(Archived):
    pass


@pytest.fixture
def archive(mongo: Any) -> Iterator[Any]:
    """Another database, by the alias ``archive``."""
    host, port = mongo.client.address
    name = mongo.name + "_archive"
    client = mongoengine.connect(
        name, alias="archive", host=host, port=port, uuidRepresentation="standard"
    )
    yield client[name]
    client.drop_database(name)
    mongoengine.disconnect(alias="archive")


def test_a_connection_is_seen_with_the_classes_that_name_it(archive: Any, new: Any) -> None:
    """Those defined later too, and no others; `default` is that of classes that name none."""
    lifecycle = new()
    lifecycle.install("archive")
    try:

        class ArchivedLater(mongoengine.Document):
            meta = {"db_alias": "archive"}

        ArchivedTwice(name="x").save()
        ArchivedLater().save()
        Stone(name="y").save()
        Stone(name="z").switch_db("archive").save()  # its class goes elsewhere
        assert [record.entity for record in lifecycle.history.find(newest_first=False)] == [
            "Archived",
            "ArchivedLater",
        ]
        Archived.objects.get().switch_db("default").save(force_insert=True)
        assert len(list(lifecycle.history.find())) == 3
        other = new()
        other.install("default")
        Stone(name="y").save()
        Archived(name="x").save()
        assert [record.entity for record in other.history.find()] == ["Stone"]
        other.uninstall("default")
    finally:
        lifecycle.uninstall("archive")
    Archived(name="x").save()
    assert len(list(lifecycle.history.find())) == 4


@pytest.mark.parametrize("target", [mongoengine, Archived, "archive"])
def test_a_connection_that_is_seen_already_is_refused(new: Any, target: Any) -> None:
    """As a class is, and the same the other way round."""
    for first, second in ((target, "archive"), ("archive", target)):
        lifecycle = new()
        lifecycle.install(first)
        with pytest.raises(InstallError, match="is installed already, or shares documents with"):
            lifecycle.install(second)
        lifecycle.uninstall(first)


def test_classes_of_different_connections_can_be_seen_side_by_side(new: Any) -> None:
    """They share nothing."""
    lifecycle = new()
    lifecycle.install(Stone)
    lifecycle.install("archive")
    lifecycle.uninstall("archive")


def test_an_alias_that_nobody_knows_is_refused(mongo: object, new: Any) -> None:
    """With those there are."""
    with pytest.raises(InstallError, match=r"'defualt' is no connection alias.*'default'.*connect"):
        new().install("defualt")


@pytest.mark.parametrize("target", [Spot, Plant(name="x"), "mongoengine"])
def test_what_is_no_document_class_is_refused(new: Any, target: Any) -> None:
    """With what can be installed."""
    with pytest.raises(InstallError, match="a Document class"):
        new().install(target)


def test_documents_need_a_store() -> None:
    """There is no database beside which they could be recorded."""
    with pytest.raises(InstallError, match="cannot be installed without a store"):
        Lifecycle().install(mongoengine)


def test_a_mistake_on_a_class_is_found_when_installing(new: Any) -> None:
    """And nothing stays half installed."""
    before = functions()

    class Wrong(mongoengine.Document):
        name = fields.StringField()

        @pre_update(when="nam")
        def hook(self) -> None: ...

    with pytest.raises(HookDefinitionError, match="asks about 'nam'"):
        new().install(mongoengine)
    assert functions() == before


def test_a_policy_on_an_unknown_field_is_found_when_installing(new: Any) -> None:
    """With the fields there are."""

    @audited(mask={"secrt"})
    class Wrong(mongoengine.Document):
        secret = fields.StringField()

    with pytest.raises(ConfigurationError, match=r"names secrt, which it does not have"):
        new().install(mongoengine)


def test_a_class_whose_name_another_has_taken_counts_no_more(new: Any) -> None:
    """As mongoengine has it: the later is the document of that name, in the log too."""
    kind, bases = type(mongoengine.Document), (mongoengine.Document,)
    first = kind("Renewed", bases, {"__module__": "once", "old": fields.IntField()})
    second = kind("Renewed", bases, {"__module__": "then", "new": fields.IntField()})
    lifecycle = new()
    lifecycle.install(mongoengine)
    assert "Renewed" in lifecycle.coverage().recorded
    (described,) = [one for one in lifecycle.describe().models if one.entity == "Renewed"]
    here = set(covered(mongoengine))
    assert second in here
    assert first not in here
    assert described.model.startswith("then.")


def test_a_condition_of_a_dynamic_document_may_ask_about_any_field(lifecycle: Lifecycle) -> None:
    """Its fields are not known beforehand."""
    called: list[Any] = []

    class Free(mongoengine.DynamicDocument):
        @pre_update(when="color")
        def hook(self, event: Any) -> None:
            called.append(event.changes["color"].new)

    free = Free(color="red").save()
    free.color = "blue"
    free.save()
    assert called == ["blue"]


def test_a_mongoengine_without_the_functions_is_refused(
    new: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than missing writes."""
    before = functions()
    changed = (*patches._WRAPPINGS, (mongoengine.Document, "_save_magic", None))
    monkeypatch.setattr(patches, "_WRAPPINGS", changed)
    lifecycle = new()
    with pytest.raises(InstallError, match=r"this version of mongoengine has no .*_save_magic"):
        lifecycle.install(mongoengine)
    assert functions() == before
    monkeypatch.undo()
    lifecycle.install(mongoengine)


# --- names and keys -------------------------------------------------------------------------

HEX = "64b0c0ffee0000000000cafe"
CODE = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("model", "identity", "key"),
    [
        (Stone, ObjectId(HEX), HEX),
        (Stone, HEX, HEX),
        (Numbered, 7, "7"),
        (Numbered, "7", "7"),
        (Crystal, UUID(CODE), CODE),
        (Crystal, CODE, CODE),
        (Place, Spot(x=1), '{"px":1}'),
        (Place, {"px": 1}, '{"px":1}'),
    ],
)
def test_a_key_is_the_same_text_in_whatever_form_it_is_given(
    lifecycle: Lifecycle, model: type, identity: Any, key: str
) -> None:
    """In every form the primary key's field takes."""
    assert lifecycle.models.key(model, identity) == key


def test_what_the_key_field_does_not_take_is_an_error(lifecycle: Lifecycle) -> None:
    """That names value, model and field."""
    with pytest.raises(HistoryError, match=r"'abc' is no key of Stone .*ObjectIdField 'id'"):
        lifecycle.models.key(Stone, "abc")


def test_the_history_is_found_by_object_and_by_key(lifecycle: Lifecycle) -> None:
    """Alike."""
    stone = Stone(name="x").save()
    by_object = list(lifecycle.history.of(stone))
    assert len(by_object) == 1
    assert list(lifecycle.history.of(Stone, str(stone.id))) == by_object
    assert list(lifecycle.history.of(Stone, stone.id)) == by_object


def test_a_document_never_saved_has_no_history(lifecycle: Lifecycle) -> None:
    """It has no key yet."""
    with pytest.raises(HistoryError, match="a Stone that was never saved has no history yet"):
        lifecycle.history.of(Stone(name="x"))


def test_only_document_classes_with_documents_have_a_name(lifecycle: Lifecycle) -> None:
    """An abstract class, or an embedded one, has no history of its own."""
    with pytest.raises(HistoryError, match="Base has no documents of its own"):
        lifecycle.models.entity(Base)
    with pytest.raises(HistoryError, match="Spot is not mapped"):
        lifecycle.models.entity(Spot)


def test_a_mapper_maps_what_has_documents_below_it(new: Any) -> None:
    """So that hooks can be subscribed for mixins and abstract classes."""
    mapper = MongoengineMapper(new()._services)
    assert mapper.maps(Tree)
    assert mapper.maps(Base)
    assert not mapper.maps(Spot)
    assert not mapper.maps(Lifecycle)


# --- mongoengine behaves as before ----------------------------------------------------------


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda document: pickle.loads(pickle.dumps(document))]
)
def test_copies_and_pickles_are_what_they_were(lifecycle: Lifecycle, copied: Any) -> None:
    """They carry nothing of this, so nothing is claimed to be known of them."""
    Stone(name="x").save()
    stone = Stone.objects.get()
    twin = copied(stone)
    assert twin == stone
    assert "_lifecycle_image" not in vars(twin)


def test_nothing_is_left_on_a_document_but_the_image(lifecycle: Lifecycle) -> None:
    """Whatever was done with it."""
    stone = Stone(name="x").save()
    stone.name = "y"
    stone.save()
    stone.reload()
    assert set(vars(stone)) - set(vars(Stone())) == {"_lifecycle_image"}
    stone.delete()
    assert set(vars(stone)) == set(vars(Stone()))


def test_return_values_are_what_they_were(lifecycle: Lifecycle) -> None:
    """Those of save, delete and reload."""
    stone = Stone(name="x")
    assert stone.save() is stone
    assert stone.reload() is stone
    assert stone.delete() is None
    assert Stone.objects.create(name="y").pk is not None


def test_pointers_pass_over_classes_that_were_defined_again(lifecycle: Lifecycle) -> None:
    """As in a notebook, or by a reloader: only the last one counts, wherever the others were."""
    places = ("first", "second")
    made = [
        type(mongoengine.Document)(
            "DefinedAgain",
            (mongoengine.Document,),
            {
                "__module__": place,
                "other": mongoengine.ReferenceField("self"),
                "third_id": mongoengine.ObjectIdField(),
                "third": ReferenceOne(lambda: made[-1], "third_id"),
            },
        )
        for place in places
    ]
    assert len(made) == 2
    pointers = lifecycle.models.pointers("DefinedAgain")
    assert [one.fields for one in pointers] == [("other",), ("third_id",)]
    assert {one.source for one in pointers} == {"DefinedAgain"}
    assert lifecycle.models.choices("DefinedAgain") == {}
    mongoengine.base.common._document_registry.pop("DefinedAgain")
