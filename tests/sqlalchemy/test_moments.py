"""The moments of a whole flush, of loading, and after the transaction; late hooks; signals."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, ForeignKey, String, create_engine, delete, select
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
    sessionmaker,
)

from lifecycle import (
    ABSENT,
    Change,
    Lifecycle,
    Veto,
    load_class_metadata,
    on_flush,
    post_commit,
    post_flush,
    post_load,
    post_persist,
    post_remove,
    post_rollback,
    post_update,
    pre_flush,
    pre_load,
    pre_persist,
    pre_remove,
    pre_update,
)
from lifecycle.errors import HookDefinitionError, LostAssignmentWarning
from tests.sqlalchemy.conftest import Recorded, Start, user_model


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """Hooks do not depend on the database."""
    return sqlite_engine


@pytest.fixture
def user(base: type[DeclarativeBase]) -> Any:
    """A model."""
    return user_model(base)


@pytest.fixture
def order(base: type[DeclarativeBase]) -> Any:
    """A model with children that the flush orphans, and children that it deletes."""

    class Order(base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        lines: Mapped[list[Any]] = relationship("Line")
        notes: Mapped[list[Any]] = relationship("Note", cascade="all, delete-orphan")

    class Line(base):
        __tablename__ = "order_lines"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
        text: Mapped[str | None] = mapped_column(String(50))

    class Note(base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))

    Order.line, Order.note = Line, Note
    return Order


class TestFlush:
    def test_the_moments_of_a_flush_come_in_order(
        self, lifecycle: Lifecycle, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """First the flush, then its objects, then all changes; the same after the writing."""

        @lifecycle.subscribe
        class Noting:
            @pre_flush
            @on_flush
            @post_flush
            def of_flush(self, event: Any) -> None:
                seen.append((str(event.moment), [repr(one) for one in event.changesets]))

            @pre_persist
            @post_persist
            def of_object(self, event: Any) -> None:
                seen.append(str(event.moment))

        with start().begin() as session:
            session.add(user(name="Eve"))
        assert seen == [
            ("pre_flush", []),
            "pre_persist",
            (
                "on_flush",
                ["<PrePersist of User (new): {'name': Change(old=ABSENT, new='Eve')}>"],
            ),
            "post_persist",
            (
                "post_flush",
                [
                    "<PostPersist of User 1: {'id': Change(old=ABSENT, new=1), "
                    "'name': Change(old=ABSENT, new='Eve'), 'nick': Change(old=ABSENT, new=None)}>"
                ],
            ),
        ]

    def test_an_object_that_a_hook_takes_out_of_the_flush_has_no_more_hooks_of_it(
        self, lifecycle: Lifecycle, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """One that is expunged has none, one that is deleted those of its removal."""
        factory = start()
        with factory.begin() as session:
            session.add_all([user(id=1, name="a"), user(id=2, name="b")])

        @lifecycle.subscribe
        class Taking:
            @pre_persist
            def keep_one(self, event: Any) -> None:
                seen.append(str(event.moment))
                for other in set(event.session.new) - {event.instance}:
                    event.session.expunge(other)

            @pre_update
            def delete_the_other(self, event: Any) -> None:
                seen.append(str(event.moment))
                for other in set(event.session.dirty) - {event.instance}:
                    event.session.delete(other)

            @pre_remove
            @post_update
            @post_remove
            def note(self, event: Any) -> None:
                seen.append(str(event.moment))

        with factory.begin() as session:
            session.add_all([user(name="c"), user(name="d")])
        assert seen == ["pre_persist"]
        seen.clear()
        with factory.begin() as session:
            for one in (session.get_one(user, 1), session.get_one(user, 2)):
                one.name += "!"
        assert seen == ["pre_update", "pre_remove", "post_update", "post_remove"]

    @pytest.mark.parametrize("moment", [pre_flush, on_flush])
    def test_raising_before_the_writing_vetoes(
        self, moment: Any, lifecycle: Lifecycle, user: Any, start: Start
    ) -> None:
        """The session stays usable, its objects pending."""
        stop = [True]

        @lifecycle.subscribe
        @moment
        def guard(event: Any) -> None:
            if stop:
                raise Veto("not now")

        with start()() as session:
            session.add(user(name="Eve"))
            with pytest.raises(Veto, match="not now"):
                session.flush()
            assert session.is_active
            assert len(session.new) == 1
            stop.clear()
            session.commit()
            assert session.scalars(select(user.name)).all() == ["Eve"]

    def test_raising_after_the_writing_rolls_back(
        self, lifecycle: Lifecycle, user: Any, start: Start, recorded: Recorded
    ) -> None:
        """Neither the change nor its record is left."""

        @lifecycle.subscribe
        @post_flush
        def guard(event: Any) -> None:
            raise ZeroDivisionError

        factory = start()
        with pytest.raises(ZeroDivisionError), factory.begin() as session:
            session.add(user(name="Eve"))
        with factory() as session:
            assert session.scalars(select(user)).all() == []
        assert recorded() == []

    def test_what_pre_flush_adds_has_its_own_moments(
        self, lifecycle: Lifecycle, user: Any, start: Start, recorded: Recorded
    ) -> None:
        """Anything is fine before a flush."""

        @lifecycle.subscribe
        @pre_flush
        def add(event: Any) -> None:
            event.session.add(user(name="added"))

        with start().begin() as session:
            session.add(user(name="Eve"))
        assert sorted(changes["name"].new for *_, changes in recorded()) == ["Eve", "added"]


class TestLate:
    def test_an_orphan_the_flush_cuts_off_has_a_late_update(
        self, lifecycle: Lifecycle, order: Any, start: Start, seen: list[Any], recorded: Recorded
    ) -> None:
        """Its own columns can still be set."""

        @lifecycle.subscribe
        @pre_update(order.line)
        def note(event: Any) -> None:
            seen.append((event.late, dict(event.changes)))
            event.changes.set("text", "cut off")

        factory = start()
        with factory.begin() as session:
            session.add(order(lines=[order.line()]))
        with factory.begin() as session:
            one = session.get_one(order, 1)
            one.lines.clear()
        assert seen == [(True, {"order_id": Change(1, None)})]
        assert recorded()[-1][3] == {
            "order_id": Change(1, None),
            "text": Change(None, "cut off"),
        }

    def test_an_orphan_the_flush_deletes_has_a_late_remove(
        self, lifecycle: Lifecycle, order: Any, start: Start, seen: list[Any]
    ) -> None:
        """It is not in session.deleted before."""

        @lifecycle.subscribe
        @pre_remove(order.note)
        def note(event: Any) -> None:
            seen.append((event.late, event.key))

        factory = start()
        with factory.begin() as session:
            session.add(order(notes=[order.note()]))
        with factory.begin() as session:
            one = session.get_one(order, 1)
            one.notes.clear()
        assert seen == [(True, "1")]

    def test_a_child_deleted_by_cascade_is_early(
        self, lifecycle: Lifecycle, order: Any, start: Start, seen: list[Any]
    ) -> None:
        """SQLAlchemy knows before the flush, and so do the hooks; nothing is told twice."""

        @lifecycle.subscribe
        @pre_remove
        def note(event: Any) -> None:
            seen.append((event.entity, event.late))

        factory = start()
        with factory.begin() as session:
            session.add(order(notes=[order.note()]))
        with factory.begin() as session:
            session.delete(session.get_one(order, 1))
        assert sorted(seen) == [("Note", False), ("Order", False)]

    def test_raising_in_a_late_hook_rolls_back(
        self, lifecycle: Lifecycle, order: Any, start: Start
    ) -> None:
        """By then the flush is under way."""

        @lifecycle.subscribe
        @pre_remove(order.note)
        def guard(event: Any) -> None:
            event.veto("too late to be gentle")

        factory = start()
        with factory.begin() as session:
            session.add(order(notes=[order.note()]))
        with factory() as session:
            one = session.get_one(order, 1)
            one.notes.clear()
            with pytest.raises(Veto, match="refused to delete Note 1: too late"):
                session.flush()
            session.rollback()
            assert len(one.notes) == 1


class TestPost:
    def test_an_assignment_after_the_writing_gives_a_warning(
        self, lifecycle: Lifecycle, user: Any, start: Start
    ) -> None:
        """SQLAlchemy would lose it without a word; the warning names hook, object and field."""

        @lifecycle.subscribe
        @post_update(user)
        def too_late(event: Any) -> None:
            event.instance.nick = "lost"

        factory = start()
        with factory.begin() as session:
            session.add(user(name="Eve"))
        message = r"too_late, at post_update, set nick of User 1 after it had been written"
        with pytest.warns(LostAssignmentWarning, match=message), factory.begin() as session:
            session.get_one(user, 1).name = "Bob"

    def test_sql_after_the_writing_is_in_the_same_transaction(
        self, lifecycle: Lifecycle, user: Any, start: Start
    ) -> None:
        """The hook sees the new row, and what it writes commits or rolls back with it."""

        @lifecycle.subscribe
        @post_persist(user)
        def nickname(event: Any) -> None:
            connection = event.session.connection()
            connection.execute(user.__table__.update().values(nick="by SQL"))

        factory = start()
        with factory.begin() as session:
            session.add(user(name="Eve"))
        with factory() as session:
            assert session.scalars(select(user.nick)).all() == ["by SQL"]


class TestAfterTransaction:
    @pytest.fixture
    def noting(self, lifecycle: Lifecycle, seen: list[Any]) -> None:
        """Note what is told after transactions."""

        @lifecycle.subscribe
        @post_commit
        @post_rollback
        def note(event: Any) -> None:
            seen.append((str(event.moment), str(event.operation), event.key, dict(event.changes)))

        seen.append(note)  # keep it
        seen.clear()

    @pytest.mark.usefixtures("noting")
    def test_an_object_is_told_of_once_with_all_that_happened_to_it(
        self, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """Inserted and updated is inserted; the first old and the last new count."""
        factory = start()
        with factory.begin() as session:
            eve = user(name="Eve")
            session.add(eve)
            session.flush()
            eve.name = "Bob"
            session.flush()
            assert seen == []
        inserted = {
            "id": Change(ABSENT, 1),
            "name": Change(ABSENT, "Bob"),
            "nick": Change(ABSENT, None),
        }
        assert seen == [("post_commit", "insert", "1", inserted)]
        seen.clear()
        with factory.begin() as session:
            eve = session.get_one(user, 1)
            eve.name = "Carl"
            session.flush()
            eve.name, eve.nick = "Dora", "d"
        changes = {"name": Change("Bob", "Dora"), "nick": Change(None, "d")}
        assert seen == [("post_commit", "update", "1", changes)]

    @pytest.mark.usefixtures("noting")
    def test_what_came_and_went_is_not_told(self, user: Any, start: Start, seen: list[Any]) -> None:
        """Inserted and deleted is nothing; changed and changed back too."""
        factory = start()
        with factory.begin() as session:
            session.add(user(name="stays"))
            eve = user(name="Eve")
            session.add(eve)
            session.flush()
            session.delete(eve)
        seen.clear()
        with factory.begin() as session:
            one = session.get_one(user, 1)
            one.name = "x"
            session.flush()
            one.name = "stays"
        assert seen == []

    @pytest.mark.usefixtures("noting")
    def test_flushes_with_a_statement_between_them_are_told_one_by_one(
        self, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """When they do not follow from each other, for no hook runs for the statement."""
        with start().begin() as session:
            session.add(user(id=1, name="Eve"))
            session.flush()
            session.execute(delete(user))
            session.add(user(id=1, name="Bob"))
        told = [(*one[:3], one[3]["name"].new) for one in seen]
        assert told == [
            ("post_commit", "insert", "1", "Eve"),
            ("post_commit", "insert", "1", "Bob"),
        ]

    @pytest.mark.usefixtures("noting")
    @pytest.mark.parametrize("end", ["rollback", "close"])
    def test_a_transaction_that_ends_without_commit_is_told_too(
        self, end: str, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """Closing the session counts."""
        session = start()()
        session.add(user(name="Eve"))
        session.flush()
        getattr(session, end)()
        session.close()
        assert [one[:3] for one in seen] == [("post_rollback", "insert", "1")]

    @pytest.mark.usefixtures("noting")
    def test_a_savepoint_is_told_of_by_itself_when_it_is_rolled_back(
        self, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """Released, it is part of the transaction."""
        with start().begin() as session:
            session.add(user(id=1, name="out"))
            savepoint = session.begin_nested()
            session.add(user(id=2, name="gone"))
            session.flush()
            savepoint.rollback()
            with session.begin_nested():
                session.add(user(id=3, name="kept"))
            assert [one[:3] for one in seen] == [("post_rollback", "insert", "2")]
            seen.clear()
        assert [one[:3] for one in seen] == [
            ("post_commit", "insert", "1"),
            ("post_commit", "insert", "3"),
        ]

    @pytest.mark.usefixtures("noting")
    def test_a_failed_flush_is_a_rollback(self, user: Any, start: Start, seen: list[Any]) -> None:
        """What an earlier flush of the transaction did is told as undone."""
        factory = start()
        with factory() as session:
            session.add(user(id=1, name="Eve"))
            session.flush()
            session.execute(select(user))
            session.connection().execute(user.__table__.insert(), {"id": 2, "name": "x"})
            session.add(user(id=2, name="clash"))
            with pytest.raises(Exception, match="UNIQUE"):
                session.flush()
            session.rollback()
        assert [one[:3] for one in seen] == [("post_rollback", "insert", "1")]

    def test_a_new_transaction_may_be_opened(
        self, lifecycle: Lifecycle, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """In the same session, in another, and with its own hooks."""

        @lifecycle.subscribe
        @post_commit(user, when="name", becomes="Eve")
        def follow(event: Any) -> None:
            event.session.add(user(name="same session"))
            event.session.commit()
            with factory.begin() as other:
                other.add(user(name="another"))

        factory = start()
        with factory() as session:
            session.add(user(name="Eve"))
            session.commit()
        with factory() as session:
            assert session.scalars(select(user.name).order_by(user.id)).all() == [
                "Eve",
                "same session",
                "another",
            ]

    def test_errors_are_logged_and_other_hooks_still_run(
        self,
        lifecycle: Lifecycle,
        user: Any,
        start: Start,
        seen: list[Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The commit stands, whatever a hook does after it."""

        @lifecycle.subscribe
        @post_commit(priority=1)
        def broken(event: Any) -> None:
            raise ZeroDivisionError

        @lifecycle.subscribe
        @post_commit
        def fine(event: Any) -> None:
            seen.append(event.key)

        with caplog.at_level(logging.ERROR, "lifecycle"), start().begin() as session:
            session.add_all([user(name="Eve"), user(name="Bob")])
        assert sorted(seen) == ["1", "2"]
        assert next(record.message for record in caplog.records).endswith(
            "broken failed at post_commit of User 1"
        )

    def test_errors_are_raised_together_when_asked_for(self, user: Any, engine: Engine) -> None:
        """After all hooks have run, and with the session usable."""
        lifecycle, factory = Lifecycle(after_commit="raise"), sessionmaker(engine)
        lifecycle.install(factory)
        lifecycle.create_tables(engine)
        user.metadata.create_all(engine)

        @lifecycle.subscribe
        @post_commit
        def broken(event: Any) -> None:
            raise ZeroDivisionError(event.key)

        with factory() as session:
            session.add_all([user(name="Eve"), user(name="Bob")])
            with pytest.raises(ExceptionGroup) as caught:
                session.commit()
            assert [str(error) for error in caught.value.exceptions] == ["1", "2"]
            assert len(session.scalars(select(user)).all()) == 2
        lifecycle.uninstall(factory)

    @pytest.mark.usefixtures("noting")
    def test_a_session_joined_to_an_outer_transaction_tells_of_its_own_commit(
        self, user: Any, start: Start, seen: list[Any], engine: Engine
    ) -> None:
        """As test suites do: the session commits, whatever becomes of the outer transaction."""
        factory = start()
        with engine.connect() as connection:
            outer = connection.begin()
            with factory(bind=connection, join_transaction_mode="create_savepoint") as session:
                session.add(user(name="Eve"))
                session.commit()
            outer.rollback()
        assert [one[:3] for one in seen] == [("post_commit", "insert", "1")]


