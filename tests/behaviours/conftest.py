"""One declaration, carried out by both mappers: on three SQL databases and on MongoDB."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import JSON, Date, DateTime, Engine, Integer, String, Uuid, select
from sqlalchemy.orm import DeclarativeBase, Session, configure_mappers, mapped_column, sessionmaker

from lifecycle import Lifecycle
from lifecycle.audit.records import Record
from lifecycle.audit.stores.memory import MemoryStore
from tests.registering import documents_forgotten

Decorator = Callable[[Any], Any]


class World(ABC):
    """An application, with a Lifecycle, in the words that both mappers have in common."""

    lifecycle: Lifecycle

    @abstractmethod
    def model(
        self, name: str, /, *decorators: Decorator, mixin: type = object, **kinds: str
    ) -> Any:
        """A model with an ``id`` and fields of these kinds, decorated from the last one up."""

    @abstractmethod
    def install(self) -> None:
        """Install the Lifecycle, when all models are declared."""

    @abstractmethod
    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Where objects are written; gives the session, where there is one."""
        yield

    @abstractmethod
    def add(self, instance: Any) -> Any:
        """Save a new object, and return it."""

    @abstractmethod
    def save(self, instance: Any) -> None:
        """Save what was changed of an object that is there."""

    @abstractmethod
    def delete(self, instance: Any) -> None:
        """Delete an object."""

    @abstractmethod
    def find(self, model: Any, **values: Any) -> list[Any]:
        """What a plain query finds, by ``id``."""

    def new(self, model: Any, **values: Any) -> Any:
        """Make an object in a transaction of its own; returns its identifier."""
        with self.transaction():
            return self.add(model(**values)).id

    @contextmanager
    def edited(self, model: Any, identifier: Any) -> Iterator[Any]:
        """The object, read in a transaction of its own; saved after the block."""
        with self.transaction():
            instance = self.one(model, identifier)
            yield instance
            self.save(instance)

    def edit(self, model: Any, identifier: Any, **values: Any) -> None:
        """Give fields of an object new values, in a transaction of its own."""
        with self.edited(model, identifier) as instance:
            for name, value in values.items():
                setattr(instance, name, value)

    def one(self, model: Any, identifier: Any) -> Any:
        """The object with that identifier, read again."""
        (found,) = self.find(model, id=identifier)
        return found

    def read(self, model: Any, identifier: Any, *names: str) -> Any:
        """Values of an object, as they are read again; one of them alone for one name."""
        with self.transaction():
            instance = self.one(model, identifier)
            values = tuple(getattr(instance, name) for name in names)
        return values if len(names) > 1 else values[0]

    def records(self) -> list[Record]:
        """Everything recorded, oldest first."""
        return list(self.lifecycle.history.find(newest_first=False))


class SqlWorld(World):
    """An application of SQLAlchemy."""

    kinds: dict[str, Any] = {
        "text": String(100),
        "number": Integer(),
        "day": Date(),
        "plain_time": DateTime(),
        "uuid": Uuid(),
        "time": DateTime(timezone=True),
        "map": JSON(),
    }

    def __init__(self, engine: Engine, after: ExitStack) -> None:
        class Base(DeclarativeBase):
            pass

        after.callback(Base.registry.dispose)
        self.engine = engine
        self.base = Base
        self.after = after
        self.lifecycle = Lifecycle()
        self.factory = sessionmaker(engine)
        self.session: Session | None = None

    def model(
        self, name: str, /, *decorators: Decorator, mixin: type = object, **kinds: str
    ) -> Any:
        columns: dict[str, Any] = {
            field: mapped_column(self.kinds[kind], nullable=True) for field, kind in kinds.items()
        }
        columns["id"] = mapped_column(Integer, primary_key=True)
        bases = (self.base,) if mixin is object else (mixin, self.base)
        body = {"__tablename__": name.lower(), "__module__": __name__, **columns}
        cls: Any = type(self.base)(name, bases, body)
        for decorator in reversed(decorators):
            cls = decorator(cls)
        return cls

    def install(self) -> None:
        self.base.metadata.create_all(self.engine)
        configure_mappers()  # else they are checked at their first use
        self.lifecycle.install(self.factory)
        self.after.callback(self.lifecycle.uninstall, self.factory)
        self.lifecycle.create_tables(self.engine)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with self.factory.begin() as session:
            self.session = session
            try:
                yield session
            finally:
                self.session = None

    def add(self, instance: Any) -> Any:
        assert self.session is not None
        self.session.add(instance)
        self.session.flush()
        return instance

    def save(self, instance: Any) -> None:
        assert self.session is not None
        self.session.flush()

    def delete(self, instance: Any) -> None:
        assert self.session is not None
        self.session.delete(instance)
        self.session.flush()

    def find(self, model: Any, **values: Any) -> list[Any]:
        query = select(model).filter_by(**values).order_by(model.id)
        if self.session is not None:
            return list(self.session.scalars(query))
        with self.factory() as session:
            return list(session.scalars(query))


