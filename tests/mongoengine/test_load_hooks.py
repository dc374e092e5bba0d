"""Hooks around the loading of documents, and being told of document classes."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import mongoengine
import pytest
from bson.json_util import CANONICAL_JSON_OPTIONS
from mongoengine import fields
from mongoengine.context_managers import no_dereference, switch_collection
from pymongo.database import Database
from pymongo.monitoring import CommandListener

from lifecycle import (
    UNKNOWN,
    Change,
    Lifecycle,
    Veto,
    load_class_metadata,
    post_load,
    pre_load,
    pre_update,
)
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import HookDefinitionError


class Page(mongoengine.EmbeddedDocument):
    text = fields.StringField(db_field="x")


class Letter(mongoengine.Document):
    title = fields.StringField(db_field="t")
    size = fields.IntField()
    page = fields.EmbeddedDocumentField(Page, db_field="p")
    tags = fields.ListField(fields.StringField())
    reply = fields.ReferenceField("self")


class Envelope(mongoengine.Document):
    letter = fields.ReferenceField(Letter)
    letters = fields.ListField(fields.ReferenceField(Letter))
    later = fields.LazyReferenceField(Letter)


class Beast(mongoengine.Document):
    name = fields.StringField()
    meta = {"allow_inheritance": True}


class Cat(Beast):
    lives = fields.IntField()


class Loads:
    """Notes what is loaded."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    @pre_load(Letter)
    def before(self, event: Any) -> None:
        assert type(event.instance) is Letter
        self.told.append(("pre_load", event.key, dict(event.data)))

    @post_load(Letter)
    def after(self, event: Any) -> None:
        self.told.append(("post_load", event.key, event.instance))


@pytest.fixture
def letter(lifecycle: Lifecycle) -> Letter:
    """One that is stored."""
    return Letter(title="a", size=1, page=Page(text="x"), tags=["b"]).save()


@pytest.fixture
def loads(lifecycle: Lifecycle, letter: Letter) -> Loads:
    return lifecycle.subscribe(Loads())


LOADS: list[tuple[str, Callable[[Any], Any]]] = [
    ("get", lambda id: Letter.objects.get(id=id)),
    ("first", lambda id: Letter.objects.first()),
    ("index", lambda id: Letter.objects[0]),
    ("iteration", lambda id: list(Letter.objects)),
    ("no_cache", lambda id: list(Letter.objects.no_cache())),
    ("no_dereference", lambda id: list(Letter.objects.no_dereference())),
    ("in_bulk", lambda id: Letter.objects.in_bulk([id])),
    ("reference", lambda id: Envelope.objects.get().letter),
    ("list of references", lambda id: Envelope.objects.get().letters[0]),
    ("lazy reference", lambda id: Envelope.objects.get().later.fetch()),
    ("select_related", lambda id: list(Envelope.objects.only("letter").select_related())),
]


@pytest.mark.parametrize(("way", "load"), LOADS)
def test_a_load_is_told_before_and_after(
    loads: Loads, letter: Letter, way: str, load: Callable[[Any], Any]
) -> None:
    """Whichever way a document comes out of the database: first its SON, then itself."""
    Envelope(letter=letter, letters=[letter], later=letter).save()
    load(letter.id)
    (before, key, son), (after, _, found) = loads.told
    assert (before, after, key) == ("pre_load", "post_load", str(letter.id))
    assert son == {"_id": letter.id, "t": "a", "size": 1, "p": {"x": "x"}, "tags": ["b"]}
    assert (found.title, found.page.text) == ("a", "x")


NO_LOADS: list[tuple[str, Callable[[Letter], Any]]] = [
    ("as_pymongo", lambda letter: list(Letter.objects.as_pymongo())),
    ("aggregate", lambda letter: list(Letter.objects.aggregate([{"$match": {"t": "a"}}]))),
    ("distinct", lambda letter: Letter.objects.distinct("title")),
    ("count", lambda letter: Letter.objects.count()),
    ("copy", copy.copy),
    ("deepcopy", copy.deepcopy),
    ("pickle", lambda letter: pickle.loads(pickle.dumps(letter))),
    ("from_json", lambda letter: Letter.from_json("{}", json_options=CANONICAL_JSON_OPTIONS)),
    ("from_json of many", lambda letter: Letter.objects.from_json('[{"t": "x"}, {"t": "y"}]')),
    ("a new one", lambda letter: Letter(title="x")),
]


