"""What is recorded of a flush, on each database."""

from __future__ import annotations

import enum
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    JSON,
    Engine,
    FetchedValue,
    ForeignKey,
    Numeric,
    PickleType,
    String,
    TypeDecorator,
    func,
)
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    deferred,
    mapped_column,
    relationship,
)

from lifecycle import ABSENT, MASKED, Change, Lifecycle, audited, not_audited, pre_update
from lifecycle.changes import ListEdit, Operation, Splice
from lifecycle.errors import RecordingError
from lifecycle.mappers.sqlalchemy.outcome import Done, moves_in_order
from tests.sqlalchemy.conftest import Recorded, Start
from tests.statements import statements


def user_model(base: type[DeclarativeBase]) -> Any:
    class User(base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50))
        email: Mapped[str | None] = mapped_column(String(50))

    return User


def test_an_insert_is_recorded_with_every_value_and_the_generated_key(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """A new row shows each column going from ABSENT to what the database holds."""
    user = user_model(base)
    with start().begin() as session:
        session.add(user(name="Eve"))
    assert recorded() == [
        (
            "insert",
            "User",
            "1",
            {"id": Change(ABSENT, 1), "name": Change(ABSENT, "Eve"), "email": Change(ABSENT, None)},
        )
    ]


def test_an_update_is_recorded_with_old_and_new(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Only the columns whose value changed are in the record."""
    user, factory = user_model(base), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    with factory.begin() as session:
        session.get_one(user, 1).name = "Bob"
    assert recorded()[1:] == [("update", "User", "1", {"name": Change("Eve", "Bob")})]


def test_a_delete_is_recorded_with_the_last_values(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """A deleted row shows what the database held, not what memory had made of it."""
    user, factory = user_model(base), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    with factory.begin() as session:
        found = session.get_one(user, 1)
        found.name = "never written"
        session.delete(found)
    assert recorded()[1:] == [
        (
            "delete",
            "User",
            "1",
            {"id": Change(1, ABSENT), "name": Change("Eve", ABSENT), "email": Change(None, ABSENT)},
        )
    ]


@pytest.mark.parametrize("change", ["nothing", "same", "there and back"])
def test_what_changes_nothing_is_not_recorded(
    change: str, base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Setting a value to what it is, or back to what it was, leaves no record."""
    user, factory = user_model(base), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    with factory.begin() as session:
        found = session.get_one(user, 1)
        if change == "same":
            found.name = "Eve"
        elif change == "there and back":
            found.name = "Bob"
            found.name = "Eve"
    assert len(recorded()) == 1


def test_an_old_value_that_memory_lost_is_read_before_it_is_overwritten(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Setting attributes of expired objects still records the true old values."""
    user, factory = user_model(base), start()
    with factory() as session:
        people = [user(name=f"n{number}") for number in range(3)]
        session.add_all(people)
        session.commit()
        for person in people:
            person.name += "!" if person.id == 2 else ""
            session.expire(person)
            person.name = f"new {person.__dict__.get('id')}"
        session.commit()
    assert [changes["name"].old for _, _, _, changes in recorded()[3:]] == ["n0", "n1", "n2"]


def test_many_unknown_old_values_are_read_in_one_statement(
    base: type[DeclarativeBase], start: Start, recorded: Recorded, engine: Engine
) -> None:
    """The number of SELECTs does not grow with the number of expired objects."""
    user, factory = user_model(base), start()
    with factory() as session:
        people = [user(name=f"n{number}") for number in range(50)]
        session.add_all(people)
        session.commit()
        with statements(engine) as executed:
            for person in people:
                person.name = "x"
            session.commit()
    selects = [statement for statement in executed if statement.startswith("SELECT")]
    assert len(selects) == 1
    assert {changes["name"].old for _, _, _, changes in recorded()[50:]} == {
        f"n{number}" for number in range(50)
    }


def test_a_flush_of_any_size_adds_two_statements(
    base: type[DeclarativeBase], start: Start, engine: Engine
) -> None:
    """The revision and its records are one statement each."""
    user, factory = user_model(base), start()
    with factory() as session:
        session.add_all([user(name=f"n{number}") for number in range(50)])
        with statements(engine) as executed:
            session.flush()
        session.rollback()
    assert len([statement for statement in executed if "lifecycle_" in statement]) == 2


def test_a_changed_key_moves_the_history(
    base: type[DeclarativeBase], start: Start, recorded: Recorded, lifecycle: Lifecycle
) -> None:
    """A primary key change is an update that knows both keys, and history follows it."""

    class File(base):
        __tablename__ = "files"
        path: Mapped[str] = mapped_column(String(50), primary_key=True)

    factory = start()
    with factory.begin() as session:
        session.add(File(path="a"))
    with factory.begin() as session:
        session.get_one(File, "a").path = "b"
        session.flush()
        session.add(File(path="a"))
    moved, taken = list(lifecycle.history.find(newest_first=False))[1:]
    assert (moved.key, moved.former_key, moved.changes) == ("b", "a", {"path": Change("a", "b")})
    assert (taken.key, taken.operation) == ("a", "insert")
    assert [record.operation for record in lifecycle.history.of(File, "b")] == ["update", "insert"]
    assert set(lifecycle.history.snapshot(File)) == {"a", "b"}


def test_keys_handed_on_in_one_flush_are_recorded_in_an_order_that_replays(
    base: type[DeclarativeBase], start: Start, lifecycle: Lifecycle
) -> None:
    """Whoever gives a key up comes before whoever takes it."""

    class File(base):
        __tablename__ = "files"
        path: Mapped[str] = mapped_column(String(50), primary_key=True)
        n: Mapped[int]

    factory = start()
    with factory.begin() as session:
        session.add_all([File(path=path, n=n) for n, path in enumerate("bcd")])
    with factory.begin() as session:
        first, second, third = (session.get_one(File, path) for path in "bcd")
        first.path, second.path, third.path = "a", "b", "c"
    found = lifecycle.history.snapshot(File)
    assert {key: state["n"] for key, state in found.items()} == {"a": 0, "b": 1, "c": 2}


def test_an_exchange_of_keys_is_refused() -> None:
    """No order of records can tell it, so it must not pass as something else."""

    def move(former: str, key: str) -> Done:
        model: Any = SimpleNamespace(entity="File")
        state: Any = SimpleNamespace(insert_order=None)
        return Done(model, state, Operation.UPDATE, {}, (), key, former)

    with pytest.raises(RecordingError, match="File a, File b exchange their keys"):
        list(moves_in_order([move("a", "b"), move("b", "a"), move("x", "y")]))


def test_values_the_database_works_out_are_read_back(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Server defaults, SQL expressions and onupdate show the value that was really written."""

    class Counter(base):
        __tablename__ = "counters"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int] = mapped_column(server_default="7")
        touched: Mapped[int] = mapped_column(default=0, onupdate=1)
        length: Mapped[int] = mapped_column(
            default=0, onupdate=func.length("four"), server_onupdate=FetchedValue()
        )

    factory = start()
    with factory.begin() as session:
        session.add(Counter())
    with factory.begin() as session:
        counter = session.get_one(Counter, 1)
        counter.n = Counter.n + 1
    inserted, updated = (changes for *_, changes in recorded())
    assert inserted["n"] == Change(ABSENT, 7)
    assert updated == {"n": Change(7, 8), "touched": Change(0, 1), "length": Change(0, 4)}


def test_a_version_counter_is_recorded_with_the_change(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """SQLAlchemy counts the version up by itself; both values are in the record."""

    class Page(base):
        __tablename__ = "pages"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(String(50))
        version: Mapped[int] = mapped_column()
        __mapper_args__ = {"version_id_col": version}

    factory = start()
    with factory.begin() as session:
        session.add(Page(text="a"))
    with factory.begin() as session:
        session.merge(Page(id=1, text="b", version=1))
    assert recorded()[1][3] == {"text": Change("a", "b"), "version": Change(1, 2)}


def test_an_object_that_a_flush_updates_before_it_deletes_it_has_a_known_version(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """The session knows only of the deletion; SQLAlchemy sets the foreign key all the same."""

    class Page(base):
        __tablename__ = "pages"
        id: Mapped[int] = mapped_column(primary_key=True)
        above_id: Mapped[int | None] = mapped_column(ForeignKey("pages.id"))
        below: Mapped[list[Any]] = relationship("Page", join_depth=1)
        version: Mapped[int] = mapped_column()
        __mapper_args__ = {"version_id_col": version}

    factory = start()
    with factory.begin() as session:
        session.add_all([Page(id=1), Page(id=2)])
    with factory.begin() as session:
        first, second = session.get_one(Page, 1), session.get_one(Page, 2)
        first.below.append(second)
        session.delete(second)
    assert recorded()[2:] == [
        ("update", "Page", "2", {"above_id": Change(None, 1), "version": Change(1, 2)}),
        (
            "delete",
            "Page",
            "2",
            {"id": Change(2, ABSENT), "above_id": Change(1, ABSENT), "version": Change(2, ABSENT)},
        ),
    ]


def test_an_expression_on_an_object_in_place_of_a_deleted_one_is_read_back(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """SQLAlchemy makes an UPDATE of both, in which the database works the value out."""

    class Counter(base):
        __tablename__ = "counters"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int]

    factory = start()
    with factory.begin() as session:
        session.add(Counter(id=1, n=3))
    with factory.begin() as session:
        session.delete(session.get_one(Counter, 1))
        session.add(Counter(id=1, n=Counter.n + 1))
    assert recorded()[1:] == [("update", "Counter", "1", {"n": Change(3, 4)})]


def test_a_foreign_key_set_through_a_relationship_is_recorded(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """The column is recorded, however it was set; a child cut off by the flush is too."""

    class Order(base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        lines: Mapped[list[Any]] = relationship("Line")

    class Line(base):
        __tablename__ = "order_lines"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))

    factory = start()
    with factory.begin() as session:
        session.add(Order(lines=[Line()]))
    with factory.begin() as session:
        order = session.get_one(Order, 1)
        order.lines.clear()
    assert recorded()[1][3]["order_id"] == Change(ABSENT, 1)
    assert recorded()[2] == ("update", "Line", "1", {"order_id": Change(1, None)})


def test_an_orphan_deleted_by_the_flush_is_recorded(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """A delete that only the flush decides about is recorded with its row."""

    class Order(base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        lines: Mapped[list[Any]] = relationship("Line", cascade="all, delete-orphan")

    class Line(base):
        __tablename__ = "order_lines"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(String(50))
        order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))

    factory = start()
    with factory.begin() as session:
        session.add(Order(lines=[Line(text="x")]))
    with factory.begin() as session:
        order = session.get_one(Order, 1)
        order.lines.clear()
    assert recorded()[2] == (
        "delete",
        "Line",
        "1",
        {"id": Change(1, ABSENT), "text": Change("x", ABSENT), "order_id": Change(1, ABSENT)},
    )


def test_a_row_replaced_within_one_flush_is_one_update(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Deleting an object and adding another with its key is an UPDATE, and is recorded as one."""
    user, factory = user_model(base), start()
    with factory.begin() as session:
        session.add(user(name="Eve", email="e"))
    with factory.begin() as session:
        session.delete(session.get_one(user, 1))
        session.add(user(id=1, name="Bob", email="e"))
    assert recorded()[1:] == [("update", "User", "1", {"name": Change("Eve", "Bob")})]


def test_joined_inheritance_is_one_record_under_the_name_of_the_base(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """An object spread over two tables is one object, found under its base's name."""

    class Person(base):
        __tablename__ = "persons"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(20))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    class Manager(Person):
        __tablename__ = "managers"
        id: Mapped[int] = mapped_column(ForeignKey("persons.id"), primary_key=True)
        budget: Mapped[int]
        __mapper_args__ = {"polymorphic_identity": "manager"}

    factory = start()
    with factory.begin() as session:
        session.add(Manager(budget=5))
    with factory.begin() as session:
        session.get_one(Person, 1).budget = 6
    assert recorded()[0][:3] == ("insert", "Person", "1")
    assert recorded()[1] == ("update", "Person", "1", {"budget": Change(5, 6)})


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Reversed(TypeDecorator[str]):
    """A column type that stores text backwards, as an encrypting one would store a cipher."""

    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value == "refuse":
            raise ValueError("cannot store the secret refuse")
        return value[::-1] if value is not None else None

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value[::-1] if value is not None else None


def everything_model(base: type[DeclarativeBase]) -> Any:
    class Everything(base):
        __tablename__ = "everything"
        id: Mapped[UUID] = mapped_column(primary_key=True)
        price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
        born: Mapped[date]
        at: Mapped[datetime]
        blob: Mapped[bytes]
        colour: Mapped[Colour]
        secret: Mapped[str] = mapped_column(Reversed())
        data: Mapped[Any] = mapped_column(JSON)
        tracked: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON()))
        lazy: Mapped[str] = deferred(mapped_column(String(50)))

    return Everything


def everything(base: type[DeclarativeBase]) -> tuple[Any, Any]:
    model = everything_model(base)
    return model, model(
        id=UUID(int=1),
        price=Decimal("1.10"),
        born=date(1990, 2, 28),
        at=datetime(2026, 1, 2, 3, 4, 5),
        blob=b"\x00\xff",
        colour=Colour.RED,
        secret="abc",
        data={"tags": ["a", "b", "c", "d", "e", "f"], "n": 1},
        tracked={"k": {"deep": 1}, "other": "x" * 40},
        lazy="long",
    )


def test_values_of_every_type_come_back_exactly(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Types the codec knows are kept as they are; others as their database stores them."""
    _, thing = everything(base)
    with start().begin() as session:
        session.add(thing)
    changes = recorded()[0][3]
    assert {name: delta.new for name, delta in changes.items()} == {
        "id": UUID(int=1),
        "price": Decimal("1.10"),
        "born": date(1990, 2, 28),
        "at": datetime(2026, 1, 2, 3, 4, 5),
        "blob": b"\x00\xff",
        "colour": "RED",
        "secret": "cba",
        "data": {"tags": ["a", "b", "c", "d", "e", "f"], "n": 1},
        "tracked": {"k": {"deep": 1}, "other": "x" * 40},
        "lazy": "long",
    }


def test_changes_inside_documents_and_lists_are_recorded_by_path_and_element(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """A JSON column shows the paths and elements that changed, with their true old values."""
    model, thing = everything(base)
    factory = start()
    with factory.begin() as session:
        session.add(thing)
    with factory.begin() as session:
        found = session.get_one(model, UUID(int=1))
        found.data = {"tags": ["a", "b", "X", "c", "d", "e", "f"], "n": 1}
        found.tracked["added"] = True
        found.lazy = "short"
        found.colour = Colour.BLUE
    assert recorded()[1][3] == {
        "data.tags": ListEdit((Splice(2, (), ("X",)),)),
        "tracked.added": Change(ABSENT, True),
        "lazy": Change("long", "short"),
        "colour": Change("RED", "BLUE"),
    }


def test_a_value_its_type_refuses_fails_the_flush_without_showing_it(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """The error names entity, field and cause, never the value."""
    _, thing = everything(base)
    thing.secret = "refuse"
    with pytest.raises(Exception, match="refuse"), start().begin() as session:
        session.add(thing)
    assert recorded() == []


def test_masked_values_are_never_stored_and_excluded_fields_not_mentioned(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Of a masked field one sees that it changed; of an excluded one, nothing."""

    @audited(mask={"password"}, exclude={"seen"}, label="name")
    class User(base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50))
        password: Mapped[str] = mapped_column(String(50))
        seen: Mapped[int]

    factory = start()
    with factory.begin() as session:
        session.add(User(name="Eve", password="s3cret", seen=0))
    with factory.begin() as session:
        session.get_one(User, 1).password = "s3cret2"
    with factory.begin() as session:
        session.get_one(User, 1).seen = 1
    with factory.begin() as session:
        text = str(session.connection().exec_driver_sql("SELECT * FROM lifecycle_change").all())
    assert [changes for *_, changes in recorded()] == [
        {
            "id": Change(ABSENT, 1),
            "name": Change(ABSENT, "Eve"),
            "password": Change(ABSENT, MASKED),
        },
        {"password": Change(MASKED, MASKED)},
    ]
    assert "s3cret" not in text


def test_models_that_are_not_audited_leave_no_record(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """@not_audited keeps a model out of the log."""
    user = not_audited(user_model(base))
    with start().begin() as session:
        session.add(user(name="Eve"))
    assert recorded() == []


def test_a_label_that_cannot_be_made_fails_the_flush(
    base: type[DeclarativeBase], start: Start
) -> None:
    """A broken label is an error that names the model and the cause, not a silent gap."""
    user = audited(label=lambda instance: 1 / 0)(user_model(base))
    broken = pytest.raises(RecordingError, match=r"User 1: label .*ZeroDivisionError")
    with broken, start().begin() as session:
        session.add(user(name="Eve"))


@pytest.mark.parametrize("expired", [False, True])
def test_old_values_of_an_object_that_only_the_flush_touched_are_true(
    expired: bool, base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Also of a column that changes by itself, and of an object that memory knows nothing of."""

    class Order(base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        lines: Mapped[list[Any]] = relationship("Line")

    class Line(base):
        __tablename__ = "order_lines"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
        touched: Mapped[int] = mapped_column(default=0, onupdate=1)

    factory = start()
    with factory.begin() as session:
        session.add(Order(lines=[Line()]))
    with factory.begin() as session:
        order = session.get_one(Order, 1)
        (line,) = order.lines
        if expired:
            session.expire(line)
        order.lines.clear()
    assert recorded()[2][3] == {"order_id": Change(1, None), "touched": Change(0, 1)}


def test_the_record_is_made_at_a_known_time_by_a_known_actor(
    base: type[DeclarativeBase], start: Start, lifecycle: Lifecycle
) -> None:
    """Time is aware and in UTC; who, why and in which context come from acting()."""
    from lifecycle import acting

    user, factory = user_model(base), start()
    before = datetime.now(UTC)
    ann = acting("ann", label="Ann", reason="why", source="web", request_id="r1", ip="::1")
    with ann, factory.begin() as session:
        session.add(user(name="Eve"))
    (record,) = lifecycle.history.of(user, 1)
    revision = record.revision
    assert before <= revision.at <= datetime.now(UTC)
    assert revision.at.utcoffset() == UTC.utcoffset(None)
    assert (revision.actor, revision.actor_label, revision.reason) == ("ann", "Ann", "why")
    assert (revision.source, revision.request_id) == ("web", "r1")
    assert revision.context == {"ip": "::1"}


def test_an_expired_object_that_a_flush_only_passes_by_is_no_change(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Its key is in memory no more, and nothing of it is written."""

    class Shelf(base):
        __tablename__ = "shelves"
        id: Mapped[int] = mapped_column(primary_key=True)
        books: Mapped[list[Any]] = relationship("Volume", back_populates="shelf")

    class Volume(base):
        __tablename__ = "volumes"
        id: Mapped[int] = mapped_column(primary_key=True)
        shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelves.id"))
        shelf: Mapped[Any] = relationship(Shelf, back_populates="books")

    factory = start()
    with factory.begin() as session:
        session.add(Shelf(id=1))
        session.add(Volume(id=1))
    with factory.begin() as session:
        shelf, book = session.get_one(Shelf, 1), session.get_one(Volume, 1)
        book.shelf = shelf
        session.flush()
        session.expire(shelf)
        book.shelf = None
    assert [one[:3] for one in recorded()[2:]] == [("update", "Volume", "1")] * 2


def test_an_object_deleted_by_an_earlier_flush_is_not_deleted_again(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Though its parent still has it in a collection that is deleted with the parent."""

    class Shelf(base):
        __tablename__ = "shelves"
        id: Mapped[int] = mapped_column(primary_key=True)
        books: Mapped[list[Any]] = relationship("Volume", cascade="all, delete-orphan")

    class Volume(base):
        __tablename__ = "volumes"
        id: Mapped[int] = mapped_column(primary_key=True)
        shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelves.id"))

    factory = start()
    with factory.begin() as session:
        session.add(Shelf(id=1, books=[Volume(id=1)]))
    with factory.begin() as session:
        shelf = session.get_one(Shelf, 1)
        session.delete(shelf.books[0])
        session.flush()
        session.delete(shelf)
        with pytest.warns(SAWarning, match="expected to delete 1 row"):
            session.flush()
    assert [one[:3] for one in recorded()[2:]] == [
        ("delete", "Volume", "1"),
        ("delete", "Shelf", "1"),
    ]


def test_an_orphan_in_whose_place_another_object_comes_has_known_old_values(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """SQLAlchemy makes one UPDATE of the deletion and the insertion, and tells of no deletion."""

    class Order(base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        lines: Mapped[list[Any]] = relationship(
            "Line", back_populates="order", cascade="all, delete-orphan"
        )

    class Line(base):
        __tablename__ = "order_lines"
        order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
        number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        article: Mapped[str | None] = mapped_column(String(50))
        order: Mapped[Any] = relationship("Order", back_populates="lines")

    with start()(expire_on_commit=False) as session:
        order = Order(id=1, lines=[Line(number=1)])  # whose article nobody has set or read
        session.add(order)
        session.commit()
        order.lines.pop()
        order.lines.append(Line(number=1, article="x"))
        session.commit()
    assert recorded()[-1] == ("update", "Line", "1,1", {"article": Change(None, "x")})


def test_each_row_has_its_own_value_of_a_python_onupdate(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Where SQLAlchemy gives every object the value of the first row."""
    ticks = count(1)

    class Counter(base):
        __tablename__ = "counters"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int] = mapped_column(default=0)
        touched: Mapped[int] = mapped_column(default=0, onupdate=lambda: next(ticks))

    factory = start()
    with factory.begin() as session:
        session.add_all([Counter(id=1), Counter(id=2)])
    with factory.begin() as session:
        for one in session.query(Counter):
            one.n = 5
    with factory() as session:
        stored = {str(one.id): one.touched for one in session.query(Counter)}
    assert len({*stored.values()}) == 2
    assert {key: changes["touched"].new for _, _, key, changes in recorded()[2:]} == stored


def test_what_memory_has_amiss_is_no_change_where_nothing_is_written(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """An object that was set to something and back is in the flush, without an UPDATE."""
    ticks = count(1)

    class Dial(base):
        __tablename__ = "dials"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int] = mapped_column(default=0)
        touched: Mapped[int] = mapped_column(default=0, onupdate=lambda: next(ticks))

    with start()(autoflush=False) as session:
        dials = [Dial(id=1), Dial(id=2)]
        session.add_all(dials)
        session.commit()
        for one in dials:
            one.n = 5
        session.flush()  # both objects have 1 for it now
        for n in (6, 5):
            dials[1].n = n
        session.commit()
        assert [dial.touched for dial in dials] == [1, 2]
        session.connection().execute(Dial.__table__.update().values(touched=70))
        for n in (6, 5):
            dials[0].n = n
        session.commit()
        assert dials[0].touched == 70
    touched = sorted((key, changes["touched"].new) for _, _, key, changes in recorded()[2:])
    assert touched == [("1", 1), ("1", 70), ("2", 2), ("2", 70)]


def test_rows_of_several_classes_have_their_own_values_of_a_python_onupdate(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """SQLAlchemy updates the table they share at once, and gives all what it made of the first."""
    ticks = count(1)

    class Person(base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(10))
        n: Mapped[int] = mapped_column(default=0)
        touched: Mapped[int] = mapped_column(default=0, onupdate=lambda: next(ticks))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Manager(Person):
        __tablename__ = "managers"
        id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "manager"}

    factory = start()
    with factory.begin() as session:
        session.add_all([Person(id=1), Manager(id=2)])
    with factory.begin() as session:
        for one in session.query(Person).order_by(Person.id):
            one.n = 5
        session.flush()
        for one in session.query(Person).order_by(Person.id):
            one.n = 6
    touched = [changes["touched"] for *_, changes in recorded()[2:]]
    assert touched == [Change(0, 1), Change(0, 2), Change(1, 3), Change(2, 4)]


def test_objects_in_place_of_deleted_ones_have_their_own_values_of_a_python_onupdate(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """What SQLAlchemy gives them is no old value for the next flush."""
    ticks = count(1)

    class Counter(base):
        __tablename__ = "counters"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int] = mapped_column(default=0)
        touched: Mapped[int] = mapped_column(default=0, onupdate=lambda: next(ticks))

    factory = start()
    with factory.begin() as session:
        session.add_all([Counter(id=1), Counter(id=2)])
    with factory.begin() as session:
        for one in session.query(Counter).all():
            session.delete(one)
        others = [Counter(id=1, n=5), Counter(id=2, n=5)]
        session.add_all(others)
        session.flush()
        for one in others:
            one.n = 6
    touched = [changes["touched"] for *_, changes in recorded()[2:]]
    assert touched == [Change(0, 1), Change(0, 2), Change(1, 3), Change(2, 4)]


def test_several_objects_in_place_of_a_deleted_one_are_one_change(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """What one of them makes of the row is overwritten by the next before anybody sees it."""
    user, factory = user_model(base), start()
    with factory.begin() as session:
        session.add(user(id=1, name="Eve", email="eve@x"))
    with factory.begin() as session:
        session.delete(session.get_one(user, 1))
        session.add(user(id=1, name="Bob", email=func.lower("BOB@X")))
        session.add(user(id=1, name="Ann"))
        with pytest.warns(SAWarning, match="already had an identity"):
            session.flush()
    with factory.begin() as session:
        session.delete(session.get_one(user, 1))
        session.add(user(id=1, name="Joe", email=func.lower("JOE@X")))
        session.add(user(id=1, name="Ann", email="bob@x"))
        with pytest.warns(SAWarning, match="already had an identity"):
            session.flush()
    changes = {"name": Change("Eve", "Ann"), "email": Change("eve@x", "bob@x")}
    assert recorded()[1:] == [("update", "User", "1", changes)]


def test_what_python_takes_for_equal_is_a_change_when_it_is_written(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """True and 1 are two things in JSON."""

    class Page(base):
        __tablename__ = "pages"
        id: Mapped[int] = mapped_column(primary_key=True)
        data: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON()))

    factory = start()
    with factory.begin() as session:
        session.add(Page(id=1, data={"a": True}))
    with factory.begin() as session:
        page = session.get_one(Page, 1)
        page.data["a"] = 1
    assert recorded()[1][3] == {"data.a": Change(True, 1)}


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_an_old_value_changed_in_place_without_a_word_is_read_again(
    how: str, base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Memory holds what nobody wrote."""

    class Page(base):
        __tablename__ = "pages"
        id: Mapped[int] = mapped_column(primary_key=True)
        data: Mapped[dict[str, Any]] = mapped_column(JSON())

    factory = start()
    with factory.begin() as session:
        session.add(Page(id=1, data={"a": 1}))
    with factory.begin() as session:
        page = session.get_one(Page, 1)
        page.data["a"] = 2
        if how == "deleted":
            session.delete(page)
        else:
            page.data = {"a": 3}
    changes = recorded()[1][3]
    assert changes == (
        {"data.a": Change(1, 3)}
        if how == "replaced"
        else {"id": Change(1, ABSENT), "data": Change({"a": 1}, ABSENT)}
    )


@pytest.mark.parametrize("operation", ["update", "delete"])
@pytest.mark.parametrize("how", ["added", "merged without loading"])
def test_the_old_values_of_an_object_from_another_session_are_read_again(
    how: str, operation: str, base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """The row may have changed while the object was on its way."""
    user, factory = user_model(base), start()
    with factory.begin() as session:
        session.add(user(id=1, name="Eve"))
    with factory() as session:
        travelling = session.get_one(user, 1)
    with factory.begin() as session:
        session.get_one(user, 1).name = "Bob"
    with factory.begin() as session:
        if how == "added":
            session.add(travelling)
        else:
            travelling = session.merge(travelling, load=False)
        if operation == "update":
            travelling.name = "Ann"
        else:
            session.delete(travelling)
    changes = recorded()[2][3]
    assert changes["name"] == Change("Bob", "Ann" if operation == "update" else ABSENT)


def test_the_old_value_of_what_only_a_hook_sets_is_read_too(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Also when other fields of the object had to be read before."""

    class Page(base):
        __tablename__ = "pages"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = deferred(mapped_column(String(50)))
        note: Mapped[str] = deferred(mapped_column(String(50)))

        @pre_update
        def annotate(self) -> None:
            self.note = "changed"

    factory = start()
    with factory.begin() as session:
        session.add(Page(id=1, text="a", note="new"))
    with factory.begin() as session:
        session.get_one(Page, 1).text = "b"
    assert recorded()[1][3] == {"text": Change("a", "b"), "note": Change("new", "changed")}


def test_what_was_changed_in_place_and_assigned_as_an_equal_copy_is_no_change(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """SQLAlchemy compares it with the value in memory, finds it equal and does not write it."""

    class Page(base):
        __tablename__ = "pages"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(String(50))
        data: Mapped[dict[str, Any]] = mapped_column(JSON())

    factory = start()
    with factory.begin() as session:
        session.add(Page(id=1, title="a", data={"a": 1}))
    with factory.begin() as session:
        page = session.get_one(Page, 1)
        page.title = "b"
        page.data["a"] = 2
        page.data = dict(page.data)
    with factory() as session:
        assert session.get_one(Page, 1).data == {"a": 1}
    assert recorded()[1:] == [("update", "Page", "1", {"title": Change("a", "b")})]


def test_a_pickle_is_recorded_as_its_bytes(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Not as what the driver wraps them in."""

    class Thing(base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        data: Mapped[Any] = mapped_column(PickleType())

    with start().begin() as session:
        session.add(Thing(id=1, data=(1, 2)))
    assert pickle.loads(recorded()[0][3].new("data")) == (1, 2)


def test_what_a_replacing_object_does_not_set_stays_in_the_row(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Deleting and adding under one key in a flush is one UPDATE of what was set."""
    user, factory = user_model(base), start()
    with factory.begin() as session:
        session.add(user(id=1, name="Eve", email="eve@x"))
    with factory.begin() as session:
        session.delete(session.get_one(user, 1))
        session.add(user(id=1, name="Bob"))
    assert recorded()[1] == ("update", "User", "1", {"name": Change("Eve", "Bob")})
    with factory() as session:
        assert session.get_one(user, 1).email == "eve@x"


def test_a_new_object_whose_defaults_are_read_at_once_is_an_insert(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """It has its key before the flush is over, as no other new object."""

    class Eager(base):
        __tablename__ = "eagers"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int] = mapped_column(server_default="3")
        __mapper_args__ = {"eager_defaults": True}

    factory = start()
    with factory.begin() as session:
        session.add(Eager(id=1))
    assert recorded() == [
        ("insert", "Eager", "1", {"id": Change(ABSENT, 1), "n": Change(ABSENT, 3)})
    ]
