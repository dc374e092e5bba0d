"""Timestamps: when objects are made and changed, on both mappers from one declaration."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import DateTime, ForeignKey, Integer, insert, select, update
from sqlalchemy.orm import mapped_column, relationship

from lifecycle import any_of, pre_update, timestamps
from lifecycle.conditions import Becomes
from lifecycle.errors import ConfigurationError, LifecycleError
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World
from tests.statements import statements

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self) -> datetime:
        self.now += HOUR
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def at(value: Any) -> Any:
    """A time as it was read, in UTC: drivers differ in whether they tell the zone."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)  # nx-27017 makes text of an updated datetime
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def article(world: World, clock: Clock, **on: Any) -> Any:
    on = on or {"created": "created_at", "updated": "updated_at"}
    kinds = dict.fromkeys(("created_at", "updated_at", "published_at"), "time")
    model = world.model(
        "Article", timestamps(clock=clock, **on), title="text", status="text", place="map", **kinds
    )
    world.install()
    return model


def test_an_object_gets_its_times(world: World, clock: Clock) -> None:
    """Both are set to the same time at first; a change moves the one, and not the other."""
    model = article(world, clock)
    one = world.new(model, title="a")
    assert [*map(at, world.read(model, one, "created_at", "updated_at"))] == [START, START]
    changed = clock.forward()
    world.edit(model, one, title="b")
    assert [*map(at, world.read(model, one, "created_at", "updated_at"))] == [START, changed]


def test_without_a_real_change_the_time_stays(mapper: World, clock: Clock) -> None:
    """A value that is set to itself, or set and set back, is none."""
    model = article(mapper, clock)
    one = mapper.new(model, title="a")
    clock.forward()
    mapper.edit(model, one, title="a")
    with mapper.edited(model, one) as instance:
        instance.title = "b"
        instance.title = "a"
    assert at(mapper.read(model, one, "updated_at")) == START


def test_a_value_set_by_hand_wins(world: World, clock: Clock) -> None:
    """Imports bring their own times, for new objects and for changes."""
    model = article(world, clock)
    past = START - 100 * HOUR
    one = world.new(model, title="a", created_at=past)
    assert [*map(at, world.read(model, one, "created_at", "updated_at"))] == [past, START]
    clock.forward()
    world.edit(model, one, title="b", updated_at=past)
    assert at(world.read(model, one, "updated_at")) == past


def test_on_change_of_named_fields_or_paths(world: World, clock: Clock) -> None:
    """One field, several, or a path inside one; other changes leave the time alone."""
    model = article(
        world, clock, created_at="title", updated_at=("title", "status"), published_at="place.city"
    )
    names = ("created_at", "updated_at", "published_at")
    one = world.new(model, title="a", place={"city": "Rome", "zip": 1})
    assert {at(value) for value in world.read(model, one, *names)} == {START}
    first = clock.forward()
    world.edit(model, one, status="new")
    assert [*map(at, world.read(model, one, *names))] == [START, first, START]
    clock.forward()
    world.edit(model, one, place={"city": "Rome", "zip": 2})
    assert [*map(at, world.read(model, one, *names))] == [START, first, START]
    last = clock.forward()
    world.edit(model, one, place={"city": "Ulm", "zip": 2})
    assert [*map(at, world.read(model, one, *names))] == [START, first, last]


def test_on_change_to_a_value_of_one_of_several_fields(mapper: World, clock: Clock) -> None:
    """A value is looked for in as many fields as are named (in Gedmo a list of them never fires).

    An object that is made with the value counts as changed to it.
    """
    on = Becomes("status", any_of("live", "printed")) | Becomes("title", "live")
    model = article(mapper, clock, published_at=on)
    one = mapper.new(model, title="a", status="draft")
    assert mapper.read(model, one, "published_at") is None
    first = clock.forward()
    mapper.edit(model, one, title="live")
    assert at(mapper.read(model, one, "published_at")) == first
    second = clock.forward()
    mapper.edit(model, one, status="printed")
    assert at(mapper.read(model, one, "published_at")) == second
    clock.forward()
    mapper.edit(model, one, status="draft")
    assert at(mapper.read(model, one, "published_at")) == second
    born = mapper.new(model, title="b", status="live")
    assert at(mapper.read(model, born, "published_at")) == clock.now