@pytest.mark.filterwarnings("ignore:No 'json_options' are specified")
@pytest.mark.parametrize(("way", "act"), NO_LOADS)
def test_what_is_no_load_is_not_told(
    loads: Loads, letter: Letter, way: str, act: Callable[[Letter], Any]
) -> None:
    """What makes no document, copies one, or makes one of other data."""
    act(letter)
    assert loads.told == []


@pytest.mark.parametrize("part", [(), ("title",)])
def test_what_is_given_as_pymongo_gives_it_is_not_looked_at(
    loads: Loads, letter: Letter, part: tuple[str, ...]
) -> None:
    """Each costs one call that passes it on, also of a load in part."""
    Letter.objects.insert([Letter(title="b") for _ in range(9)])
    calls: list[str] = []

    def note(frame: FrameType, what: str, _: object) -> None:
        if what == "call" and frame.f_globals["__name__"].startswith("lifecycle."):
            calls.append(frame.f_code.co_name)

    rows = Letter.objects.only(*part).no_cache().as_pymongo()
    sys.setprofile(note)
    try:
        found = list(rows)
    finally:
        sys.setprofile(None)
    assert len(found) == 10
    assert calls == ["__getattr__", *["item"] * 11]  # find(); the last one says there are no more


def test_of_a_load_in_part_the_part_is_told(loads: Loads, letter: Letter) -> None:
    """Scalars are such a load: mongoengine makes a document of them."""
    assert list(Letter.objects.scalar("title")) == ["a"]
    list(Letter.objects.exclude("title", "page", "tags"))
    assert [one[2] for one in loads.told if one[0] == "pre_load"] == [
        {"_id": letter.id, "t": "a"},
        {"_id": letter.id, "size": 1},
    ]


@pytest.mark.parametrize(
    "fill",
    [
        lambda letter: letter.reload(),
        lambda letter: letter.reload("size"),
        lambda letter: letter.modify(set__size=5),
    ],
    ids=["reload", "reload of a field", "modify"],
)
def test_what_fills_a_document_anew_shows_its_data_alone(
    loads: Loads, letter: Letter, fill: Callable[[Letter], Any]
) -> None:
    """Hooks may replace it as they did before; the document is no other one."""
    fill(letter)
    assert [one[:2] for one in loads.told] == [("pre_load", str(letter.id))]


def test_reloading_loads_what_it_refers_to_with_hooks(loads: Loads, letter: Letter) -> None:
    """Of the temporary document only the data is shown."""
    answer = Letter(title="answer", reply=letter).save()
    answer.reload()  # mongoengine follows references there
    assert [one[:2] for one in loads.told] == [
        ("pre_load", str(answer.id)),
        ("pre_load", str(letter.id)),
        ("post_load", str(letter.id)),
    ]


def test_what_hooks_make_of_data_they_make_of_it_anew(
    lifecycle: Lifecycle, letter: Letter, records: Any
) -> None:
    """Else a document that is reloaded would show what its hooks are there to hide."""

    @lifecycle.subscribe
    @pre_load(Letter)
    def replace(event: Any) -> None:
        event.data["t"] = event.data["t"].upper()

    for found in Letter.objects.get(), letter:
        found.reload()
        assert found.title == "A"
    letter.modify(set__title="b")
    assert letter.title == "B"


