"""The log holds what was committed, whatever happened to transactions and savepoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, ForeignKey, String, create_engine, insert, text, update
from sqlalchemy.event import listens_for
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from lifecycle import Lifecycle, post_persist, post_update, pre_persist, pre_remove
from tests.sqlalchemy.conftest import Start


@pytest.fixture
def tag(base: type[DeclarativeBase]) -> Any:
    """A model with a unique name."""

    class Tag(base):
        __tablename__ = "tags"
        name: Mapped[str] = mapped_column(String(20), primary_key=True)

    return Tag


@pytest.fixture
def names(lifecycle: Lifecycle) -> Callable[[], list[list[str]]]:
    """The keys recorded, by revision."""

    def read() -> list[list[str]]:
        revisions: dict[Any, list[str]] = {}
        for record in lifecycle.history.find(newest_first=False):
            revisions.setdefault(record.revision.id, []).append(record.key)
        return list(revisions.values())

    return read


def test_several_flushes_of_a_transaction_are_one_revision(
    tag: Any, start: Start, names: Any
) -> None:
    """Each flush adds its records to the revision of its transaction."""
    with start().begin() as session:
        session.add(tag(name="a"))
        session.flush()
        session.add(tag(name="b"))
    assert names() == [["a", "b"]]


def test_each_transaction_is_a_revision(tag: Any, start: Start, names: Any) -> None:
    """A session that goes on after a commit starts a new revision."""
    with start()() as session:
        for name in "ab":
            session.add(tag(name=name))
            session.commit()
    assert names() == [["a"], ["b"]]


@pytest.mark.parametrize("end", ["rollback", "close"])
def test_what_is_not_committed_is_not_in_the_log(
    end: str, tag: Any, start: Start, names: Any
) -> None:
    """Rolling back, or closing without commit, takes the records away with the change."""
    factory = start()
    session = factory()
    session.add(tag(name="a"))
    session.flush()
    getattr(session, end)()
    session.add(tag(name="b"))
    session.commit()
    session.close()
    assert names() == [["b"]]


def test_a_failed_flush_leaves_no_record(tag: Any, start: Start, names: Any) -> None:
    """An error of the database takes the records of its transaction away."""
    factory = start()
    with factory.begin() as session:
        session.add(tag(name="a"))
    with factory() as session:
        session.add(tag(name="b"))
        session.flush()
        session.add(tag(name="a"))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        session.add(tag(name="c"))
        session.commit()
    assert names() == [["a"], ["c"]]


def test_a_savepoint_rolled_back_takes_exactly_its_records(
    tag: Any, start: Start, names: Any
) -> None:
    """Records before and after the savepoint stay, in one revision."""
    with start().begin() as session:
        session.add(tag(name="a"))
        session.flush()
        savepoint = session.begin_nested()
        session.add(tag(name="b"))
        session.flush()
        savepoint.rollback()
        session.add(tag(name="c"))
    assert names() == [["a", "c"]]


def test_a_first_flush_in_a_savepoint_rolled_back_does_not_lose_the_revision(
    tag: Any, start: Start, names: Any
) -> None:
    """The revision's row goes with the savepoint, and is written again with the next record."""
    with start().begin() as session:
        savepoint = session.begin_nested()
        session.add(tag(name="a"))
        session.flush()
        savepoint.rollback()
        session.add(tag(name="b"))
    assert names() == [["b"]]


@pytest.mark.parametrize(
    ("inner", "middle", "expected"),
    [
        ("commit", "commit", [["in", "mid", "out"]]),
        ("commit", "rollback", [["out"]]),
        ("rollback", "commit", [["mid", "out"]]),
        ("rollback", "rollback", [["out"]]),
    ],
)
def test_savepoints_nest(
    inner: str, middle: str, expected: Any, tag: Any, start: Start, names: Any
) -> None:
    """A savepoint that was released still goes when the one around it is rolled back."""
    with start().begin() as session:
        outer_savepoint = session.begin_nested()
        inner_savepoint = session.begin_nested()
        session.add(tag(name="in"))
        session.flush()
        getattr(inner_savepoint, inner)()
        session.add(tag(name="mid"))
        session.flush()
        getattr(outer_savepoint, middle)()
        session.add(tag(name="out"))
    assert [sorted(found) for found in names()] == expected


