"""Soft delete: what is deleted is marked and hidden, on both mappers from one declaration."""

from __future__ import annotations

import pickle
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Integer,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

from lifecycle import (
    Lifecycle,
    Veto,
    acting,
    blame,
    post_persist,
    post_remove,
    pre_remove,
    timestamps,
)
from lifecycle.behaviours import hard, soft_delete, undelete, with_deleted
from lifecycle.changes import ABSENT
from lifecycle.errors import ConfigurationError, ConflictError
from lifecycle.mappers.mongoengine.documents import all_subclasses, is_concrete
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World

NUMBERS = count()
"""For names of models that no other test has, whose objects could be taken for these."""

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def item(world: World, *decorators: Any, mixin: type = object, **kinds: str) -> Any:
    kinds = {"name": "text", "deleted_at": "time", **kinds}
    model = world.model(
        f"SoftItem{next(NUMBERS)}",
        soft_delete(clock=lambda: NOON),
        *decorators,
        mixin=mixin,
        **kinds,
    )
    world.install()
    return model


def remove(world: World, model: Any, identifier: Any) -> None:
    with world.transaction():
        world.delete(world.one(model, identifier))


def marked(world: World, model: Any, identifier: Any) -> Any:
    """The object, found although it is marked; outside of a session for SQL."""
    if isinstance(world, SqlWorld):
        with world.factory() as session:
            return session.scalars(with_deleted(select(model)).filter_by(id=identifier)).first()
    return with_deleted(model.objects(id=identifier)).first()


def told(world: World) -> list[str]:
    return [str(record.operation) for record in world.records()]


def test_a_deleted_object_is_marked_and_hidden(world: World) -> None:
    """It is there for those who ask for it, with all its values, and for nobody else."""
    model = item(world)
    one, other = world.new(model, name="a"), world.new(model, name="b")
    remove(world, model, one)
    assert [found.id for found in world.find(model)] == [other]
    assert world.find(model, id=one) == []
    kept = marked(world, model, one)
    assert kept.name == "a"
    assert kept.deleted_at is not None


def test_the_record_says_remove_with_all_values(world: World) -> None:
    """And it says insert when the object is brought back: the mark itself is no news."""
    model = item(world)
    one = world.new(model, name="a")
    remove(world, model, one)
    assert told(world) == ["insert", "delete"]
    removed = world.records()[-1].changes
    assert (removed["name"].old, removed["name"].new) == ("a", ABSENT)
    bring_back(world, model, one)
    assert told(world) == ["insert", "delete", "insert"]
    assert world.records()[-1].changes["name"].new == "a"
    assert world.read(model, one, "name", "deleted_at") == ("a", None)
    assert differences(world) == []


def bring_back(world: World, model: Any, identifier: Any) -> None:
    if isinstance(world, SqlWorld):
        with world.transaction() as session:
            found = session.scalars(with_deleted(select(model)).filter_by(id=identifier)).one()
            undelete(found)
    else:
        undelete(with_deleted(model.objects(id=identifier)).get()).save()


def differences(world: World) -> list[Any]:
    """What the log and the database do not agree about."""
    if isinstance(world, SqlWorld):
        return list(world.lifecycle.evidence.compare(world.engine).differences)
    for cls in filter(is_concrete, all_subclasses(mongoengine.Document)):
        cls._disconnect()  # some of other tests keep a client that is closed
    nowhere = create_engine("sqlite://")
    try:
        return list(world.lifecycle.evidence.compare(nowhere).differences)
    finally:
        nowhere.dispose()


def test_the_log_agrees_with_rows_that_are_marked(world: World) -> None:
    """Comparing the log with the database finds no difference, whatever is marked."""
    model = item(world)
    ids = [world.new(model, name=name) for name in "abc"]
    remove(world, model, ids[0])
    world.edit(model, ids[1], name="d")
    assert differences(world) == []


def test_a_restore_brings_it_back(world: World) -> None:
    """`undelete` takes the mark away, where a new row would meet the old one."""
    model = item(world)
    one = world.new(model, name="a")
    remove(world, model, one)
    assert world.lifecycle.history.as_of(model, one, world.records()[0].at)["name"] == "a"
    world.lifecycle.restore.undelete(model, one)
    assert world.read(model, one, "name", "deleted_at") == ("a", None)
    assert told(world) == ["insert", "delete", "insert"]