def test_a_change_by_another_hook_counts(mapper: World, clock: Clock) -> None:
    """Times are set after all other hooks, whatever their order of declaration."""

    class Echoing:
        @pre_update(when="title", priority=-5)
        def echo(self: Any) -> None:
            self.status = self.title

    model = mapper.model(
        "Echo",
        timestamps(clock=clock, updated_at=Becomes("status", "b")),
        mixin=Echoing,
        title="text",
        status="text",
        updated_at="time",
    )
    mapper.install()
    one = mapper.new(model, title="a")
    changed = clock.forward()
    mapper.edit(model, one, title="b")
    assert at(mapper.read(model, one, "updated_at")) == changed


def test_bulk_updates_are_given_the_time(world: World, clock: Clock) -> None:
    """An update of many objects at once moves their times, and the log tells of it."""
    model = article(world, clock, updated="updated_at", published_at=Becomes("status", "live"))
    ids = [world.new(model, title="a", status="draft") for _ in range(2)]
    first = clock.forward()
    bulk_update(world, model, title="b")
    for one in ids:
        assert [*map(at, world.read(model, one, "updated_at", "published_at"))] == [first, None]
    second = clock.forward()
    bulk_update(world, model, status="live")
    for one in ids:
        assert [*map(at, world.read(model, one, "updated_at", "published_at"))] == [second, second]
    told = world.records()[-1].changes
    assert at(told["updated_at"].new) == second
    past = START - HOUR
    bulk_update(world, model, title="c", updated_at=past)
    assert at(world.read(model, ids[0], "updated_at")) == past


def bulk_update(world: World, model: Any, **values: Any) -> None:
    with world.transaction() as session:
        if session is None:
            model.objects.update(**{f"set__{name}": value for name, value in values.items()})
        else:
            session.execute(update(model).values(**values))


def test_suppressed_hooks_set_no_times(mapper: World, clock: Clock) -> None:
    """What hooks do is off where hooks are off: for objects and for statements."""
    model = article(mapper, clock)
    with mapper.lifecycle.suppressed(audit=False):
        one = mapper.new(model, title="a")
        bulk_update(mapper, model, title="b")
    assert mapper.read(model, one, "created_at", "updated_at") == (None, None)


def test_a_clock_has_to_give_an_aware_time(mapper: World) -> None:
    """A time without zone could be any of twenty-four, and is refused; others become UTC."""
    naive = mapper.model("Naive", timestamps(created="at", clock=datetime.now), at="time")
    there = timezone(timedelta(hours=5))
    eastern = mapper.model(
        "Eastern", timestamps(created="at", clock=lambda: START.astimezone(there)), at="time"
    )
    mapper.install()
    with pytest.raises(LifecycleError, match="which is no aware datetime"):
        mapper.new(naive)
    assert at(mapper.read(eastern, mapper.new(eastern), "at")) == START


def test_without_a_clock_it_is_now(world: World) -> None:
    """Bare, it is about created_at and updated_at, and tells the time of day."""
    model = world.model("Bare", timestamps, created_at="time", updated_at="time")
    world.install()
    before = datetime.now(UTC).replace(microsecond=0)
    created, updated = map(at, world.read(model, world.new(model), "created_at", "updated_at"))
    assert before <= created == updated <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ({"created": "made"}, r"'made', which is no field of it: add it"),
        ({"title": "made"}, r"'made', which is no field of it"),
        ({}, r"@timestamps\(\) sets nothing"),
        ({"created": "title", "updated": "title"}, r"a field of its own"),
        ({"created": 3}, r"created=3"),
        ({"title": ()}, r"@timestamps\(title=...\): when=\(\) is no condition"),
        ({"created": "title", "clock": START}, r"give a function"),
    ],
)
def test_what_cannot_work_is_an_error_where_it_is_declared(
    on: dict[str, Any], message: str, mongo: object
) -> None:
    """Each error says what is wrong, before anything is installed."""
    with pytest.raises(ConfigurationError, match=message):

        @timestamps(**on)
        class Untimely(mongoengine.Document):
            title = fields.StringField()


