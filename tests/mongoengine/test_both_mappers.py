"""Hooks written once for models of both mappers, and hooks of one that write with the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from re import fullmatch
from typing import Any
from uuid import UUID

import mongoengine
import pytest
from mongoengine import fields
from pymongo.database import Database
from sqlalchemy import JSON, Engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    configure_mappers,
    mapped_column,
    sessionmaker,
)
from starlette.testclient import TestClient

import audit_ui
from lifecycle import (
    Lifecycle,
    Veto,
    acting,
    load_class_metadata,
    on_flush,
    post_commit,
    post_flush,
    post_load,
    post_persist,
    post_remove,
    post_rollback,
    post_update,
    pre_flush,
    pre_load,
    pre_persist,
    pre_remove,
    pre_update,
)

TOLD: list[Any] = []


def note(event: Any) -> None:
    """What a hook was told, in a form that is the same for both mappers."""
    changes = {
        name: change for name, change in sorted(event.changes.items()) if name not in ("id", "_cls")
    }
    TOLD.append((str(event.moment), str(event.operation), changes))


class Hooked:
    """Hooks of every moment that objects have."""

    @pre_persist
    @pre_update(when="title")
    def tidy(self, event: Any) -> None:
        event.changes.set("title", self.title.strip())  # type: ignore[attr-defined]

    @pre_update(when="title", becomes="forbidden")
    def refuse(self, event: Any) -> None:
        event.veto("not that")

    @pre_persist(priority=-1)
    @pre_update(priority=-1)
    @pre_remove
    @post_persist
    @post_update
    @post_remove
    @post_commit
    @post_rollback
    def noting(self, event: Any) -> None:
        note(event)

    @pre_load
    def before(self, event: Any) -> None:
        event.data["stars"] = (event.data["stars"] or 0) + 10

    @post_load
    def after(self) -> None:
        TOLD.append(("post_load", self.title, self.stars))  # type: ignore[attr-defined]


class Picture(Hooked, mongoengine.Document):
    title = fields.StringField()
    stars = fields.IntField()
    tags = fields.ListField(fields.StringField())


class Program:
    """What an application does with its objects, in the words of one mapper."""

    def __init__(self, model: type[Any]) -> None:
        self.model = model

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, which is rolled back by an error."""
        raise NotImplementedError
        yield

    def run(self) -> None:
        """Insert, update, load, delete; change twice in a transaction; refuse; roll back."""
        with self.transaction():
            one = self.add(title=" a ", stars=1, tags=["x"])
        with self.transaction():
            one = self.load()
            one.title = " b "
            self.save(one)
            one.tags = ["x", "y"]
            self.save(one)
        with pytest.raises(Veto, match="not that"), self.transaction():  # noqa: PT012
            one = self.load()
            one.title = "forbidden"
            self.save(one)
        with pytest.raises(ZeroDivisionError), self.transaction():  # noqa: PT012
            one = self.load()
            one.title = "c"
            self.save(one)
            raise ZeroDivisionError
        with self.transaction():
            self.delete(self.load())

    def add(self, **values: Any) -> Any: ...
    def load(self) -> Any: ...
    def save(self, one: Any) -> None: ...
    def delete(self, one: Any) -> None: ...


class WithDocuments(Program):
    def __init__(self, model: type[Any], client: Any) -> None:
        super().__init__(model)
        self.client = client
        model.objects.count()  # makes the collection, which transactions do not

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with (
            self.client.start_session() as session,
            session.bind(end_session=False),
            session.start_transaction(),
        ):
            yield

    def add(self, **values: Any) -> Any:
        return self.model(**values).save()

    def load(self) -> Any:
        return self.model.objects.get()

    def save(self, one: Any) -> None:
        one.save()

    def delete(self, one: Any) -> None:
        one.delete()


class WithObjects(Program):
    def __init__(self, model: type[Any], sessions: Any) -> None:
        super().__init__(model)
        self.sessions = sessions
        self.session: Session

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.sessions.begin() as self.session:
            yield

    def add(self, **values: Any) -> Any:
        one = self.model(**values)
        self.session.add(one)
        self.session.flush()
        return one

    def load(self) -> Any:
        return self.session.get_one(self.model, 1)

    def save(self, one: Any) -> None:
        self.session.flush()

    def delete(self, one: Any) -> None:
        self.session.delete(one)
        self.session.flush()


class Base(DeclarativeBase):
    pass


class Song(Hooked, Base):
    __tablename__ = "both_songs"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    stars: Mapped[int | None]
    tags: Mapped[list[Any] | None] = mapped_column(JSON)


class Bare(Base):
    __tablename__ = "both_plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class PlainDocument(mongoengine.Document):
    name = fields.StringField()
    meta = {"allow_inheritance": True}


class PlainChild(PlainDocument):
    pass


@pytest.fixture
def sessions(sqlite_engine: Engine) -> Any:
    configure_mappers()  # a class is known from then on
    Base.metadata.create_all(sqlite_engine)
    return sessionmaker(sqlite_engine)


@pytest.fixture
def both(mongo: object, sqlite_engine: Engine, sessions: Any) -> Iterator[Lifecycle]:
    """A Lifecycle on both mappers, with one log."""
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables(sqlite_engine)
    lifecycle.install(mongoengine)
    lifecycle.install(sessions)
    TOLD.clear()
    yield lifecycle
    lifecycle.uninstall(sessions)
    lifecycle.uninstall(mongoengine)


