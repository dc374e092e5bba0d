"""The moments of a document's write as a flush, late hooks, and after the transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import mongoengine
import pytest
from mongoengine import fields, signals
from pymongo.database import Database

from lifecycle import (
    ABSENT,
    UNKNOWN,
    Change,
    Lifecycle,
    Veto,
    on_flush,
    post_commit,
    post_flush,
    post_persist,
    post_remove,
    post_rollback,
    post_update,
    pre_flush,
    pre_persist,
    pre_remove,
    pre_update,
)
from lifecycle.audit.stores.memory import MemoryStore


class Crate(mongoengine.EmbeddedDocument):
    weight = fields.IntField(db_field="w")


class Cargo(mongoengine.Document):
    name = fields.StringField(db_field="n", required=True)
    slug = fields.StringField()
    count = fields.IntField()
    crate = fields.EmbeddedDocumentField(Crate, db_field="c")
    tags = fields.ListField(fields.StringField())
    owner = fields.ReferenceField("Cargo")

    def clean(self) -> None:
        if self.name:
            self.slug = self.name.lower()


class Serial(mongoengine.Document):
    number = fields.SequenceField(primary_key=True, collection_name="counters")
    counter = fields.SequenceField(collection_name="counters")
    name = fields.StringField()


class Stop(Exception):
    """Leaves a transaction without commit."""


@contextmanager
def transaction(mongo: Database[Any], *, undone: bool = False) -> Iterator[None]:
    """A transaction that everything inside belongs to."""
    with (
        suppress(Stop),
        mongo.client.start_session() as session,
        session.bind(end_session=False),
        session.start_transaction(),
    ):
        yield
        if undone:
            raise Stop


# --- flushes --------------------------------------------------------------------------------


class Flushes:
    """Notes every moment of a write, those of the whole with their changesets."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    @pre_flush
    @on_flush
    @post_flush
    def of_flush(self, event: Any) -> None:
        assert event.session is None
        self.told.append((str(event.moment), [str(one.operation) for one in event.changesets]))

    @pre_persist(Cargo)
    @pre_update(Cargo)
    @pre_remove(Cargo)
    @post_persist(Cargo)
    @post_update(Cargo)
    @post_remove(Cargo)
    @post_commit(Cargo)
    @post_rollback(Cargo)
    def of_object(self, event: Any) -> None:
        self.told.append(str(event.moment))


def renamed(cargo: Cargo) -> Cargo:
    cargo.name = "b"
    return cargo


@pytest.mark.parametrize(
    ("write", "before", "operation", "after"),
    [
        (lambda cargo: Cargo(name="b").save(), "pre_persist", "insert", "post_persist"),
        (
            lambda cargo: setattr(cargo, "name", "b") or cargo.save(),
            "pre_update",
            "update",
            "post_update",
        ),
        (lambda cargo: cargo.delete(), "pre_remove", "delete", "post_remove"),
    ],
)
def test_a_write_of_a_document_is_a_flush_of_its_own(
    lifecycle: Lifecycle, write: Any, before: str, operation: str, after: str
) -> None:
    """Its moments come in the order of a flush, and the commit right after."""
    cargo = Cargo(name="a").save()
    notes = lifecycle.subscribe(Flushes())
    write(cargo)
    late = [] if operation == "delete" else [before]  # clean() sets the slug
    assert notes.told == [
        ("pre_flush", []),
        before,
        ("on_flush", [operation]),
        *late,
        after,
        ("post_flush", [operation]),
        "post_commit",
    ]


def test_a_flush_tells_which_document_is_written(lifecycle: Lifecycle) -> None:
    """A pre_flush hook can still do anything to it."""
    documents: list[Any] = []

    @lifecycle.subscribe
    @pre_flush
    def note(event: Any) -> None:
        documents.append(event.document)
        event.document.count = 7

    cargo = Cargo(name="a").save()
    assert documents == [cargo]
    assert Cargo.objects.get().count == 7