# --- what is particular to one mapper ---


def test_a_field_may_keep_a_day_or_a_number(world: World, clock: Clock) -> None:
    """A time fits itself to the type of its field; without a zone it is that of UTC."""
    there = timezone(timedelta(hours=14))
    clock.now = datetime(2026, 11, 22, 1, 30, tzinfo=there)
    model = world.model(
        "Calendar",
        timestamps(clock=clock, created="day", updated="seconds", plain="note"),
        note="text",
        day="day",
        seconds="number",
        plain="plain_time",
    )
    world.install()
    one = world.new(model, note="a")
    utc = datetime(2026, 11, 21, 11, 30)
    day, seconds, plain = world.read(model, one, "day", "seconds", "plain")
    assert (day, seconds, plain) == (date(2026, 11, 21), int(clock.now.timestamp()), utc)


def test_statements_of_every_kind_are_given_times(sql: SqlWorld, clock: Clock) -> None:
    """Inserts and updates, of the class and of the table, of one row and of many."""
    model = article(sql, clock)
    table = model.__table__
    rows = [{"title": "many"}, {"title": "more"}]
    inserts: list[tuple[Any, ...]] = [
        (insert(model).values(title="one"),),
        (insert(model), rows),
        (insert(model).values(rows),),
        (insert(table), rows),
        (insert(table).values(rows),),
        (insert(table), {"title": "one"}),
    ]
    for arguments in inserts:
        with sql.transaction() as session:
            session.execute(*arguments)
    with sql.transaction() as session:
        session.bulk_insert_mappings(model, rows)
        session.bulk_save_objects([model(title="object")])
    with sql.transaction() as session:
        found = session.scalars(select(model)).all()
        assert len(found) == 13
        assert {at(one.created_at) for one in found} == {START}
        assert {at(one.updated_at) for one in found} == {START}
        ids = [one.id for one in found]
    updates: list[tuple[Any, ...]] = [
        (update(model).values(title="x"),),
        (update(table).values({"title": "y"}),),
        (update(table).ordered_values((table.c.title, "z")),),
        (update(model), [{"id": one, "title": "by key"} for one in ids]),
        (update(table), {"title": "w"}),
    ]
    for arguments in updates:
        changed = clock.forward()
        with sql.transaction() as session:
            session.execute(*arguments)
        with sql.transaction() as session:
            times = session.execute(select(model.created_at, model.updated_at)).all()
        assert {(at(one), at(other)) for one, other in times} == {(START, changed)}
    with sql.transaction() as session:
        changed = clock.forward()
        session.query(model).update({"title": "query"})
    with sql.transaction() as session:
        assert {*map(at, session.scalars(select(model.updated_at)))} == {changed}


def test_a_session_knows_of_the_times_it_set_by_a_statement(sql: SqlWorld, clock: Clock) -> None:
    """Objects in the session show what an update of their class made of them, times included."""
    model = article(sql, clock)
    one = sql.new(model, title="a")
    with sql.transaction() as session:
        instance = session.get(model, one)
        changed = clock.forward()
        session.execute(update(model).values(title="b"))
        assert (instance.title, at(instance.updated_at)) == ("b", changed)


def test_values_by_hand_win_in_statements(sql: SqlWorld, clock: Clock) -> None:
    """Also where they come as parameters."""
    model = article(sql, clock)
    past = START - HOUR
    with sql.transaction() as session:
        session.execute(insert(model.__table__), [{"title": "a", "updated_at": past}])
        session.execute(insert(model), [{"title": "a", "updated_at": past}])
    with sql.transaction() as session:
        times = session.execute(select(model.created_at, model.updated_at)).all()
    assert {(at(one), at(other)) for one, other in times} == {(START, past)}


