"""References on the pages: beside a key, what the object it leads to was called then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    String,
    Table,
    create_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker
from sqlalchemy_utils import ChoiceType
from starlette.testclient import TestClient

import audit_ui
from audit_ui.referring import Remembered
from lifecycle import Lifecycle, acting, audited, not_audited
from lifecycle.audit.records import Record
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import HistoryError
from tests.statements import statements
from tests.ui.conftest import everyone


class Base(DeclarativeBase):
    pass


clubs = Table(
    "wer_in",
    Base.metadata,
    Column("person_id", ForeignKey("wer_people.id"), primary_key=True),
    Column("club_id", ForeignKey("wer_clubs.id"), primary_key=True),
)


@audited(entity="wer.Club", label="name")
class WerClub(Base):
    __tablename__ = "wer_clubs"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))


@audited(entity="wer.Person", label="name")
class WerPerson(Base):
    __tablename__ = "wer_people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("wer_people.id"))
    clubs: Mapped[list[WerClub]] = relationship(secondary=clubs)


@audited(entity="wer.Room")
class WerRoom(Base):
    __tablename__ = "wer_rooms"
    house: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


@not_audited
class WerUnseen(Base):
    __tablename__ = "wer_unseen"
    id: Mapped[int] = mapped_column(primary_key=True)


@audited(entity="wer.Key", label="id")
class WerKey(Base):
    __tablename__ = "wer_keys"
    __table_args__ = (
        ForeignKeyConstraint(["house", "room"], ["wer_rooms.house", "wer_rooms.number"]),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    house: Mapped[int]
    room: Mapped[int]
    owner_id: Mapped[int] = mapped_column(ForeignKey("wer_people.id"))
    unseen_id: Mapped[int | None] = mapped_column(ForeignKey("wer_unseen.id"))


@audited(entity="wer.Lock")
class WerLock(Base):
    __tablename__ = "wer_locks"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Any] = mapped_column(ChoiceType([("m", "<main> door"), ("c", "cellar")]))


class House:
    """People with keys to rooms, and the pages of what became of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        Base.metadata.create_all(engine)
        self.session = sessionmaker(engine)
        self.lifecycle = Lifecycle()
        self.lifecycle.install(self.session)
        self.lifecycle.create_tables(engine)

    def add(self, *objects: Any) -> None:
        with self.session.begin() as session:
            session.add_all(objects)

    def change(self, model: type, id: Any, **values: Any) -> Record:
        with self.session.begin() as session:
            found = session.get_one(model, id)
            for name, value in values.items():
                setattr(found, name, value)
        return next(self.lifecycle.history.of(model, id))

    def browse(self, **options: Any) -> TestClient:
        app = audit_ui.create_app(self.lifecycle, **{"access": everyone, **options})
        return TestClient(app)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Ann has a key of a room; then it becomes Bob's, and both of them change their names."""
    engine = create_engine(f"sqlite:///{tmp_path}/house.db")
    house = House(engine)
    house.add(WerPerson(id=1, name="Ann"), WerPerson(id=2, name="Bob"), WerRoom(house=7, number=3))
    house.add(WerKey(id=1, house=7, room=3, owner_id=1))
    house.change(WerPerson, 1, name="Anna")
    house.change(WerKey, 1, owner_id=2)
    house.change(WerPerson, 2, name="Robert")
    house.change(WerPerson, 1, name="Annabel")
    yield house
    house.lifecycle.uninstall(house.session)
    engine.dispose()


def referred(page: str) -> list[tuple[str, str]]:
    """The names on a page that stand beside keys, and where they lead."""
    found = re.findall(r'<a class="refers" href="([^"]+)"><bdi>([^<]*)</bdi></a>', page)
    return [(unescape(name), href.rpartition("o/")[2]) for href, name in found]


ANN, BOB = "wer.Person/1", "wer.Person/2"


def test_a_reference_has_the_name_of_that_time(house: House) -> None:
    """On the pages of the record, the object, its state, and the field; linked to the object."""
    moved, made = house.lifecycle.history.of(WerKey, 1)
    with house.browse() as client:
        assert referred(client.get(f"/r/{moved.id}").text) == [("Anna", ANN), ("Bob", BOB)]
        assert ("Ann", ANN) in referred(client.get(f"/r/{made.id}").text)
        page = client.get("/o/wer.Key/1").text
        assert referred(page)[:2] == [("Anna", ANN), ("Bob", BOB)]
        assert ("Bob", BOB) in referred(page)[2:], "of its state then"
        then = referred(client.get(f"/o/wer.Key/1?v={made.id}&against=now").text)
        assert then[:2] == [("Ann", ANN), ("Bob", BOB)]
        values = referred(client.get("/o/wer.Key/1/f/owner_id").text)
        assert values == [("Bob", BOB), ("Ann", ANN)]
        undo = referred(client.get(f"/r/{moved.id}/undo").text)
        assert undo == [("Robert", BOB), ("Annabel", ANN)], "as it is now, and would be"


