"""Who is at which version, and migrating the rest in the background."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import UniqueConstraint

from lifecycle import acting, lazy_migration, migrates, soft_delete
from lifecycle.behaviours.lazy_migration import Save
from lifecycle.behaviours.migrations import Migrations
from lifecycle.errors import ConfigurationError
from tests.behaviours.conftest import DocumentWorld, SqlWorld, World
from tests.behaviours.test_lazy_migration import KINDS, Named, store, stored


@pytest.fixture
def pilgrim(world: World, request: pytest.FixtureRequest) -> Any:
    """A model at version 3."""
    decorator = lazy_migration("version", save=getattr(request, "param", "next write"))
    found = world.model("Pilgrim", decorator, mixin=Named, **KINDS)
    world.install()
    return found


def some(world: World, model: Any) -> list[Any]:
    """Objects of every version."""
    return [
        store(world, model, full="Ann Lee"),
        store(world, model, full="Bo Mo", version=1),
        store(world, model, full="Cy Doe", first="C.", last="Doe", version=2),
        store(world, model, first="Di", last="POE", version=3),
    ]


def test_objects_are_counted_by_version(world: World, pilgrim: Any) -> None:
    """Those without one count for the oldest."""
    assert world.lifecycle.migrations.versions(pilgrim)[0].counts == {}
    some(world, pilgrim)
    store(world, pilgrim, version=4)
    (found,) = world.lifecycle.migrations.versions(pilgrim)
    assert (found.entity, found.field, found.current) == ("Pilgrim", "version", 3)
    assert found.steps == ("split_the_name (1 to 2)", "shout_the_last_name (2 to 3)")
    assert found.counts == {1: 2, 2: 1, 3: 1, 4: 1}
    assert (found.behind, found.ahead) == (3, 1)


@pytest.mark.parametrize("pilgrim", get_args(Save), indirect=True)
def test_a_run_migrates_what_is_behind_and_says_why(world: World, pilgrim: Any) -> None:
    """In the log it is an update like others, with its cause and its reason."""
    ids = some(world, pilgrim)
    ran = world.lifecycle.migrations.run()
    assert (ran.migrated, ran.failed, ran.left) == (3, 0, 0)
    assert [stored(world, pilgrim, one)["last"] for one in ids] == ["LEE", "MO", "DOE", "POE"]
    assert world.lifecycle.migrations.versions(pilgrim)[0].counts == {3: 4}
    records = world.records()
    assert len(records) == 3
    for record in records:
        assert record.cause == "migration"
        assert record.revision.reason == "lazy migration of Pilgrim to version 3"
    assert world.lifecycle.migrations.run().migrated == 0


@pytest.mark.parametrize("pilgrim", get_args(Save), indirect=True)
def test_a_dry_run_takes_the_steps_and_writes_nothing(world: World, pilgrim: Any) -> None:
    """It names fields, and no values."""
    ids = some(world, pilgrim)
    broken = store(world, pilgrim, note="x")
    before = [stored(world, pilgrim, one) for one in ids]
    ran = world.lifecycle.migrations.run(dry_run=True)
    assert (ran.migrated, ran.failed, ran.left) == (3, 1, 4)
    assert ran.examples[0].key == str(ids[0])
    assert ran.examples[0].writes == ("first", "last", "version")
    assert ran.failures[0].key == str(broken)
    assert [stored(world, pilgrim, one) for one in ids] == before
    assert world.records() == []


def test_one_that_fails_with_a_field_that_is_gone_is_told(documents: DocumentWorld) -> None:
    """Though a document could not be made of what is stored of it."""

    def split(data: Any) -> None:
        data["name"] = data.pop("former").upper()

    steps = type("Steps", (), {"split": staticmethod(migrates(from_=1)(split))})
    decorator = lazy_migration("version")
    model = documents.model("Gone", decorator, mixin=steps, name="text", version="number")
    documents.install()
    good, bad = ({"former": one, "version": 1, "_cls": "Gone"} for one in ("a", None))
    ids = model._get_collection().insert_many([bad, good]).inserted_ids
    ran = documents.lifecycle.migrations.run(model)
    assert (ran.migrated, ran.failed, ran.left) == (1, 1, 1)
    assert ran.failures[0].key == str(ids[0])
    assert documents.read(model, ids[1], "name", "version") == ("A", 2)
    assert model._get_collection().find_one({"_id": ids[0]})["version"] == 1


def test_one_that_fails_keeps_no_other_from_being_migrated(world: World, pilgrim: Any) -> None:
    """A step that raises, a hook that vetoes, a database that refuses: told, and left alone."""
    bad = [store(world, pilgrim, note=str(n)) for n in range(2)]
    good = some(world, pilgrim)
    ran = world.lifecycle.migrations.run(chunk=2)
    assert (ran.migrated, ran.failed, ran.left) == (3, 2, 2)
    assert [one.key for one in ran.failures] == [str(one) for one in bad]
    assert "cannot be migrated by split_the_name (1 to 2)" in ran.failures[0].why
    assert [stored(world, pilgrim, one)["version"] for one in bad] == [None, None]
    assert stored(world, pilgrim, good[0])["last"] == "LEE"


def test_what_the_database_refuses_is_told_of_the_object_it_is_about(sqlite_engine: Any) -> None:
    """The others of its transaction are migrated without it."""
    with ExitStack() as after:
        world = SqlWorld(sqlite_engine, after)
        model = world.model("Unique", lazy_migration("version"), mixin=Named, **KINDS)
        model.__table__.append_constraint(UniqueConstraint("last"))
        world.install()
        ids = [store(world, model, full=f"Ann {last}") for last in ("Lee", "Mo", "Lee", "Poe")]
        ran = world.lifecycle.migrations.run()
        assert (ran.migrated, ran.failed, ran.left) == (3, 1, 1)
        assert ran.failures[0].key == str(ids[2])
        assert ran.failures[0].why == f"Unique {ids[2]} was refused: IntegrityError"
        assert [stored(world, model, one)["last"] for one in ids] == ["LEE", "MO", None, "POE"]


def test_a_run_can_be_limited_and_goes_on_where_it_ended(world: World, pilgrim: Any) -> None:
    """What is done is done; the versions themselves say what is left."""
    for _ in range(5):
        store(world, pilgrim, full="Ann Lee")
    told: list[int] = []
    ran = world.lifecycle.migrations.run(limit=3, chunk=2, progress=told.append)
    assert (ran.migrated, ran.left, told) == (3, 2, [2, 1])
    assert world.lifecycle.migrations.run(chunk=2).migrated == 2


def test_a_run_that_is_interrupted_loses_nothing(world: World, pilgrim: Any) -> None:
    """Portions before are committed, the one it was at is done or not."""
    for _ in range(5):
        store(world, pilgrim, full="Ann Lee")

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.lifecycle.migrations.run(chunk=2, progress=stop)
    assert world.lifecycle.migrations.versions(pilgrim)[0].counts == {1: 3, 3: 2}
    assert world.lifecycle.migrations.run().migrated == 3


def test_the_rate_is_kept_on_the_whole(world: World, pilgrim: Any) -> None:
    """It waits for as long as it is too early, and takes no more than a second's at a time."""
    for _ in range(5):
        store(world, pilgrim, full="Ann Lee")
    now = [0.0]
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    migrations = Migrations(world.lifecycle._adapters, clock=lambda: now[0], wait=wait)
    assert migrations.run(rate=2).migrated == 5
    assert waits == [1.0, 1.0, 0.5]