class TestLoading:
    def test_pre_load_replaces_what_the_object_is_filled_with_and_leaves_it_clean(
        self, lifecycle: Lifecycle, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """At the first load and at every refresh."""

        @lifecycle.subscribe
        @pre_load(user)
        def shout(event: Any) -> None:
            seen.append(sorted(event.data))
            if "name" in event.data:
                event.data["name"] = event.data["name"].upper()

        factory = start()
        with factory.begin() as session:
            session.add(user(name="Eve"))
        with factory() as session:
            eve = session.scalars(select(user)).one()
            assert eve.name == "EVE"
            assert not session.dirty
            session.expire(eve, ["name"])
            assert eve.name == "EVE"
            assert not session.dirty
        assert seen == [["id", "name", "nick"], ["name"]]

    @pytest.mark.parametrize("operation", ["update", "delete"])
    def test_what_pre_load_puts_in_place_is_no_old_value(
        self,
        operation: str,
        lifecycle: Lifecycle,
        user: Any,
        start: Start,
        recorded: Recorded,
    ) -> None:
        """The record says what the database held; also in a later transaction."""

        @lifecycle.subscribe
        @pre_load(user)
        def shout(event: Any) -> None:
            event.data["name"] = "shouted"

        factory = start()
        with factory.begin() as session:
            session.add(user(id=1, name="Eve"))
        with factory(expire_on_commit=False) as session:
            eve = session.get_one(user, 1)
            session.commit()
            if operation == "update":
                eve.name = "Ann"
            else:
                session.delete(eve)
            session.commit()
        new = "Ann" if operation == "update" else ABSENT
        assert recorded()[1][3]["name"] == Change("Eve", new)

    def test_pre_load_comes_before_mutable_attributes_are_made(
        self, lifecycle: Lifecycle, base: Any, start: Start
    ) -> None:
        """What a hook puts there is tracked like what the database had."""

        class Thing(base):
            __tablename__ = "things"
            id: Mapped[int] = mapped_column(primary_key=True)
            data: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON()))

        @lifecycle.subscribe
        @pre_load(Thing)
        def migrate(event: Any) -> None:
            event.data["data"] = {**event.data["data"], "new": 1}

        factory = start()
        with factory.begin() as session:
            session.add(Thing(data={}))
        with factory.begin() as session:
            thing = session.scalars(select(Thing)).one()
            assert thing.data == {"new": 1}
            thing.data["more"] = 2
            assert thing in session.dirty

    def test_post_load_may_assign_and_the_next_flush_saves_it(
        self, lifecycle: Lifecycle, user: Any, start: Start, recorded: Recorded
    ) -> None:
        """So objects can be brought up to date as they are met."""

        @lifecycle.subscribe
        @post_load(user)
        def nickname(event: Any) -> None:
            if event.instance.nick is None:
                event.instance.nick = event.instance.name.lower()

        factory = start()
        with factory.begin() as session:
            session.add_all([user(name="Eve"), user(name="Bob")])
        with factory.begin() as session:
            found = session.scalars(select(user).order_by(user.id)).all()
            assert [one.nick for one in found] == ["eve", "bob"]
            assert set(session.dirty) == set(found)
        assert [changes for *_, changes in recorded()[2:]] == [
            {"nick": Change(None, "eve")},
            {"nick": Change(None, "bob")},
        ]

    def test_post_load_runs_for_every_way_to_load(
        self, lifecycle: Lifecycle, order: Any, start: Start, seen: list[Any]
    ) -> None:
        """Queries, get, lazy and eager loads, in chunks; each object once."""

        @lifecycle.subscribe
        @post_load
        def note(event: Any) -> None:
            seen.append((event.entity, event.key))

        factory = start()
        with factory.begin() as session:
            session.add_all([order(id=n, lines=[order.line(id=n)]) for n in (1, 2, 3)])
        loaded = [("Line", "1"), ("Line", "2"), ("Line", "3")]
        loaded += [("Order", "1"), ("Order", "2"), ("Order", "3")]
        with factory() as session:
            kept = session.scalars(select(order).options(selectinload(order.lines))).all()
            assert sorted(seen) == loaded
            seen.clear()
        with factory() as session:
            kept = [session.get_one(order, n) for n in (1, 2, 3)]
            assert [len(one.lines) for one in kept] == [1, 1, 1]
            assert sorted(seen) == loaded
            seen.clear()
        with factory() as session:
            query = select(order).execution_options(yield_per=2)
            kept = list(session.scalars(query))
            assert sorted(seen) == loaded[3:]

    def test_raising_aborts_the_query(self, lifecycle: Lifecycle, user: Any, start: Start) -> None:
        """Nobody gets an object that its hook refused."""

        @lifecycle.subscribe
        @post_load(user)
        def refuse(event: Any) -> None:
            raise PermissionError(event.key)

        factory = start()
        with factory.begin() as session:
            session.add(user(name="Eve"))
        with factory() as session, pytest.raises(PermissionError, match="1"):
            session.scalars(select(user)).all()

    def test_merging_a_new_object_is_no_load(
        self, lifecycle: Lifecycle, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """SQLAlchemy says it is; nothing came out of the database."""

        @lifecycle.subscribe
        @post_load(user)
        @pre_load(user)
        def note(event: Any) -> None:
            seen.append(event)

        with start().begin() as session:
            session.merge(user(name="Eve"))
        assert seen == []

    def test_classes_without_load_hooks_are_not_listened_to(
        self, lifecycle: Lifecycle, user: Any, order: Any, start: Start
    ) -> None:
        """They load at full speed; the last uninstall takes the listeners away."""

        @lifecycle.subscribe
        @post_load(user)
        def note(event: Any) -> None: ...

        factory = start()

        def listeners(cls: Any) -> int:
            return len(list(cls._sa_class_manager.dispatch.load))

        user.registry.configure()
        assert (listeners(user), listeners(order)) == (1, 0)
        lifecycle.uninstall(factory)
        assert listeners(user) == 0
        lifecycle.install(factory)
        assert listeners(user) == 1

    def test_sessions_that_are_not_installed_load_without_hooks(
        self, lifecycle: Lifecycle, user: Any, start: Start, engine: Engine, seen: list[Any]
    ) -> None:
        """The class is listened to, but the session is not ours."""

        @lifecycle.subscribe
        @post_load(user)
        def note(event: Any) -> None:
            seen.append(event)

        with start().begin() as session:
            session.add(user(name="Eve"))
        with Session(engine) as session:
            assert session.scalars(select(user)).one().name == "Eve"
        assert seen == []


class TestClassMetadata:
    def test_every_class_is_told_of_once_mapped_before_or_after_installing(
        self, lifecycle: Lifecycle, user: Any, start: Start, base: Any, seen: list[Any]
    ) -> None:
        """Also to a hook subscribed later."""

        @lifecycle.subscribe
        @load_class_metadata
        def note(event: Any) -> None:
            if issubclass(event.cls, base):
                seen.append((event.entity, event.fields))

        user.registry.configure()
        start()
        assert seen == [("User", ("id", "name", "nick"))]

        class Later(base):
            __tablename__ = "later"
            id: Mapped[int] = mapped_column(primary_key=True)

        Later.registry.configure()
        assert seen[1:] == [("Later", ("id",))]

        @lifecycle.subscribe
        @load_class_metadata(Later)
        def another(event: Any) -> None:
            seen.append(event.cls)

        assert seen[2:] == [Later]


class TestSignals:
    def test_never_alice_only_bob_as_a_receiver(
        self, lifecycle: Lifecycle, user: Any, start: Start, recorded: Recorded
    ) -> None:
        """A blinker receiver may do what a hook may."""

        def only_bob(sender: Any, event: Any) -> None:
            if event.changes.new("name") == "Alice":
                event.changes.set("name", "Bob")

        lifecycle.signals.pre_update.connect(only_bob, sender=user)
        factory = start()
        with factory.begin() as session:
            session.add(user(name="Eve"))
        with factory.begin() as session:
            session.get_one(user, 1).name = "Alice"
        assert recorded()[1][3] == {"name": Change("Eve", "Bob")}
        lifecycle.signals.pre_update.disconnect(only_bob, sender=user)
        with factory.begin() as session:
            session.get_one(user, 1).name = "Alice"
        assert recorded()[2][3] == {"name": Change("Bob", "Alice")}

    def test_a_receiver_for_a_class_gets_objects_of_classes_that_inherit_from_it(
        self, lifecycle: Lifecycle, base: Any, user: Any, start: Start, seen: list[Any]
    ) -> None:
        """And each object once, whoever else it is connected for."""

        def note(sender: Any, event: Any) -> None:
            seen.append(sender)

        class Admin(user):
            pass

        lifecycle.signals.post_persist.connect(note, sender=user)
        lifecycle.signals.post_persist.connect(note, sender=Admin)
        with start().begin() as session:
            session.add(Admin(name="Eve"))
        assert seen == [Admin]

    def test_an_async_receiver_is_refused_when_it_connects(self, lifecycle: Lifecycle) -> None:
        """Nothing would await it."""

        async def receiver(sender: Any, event: Any) -> None: ...

        with pytest.raises(HookDefinitionError, match="is async, and blinker would not await it"):
            lifecycle.signals.pre_update.connect(receiver)
        assert not lifecycle.signals.pre_update.receivers


class TestSuppressed:
    @pytest.mark.parametrize(
        ("off", "hooks", "records"),
        [
            ({}, 0, 0),
            ({"audit": False}, 0, 1),
            ({"hooks": False}, 1, 0),
        ],
    )
    def test_hooks_and_log_are_switched_off_one_by_one(
        self,
        off: dict[str, bool],
        hooks: int,
        records: int,
        lifecycle: Lifecycle,
        user: Any,
        start: Start,
        seen: list[Any],
        recorded: Recorded,
    ) -> None:
        """And on again after the block."""

        @lifecycle.subscribe
        @pre_persist
        def note(event: Any) -> None:
            seen.append(event)

        factory = start()
        with lifecycle.suppressed(**off), factory.begin() as session:
            session.add(user(name="Eve"))
        assert (len(seen), len(recorded())) == (hooks, records)
        with factory.begin() as session:
            session.add(user(name="Bob"))
        assert (len(seen), len(recorded())) == (hooks + 1, records + 1)

    def test_another_thread_and_another_lifecycle_are_not_switched_off(
        self, lifecycle: Lifecycle, user: Any, start: Start, recorded: Recorded
    ) -> None:
        """It belongs to the running task or thread."""
        factory = start()

        def write() -> None:
            with factory.begin() as session:
                session.add(user(name="Eve"))

        with Lifecycle().suppressed():
            write()
        with lifecycle.suppressed():
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
        assert len(recorded()) == 2


def test_subscribing_while_other_threads_flush_never_raises_and_loses_no_call(
    lifecycle: Lifecycle, user: Any, start: Start
) -> None:
    """A hook is called in every flush that begins after it was subscribed."""
    factory, errors, called, stop = start(), [], [], threading.Event()

    def flush(name: str) -> None:
        """Flush in a database of its own, for SQLite has room for one writer only."""
        engine = create_engine("sqlite://")
        user.metadata.create_all(engine)
        with lifecycle.suppressed(hooks=False), factory(bind=engine) as session:
            session.add(user(name=name))
            session.flush()
        engine.dispose()

    def keep_flushing() -> None:
        try:
            while not stop.is_set():
                flush("other")
        except Exception as error:
            errors.append(error)

    def subscribe(number: int) -> None:
        @lifecycle.subscribe
        @pre_persist
        def hook(event: Any) -> None:
            if event.instance.name == "main":
                called.append(number)

    threads = [threading.Thread(target=keep_flushing) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(20):
        subscribe(number)
        called.clear()
        flush("main")
        assert called == list(range(number + 1))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_hook_may_use_another_session(
    lifecycle: Lifecycle, user: Any, start: Start, recorded: Recorded, engine: Engine
) -> None:
    """Its writes have hooks and records of their own."""

    @lifecycle.subscribe
    @post_commit(user, when="name", becomes="Eve")
    def other(event: Any) -> None:
        with factory.begin() as session:
            session.add(user(name="Bob"))

    factory = start()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SAWarning)
        with factory.begin() as session:
            session.add(user(name="Eve"))
    assert [changes["name"].new for *_, changes in recorded()] == ["Eve", "Bob"]


def test_uninstalling_leaves_no_listener_on_mappers(
    lifecycle: Lifecycle, user: Any, engine: Engine
) -> None:
    """Neither for late hooks nor for new classes."""

    def listeners() -> list[int]:
        user.registry.configure()
        dispatch = user.__mapper__.dispatch
        names = ("before_insert", "before_update", "before_delete", "after_configured")
        return [len(list(getattr(dispatch, name))) for name in names]

    before, factory = listeners(), sessionmaker(engine)
    lifecycle.install(factory)
    assert listeners() != before
    lifecycle.uninstall(factory)
    assert listeners() == before