def test_hooks_written_once_are_told_the_same_by_both_mappers(
    both: Lifecycle, mongo: Database[Any], sessions: Any
) -> None:
    """Every moment of an object, with the same conditions, events and changes."""
    WithObjects(Song, sessions).run()
    of_objects = list(TOLD)
    TOLD.clear()
    WithDocuments(Picture, mongo.client).run()
    assert of_objects == TOLD
    assert [one[0] for one in TOLD].count("post_commit") == 3
    assert [one[0] for one in TOLD].count("post_rollback") == 1


def test_subscribers_without_targets_are_told_of_both(both: Lifecycle, sessions: Any) -> None:
    """Also of flushes, each of a session or of one document."""
    told: list[Any] = []

    @both.subscribe
    class Listener:
        @pre_flush
        @on_flush
        @post_flush
        def of_flush(self, event: Any) -> None:
            told.append((str(event.moment), [one.entity for one in event.changesets]))

        @post_commit
        def of_object(self, event: Any) -> None:
            told.append((str(event.moment), event.entity))

    with sessions.begin() as session:
        session.add(Bare(name="x"))
    of_objects = list(told)
    told.clear()
    PlainDocument(name="x").save()
    assert of_objects == [
        ("pre_flush", []),
        ("on_flush", ["Bare"]),
        ("post_flush", ["Bare"]),
        ("post_commit", "Bare"),
    ]
    assert told == [
        (moment, ["PlainDocument" for _ in entities])
        if isinstance(entities, list)
        else (moment, "PlainDocument")
        for moment, entities in of_objects
    ]


def test_a_hook_told_of_classes_is_told_of_both(both: Lifecycle) -> None:
    """Those of both mappers, when it asks for them."""
    told: list[type] = []

    @both.subscribe
    @load_class_metadata(Song, Picture)
    def note(event: Any) -> None:
        told.append(event.cls)

    assert set(told) == {Song, Picture}


@pytest.mark.parametrize("sender", [PlainDocument, PlainChild])
def test_signals_are_sent_for_documents_by_class(both: Lifecycle, sender: type) -> None:
    """A receiver of a class gets what inherits from it, and nothing else."""
    told: list[Any] = []

    def receive(sender: type, event: Any) -> None:
        told.append((str(event.moment), sender))

    moments = ("pre_persist", "post_persist", "post_commit", "pre_load", "post_load")
    signals = [getattr(both.signals, moment) for moment in moments]
    for signal in signals:
        signal.connect(receive, sender=sender)
    PlainChild(name="x").save()
    Picture(title="x").save()
    PlainDocument.objects.get()
    expected = [(moment, PlainChild) for moment in moments]
    assert told == expected
    PlainDocument(name="y").save()
    assert (told == expected) is (sender is PlainChild)


def test_a_hook_of_a_document_can_save_objects_and_the_other_way_round(
    both: Lifecycle, sessions: Any
) -> None:
    """Each is recorded on its own account, by the same actor."""

    @both.subscribe
    @post_persist(Picture)
    def to_sql(event: Any) -> None:
        with sessions.begin() as session:
            session.add(Bare(name=event.instance.title))

    @both.subscribe
    @post_commit(Bare)
    def to_document(event: Any) -> None:
        PlainDocument(name=event.changes.new("name")).save()

    with acting("ann"):
        Picture(title="x").save()
    assert PlainDocument.objects.get().name == "x"
    found = both.history.find(actor="ann", newest_first=False)
    assert sorted(record.entity for record in found) == ["Bare", "Picture", "PlainDocument"]


def test_a_veto_of_an_object_in_the_hook_of_a_document_keeps_both_from_being_written(
    both: Lifecycle, sessions: Any
) -> None:
    """When it comes before the document's write."""

    @both.subscribe
    @pre_persist(Bare)
    def refuse(event: Any) -> None:
        event.veto("no")

    @both.subscribe
    @pre_persist(Picture)
    def to_sql(event: Any) -> None:
        with sessions.begin() as session:
            session.add(Bare(name="x"))

    with pytest.raises(Veto):
        Picture(title="x").save()
    assert Picture.objects.count() == 0
    assert list(both.history.find()) == []


def test_what_one_request_wrote_to_both_is_a_group_and_one_page_shows_it(
    both: Lifecycle, sessions: Any
) -> None:
    """Rows of one transaction, a document, and a bulk write of documents."""
    PlainDocument(name="before").save()
    with acting("ann", request_id="r7"):
        with sessions.begin() as session:
            session.add(Bare(name="row"))
        PlainDocument(name="document").save()
        PlainDocument.objects(name="before").update(name="after")

    found = list(both.history.find(request_id="r7", newest_first=False))
    assert [(one.entity, one.operation.value) for one in found] == [
        ("Bare", "insert"),
        ("PlainDocument", "insert"),
        ("PlainDocument", "update"),
    ]
    [group] = {one.revision.group for one in found}
    assert len({one.revision.id for one in found}) == 3

    app = audit_ui.create_app(both, access=lambda user, action, subject: True)
    with TestClient(app, base_url="http://testserver") as client:
        shown = client.get(f"/g/{group}.json").json()
    assert {one.revision.id for one in found} <= {UUID(id) for id in ids_in(shown)}


def ids_in(shown: Any) -> Iterator[str]:
    """Everything that is an id in what a page shows."""
    if isinstance(shown, dict):
        for value in shown.values():
            yield from ids_in(value)
    elif isinstance(shown, list):
        for value in shown:
            yield from ids_in(value)
    elif isinstance(shown, str) and fullmatch("[0-9a-f-]{36}", shown):
        yield shown