def test_what_cannot_be_run_is_an_error(world: World, pilgrim: Any) -> None:
    """Numbers that are none, and models without steps."""
    for options in ({"rate": 0}, {"limit": -1}, {"chunk": 0}):
        with pytest.raises(ConfigurationError, match="above zero"):
            world.lifecycle.migrations.run(**options)
    with pytest.raises(
        ConfigurationError, match=r"Named has no lazy migration of its own: .*Pilgrim"
    ):
        world.lifecycle.migrations.versions(Named)
    with pytest.raises(ConfigurationError, match=r"'No' has no lazy migration: .*Pilgrim"):
        world.lifecycle.migrations.model("No")


def test_somebody_elses_reason_is_kept(world: World, pilgrim: Any) -> None:
    """It says more than that it was a migration."""
    some(world, pilgrim)
    with acting("ops", reason="release 7"):
        world.lifecycle.migrations.run()
    assert {one.revision.reason for one in world.records()} == {"release 7"}


OPERATIONS = ("load", "edit first", "edit note", "edit both", "run", "limited run", "reset")


@pytest.mark.parametrize("place", ["sqlite", "mongo"])
@settings(
    max_examples=25,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    versions=st.lists(st.sampled_from([None, 1, 2, 3]), min_size=1, max_size=4),
    acts=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 3), st.sampled_from("xyz")),
        max_size=8,
    ),
)
def test_any_order_comes_to_what_migrating_all_at_once_comes_to(
    request: pytest.FixtureRequest, place: str, versions: list[int | None], acts: list[Any]
) -> None:
    """Objects of any versions, loaded, changed and migrated in any order; the log replays to it."""
    database = request.getfixturevalue("mongo" if place == "mongo" else "sqlite_engine")
    with ExitStack() as after:
        world: World = DocumentWorld(after) if place == "mongo" else SqlWorld(database, after)
        model = world.model("Tramp", lazy_migration("version"), mixin=Named, **KINDS)
        world.install()
        ids, expected = [], []
        for version in versions:
            values: dict[str, Any] = {"full": "Ann Lee", "version": version}
            if version is not None and version > 1:
                values |= {"first": "A", "last": "L"}
            ids.append(world.new(model, **values))  # recorded, for the log to replay
            if version is None:
                unversioned(world, model, ids[-1])
            expected.append(migrated(values))
        for act, n, text in acts:
            at = n % len(ids)
            if act == "load":
                world.read(model, ids[at], "first")
            elif act == "run":
                world.lifecycle.migrations.run()
            elif act == "limited run":
                world.lifecycle.migrations.run(limit=1, chunk=1)
            elif act.startswith("edit"):
                changes = {
                    "edit first": {"first": text},
                    "edit note": {"note": text},
                    "edit both": {"first": text, "note": text},
                }[act]
                world.edit(model, ids[at], **changes)
                expected[at] |= changes
            else:
                world.edit(model, ids[at], first=None)
                expected[at]["first"] = None
        world.lifecycle.migrations.run()
        assert [stored(world, model, one) for one in ids] == expected
        for one, state in zip(ids, expected, strict=True):
            logged = world.lifecycle.history.as_of(
                model, one, world.lifecycle.history.of(model, one).__next__()
            ).values
            assert {name: logged.get(name) for name in KINDS} == state
        clear(world, model)


