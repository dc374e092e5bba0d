"""Where hooks can be declared: every kind of mapping and inheritance."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, Engine, ForeignKey, Integer, String, Table, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    registry,
    sessionmaker,
)
from sqlmodel import Field, SQLModel
from sqlmodel import Session as SQLModelSession

from lifecycle import Lifecycle, pre_persist, pre_update
from tests.sqlalchemy.conftest import Start


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """Hooks do not depend on the database."""
    return sqlite_engine


@pytest.fixture
def noting(seen: list[Any]) -> type:
    """A mixin with a hook."""

    class Noting:
        @pre_persist
        def note(self, event: Any) -> None:
            seen.append((event.entity, dict(event.changes)["name"].new))

    return Noting


def test_on_an_abstract_base(base: Any, noting: type, start: Start, seen: list[Any]) -> None:
    """Every model that inherits from it has the hook."""

    class Named(noting, base):
        __abstract__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))

    class User(Named):
        __tablename__ = "users"

    with start().begin() as session:
        session.add(User(name="Eve"))
    assert seen == [("User", "Eve")]


def test_on_the_declarative_base(
    lifecycle: Lifecycle, engine: Engine, noting: type, seen: list[Any]
) -> None:
    """Every model of the application has the hook."""

    class Base(noting, DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))

    assert written(lifecycle, engine, Base.metadata, User(name="Eve")) == 1
    assert seen == [("User", "Eve")]
    Base.registry.dispose()


def test_on_a_dataclass_mapping_its_defaults_are_seen(
    lifecycle: Lifecycle, engine: Engine, noting: type, seen: list[Any]
) -> None:
    """A default that was never set shows like a value that was."""

    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class User(noting, Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        name: Mapped[str] = mapped_column(String(20), default="Eve")

    assert written(lifecycle, engine, Base.metadata, User()) == 1
    assert seen == [("User", "Eve")]
    Base.registry.dispose()


def test_on_an_imperative_mapping(
    lifecycle: Lifecycle, engine: Engine, noting: type, seen: list[Any]
) -> None:
    """A class mapped from outside is like any other."""
    mappings = registry()

    class User(noting):
        def __init__(self, name: str) -> None:
            self.name = name

    columns = Column("id", Integer, primary_key=True), Column("name", String(20))
    mappings.map_imperatively(User, Table("users", mappings.metadata, *columns))
    assert written(lifecycle, engine, mappings.metadata, User("Eve")) == 1
    assert seen == [("User", "Eve")]
    mappings.dispose()


def test_on_a_sqlmodel_with_its_own_session(
    lifecycle: Lifecycle, engine: Engine, noting: type, seen: list[Any]
) -> None:
    """SQLModel's classes and sessions are SQLAlchemy's."""

    class Hero(SQLModel, table=True):
        id: int | None = Field(default=None, primary_key=True)
        name: str

        @pre_persist
        def note(self, event: Any) -> None:
            seen.append((event.entity, event.changes.new("name")))

    factory = sessionmaker(engine, class_=SQLModelSession)
    SQLModel.metadata.create_all(engine)
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    with factory.begin() as session:
        session.add(Hero(name="Eve"))
    assert seen == [("Hero", "Eve")]
    assert [record.key for record in lifecycle.history.of(Hero, 1)] == ["1"]
    lifecycle.uninstall(factory)
    SQLModel._sa_registry.dispose()  # type: ignore[attr-defined]
    SQLModel.metadata.clear()


def written(lifecycle: Lifecycle, engine: Engine, metadata: Any, instance: Any) -> int:
    """Write one object in an installed session; how many of its class there are then."""
    metadata.create_all(engine)
    factory = sessionmaker(engine)
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    with factory.begin() as session:
        session.add(instance)
    with factory() as session:
        count = len(session.scalars(select(type(instance))).all())
    lifecycle.uninstall(factory)
    return count


@pytest.mark.parametrize("kind", ["single", "joined", "concrete"])
def test_over_inheritance_hooks_are_inherited_and_overriding_one_disables_it(
    kind: str, base: Any, start: Start, seen: list[Any]
) -> None:
    """A subclass's own method without the decorator is just a method."""

    class Person(base):
        __tablename__ = "persons"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))
        type: Mapped[str | None] = mapped_column(String(20))
        __mapper_args__ = {"polymorphic_on": "type", "polymorphic_identity": "person"}

        @pre_persist
        def note(self) -> None:
            seen.append((type(self).__name__, "note"))

        @pre_update(when="name")
        def renamed(self) -> None:
            seen.append((type(self).__name__, "renamed"))

    arguments = {"polymorphic_identity": "manager", "concrete": kind == "concrete"}
    columns: dict[str, Any] = {
        "single": {},
        "joined": {
            "__tablename__": "managers",
            "id": mapped_column(ForeignKey("persons.id"), primary_key=True),
        },
        "concrete": {
            "__tablename__": "managers",
            "id": mapped_column(Integer, primary_key=True),
            "name": mapped_column(String(20)),
            "type": mapped_column(String(20)),
        },
    }[kind]

    def note(self: Any) -> None:
        seen.append("never")

    manager = type("Manager", (Person,), {**columns, "__mapper_args__": arguments, "note": note})
    with start().begin() as session:
        people = [Person(name="a"), manager(name="b")]
        session.add_all(people)
        session.flush()
        for person in people:
            person.name += "!"
    assert sorted(seen) == [("Manager", "renamed"), ("Person", "note"), ("Person", "renamed")]


def test_with_flask_sqlalchemy(lifecycle: Lifecycle, seen: list[Any]) -> None:
    """``db`` is installed as it is; the log is found with the first record."""
    app = Flask("app")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)

    class User(db.Model):
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))

        @pre_persist
        def note(self) -> None:
            seen.append(self.name)

    lifecycle.install(db)
    with app.app_context():
        db.create_all()
        lifecycle.create_tables(db.engine)
        db.session.add(User(name="Eve"))
        db.session.commit()
        assert [record.key for record in lifecycle.history.of(User, 1)] == ["1"]
        db.session.remove()
        db.engine.dispose()
    assert seen == ["Eve"]
    lifecycle.uninstall(db)
    db.Model.registry.dispose()
