"""What SQLAlchemy does in each of its many situations, and which hooks run for it."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Engine,
    FetchedValue,
    ForeignKey,
    Numeric,
    String,
    Table,
    func,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError, InvalidRequestError, PendingRollbackError, SAWarning
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    column_property,
    composite,
    deferred,
    joinedload,
    make_transient,
    mapped_column,
    relationship,
    scoped_session,
    selectinload,
    sessionmaker,
    synonym,
)
from sqlalchemy.orm.attributes import flag_modified

from lifecycle import (
    ABSENT,
    UNKNOWN,
    Change,
    Lifecycle,
    Veto,
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
from lifecycle.changes import SetEdit
from lifecycle.errors import InstallError, LostAssignmentWarning
from tests.sqlalchemy.conftest import Start

Told = list[tuple[str, str, str | None, dict[str, Any]]]


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """Hooks do not depend on the database."""
    return sqlite_engine


@pytest.fixture
def told(lifecycle: Lifecycle) -> Told:
    """What hooks of every class are told: the moment, of what, and the changes."""
    told: Told = []

    @lifecycle.subscribe
    @pre_persist
    @pre_update
    @pre_remove
    @post_persist
    @post_update
    @post_remove
    def note(event: Any) -> None:
        moment = f"late {event.moment}" if event.late else str(event.moment)
        told.append((moment, event.entity, event.key, dict(event.changes)))

    return told


def moments(told: Told, entity: str | None = None) -> list[str]:
    """The moments alone, of objects of that name."""
    return [moment for moment, name, *_ in told if entity in (None, name)]


def after(told: Told, moment: str, entity: str) -> dict[str, Any]:
    """The changes one object was told with, at a moment that came once."""
    (changes,) = [one[3] for one in told if one[:2] == (moment, entity)]
    return changes


@dataclasses.dataclass
class Point:
    """Two columns as one value."""

    x: int
    y: int


@pytest.fixture
def thing(base: type[DeclarativeBase]) -> Any:
    """A model with an attribute of every kind."""

    class Thing(base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(20))
        n: Mapped[int] = mapped_column(default=1)
        body: Mapped[str | None] = deferred(mapped_column(String(20)))
        active: Mapped[str | None] = mapped_column(String(20), active_history=True)
        price: Mapped[Any] = mapped_column(Numeric(10, 2), default=Decimal("1.50"))
        plain: Mapped[Any] = mapped_column(JSON(), default=lambda: {"a": 1})
        watched: Mapped[Any] = mapped_column(
            MutableDict.as_mutable(JSON()), default=lambda: {"a": 1, "in": {}}
        )
        point: Mapped[Point] = composite(
            Point, mapped_column("x", default=1), mapped_column("y", default=2)
        )
        alias = synonym("name")
        double = column_property(n * 2)

        @hybrid_property
        def loud(self) -> str:
            return self.name.upper()  # type: ignore[union-attr]

        @loud.setter  # type: ignore[no-redef]
        def loud(self, value: str) -> None:
            self.name = value.lower()

    return Thing


def set_(**values: Any) -> Callable[[Any], None]:
    """Assign to attributes."""

    def act(one: Any) -> None:
        for name, value in values.items():
            setattr(one, name, value)

    return act


def expired(act: Callable[[Any], None]) -> Callable[[Any], None]:
    """The same on an object whose values memory has lost."""

    def after_expiring(one: Any) -> None:
        inspect(one).session.expire(one)
        act(one)

    return after_expiring


def replace_watched(one: Any) -> None:
    one.watched = {"b": 2}


def in_place(one: Any) -> None:
    one.plain["a"] = 2


def in_place_and_flagged(one: Any) -> None:
    one.plain["a"] = 2
    flag_modified(one, "plain")


def there_and_back(one: Any) -> None:
    one.name = "other"
    one.name = "Eve"


class TestAttributes:
    @pytest.mark.parametrize(
        ("act", "changes"),
        [
            pytest.param(set_(name="Bob"), {"name": Change("Eve", "Bob")}, id="1 loaded"),
            pytest.param(set_(name=None), {"name": Change("Eve", None)}, id="1 to None"),
            pytest.param(set_(name="Eve"), {}, id="2 the same value"),
            pytest.param(there_and_back, {}, id="3 there and back"),
            pytest.param(expired(set_(name="Bob")), {"name": Change("Eve", "Bob")}, id="4 expired"),
            pytest.param(expired(set_(name="Eve")), {}, id="4 expired, the same value"),
            pytest.param(
                expired(set_(active="b")), {"active": Change("a", "b")}, id="5 active_history"
            ),
            pytest.param(set_(body="new"), {"body": Change("old", "new")}, id="6 deferred"),
            pytest.param(set_(body="old"), {}, id="6 deferred, the same value"),
            pytest.param(in_place, {}, id="8 in place, not tracked"),
            pytest.param(
                in_place_and_flagged, {"plain": Change({"a": 1}, {"a": 2})}, id="9 flag_modified"
            ),
            pytest.param(
                lambda one: one.watched.update(a=2),
                {"watched": Change({"a": 1, "in": {}}, {"a": 2, "in": {}})},
                id="9 MutableDict",
            ),
            pytest.param(
                lambda one: one.watched["in"].update(deep=1), {}, id="10 inside a MutableDict"
            ),
            pytest.param(
                replace_watched,
                {"watched": Change({"a": 1, "in": {}}, {"b": 2})},
                id="11 MutableDict replaced",
            ),
            pytest.param(set_(price=Decimal("1.5")), {}, id="12 an equal number"),
            pytest.param(set_(point=Point(1, 5)), {"y": Change(2, 5)}, id="13 composite"),
            pytest.param(set_(loud="BOB"), {"name": Change("Eve", "bob")}, id="14 hybrid"),
            pytest.param(set_(alias="Bob"), {"name": Change("Eve", "Bob")}, id="14 synonym"),
            pytest.param(set_(n=5), {"n": Change(1, 5)}, id="15 column_property"),
        ],
    )
    def test_update_hooks_see_the_true_change_of_columns_once_or_do_not_run(
        self,
        act: Callable[[Any], None],
        changes: dict[str, Any],
        thing: Any,
        start: Start,
        told: Told,
    ) -> None:
        """Both update hooks run once with old and new, or neither when no column changes."""
        factory = start()
        with factory.begin() as session:
            session.add(thing(name="Eve", body="old", active="a"))
        told.clear()
        with factory.begin() as session:
            act(session.get_one(thing, 1))
        expected = [("pre_update", "Thing", "1", changes), ("post_update", "Thing", "1", changes)]
        assert told == (expected if changes else [])

    def test_a_deleted_attribute_fails_the_flush_before_any_post_hook(
        self, thing: Any, start: Start, told: Told
    ) -> None:
        """Row 7: SQLAlchemy itself cannot flush `del`; no hook takes it for a change."""
        factory = start()
        with factory.begin() as session:
            session.add(thing(name="Eve"))
        told.clear()
        with factory() as session:
            del session.get_one(thing, 1).name
            with pytest.raises(KeyError):
                session.flush()
            session.rollback()
            assert session.get_one(thing, 1).name == "Eve"
        assert told == []

    def test_an_expression_is_unknown_before_and_true_after(
        self, thing: Any, start: Start, told: Told
    ) -> None:
        """Row 16: only the database knows the new value, until it has worked it out."""
        factory = start()
        with factory.begin() as session:
            session.add(thing())
        told.clear()
        with factory.begin() as session:
            session.get_one(thing, 1).n = thing.n + 1
        assert after(told, "pre_update", "Thing") == {"n": Change(1, UNKNOWN)}
        assert after(told, "post_update", "Thing") == {"n": Change(1, 2)}

    def test_an_expression_that_comes_to_the_same_value_has_no_post_hook(
        self, lifecycle: Lifecycle, thing: Any, start: Start, told: Told
    ) -> None:
        """Row 16: nothing changed, and post_flush is told of nothing."""
        counts = []

        @lifecycle.subscribe
        @post_flush
        def count(event: Any) -> None:
            counts.append(len(event.changesets))

        factory = start()
        with factory.begin() as session:
            session.add(thing())
        told.clear()
        with factory.begin() as session:
            session.get_one(thing, 1).n = thing.n + 0
        assert moments(told) == ["pre_update"]
        assert counts == [1, 0]

    def test_an_expression_in_an_insert_is_unknown_before_and_true_after(
        self, thing: Any, start: Start, told: Told
    ) -> None:
        """Row 16, for a new object."""
        with start().begin() as session:
            session.add(thing(n=select(func.length("four")).scalar_subquery()))
        assert after(told, "pre_persist", "Thing")["n"] == Change(ABSENT, UNKNOWN)
        assert after(told, "post_persist", "Thing")["n"] == Change(ABSENT, 4)


class TestValuesMadeByTheDatabase:
    @pytest.fixture
    def counter(self, base: Any) -> Any:
        """A model whose columns get values by themselves."""

        class Counter(base):
            __tablename__ = "counters"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str | None] = mapped_column(String(20))
            given: Mapped[int] = mapped_column(server_default="7")
            python: Mapped[int] = mapped_column(default=0, onupdate=1)
            server: Mapped[int] = mapped_column(
                default=0, onupdate=func.length("four"), server_onupdate=FetchedValue()
            )
            version: Mapped[int] = mapped_column()
            __mapper_args__ = {"version_id_col": version}

        return Counter

    def test_an_insert_shows_defaults_only_after_it(
        self, counter: Any, start: Start, told: Told
    ) -> None:
        """Rows 19, 20 and 42: before it, only what was set; a column never set is NULL."""
        with start().begin() as session:
            session.add(counter(name="a"))
        assert after(told, "pre_persist", "Counter") == {"name": Change(ABSENT, "a")}
        made = {"id": 1, "name": "a", "given": 7, "python": 0, "server": 0, "version": 1}
        assert after(told, "post_persist", "Counter") == {
            name: Change(ABSENT, value) for name, value in made.items()
        }

    @pytest.mark.parametrize("expire", [False, True])
    def test_an_update_shows_what_it_does_by_itself_only_after_it(
        self, expire: bool, counter: Any, start: Start, told: Told
    ) -> None:
        """Rows 17, 18 and 42: onupdate and version counter, each with its true old value."""
        factory = start()
        with factory.begin() as session:
            session.add(counter(name="a"))
        told.clear()
        with factory.begin() as session:
            one = session.get_one(counter, 1)
            if expire:
                session.expire(one)
            one.name = "b"
        assert after(told, "pre_update", "Counter") == {"name": Change("a", "b")}
        assert after(told, "post_update", "Counter") == {
            "name": Change("a", "b"),
            "python": Change(0, 1),
            "server": Change(0, 4),
            "version": Change(1, 2),
        }

    def test_dataclass_defaults_show_before_the_insert(
        self, base: Any, start: Start, told: Told
    ) -> None:
        """Row 21: also where SQLAlchemy keeps them out of the object's dict until then."""

        class Card(MappedAsDataclass, base):
            __tablename__ = "cards"
            id: Mapped[int] = mapped_column(primary_key=True, init=False)
            colour: Mapped[str] = mapped_column(String(20), default="red")
            note: Mapped[str | None] = mapped_column(String(20), default=None)

        with start().begin() as session:
            session.add(Card())
        assert after(told, "pre_persist", "Card")["colour"] == Change(ABSENT, "red")
        assert after(told, "post_persist", "Card") == {
            "id": Change(ABSENT, 1),
            "colour": Change(ABSENT, "red"),
            "note": Change(ABSENT, None),
        }


