"""Objects of every kind that the workload has, deleted and brought back."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from lifecycle import Lifecycle
from tests.workload import models as m
from tests.workload.truth import Rows, Truth


def a_parcel() -> m.Parcel:
    """A value in a column of every type."""
    return m.Parcel(
        id=1,
        price=Decimal("1.10"),
        weight=1.5,
        fragile=True,
        at=datetime(2026, 1, 1),
        day=date(2026, 1, 1),
        hour=time(1, 2),
        took=timedelta(1),
        token=UUID(int=5),
        blob=b"x",
        colour=m.Colour.RED,
        backwards="abc",
        data={"a": [1]},
        tracked={"x": 1},
        stops=[1, 2],
        size="s",
        mail="a@b.cc",
        address="10.0.0.1",
        codes=[1, 2],
    )


KINDS: dict[str, Callable[[], Any]] = {
    "every type": a_parcel,
    "pickled": lambda: m.Jar(id=1, content={"a": {1, 2}}),
    "three joined tables": lambda: m.Manager(id=1, name="x", salary=Decimal("2.00")),
    "single table": lambda: m.Car(id=1, doors=3),
    "concrete table": lambda: m.Circle(id=1, label="l", radius=2.0),
    "onupdate": lambda: m.Barrel(id=1, label="a"),
    "dataclass": lambda: m.Coin(id=1, worth=7),
    "composite": lambda: m.Place(id=1, name="p", start=m.Point(1, 2), end=m.Point(3, 4)),
    "masked": lambda: m.Account(id=1, owner="o", password="p", seen=3),
}


@pytest.fixture
def log(sqlite_engine: Engine) -> Iterator[tuple[Lifecycle, sessionmaker[Session]]]:
    """A Lifecycle on sessions of an empty database."""
    gc.collect()
    m.Base.metadata.create_all(sqlite_engine)
    lifecycle, factory = Lifecycle(), sessionmaker(sqlite_engine)
    lifecycle.install(factory)
    lifecycle.create_tables(sqlite_engine)
    yield lifecycle, factory
    lifecycle.uninstall(factory)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_object_of_any_kind_comes_back_as_the_database_had_it(
    kind: str, log: tuple[Lifecycle, sessionmaker[Session]], sqlite_engine: Engine
) -> None:
    """What the log does not hold is noted; brought back once, there is nothing more to do."""
    lifecycle, factory = log
    made = KINDS[kind]()
    cls = type(made)

    def truth() -> Rows:
        with sqlite_engine.connect() as connection:
            return Truth(sqlite_engine.dialect, True).read(connection)

    with factory.begin() as session:
        session.add(made)
    before = truth()
    with factory.begin() as session:
        session.delete(session.get_one(cls, 1))

    restored = lifecycle.restore.undelete(cls, 1)

    assert truth() == before
    assert not lifecycle.restore.undelete(cls, 1)
    hidden = ["password", "seen"] if kind == "masked" else []
    assert sorted(note.split()[5].rstrip(",") for note in restored.preview.notes) == hidden