class DocumentWorld(World):
    """An application of mongoengine."""

    kinds: dict[str, Callable[[], Any]] = {
        "text": fields.StringField,
        "number": fields.IntField,
        "day": fields.DateField,
        "plain_time": fields.DateTimeField,
        "uuid": fields.UUIDField,
        "time": fields.DateTimeField,
        "map": fields.DictField,
    }

    def __init__(self, after: ExitStack) -> None:
        self.after = after
        self.lifecycle = Lifecycle(store=MemoryStore())
        after.enter_context(documents_forgotten())

    def model(
        self, name: str, /, *decorators: Decorator, mixin: type = object, **kinds: str
    ) -> Any:
        bases = (mongoengine.Document,) if mixin is object else (mixin, mongoengine.Document)
        body = {field: self.kinds[kind]() for field, kind in kinds.items()}
        body |= {"__module__": __name__, "meta": {"allow_inheritance": True}}
        cls: Any = type(mongoengine.Document)(name, bases, body)
        for decorator in reversed(decorators):
            cls = decorator(cls)
        return cls

    def install(self) -> None:
        self.lifecycle.install(mongoengine)
        self.after.callback(self.lifecycle.uninstall, mongoengine)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        yield None

    def add(self, instance: Any) -> Any:
        return instance.save(force_insert=True)

    def save(self, instance: Any) -> None:
        instance.save()

    def delete(self, instance: Any) -> None:
        instance.delete()

    def find(self, model: Any, **values: Any) -> list[Any]:
        return list(model.objects(**values).order_by("id"))


@pytest.fixture(params=["sqlite", "postgresql", "mysql", "mongo"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """An application on each database in turn."""
    with _world(request, request.param) as made:
        yield made


@pytest.fixture(params=["sqlite", "mongo"])
def mapper(request: pytest.FixtureRequest) -> Iterator[World]:
    """An application of each mapper, for what no database has a say in."""
    with _world(request, request.param) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def sql(request: pytest.FixtureRequest) -> Iterator[SqlWorld]:
    """An application on each SQL database in turn."""
    with _world(request, request.param) as made:
        assert isinstance(made, SqlWorld)
        yield made


@pytest.fixture
def sqlite(request: pytest.FixtureRequest) -> Iterator[SqlWorld]:
    """An application on SQLite, for what is the same on all of them."""
    with _world(request, "sqlite") as made:
        assert isinstance(made, SqlWorld)
        yield made


@pytest.fixture
def documents(request: pytest.FixtureRequest) -> Iterator[DocumentWorld]:
    """An application on MongoDB."""
    with _world(request, "mongo") as made:
        assert isinstance(made, DocumentWorld)
        yield made


@contextmanager
def _world(request: pytest.FixtureRequest, place: str) -> Iterator[World]:
    with ExitStack() as after:
        of_documents = place == "mongo"
        database = request.getfixturevalue(place if of_documents else f"{place}_engine")
        gc.collect()
        gc.collect()  # of what listened to the sessions of an earlier test
        yield DocumentWorld(after) if of_documents else SqlWorld(database, after)
