"""Statements that only PostgreSQL knows do what they do without Lifecycle, and are told of."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    Engine,
    Index,
    Integer,
    String,
    delete,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.schema import CreateSchema

from lifecycle import Change, Lifecycle
from lifecycle.errors import UnrecordedWriteWarning
from tests.sqlalchemy.conftest import Recorded, Start

Factory = sessionmaker[Session]


@pytest.fixture
def engine(postgresql_engine: Engine) -> Engine:
    return postgresql_engine


@pytest.fixture
def shelf(base: type[DeclarativeBase]) -> Any:
    class Shelf(base):
        __tablename__ = "shelves"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50), unique=True)
        sizes: Mapped[list[int]] = mapped_column(postgresql.ARRAY(Integer))

    return Shelf


@pytest.fixture
def box(base: type[DeclarativeBase]) -> Any:
    class Box(base):
        __tablename__ = "boxes"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50))

    return Box


@pytest.fixture
def factory(shelf: Any, box: Any, start: Start) -> Factory:
    factory = start()
    with factory.begin() as session:
        session.add_all([shelf(id=n, name=f"s{n}", sizes=[1, 2, 3]) for n in (1, 2)])
        session.add_all([box(id=n, name=f"b{n}") for n in (1, 2)])
    return factory


def names(factory: Factory, cls: Any) -> list[tuple[int, str]]:
    with factory() as session:
        return [(one, name) for one, name in session.execute(select(cls.id, cls.name))]


def test_an_update_by_what_a_part_of_it_deletes_deletes_that_once(
    factory: Factory, shelf: Any, box: Any, lifecycle: Lifecycle
) -> None:
    gone = delete(box).where(box.id == 1).returning(box.id).cte("gone")
    statement = update(shelf).where(shelf.id.in_(select(gone.c.id))).values(name="emptied")
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning):
        session.execute(statement, execution_options={"synchronize_session": False})
    assert names(factory, box) == [(2, "b2")]
    assert sorted(names(factory, shelf)) == [(1, "emptied"), (2, "s2")]
    told = {gap.what for gap in lifecycle.coverage().unrecorded}
    assert told == {"update of shelves", "delete of boxes"}


def test_an_upsert_of_what_a_part_of_it_deletes(
    factory: Factory, shelf: Any, box: Any, lifecycle: Lifecycle
) -> None:
    gone = delete(box).returning(box.id, box.name).cte("gone")
    moved = select(gone.c.id + 10, gone.c.name, postgresql.array([7]))
    statement = postgresql.insert(shelf).from_select(["id", "name", "sizes"], moved)
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning):
        session.execute(statement.on_conflict_do_nothing())
    assert names(factory, box) == []
    assert sorted(names(factory, shelf)) == [(1, "s1"), (2, "s2"), (11, "b1"), (12, "b2")]
    told = {gap.what for gap in lifecycle.coverage().unrecorded}
    assert told == {"insert of shelves", "delete of boxes"}


def test_an_insert_of_what_a_part_of_it_deletes_is_recorded(
    factory: Factory, shelf: Any, box: Any, recorded: Recorded
) -> None:
    gone = delete(shelf).where(shelf.id == 1).returning(shelf.id, shelf.name).cte("gone")
    statement = insert(box).from_select(["id", "name"], select(gone.c.id + 10, gone.c.name))
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning):
        session.execute(statement)
    assert recorded()[-1][:3] == ("insert", "Box", "11")


@pytest.mark.parametrize("orm", [True, False])
def test_an_element_of_an_array_that_is_assigned(
    orm: bool, factory: Factory, shelf: Any, recorded: Recorded
) -> None:
    target = shelf if orm else shelf.__table__
    sizes = shelf.sizes if orm else shelf.__table__.c.sizes
    statement = update(target).values({sizes[2]: 9})
    with factory.begin() as session:
        session.execute(statement, execution_options={"synchronize_session": False})
    assert recorded()[-2:] == [("update", "Shelf", key, {"sizes.1": Change(2, 9)}) for key in "12"]


def test_rows_that_are_found_by_chance_are_recorded_or_told_of(
    factory: Factory, shelf: Any, lifecycle: Lifecycle
) -> None:
    """A query by the same criteria has found others."""
    with factory.begin() as session:
        session.add_all([shelf(id=n, name=f"s{n}", sizes=[]) for n in range(3, 200)])
    statement = update(shelf).where(func.random() < 0.5).values(sizes=[0])
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning, match="cannot be told"):
        session.execute(statement, execution_options={"synchronize_session": False})
    with factory() as session:
        emptied = set(session.scalars(select(shelf.id).where(shelf.sizes == [0])))
    recorded = {int(one.key) for one in lifecycle.history.find(operation="update")}
    assert recorded < emptied


def test_rows_that_are_deleted_by_chance(
    factory: Factory, shelf: Any, lifecycle: Lifecycle
) -> None:
    with factory.begin() as session:
        session.add_all([shelf(id=n, name=f"s{n}", sizes=[]) for n in range(3, 200)])
    one = select(shelf.id).order_by(func.random()).limit(100)
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning, match="cannot be told"):
        session.execute(delete(shelf).where(shelf.id.in_(one)))
    left = {str(key) for key, _ in names(factory, shelf)}
    assert left.isdisjoint(one.key for one in lifecycle.history.find(operation="delete"))


def test_a_job_that_is_taken_from_a_queue(
    factory: Factory, shelf: Any, lifecycle: Lifecycle, recorded: Recorded
) -> None:
    """Nobody came in between, so the one that was found is the one that was taken."""
    free = select(shelf.id).order_by(shelf.id).limit(1).with_for_update(skip_locked=True)
    statement = update(shelf).where(shelf.id == free.scalar_subquery()).values(name="taken")
    with factory.begin() as session:
        assert session.scalars(statement.returning(shelf.id)).all() == [1]
    assert recorded()[-1] == ("update", "Shelf", "1", {"name": Change("s1", "taken")})
    assert lifecycle.coverage().unrecorded == ()


def test_a_job_that_another_one_has_come_in_front_of(
    factory: Factory, shelf: Any, lifecycle: Lifecycle, engine: Engine
) -> None:
    """Between the look at what is to be taken and the taking of it somebody has added one."""
    free = select(shelf.id).order_by(shelf.id).limit(1).with_for_update(skip_locked=True)
    statement = update(shelf).where(shelf.id == free.scalar_subquery()).values(name="taken")

    def come_between(connection: Any, clause: Any, *_: object) -> None:
        if clause.is_update:
            with engine.connect() as other, other.begin():
                row = {"id": 0, "name": "s0", "sizes": []}
                other.execute(insert(shelf.__table__), row)

    event.listen(engine, "before_execute", come_between)  # behind Lifecycle, which is installed
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning, match="written by oth"):
        assert session.scalars(statement.returning(shelf.id)).all() == [0]


def test_keys_that_are_made_by_chance_are_no_deletions(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    class Ticket(base):
        __tablename__ = "tickets"
        id: Mapped[UUID] = mapped_column(primary_key=True)

    factory = start()
    with factory.begin() as session:
        session.add(Ticket(id=UUID(int=1)))
    statement = update(Ticket).values(id=func.gen_random_uuid())
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning, match="cannot be told"):
        session.execute(statement, execution_options={"synchronize_session": False})
    assert [one[0] for one in recorded()] == ["insert"]


def test_a_tenant_with_a_schema_of_its_own_has_a_log_of_its_own(
    base: type[DeclarativeBase], engine: Engine, lifecycle: Lifecycle
) -> None:
    class Tenancy(base):
        __tablename__ = "tenancies"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))

    factory = sessionmaker(engine)
    lifecycle.install(factory)
    schemas = {"schema_translate_map": {None: "tenant"}}
    tenant = engine.execution_options(**schemas)
    with engine.begin() as connection:
        connection.execute(CreateSchema("tenant"))
    base.metadata.create_all(tenant)
    lifecycle.create_tables(tenant)
    with factory.begin() as session:
        session.connection(execution_options=schemas)
        session.add(Tenancy(id=1, name="a"))
    with factory.begin() as session:
        session.connection(execution_options=schemas)
        session.execute(update(Tenancy).values(name="b"))
    lifecycle.uninstall(factory)
    found = Lifecycle(store=tenant).history.find(newest_first=False)
    assert [str(record.operation) for record in found] == ["insert", "update"]


def test_an_upsert_that_meets_a_row_by_an_index_of_an_expression(
    base: type[DeclarativeBase], start: Start
) -> None:
    class Named(base):
        __tablename__ = "named"
        __table_args__ = (Index("named_lower", text("lower(name)"), unique=True),)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))
        times: Mapped[int] = mapped_column()

    factory = start()
    with factory.begin() as session:
        session.add(Named(id=1, name="a", times=1))
    statement = postgresql.insert(Named).values(id=2, name="A", times=1)
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning, match="cannot be told"):
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[text("lower(name)")], set_={"times": Named.times + 1}
            )
        )
