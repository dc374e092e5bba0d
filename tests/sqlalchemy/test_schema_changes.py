"""Columns renamed, retyped, dropped and added by a migration: the log before it stays readable."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from lifecycle import ABSENT, Change, Lifecycle, acting, audited
from lifecycle.errors import RestoreConflict


def older_model(base: Any) -> Any:
    @audited(entity="moved.Thing", label="title")
    class MovedThing(base):
        __tablename__ = "moved_thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str | None] = mapped_column(String(50))
        size: Mapped[int | None]
        fax: Mapped[str | None] = mapped_column(String(50))
        kept: Mapped[int | None]

    return MovedThing


def newer_model(base: Any) -> Any:
    @audited(entity="moved.Thing", label="name")
    class MovedThing(base):
        __tablename__ = "moved_thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(50))  # it was called title
        size: Mapped[str | None] = mapped_column(String(50))  # it was a number
        kept: Mapped[int | None]
        added: Mapped[str | None] = mapped_column(String(50))

    return MovedThing


RETYPED = {
    "sqlite": [
        "ALTER TABLE moved_thing RENAME COLUMN size TO old_size",
        "ALTER TABLE moved_thing ADD COLUMN size VARCHAR(50)",
        "UPDATE moved_thing SET size = CAST(old_size AS VARCHAR(50))",
        "ALTER TABLE moved_thing DROP COLUMN old_size",
    ],
    "postgresql": ["ALTER TABLE moved_thing ALTER COLUMN size TYPE VARCHAR(50)"],
    "mysql": ["ALTER TABLE moved_thing MODIFY COLUMN size VARCHAR(50)"],
}


class Moved:
    """What was recorded before a migration, and asked for after it."""

    def __init__(self, engine: Engine, lifecycle: Lifecycle, model: Any) -> None:
        self.lifecycle, self.model, self.engine = lifecycle, model, engine
        self.history, self.restore = lifecycle.history, lifecycle.restore


@pytest.fixture
def moved(engine: Engine) -> Iterator[Moved]:
    """Two transactions under the old schema, a migration in SQL, and one under the new."""
    gc.collect()
    gc.collect()

    class Old(DeclarativeBase):
        pass

    class New(DeclarativeBase):
        pass

    factory = sessionmaker(engine)
    before = older_model(Old)
    Old.metadata.create_all(engine)
    lifecycle = Lifecycle()
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    with acting("ann"), factory.begin() as session:
        session.add(before(id=1, title="a", size=1, fax="f", kept=1))
        session.add(before(id=2, title="gone", size=7, fax="g", kept=7))
    with acting("bob"), factory.begin() as session:
        one = session.get(before, 1)
        one.title, one.size, one.fax, one.kept = "b", 2, "h", 2
        session.delete(session.get(before, 2))
    lifecycle.uninstall(factory)
    Old.registry.dispose()
    del before, one, session
    gc.collect()

    with engine.begin() as connection:
        for statement in (
            "ALTER TABLE moved_thing RENAME COLUMN title TO name",
            "ALTER TABLE moved_thing DROP COLUMN fax",
            "ALTER TABLE moved_thing ADD COLUMN added VARCHAR(50)",
            *RETYPED[engine.dialect.name],
        ):
            connection.execute(text(statement))
    after = newer_model(New)
    lifecycle = Lifecycle()
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    yield Moved(engine, lifecycle, after)
    lifecycle.uninstall(factory)
    New.registry.dispose()


def test_history_and_states_are_told_under_the_names_of_their_time(moved: Moved) -> None:
    """Records, fields over time, states and comparisons, with the values and types they had."""
    history = moved.history
    update, insert = history.of(moved.model, 1)
    assert (insert.label, insert.changes["fax"].new, insert.changes["size"].new) == ("a", "f", 1)
    assert update.changes["title"] == Change("a", "b")
    assert [one.value for one in history.field(moved.model, 1, "fax")] == ["h", "f"]
    assert [one.value for one in history.field(moved.model, 1, "title")] == ["b", "a"]

    then = history.as_of(moved.model, 1, insert)
    assert then is not None
    assert dict(then.values) == {"id": 1, "title": "a", "size": 1, "fax": "f", "kept": 1}
    assert history.snapshot(moved.model)["1"].values["fax"] == "h"
    compared = history.compare(moved.model, 1, old=insert)
    assert compared["fax"] == Change("f", "h")
    actors = [one.revision.actor for one in history.find(moved.model, field="fax")]
    assert sorted(actors) == ["ann", "ann", "bob", "bob"]


def test_changes_after_the_migration_go_on_from_there(moved: Moved) -> None:
    """The field's new name begins with the first change under it."""
    Session = sessionmaker(moved.engine)
    moved.lifecycle.install(Session)
    try:
        with Session.begin() as session:
            session.get(moved.model, 1).name = "c"
    finally:
        moved.lifecycle.uninstall(Session)
    newest = next(iter(moved.history.of(moved.model, 1)))
    assert newest.changes["name"] == Change("b", "c")
    now = moved.history.as_of(moved.model, 1, newest)
    assert now is not None
    assert (now["name"], now["title"], now["fax"]) == ("c", "b", "h")
    assert [one.value for one in moved.history.field(moved.model, 1, "name")] == ["c"]


def test_a_restore_names_each_column_that_is_in_its_way(moved: Moved) -> None:
    """Renamed and dropped ones by name; the others can be put back without them."""
    update, insert = moved.history.of(moved.model, 1)
    preview = moved.restore.preview(undo=update)
    found = {one.field: (one.kind, one.message) for one in preview.conflicts}
    assert found["fax"] == ("dropped", "the model has no fax any more")
    assert found["title"] == ("dropped", "the model has no title any more")
    assert found["size"][0] == "changed"
    assert found["size"][1].endswith("by a write that the log does not have: it is '2', not 2")
    with pytest.raises(RestoreConflict, match="no fax any more"):
        moved.restore.undo(update)

    assert moved.restore.undo(update, fields={"kept"})
    assert {one.field for one in moved.restore.preview(to=insert).conflicts} == {"fax", "title"}
    gone = moved.restore.preview(undelete=(moved.model, 2))
    assert {one.field for one in gone.conflicts} == {"fax", "title"}


def test_undo_of_an_insert_sees_changes_of_columns_that_came_later(moved: Moved) -> None:
    """A change that was taken back is none, and what the log has no change of is not in the way."""
    *_, insert = moved.history.of(moved.model, 1)
    Session = sessionmaker(moved.engine)
    moved.lifecycle.install(Session)

    def in_the_way() -> set[str | None]:
        return {one.field for one in moved.restore.preview(undo=insert).conflicts}

    try:
        assert "added" not in in_the_way()
        with acting("cyd"), Session.begin() as session:
            session.get_one(moved.model, 1).added = "x"
        assert "added" in in_the_way()
        assert "added was changed again since, by cyd at" in str(moved.restore.preview(undo=insert))
        with Session.begin() as session:
            session.get_one(moved.model, 1).added = None
        assert "added" not in in_the_way()
    finally:
        moved.lifecycle.uninstall(Session)


def test_the_comparison_counts_what_the_migration_wrote_and_no_more(moved: Moved) -> None:
    """The renamed column is new to the log until it is recorded; added and retyped ones are not."""
    found = moved.lifecycle.evidence.compare(record=True)
    assert [str(one) for one in found.differences] == ["altered past the log: moved.Thing 1: name"]
    assert moved.lifecycle.evidence.compare().agrees
    newest = next(iter(moved.history.of(moved.model, 1)))
    assert newest.changes["name"] == Change(ABSENT, "b")