@pytest.fixture
def shop(base: type[DeclarativeBase]) -> Any:
    """Models with a relationship of every kind; the class is an order, the others hang on it."""
    tagging = Table(
        "tagging",
        base.metadata,
        Column("order_id", ForeignKey("orders.id"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id"), primary_key=True),
    )

    class Tag(base):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)
        word: Mapped[str | None] = mapped_column(String(20))

    class Order(base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(20))
        favourite_id: Mapped[int | None] = mapped_column(
            ForeignKey("lines.id", use_alter=True, name="favourite")
        )
        lines: Mapped[list[Any]] = relationship("Line", foreign_keys="Line.order_id")
        seen_lines: Mapped[list[Any]] = relationship(
            "Line", foreign_keys="Line.order_id", viewonly=True
        )
        favourite: Mapped[Any] = relationship("Line", foreign_keys=favourite_id, post_update=True)
        parts: Mapped[list[Any]] = relationship("Part", back_populates="order")
        notes: Mapped[list[Any]] = relationship(
            "Note", back_populates="order", cascade="all, delete-orphan"
        )
        stamps: Mapped[list[Any]] = relationship("Stamp", passive_deletes="all")
        tags: Mapped[list[Any]] = relationship(Tag, secondary=tagging)
        words = association_proxy("tags", "word", creator=lambda word: Tag(word=word))

    class Line(base):
        __tablename__ = "lines"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
        name: Mapped[str | None] = mapped_column(String(20))

    class Part(base):
        __tablename__ = "parts"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
        order: Mapped[Any] = relationship("Order", back_populates="parts")

    class Note(base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
        order: Mapped[Any] = relationship("Order", back_populates="notes")

    class Stamp(base):
        __tablename__ = "stamps"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))

    Order.tag, Order.line, Order.part, Order.note, Order.stamp = Tag, Line, Part, Note, Stamp
    return Order


