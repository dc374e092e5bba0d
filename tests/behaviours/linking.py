"""Two databases under one Lifecycle, whose objects refer to each other, and who is asked what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from pymongo.collection import Collection
from sqlalchemy import Engine

from lifecycle import Lifecycle
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World
from tests.statements import statements

PAIRS = (
    "sqlite-mongo",
    "mysql-mongo",
    "mongo-sqlite",
    "mongo-postgresql",
    "postgresql-sqlite",
)
"""The database of the objects that refer to others, and the one of those."""


class Link:
    """Objects of the world ``near`` refer to objects of the world ``far``."""

    def __init__(self, near: World, far: World) -> None:
        self.near = near
        self.far = far
        engine = next((one.engine for one in (near, far) if isinstance(one, SqlWorld)), None)
        is_sql = all(isinstance(one, SqlWorld) for one in (near, far))
        self.lifecycle = Lifecycle(None if is_sql else engine, after_commit="raise")
        near.lifecycle = far.lifecycle = self.lifecycle

    def install(self) -> None:
        """Install both, when all models are declared."""
        self.near.install()
        self.far.install()


@contextmanager
def linked(request: pytest.FixtureRequest, pair: str) -> Iterator[Link]:
    """A link between two kinds of databases, named as in `PAIRS`."""
    with ExitStack() as after:
        worlds: list[World] = []
        for place in pair.split("-"):
            if place == "mongo":
                request.getfixturevalue("mongo")
                worlds.append(DocumentWorld(after))
            else:
                worlds.append(SqlWorld(request.getfixturevalue(f"{place}_engine"), after))
        near, far = worlds
        yield Link(near, far)


@contextmanager
def questions(world: World, model: Any) -> Iterator[list[Any]]:
    """The queries for objects of a model meanwhile."""
    if isinstance(world, SqlWorld):
        table = str(model.__table__.name)
        with statements(world.engine) as seen:
            found: list[Any] = []
            yield found
        found += [one for one in seen if f"FROM {table}" in one]
        return
    name, found, find = model._get_collection_name(), [], Collection.find

    def noting(collection: Any, *args: Any, **kwargs: Any) -> Any:
        if collection.name == name:
            found.append(args)
        return find(collection, *args, **kwargs)

    with patch.object(Collection, "find", noting):
        yield found


def engine_of(world: World) -> Engine:
    """The engine of a SQL world."""
    assert isinstance(world, SqlWorld)
    return world.engine
