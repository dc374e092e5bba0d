"""Kinds of identifiers, of models and of sessions that references have to do with."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

import mongoengine
import pytest
from bson import ObjectId
from mongoengine import fields
from sqlalchemy import Engine, LargeBinary, String, Uuid, create_engine, select, update
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)
from sqlmodel import Field, SQLModel

from lifecycle import Lifecycle, ReferenceMany, ReferenceOne
from lifecycle.behaviours import behaviours_of
from lifecycle.behaviours.references import (
    ReferenceManyEmbedded,
    aprefetch,
    prefetch,
    references_of,
)
from lifecycle.errors import ConfigurationError, MissingReference
from tests.behaviours.conftest import DocumentWorld, SqlWorld
from tests.behaviours.linking import Link, linked, questions
from tests.statements import statements

BY_UUID = pytest.mark.real_mongodb("finding documents by UUID")


@pytest.fixture
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Rows that refer to documents."""
    with linked(request, "sqlite-mongo") as made:
        yield made


@pytest.fixture
def back(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Documents that refer to rows."""
    with linked(request, "mongo-sqlite") as made:
        yield made


def rows(link: Link) -> SqlWorld:
    """The side that is in a SQL database."""
    found = link.near if isinstance(link.near, SqlWorld) else link.far
    assert isinstance(found, SqlWorld)
    return found


# --- identifiers ---


@pytest.mark.parametrize(
    ("of_target", "identifier", "column"),
    [
        (fields.ObjectIdField, ObjectId("64" * 12), String(24)),
        (fields.ObjectIdField, ObjectId("64" * 12), LargeBinary(12)),
        pytest.param(fields.UUIDField, UUID(int=7), String(36), marks=BY_UUID),
        pytest.param(fields.UUIDField, UUID(int=7), Uuid(), marks=BY_UUID),
        pytest.param(fields.UUIDField, UUID(int=7), LargeBinary(16), marks=BY_UUID),
        (fields.IntField, 12, String(20)),
        (fields.StringField, "a b", String(20)),
    ],
)
def test_rows_hold_the_identifiers_of_documents(
    mongo: object, link: Link, of_target: Any, identifier: Any, column: Any
) -> None:
    """In a column of any type that can, both ways, for one and for many."""
    near = rows(link)
    body = {"__module__": __name__, "id": of_target(primary_key=True)}
    body["sources"] = ReferenceMany("Source", mapped_by="target")
    target: Any = type(mongoengine.Document)("Target", (mongoengine.Document,), body)

    class Source(near.base):
        __tablename__ = "sources"
        id: Mapped[int] = mapped_column(primary_key=True)
        target_id = mapped_column(column)
        target: ReferenceOne[Any] = ReferenceOne(lambda: target, "target_id")

    link.install()
    made = target(id=identifier).save(force_insert=True)
    with near.transaction() as session:
        session.add(Source(target=made))
    with near.transaction() as session:
        source = session.scalars(select(Source)).one()
        assert source.target == made
    assert [one.id for one in target.objects.get().sources] == [1]
    assert list(link.lifecycle.references.check(Source)) == []
    made.delete()
    assert len(list(link.lifecycle.references.check(Source))) == 1


@pytest.mark.parametrize(
    ("column", "identifier", "of_source"),
    [
        (Uuid(), uuid4(), fields.StringField),
        pytest.param(Uuid(), uuid4(), fields.UUIDField, marks=BY_UUID),
        (String(24), "64" * 12, fields.ObjectIdField),
        (String(24), "plain", fields.StringField),
    ],
)
def test_documents_hold_the_identifiers_of_rows(
    mongo: object, back: Link, column: Any, identifier: Any, of_source: Any
) -> None:
    """In a field of any type that can."""
    far = rows(back)

    class Target(far.base):
        __tablename__ = "targets"
        id = mapped_column(column, primary_key=True)
        sources: ReferenceMany[Any] = ReferenceMany("Source", mapped_by="target")

    body = {"__module__": __name__, "target_id": of_source()}
    body["target"] = ReferenceOne(Target, "target_id", inversed_by="sources")
    source: Any = type(mongoengine.Document)("Source", (mongoengine.Document,), body)
    back.install()
    with far.transaction() as session:
        session.add(Target(id=identifier))
    (found,) = far.find(Target)
    made = source()
    made.target = found
    made.save()
    assert source.objects.get().target.id == identifier
    with far.transaction() as session:
        assert [one.id for one in session.get(Target, identifier).sources] == [made.id]


def test_what_cannot_be_an_identifier_leads_to_nothing(link: Link) -> None:
    """It is missing like any other, and reported."""
    source = link.near.model(
        "Source",
        mixin=type("M", (), {"target": ReferenceOne("Target", "target_id")}),
        target_id="text",
    )
    link.far.model("Target", name="text")
    link.install()
    link.near.new(source, target_id="no object id")
    with pytest.raises(MissingReference, match="no object id"):
        link.near.read(source, 1, "target")
    found = link.lifecycle.references.check(source)
    assert [one.identifier for one in found] == ["no object id"]


def test_a_field_that_cannot_hold_the_identifier_says_so(back: Link) -> None:
    """When it is assigned."""
    far = rows(back)
    target = far.model("Target", name="text")
    body = {"__module__": __name__, "target_id": fields.ObjectIdField()}
    body["target"] = ReferenceOne(target, "target_id")
    source: Any = type(mongoengine.Document)("Source", (mongoengine.Document,), body)
    back.install()
    identifier = far.new(target, name="t")
    with pytest.raises(ValueError, match=r"Source.target: target_id cannot hold the identifier"):
        source().target = far.find(target, id=identifier)[0]


def test_keys_of_several_parts_take_as_many_fields(
    postgresql_engine: Engine, tmp_path: Any
) -> None:
    """In their order; one part without a value is no reference."""
    elsewhere = create_engine(f"sqlite:///{tmp_path / 'seats.sqlite'}")

    class Base(DeclarativeBase):
        pass

    class Seat(Base):
        __tablename__ = "seats"
        room: Mapped[str] = mapped_column(String(10), primary_key=True)
        number: Mapped[int] = mapped_column(primary_key=True)
        tickets: ReferenceMany[Any] = ReferenceMany("Ticket", mapped_by="seat")

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        room: Mapped[str | None] = mapped_column(String(10))
        number: Mapped[int | None]
        seat = ReferenceOne(Seat, ("room", "number"), on_delete="nullify")

    for engine, table in ((postgresql_engine, Ticket), (elsewhere, Seat)):
        table.__table__.create(engine)  # type: ignore[attr-defined]
    here, there = sessionmaker(postgresql_engine), sessionmaker(elsewhere)
    lifecycle = Lifecycle(after_commit="raise")
    for factory, engine in ((here, postgresql_engine), (there, elsewhere)):
        lifecycle.install(factory)
        lifecycle.create_tables(engine)
    with there.begin() as session:
        session.add_all([Seat(room="a", number=n) for n in (1, 2)])
    with there() as session:
        first, second = session.scalars(select(Seat).order_by(Seat.number))
    with here.begin() as session:
        session.add_all([Ticket(seat=first), Ticket(seat=second), Ticket(room="a"), Ticket()])
    with here() as session, statements(elsewhere) as asked:
        tickets = session.scalars(select(Ticket).order_by(Ticket.id)).all()
        found = [one.seat and one.seat.number for one in tickets]
    assert found == [1, 2, None, None]
    assert len([one for one in asked if "FROM seats" in one]) == 1
    assert [one.id for one in second.tickets] == [2]
    with there.begin() as session:
        session.delete(session.get(Seat, ("a", 1)))
    with here() as session:
        cleared = session.get(Ticket, 1)
        assert cleared is not None
        assert (cleared.room, cleared.number) == (None, None)
    with lifecycle.suppressed(), there.begin() as session:
        session.delete(session.get(Seat, ("a", 2)))
    (found_one,) = lifecycle.references.check(Ticket)
    assert (found_one.key, found_one.identifier) == ("2", "a,2")
    with pytest.raises(ConfigurationError, match=r"holds 1 values .* identified by 2"):
        _ = type("M", (), {"seat": ReferenceOne(Seat, "room")}).seat.target  # type: ignore
    for factory in (here, there):
        lifecycle.uninstall(factory)
    Base.registry.dispose()
    elsewhere.dispose()


# --- models ---


def test_subclasses_inherit_references_and_are_led_to(link: Link) -> None:
    """Of both mappers: a reference to a class leads to its subclasses, not to its siblings."""
    near = rows(link)

    class Conveyance(mongoengine.Document):
        meta = {"allow_inheritance": True}
        name = fields.StringField()

    class Car(Conveyance):
        pass

    class Lorry(Conveyance):
        pass

    class Owner(near.base):
        __tablename__ = "owners"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(10))
        vehicle_id: Mapped[str | None] = mapped_column(String(24))
        car_id: Mapped[str | None] = mapped_column(String(24))
        vehicle = ReferenceOne(Conveyance, "vehicle_id", on_delete="nullify")
        car = ReferenceOne(Car, "car_id")
        __mapper_args__: ClassVar[Any] = {"polymorphic_on": "kind", "polymorphic_identity": "owner"}

    class Company(Owner):
        __mapper_args__: ClassVar[Any] = {"polymorphic_identity": "company"}

    link.install()
    car, lorry = Car(name="c").save(), Lorry(name="l").save()
    with near.transaction() as session:
        session.add(Company(vehicle=lorry, car=car))
        session.add(Owner(vehicle=car, car_id=str(lorry.id)))
    with near.transaction() as session:
        company, owner = session.scalars(select(Owner).order_by(Owner.id))
        assert [company.vehicle, company.car, owner.vehicle] == [lorry, car, car]
        with pytest.raises(MissingReference):
            _ = owner.car
        with pytest.raises(TypeError, match=r"Owner.car takes a .*Car or None, not a .*Lorry"):
            owner.car = lorry  # type: ignore[assignment]
    assert [one.name for one in link.lifecycle.references.check(Owner)] == ["car"]
    assert list(link.lifecycle.references.check(Company)) == []
    lorry.delete()
    assert near.read(Company, 1, "vehicle_id") is None


def test_mappers_leave_the_descriptors_alone(link: Link) -> None:
    """Dataclass mappings and SQLModel too; a reference is no field, and is told of."""
    near = rows(link)
    its: Any = link.far.model("Target", name="text")

    class Dataclasses(MappedAsDataclass, DeclarativeBase):
        registry = near.base.registry

    class Plain(Dataclasses):
        __tablename__ = "plain"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        target_id: Mapped[str | None] = mapped_column(String(24), default=None)
        target = ReferenceOne(its, "target_id")

    class Annotated(Dataclasses):
        __tablename__ = "annotated"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        target_id: Mapped[str | None] = mapped_column(String(24), default=None)
        target: ReferenceOne[Any] = ReferenceOne(its, "target_id")

    class Modelled(SQLModel, table=True):
        __table_args__: ClassVar[Any] = {"extend_existing": True}
        id: int | None = Field(default=None, primary_key=True)
        target_id: str | None = None
        target = ReferenceOne(its, "target_id")

    link.install()
    SQLModel.metadata.create_all(near.engine)
    found = its(name="t").save()
    assert Plain().target is None
    assert Annotated().target is None
    assert Annotated(target=found).target_id == str(found.id)  # type: ignore[arg-type]
    with near.transaction() as session:
        for cls in (Plain, Annotated, Modelled):
            one: Any = cls()
            one.target = found
            session.add(one)
    with near.transaction() as session:
        for cls in (Plain, Annotated, Modelled):
            assert session.scalars(select(cls)).one().target == found
            (behaviour,) = behaviours_of(cls)
            assert str(behaviour).startswith(
                "ReferenceOne(name='target', to='Target', by='target_id'"
            )
            assert list(references_of(cls)) == ["target"]
    SQLModel.metadata.drop_all(near.engine)
    SQLModel.metadata.remove(Modelled.__table__)  # type: ignore[attr-defined]


def test_declarations_that_cannot_work_are_refused(link: Link) -> None:
    """Each in a sentence that says what to do."""
    for wrong, message in (
        (lambda: ReferenceOne(7, "x"), "give a mapped class, its name, or a function"),
        (lambda: ReferenceOne("T", "no field"), "name an attribute"),
        (lambda: ReferenceOne("T", ()), "name an attribute"),
        (lambda: ReferenceOne("T", "x", missing="skip"), "use one of raise, none"),
        (lambda: ReferenceOne("T", "x", session=7), "a scoped_session"),
        (lambda: ReferenceMany("T", mapped_by=""), "name an attribute"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            wrong()
    near = rows(link)
    target = link.far.model("Target", name="text")
    with pytest.raises((ConfigurationError, RuntimeError)) as raised:  # in which 3.11 wraps it
        type("M", (), {"_dynamic": True, "target": ReferenceOne(target, "x")})
    assert "is on a dynamic document" in str(raised.value.__cause__ or raised.value)
    for reference, message in (
        (ReferenceOne("Nobody", "x"), r"refers to 'Nobody', and the mapped classes .* are: none"),
        (ReferenceOne(lambda: int, "x"), "which is no mapped class"),
        (ReferenceOne(target, "x", inversed_by="name"), "has no ReferenceMany of that name"),
        (ReferenceManyEmbedded(target, "name.inner"), "leads nowhere in Target"),
        (ReferenceManyEmbedded(near.model("Row"), "name"), "no documents are embedded in rows"),
    ):
        holder = type("Holder", (), {"it": reference})
        with pytest.raises(ConfigurationError, match=message):
            _ = holder.it.target  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="has no reference 'size'; it has none"):
        prefetch([target()], "size")
    mixin = type("M", (), {"target": ReferenceOne(target, "nowhere")})
    broken = near.model("Broken", mixin=mixin, name="text")
    with pytest.raises(ConfigurationError, match=r"is about 'nowhere', which is no field of it"):
        link.install()
    del broken  # it is checked for as long as it is there


def test_what_must_have_a_value_cannot_be_nullified(link: Link) -> None:
    """Said when it is installed; and a repair of such is refused before it changes anything."""
    near = rows(link)
    its = link.far.model("Target", name="text")

    class Source(near.base):
        __tablename__ = "sources"
        id: Mapped[int] = mapped_column(primary_key=True)
        target_id: Mapped[str] = mapped_column(String(24))
        target = ReferenceOne(its, "target_id")

    link.install()
    near.new(Source, target_id="gone")
    with pytest.raises(ConfigurationError, match=r"target_id' of .*Source must have a value"):
        list(link.lifecycle.references.check(Source, repair="nullify"))
    list(link.lifecycle.references.check(Source, repair="delete"))
    assert near.find(Source) == []

    class Nullified(near.base):
        __tablename__ = "nullified"
        id: Mapped[int] = mapped_column(primary_key=True)
        target_id: Mapped[str] = mapped_column(String(24))
        target = ReferenceOne(its, "target_id", on_delete="nullify")

    with pytest.raises(ConfigurationError, match=r"target_id' of .*Nullified must have a value"):
        near.find(Nullified)


def test_documents_are_found_by_what_is_embedded_in_them(back: Link) -> None:
    """Gedmo's works for one manager only; here the path is checked, and dangling ones reported."""
    far = rows(back)
    far.model(
        "Author",
        mixin=type("M", (), {"reviewed": ReferenceManyEmbedded("Book", "reviews.author_id")}),
        name="text",
    )
    review: Any = type(mongoengine.EmbeddedDocument)(
        "Review",
        (mongoengine.EmbeddedDocument,),
        {"__module__": __name__, "author_id": fields.IntField(db_field="a")},
    )
    book: Any = type(mongoengine.Document)(
        "Book",
        (mongoengine.Document,),
        {
            "__module__": __name__,
            "title": fields.StringField(),
            "reviews": fields.EmbeddedDocumentListField(review, db_field="r"),
        },
    )
    author = next(cls for cls in far.base.__subclasses__() if cls.__name__ == "Author")
    back.install()
    for name in "ab":
        far.new(author, name=name)
    for title, authors in (("one", [1]), ("both", [1, 2, 1]), ("none", []), ("gone", [9])):
        book(title=title, reviews=[review(author_id=one) for one in authors]).save()
    (first, other) = far.find(author)
    with questions(back.near, book) as asked:
        assert [one.title for one in first.reviewed] == ["one", "both"]
        assert len(first.reviewed) == 2
        assert [one.title for one in other.reviewed] == ["both"]
    assert len(asked) == 2
    with pytest.raises(TypeError, match=r"change reviews.author_id of the Book and save that"):
        first.reviewed.add(book())
    (dangling,) = back.lifecycle.references.check(book)
    assert str(dangling).endswith(": reviews.author_id refers to Author 9, which is not there")


# --- what is kept ---


def referring(link: Link, **options: Any) -> tuple[Any, Any, list[Any]]:
    """A source model, a target model, and two targets."""
    mixin = type("M", (), {"target": ReferenceOne("Target", "target_id", **options)})
    source = link.near.model("Source", mixin=mixin, name="text", target_id="text")
    target = link.far.model("Target", name="text")
    link.install()
    identifiers = [link.far.new(target, name=name) for name in ("one", "other")]
    return source, target, [link.far.find(target, id=one)[0] for one in identifiers]


def test_nothing_stale_is_given_by_a_session(link: Link) -> None:
    """After a rollback, an expiry, a refresh, and a new value by a statement."""
    source, _, (one, other) = referring(link)
    near = rows(link)
    with near.factory() as session:
        session.add(source(target=one))
        session.commit()
        found = session.scalars(select(source)).one()
        found.target = other
        session.rollback()
        assert found.target == one
        found.target.name = "edited, never saved"
        session.expire(found)
        assert found.target.name == "one"
        session.execute(
            update(source).values(target_id=str(other.id)),
            execution_options={"synchronize_session": False},
        )
        session.refresh(found)
        assert found.target.name == "other"
        found.target = type(one)(name="unsaved")
        session.rollback()
        assert found.target == one


def test_nothing_stale_is_given_by_a_document(back: Link) -> None:
    """After a reload, also when its identifier is what it was."""
    source, target, (one, other) = referring(back)
    made = source(target_id=str(one.id)).save()
    assert made.target.name == "one"
    rows(back).edit(target, one.id, name="renamed")
    assert made.target.name == "one"
    made.reload()
    assert made.target.name == "renamed"
    source.objects.update(target_id=str(other.id))
    made.reload("target_id")
    assert made.target.name == "other"
    made.modify(target_id=str(one.id))
    assert made.target.name == "renamed"


def test_a_document_without_its_identifier_does_not_say_none(back: Link) -> None:
    """It was not read, which is not the same as having none."""
    source, _, (one, _) = referring(back)
    source(name="s", target_id=str(one.id)).save()
    source(name="s").save()
    referred, free = source.objects.order_by("id")
    assert referred.target.id == one.id
    assert free.target is None
    partial = source.objects.only("name").first()
    with pytest.raises(MissingReference, match="was loaded without target_id"):
        _ = partial.target
    partial.reload()
    assert partial.target.id == one.id


def test_what_was_deleted_here_is_not_given_any_more(link: Link) -> None:
    """Though the identifier is still the same."""
    source, _, (one, _) = referring(link)
    link.near.new(source, name="s", target_id=str(one.id))
    with link.near.transaction():
        (found,) = link.near.find(source)
        found.target.delete()
        with pytest.raises(MissingReference):
            _ = found.target


def test_copies_and_pickles_take_no_objects_of_others_along(link: Link) -> None:
    """They read theirs themselves."""
    source, _, (one, _) = referring(link)
    made = source(target_id=str(one.id))
    assert made.target == one
    state = copy.deepcopy(
        {name: value for name, value in vars(made).items() if "lifecycle" in name}
    )
    assert list(state.values()) == [{}]
    assert pickle.loads(pickle.dumps(state)) == state


def test_missing_ones_can_read_as_none(link: Link) -> None:
    """Where that is declared."""
    source, _, (one, _) = referring(link, missing="none")
    link.near.new(source, name="s", target_id=str(one.id))
    one.delete()
    assert link.near.read(source, 1, "target") is None


# --- sessions ---


def test_a_thousand_orders_are_one_question(link: Link) -> None:
    """A thousand rows that lead to a thousand documents; and a document is asked for once."""
    source, target, _ = referring(link)
    near = rows(link)
    ids = target.objects.insert([target(name=f"t{n}") for n in range(1_000)], load_bulk=False)
    with near.transaction() as session, link.lifecycle.suppressed():
        session.add_all([source(name=str(n), target_id=str(one)) for n, one in enumerate(ids)])
    with near.transaction() as session, questions(link.far, target) as asked:
        for found in session.scalars(select(source)):
            assert found.target.name == f"t{found.name}"
    assert len(asked) == 1


def test_an_object_is_read_in_the_session_that_is_given(back: Link) -> None:
    """Where it has an identity, can be changed, and follows its relationships."""
    far = rows(back)
    registry = scoped_session(far.factory)
    source, target, (one, _) = referring(back, session=registry)
    made = source(target_id=str(one.id)).save()
    found = made.target
    assert found is registry.get(target, one.id)
    found.name = "changed"
    registry.commit()
    registry.remove()
    assert far.read(target, one.id, "name") == "changed"


def test_one_session_over_two_databases_reads_both(sqlite_engine: Engine, tmp_path: Any) -> None:
    """The owner's own session is used when it reaches the table, by its binds."""
    elsewhere = create_engine(f"sqlite:///{tmp_path / 'elsewhere.sqlite'}")

    class Here(DeclarativeBase):
        pass

    class There(DeclarativeBase):
        pass

    class Target(There):
        __tablename__ = "targets"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Source(Here):
        __tablename__ = "sources"
        id: Mapped[int] = mapped_column(primary_key=True)
        target_id: Mapped[int | None]
        target = ReferenceOne(Target, "target_id", on_delete="nullify")

    factory = sessionmaker(binds={Here: sqlite_engine, There: elsewhere})
    Here.metadata.create_all(sqlite_engine)
    There.metadata.create_all(elsewhere)
    lifecycle = Lifecycle(after_commit="raise")
    lifecycle.install(factory)
    for engine in (sqlite_engine, elsewhere):
        lifecycle.create_tables(engine)
    with factory.begin() as session:
        target = Target()
        session.add(target)
        session.flush()
        session.add(Source(target=target))
    with factory() as session:
        source = session.scalars(select(Source)).one()
        assert source.target is session.get(Target, 1)
        session.delete(source.target)
        session.commit()
        assert source.target_id is None
    lifecycle.uninstall(factory)
    for base in (Here, There):
        base.registry.dispose()
    elsewhere.dispose()


def test_without_a_way_there_the_error_says_what_to_do(back: Link) -> None:
    """No sessionmaker, or none of that database."""
    far = rows(back)
    source, _, (one, _) = referring(back)
    made = source(target_id=str(one.id)).save()
    far.base.metadata.tables["target"].drop(far.engine)
    elsewhere = create_engine("sqlite://")
    back.lifecycle.uninstall(far.factory)
    with pytest.raises(ConfigurationError, match="no sessionmaker is installed that could reach T"):
        _ = made.target
    factory, other = sessionmaker(elsewhere), Lifecycle()
    other.install(factory)
    with pytest.raises(ConfigurationError, match="none of the 1 installed sessionmakers reaches T"):
        _ = made.target
    other.uninstall(factory)
    elsewhere.dispose()
    back.lifecycle.install(far.factory)


class Base(DeclarativeBase):
    """Of the async models."""


class AsyncTarget(Base):
    """A row elsewhere."""

    __tablename__ = "reference_targets"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class AsyncSource(Base):
    """A row that refers to another, and to a document."""

    __tablename__ = "reference_sources"
    id: Mapped[int] = mapped_column(primary_key=True)
    target_id: Mapped[int | None]
    book_id: Mapped[str | None]
    target = ReferenceOne(AsyncTarget, "target_id")
    book: ReferenceOne[Any] = ReferenceOne("ReferenceBook", "book_id")


class ReferenceBook(mongoengine.Document):
    """A document."""

    title = fields.StringField()


def test_async_sessions_prefetch_by_awaiting(mongo: object, tmp_path: Any) -> None:
    """Rows as their session does, documents in a thread; reading after that asks nothing."""

    async def scenario() -> None:
        engines = [create_async_engine(f"sqlite+aiosqlite:///{tmp_path / name}") for name in "ab"]
        factories = [async_sessionmaker(one, expire_on_commit=False) for one in engines]
        lifecycle = Lifecycle()
        for factory, engine, cls in zip(
            factories, engines, (AsyncSource, AsyncTarget), strict=True
        ):
            lifecycle.install(factory)
            async with engine.begin() as connection:
                await connection.run_sync(cls.__table__.create)  # type: ignore[attr-defined]
                await connection.run_sync(lifecycle.metadata.create_all)
        book = ReferenceBook(title="b").save()
        async with factories[1].begin() as session:
            session.add_all([AsyncTarget(name=f"t{n}") for n in range(3)])
        async with factories[0].begin() as session:
            session.add_all([AsyncSource(target_id=n + 1, book=book) for n in range(3)])
        async with factories[0]() as session:
            sources = (await session.scalars(select(AsyncSource))).all()
            with pytest.raises(ConfigurationError, match="cannot be reached without awaiting"):
                _ = sources[0].target
            await aprefetch(sources, "target", "book")
            assert [one.target and one.target.name for one in sources] == ["t0", "t1", "t2"]
            assert [one.book.title for one in sources] == ["b"] * 3
        async with factories[0]() as session:
            sources = (await session.scalars(select(AsyncSource))).all()
            await session.run_sync(lambda session: prefetch(sources, "target"))
            assert [one.target and one.target.name for one in sources] == ["t0", "t1", "t2"]
        for factory, engine in zip(factories, engines, strict=True):
            lifecycle.uninstall(factory)
            await engine.dispose()

    asyncio.run(scenario())


def test_worlds(link: Link) -> None:
    """The sides are what the tests above take them for."""
    assert isinstance(link.far, DocumentWorld)
    assert issubclass(Session, object)