def test_an_object_is_the_same_after_its_mark_was_taken_away(mapper: World) -> None:
    """Its older versions can be restored: the key has been its own all the time."""
    model = item(mapper)
    one = mapper.new(model, name="a")
    mapper.edit(model, one, name="b")
    remove(mapper, model, one)
    bring_back(mapper, model, one)
    assert mapper.lifecycle.restore.to(mapper.records()[0])
    assert mapper.read(model, one, "name", "deleted_at") == ("a", None)


def test_undoing_its_insert_marks_it(mapper: World) -> None:
    """A restore deletes as the application does."""
    model = item(mapper)
    one = mapper.new(model, name="a")
    mapper.lifecycle.restore.undo(mapper.records()[0])
    assert mapper.find(model) == []
    assert marked(mapper, model, one).name == "a"


class Hooked:
    """Hooks of a removal, which change the object and note what they see."""

    seen: list[tuple[str, str]]

    @pre_remove
    def rename(self: Any, event: Any) -> None:
        if self.name == "keep":
            event.veto("it is to be kept")
        self.name = f"removed {self.name}"

    @post_remove
    @post_persist
    def note(self: Any, event: Any) -> None:
        self.seen.append((str(event.moment), str(event.operation)))


def test_its_hooks_are_those_of_a_removal(mapper: World) -> None:
    """They may refuse it, and what they change is saved with the mark (in Gedmo it was lost)."""
    Hooked.seen = []
    model = item(mapper, mixin=Hooked)
    one, kept = mapper.new(model, name="a"), mapper.new(model, name="keep")
    remove(mapper, model, one)
    with pytest.raises(Veto, match="it is to be kept"):
        remove(mapper, model, kept)
    assert [found.id for found in mapper.find(model)] == [kept]
    assert marked(mapper, model, one).name == "removed a"
    assert Hooked.seen == [("post_persist", "insert")] * 2 + [("post_remove", "delete")]
    assert mapper.records()[-1].changes["name"].old == "a"


@pytest.mark.parametrize("first", [True, False])
def test_the_order_of_declarations_makes_no_difference(sqlite: SqlWorld, first: bool) -> None:
    """Behaviours and the log go together in any order (in Gedmo the wrong one lost the delete)."""
    others = [blame(deleted_by="deleted_at"), timestamps(updated="updated_at", clock=lambda: NOON)]
    own = soft_delete(clock=lambda: NOON)
    model = sqlite.model(
        "Ordered",
        *([own, *others] if first else [*others, own]),
        name="text",
        deleted_at="time",
        updated_at="time",
        deleted_by="text",
    )
    sqlite.install()
    one = sqlite.new(model, name="a")
    with acting("ann"):
        remove(sqlite, model, one)
    kept = marked(sqlite, model, one)
    assert (kept.deleted_by, kept.deleted_at, kept.updated_at) == (
        "ann",
        NOON.replace(tzinfo=None),
        NOON.replace(tzinfo=None),
    )
    assert told(sqlite) == ["insert", "delete"]
    assert sqlite.find(model) == []


def test_a_hard_delete_really_deletes(world: World) -> None:
    """Of one that is there, and of one that is marked, which the log has removed already."""
    model = item(world)
    one, other = world.new(model, name="a"), world.new(model, name="b")
    with world.transaction():
        world.delete(hard(world.one(model, one)))
    assert marked(world, model, one) is None
    remove(world, model, other)
    if isinstance(world, SqlWorld):
        with world.transaction() as session:
            found = session.scalars(with_deleted(select(model))).one()
            session.delete(hard(found))
    else:
        with_deleted(model.objects(id=other)).get().delete(hard=True)
    assert marked(world, model, other) is None
    assert told(world) == ["insert", "insert", "delete", "delete"]
    assert differences(world) == []


def test_to_delete_it_again_changes_nothing(world: World) -> None:
    """It keeps its first mark (in Gedmo the second delete is a real one, unasked)."""
    model = item(world)
    one = world.new(model, name="a")
    remove(world, model, one)
    if isinstance(world, SqlWorld):
        with world.transaction() as session:
            session.delete(session.scalars(with_deleted(select(model))).one())
    else:
        with_deleted(model.objects(id=one)).get().delete()
    assert marked(world, model, one).name == "a"
    assert told(world) == ["insert", "delete"]