@pytest.mark.parametrize("how", ["in place", "anew"])
def test_data_may_be_replaced_and_the_document_stays_clean(
    lifecycle: Lifecycle, letter: Letter, records: Any, how: str
) -> None:
    """What the database holds stays the old value, also of what lies deeper."""

    @lifecycle.subscribe
    @pre_load(Letter)
    def replace(event: Any) -> None:
        data = event.data if how == "in place" else dict(event.data)
        data["t"] = data["t"].upper()
        data["p"]["x"] = "deep"
        data["tags"].append("hooked")
        event.data = data

    records()
    found = Letter.objects.get()
    assert (found.title, found.page.text, found.tags) == ("A", "deep", ["b", "hooked"])
    assert found._get_changed_fields() == []
    found.size = 2
    found.save()
    assert [dict(record.changes) for record in records()] == [{"size": Change(1, 2)}]
    found.title = "B"
    found.page.text = "y"
    found.save()
    assert [dict(record.changes) for record in records()] == [
        {"title": Change("a", "B"), "page.text": Change("x", "y")}
    ]


def test_hooks_before_a_save_see_what_is_sent_and_not_what_pre_load_made(
    lifecycle: Lifecycle, letter: Letter
) -> None:
    """mongoengine sends the path that changed, and leaves the rest as it is in the database."""
    told: list[Any] = []

    class Twin(mongoengine.EmbeddedDocument):
        one = fields.IntField()
        two = fields.IntField()

    class Pair(mongoengine.Document):
        twin = fields.EmbeddedDocumentField(Twin)

        @pre_load
        def ten(self, event: Any) -> None:
            event.data["twin"]["one"] = 10

        @pre_update
        def note(self, event: Any) -> None:
            told.append(dict(event.changes))

    Pair(twin=Twin(one=1, two=1)).save()
    pair = Pair.objects.get()
    pair.twin.two = 2
    pair.save()
    assert told == [{"twin.two": Change(1, 2)}]


def test_old_data_can_be_brought_into_shape(lifecycle: Lifecycle, mongo: Database[Any]) -> None:
    """Data that would not load at all without the hook."""

    @lifecycle.subscribe
    @pre_load(Letter)
    def migrate(event: Any) -> None:
        if "headline" in event.data:
            event.data["t"] = event.data.pop("headline")

    mongo["letter"].insert_one({"headline": "old"})
    assert Letter.objects.get().title == "old"


def test_a_document_has_no_fields_before_it_is_loaded(lifecycle: Lifecycle, letter: Letter) -> None:
    """A hook that asks for one is told where to look."""

    class Eager(mongoengine.Document):
        name = fields.StringField()

        @pre_load
        def hook(self) -> None:
            self.name = "x"

    class Curious(mongoengine.Document):
        names = fields.ListField()

        @pre_load
        def hook(self) -> None:
            assert self.names

    for cls, name in ((Eager, "name"), (Curious, "names")):
        cls().save()
        with pytest.raises(HookDefinitionError, match=f"no field '{name}' yet.*event.data"):
            cls.objects.get()


def test_what_post_load_assigns_is_saved_by_the_next_save(
    lifecycle: Lifecycle, letter: Letter, records: Any
) -> None:
    """That is how lazy migration persists."""

    @lifecycle.subscribe
    @post_load(Letter)
    def grow(event: Any) -> None:
        event.instance.size += 1

    records()
    found = Letter.objects.get()
    assert found._get_changed_fields() == ["size"]
    found.save()
    assert [dict(record.changes) for record in records()] == [{"size": Change(1, 2)}]


def test_post_load_may_save_at_once_also_what_was_loaded_in_part(
    lifecycle: Lifecycle, letter: Letter, records: Any
) -> None:
    """What was not loaded is unknown there already, and what was saved is known later."""

    @lifecycle.subscribe
    @post_load(Letter)
    def grow(event: Any) -> None:
        event.instance.size = 9
        event.instance.save()

    records()
    found = Letter.objects.only("title").get()
    assert [dict(record.changes) for record in records()] == [{"size": Change(UNKNOWN, 9)}]
    found.title, found.size = "b", 10
    found.save()
    assert [dict(record.changes) for record in records()] == [
        {"title": Change("a", "b"), "size": Change(9, 10)}
    ]


@pytest.mark.parametrize("moment", [pre_load, post_load])
def test_an_error_aborts_the_query(lifecycle: Lifecycle, letter: Letter, moment: Any) -> None:
    """It says which hook raised it, and of what."""

    @lifecycle.subscribe
    @moment(Letter)
    def refuse(event: Any) -> None:
        raise Veto("not for you")

    with pytest.raises(Veto, match="not for you") as raised:
        Letter.objects.get()
    (note,) = raised.value.__notes__
    assert f"Letter {letter.id}" in note


