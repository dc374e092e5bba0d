"""Old values of rows that were changed behind the back of the session's objects."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, String, event, text, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from lifecycle import Change, Lifecycle
from lifecycle.errors import UnrecordedWriteWarning
from tests.sqlalchemy.conftest import Start, user_model
from tests.statements import statements

Factory = sessionmaker[Session]
Last = Callable[[], dict[str, Any]]


@pytest.fixture
def user(base: type[DeclarativeBase]) -> Any:
    return user_model(base)


@pytest.fixture
def factory(user: Any, start: Start) -> Factory:
    """One user, called a."""
    factory = start()
    with factory.begin() as session:
        session.add(user(id=1, name="a"))
    return factory


@pytest.fixture
def last(lifecycle: Lifecycle) -> Last:
    """The changes of the newest record."""
    return lambda: dict(next(iter(lifecycle.history.find())).changes)


def rename_elsewhere(engine: Engine, user: Any, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(user.__table__).values(name=name))


def test_what_objects_keep_after_a_commit_is_read_again(
    factory: Factory, user: Any, engine: Engine, last: Last
) -> None:
    """With expire_on_commit=False others may have written the row since."""
    with factory(expire_on_commit=False) as session:
        one = session.get_one(user, 1)
        session.commit()
        rename_elsewhere(engine, user, "b")
        one.name = "c"
        session.commit()
    assert last() == {"name": Change("b", "c")}


def test_after_a_close_nothing_needs_to_be_read_again(
    factory: Factory, user: Any, engine: Engine
) -> None:
    """For all that the session has was loaded since."""
    with factory(expire_on_commit=False) as session:
        session.get_one(user, 1)
        session.commit()
        session.close()
        session.get_one(user, 1).name = "c"
        with statements(engine) as sent:
            session.flush()
        session.commit()
    assert not [one for one in sent if "FROM users" in one]


@pytest.mark.parametrize(
    "change",
    [
        lambda session, user: session.execute(
            update(user).values(name="b").execution_options(synchronize_session=False)
        ),
        lambda session, user: session.execute(update(user.__table__).values(name="b")),
        lambda session, user: session.execute(text("UPDATE users SET name = 'b'")),
    ],
    ids=["orm", "core", "text"],
)
def test_after_a_statement_in_the_same_transaction_rows_are_read_again(
    factory: Factory, user: Any, last: Last, change: Callable[[Session, Any], object]
) -> None:
    """The statement left the objects as they were."""
    with factory.begin() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnrecordedWriteWarning)  # of the text
        one = session.get_one(user, 1)
        change(session, user)
        one.name = "c"
    assert last() == {"name": Change("b", "c")}


def test_what_the_database_carried_to_a_loaded_child_is_read_again(
    base: type[DeclarativeBase], start: Start, last: Last
) -> None:
    """The child's foreign key has followed the parent's key; the object does not know."""

    class Parent(base):
        __tablename__ = "parents"
        code: Mapped[str] = mapped_column(String(5), primary_key=True)

    class Child(base):
        __tablename__ = "children"
        id: Mapped[int] = mapped_column(primary_key=True)
        code: Mapped[str | None] = mapped_column(ForeignKey("parents.code", onupdate="CASCADE"))
        parent: Mapped[Any] = relationship("Parent", passive_updates=True, viewonly=True)

    factory = start()
    with factory.begin() as session:
        session.add_all([Parent(code="a"), Parent(code="z")])
        session.flush()
        session.add(Child(id=1, code="a"))
    with factory.begin() as session:
        child = session.get_one(Child, 1)
        session.get_one(Parent, "a").code = "b"
        session.flush()
        child.code = "z"
    assert last() == {"code": Change("b", "z")}


class TestStrict:
    """With ``strict`` a row is read and locked before it is overwritten."""

    @pytest.fixture
    def lifecycle(self, lifecycle: Lifecycle) -> Lifecycle:
        return Lifecycle(strict=True)

    def test_what_others_have_written_since_the_load_is_the_old_value(
        self, factory: Factory, user: Any, engine: Engine, last: Last
    ) -> None:
        """Also in the transaction that loaded the object."""
        with factory() as session:
            one = session.get_one(user, 1)
            rename_elsewhere(engine, user, "b")
            one.name = "c"
            session.commit()
        assert last() == {"name": Change("b", "c")}

    def test_a_deleted_object_had_what_its_row_held(
        self, factory: Factory, user: Any, engine: Engine, last: Last
    ) -> None:
        """And not what was loaded."""
        with factory() as session:
            one = session.get_one(user, 1)
            rename_elsewhere(engine, user, "b")
            session.delete(one)
            session.commit()
        assert last()["name"].old == "b"

    def test_it_is_one_select_for_each_model_and_flush(
        self, factory: Factory, user: Any, engine: Engine
    ) -> None:
        """However many objects are written; inserts need none."""
        with factory.begin() as session:
            session.add_all(user(id=n, name=f"{n}") for n in range(2, 20))
        with factory() as session:
            for one in session.query(user):
                one.name = f"{one.name}x"
            with statements(engine) as sent:
                session.flush()
            session.rollback()
        assert len([one for one in sent if "FROM users" in one]) == 1

    def test_a_hierarchy_of_several_tables_is_locked_too(
        self, base: type[DeclarativeBase], start: Start, last: Last
    ) -> None:
        """With all its tables in one SELECT, outer joins included."""

        class Animal(base):
            __tablename__ = "animals"
            id: Mapped[int] = mapped_column(primary_key=True)
            kind: Mapped[str] = mapped_column(String(10))
            name: Mapped[str] = mapped_column(String(10))
            __mapper_args__ = {
                "polymorphic_on": "kind",
                "polymorphic_identity": "animal",
                "with_polymorphic": "*",
            }

        class Dog(Animal):
            __tablename__ = "dogs"
            id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
            tricks: Mapped[int]
            __mapper_args__ = {"polymorphic_identity": "dog"}

        factory = start()
        with factory.begin() as session:
            session.add_all([Animal(id=1, name="a"), Dog(id=2, name="b", tricks=1)])
        with factory.begin() as session:
            session.get_one(Animal, 1).name = "c"
            session.flush()
            session.get_one(Dog, 2).tricks = 2
        assert last() == {"tricks": Change(1, 2)}


def test_what_a_later_listener_assigns_has_its_true_old_value(
    base: type[DeclarativeBase], start: Start, last: Last
) -> None:
    """Others may assign to more columns between our look at an object and its UPDATE."""

    class LateNote(base):
        __tablename__ = "notes_assigned_late"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(String(20))
        body: Mapped[str] = mapped_column(String(20), deferred=True)

    factory = start()
    with factory.begin() as session:
        session.add(LateNote(id=1, title="a", body="old"))

    @event.listens_for(factory, "before_flush")
    def assign(session: Session, *_: object) -> None:
        for one in session.dirty:
            one.body = "new"

    with factory.begin() as session:
        session.get_one(LateNote, 1).title = "b"

    assert last() == {"title": Change("a", "b"), "body": Change("old", "new")}