def test_a_mark_set_by_hand_is_a_removal_too(mapper: World) -> None:
    """Whoever sets the field removes the object, and the log says so."""
    model = item(mapper)
    one = mapper.new(model, name="a")
    mapper.edit(model, one, deleted_at=NOON)
    assert mapper.find(model) == []
    assert told(mapper) == ["insert", "delete"]


def test_deletes_of_many_mark_them(world: World) -> None:
    """A delete of a query or queryset marks what it finds; when hard, it deletes."""
    model = item(world)
    for name in ("a", "b", "b"):
        world.new(model, name=name)
    if isinstance(world, SqlWorld):
        with world.transaction() as session:
            assert session.execute(delete(model).where(model.name == "b")).rowcount == 2
        with world.transaction() as session:
            assert session.query(model).delete() == 1
            assert session.scalar(select(func.count()).select_from(model)) == 0
            assert session.scalar(with_deleted(select(func.count()).select_from(model))) == 3
    else:
        assert model.objects(name="b").delete() == 2
        assert model.objects.delete() == 1
        assert model.objects.count() == 0
        assert with_deleted(model.objects).count() == 3
    assert told(world) == ["insert"] * 3 + ["delete"] * 3
    if isinstance(world, SqlWorld):
        with world.transaction() as session:
            session.execute(hard(delete(model)))
            assert session.scalar(with_deleted(select(func.count()).select_from(model))) == 3
            session.execute(hard(with_deleted(delete(model))))
            assert session.scalar(with_deleted(select(func.count()).select_from(model))) == 0
    else:
        with_deleted(model.objects).delete(hard=True)
        assert with_deleted(model.objects).count() == 0
    assert differences(world) == []


def test_where_hooks_are_off_a_delete_is_a_delete(mapper: World) -> None:
    """As a model that a behaviour has never been put on."""
    model = item(mapper)
    one = mapper.new(model, name="a")
    with mapper.lifecycle.suppressed(audit=False):
        remove(mapper, model, one)
    assert marked(mapper, model, one) is None


def test_what_cannot_work_is_an_error() -> None:
    """Before anything is installed, or deleted."""
    with pytest.raises(ConfigurationError, match=r"soft_delete\(field=7\)"):
        soft_delete(field=7)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="give a function"):
        soft_delete(clock=NOON)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="has no @soft_delete"):
        undelete(object())
    with pytest.raises(ConfigurationError, match="got a list: give a select"):
        with_deleted([])
    with pytest.raises(ConfigurationError, match=r"hard\(\) got 7: give an object"):
        hard(7)


def test_what_is_not_marked_cannot_be_brought_back(mapper: World) -> None:
    """As memory has it: of one that somebody has marked since it was loaded nothing would come."""
    model = item(mapper)
    one = mapper.new(model, name="a")
    with mapper.transaction():
        stale = mapper.one(model, one)
        with pytest.raises(ConflictError, match="is not marked as deleted, as it was loaded"):
            undelete(stale)
    if not isinstance(mapper, SqlWorld):
        remove(mapper, model, one)
        with pytest.raises(ConflictError, match="reload it first"):
            undelete(stale)
        undelete(stale.reload()).save()
    assert mapper.read(model, one, "name") == "a"