class TestRelationships:
    @pytest.fixture
    def factory(self, shop: Any, start: Start, told: Told) -> sessionmaker[Session]:
        """Two orders, the first with one of everything."""
        factory = start()
        with factory.begin() as session:
            line, tag = shop.line(), shop.tag(word="old")
            order = shop(lines=[line], parts=[shop.part()], notes=[shop.note()], tags=[tag])
            order.stamps = [shop.stamp()]
            session.add(order)
            session.flush()
            session.add(shop())
        told.clear()
        return factory

    @pytest.mark.parametrize("by_column", [False, True])
    def test_a_many_to_one_is_the_change_of_its_column_however_it_is_made(
        self, by_column: bool, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Rows 22 and 23: both update hooks of the child once, with the column; none else."""
        with factory.begin() as session:
            part = session.get_one(shop.part, 1)
            if by_column:
                part.order_id = 2
            else:
                part.order = session.get_one(shop, 2)
        changes = {"order_id": Change(1, 2)}
        assert told == [
            ("pre_update", "Part", "1", changes),
            ("post_update", "Part", "1", changes),
        ]

    def test_a_new_parent_has_no_key_before_the_flush(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 22: the child's column is UNKNOWN before, and true after; one hook each."""
        with factory.begin() as session:
            session.get_one(shop.part, 1).order = shop()
        assert after(told, "pre_update", "Part") == {"order_id": Change(1, UNKNOWN)}
        assert after(told, "post_update", "Part") == {"order_id": Change(1, 3)}
        assert moments(told, "Order") == ["pre_persist", "post_persist"]

    @pytest.mark.parametrize("children", ["lines", "parts"])
    def test_appending_to_a_collection_concerns_only_the_child(
        self, children: str, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Rows 24 and 26: the new child has its early hook once; the parent has none."""
        child = {"lines": shop.line, "parts": shop.part}[children]
        with factory.begin() as session:
            order = session.get_one(shop, 1)
            getattr(order, children).append(child())
        assert moments(told) == ["pre_persist", "post_persist"]
        assert after(told, "post_persist", child.__name__)["order_id"] == Change(ABSENT, 1)

    @pytest.mark.parametrize(
        ("children", "pre"), [("lines", "late pre_update"), ("parts", "pre_update")]
    )
    @pytest.mark.parametrize("forget", [False, True])
    def test_removing_from_a_collection_updates_the_child(
        self,
        children: str,
        pre: str,
        forget: bool,
        shop: Any,
        factory: sessionmaker[Session],
        told: Told,
    ) -> None:
        """Row 25: without a backref the flush decides, so late; with one it is early."""
        with factory.begin() as session:
            order = session.get_one(shop, 1)
            (child,) = getattr(order, children)
            if forget:
                session.expire(child)
            getattr(order, children).clear()
        changes = {"order_id": Change(1, None)}
        entity = type(child).__name__
        assert told == [(pre, entity, "1", changes), ("post_update", entity, "1", changes)]

    def test_what_the_flush_adds_to_an_update_that_hooks_have_seen_is_shown_late(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Rows 1 and 25: a hook that waits for the column cannot be passed by."""
        with factory.begin() as session:
            order = session.get_one(shop, 1)
            order.lines[0].name = "n"
            order.lines.clear()
        both = {"order_id": Change(1, None), "name": Change(None, "n")}
        assert told == [
            ("pre_update", "Line", "1", {"name": Change(None, "n")}),
            ("late pre_update", "Line", "1", both),
            ("post_update", "Line", "1", both),
        ]

    def test_hooks_are_not_called_again_for_what_on_flush_did(
        self, lifecycle: Lifecycle, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Not late either; what it set is written, and told afterwards."""

        @lifecycle.subscribe
        @on_flush
        def finish(event: Any) -> None:
            for one in event.changesets:
                one.instance.name = "finished"

        with factory.begin() as session:
            session.get_one(shop.line, 1).order_id = 2
        assert moments(told) == ["pre_update", "post_update"]
        assert after(told, "post_update", "Line") == {
            "order_id": Change(1, 2),
            "name": Change(None, "finished"),
        }

    def test_a_many_to_many_change_is_an_update_of_its_owner(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 27: keys of the collection come and go; that of a new member is known after it."""
        with factory.begin() as session:
            order = session.get_one(shop, 1)
            order.tags.append(shop.tag(word="new"))
            order.tags.remove(order.tags[0])
        assert moments(told, "Tag") == ["pre_persist", "post_persist"]
        assert after(told, "pre_update", "Order") == {
            "tags": SetEdit(frozenset({UNKNOWN}), frozenset({"1"}))
        }
        assert after(told, "post_update", "Order") == {
            "tags": SetEdit(frozenset({"2"}), frozenset({"1"}))
        }

    def test_an_association_proxy_inserts_what_it_creates(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 28: persist hooks of the new target, update hooks of the owner; no field twice."""
        with factory.begin() as session:
            session.get_one(shop, 1).words.append("new")
        assert moments(told, "Tag") == ["pre_persist", "post_persist"]
        assert after(told, "post_update", "Order") == {
            "tags": SetEdit(frozenset({"2"}), frozenset())
        }

    def test_a_self_reference_has_its_key_after_the_flush(
        self, base: Any, start: Start, told: Told
    ) -> None:
        """Row 29: parent and child have one hook of each moment, with both keys after it."""

        class Node(base):
            __tablename__ = "nodes"
            id: Mapped[int] = mapped_column(primary_key=True)
            parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
            children: Mapped[list[Any]] = relationship("Node")

        with start().begin() as session:
            session.add(Node(children=[Node()]))
        assert moments(told) == ["pre_persist", "pre_persist", "post_persist", "post_persist"]
        assert [
            (key, changes["parent_id"].new) for moment, _, key, changes in told if key is not None
        ] == [("1", None), ("2", 1)]

    @pytest.mark.parametrize(
        ("way", "forget"), [("collection", False), ("collection", True), ("parent", False)]
    )
    def test_an_orphan_is_removed_and_never_updated(
        self, way: str, forget: bool, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 30: late, with its true last values, though its parent is set to None before."""
        with factory.begin() as session:
            order = session.get_one(shop, 1)
            (note,) = order.notes
            if forget:
                session.expire(note)
            if way == "collection":
                order.notes.clear()
            else:
                note.order = None
        gone = {"id": Change(1, ABSENT), "order_id": Change(1, ABSENT)}
        assert told == [
            ("late pre_remove", "Note", "1", gone),
            ("post_remove", "Note", "1", gone),
        ]

    def test_a_pending_orphan_has_no_hook(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 31: it leaves the session before any flush."""
        with factory.begin() as session, session.no_autoflush:
            order = session.get_one(shop, 1)
            note = shop.note()
            order.notes.append(note)
            order.notes.remove(note)
        assert told == []

    def test_a_cascaded_delete_removes_children_early(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Rows 32 and 34: those deleted by the ORM; those cut off are updated; the database's
        own cascade is not seen."""
        with factory.begin() as session:
            session.delete(session.get_one(shop, 1))
        assert sorted(moments(told, "Order")) == ["post_remove", "pre_remove"]
        assert sorted(moments(told, "Note")) == ["post_remove", "pre_remove"]
        assert moments(told, "Line") == ["late pre_update", "post_update"]
        assert moments(told, "Part") == ["late pre_update", "post_update"]
        assert moments(told, "Stamp") == []
        with factory() as session:
            assert session.scalars(select(shop.stamp)).all() == []

    def test_deleting_an_expired_object_shows_its_true_last_values(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 33: read before the hooks run, where SQLAlchemy would read after them."""
        with factory.begin() as session:
            stamp = session.get_one(shop.stamp, 1)
            session.expire(stamp)
            session.delete(stamp)
        gone = {"id": Change(1, ABSENT), "order_id": Change(1, ABSENT)}
        assert told == [("pre_remove", "Stamp", "1", gone), ("post_remove", "Stamp", "1", gone)]

    def test_a_post_update_relationship_is_told_with_its_object(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 35: one insert or update for the object, though SQLAlchemy sends two statements."""
        with factory.begin() as session:
            line = shop.line()
            session.add(shop(id=3, lines=[line], favourite=line))
        assert moments(told, "Order") == ["pre_persist", "post_persist"]
        assert after(told, "post_persist", "Order")["favourite_id"] == Change(ABSENT, 2)
        told.clear()
        with factory.begin() as session:
            session.get_one(shop, 3).favourite = session.get_one(shop.line, 1)
        changes = {"favourite_id": Change(2, 1)}
        assert told == [
            ("pre_update", "Order", "3", changes),
            ("post_update", "Order", "3", changes),
        ]
        told.clear()
        with factory.begin() as session:
            session.delete(session.get_one(shop, 3))
        assert moments(told, "Order") == ["pre_remove", "post_remove"]
        assert after(told, "post_remove", "Order")["favourite_id"] == Change(1, ABSENT)

    def test_a_viewonly_collection_is_nothing(
        self, shop: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 36: what is appended there is not written, and no hook runs."""
        with factory.begin() as session:
            session.get_one(shop, 2).seen_lines.append(session.get_one(shop.line, 1))
        assert told == []


class TestInheritance:
    @pytest.mark.parametrize("kind", ["joined", "single", "concrete"])
    def test_an_object_has_one_hook_of_each_moment_with_the_fields_of_all_its_tables(
        self, kind: str, base: Any, start: Start, told: Told
    ) -> None:
        """Rows 37 and 38."""
        _, manager = staff(base, kind)
        with start().begin() as session:
            session.add(manager(name="Eve", budget=1))
            session.flush()
            one = session.scalars(select(manager)).one()
            one.name, one.budget = "Bob", 2
            session.flush()
            session.delete(one)
        assert moments(told) == [
            f"{when}_{what}" for what in ("persist", "update", "remove") for when in ("pre", "post")
        ]
        entity = "Manager" if kind == "concrete" else "Employee"
        changes = {"name": Change("Eve", "Bob"), "budget": Change(1, 2)}
        assert after(told, "pre_update", entity) == changes
        assert after(told, "post_update", entity) == changes
        assert after(told, "post_remove", entity)["budget"] == Change(2, ABSENT)

    def test_load_hooks_of_a_query_for_the_base_find_columns_of_the_subclass_not_loaded(
        self, lifecycle: Lifecycle, base: Any, start: Start
    ) -> None:
        """Row 39: pre_load sees what the query brought; post_load may read the rest."""
        employee, manager = staff(base, "joined")
        seen: list[Any] = []

        @lifecycle.subscribe
        class Noting:
            @pre_load(employee)
            def before(self, event: Any) -> None:
                seen.append(sorted(event.data))

            @post_load(employee, priority=-1)
            def after(self, event: Any) -> None:
                if "budget" in inspect(event.instance).unloaded:
                    seen.append(("unloaded", event.instance.budget))

        factory = start()
        with factory.begin() as session:
            session.add(manager(name="Eve", budget=1))
        with factory() as session:
            assert session.scalars(select(employee)).one().budget == 1
            assert not session.dirty
        assert seen[0] == ["id", "kind", "name"]
        assert ("unloaded", 1) in seen

    @pytest.mark.parametrize("kind", ["joined", "single"])
    def test_hooks_of_a_subclass_do_not_run_for_the_base(
        self, kind: str, lifecycle: Lifecycle, base: Any, start: Start
    ) -> None:
        """Rows 37 and 38: the class of the object counts, not that of the table."""
        employee, manager = staff(base, kind)
        seen = []

        @lifecycle.subscribe
        @pre_persist(manager)
        def note(event: Any) -> None:
            seen.append(event.instance.name)

        with start().begin() as session:
            session.add_all([employee(name="Eve"), manager(name="Bob")])
        assert seen == ["Bob"]


def staff(base: Any, how: str) -> tuple[Any, Any]:
    """A class and one that inherits from it, in one table or in two."""

    class Employee(base):
        __tablename__ = "employees"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str | None] = mapped_column(String(20))
        name: Mapped[str | None] = mapped_column(String(20))
        if how != "concrete":
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}

    if how == "single":

        class Manager(Employee):
            budget: Mapped[int | None] = mapped_column()
            __mapper_args__ = {"polymorphic_identity": "manager"}

    elif how == "joined":

        class Manager(Employee):
            __tablename__ = "managers"
            id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
            budget: Mapped[int | None] = mapped_column()
            __mapper_args__ = {"polymorphic_identity": "manager"}

    else:

        class Manager(Employee):
            __tablename__ = "managers"
            id: Mapped[int] = mapped_column(primary_key=True)
            kind: Mapped[str | None] = mapped_column(String(20))
            name: Mapped[str | None] = mapped_column(String(20))
            budget: Mapped[int | None] = mapped_column()
            __mapper_args__ = {"concrete": True}

    return Employee, Manager


@pytest.fixture
def word(base: type[DeclarativeBase]) -> Any:
    """A model with a key that people choose."""

    class Word(base):
        __tablename__ = "words"
        key: Mapped[str] = mapped_column(String(20), primary_key=True)
        text: Mapped[str | None] = mapped_column(String(20))

    return Word


class TestKeysAndStates:
    @pytest.fixture
    def factory(self, word: Any, start: Start, told: Told) -> sessionmaker[Session]:
        """One word."""
        factory = start()
        with factory.begin() as session:
            session.add(word(key="a", text="x"))
        told.clear()
        return factory

    def test_a_changed_key_is_an_update_with_the_former_key(
        self, lifecycle: Lifecycle, word: Any, factory: sessionmaker[Session]
    ) -> None:
        """Row 40: before it the object has its old key, after it the new one and the former."""
        keys = []

        @lifecycle.subscribe
        @pre_update
        @post_update
        @post_commit
        def note(event: Any) -> None:
            keys.append((str(event.moment), event.key, event.former_key, dict(event.changes)))

        with factory.begin() as session:
            session.get_one(word, "a").key = "b"
        moved = {"key": Change("a", "b")}
        assert keys == [
            ("pre_update", "a", None, moved),
            ("post_update", "b", "a", moved),
            ("post_commit", "b", "a", moved),
        ]

    def test_a_cascade_of_the_database_to_loaded_children_is_told_after_it(
        self, base: Any, word: Any, start: Start, told: Told
    ) -> None:
        """Row 41: no statement of SQLAlchemy's, so no pre hook; those not loaded are not seen."""

        class Use(base):
            __tablename__ = "uses"
            id: Mapped[int] = mapped_column(primary_key=True)
            key: Mapped[str | None] = mapped_column(ForeignKey("words.key", onupdate="CASCADE"))

        word.uses = relationship(Use, passive_updates=True)
        factory = start()
        with factory.begin() as session:
            session.add(word(key="a", uses=[Use(), Use()]))
        told.clear()
        with factory.begin() as session:
            one = session.get_one(word, "a")
            assert len(one.uses) == 2
            one.key = "b"
        assert sorted(moments(told, "Use")) == ["post_update", "post_update"]
        assert [one[3] for one in told if one[1] == "Use"] == [{"key": Change("a", "b")}] * 2
        told.clear()
        with factory.begin() as session:
            session.get_one(word, "b").key = "c"
        assert moments(told, "Use") == []

    def test_a_replaced_row_is_removed_and_persisted_before_and_updated_after(
        self, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 43: SQLAlchemy makes one UPDATE of it, told once, with the old row's values."""
        with factory.begin() as session:
            session.delete(session.get_one(word, "a"))
            session.add(word(key="a", text="y"))
        assert sorted(moments(told)) == ["post_update", "pre_persist", "pre_remove"]
        assert after(told, "post_update", "Word") == {"text": Change("x", "y")}

    def test_a_row_replaced_by_one_of_another_class_keeps_the_columns_only_the_old_class_had(
        self, base: Any, start: Start, told: Told
    ) -> None:
        """Row 43 in a hierarchy of one table: neither the UPDATE nor the record has them."""
        employee, manager = staff(base, "single")
        factory = start()
        with factory.begin() as session:
            session.add(manager(id=1, name="Eve", budget=5))
        told.clear()
        with factory.begin() as session:
            session.delete(session.get_one(manager, 1))
            session.add(employee(id=1, name="Bob"))
        assert moments(told, "Employee") == ["pre_persist", "pre_remove", "post_update"]
        assert after(told, "post_update", "Employee") == {
            "kind": Change("manager", "employee"),
            "name": Change("Eve", "Bob"),
        }

    def test_a_merge_onto_a_row_is_an_update_of_what_differs(
        self, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 44: and of nothing, if nothing does."""
        with factory.begin() as session:
            session.merge(word(key="a", text="x"))
        assert told == []
        with factory.begin() as session:
            session.merge(word(key="a", text="y"))
        assert moments(told) == ["pre_update", "post_update"]
        assert after(told, "post_update", "Word") == {"text": Change("x", "y")}

    def test_a_merge_of_something_new_is_an_insert(
        self, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 45."""
        with factory.begin() as session:
            session.merge(word(key="b", text="y"))
        assert moments(told) == ["pre_persist", "post_persist"]

    def test_a_merge_without_a_query_is_a_load(
        self, lifecycle: Lifecycle, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 46: both load hooks run once, and no other."""
        seen = []

        @lifecycle.subscribe
        @pre_load(word)
        @post_load(word)
        def note(event: Any) -> None:
            seen.append(str(event.moment))

        with factory() as session:
            one = session.get_one(word, "a")
        seen.clear()
        with factory.begin() as session:
            session.merge(one, load=False)
        assert sorted(seen) == ["post_load", "pre_load"]
        assert told == []

    @pytest.mark.parametrize(
        "forget",
        [
            pytest.param(lambda session, one: session.refresh(one), id="47 refresh"),
            pytest.param(lambda session, one: session.expire(one), id="47 expire"),
            pytest.param(
                lambda session, one: session.scalars(
                    select(type(one)).execution_options(populate_existing=True)
                ).all(),
                id="48 populate_existing",
            ),
            pytest.param(lambda session, one: session.expunge(one), id="49 expunge"),
            pytest.param(lambda session, one: make_transient(one), id="49 make_transient"),
        ],
    )
    def test_a_change_that_the_session_forgets_has_no_hook(
        self,
        forget: Callable[[Session, Any], None],
        word: Any,
        factory: sessionmaker[Session],
        told: Told,
    ) -> None:
        """Nothing is written, so nothing is told."""
        with factory.begin() as session, session.no_autoflush:
            one = session.get_one(word, "a")
            one.text = "forgotten"
            forget(session, one)
        assert told == []
        with factory() as session:
            assert session.get_one(word, "a").text == "x"

    def test_a_delete_taken_back_has_no_hook(
        self, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 50: the object is added again before the flush."""
        with factory.begin() as session:
            one = session.get_one(word, "a")
            session.delete(one)
            session.add(one)
        assert told == []

    def test_every_flush_has_its_own_hooks_and_the_transaction_one_for_all(
        self, lifecycle: Lifecycle, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """Row 51."""
        seen = []

        @lifecycle.subscribe
        @post_commit
        def note(event: Any) -> None:
            seen.append((event.key, str(event.operation), dict(event.changes)))

        with factory.begin() as session:
            one = word(key="b", text="1")
            session.add(one)
            session.flush()
            one.text = "2"
            session.flush()
            session.delete(one)
            session.flush()
            session.get_one(word, "a").text = "y"
        assert moments(told) == [
            f"{when}_{what}"
            for what in ("persist", "update", "remove", "update")
            for when in ("pre", "post")
        ]
        assert seen == [("a", "update", {"text": Change("x", "y")})]

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            pytest.param(
                [("add", "b"), ("move", "b", "c")], [("c", None, "insert")], id="insert, move"
            ),
            pytest.param(
                [("move", "a", "b"), ("move", "b", "c")], [("c", "a", "update")], id="two moves"
            ),
            pytest.param([("move", "a", "b"), ("move", "b", "a")], [], id="there and back"),
            pytest.param(
                [("move", "a", "b"), ("text", "b"), ("move", "b", "a")],
                [("a", None, "update")],
                id="there and back, changed",
            ),
            pytest.param(
                [("move", "a", "b"), ("add", "a")],
                [("b", "a", "update"), ("a", None, "insert")],
                id="the old key is taken",
            ),
            pytest.param(
                [("add", "b"), ("delete", "a"), ("move", "b", "a")],
                [("a", None, "delete"), ("a", None, "insert")],
                id="moved onto a deleted one",
            ),
            pytest.param(
                [("move", "a", "b"), ("delete", "b")], [("b", "a", "delete")], id="move, delete"
            ),
            pytest.param(
                [("delete", "a"), ("add", "a")], [("a", None, "update")], id="delete, insert"
            ),
            pytest.param(
                [("replace", "a"), ("delete", "a")], [("a", None, "delete")], id="replaced, deleted"
            ),
            pytest.param(
                [("add", "b"), ("replace", "b")], [("b", None, "insert")], id="insert, replaced"
            ),
        ],
    )
    def test_after_the_commit_each_object_is_told_once_however_its_key_moved(
        self,
        steps: list[Any],
        expected: list[Any],
        lifecycle: Lifecycle,
        word: Any,
        factory: sessionmaker[Session],
    ) -> None:
        """With the key it has now, and the one it had before the transaction."""
        seen = []

        @lifecycle.subscribe
        @post_commit
        def note(event: Any) -> None:
            seen.append((event.key, event.former_key, str(event.operation)))

        with factory.begin() as session:
            for step, key, *to in steps:
                if step in ("replace", "delete"):
                    session.delete(session.get_one(word, key))
                if step in ("replace", "add"):
                    session.add(word(key=key, text=step))
                if step == "move":
                    session.get_one(word, key).key = to[0]
                if step == "text":
                    session.get_one(word, key).text = "other"
                session.flush()
        assert seen == expected


class TestTransactions:
    def test_begin_nested_flushes_pending_objects_into_the_transaction_around_it(
        self, lifecycle: Lifecycle, word: Any, start: Start, told: Told
    ) -> None:
        """Their hooks run once, and a rollback of the savepoint does not undo them."""
        ends = []

        @lifecycle.subscribe
        @post_commit
        @post_rollback
        def note(event: Any) -> None:
            ends.append((str(event.moment), event.key))

        with start().begin() as session:
            session.add(word(key="a"))
            savepoint = session.begin_nested()
            session.add(word(key="b"))
            session.flush()
            savepoint.rollback()
        assert [(moment, key) for moment, _, key, _ in told] == [
            ("pre_persist", "a"),
            ("post_persist", "a"),
            ("pre_persist", "b"),
            ("post_persist", "b"),
        ]
        assert ends == [("post_rollback", "b"), ("post_commit", "a")]

    @pytest.mark.parametrize("failure", ["veto", "database", "post hook", "closed"])
    def test_nothing_is_kept_of_a_transaction_that_is_over(
        self, failure: str, lifecycle: Lifecycle, word: Any, start: Start
    ) -> None:
        """Whatever became of it: neither the flush nor what was to be told afterwards."""

        @lifecycle.subscribe
        @post_rollback
        def note(event: Any) -> None: ...

        @lifecycle.subscribe
        class Failing:
            @pre_persist(when="text", becomes="veto")
            def before(self, event: Any) -> None:
                event.veto("no")

            @post_persist(when="text", becomes="post hook")
            def after(self, event: Any) -> None:
                raise ZeroDivisionError

        with start()() as session:
            session.add(word(key="a"))
            session.flush()
            key = "a" if failure == "database" else "b"
            if failure != "closed":
                session.connection()
                session.expunge_all()
                session.add(word(key=key, text=failure))
                with pytest.raises((Veto, IntegrityError, ZeroDivisionError)):
                    session.flush()
            session.close()
            (here,) = session.info.values()
            assert here.flush is None
            assert here.aftermath._happened == []
            assert here.connections == set()
            session.add(word(key="a"))
            session.commit()
        assert [record.key for record in lifecycle.history.find()] == ["a"]


EARLY = ["pre_flush", "pre_persist", "on_flush"]
WRITTEN = ["post_persist", "post_flush"]
DECORATORS = {
    "pre_flush": pre_flush,
    "pre_persist": pre_persist,
    "on_flush": on_flush,
    "post_persist": post_persist,
    "post_flush": post_flush,
    "post_commit": post_commit,
}


class TestInsideHooks:
    @pytest.fixture
    def at(self, lifecycle: Lifecycle, word: Any) -> Callable[..., None]:
        """Do something once, at a moment of the object with the key 'a'."""

        def at(moment: str, act: Callable[[Any], None]) -> None:
            waiting = [act]

            def hook(event: Any) -> None:
                if waiting:
                    waiting.pop()(event)

            lifecycle.subscribe(DECORATORS[moment](hook))

        return at

    @pytest.fixture
    def factory(self, word: Any, start: Start, told: Told) -> sessionmaker[Session]:
        """Two other words."""
        factory = start()
        with factory.begin() as session:
            session.add_all([word(key="other", text="o"), word(key="spare")])
        told.clear()
        return factory

    @pytest.mark.parametrize("moment", EARLY)
    def test_before_the_writing_all_that_a_hook_does_is_written_in_the_same_flush(
        self, moment: str, at: Any, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """2.3: query, add, delete and set another object; each object is told of once."""

        def act(event: Any) -> None:
            session = event.session
            assert session.scalars(select(word.key).order_by(word.key)).all() == ["other", "spare"]
            session.get_one(word, "other").text = "set"
            session.add(word(key="added"))
            session.delete(session.get_one(word, "spare"))

        at(moment, act)
        with factory.begin() as session:
            session.add(word(key="a"))
        late = "late " if moment == "on_flush" else ""
        assert sorted(moments(told)) == sorted(
            [
                *["pre_persist", "post_persist", "post_persist", "post_update", "post_remove"],
                *[f"{late}pre_persist", f"{late}pre_update", f"{late}pre_remove"],
            ]
        )
        with factory() as session:
            rows = session.execute(select(word.key, word.text).order_by(word.key)).all()
        assert [tuple(row) for row in rows] == [("a", None), ("added", None), ("other", "set")]

    @pytest.mark.parametrize("moment", WRITTEN)
    def test_after_the_writing_a_hook_may_query_and_its_additions_wait_for_the_next_flush(
        self, moment: str, at: Any, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """2.3: it sees the new row; what it adds or deletes is written once, by a flush that the
        commit adds."""

        def act(event: Any) -> None:
            session = event.session
            assert "a" in session.scalars(select(word.key)).all()
            session.add(word(key="added"))
            session.delete(session.get_one(word, "spare"))

        at(moment, act)
        with factory() as session:
            session.add(word(key="a"))
            session.flush()
            assert moments(told) == ["pre_persist", "post_persist"]
            told.clear()
            session.commit()
            assert sorted(session.scalars(select(word.key)).all()) == ["a", "added", "other"]
        assert sorted(moments(told)) == [
            *["post_persist", "post_remove", "pre_persist", "pre_remove"]
        ]

    @pytest.mark.parametrize("moment", WRITTEN)
    def test_an_assignment_to_what_was_written_gives_a_warning(
        self, moment: str, at: Any, word: Any, factory: sessionmaker[Session]
    ) -> None:
        """2.3: whichever hook does it, to its own object or to another one of the flush."""
        kept = []

        def act(event: Any) -> None:
            kept[1].text = "lost"

        at(moment, act)
        message = "(at post_flush,|the hook of another object) set text of Word b after it had"
        with factory() as session:
            kept += [word(key="a"), word(key="b")]
            session.add_all(kept)
            with pytest.warns(LostAssignmentWarning, match=message):
                session.commit()
        with factory() as session:
            assert session.get_one(word, "b").text is None

    @pytest.mark.parametrize("moment", WRITTEN)
    def test_an_assignment_to_an_object_at_rest_gives_sqlalchemys_own_warning(
        self, moment: str, at: Any, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """2.3: SQLAlchemy throws the change away, and says so; no hook takes it for an update."""

        def act(event: Any) -> None:
            event.session.get_one(word, "other").text = "lost"

        at(moment, act)
        with factory.begin() as session:
            other = session.get_one(word, "other")
            session.add(word(key="a"))
            with pytest.warns(SAWarning, match="history events accumulated"):
                session.flush()
            assert other not in session.dirty
        assert moments(told) == ["pre_persist", "post_persist"]
        with factory() as session:
            assert session.get_one(word, "other").text == "o"

    def test_after_the_commit_everything_happens_in_a_new_transaction(
        self, at: Any, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """2.3: query, add, delete and set, told of like any other write."""

        def act(event: Any) -> None:
            session = event.session
            session.get_one(word, "other").text = "set"
            session.add(word(key="added"))
            session.delete(session.get_one(word, "spare"))
            session.commit()

        at("post_commit", act)
        with factory() as session:
            session.add(word(key="a"))
            session.commit()
        assert len(told) == 8
        with factory() as session:
            assert session.get_one(word, "other").text == "set"

    @pytest.mark.parametrize("moment", EARLY + WRITTEN)
    def test_a_flush_inside_a_flush_is_sqlalchemys_error_with_a_note(
        self, moment: str, at: Any, word: Any, factory: sessionmaker[Session]
    ) -> None:
        """2.3: it names the hook and the moment, and the session works after a rollback."""
        at(moment, lambda event: event.session.flush())
        with factory() as session:
            session.add(word(key="a"))
            with pytest.raises(InvalidRequestError, match="already flushing") as caught:
                session.flush()
            (note,) = caught.value.__notes__
            assert "hook" in note
            assert f"at {moment} of" in note
            session.rollback()
            session.add(word(key="a"))
            session.commit()

    @pytest.mark.parametrize("moment", EARLY)
    def test_raising_before_the_writing_leaves_the_session_as_it_was(
        self, moment: str, at: Any, word: Any, factory: sessionmaker[Session], told: Told
    ) -> None:
        """2.3: active, its objects pending; the next flush tells everything once more."""

        def act(event: Any) -> None:
            raise ZeroDivisionError

        at(moment, act)
        with factory() as session:
            session.add(word(key="a"))
            with pytest.raises(ZeroDivisionError):
                session.scalars(select(word)).all()  # which flushes before it
            assert session.is_active
            assert len(session.new) == 1
            told.clear()
            session.commit()
        assert moments(told) == ["pre_persist", "post_persist"]

    @pytest.mark.parametrize("moment", WRITTEN)
    def test_raising_after_the_writing_rolls_the_transaction_back(
        self, moment: str, at: Any, word: Any, factory: sessionmaker[Session]
    ) -> None:
        """2.3: the session wants a rollback before it goes on, and nothing is left."""

        def act(event: Any) -> None:
            raise ZeroDivisionError

        at(moment, act)
        with factory() as session:
            session.add(word(key="a"))
            with pytest.raises(ZeroDivisionError):
                session.flush()
            with pytest.raises(PendingRollbackError):
                session.scalars(select(word)).all()
            session.rollback()
            assert len(session.scalars(select(word)).all()) == 2

    def test_a_late_hook_may_set_an_expression_on_its_own_object(
        self, lifecycle: Lifecycle, shop: Any, start: Start, told: Told
    ) -> None:
        """Row 16 and 25: what the database made of it is told afterwards."""

        @lifecycle.subscribe
        @pre_update(shop.line)
        def count(event: Any) -> None:
            event.changes.set("name", func.upper("cut"))

        factory = start()
        with factory.begin() as session:
            session.add(shop(lines=[shop.line(name="n")]))
        told.clear()
        with factory.begin() as session:
            order = session.get_one(shop, 1)
            order.lines.clear()
        assert after(told, "post_update", "Line") == {
            "order_id": Change(1, None),
            "name": Change("n", "CUT"),
        }


class TestLoads:
    @pytest.fixture
    def seen(self, lifecycle: Lifecycle, shop: Any) -> list[Any]:
        """Which objects had their load hooks."""
        seen: list[Any] = []

        @lifecycle.subscribe
        @pre_load
        @post_load
        def note(event: Any) -> None:
            seen.append((str(event.moment), event.entity, event.key))

        return seen

    @pytest.fixture
    def factory(self, shop: Any, start: Start, seen: list[Any]) -> sessionmaker[Session]:
        """One order with two lines."""
        factory = start()
        with factory.begin() as session:
            session.add(shop(name="o", lines=[shop.line(), shop.line()]))
        seen.clear()
        return factory

    @pytest.mark.parametrize("option", [joinedload, selectinload, None])
    def test_each_object_has_each_load_hook_once(
        self, option: Any, shop: Any, factory: sessionmaker[Session], seen: list[Any]
    ) -> None:
        """2.6: loaded with its collection in one statement, in two, or when it is asked for."""
        query = select(shop)
        if option is not None:
            query = query.options(option(shop.lines))
        with factory() as session:
            (order,) = session.scalars(query).unique().all()
            assert len(order.lines) == 2
        objects = [("Line", "1"), ("Line", "2"), ("Order", "1")]
        assert sorted(seen) == [
            (moment, *one) for moment in ("post_load", "pre_load") for one in objects
        ]

    @pytest.mark.parametrize("statement", ["columns", "table", "yield_per columns"])
    def test_columns_alone_have_no_hook(
        self, statement: str, shop: Any, factory: sessionmaker[Session], seen: list[Any]
    ) -> None:
        """2.6: no object is loaded."""
        query = select(shop.__table__) if statement == "table" else select(shop.id, shop.name)
        if statement.startswith("yield_per"):
            query = query.execution_options(yield_per=1)
        with factory() as session:
            assert len(session.execute(query).all()) == 1
        assert seen == []

    def test_post_load_may_query_its_own_and_other_classes(
        self, lifecycle: Lifecycle, shop: Any, factory: sessionmaker[Session], seen: list[Any]
    ) -> None:
        """2.6: the loads inside have their own hooks; nothing runs twice or without end."""
        kept: list[Any] = []

        @lifecycle.subscribe
        @post_load(shop)
        def count(event: Any) -> None:
            assert event.session.scalars(select(shop)).one() is event.instance
            kept.append(event.session.scalars(select(shop.line)).all())
            kept.append(event.instance.lines)

        with factory() as session:
            kept.append(session.scalars(select(shop)).all())
            assert not session.dirty
        assert [len(found) for found in kept] == [2, 2, 1]
        assert len(seen) == len(set(seen)) == 6

    def test_an_object_met_again_by_a_query_is_not_loaded_again(
        self, shop: Any, factory: sessionmaker[Session], seen: list[Any]
    ) -> None:
        """2.6: SQLAlchemy tells of a refresh, but it fills nothing while columns are there."""
        with factory() as session:
            first = session.scalars(select(shop)).all()
            assert session.scalars(select(shop)).all() == first
        assert seen == [("pre_load", "Order", "1"), ("post_load", "Order", "1")]

    def test_post_load_may_read_a_deferred_attribute(
        self, lifecycle: Lifecycle, thing: Any, start: Start
    ) -> None:
        """2.6: without a warning; the object stays clean."""
        bodies = []

        @lifecycle.subscribe
        @post_load(thing)
        def read(event: Any) -> None:
            bodies.append(event.instance.body)

        factory = start()
        with factory.begin() as session:
            session.add(thing(body="long"))
        with factory() as session:
            session.scalars(select(thing)).all()
            assert not session.dirty
        assert set(bodies) == {"long"}

    @pytest.mark.parametrize("moment", [pre_load, post_load])
    def test_raising_aborts_the_query_and_the_session_goes_on(
        self, moment: Any, lifecycle: Lifecycle, shop: Any, factory: sessionmaker[Session]
    ) -> None:
        """2.6: the error has a note that names the hook; the next query works."""
        waiting = [1]

        @lifecycle.subscribe
        @moment(shop)
        def refuse(event: Any) -> None:
            if waiting:
                waiting.pop()
                raise PermissionError

        with factory() as session:
            with pytest.raises(PermissionError) as caught:
                session.scalars(select(shop)).all()
            assert "refuse" in caught.value.__notes__[0]
            assert session.scalars(select(shop)).one().name == "o"


class TestSessions:
    @pytest.mark.parametrize("kind", ["scoped", "subclass", "instance"])
    def test_hooks_run_once_in_every_kind_of_session(
        self, kind: str, lifecycle: Lifecycle, word: Any, engine: Engine, told: Told
    ) -> None:
        """2.7."""

        class Mine(Session):
            pass

        word.metadata.create_all(engine)
        lifecycle.create_tables(engine)
        mine = Mine(engine)
        target: Any = {
            "scoped": scoped_session(sessionmaker(engine)),
            "subclass": Mine,
            "instance": mine,
        }[kind]
        lifecycle.install(target)
        session = target if kind == "scoped" else mine
        session.add(word(key="a"))
        session.commit()
        session.close()
        lifecycle.uninstall(target)
        assert moments(told) == ["pre_persist", "post_persist"]
        assert [record.key for record in lifecycle.history.find()] == ["a"]

    def test_a_second_lifecycle_on_the_same_sessions_is_refused(
        self, word: Any, start: Start, told: Told
    ) -> None:
        """Hooks of models would run twice; refused, it leaves nothing that does."""
        factory = start()
        with pytest.raises(InstallError, match="another Lifecycle is installed"):
            Lifecycle().install(factory)
        with factory.begin() as session:
            session.add(word(key="a"))
        assert moments(told) == ["pre_persist", "post_persist"]

    def test_an_object_whose_class_has_hooks_can_be_pickled_in_any_state(
        self, word: Any, start: Start, told: Told
    ) -> None:
        """2.7: nothing of ours is in it, and its changes are told when it comes back."""
        globals()["Word"] = word
        word.__qualname__, word.__module__ = "Word", __name__
        factory = start()
        with factory.begin() as session:
            session.add(word(key="a", text="x"))
        told.clear()
        try:
            with factory() as session:
                one = session.get_one(word, "a")
                one.text = "y"
                pickled = pickle.dumps(one)
            with factory.begin() as session:
                session.add(pickle.loads(pickled))
        finally:
            del globals()["Word"]
        assert after(told, "post_update", "Word") == {"text": Change("x", "y")}

    @pytest.mark.filterwarnings("ignore:.*objects.*:DeprecationWarning")
    def test_a_flush_of_some_objects_runs_only_their_hooks(
        self, shop: Any, start: Start, told: Told
    ) -> None:
        """2.7: the others have theirs, once, when they are flushed."""
        with start().begin() as session:
            first, second = shop(name="1"), shop(name="2")
            second.parts.append(shop.part())
            session.add_all([first, second])
            session.flush([first])
            assert moments(told) == ["pre_persist", "post_persist"]
            session.flush([*second.parts])
            assert moments(told, "Order") == ["pre_persist", "post_persist"]
            assert moments(told, "Part") == ["pre_persist", "post_persist"]
            told.clear()
        assert moments(told, "Order") == ["pre_persist", "post_persist"]
        assert moments(told, "Part") == ["late pre_update", "post_update"]

    def test_hooks_are_suppressed_in_one_task_and_not_in_another(
        self, lifecycle: Lifecycle, word: Any, start: Start, told: Told
    ) -> None:
        """2.7: also while the tasks take turns, and in tasks started inside the block."""
        factory = start()

        async def write(key: str) -> None:
            await asyncio.sleep(0)
            with factory.begin() as session:
                session.add(word(key=key))
            await asyncio.sleep(0)

        async def quietly() -> None:
            with lifecycle.suppressed():
                await write("quiet")
                await asyncio.create_task(write("inner"))

        async def both() -> None:
            await asyncio.gather(quietly(), write("told"))
            await write("told later")

        asyncio.run(both())
        assert {key for *_, key, _ in told} == {"told", "told later"}