def test_only_what_is_written_costs_a_statement(sql: SqlWorld, clock: Clock) -> None:
    """Times come with the INSERT and the UPDATE, and ask the database nothing."""
    model = article(sql, clock)
    one = sql.new(model, title="a")
    with sql.transaction() as session:
        instance = session.get(model, one)
        instance.title = "b"
        with statements(sql.engine) as seen:
            session.flush()
    own = [one for one in seen if "article" in one.lower() and "lifecycle" not in one.lower()]
    assert [one.split()[0] for one in own] == ["UPDATE"]


def test_updates_by_the_collection_are_given_times(documents: DocumentWorld, clock: Clock) -> None:
    """Those of one document, of raw operators and pipelines, and what an upsert inserts."""
    model = article(documents, clock)
    one = documents.new(model, title="a")

    def updated(call: Any) -> Any:
        changed = clock.forward()
        call()
        assert at(documents.read(model, one, "updated_at")) == changed

    updated(lambda: model.objects(id=one).update_one(set__title="b"))
    updated(lambda: model.objects(id=one).modify(set__title="c"))
    updated(lambda: model.objects(id=one).first().update(set__title="d"))
    updated(lambda: model.objects(id=one).first().modify(set__title="e"))
    updated(lambda: model._get_collection().update_one({"_id": one}, {"$set": {"title": "f"}}))
    updated(lambda: model.objects(id=one).update(__raw__={"$unset": {"status": 1}}))
    clock.forward()
    model.objects(title="new").upsert_one(set__status="live")
    (made,) = documents.find(model, status="live")
    assert [at(made.created_at), at(made.updated_at)] == [clock.now, clock.now]
    model.objects.insert([model(title="many"), model(title="more")])
    assert at(documents.find(model, title="more")[0].created_at) == clock.now


def test_a_new_document_has_the_time_that_a_load_gives(documents: DocumentWorld) -> None:
    """Cut to milliseconds and without a zone, so that the two can be compared."""
    time = datetime(2026, 1, 1, 1, 2, 3, 456789, tzinfo=UTC)
    model = documents.model("Precise", timestamps(created="at", clock=lambda: time), at="time")
    documents.install()
    made = model().save()
    assert made.at == documents.read(model, made.id, "at") == datetime(2026, 1, 1, 1, 2, 3, 456000)


@pytest.mark.parametrize("path", ["category", "category.archived"])
def test_a_condition_on_another_object_is_refused(sqlite: SqlWorld, path: str) -> None:
    """A change of the other object is none of this one's (in Gedmo such a path never fires).

    What changes here is the foreign key, and a time may be about that.
    """

    class Shelved(sqlite.base):
        __abstract__ = True
        id = mapped_column(Integer, primary_key=True)
        archived = mapped_column(Integer)
        at = mapped_column(DateTime)

    class ShelvedCategory(Shelved):
        __tablename__ = "shelved_categories"

    class ShelvedBook(Shelved):
        __tablename__ = "shelved_books"
        category_id = mapped_column(ForeignKey(ShelvedCategory.id))
        category = relationship(ShelvedCategory)

    with pytest.raises(ConfigurationError, match=f"is about '{path}', which is no field"):  # noqa: PT012
        timestamps(at=path)(ShelvedBook)
        sqlite.install()


def test_a_foreign_key_that_a_relationship_sets_counts(sqlite: SqlWorld, clock: Clock) -> None:
    """Pointing an object at another one changes its foreign key, before and in the flush."""

    class MovedCategory(sqlite.base):
        __tablename__ = "moved_categories"
        id = mapped_column(Integer, primary_key=True)

    @timestamps(at="category_id", clock=clock)
    class MovedBook(sqlite.base):
        __tablename__ = "moved_books"
        id = mapped_column(Integer, primary_key=True)
        at = mapped_column(DateTime)
        category_id = mapped_column(ForeignKey(MovedCategory.id))
        category = relationship(MovedCategory)

    sqlite.install()
    one = sqlite.new(MovedBook)
    assert sqlite.read(MovedBook, one, "at") is None
    sqlite.edit(MovedBook, one, category=MovedCategory())
    assert at(sqlite.read(MovedBook, one, "at")) == START