def test_what_was_never_saved_cannot_be_brought_back(mapper: World) -> None:
    """Nothing would come of it, so it is said."""
    model = item(mapper)
    with pytest.raises(ConflictError, match=r"SoftItem\d+ \(new\) cannot be .* never saved"):
        undelete(model(name="a"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("place", ["sqlite", "documents"])
def test_any_history_of_marks_agrees_with_the_log(
    request: pytest.FixtureRequest, place: str, seed: int
) -> None:
    """Whatever is made, changed, deleted, brought back or purged: log and database agree."""
    world: World = request.getfixturevalue(place)
    model, random = item(world), Random(seed)
    steps: list[Any] = [
        lambda one: world.new(model, name=str(random.random())),
        lambda one: one and world.edit(model, one, name=str(random.random())),
        lambda one: one and world.edit(model, one, deleted_at=NOON),
        lambda one: one and remove(world, model, one),
        lambda one: one and purge(world, model, one),
        lambda one: undo(world, random),
        lambda one: bring_any_back(world, model, random),
    ]
    for _ in range(25):
        there = [one.id for one in world.find(model)]
        step = random.choice(steps) if there else steps[0]
        step(random.choice(there) if there else None)
    assert differences(world) == []
    assert len(world.records()) > 10


def undo(world: World, random: Random) -> None:
    with suppress(ConflictError):  # refused, and so without a trace
        world.lifecycle.restore.undo(random.choice(world.records()), force=True)


def purge(world: World, model: Any, identifier: Any) -> None:
    with world.transaction():
        world.delete(hard(world.one(model, identifier)))


def bring_any_back(world: World, model: Any, random: Random) -> None:
    if isinstance(world, SqlWorld):
        with world.factory() as session:
            gone = session.scalars(with_deleted(select(model.id)).where(model.deleted_at != None))  # noqa: E711
            ids = list(gone)
    else:
        ids = [one.id for one in with_deleted(model.objects) if one.deleted_at is not None]
    if ids:
        bring_back(world, model, random.choice(ids))


# --- what is particular to SQLAlchemy ---


def family(sql: SqlWorld) -> tuple[Any, Any, Any]:
    """A soft parent with soft children, a hard one, and a child that leads back."""

    class Family(sql.base):
        __abstract__ = True
        id = mapped_column(sql.kinds["number"], primary_key=True)
        name = mapped_column(sql.kinds["text"])
        deleted_at = mapped_column(sql.kinds["time"], nullable=True)

    @soft_delete
    class SoftParent(Family):
        __tablename__ = "soft_parents"
        children = relationship("SoftChild", cascade="all", back_populates="parent")
        things = relationship("HardThing", cascade="all")

    @soft_delete
    class SoftChild(Family):
        __tablename__ = "soft_children"
        parent_id = mapped_column(ForeignKey("soft_parents.id"))
        parent = relationship("SoftParent", back_populates="children")

    class HardThing(Family):
        __tablename__ = "hard_things"
        parent_id = mapped_column(ForeignKey("soft_parents.id"))

    sql.install()
    return SoftParent, SoftChild, HardThing


def test_relationships_hide_what_is_marked(sql: SqlWorld) -> None:
    """Loaded lazily, joined or by a select of their own; a get does not find it, in no session."""
    parent, child, _ = family(sql)
    with sql.transaction() as session:
        session.add(parent(id=1, children=[child(id=1, name="a"), child(id=2, name="b")]))
    with sql.transaction() as session:
        found = session.get(child, 1)
        session.delete(found)
        session.flush()
        assert session.get(child, 1) is None
        assert found not in session
        assert session.get(child, 1, execution_options={"lifecycle_with_deleted": True}) is not None
    for options in ([], [joinedload(parent.children)], [selectinload(parent.children)]):
        with sql.transaction() as session:
            query = select(parent).options(*options)
            found = session.scalars(query).unique().one()
            assert [one.name for one in found.children] == ["b"]
        with sql.transaction() as session:
            joined = select(parent).join(parent.children).where(child.name == "a")
            assert session.scalars(joined).all() == []


def test_cascades_follow(sql: SqlWorld) -> None:
    """Children that can be are marked with their parent, others deleted; keys stay as they are."""
    parent, child, thing = family(sql)
    with sql.transaction() as session:
        session.add(
            parent(id=1, children=[child(id=1), child(id=2)], things=[thing(id=1), thing(id=2)])
        )
    with sql.transaction() as session:
        session.delete(session.get(parent, 1))
    with sql.transaction() as session:
        assert session.scalars(select(thing)).all() == []
        assert session.scalars(select(child)).all() == []
        kept = session.scalars(with_deleted(select(child))).all()
        assert [one.parent_id for one in kept] == [1, 1]
        assert kept[0].parent is None  # it is marked as well
    deleted = [record for record in sql.records() if str(record.operation) == "delete"]
    assert sorted((one.entity, one.key) for one in deleted) == [
        ("HardThing", "1"),
        ("HardThing", "2"),
        ("SoftChild", "1"),
        ("SoftChild", "2"),
        ("SoftParent", "1"),
    ]
    assert differences(sql) == []
    with sql.transaction() as session:
        for one in session.scalars(with_deleted(select(child))).all():
            session.delete(hard(one))
        session.delete(hard(session.scalars(with_deleted(select(parent))).one()))
    with sql.transaction() as session:
        assert session.scalars(with_deleted(select(child))).all() == []


def test_many_to_many_rows_and_subclass_tables_wait_for_it(sql: SqlWorld) -> None:
    """They stay where they are, the log and the database agree, and it comes back with them."""
    links = Table(
        "soft_links",
        sql.base.metadata,
        Column("post_id", ForeignKey("soft_posts.id"), primary_key=True),
        Column("tag_id", ForeignKey("soft_tags.id"), primary_key=True),
    )

    class SoftTag(sql.base):
        __tablename__ = "soft_tags"
        id = mapped_column(Integer, primary_key=True)
        posts = relationship("SoftPost", secondary=links, back_populates="tags")

    @soft_delete
    class SoftPost(sql.base):
        __tablename__ = "soft_posts"
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(10))
        deleted_at = mapped_column(DateTime)
        tags = relationship(SoftTag, secondary=links, back_populates="posts")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "post"}

    class SoftReview(SoftPost):
        __tablename__ = "soft_reviews"
        id = mapped_column(ForeignKey(SoftPost.id), primary_key=True)
        stars = mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "review"}

    sql.install()
    with sql.transaction() as session:
        tags = [SoftTag(id=1), SoftTag(id=2)]
        session.add_all([SoftPost(id=1, tags=tags), SoftReview(id=2, stars=5, tags=tags[:1])])
    with sql.transaction() as session:
        for one in session.scalars(select(SoftPost)).all():
            session.delete(one)
    assert differences(sql) == []
    with sql.transaction() as session:
        assert session.get(SoftTag, 1).posts == []
        back = session.scalars(with_deleted(select(SoftPost)).order_by(SoftPost.id)).all()
        tag = session.get(SoftTag, 2)
        back[1].tags = [*back[1].tags, tag]
        for one in back:
            undelete(one)
    assert differences(sql) == []
    with sql.transaction() as session:
        assert [one.stars for one in session.scalars(select(SoftReview))] == [5]
        assert [len(one.tags) for one in session.scalars(select(SoftPost))] == [2, 2]
    brought_back = next(iter(sql.lifecycle.history.of(SoftReview, 2)))
    assert str(brought_back.operation) == "insert"
    assert brought_back.changes["tags"].added == {"1", "2"}