def test_hooks_of_the_class_that_the_document_has_are_called(lifecycle: Lifecycle) -> None:
    """Whichever class was asked for, and also when the class was defined after the first load."""
    told: list[Any] = []

    @lifecycle.subscribe
    @pre_load(Cat)
    @post_load(Cat)
    def note(event: Any) -> None:
        told.append((str(event.moment), type(event.instance), event.entity))

    Beast(name="bear").save()
    Cat(name="tom").save()
    assert len(list(Beast.objects)) == 2
    assert told == [("pre_load", Cat, "Beast"), ("post_load", Cat, "Beast")]

    class Lion(Beast):
        @post_load
        def hook(self) -> None:
            told.append(type(self))

    Lion(name="leo").save()
    assert len(list(Beast.objects)) == 3
    assert told[-1] is Lion


def test_a_class_without_load_hooks_has_nothing_to_run(lifecycle: Lifecycle, loads: Loads) -> None:
    """Subscribing and connecting later is noticed, and so is going away again."""
    from lifecycle.mappers.mongoengine import patches

    assert patches._patches is not None
    watchers = patches._patches.watchers
    Beast(name="x").save()
    assert watchers.loading[Beast].hooks == ()
    assert len(watchers.loading[Letter].hooks) == 1
    told: list[Any] = []

    def receive(sender: Any, event: Any) -> None:
        told.append((sender, event.instance.name))

    Cat(name="tom").save()
    lifecycle.signals.post_load.connect(receive, sender=Beast)
    list(Beast.objects)
    assert told == [(Beast, "x"), (Cat, "tom")]
    lifecycle.signals.post_load.disconnect(receive, sender=Beast)
    list(Beast.objects)
    assert len(told) == 2
    assert watchers.loading[Beast].hooks == ()


def test_hooks_can_be_switched_off_for_loads(lifecycle: Lifecycle, loads: Loads) -> None:
    """For a block."""
    with lifecycle.suppressed():
        Letter.objects.get()
    assert loads.told == []
    Letter.objects.get()
    assert len(loads.told) == 2


def test_each_lifecycle_runs_its_own_load_hooks(lifecycle: Lifecycle, letter: Letter) -> None:
    """The second is shown the data as the first has left it."""
    other = Lifecycle(store=MemoryStore())
    other.install(Letter)

    @lifecycle.subscribe
    @pre_load(Letter)
    def one(event: Any) -> None:
        event.data["t"] += "1"

    @other.subscribe
    @pre_load(Letter)
    def two(event: Any) -> None:
        event.data["t"] += "2"

    try:
        assert Letter.objects.get().title == "a12"
    finally:
        other.uninstall(Letter)
    assert Letter.objects.get().title == "a1"


def test_a_document_from_another_collection_is_loaded_with_hooks(
    loads: Loads, letter: Letter
) -> None:
    """As from its own."""
    with switch_collection(Letter, "letters_archived") as archived:
        archived(title="z").save()
        assert archived.objects.get().title == "z"
    assert [one[0] for one in loads.told] == ["pre_load", "post_load"]


# --- nothing asks the server ----------------------------------------------------------------