def test_a_name_of_the_same_transaction_is_known(house: House) -> None:
    """Whichever of both was written first."""
    house.add(WerKey(id=5, house=7, room=3, owner_id=9), WerPerson(id=9, name="Nora"))
    [made] = house.lifecycle.history.of(WerKey, 5)
    with house.browse() as client:
        assert ("Nora", "wer.Person/9") in referred(client.get(f"/r/{made.id}").text)


def test_several_fields_may_make_one_reference(house: House) -> None:
    """An object without a name goes by its entity and key; beside the last of the fields."""
    [*_, made] = house.lifecycle.history.of(WerKey, 1)
    with house.browse() as client:
        page = client.get(f"/r/{made.id}").text
    assert ("wer.Room 7,3", "wer.Room/7,3") in referred(page)
    row = re.search(r'<th scope="row">(?:(?!<th).)*wer\.Room/7,3', page, re.S)
    assert row is not None
    assert "room" in row[0]


def test_members_of_collections_have_names(house: House) -> None:
    """Those that came, and those that went."""
    house.add(WerClub(id=1, name="Chess"), WerClub(id=2, name="Golf"))
    with house.session.begin() as session:
        session.get_one(WerPerson, 1).clubs = [session.get_one(WerClub, 1)]
    with house.session.begin() as session:
        session.get_one(WerPerson, 1).clubs = [session.get_one(WerClub, 2)]
    changed = next(house.lifecycle.history.of(WerPerson, 1))
    with house.browse() as client:
        page = client.get(f"/r/{changed.id}").text
    assert referred(page) == [("Chess", "wer.Club/1"), ("Golf", "wer.Club/2")]


def test_choices_have_the_names_that_the_model_gives_them(house: House) -> None:
    """Beside the value that is recorded, in tables and in lists of changes."""
    house.add(WerLock(id=1, kind="m"))
    changed = house.change(WerLock, 1, kind="c")
    assert house.lifecycle.models.choices("wer.Lock") == {
        "kind": {"m": "<main> door", "c": "cellar"}
    }
    with house.browse() as client:
        page = client.get(f"/r/{changed.id}").text
        assert '<span class="note">&lt;main&gt; door</span>' in page
        assert '<span class="note">cellar</span>' in page
        assert "m (&lt;main&gt; door)</del>" in client.get("/o/wer.Lock/").text
        field = client.get("/o/wer.Lock/1/f/kind").text
        assert field.index("cellar") < field.index("door")


def test_what_is_not_recorded_has_no_name(house: House) -> None:
    """Nor a link, which would lead to nothing."""
    house.add(WerUnseen(id=4), WerKey(id=6, house=7, room=3, owner_id=2, unseen_id=4))
    [made] = house.lifecycle.history.of(WerKey, 6)
    with house.browse() as client:
        found = [to for _, to in referred(client.get(f"/r/{made.id}").text)]
    assert sorted(found) == [BOB, "wer.Room/7,3"]