def test_a_delete_of_a_subclass_marks_its_rows_in_the_table_of_the_mark(sql: SqlWorld) -> None:
    """And no others: without a join, MariaDB would mark all there are."""

    @soft_delete
    class SoftAnimal(sql.base):
        __tablename__ = "soft_animals"
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(10))
        deleted_at = mapped_column(DateTime)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    class SoftDog(SoftAnimal):
        __tablename__ = "soft_dogs"
        id = mapped_column(ForeignKey(SoftAnimal.id), primary_key=True)
        legs = mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "dog"}

    class SoftPuppy(SoftDog):
        __mapper_args__ = {"polymorphic_identity": "puppy"}

    sql.install()
    with sql.transaction() as session:
        session.add_all(
            [SoftAnimal(id=1), SoftDog(id=2, legs=3), SoftDog(id=3, legs=4), SoftPuppy(id=4)]
        )
    with sql.transaction() as session:
        assert session.execute(delete(SoftDog).where(SoftDog.legs == 4)).rowcount == 1
        assert session.scalars(select(SoftAnimal.id)).all() == [1, 2, 4]
        assert session.execute(delete(SoftPuppy)).rowcount == 1
        assert session.scalars(select(SoftAnimal.id)).all() == [1, 2]
    assert [(one.key, str(one.operation)) for one in sql.records()[4:]] == [
        ("3", "delete"),
        ("4", "delete"),
    ]


def test_a_rolled_back_delete_leaves_the_row_unmarked(sql: SqlWorld) -> None:
    """The mark is an update like any other."""
    model = item(sql)
    one = sql.new(model, name="a")
    with sql.factory() as session:
        session.delete(session.get(model, one))
        session.flush()
        session.rollback()
        assert session.get(model, one).name == "a"
    assert told(sql) == ["insert"]


@pytest.mark.parametrize("by", ["session", "statement"])
@pytest.mark.parametrize("savepoint", [True, False])
def test_after_a_rollback_an_object_at_hand_is_in_its_session_again(
    sqlite: SqlWorld, by: str, savepoint: bool
) -> None:
    """Else what is assigned to it afterwards would be lost, without a word."""
    model = item(sqlite)
    one = sqlite.new(model, name="a")
    with sqlite.factory() as session:
        at_hand = session.get(model, one)
        transaction = session.begin_nested() if savepoint else session
        if by == "session":
            session.delete(at_hand)
            session.flush()
        else:
            session.execute(delete(model).where(model.id == one))
        assert at_hand not in session
        transaction.rollback()
        assert at_hand in session
        assert at_hand.deleted_at is None
        at_hand.name = "b"
        session.commit()
    assert sqlite.read(model, one, "name") == "b"
    assert told(sqlite) == ["insert", "update"]


