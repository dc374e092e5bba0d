"""Writes that a save brings about: the log has them in the order in which they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mongoengine
import pytest
from mongoengine import fields, signals
from pymongo.database import Database

from lifecycle import Lifecycle, Operation, audited, post_persist
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import RecordingError
from lifecycle.markers import ABSENT


class Ticket(mongoengine.Document):
    name = fields.StringField()
    number = fields.IntField()
    follows = fields.ReferenceField("self")


@audited(label=lambda seat: f"seat {seat.id}")
class Seat(mongoengine.Document):
    name = fields.StringField()


@pytest.fixture(params=["fast", "intent"])
def lifecycle(request: pytest.FixtureRequest, mongo: object) -> Iterator[Lifecycle]:
    """Installed, with the log told of each write beforehand or not."""
    lifecycle = Lifecycle(store=MemoryStore(), durability=request.param)
    lifecycle.install(mongoengine)
    yield lifecycle
    lifecycle.uninstall(mongoengine)


def save_again(ticket: Any) -> None:
    ticket.number = 5
    ticket.save()


def update(ticket: Any) -> None:
    ticket.update(set__number=5)


def update_in_bulk(ticket: Any) -> None:
    Ticket.objects(pk=ticket.pk).update(set__number=5)


@pytest.mark.parametrize("write", [save_again, update, update_in_bulk])
def test_what_a_handler_writes_after_a_save_comes_after_it(
    lifecycle: Lifecycle, records: Any, write: Callable[[Any], None]
) -> None:
    """Of mongoengine's own signal."""

    def number(sender: object, document: Any, **kwargs: object) -> None:
        if document.number is None:
            write(document)

    with signals.post_save.connected_to(number, sender=Ticket):
        Ticket(name="a").save()
    told = [(record.operation, dict(record.changes).get("number")) for record in records()]
    assert [operation for operation, _ in told] == ["insert", "update"]
    assert told[1][1].old is ABSENT
    assert told[1][1].new == 5


def test_what_a_hook_writes_after_a_save_comes_after_it(lifecycle: Lifecycle, records: Any) -> None:
    """Of the moment at which it is written."""

    @lifecycle.subscribe
    @post_persist(Ticket)
    def number(event: Any) -> None:
        save_again(event.instance)

    Ticket(name="a").save()
    assert [record.operation for record in records()] == ["insert", "update"]


def test_what_a_cascade_writes_comes_after_what_it_follows(
    lifecycle: Lifecycle, records: Any, mongo: Database[Any]
) -> None:
    """Even of the same document, which is two in memory."""
    first = Ticket(name="a").save()
    second = Ticket(name="b", follows=first).save()
    first.follows = second
    first.save()
    first = Ticket.objects.get(name="a")
    first.name, first.follows.name, first.follows.follows.name = "A", "B", "AA"
    records()
    first.save(cascade=True)
    assert mongo["ticket"].find_one({"_id": first.id})["name"] == "AA"
    assert [record.changes.new("name") for record in records()] == ["A", "B", "AA"]


def test_what_a_handler_inserts_after_a_delete_comes_after_it(
    lifecycle: Lifecycle, records: Any
) -> None:
    """Under the same key."""

    def insert(sender: object, document: Any, **kwargs: object) -> None:
        Ticket(id=document.id, name="b").save()

    ticket = Ticket(name="a").save()
    with signals.post_delete.connected_to(insert, sender=Ticket):
        ticket.delete()
    assert [record.operation for record in records()] == [
        Operation.INSERT,
        Operation.DELETE,
        Operation.INSERT,
    ]


def test_a_label_may_tell_the_key_that_the_insert_gives(lifecycle: Lifecycle, records: Any) -> None:
    """Which the document has not yet, while it is recorded."""
    seat = Seat(name="a").save()
    assert [record.label for record in records()] == [f"seat {seat.id}"]


def test_a_store_that_fails_does_not_keep_mongoengine_from_ending_its_save(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document knows that it is written, and is not inserted again by another save."""

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    ticket = Ticket(name="a")
    with monkeypatch.context() as patched:
        patched.setattr(lifecycle.store, "append", fail)
        patched.setattr(lifecycle.store, "confirm", fail)
        with pytest.raises(RecordingError, match="has been written"):
            ticket.save()
    ticket.name = "b"
    ticket.save()
    assert [one.name for one in Ticket.objects] == ["b"]
