"""What a flush tells of many objects in columns is what looking at each of them tells."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Engine,
    ForeignKey,
    Numeric,
    String,
    TypeDecorator,
    delete,
    func,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm import sessionmaker as Sessions
from sqlalchemy.orm.attributes import flag_modified

from lifecycle import Lifecycle, audited, post_commit, post_flush, post_update
from lifecycle.audit.stores.sql.tables import audit_tables
from lifecycle.mappers.sqlalchemy import outcomes
from lifecycle.mappers.sqlalchemy.outcome import DoneToMany
from tests.replaying import replayed, state_of
from tests.sqlalchemy.conftest import Start
from tests.statements import statements

FEW = 4
"""So many objects of each model are there before; a flush of them is one of many."""


class Mood(enum.Enum):
    GLAD = 1
    SAD = 2


class Loud(TypeDecorator[str]):
    """Stores another text than it is given, and reads another than it stored."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.upper()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.lower()

    def compare_values(self, x: str | None, y: str | None) -> bool:
        return x == y or (x is not None and y is not None and x.lower() == y.lower())


@pytest.fixture
def models(base: type[DeclarativeBase]) -> Any:
    """Models with columns of many kinds, parts of a hierarchy, and what columns cannot tell."""

    class Shelf(base):
        __tablename__ = "column_shelves"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        name: Mapped[str | None] = mapped_column(String(20))
        place: Mapped[str | None] = mapped_column(String(20))

    @audited(mask={"secret"})
    class Volume(base):
        __tablename__ = "column_volumes"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        kind: Mapped[str] = mapped_column(String(10))
        name: Mapped[str | None] = mapped_column(String(20))
        price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
        weight: Mapped[float | None]
        count: Mapped[int | None]
        at: Mapped[datetime | None]
        mood: Mapped[Mood | None]
        extra: Mapped[Any | None] = mapped_column(JSON)
        loud: Mapped[str | None] = mapped_column(Loud())
        secret: Mapped[str | None] = mapped_column(String(20))
        rank: Mapped[int | None] = mapped_column(server_default="5")
        blurb: Mapped[str | None] = mapped_column(String(20), deferred=True)
        shelf_id: Mapped[int | None] = mapped_column(ForeignKey(Shelf.id))
        shelf: Mapped[Shelf | None] = relationship()
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "volume"}

    class Atlas(Volume):
        __tablename__ = "column_atlases"
        id: Mapped[int] = mapped_column(ForeignKey(Volume.id), primary_key=True)
        maps: Mapped[int | None]
        __mapper_args__ = {"polymorphic_identity": "atlas"}

    class Booklet(Volume):
        pages: Mapped[int | None]
        __mapper_args__ = {"polymorphic_identity": "booklet"}

    class Stamped(base):
        __tablename__ = "column_stamped"
        shop: Mapped[str] = mapped_column(String(10), primary_key=True)
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        name: Mapped[str | None] = mapped_column(String(20))
        count: Mapped[int | None] = mapped_column(onupdate=7)

    return SimpleNamespace(
        Shelf=Shelf, Volume=Volume, Atlas=Atlas, Booklet=Booklet, Stamped=Stamped
    )