@pytest.mark.asyncio
async def test_under_an_async_session_it_is_the_same(tmp_path: Path) -> None:
    """Objects, statements, queries and times, through the same events."""

    class Base(DeclarativeBase):
        pass

    @timestamps(updated="updated_at", clock=lambda: NOON)
    @soft_delete
    class AwaitedItem(Base):
        __tablename__ = "awaited_items"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(20))
        updated_at = mapped_column(DateTime)
        deleted_at = mapped_column(DateTime)

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'async.sqlite'}")
    factory = async_sessionmaker(engine)
    lifecycle = Lifecycle()
    lifecycle.install(factory)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(lifecycle.metadata.create_all)
    async with factory.begin() as session:
        session.add_all([AwaitedItem(id=1, name="a"), AwaitedItem(id=2, name="b")])
    async with factory.begin() as session:
        await session.delete(await session.get(AwaitedItem, 1))
        await session.execute(delete(AwaitedItem).where(AwaitedItem.name == "b"))
    async with factory() as session:
        assert (await session.scalars(select(AwaitedItem))).all() == []
        kept = (await session.scalars(with_deleted(select(AwaitedItem)))).all()
        assert {one.updated_at for one in kept} == {NOON.replace(tzinfo=None)}
    lifecycle.uninstall(factory)
    await engine.dispose()
    Base.registry.dispose()


def test_what_no_session_would_save_cannot_be_brought_back(sqlite: SqlWorld) -> None:
    """It is said what to do instead; an object that is in a session again can be."""
    model = item(sqlite)
    one = sqlite.new(model, name="a")
    with sqlite.factory() as session:
        at_hand = session.get(model, one)
        session.delete(at_hand)
        with pytest.raises(ConflictError, match=r"about to delete it.*session\.add"):
            undelete(at_hand)
        session.flush()
        with pytest.raises(ConflictError, match=rf"{one} cannot be .* deleted.*with_deleted\("):
            undelete(at_hand)
        session.commit()
        with pytest.raises(ConflictError, match=r"deleted.*with_deleted\("):
            undelete(at_hand)
    found = marked(sqlite, model, one)
    with pytest.raises(ConflictError, match=r"in no session.*session\.add"):
        undelete(found)
    assert sqlite.find(model) == []
    with sqlite.transaction() as session:
        session.add(found)
        assert undelete(found) is found
    assert sqlite.read(model, one, "name") == "a"


def test_an_update_of_a_class_leaves_marked_rows_alone(sql: SqlWorld) -> None:
    """Statements of a class see what queries see."""
    model = item(sql)
    one, other = sql.new(model, name="a"), sql.new(model, name="a")
    remove(sql, model, one)
    with sql.transaction() as session:
        assert session.execute(update(model).values(name="b")).rowcount == 1
    assert marked(sql, model, one).name == "a"
    assert sql.read(model, other, "name") == "b"


# --- what is particular to mongoengine ---


def test_delete_rules_are_followed(documents: DocumentWorld) -> None:
    """CASCADE marks or deletes what refers, DENY refuses; NULLIFY waits for a real delete."""

    @soft_delete
    class RuledOwner(mongoengine.Document):
        name = fields.StringField(primary_key=True)  # nx-27017 counts no ids in a list
        deleted_at = fields.DateTimeField()

    def referring(name: str, rule: int, *decorators: Any) -> Any:
        body = {
            "__module__": __name__,
            "owner": fields.ReferenceField(RuledOwner, reverse_delete_rule=rule),
            "deleted_at": fields.DateTimeField(),
        }
        cls = type(mongoengine.Document)(name, (mongoengine.Document,), body)
        for decorator in decorators:
            cls = decorator(cls)
        return cls

    soft = referring("RuledSoft", mongoengine.CASCADE, soft_delete)
    other = referring("RuledHard", mongoengine.CASCADE)
    weak = referring("RuledWeak", mongoengine.NULLIFY)
    denying = referring("RuledDenying", mongoengine.DENY)
    documents.install()
    owner = RuledOwner(name="a").save()
    for cls in (soft, other, weak):
        cls(owner=owner).save()
    denied = denying(owner=owner).save()
    with pytest.raises(mongoengine.OperationError, match=r"RuledDenying\.owner refers to it"):
        owner.delete()
    denied.delete()
    owner.delete()
    assert [cls.objects.count() for cls in (RuledOwner, soft, other, weak)] == [0, 0, 0, 1]
    assert with_deleted(soft.objects).count() == 1
    assert weak.objects.first().owner == owner
    deleted = {record.entity for record in documents.records() if record.operation == "delete"}
    assert deleted == {"RuledOwner", "RuledSoft", "RuledHard", "RuledDenying"}