class Commands(CommandListener):
    """Counts what is sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


class Stamp(mongoengine.Document):
    name = fields.StringField()
    letter = fields.ReferenceField(Letter)
    letters = fields.ListField(fields.ReferenceField(Letter))
    any_letter = fields.GenericReferenceField()
    cached = fields.CachedReferenceField(Letter, fields=["title"])
    by_key = fields.MapField(fields.ReferenceField(Letter))
    meta = {"db_alias": "counted"}


@pytest.fixture
def commands(mongo: Database[Any]) -> Iterator[Commands]:
    """What is sent to the database of stamps."""
    commands = Commands()
    host, port = mongo.client.address or ("localhost", 27017)
    mongoengine.connect(
        mongo.name,
        alias="counted",
        host=host,
        port=port,
        uuidRepresentation="standard",
        event_listeners=[commands],
    )
    yield commands
    mongoengine.disconnect(alias="counted")


def test_neither_loads_nor_saves_nor_diffs_ask_for_more(
    lifecycle: Lifecycle, letter: Letter, commands: Commands, records: Any
) -> None:
    """No reference is followed, and no query added: one command for each call, as ever."""
    told: list[Any] = []

    @lifecycle.subscribe
    @pre_load(Stamp)
    @post_load(Stamp)
    @pre_update(Stamp)
    def note(event: Any) -> None:
        told.append(str(event))

    other = Letter(title="other").save()
    with lifecycle.suppressed():
        Stamp(name="x", letter=letter, letters=[letter], by_key={"a": letter}).save()
    commands.names.clear()
    stamp = Stamp.objects.get()
    assert commands.names == ["find"]
    commands.names.clear()
    stamp.name = "y"
    stamp.letter = other
    stamp.letters = [other]
    stamp.by_key = {"a": other}
    commands.names.clear()
    stamp.save()
    assert commands.names == ["update"]
    *_, record = records()
    assert dict(record.changes) == {
        "name": Change("x", "y"),
        "letter": Change(letter.id, other.id),
        "letters.0": Change(letter.id, other.id),
        "by_key.a": Change(letter.id, other.id),
    }
    commands.names.clear()
    stamp.delete()
    assert commands.names == ["delete"]
    assert len(told) == 3


# --- classes --------------------------------------------------------------------------------


def test_a_hook_is_told_of_each_document_class_once(mongo: object) -> None:
    """Of those defined before when it is installed, of later ones when they are first used."""
    told: list[Any] = []

    class Root(mongoengine.Document):
        name = fields.StringField()
        meta = {"abstract": True}

    class Early(Root):
        meta = {"allow_inheritance": True}

    class EarlyChild(Early):
        extra = fields.StringField()

    lifecycle = Lifecycle(store=MemoryStore())

    @lifecycle.subscribe
    @load_class_metadata(Root)
    def note(event: Any) -> None:
        told.append((event.cls.__name__, event.entity, event.fields))

    lifecycle.install(Root)
    try:
        assert told == [
            ("Early", "Early", ("name", "_cls", "id")),
            ("EarlyChild", "Early", ("name", "_cls", "id", "extra")),
        ]

        class Late(Root):
            color = fields.StringField()

        assert len(told) == 2
        Late(name="x").save()
        Late(name="y").save()
        assert list(Late.objects)
        assert told[2:] == [("Late", "Late", ("name", "color", "id"))]

        @lifecycle.subscribe
        @load_class_metadata(Late)
        def new(event: Any) -> None:
            told.append(event.cls)

        assert told[3:] == [Late]
    finally:
        lifecycle.uninstall(Root)


def test_a_hook_told_of_a_class_can_subscribe_hooks_to_it(lifecycle: Lifecycle) -> None:
    """Those of its very first load are called already."""
    told: list[Any] = []

    class Known(mongoengine.Document):
        name = fields.StringField()

    Known(name="x").save()

    @lifecycle.subscribe
    @load_class_metadata
    def more(event: Any) -> None:
        if event.entity == "LaterKnown":

            @lifecycle.subscribe
            @post_load(event.cls)
            def loaded(event: Any) -> None:
                told.append(event.instance.name)

    class LaterKnown(mongoengine.Document):
        name = fields.StringField()
        meta = {"collection": "known"}

    assert LaterKnown.objects.get().name == "x"
    assert told == ["x"]


def test_no_dereference_stays_what_it_was(lifecycle: Lifecycle, loads: Loads) -> None:
    """A document loaded so is loaded with hooks; what it refers to is not loaded at all."""
    letter = Letter.objects.get()
    Letter(title="y", reply=letter).save()
    loads.told.clear()
    with no_dereference(Letter):
        assert Letter.objects.get(title="y").reply.id == letter.id
    assert [one[0] for one in loads.told] == ["pre_load", "post_load"]
