"""Writes past save with a document at hand: update, modify, insert, and embedded lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mongoengine
import pytest
from mongoengine import fields, signals

from lifecycle import (
    ABSENT,
    UNKNOWN,
    Change,
    Lifecycle,
    Veto,
    post_commit,
    post_persist,
    post_update,
    pre_persist,
    pre_update,
)


class Row(mongoengine.EmbeddedDocument):
    qty = fields.IntField(db_field="q")


class Sale(mongoengine.Document):
    name = fields.StringField(db_field="n", unique=True, sparse=True)
    size = fields.IntField(db_field="s")
    rows = fields.EmbeddedDocumentListField(Row)
    main = fields.EmbeddedDocumentField(Row, db_field="m")
    told: list[tuple[str, str, dict[str, Any]]] = []
    hook: Any = None

    @pre_persist
    @pre_update
    def before(self, event: Any) -> None:
        self.tell(event)
        if Sale.hook is not None:
            Sale.hook(event)

    @post_persist
    @post_update
    @post_commit
    def after(self, event: Any) -> None:
        self.tell(event)

    def tell(self, event: Any) -> None:
        Sale.told.append((str(event.moment), str(event.operation), dict(event.changes)))


@pytest.fixture
def sale(lifecycle: Lifecycle, records: Any) -> Iterator[Sale]:
    """One that is stored, and whose hooks have told nothing yet."""
    sale = Sale(name="x", size=1, main=Row(qty=1)).save()
    Sale.told, Sale.hook = [], None
    records()
    yield sale
    Sale.hook = None


def changes(records: Any) -> list[dict[str, Any]]:
    return [dict(one.changes) for one in records()]


@pytest.mark.parametrize("method", ["update", "modify"])
def test_hooks_run_around_the_update_of_a_document(sale: Sale, records: Any, method: str) -> None:
    """With what is going to change, and with what changed."""
    assert getattr(sale, method)(set__size=5)
    change = {"size": Change(1, 5)}
    moments = ["pre_update", "post_update", "post_commit"]
    assert Sale.told == [(moment, "update", change) for moment in moments]
    assert changes(records) == [change]


def test_what_only_the_server_can_work_out_is_unknown_before(sale: Sale, records: Any) -> None:
    """After it, it is known."""
    sale.update(inc__size=5, set__main__qty=2)
    before, after, _ = (told[2] for told in Sale.told)
    assert before == {"size": Change(1, UNKNOWN), "main": Change({"qty": 1}, UNKNOWN)}
    assert after == {"size": Change(1, 6), "main.qty": Change(1, 2)}


def test_a_path_that_is_set_is_known_before(sale: Sale) -> None:
    """Of an embedded document."""
    sale.update(set__main__qty=2)
    assert Sale.told[0][2] == {"main.qty": Change(1, 2)}


def test_a_hook_may_change_what_is_written(sale: Sale, records: Any) -> None:
    """It sets a field, whatever the update did to it."""

    def double(event: Any) -> None:
        if event.changes.new("size") != 10:
            event.changes.set("size", 10)

    Sale.hook = double
    sale.update(inc__size=5)
    assert Sale.objects.get().size == 10
    assert changes(records) == [{"size": Change(1, 10)}]


def test_a_hook_cannot_set_what_is_no_field(sale: Sale) -> None:
    """The error names the fields there are."""
    Sale.hook = lambda event: event.changes.set("color", 1)
    with pytest.raises(LookupError, match="Sale has no field 'color'; it has id"):
        sale.update(size=2)


def test_a_hook_may_veto_it(sale: Sale, records: Any) -> None:
    """Then nothing is written."""

    def refuse(event: Any) -> None:
        raise Veto("no")

    Sale.hook = refuse
    with pytest.raises(Veto):
        sale.update(size=2)
    with pytest.raises(Veto):
        sale.modify(size=2)
    with pytest.raises(Veto):
        Sale.objects.insert([Sale(name="y"), Sale(name="z")])
    assert [one.size for one in Sale.objects] == [1]
    assert records() == []


def test_an_update_to_what_it_is_has_no_hooks_and_no_record(sale: Sale, records: Any) -> None:
    """As with save()."""
    assert sale.update(size=1) == 1
    assert Sale.told == []
    assert records() == []


def test_an_update_whose_document_is_gone_changes_nothing(sale: Sale, records: Any) -> None:
    """What was going to change was told."""
    Sale._get_collection().delete_many({})
    records()
    assert sale.update(size=2) == 0
    assert sale.modify(size=2) is False
    assert [told[0] for told in Sale.told] == ["pre_update", "pre_update"]
    assert records() == []


def test_an_update_that_mongoengine_refuses_raises_its_error(sale: Sale) -> None:
    """Hooks do not hide it."""
    with pytest.raises(mongoengine.errors.InvalidQueryError):
        sale.update(set__color=1)
    with pytest.raises(mongoengine.errors.OperationError, match="not yet saved"):
        Sale(name="y").update(size=1)


class Plain(mongoengine.Document):
    name = fields.StringField()
    size = fields.IntField()


def test_an_unsaved_document_may_insert_itself_by_an_update(
    lifecycle: Lifecycle, records: Any
) -> None:
    """Which is an insert."""
    assert Plain(name="y").update(set__size=2, upsert=True) == 1
    (found,) = records()
    assert (found.operation, found.changes.new("size")) == ("insert", 2)


def test_hooks_run_for_every_document_of_an_insert(sale: Sale, records: Any) -> None:
    """What they set is saved."""
    Sale.hook = lambda event: event.changes.set("size", 7)
    made = Sale.objects.insert([Sale(name="y"), Sale(name="z")])
    assert [one.size for one in made] == [7, 7]
    told = [(moment, values["name"].new) for moment, _, values in Sale.told]
    assert told == [
        ("pre_persist", "y"),
        ("pre_persist", "z"),
        ("post_persist", "y"),
        ("post_persist", "z"),
        ("post_commit", "y"),
        ("post_commit", "z"),
    ]
    assert [one["size"] for one in changes(records)] == [Change(ABSENT, 7)] * 2


def test_what_a_handler_of_a_signal_makes_of_an_insert_is_told_after_it(
    sale: Sale, records: Any
) -> None:
    """mongoengine sends its own signal when the hooks before the write have run."""

    def grow(sender: object, documents: list[Sale], **kwargs: object) -> None:
        for one in documents:
            one.size = 7

    with signals.pre_bulk_insert.connected_to(grow, sender=Sale):
        Sale.objects.insert([Sale(name="y"), Sale(name="z")])
    sizes = [(moment, values.get("size")) for moment, _, values in Sale.told]
    assert sizes == [
        *[("pre_persist", None)] * 2,
        *[("post_persist", Change(ABSENT, 7))] * 2,
        *[("post_commit", Change(ABSENT, 7))] * 2,
    ]
    assert [one["size"] for one in changes(records)] == [Change(ABSENT, 7)] * 2


def test_hooks_of_an_insert_that_fails_half_way(sale: Sale, records: Any) -> None:
    """What was inserted stands: it is recorded, and told of after the commit."""
    with pytest.raises(mongoengine.errors.BulkWriteError):
        Sale.objects.insert([Sale(name="y"), Sale(name="x"), Sale(name="z")])
    assert [one["name"].new for one in changes(records)] == ["y"]
    later = [(moment, values["name"].new) for moment, _, values in Sale.told][3:]
    assert later == [("post_commit", "y")]


def test_an_insert_that_mongoengine_refuses_runs_no_hooks(sale: Sale) -> None:
    """It is refused as a whole."""
    with pytest.raises(mongoengine.errors.OperationError, match="have ObjectIds"):
        Sale.objects.insert([Sale(name="y"), sale])
    assert Sale.told == []


def test_the_helpers_of_an_embedded_list_are_saves_of_its_owner(
    lifecycle: Lifecycle, sale: Sale, records: Any
) -> None:
    """create, update and delete change it in memory, and save saves it."""
    sale.rows.create(qty=1)
    sale.rows.create(qty=2)
    sale.rows.save()
    sale.rows.filter(qty=2).update(qty=3)
    sale.rows.save()
    sale.rows.filter(qty=1).delete()
    assert records()[-1].operation == "update"
    sale.rows.save()
    stored = Sale._get_collection().find_one({"_id": sale.id})
    state: dict[str, Any] = {}
    for record in reversed(list(lifecycle.history.of(sale))):
        state = record.changes.applied_to(state)
    assert state["rows"] == [{"qty": one["q"]} for one in stored["rows"]]