def test_a_flush_that_fails_inside_a_savepoint_spares_the_outside(
    tag: Any, start: Start, names: Any
) -> None:
    """The transaction goes on after the savepoint, and so does its revision."""
    factory = start()
    with factory.begin() as session:
        session.add(tag(name="a"))
    with factory.begin() as session:
        session.add(tag(name="b"))
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(tag(name="a"))
        session.add(tag(name="c"))
    assert names() == [["a"], ["b", "c"]]


@pytest.fixture(params=["postgresql", "mysql"])  # SQLite has no such thing
def preparing_engine(request: pytest.FixtureRequest) -> Engine:
    """An engine on a database that can prepare transactions."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    if request.param == "postgresql":
        with engine.connect() as connection:
            if connection.scalar(text("SHOW max_prepared_transactions")) == "0":
                pytest.skip("this PostgreSQL has max_prepared_transactions = 0, its default")
    return engine


def test_a_two_phase_commit_records_like_any_other(
    tag: Any, base: type[DeclarativeBase], preparing_engine: Engine
) -> None:
    """The record is part of what the prepared transaction commits, or rolls back."""
    lifecycle = Lifecycle()
    factory = sessionmaker(preparing_engine, twophase=True)
    lifecycle.install(factory)
    lifecycle.create_tables(preparing_engine)
    base.metadata.create_all(preparing_engine)
    with factory() as session:
        session.add(tag(name="a"))
        session.flush()
        session.prepare()
        session.rollback()
        session.add(tag(name="b"))
        session.commit()
    assert [record.key for record in lifecycle.history.find()] == ["b"]


def test_two_databases_of_one_session_get_a_revision_each_joined_by_a_group(
    tag: Any, base: type[DeclarativeBase], tmp_path: Any
) -> None:
    """What one transaction wrote to several databases can be found as one."""

    class Note(base):
        __tablename__ = "notes"
        text: Mapped[str] = mapped_column(String(20), primary_key=True)

    first, second = (create_engine(f"sqlite:///{tmp_path / name}") for name in ("1", "2"))
    lifecycles = {first: Lifecycle(), second: Lifecycle()}
    for engine, lifecycle in lifecycles.items():
        base.metadata.create_all(engine)
        lifecycle.create_tables(engine)
    factory = sessionmaker(binds={tag: first, Note: second})
    lifecycles[first].install(factory)
    with factory.begin() as session:
        session.add_all([tag(name="a"), Note(text="b")])
    (one,) = lifecycles[first].history.find()
    (other,) = lifecycles[second].history.find()
    assert (one.entity, other.entity) == ("Tag", "Note")
    assert one.revision.id != other.revision.id
    assert one.revision.group == other.revision.group
    first.dispose()
    second.dispose()


def test_a_savepoint_of_the_connection_takes_its_records_too(
    tag: Any, start: Start, names: Any
) -> None:
    """Also one that the session knows nothing of, though it took the revision's row with it."""
    with start().begin() as session:
        connection = session.connection()
        savepoint = connection.begin_nested()
        connection.execute(insert(tag.__table__), {"name": "a"})
        savepoint.rollback()
        connection.execute(insert(tag.__table__), {"name": "b"})
        session.add(tag(name="c"))
    assert names() == [["b", "c"]]


@pytest.mark.parametrize("undo", ["ROLLBACK TO SAVEPOINT x", "/* no */ rollback to x"])
def test_a_savepoint_made_with_sql_text_takes_its_records_too(
    undo: str, tag: Any, start: Start, names: Any
) -> None:
    """SQLAlchemy does not know of it; what is written later gets a revision's row all the same."""
    with start().begin() as session:
        session.execute(text("SAVEPOINT x"))
        session.add(tag(name="a"))
        session.flush()
        session.execute(text(undo))
        session.expunge_all()
        session.add(tag(name="b"))
    assert names() == [["b"]]