class Looking:
    """Switches between the two ways to tell, and counts what is told in columns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._make = outcomes.done_to_many
        self.at_each = False
        self.told_in_columns = 0
        monkeypatch.setattr(outcomes, "done_to_many", self.done_to_many)

    def done_to_many(self, *given: Any) -> DoneToMany | None:
        many = None if self.at_each else self._make(*given)
        self.told_in_columns += 0 if many is None else len(many.keys)
        return many


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Looking:
    return Looking(monkeypatch)


@pytest.fixture
def factory(models: Any, start: Start) -> Sessions[Session]:
    """Sessions that are recorded, with the tables there."""
    return start()


words = st.none() | st.text(st.sampled_from("aß\\\t\n\r\"'\u2028é"), max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": words,
    "price": st.none() | st.decimals(-9, 9, places=2),
    "weight": st.none() | st.sampled_from([0.0, -0.0, 1.5, 2]),
    "count": st.none() | st.integers(-2, 3) | st.booleans(),
    "at": st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    "mood": st.none() | st.sampled_from(Mood),
    "extra": st.sampled_from([None, JSON.NULL, {"a": 1, "b": [1] * 9}, {"a": 2, "b": [1] * 9}, 1]),
    "loud": st.none() | st.sampled_from(["x", "X", "y"]),
    "secret": words,
    "rank": st.integers(4, 6),
    "blurb": words,
    "maps": st.none() | st.integers(0, 9),
    "pages": st.none() | st.integers(0, 9),
}
OF_MODEL: dict[str, list[str]] = {
    "Shelf": ["name"],
    "Volume": [name for name in VALUES if name not in ("maps", "pages")],
    "Atlas": [name for name in VALUES if name != "pages"],
    "Booklet": [name for name in VALUES if name != "maps"],
    "Stamped": ["name"],
}
models_of = st.sampled_from([*OF_MODEL])


@st.composite
def assignments(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from([*VALUES]), unique=True, max_size=4))
    return {name: draw(VALUES[name]) for name in names}


STEPS = [
    *("add", "add made", "change", "change", "change", "delete", "spoil", "replace", "move"),
    *("restore", "expire", "edit", "place", "add up"),
]


@st.composite
def flushes(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """What is done between two flushes: to many objects the same fields, and other values."""
    steps: list[Any] = []
    for _ in range(draw(st.integers(1, 4))):
        model = draw(models_of)
        match draw(st.sampled_from(STEPS)):
            case "add":
                steps.append(("add", model, draw(st.lists(assignments(), max_size=5))))
            case "change":
                names = draw(st.lists(st.sampled_from(OF_MODEL[model]), unique=True, max_size=3))
                values = [
                    {name: draw(VALUES[name]) for name in names if draw(st.integers(0, 9))}
                    for _ in range(FEW)
                ]
                steps.append(("change", model, values))
            case "delete" | "spoil" | "replace" | "move" | "restore" | "expire" as how:
                steps.append((how, model, draw(st.integers(1, FEW))))
            case how:
                steps.append((how, "Volume", draw(st.integers(0, 1))))
    return steps


APART = {"Atlas": 50, "Booklet": 80}
"""Between the keys of what is in one table."""


def made(models: Any, name: str, number: int, values: dict[str, Any]) -> Any:
    own = {one: value for one, value in values.items() if one in OF_MODEL[name]}
    more = {"shop": "ab"[number % 2]} if name == "Stamped" else {}
    return getattr(models, name)(id=number + APART.get(name, 0), **own, **more)


def do(session: Session, models: Any, step: Any, number: int) -> None:
    """A step of a flush, on objects that an earlier one has not deleted."""
    how, name, given = step
    cls = getattr(models, name)
    with session.no_autoflush:
        gone = session.deleted
        there = [
            one
            for one in session.scalars(select(cls).order_by(*cls.__mapper__.primary_key))
            if type(one) is cls and one not in gone
        ]
        if how == "add":
            session.add_all(
                made(models, name, 100 * number + n, values) for n, values in enumerate(given)
            )
        elif how == "change":
            for one, values in zip(there, given, strict=False):
                for field, value in values.items():
                    setattr(one, field, value)
        elif how in ("delete", "spoil", "replace"):
            for one in there[:given]:
                if how == "spoil":
                    one.name = "spoilt"
                session.delete(one)
                if how == "replace":
                    key = {
                        attr: getattr(one, attr) for attr in ("id", "shop") if hasattr(cls, attr)
                    }
                    session.add(cls(**key, name="again"))
        elif how == "move":
            for one in there[:given]:
                one.id += 100_000
        elif how == "restore":
            for one in there[:given]:
                one.name, was = "other", one.name
                one.name = was
        elif how == "expire":
            for one in there[:given]:
                session.expire(one)
        elif how == "edit":
            for one in there:
                if isinstance(one.extra, dict):
                    one.extra["a"] = 9
                    if given:
                        flag_modified(one, "extra")
                    else:
                        one.extra = {"c": 1}
        elif how == "add made":
            session.add_all(
                made(models, name, 100 * number + 90 + n, {"count": func.abs(-n) if given else n})
                for n in range(FEW)
            )
        elif how == "place":
            shelf = session.scalars(select(models.Shelf).order_by(models.Shelf.id)).first()
            for n, one in enumerate(there):
                one.shelf = models.Shelf(id=10_000 + 100 * number + n) if given else shelf
        else:
            for one in there:
                one.count = func.abs(-5)


def fill(session: Session, models: Any, values: list[dict[str, Any]]) -> None:
    for name in OF_MODEL:
        session.add_all(made(models, name, n, one) for n, one in enumerate(values, 1))


def empty(session: Session, models: Any) -> None:
    for name in ("Atlas", "Volume", "Shelf", "Stamped"):
        session.execute(delete(getattr(models, name).__table__))


def logged(session: Session) -> list[Any]:
    """The records of the open transaction, as they are stored."""
    change = audit_tables().change
    columns = [column for column in change.columns if column.key not in ("seq", "n")]
    return sorted(map(repr, session.execute(select(*columns))))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    before=st.lists(assignments(), min_size=FEW, max_size=FEW),
    plan=st.lists(flushes(), min_size=1, max_size=3),
)
@example(before=[{}] * FEW, plan=[[("spoil", "Shelf", FEW)]])
@example(before=[{"extra": {"a": 1}}] * FEW, plan=[[("edit", "Volume", 0)]])
@example(before=[{"loud": "x"}] * FEW, plan=[[("change", "Volume", [{"loud": "X"}] * FEW)]])
def test_columns_tell_what_a_look_at_each_object_tells(
    models: Any,
    factory: Sessions[Session],
    lifecycle: Lifecycle,
    looking: Looking,
    before: list[dict[str, Any]],
    plan: list[list[Any]],
) -> None:
    """The rows of the log are the same, byte for byte, but for the order of inserts."""
    found = []
    for at_each in (False, True):
        looking.at_each = at_each
        with lifecycle.suppressed(), factory.begin() as session:
            fill(session, models, before)
        try:
            with factory() as session:
                found.append(run(session, models, plan))
        finally:
            with lifecycle.suppressed(), factory.begin() as session:
                empty(session, models)
    assert found[0] == found[1]


def run(session: Session, models: Any, plan: list[list[Any]]) -> list[Any]:
    """Flush after each part of a plan, and give what that recorded."""
    for number, steps in enumerate(plan, 1):
        for place, step in enumerate(steps):
            do(session, models, step, 10 * number + place)
        try:
            session.flush()
        except IntegrityError:
            return ["a shelf with volumes on it was deleted or moved"]
    return logged(session)


def objects(models: Any, name: str) -> list[Any]:
    """Some fields they leave to be empty."""
    values = {
        "name": "n",
        "count": 1,
        "mood": Mood.SAD,
        "extra": {"a": 1},
        "loud": "x",
        "maps": 1,
        "pages": 2,
    }
    return [made(models, name, n, values) for n in range(1, FEW + 1)]


@pytest.mark.parametrize("name", ["Shelf", "Volume", "Atlas", "Booklet"])
def test_what_is_alike_is_told_in_columns(
    name: str, models: Any, factory: Sessions[Session], looking: Looking
) -> None:
    """Else the comparison above would compare one way with itself."""
    with factory() as session:
        some = objects(models, name)
        session.add_all(some)
        session.flush()
        assert looking.told_in_columns == FEW
        for one in some[1:]:
            one.name = "m"
        some[0].name = some[0].name
        session.flush()
        assert looking.told_in_columns == FEW + FEW - 1
        for one in some:
            session.delete(one)
        session.flush()
        assert looking.told_in_columns == FEW + FEW - 1 + FEW
        assert len(logged(session)) == looking.told_in_columns


def test_several_objects_of_one_row_are_all_told_of(
    models: Any, factory: Sessions[Session], lifecycle: Lifecycle, looking: Looking
) -> None:
    """Tokens of their identities tell them apart, as those who route statements use them."""
    Shelf = models.Shelf
    with factory.begin() as session:
        session.add_all(objects(models, "Shelf"))
    with factory.begin() as session:
        by_token = [
            session.scalars(select(Shelf), execution_options={"identity_token": token}).all()
            for token in ("x", "y")
        ]
        for one in by_token[0]:
            one.name = "m"
        for one in by_token[1]:
            one.place = "p"
        looking.told_in_columns = 0
        session.flush()
        assert looking.told_in_columns == 2 * FEW
    with factory() as session:
        after = state_of(session, [Shelf])
    assert replayed({}, lifecycle.history.find(newest_first=False)) == after


@pytest.mark.parametrize("moment", [post_update, post_flush, post_commit])
def test_hooks_are_told_of_each_object(
    moment: Any, models: Any, factory: Sessions[Session], lifecycle: Lifecycle, looking: Looking
) -> None:
    """So what they are told is not worked out in columns."""
    seen: list[Any] = []

    class Listener:
        @moment
        def hear(self, event: Any) -> None:
            seen.append(event)

    lifecycle.subscribe(Listener())
    with factory.begin() as session:
        session.add_all(objects(models, "Shelf"))
    with factory.begin() as session:
        for one in session.scalars(select(models.Shelf)):
            one.name = "m"
    assert looking.told_in_columns == 0
    told = seen[-1].changesets if moment is post_flush else seen[-FEW:]
    assert [event.changes["name"].new for event in told] == ["m"] * FEW


def test_what_is_new_comes_before_what_changed_and_that_before_what_went(
    models: Any, factory: Sessions[Session], lifecycle: Lifecycle
) -> None:
    """New objects of one model after the other, as the first of each was added."""
    with factory.begin() as session:
        session.add_all([*objects(models, "Shelf"), *objects(models, "Stamped")])
    with factory.begin() as session, session.no_autoflush:
        shelves = select(models.Shelf).order_by(models.Shelf.id.desc())
        for shelf in session.scalars(shelves):
            shelf.name = "m"
        for stamped in session.scalars(select(models.Stamped)):
            session.delete(stamped)
        for both in zip(objects(models, "Atlas"), objects(models, "Volume"), strict=True):
            session.add_all(both)
    records = [*lifecycle.history.find(newest_first=False)][2 * FEW :]
    assert [record.n for record in records] == [*range(4 * FEW)]
    assert [(str(record.operation), record.key) for record in records] == [
        *(("insert", str(50 + n)) for n in range(1, FEW + 1)),
        *(("insert", str(n)) for n in range(1, FEW + 1)),
        *(("update", str(n)) for n in range(1, FEW + 1)),
        *(("delete", key) for key in ("a,2", "a,4", "b,1", "b,3")),
    ]


def test_many_objects_are_recorded_in_two_statements(
    models: Any, factory: Sessions[Session], lifecycle: Lifecycle, engine: Engine
) -> None:
    """Also where the database works on some of the records while others are made."""
    count = 1_203
    with factory() as session, statements(engine) as seen:
        session.add_all(models.Shelf(id=n, name=f"s{n}") for n in range(count))
        session.commit()
    assert len([one for one in seen if "lifecycle_" in one]) == 2
    with factory() as session, statements(engine) as seen:
        for shelf in session.scalars(select(models.Shelf)):
            shelf.name += "!"
        session.commit()
    assert len([one for one in seen if "lifecycle_" in one]) == 2
    records = [*lifecycle.history.find(newest_first=False)]
    assert [record.n for record in records] == 2 * [*range(count)]
    news = {int(record.key): record.changes["name"].new for record in records[count:]}
    assert news == {n: f"s{n}!" for n in range(count)}
