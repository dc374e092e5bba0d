"""Hooks around the saves and deletes of documents."""

from __future__ import annotations

from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from lifecycle import (
    ABSENT,
    UNKNOWN,
    Change,
    Lifecycle,
    Veto,
    acting,
    not_audited,
    post_persist,
    post_remove,
    post_update,
    pre_persist,
    pre_remove,
    pre_update,
)
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import (
    FrozenChangesError,
    HookDefinitionError,
    HookLoopError,
    RecordingError,
)


class Part(mongoengine.EmbeddedDocument):
    sku = fields.StringField(db_field="s")
    price = fields.DecimalField(db_field="p")


class Author(mongoengine.Document):
    name = fields.StringField()


class Book(mongoengine.Document):
    title = fields.StringField(db_field="t", required=True)
    slug = fields.StringField()
    stock = fields.IntField()
    price = fields.DecimalField()
    author = fields.ReferenceField(Author)
    cover = fields.EmbeddedDocumentField(Part, db_field="c")
    parts = fields.EmbeddedDocumentListField(Part, db_field="ps")
    tags = fields.ListField(fields.StringField())

    def clean(self) -> None:
        if self.slug == "":
            raise mongoengine.ValidationError("a slug is not empty")


class Spy:
    """Notes every event with the changes as they were then."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    @pre_persist(Book)
    @pre_update(Book)
    @pre_remove(Book)
    @post_persist(Book)
    @post_update(Book)
    @post_remove(Book)
    def note(self, event: Any) -> None:
        self.events.append((str(event.moment), dict(event.changes), event.key, event.session))

    def told(self) -> list[Any]:
        told, self.events = [(moment, changes) for moment, changes, *_ in self.events], []
        return told


@pytest.fixture
def spy(lifecycle: Lifecycle) -> Spy:
    return lifecycle.subscribe(Spy())


def test_an_insert_is_told_before_and_after(spy: Spy) -> None:
    """Before it without the key, after it with every field as it was stored."""
    book = Book(title="x", price="1.1").save()
    before, after = spy.events
    assert before == (
        "pre_persist",
        {
            "title": Change(ABSENT, "x"),
            "price": Change(ABSENT, book.price),
            "parts": Change(ABSENT, []),
            "tags": Change(ABSENT, []),
        },
        None,
        None,
    )
    assert after[0] == "post_persist"
    assert after[1] == before[1] | {"id": Change(ABSENT, book.id)}
    assert after[2] == str(book.id)


def test_an_update_is_told_by_attribute_names_and_python_values(spy: Spy) -> None:
    """Embedded documents by path, plain lists as a whole, references by id."""
    ann, bob = Author().save(), Author().save()
    Book(
        title="x",
        author=ann,
        price="1.10",
        cover=Part(sku="a"),
    ).save()
    spy.told()
    book = Book.objects.get()
    book.author = bob
    book.price = book.price + 1
    book.cover.sku = "b"
    book.tags.append("new")
    book.save()
    expected = {
        "author": Change(ann.id, bob.id),
        "price": Change(book.price - 1, book.price),
        "cover.sku": Change("a", "b"),
        "tags": Change([], ["new"]),
    }
    assert spy.told() == [("pre_update", expected), ("post_update", expected)]


def test_a_change_inside_a_list_of_embedded_documents_is_told_by_path(spy: Spy) -> None:
    """As long as the list is as long as it was; else the list is told as a whole."""
    one, two, three = (Part(price=price).price for price in (1, 2, 3))
    Book(title="x", parts=[Part(price=1), Part(price=2)]).save()
    spy.told()
    book = Book.objects.get()
    book.parts[1].price = 3
    book.save()
    assert [changes for _, changes in spy.told()] == [{"parts.1.price": Change(two, three)}] * 2
    book.parts.pop()
    book.save()
    expected = {"parts": Change([{"price": one}, {"price": three}], [{"price": one}])}
    assert [changes for _, changes in spy.told()] == [expected] * 2


def test_a_condition_on_a_whole_embedded_document_is_asked_by_path(lifecycle: Lifecycle) -> None:
    """Its changes are told by path, so the whole value is not known: that is an error, no guess."""
    told: list[str] = []

    @lifecycle.subscribe
    @pre_update(Book, when="cover.sku", becomes="b")
    def by_path(event: Any) -> None:
        told.append("by path")

    @lifecycle.subscribe
    @pre_update(Book, when="cover", becomes=None)
    def gone(event: Any) -> None:
        told.append("gone")

    book = Book(title="x", cover=Part(sku="a")).save()
    book.cover.sku = "b"
    book.save()
    book.cover = None
    book.save()
    assert told == ["by path", "gone"]

    @lifecycle.subscribe
    @pre_update(Book, when="cover", becomes={"sku": "b"})
    def whole(event: Any) -> None:
        told.append("whole")

    book.cover = Part(sku="b")
    book.save()
    assert told[2:] == ["by path", "whole"]
    book.cover.sku = "c"
    with pytest.raises(HookDefinitionError, match=r"'cover', .* \(changed: cover\.sku\)"):
        book.save()


def test_a_delete_is_told_before_and_after(spy: Spy) -> None:
    """With its fields going."""
    Book(title="x", stock=1).save()
    spy.told()
    Book.objects.get().delete()
    (moment, before), (later, after) = spy.told()
    assert (moment, later) == ("pre_remove", "post_remove")
    assert before == after
    assert before["stock"] == Change(1, ABSENT)


def test_nothing_is_told_of_a_save_that_changes_nothing(spy: Spy) -> None:
    """Neither without changes, nor when a value was set and set back."""
    Book(title="x").save()
    spy.told()
    book = Book.objects.get()
    book.save()
    book.title = "y"
    book.title = "x"
    book.save()
    assert spy.told() == []


def test_a_field_without_a_value_is_none_to_the_hooks_of_an_update(spy: Spy) -> None:
    """As its attribute is, though the database has no such key."""
    Book(title="x").save()
    spy.told()
    book = Book.objects.get()
    book.stock = 1
    book.save()
    book.stock = None
    book.save()
    assert [changes["stock"] for _, changes in spy.told()] == [
        Change(None, 1),
        Change(None, 1),
        Change(1, None),
        Change(1, None),
    ]


def test_a_save_with_an_existing_key_is_told_as_the_update_it_turned_out_to_be(spy: Spy) -> None:
    """Before the write only the database knows."""
    book = Book(title="x").save()
    spy.told()
    Book(id=book.id, title="y").save()
    (before, _), (after, changes) = spy.told()
    assert (before, after) == ("pre_persist", "post_update")
    assert changes == {"title": Change("x", "y")}


def test_of_a_part_that_was_not_loaded_the_old_value_is_unknown(spy: Spy) -> None:
    """A hook is never told a guess."""
    Book(title="x", stock=1, cover=Part(sku="a")).save()
    spy.told()
    book = Book.objects.only("title").get()
    book.title = "y"
    book.stock = 2
    book.save()
    expected = {"title": Change("x", "y"), "stock": Change(UNKNOWN, 2)}
    assert spy.told() == [("pre_update", expected), ("post_update", expected)]


def test_what_a_hook_sets_is_validated_and_saved(lifecycle: Lifecycle, records: Any) -> None:
    """Pre hooks run before clean() and validation."""

    @lifecycle.subscribe
    @pre_persist(Book)
    def make_slug(event: Any) -> None:
        event.changes.set("slug", event.instance.title.strip())

    Book(title=" x ").save()
    assert Book.objects.get().slug == "x"
    assert records()[0].changes["slug"] == Change(ABSENT, "x")
    with pytest.raises(mongoengine.ValidationError, match="a slug is not empty"):
        Book(title="  ").save()


def test_a_hook_can_put_right_what_validation_would_refuse(lifecycle: Lifecycle) -> None:
    """A value that cannot be written shows as it is."""

    @lifecycle.subscribe
    @pre_persist(Book)
    def no_text(event: Any) -> None:
        assert event.changes.new("stock") == "many"
        event.instance.stock = 99

    book = Book(title="x")
    book.stock = "many"
    assert book.save().stock == 99


def test_a_value_that_cannot_be_written_shows_as_it_is_in_an_update(lifecycle: Lifecycle) -> None:
    """Validation then says what is wrong with it, as ever."""
    seen: list[Any] = []

    @lifecycle.subscribe
    @pre_update(Book)
    def look(event: Any) -> None:
        seen.append(dict(event.changes))

    book = Book(title="x").save()
    unsaved = book.author = Author(name="never saved")
    with pytest.raises(mongoengine.ValidationError, match="once they have been saved"):
        book.save()
    assert seen == [{"author": Change(ABSENT, unsaved)}]


def test_hooks_run_until_none_has_unseen_changes(lifecycle: Lifecycle, records: Any) -> None:
    """A hook sees what a later one has set, and is not called again for what it did itself."""
    calls: list[str] = []

    @lifecycle.subscribe
    @pre_update(Book, when="slug")
    def count(event: Any) -> None:
        calls.append("count")
        event.changes.set("stock", 1)

    @lifecycle.subscribe
    @pre_update(Book, when="title")
    def slug(event: Any) -> None:
        calls.append("slug")
        event.changes.set("slug", "s")

    book = Book(title="x").save()
    records()
    book.title = "y"
    book.save()
    assert calls == ["slug", "count", "slug"]
    assert set(records()[0].changes) == {"title", "slug", "stock"}


def test_hooks_that_never_rest_are_named(lifecycle: Lifecycle) -> None:
    """And nothing is written."""

    @lifecycle.subscribe
    @pre_persist(Book)
    def up(event: Any) -> None:
        event.changes.set("stock", (event.instance.stock or 0) + 1)

    @lifecycle.subscribe
    @pre_persist(Book)
    def down(event: Any) -> None:
        event.changes.set("stock", event.instance.stock + 1)

    with pytest.raises(HookLoopError, match=r"down of Book \(new\).*up of Book \(new\)"):
        Book(title="x").save()
    assert Book.objects.count() == 0


@pytest.mark.parametrize("write", ["save", "delete"])
def test_a_veto_leaves_the_document_as_it_was(
    lifecycle: Lifecycle, records: Any, write: str
) -> None:
    """Nothing is written or recorded, and the document keeps its changes."""
    book = Book(title="x").save()
    records()

    @lifecycle.subscribe
    @pre_update(Book)
    @pre_remove(Book)
    def refuse(event: Any) -> None:
        event.veto("it is printed")

    book.title = "y"
    with pytest.raises(Veto, match="it is printed"):
        getattr(book, write)()
    assert records() == []
    assert Book.objects.get().title == "x"
    assert book._get_changed_fields() == ["t"]


def test_a_post_hook_that_raises_does_not_hide_what_was_written(
    lifecycle: Lifecycle, records: Any
) -> None:
    """Nothing can be rolled back, so it is recorded."""

    @lifecycle.subscribe
    @post_persist(Book)
    def fail(event: Any) -> None:
        raise ValueError("no mail today")

    with pytest.raises(ValueError, match="no mail today"):
        Book(title="x").save()
    assert Book.objects.count() == 1
    assert [record.operation for record in records()] == ["insert"]


def test_changes_are_frozen_after_the_write(lifecycle: Lifecycle) -> None:
    """Setting one in a post hook is refused."""

    @lifecycle.subscribe
    @post_persist(Book)
    def late(event: Any) -> None:
        event.changes.set("title", "y")

    with pytest.raises(FrozenChangesError):
        Book(title="x").save()


def test_setting_what_is_no_field_is_an_error_that_names_the_fields(lifecycle: Lifecycle) -> None:
    """Before anything is written."""

    @lifecycle.subscribe
    @pre_persist(Author)
    def wrong(event: Any) -> None:
        event.changes.set("nam", "y")

    with pytest.raises(LookupError, match="Author has no field 'nam'; it has id, name, pk"):
        Author(name="x").save()


def test_a_cascade_tells_of_each_document(lifecycle: Lifecycle) -> None:
    """The one referred to goes through its whole life inside that of the owner."""
    told: list[str] = []

    @lifecycle.subscribe
    @pre_update
    @post_update
    def note(event: Any) -> None:
        told.append(f"{event.moment} {event.entity}")

    author = Author(name="x").save()
    book = Book(title="x", author=author).save()
    author.name, book.title = "y", "y"
    book.save(cascade=True)
    assert told == [
        "pre_update Book",
        "pre_update Author",
        "post_update Author",
        "post_update Book",
    ]


class Titled:
    """A mixin for models of both mappers."""

    @pre_persist
    @pre_update(when="title")
    def tidy(self, event: Any) -> None:
        event.changes.set("title", event.changes.new("title").strip())


class Film(Titled, mongoengine.Document):
    title = fields.StringField()


def test_a_mixin_works_on_both_mappers(mongo: object, sqlite_engine: Engine) -> None:
    """The same hooks, the same changes, one log."""

    class Base(DeclarativeBase):
        pass

    class Song(Titled, Base):
        __tablename__ = "songs"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    Base.metadata.create_all(sqlite_engine)
    sessions = sessionmaker(sqlite_engine)
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables(sqlite_engine)
    lifecycle.install(mongoengine)
    lifecycle.install(sessions)
    try:
        with acting("ann"):
            film = Film(title=" a ").save()
            film.title = " b "
            film.save()
            with sessions.begin() as session:
                song = Song(title=" a ")
                session.add(song)
                session.flush()
                song.title = " b "
        for model, id in ((Film, film.id), (Song, 1)):
            newest, oldest = lifecycle.history.of(model, id)
            assert oldest.changes["title"] == Change(ABSENT, "a")
            assert newest.changes == {"title": Change("a", "b")}
            assert newest.actor == "ann"
    finally:
        lifecycle.uninstall(sessions)
        lifecycle.uninstall(mongoengine)
        Base.registry.dispose()


@not_audited
class Hooked(mongoengine.Document):
    name = fields.StringField()

    @pre_persist
    def shout(self) -> None:
        self.name = self.name.upper()


def test_hooks_of_a_class_that_is_not_audited_run(lifecycle: Lifecycle, records: Any) -> None:
    """Only the record is left out."""
    assert Hooked(name="x").save().name == "X"
    assert records() == []


def test_a_condition_on_an_unknown_field_is_found_at_the_first_use_of_a_class(
    lifecycle: Lifecycle,
) -> None:
    """When the class is defined after the installation."""

    class Later(mongoengine.Document):
        name = fields.StringField()

        @pre_update(when="nam")
        def hook(self) -> None: ...

    message = r"asks about 'nam', but .*Later has no such field: it has id, name, pk"
    with pytest.raises(HookDefinitionError, match=message):
        Later(name="x").save()


def test_two_lifecycles_each_run_their_own_hooks_and_keep_their_own_records(
    lifecycle: Lifecycle, records: Any
) -> None:
    """What a hook of one sets is seen by those of the other, and recorded by both."""
    other = Lifecycle(store=MemoryStore())
    other.install(mongoengine)
    seen: list[Any] = []
    try:

        @lifecycle.subscribe
        @pre_update(Author)
        def first(event: Any) -> None:
            seen.append(event.changes.new("name"))

        @other.subscribe
        @pre_update(Author)
        def second(event: Any) -> None:
            event.changes.set("name", "z")

        author = Author(name="x").save()
        author.name = "y"
        author.save()
    finally:
        other.uninstall(mongoengine)
    assert seen == ["y", "z"]
    author.name = "only one is left"
    author.save()
    assert [record.changes.new("name") for record in records()] == ["x", "z", "only one is left"]
    there = other.history.find(newest_first=False)
    assert [record.changes.new("name") for record in there] == ["x", "z"]


def test_a_store_that_fails_does_not_keep_another_lifecycle_from_recording(
    lifecycle: Lifecycle, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a store of its own."""
    failing = Lifecycle(store=MemoryStore())
    failing.install(mongoengine)

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    try:
        for store in (failing.store, lifecycle.store):
            with monkeypatch.context() as patch:
                patch.setattr(store, "append", fail)
                with pytest.raises(RecordingError, match="disk full"):
                    Author(name="x").save()
    finally:
        failing.uninstall(mongoengine)
    assert len(records()) == 1
    assert len(list(failing.history.find())) == 1


def test_an_async_hook_of_a_document_is_refused() -> None:
    """mongoengine has nothing that awaits."""

    class Awaiting(mongoengine.Document):
        @pre_update
        async def hook(self) -> None: ...

    with pytest.raises(HookDefinitionError, match=r"Awaiting\.hook, .* is async"):
        Lifecycle(store=MemoryStore()).install(Awaiting)