def test_a_save_that_changes_nothing_is_a_flush_without_changes(lifecycle: Lifecycle) -> None:
    """As on SQLAlchemy, where a session may turn out to have nothing to write."""
    cargo = Cargo(name="a").save()
    notes = lifecycle.subscribe(Flushes())
    cargo.save()
    assert notes.told == [("pre_flush", []), ("on_flush", []), ("post_flush", [])]


@pytest.mark.parametrize("moment", [pre_flush, on_flush])
def test_a_flush_can_be_refused(lifecycle: Lifecycle, records: Any, moment: Any) -> None:
    """Nothing is written, and the document keeps its changes."""
    cargo = Cargo(name="a").save()
    records()

    @lifecycle.subscribe
    @moment
    def refuse(event: Any) -> None:
        raise Veto("not today")

    cargo.count = 1
    with pytest.raises(Veto, match="not today"):
        cargo.save()
    assert cargo._get_changed_fields() == ["count"]
    assert Cargo.objects.get().count is None
    assert records() == []


def test_what_is_done_at_on_flush_is_saved_and_no_hook_is_called_again(
    lifecycle: Lifecycle,
) -> None:
    """It is validated like what any hook does before the write."""
    calls: list[str] = []

    @lifecycle.subscribe
    @pre_update(Serial)
    def hook(event: Any) -> None:
        calls.append("pre_update")

    @lifecycle.subscribe
    @on_flush
    def more(event: Any) -> None:
        event.document.name += "!"

    serial = Serial(name="a").save()
    serial.name = "b"
    serial.save()
    assert calls == ["pre_update"]
    assert Serial.objects.get().name == "b!"


# --- late hooks -----------------------------------------------------------------------------


def test_what_clean_sets_is_shown_late(lifecycle: Lifecycle, records: Any) -> None:
    """To the hooks that have not seen it; what they set then is saved."""
    seen: list[Any] = []

    @lifecycle.subscribe
    @pre_persist(Cargo, when="slug")
    @pre_update(Cargo, when="slug")
    def hook(event: Any) -> None:
        seen.append((event.late, event.changes.new("slug")))
        event.changes.set("count", len(seen))

    cargo = Cargo(name="A").save()
    cargo.name = "B"
    cargo.save()
    assert seen == [(True, "a"), (True, "b")]
    assert Cargo.objects.get().count == 2
    assert [record.changes.new("count") for record in records()] == [1, 2]


def test_what_handlers_of_mongoengine_signals_set_is_shown_late(lifecycle: Lifecycle) -> None:
    """Also those that run after validation."""
    seen: list[Any] = []

    @lifecycle.subscribe
    @pre_persist(Serial, when="name")
    def hook(event: Any) -> None:
        seen.append((event.late, event.changes.new("name")))

    def stamp(sender: Any, document: Any, **kwargs: Any) -> None:
        document.name = "stamped"

    with signals.pre_save_post_validation.connected_to(stamp, sender=Serial):
        Serial().save()
    assert seen == [(True, "stamped")]


def test_a_late_hook_can_refuse(lifecycle: Lifecycle, records: Any) -> None:
    """Nothing has been written yet."""

    @lifecycle.subscribe
    @pre_persist(Cargo, when="slug", becomes="admin")
    def refuse(event: Any) -> None:
        event.veto("reserved")

    with pytest.raises(Veto, match="reserved"):
        Cargo(name="Admin").save()
    assert Cargo.objects.count() == 0
    assert records() == []


def test_generated_numbers_are_no_reason_to_call_a_hook_again(lifecycle: Lifecycle) -> None:
    """mongoengine makes them between the hooks and the write."""
    calls: list[Any] = []

    @lifecycle.subscribe
    @pre_persist(Serial)
    def hook(event: Any) -> None:
        calls.append(event.late)

    Serial(name="a").save()
    assert calls == [False]


# --- after the transaction ------------------------------------------------------------------