def test_what_is_rolled_back_with_sql_text_does_not_take_later_records_along(
    tag: Any, start: Start, names: Any
) -> None:
    """Nor does what the driver is given past SQLAlchemy's own text."""
    with start()() as session:
        session.add(tag(name="a"))
        session.flush()
        session.connection().exec_driver_sql("ROLLBACK")
        session.expunge_all()
        session.add(tag(name="b"))
        session.commit()
    assert names() == [["b"]]


class TestEngine:
    """An installed engine: Core statements outside of sessions."""

    @pytest.fixture
    def installed(self, engine: Engine, lifecycle: Lifecycle, tag: Any, base: Any) -> Iterator[Any]:
        base.metadata.create_all(engine)
        lifecycle.create_tables(engine)
        lifecycle.install(engine)
        yield engine
        lifecycle.uninstall(engine)

    @pytest.fixture
    def add(self, tag: Any) -> Callable[..., None]:
        def add(connection: Connection, *names: str) -> None:
            for name in names:
                connection.execute(insert(tag.__table__), {"name": name})

        return add

    def test_each_transaction_of_a_connection_is_a_revision(
        self, installed: Engine, add: Any, names: Any
    ) -> None:
        """One that goes on after a commit, or after a rollback, starts another."""
        with installed.connect() as connection:
            add(connection, "a", "b")
            connection.commit()
            add(connection, "no")
            connection.rollback()
            add(connection, "c")
            connection.commit()
            add(connection, "no")
        assert names() == [["a", "b"], ["c"]]

    def test_savepoints_take_exactly_their_records(
        self, installed: Engine, add: Any, names: Any
    ) -> None:
        """Three deep: released ones stay with what is around them."""
        with installed.begin() as connection:
            one = connection.begin_nested()
            two = connection.begin_nested()
            three = connection.begin_nested()
            add(connection, "gone")
            three.rollback()
            add(connection, "a")
            two.commit()
            add(connection, "b")
            one.commit()
            four = connection.begin_nested()
            add(connection, "no")
            four.rollback()
        assert names() == [["a", "b"]]

    def test_with_autocommit_each_statement_is_a_revision(
        self, installed: Engine, add: Any, names: Any
    ) -> None:
        """There is no transaction to belong to."""
        with installed.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            add(connection, "a", "b")
        assert names() == [["a"], ["b"]]

    def test_sessions_and_engine_installed_both_record_once(
        self, installed: Engine, add: Any, names: Any, tag: Any, lifecycle: Lifecycle
    ) -> None:
        """What a session writes is its own, before and after it the engine's connections too."""
        factory = sessionmaker(installed)
        lifecycle.install(factory)
        with factory.begin() as session:
            session.add(tag(name="a"))
            session.flush()
            add(session.connection(), "b")
        with installed.begin() as connection:
            add(connection, "c")
        lifecycle.uninstall(factory)
        assert names() == [["a", "b"], ["c"]]

    def test_an_engine_that_is_not_installed_is_left_alone(
        self, engine: Engine, tag: Any, start: Start, add: Any, names: Any
    ) -> None:
        """Installing sessions says nothing about the other connections of their engine."""
        with start().begin() as session:
            session.add(tag(name="a"))
        with engine.begin() as connection:
            add(connection, "b")
        assert names() == [["a"]]

    def test_uninstalling_leaves_no_listener(self, engine: Engine, lifecycle: Lifecycle) -> None:
        """The engine is as it was before."""
        before = {name: len(getattr(engine.dispatch, name)) for name in ENGINE_EVENTS}
        lifecycle.install(engine)
        assert {name: len(getattr(engine.dispatch, name)) for name in ENGINE_EVENTS} != before
        lifecycle.uninstall(engine)
        assert {name: len(getattr(engine.dispatch, name)) for name in ENGINE_EVENTS} == before

    def test_a_statement_that_fails_leaves_no_record(
        self, installed: Engine, add: Any, names: Any
    ) -> None:
        """What had been read for it is forgotten."""
        with installed.connect() as connection:
            add(connection, "a")
            savepoint = connection.begin_nested()
            with pytest.raises(IntegrityError):
                add(connection, "a")
            savepoint.rollback()
            add(connection, "b")
            connection.commit()
        assert names() == [["a", "b"]]