def unversioned(world: World, model: Any, identifier: Any) -> None:
    """Let an object be as one from before there were versions."""
    with world.lifecycle.suppressed(hooks=True, audit=False):
        world.edit(model, identifier, version=None)


def migrated(values: dict[str, Any]) -> dict[str, Any]:
    """What the steps make of an object."""
    found = dict.fromkeys(KINDS) | values
    if found["version"] in (None, 1):
        found["first"], _, found["last"] = found["full"].partition(" ")
    if found["version"] != 3:
        found["last"] = found["last"].upper()
    return found | {"version": 3}


def clear(world: World, model: Any) -> None:
    """Leave nothing for the next example."""
    if isinstance(world, SqlWorld):
        world.base.metadata.drop_all(world.engine)
        world.lifecycle.metadata.drop_all(world.engine)
    else:
        model.drop_collection()


def test_a_model_of_another_database_is_told_of(rows_elsewhere: SqlWorld) -> None:
    """It is left out, unless it is asked for."""
    world = rows_elsewhere
    model = world.model("Absent", lazy_migration("version"), mixin=Named, **KINDS)
    world.install()
    model.__table__.drop(world.engine)
    assert "Absent" in world.lifecycle.migrations.elsewhere()
    assert world.lifecycle.migrations.versions() == []
    assert world.lifecycle.migrations.run().migrated == 0


@pytest.fixture
def rows_elsewhere(sqlite_engine: Any) -> Iterator[SqlWorld]:
    """An application on one database."""
    with ExitStack() as after:
        yield SqlWorld(sqlite_engine, after)


def test_what_is_marked_as_deleted_is_migrated_too(world: World) -> None:
    """It may be brought back when its steps are gone."""
    kinds = {**KINDS, "deleted_at": "time"}
    model = world.model("Ghost", soft_delete, lazy_migration("version"), mixin=Named, **kinds)
    world.install()
    ann = store(world, model, full="Ann Lee")
    with world.transaction():
        world.delete(world.one(model, ann))
    assert world.find(model) == []
    assert world.lifecycle.migrations.versions()[0].behind == 1
    assert world.lifecycle.migrations.run().migrated == 1
    assert stored(world, model, ann)["last"] == "LEE"
    assert world.find(model) == []
