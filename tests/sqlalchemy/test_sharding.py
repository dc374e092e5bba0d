"""Sessions whose objects are in several databases: each has the log of its own rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, String, create_engine, func, select, update
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from lifecycle import Lifecycle
from tests.replaying import replayed, state_of


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[dict[str, Engine]]:
    engines = {name: create_engine(f"sqlite:///{tmp_path / name}.db") for name in ("even", "odd")}
    yield engines
    for engine in engines.values():
        engine.dispose()


def test_each_shard_has_the_log_of_its_own_rows(
    shards: dict[str, Engine], base: type[DeclarativeBase], lifecycle: Lifecycle
) -> None:
    class Parcel(base):
        __tablename__ = "parcels"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))

    def of(number: int) -> str:
        return "odd" if number % 2 else "even"

    factory = sessionmaker(
        class_=ShardedSession,
        shards=shards,
        # As applications write it: of an object, and of nothing else.
        shard_chooser=lambda mapper, instance, clause=None: of(instance.id),
        identity_chooser=lambda mapper, primary_key, **_: [of(primary_key[0])],
        execute_chooser=lambda context: list(shards),
    )
    for engine in shards.values():
        base.metadata.create_all(engine)
        lifecycle.create_tables(engine)
    lifecycle.install(factory)
    with factory.begin() as session:
        session.add_all([Parcel(id=n, name=func.lower(f"P{n}")) for n in range(1, 6)])
    with factory.begin() as session:
        for one in session.scalars(select(Parcel)):
            one.name += "!"
    with factory.begin() as session:
        sync: Any = {"synchronize_session": False}
        session.execute(update(Parcel).values(name=Parcel.name + "?"), execution_options=sync)
        session.delete(session.get_one(Parcel, 3))
    lifecycle.uninstall(factory)
    for name, engine in shards.items():
        records = Lifecycle(store=engine).history.find(newest_first=False)
        with Session(engine) as session:
            held = state_of(session, [Parcel])
        assert {of(int(key)) for _, key in held} == {name}
        assert replayed({}, records) == held