ENGINE_EVENTS = ("before_execute", "after_execute", "release_savepoint", "commit", "rollback")


def test_statements_of_hooks_are_recorded_whenever_they_run(
    tag: Any, base: type[DeclarativeBase], start: Start, lifecycle: Lifecycle, names: Any
) -> None:
    """Before, in the middle of and after the writing; also those of SQLAlchemy's own events."""

    class Note(base):
        __tablename__ = "notes"
        id: Mapped[str] = mapped_column(String(20), primary_key=True)

    class Parent(base):
        __tablename__ = "parents"
        id: Mapped[str] = mapped_column(String(20), primary_key=True)
        notes: Mapped[list[Any]] = relationship("Child", cascade="all, delete-orphan")

    class Child(base):
        __tablename__ = "children"
        id: Mapped[str] = mapped_column(String(20), primary_key=True)
        parent_id: Mapped[str] = mapped_column(ForeignKey("parents.id"))

    def note(session: Session, text: str) -> None:
        session.connection().execute(insert(Note.__table__), {"id": text})

    @lifecycle.subscribe
    @pre_persist(Parent)
    @post_persist(Parent)
    @pre_remove(Child)
    def hook(event: Any) -> None:
        note(event.session, f"late {event.moment}" if event.late else str(event.moment))

    factory = start()

    @listens_for(Parent, "after_insert")
    def listener(mapper: Any, connection: Connection, target: Any) -> None:
        connection.execute(insert(Note.__table__), {"id": "after_insert"})

    with factory.begin() as session:
        session.add(Parent(id="p", notes=[Child(id="c")]))
    with factory.begin() as session:
        parent = session.get_one(Parent, "p")
        parent.notes.clear()
    assert [sorted(found) for found in names()] == [
        ["after_insert", "c", "p", "post_persist", "pre_persist"],
        ["c", "late pre_remove"],
    ]


@pytest.mark.parametrize("moment", ["before_update", "after_insert", "after_update", "post_hook"])
def test_a_statement_on_a_row_of_the_flush_itself_is_recorded_in_its_place(
    moment: str, base: type[DeclarativeBase], start: Start, lifecycle: Lifecycle
) -> None:
    """The log ends with what the table holds, whoever wrote last."""

    class Node(base):
        __tablename__ = "nodes"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))
        path: Mapped[str | None] = mapped_column(String(20))

    def write(connection: Connection, key: int) -> None:
        table = Node.__table__
        there = table.c.id == key
        connection.execute(update(table).where(there).values(path="/1", name="statement"))

    factory = start()
    if moment == "post_hook":

        @lifecycle.subscribe
        @post_persist(Node)
        @post_update(Node)
        def hook(event: Any) -> None:
            write(event.session.connection(), event.instance.id)

    else:

        @listens_for(Node, moment)
        def listener(mapper: Any, connection: Connection, target: Any) -> None:
            write(connection, target.id)

    with factory.begin() as session:
        session.add(Node(id=1, name="new"))
    with factory.begin() as session:
        session.get_one(Node, 1).name = "changed"
    with factory() as session:
        node = session.get_one(Node, 1)
        held = {"id": 1, "name": node.name, "path": node.path}
    (last, *_) = lifecycle.history.of(Node, 1)
    assert lifecycle.history.as_of(Node, 1, last).values == held
