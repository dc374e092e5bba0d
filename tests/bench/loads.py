"""What is measured: the same work for every contestant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session, sessionmaker

from tests.bench.models import change, fill, items

__all__ = ["LOADS", "Load", "Step", "Steps", "World"]


@dataclass(frozen=True, slots=True)
class World:
    """What a load works with: empty tables, each time it runs."""

    engine: Engine
    sessions: sessionmaker[Session]
    model: type[Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a load that is timed.

    A complete log has so many ``records`` of it, and its figures are those of one of its
    ``commits``. ``statement`` says that it writes past the unit of work, ``reach`` what Lifecycle
    is to reach.
    """

    name: str
    records: int = 0
    commits: int = 1
    statement: bool = False
    reach: str = ""


Steps: TypeAlias = Iterator[Step | None]
"""A run of a load: it yields each step when it is done, ``None`` for work that is not timed."""


@dataclass(frozen=True, slots=True)
class Load:
    """How to run it, with how many objects, and which steps are also shown as one."""

    name: str
    run: Callable[[World, int], Steps]
    size: int
    sums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reach: str = ""
    """What Lifecycle is to reach in the sums."""

    def of(self, size: int) -> Load:
        """The same with another number of objects."""
        return replace(self, size=size)


INSERT: Final = "insert"
UPDATE: Final = "update 3 of 10 columns"
DELETE: Final = "delete"
QUERIES: Final = 5
"""How often all objects are loaded, each time into a new session: once is too short to compare."""


def flush(world: World, size: int) -> Steps:
    """Each step is a flush with its commit, or a query; the Python before it is not timed."""
    with world.sessions() as session:
        session.add_all(items(world.model, size))
        yield None
        session.commit()
        yield Step(INSERT, size, reach="2 statements added")
    yield None
    for _ in range(QUERIES):
        with world.sessions() as session:
            session.scalars(select(world.model)).all()
    yield Step("load", commits=QUERIES, reach="<= 1.02 x, 0 statements added")
    with world.sessions() as session:
        for item in session.scalars(select(world.model)):
            change(item)
        yield None
        session.commit()
        yield Step(UPDATE, size, reach="2 statements added")
    with world.sessions() as session:
        for item in session.scalars(select(world.model)):
            session.delete(item)
        yield None
        session.commit()
        yield Step(DELETE, size, reach="2 statements added")


def single(world: World, size: int) -> Steps:
    """Transactions of one object each, in a session of their own, as a web request has it."""
    made = items(world.model, size)
    yield None
    for item in made:
        with world.sessions() as session:
            session.add(item)
            session.commit()
    yield Step(INSERT, size, size)
    keys = [item.id for item in made]
    yield None
    for key in keys:
        with world.sessions() as session:
            change(session.get_one(world.model, key))
            session.commit()
    yield Step(UPDATE, size, size)
    for key in keys:
        with world.sessions() as session:
            session.delete(session.get_one(world.model, key))
            session.commit()
    yield Step(DELETE, size, size)


COMMITS_AMONG: Final = 10


def among(world: World, size: int) -> Steps:
    """The same ten changes, each with its commit, in an empty session and in a full one.

    What such a session keeps over a commit is read again before it is overwritten.
    """
    with world.engine.begin() as connection:
        fill(connection, world.model, size)
    for others in (False, True):
        with world.sessions() as session:
            query = select(world.model)
            found = session.scalars(query if others else query.limit(COMMITS_AMONG)).all()
            yield None
            for item in found[:COMMITS_AMONG]:
                change(item)
                session.commit()
            yield Step(
                f"among {size:,} clean objects" if others else "in an empty session",
                COMMITS_AMONG,
                COMMITS_AMONG,
                reach="as in an empty session" if others else "",
            )


def statement(world: World, size: int) -> Steps:
    """One ORM-enabled UPDATE of every row, with its commit."""
    with world.engine.begin() as connection:
        fill(connection, world.model, size)
    with world.sessions() as session:
        model = world.model
        yield None
        session.execute(
            update(model).values(
                name=model.name + "!", amount=model.amount + 1, price=model.price + 1
            )
        )
        session.commit()
        yield Step(f"update {size:,} rows", size, statement=True, reach="<= 4 x")


TOGETHER: Final = {"insert, update and delete": (INSERT, UPDATE, DELETE)}
LOADS: Final = {
    load.name: load
    for load in (
        Load("flush", flush, 2_000, TOGETHER, reach="<= 1.35 x"),
        Load("single", single, 200),
        Load("among", among, 50_000),
        Load("update", statement, 100_000),
    )
}