def test_a_marked_document_at_hand_can_be_read_and_written(documents: DocumentWorld) -> None:
    """Its own methods find it, as they do any document; queries made meanwhile still do not."""
    model = item(documents)
    one, other = documents.new(model, name="a"), documents.new(model, name="b")
    stale = model.objects.get(id=one)
    documents.delete(documents.one(model, one))
    found = with_deleted(model.objects(id=one)).get()
    documents.edit(model, other, name="c")
    assert found.reload().name == "a"
    assert found.update(set__name="d") == 1
    assert found.reload("name").name == "d"
    assert found.modify(set__name="e") is True
    assert (found.name, stale.reload().deleted_at is None) == ("e", False)
    assert model.objects(id=one).first() is None
    undelete(found).save()
    assert documents.read(model, one, "name") == "e"
    assert told(documents)[-2:] == ["update", "insert"]
    assert differences(documents) == []


def test_modify_marks_what_it_is_to_remove(documents: DocumentWorld) -> None:
    """And returns it as it was, as it does with one that it removes."""
    model = item(documents)
    one, other = documents.new(model, name="a"), documents.new(model, name="b")
    removed = model.objects(name="a").modify(remove=True)
    assert (removed.id, removed.deleted_at) == (one, None)
    assert model.objects(name="a").modify(remove=True) is None
    assert marked(documents, model, one).deleted_at is not None
    with documents.lifecycle.suppressed(audit=False):
        assert model.objects(name="b").modify(False, False, True).id == other
    assert marked(documents, model, other) is None
    assert told(documents)[2:] == ["delete", "delete"]


def test_in_bulk_leaves_out_what_is_marked(documents: DocumentWorld) -> None:
    """mongoengine looks for the identifiers alone there, whatever else is asked."""
    model = item(documents)
    there, gone = (documents.new(model, name=name) for name in "ab")
    documents.delete(documents.one(model, gone))
    assert list(model.objects.in_bulk([there, gone])) == [there]
    assert list(model.objects.only("name").in_bulk((gone,))) == []
    assert set(with_deleted(model.objects).in_bulk([there, gone])) == {there, gone}


def test_querysets_go_on_hiding_however_they_are_chained(documents: DocumentWorld) -> None:
    """Clones, gets, updates and the subclass filter all keep it; uninstalled, all is as it was."""
    model = item(documents)
    one, _ = documents.new(model, name="a"), documents.new(model, name="b")
    remove(documents, model, one)
    assert model.objects.filter(name="a").clone().order_by("name").first() is None
    assert model.objects.no_sub_classes().count() == 1
    assert with_deleted(model.objects).filter(name="a").count() == 1
    assert model.objects(name="a").update(set__name="c") == 0
    with pytest.raises(model.DoesNotExist):
        model.objects.get(id=one)


def test_loaded_objects_can_be_pickled(sqlite: SqlWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that hides others goes along: caches and job queues pickle what was loaded."""
    model = item(sqlite)
    monkeypatch.setitem(globals(), model.__name__, model)
    model.__module__, model.__qualname__ = __name__, model.__name__
    one = sqlite.new(model, name="a")
    with sqlite.factory() as session:
        found = session.scalars(select(model)).one()
        assert inspect(found).load_options
        copy = pickle.loads(pickle.dumps(found))
    assert (copy.id, copy.name) == (one, "a")


def test_queries_that_hide_are_compiled_once(sqlite: SqlWorld) -> None:
    """What hides is part of what SQLAlchemy knows a compiled statement by."""
    model = item(sqlite)
    sqlite.new(model, name="a")
    found = []
    with sqlite.factory() as session:

        @event.listens_for(session.get_bind(), "after_cursor_execute")
        def note(conn: Any, cur: Any, text: str, given: Any, context: Any, many: bool) -> None:
            found.append(context.cache_hit.name)

        for _ in range(2):
            session.scalars(select(model)).one()
    assert found[-1] == "CACHE_HIT"