class After:
    """Notes what is told when it is known whether a write stays."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    @post_commit(Cargo)
    @post_rollback(Cargo)
    def note(self, event: Any) -> None:
        changes = dict(event.changes)
        self.events.append((str(event.moment), str(event.operation), event.key, changes))


@pytest.fixture
def after(lifecycle: Lifecycle) -> After:
    return lifecycle.subscribe(After())


def test_outside_of_a_transaction_a_write_is_committed_at_once(after: After) -> None:
    """One event for each write."""
    cargo = Cargo(name="a").save()
    cargo.count = 1
    cargo.save()
    cargo.delete()
    assert [one[:3] for one in after.events] == [
        ("post_commit", operation, str(cargo.id)) for operation in ("insert", "update", "delete")
    ]
    assert after.events[1][3] == {"count": Change(None, 1)}


def test_the_record_is_there_when_post_commit_runs(lifecycle: Lifecycle) -> None:
    """A hook can look into the history."""
    found: list[int] = []

    @lifecycle.subscribe
    @post_commit(Cargo)
    def look(event: Any) -> None:
        found.append(len(list(lifecycle.history.of(event.instance))))

    Cargo(name="a").save()
    assert found == [1]


def test_the_record_is_there_too_when_a_transaction_is_committed(
    lifecycle: Lifecycle, mongo: Database[Any]
) -> None:
    """Though this log is not in the same database, and is written after the commit."""
    found: list[int] = []

    @lifecycle.subscribe
    @post_commit(Cargo)
    def look(event: Any) -> None:
        found.append(len(list(lifecycle.history.of(event.instance))))

    with transaction(mongo):
        Cargo(name="a").save()
    assert found == [1]


def test_writes_of_a_document_by_other_methods_are_committed_alike(
    mongo: Database[Any], after: After
) -> None:
    """update(), modify() and insert(); outside of a transaction, and in one."""
    (one,) = Cargo.objects.insert([Cargo(name="a", count=1)])
    one.update(set__count=2)
    one.modify(set__count=3)
    assert [one[:2] for one in after.events] == [
        ("post_commit", "insert"),
        ("post_commit", "update"),
        ("post_commit", "update"),
    ]
    after.events.clear()
    with transaction(mongo):
        one.update(set__count=4)
        one.modify(set__count=5)
        assert after.events == []
    assert after.events == [("post_commit", "update", str(one.id), {"count": Change(3, 5)})]


def test_in_a_transaction_the_hooks_wait_for_the_commit(mongo: Database[Any], after: After) -> None:
    """One event for each document, with what changed from before the transaction to its end."""
    one = Cargo(name="one", count=1, crate=Crate(weight=1)).save()
    after.events.clear()
    with transaction(mongo):
        one.count = 2
        one.save()
        one.count = 3
        one.crate.weight = 2
        one.save()
        two = Cargo(name="two").save()
        two.count = 5
        two.save()
        gone = Cargo(name="gone").save()
        gone.delete()
        back = Cargo.objects.get(id=one.id)
        back.tags.append("x")
        back.save()
        assert after.events == []
    assert after.events == [
        (
            "post_commit",
            "insert",
            str(two.id),
            {
                "id": Change(ABSENT, two.id),
                "name": Change(ABSENT, "two"),
                "slug": Change(ABSENT, "two"),
                "count": Change(ABSENT, 5),
                "tags": Change(ABSENT, []),
            },
        ),
        (
            "post_commit",
            "update",
            str(one.id),
            {
                "count": Change(1, 3),
                "crate.weight": Change(1, 2),
                "tags": Change([], ["x"]),
            },
        ),
    ]


def test_a_transaction_that_is_rolled_back_tells_what_was_undone(
    mongo: Database[Any], after: After
) -> None:
    """And the next one starts afresh."""
    cargo = Cargo(name="a", count=1).save()
    after.events.clear()
    with transaction(mongo, undone=True):
        cargo.count = 2
        cargo.save()
    assert after.events == [("post_rollback", "update", str(cargo.id), {"count": Change(1, 2)})]
    after.events.clear()
    with transaction(mongo):
        cargo.count = 3
        cargo.save()
    assert after.events == [("post_commit", "update", str(cargo.id), {"count": Change(UNKNOWN, 3)})]


def test_writes_that_do_not_follow_from_each_other_are_told_one_by_one(
    mongo: Database[Any], after: After
) -> None:
    """When something between them went past all hooks."""
    with transaction(mongo):
        cargo = Cargo(name="a").save()
        mongo["cargo"].delete_many({})
        cargo.save(force_insert=True)
    assert [one[:2] for one in after.events] == [("post_commit", "insert")] * 2


def test_errors_after_the_commit_are_logged_and_isolated(
    lifecycle: Lifecycle, after: After, caplog: pytest.LogCaptureFixture
) -> None:
    """The write stands, and the other hooks run."""

    @lifecycle.subscribe
    @post_commit(Cargo, priority=1)
    def broken(event: Any) -> None:
        raise LookupError("no mail today")

    with caplog.at_level(logging.ERROR, "lifecycle"):
        Cargo(name="a").save()
    assert "broken failed at post_commit of Cargo" in caplog.text
    assert len(after.events) == 1


@pytest.fixture
def raising(mongo: object) -> Iterator[Lifecycle]:
    """A Lifecycle that raises what hooks raise after a commit, and a hook that does."""
    lifecycle = Lifecycle(store=MemoryStore(), after_commit="raise")

    @lifecycle.subscribe
    @post_commit(Cargo)
    @post_rollback(Cargo)
    def broken(event: Any) -> None:
        raise LookupError("no mail today")

    lifecycle.install(Cargo)
    yield lifecycle
    lifecycle.uninstall(Cargo)


def test_errors_after_the_commit_are_raised_in_a_group_when_asked_for(
    raising: Lifecycle, mongo: Database[Any]
) -> None:
    """By the save outside of a transaction, by the commit in one; those of a rollback never."""
    with pytest.raises(ExceptionGroup, match="the commit, which stands"):
        Cargo(name="a").save()

    def commit() -> None:
        with transaction(mongo):
            Cargo(name="b").save()
            Cargo(name="c").save()

    with pytest.raises(ExceptionGroup) as raised:
        commit()
    assert len(raised.value.exceptions) == 2
    with transaction(mongo, undone=True):
        Cargo(name="d").save()
    assert Cargo.objects.count() == 3


def test_what_was_written_is_told_even_if_the_save_then_fails(
    raising: Lifecycle, after: After
) -> None:
    """The error of the save comes through, not that of the hooks after it."""

    def fail(sender: object, **kwargs: object) -> None:
        raise ValueError("a handler of post_save")

    with signals.post_save.connected_to(fail), pytest.raises(ValueError, match="a handler"):
        Cargo(name="a").save()
    assert [one[:2] for one in after.events] == [("post_commit", "insert")]


def test_what_was_not_written_is_not_told(after: After) -> None:
    """Invalid, unchanged, or gone already."""
    with pytest.raises(mongoengine.ValidationError):
        Cargo().save()
    cargo = Cargo(name="a").save()
    after.events.clear()
    cargo.save()
    Cargo.objects.get().delete()
    after.events.clear()
    cargo.delete()
    assert after.events == []


# --- switched off ---------------------------------------------------------------------------


def test_hooks_and_log_can_be_switched_off(
    mongo: Database[Any], lifecycle: Lifecycle, records: Any
) -> None:
    """Either, or both; what was not recorded is told by no later record either."""
    notes = lifecycle.subscribe(Flushes())
    with lifecycle.suppressed(audit=False):
        cargo = Cargo(name="a").save()
        with transaction(mongo):
            Cargo(name="b").save()
    assert notes.told == []
    assert len(records()) == 2
    with lifecycle.suppressed(hooks=False):
        cargo.count = 1
        cargo.save()
        Cargo.objects(name="nobody").update(set__count=2)
    assert "post_commit" in notes.told
    assert records() == []
    cargo.count = 2
    cargo.save()
    assert [dict(record.changes) for record in records()] == [{"count": Change(1, 2)}]