def test_names_are_for_who_may_see_their_objects(house: House) -> None:
    """Access is asked about each object; and a field that is hidden refers to nothing."""
    moved = next(house.lifecycle.history.of(WerKey, 1))

    def not_ann(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        return (subject.entity, subject.key) != ("wer.Person", "1")

    def no_owners(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        return subject.field != "owner_id"

    with house.browse(access=not_ann) as client:
        assert referred(client.get(f"/r/{moved.id}").text) == [("Bob", BOB)]
    with house.browse(access=no_owners, field_rights=True) as client:
        page = client.get("/o/wer.Key/1").text
        assert [to for _, to in referred(page)] == ["wer.Room/7,3"]


@pytest.mark.parametrize("address", ["/r/{}", "/o/wer.Key/1?v={}", "/o/wer.Key/1/f/owner_id"])
def test_names_take_no_more_than_three_questions(house: House, address: str) -> None:
    """All names of a page are asked for at once, with what else is still wanted."""
    for number in range(10):
        house.change(WerKey, 1, owner_id=1 + number % 2)
    record = next(house.lifecycle.history.of(WerKey, 1))
    with house.browse() as client, statements(house.engine) as seen:
        assert referred(client.get(address.format(record.id)).text)
    assert len([one for one in seen if one.lstrip("( ").startswith(("SELECT", "WITH"))]) <= 3


def test_a_page_names_all_its_objects_in_one_question(house: House) -> None:
    """A hundred take no more of them than one."""
    house.add(*(WerClub(id=id, name=f"Club {id}") for id in range(1, 131)))
    with house.session.begin() as session:
        every = [session.get_one(WerClub, id) for id in range(1, 131)]
        session.get_one(WerPerson, 1).clubs = every[:60]
        session.get_one(WerPerson, 2).clubs = every[60:]
    changed = next(house.lifecycle.history.of(WerPerson, 1))
    with house.browse() as client, statements(house.engine) as seen:
        shown = referred(client.get(f"/r/{changed.id}?full=1").text)
    assert {name for name, _ in shown} >= {f"Club {id}" for id in range(1, 61)}
    assert len([one for one in seen if one.lstrip("( ").startswith(("SELECT", "WITH"))]) == 2


def test_a_page_names_so_many_and_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many its record refers to, where the store asks for each by itself."""
    monkeypatch.setattr(type(house.lifecycle.store), "glimpses_at_once", 3)
    house.add(*(WerClub(id=id, name=f"Club {id}") for id in range(1, 9)))
    with house.session.begin() as session:
        session.get_one(WerPerson, 1).clubs = [session.get_one(WerClub, id) for id in range(1, 9)]
    changed = next(house.lifecycle.history.of(WerPerson, 1))
    with house.browse() as client:
        assert len(referred(client.get(f"/r/{changed.id}").text)) == 3


def test_documents_are_named_too(mongo: object) -> None:
    """Beside a reference field, and beside each element of a list of them."""

    @audited(label="name")
    class WerAuthor(mongoengine.Document):
        name = fields.StringField()
        meta = {"collection": "wer_authors"}

    class WerBook(mongoengine.Document):
        author = fields.ReferenceField(WerAuthor)
        others = fields.ListField(fields.LazyReferenceField(WerAuthor))
        moods = fields.ListField(fields.StringField(choices=(("g", "glad"), ("s", "sad"))))
        meta = {"collection": "wer_books"}

    lifecycle = Lifecycle(store=MemoryStore())
    lifecycle.install(WerAuthor)
    lifecycle.install(WerBook)
    ann, bob, cleo = (WerAuthor(name=name).save() for name in ("Ann", "Bob", "Cleo"))
    book = WerBook(author=ann, others=[bob]).save()
    book.author = bob
    book.others = [bob, cleo]
    book.moods = ["s", "g"]
    book.save()
    changed = next(lifecycle.history.of(book))
    ann.name = "Anna"
    ann.save()
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        page = client.get(f"/r/{changed.id}").text
    assert [name for name, _ in referred(page)] == ["Ann", "Bob", "Cleo"]
    assert '<span class="note">sad, glad</span>' in page
    lifecycle.uninstall(WerBook)
    lifecycle.uninstall(WerAuthor)


def test_lists_of_changes_name_what_their_values_refer_to(house: House) -> None:
    """On the feed, the pages of an entity, a transaction and an actor, and beside a record."""
    with acting("zoe"):
        moved = house.change(WerKey, 1, owner_id=1)
    with house.browse() as client, statements(house.engine) as seen:
        for address in ("/", "/o/wer.Key/", "/a/zoe", f"/t/{moved.revision.id}"):
            seen.clear()
            found = referred(client.get(address).text)
            assert found[:2] == [("Robert", BOB), ("Annabel", ANN)], address
            asked = [one for one in seen if one.lstrip("( ").startswith(("SELECT", "WITH"))]
            assert len(asked) <= 3, address
        seen.clear()
        assert referred(client.get("/?-actor=eve").text)[:2] == found[:2]
        assert len([one for one in seen if one.startswith(("SELECT", "WITH"))]) <= 3


def test_a_search_that_has_asked_three_questions_names_nothing(house: House) -> None:
    """Which it does where it looks far, and the entities to choose from are not known yet."""
    for number in range(220):
        house.change(WerKey, 1, owner_id=1 + number % 2)
    with house.browse() as client, statements(house.engine) as seen:
        for names in (False, True):
            seen.clear()
            page = client.get("/?-entity=wer.Person&-operation=update").text
            assert bool(referred(page)) is names
            asked = [one for one in seen if one.lstrip("( ").startswith(("SELECT", "WITH"))]
            assert len(asked) == 3


def test_beside_a_record_the_others_of_its_transaction_are_named(house: House) -> None:
    """In the same question as its own."""
    house.add(WerPerson(id=8, name="Hal", boss_id=2), WerRoom(house=9, number=9))
    room = next(house.lifecycle.history.of(WerRoom, (9, 9)))
    with house.browse() as client:
        assert ("Robert", BOB) in referred(client.get(f"/r/{room.id}").text)


def test_models_are_asked_once_about_each_entity(house: House) -> None:
    """By one page, whether they know a relationship or not."""
    asked: list[str] = []

    class Counting:
        def pointers(self, entity: str | None = None, *, source: str | None = None) -> list[Any]:
            asked.append(f"{entity} {source}")
            return house.lifecycle.models.pointers(entity, source=source)

        def relation(self, entity: str, name: str) -> Any:
            asked.append(f"{entity}.{name}")
            return house.lifecycle.models.relation(entity, name)

        def choices(self, entity: str) -> Any:
            asked.append(f"{entity}?")
            return {}

    known = Remembered(Counting())
    for _ in range(2):
        [owner] = known.pointers("wer.Person", source="wer.Person")
        assert owner.fields == ("boss_id",)
        assert len(known.pointers(source="wer.Key")) == 3
        assert known.relation("wer.Person", "clubs").target == "wer.Club"
        with pytest.raises(HistoryError, match="nothing"):
            known.relation("wer.Person", "nothing")
        assert known.choices("wer.Key") == {}
    told = ["None wer.Key", "wer.Person.clubs", "wer.Person.nothing", "wer.Key?"]
    assert asked[1:-1] == told
