"""A Lifecycle installed on sessions of each database, and ways to read what it recorded."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Engine, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from lifecycle import Lifecycle
from lifecycle.audit.records import Record

Start = Callable[[], sessionmaker[Session]]
Recorded = Callable[[], list[tuple[Any, ...]]]


@pytest.fixture
def lifecycle() -> Lifecycle:
    """A Lifecycle that records beside the data; none of an earlier test is left to interfere."""
    gc.collect()
    gc.collect()  # the first lets go of the sessions, the second of what listened to them
    return Lifecycle()


@pytest.fixture
def base() -> Iterator[type[DeclarativeBase]]:
    """A declarative base of the test's own, forgotten afterwards."""

    class Base(DeclarativeBase):
        pass

    yield Base
    Base.registry.dispose()


@pytest.fixture
def start(engine: Engine, lifecycle: Lifecycle, base: type[DeclarativeBase]) -> Iterator[Start]:
    """Create the tables and give the installed session factory, once the models are declared."""
    with ExitStack() as after:

        def begin() -> sessionmaker[Session]:
            base.metadata.create_all(engine)
            factory = sessionmaker(engine)
            lifecycle.install(factory)
            after.callback(lifecycle.uninstall, factory)
            lifecycle.create_tables(engine)
            return factory

        yield begin


@pytest.fixture
def recorded(lifecycle: Lifecycle) -> Recorded:
    """Everything recorded, oldest first, as (operation, entity, key, changes)."""

    def read() -> list[tuple[Any, ...]]:
        return [_brief(record) for record in lifecycle.history.find(newest_first=False)]

    return read


@pytest.fixture
def seen() -> list[Any]:
    """What hooks of the test have noted down."""
    return []


def _brief(record: Record) -> tuple[Any, ...]:
    return str(record.operation), record.entity, record.key, record.changes


class Plain:
    """A mixin without hooks."""


def user_model(base: type[DeclarativeBase], mixin: type = Plain) -> Any:
    """A model with a key, a name and a nickname that may be missing."""

    class User(mixin, base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50))
        nick: Mapped[str | None] = mapped_column(String(50))

    return User
