"""Writes that pass save and delete by: each is warned of, and works as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mongoengine
import pytest
from mongoengine import fields, signals

from lifecycle import Lifecycle, not_audited, post_persist
from lifecycle.errors import UnrecordedWriteWarning


class Team(mongoengine.Document):
    name = fields.StringField()
    size = fields.IntField()


class Player(mongoengine.Document):
    team = fields.ReferenceField(Team, reverse_delete_rule=mongoengine.NULLIFY)


@not_audited
class Note(mongoengine.Document):
    text = fields.StringField()

    @post_persist
    def hook(self) -> None: ...


WRITES: list[tuple[str, Callable[[], Any]]] = [
    ("Team.objects.update()", lambda: Team.objects.update(set__size=2)),
    ("Team.objects.update()", lambda: Team.objects.update_one(set__size=2)),
    ("Team.objects.update()", lambda: Team.objects(name="x").upsert_one(set__size=2).size),
    ("Team.objects.modify()", lambda: Team.objects.modify(set__size=2).size),
    ("Team.objects.insert()", lambda: Team.objects.insert(Team(name="y")).name),
    ("Team.objects.insert()", lambda: len(Team.objects.insert([Team(), Team()]))),
    ("Team.objects.delete()", lambda: Team.objects.delete()),
    ("Team.update()", lambda: Team.objects.get().update(set__size=2)),
    ("Team.modify()", lambda: Team.objects.get().modify(set__size=2)),
]


@pytest.mark.parametrize(("call", "write"), WRITES)
def test_a_write_past_save_and_delete_is_warned_of(
    lifecycle: Lifecycle, records: Any, call: str, write: Callable[[], Any]
) -> None:
    """Once, naming call and class, at the line that made it, and not recorded."""
    Team(name="x", size=1).save()
    records()
    with pytest.warns(UnrecordedWriteWarning) as warned:
        write()
    (warning,) = warned
    assert str(warning.message) == (
        f"{call} changed documents of Team that are not recorded: it passes save() and delete() "
        "by. Save or delete the documents one by one instead, or take the class out with "
        "@not_audited"
    )
    assert warning.filename == __file__
    assert records() == []


@pytest.mark.parametrize(("call", "write"), WRITES)
@pytest.mark.filterwarnings("ignore::lifecycle.errors.UnrecordedWriteWarning")
def test_a_write_past_save_and_delete_returns_what_it_returned(
    lifecycle: Lifecycle, call: str, write: Callable[[], Any]
) -> None:
    """With and without Lifecycle."""
    Team(name="x", size=1).save()
    watched = write()
    Team.drop_collection()
    lifecycle.uninstall(mongoengine)
    try:
        Team(name="x", size=1).save()
        assert write() == watched
    finally:
        lifecycle.install(mongoengine)


def test_a_bulk_write_that_fails_half_way_is_warned_of(lifecycle: Lifecycle) -> None:
    """Some of it may have been written."""
    team = Team(name="x").save()
    twin = Team(name="y", id=team.id)
    with (
        pytest.warns(UnrecordedWriteWarning, match=r"Team\.objects\.insert\(\)"),
        pytest.raises(mongoengine.errors.BulkWriteError),
    ):
        Team.objects.insert([Team(name="z"), twin])
    assert {team.name for team in Team.objects} == {"x", "z"}


def test_nothing_is_said_of_classes_that_are_not_recorded(lifecycle: Lifecycle) -> None:
    """Nor of reads, nor of a write that changes nothing."""
    Note(text="x").save()
    Note.objects.update(set__text="y")
    Note.objects.delete()
    Team.objects.none().update(set__size=1)
    Team.objects(name="nobody").update(set__size=1)
    Team.objects(name="nobody").delete()
    assert list(Team.objects) == []


def test_a_bulk_delete_that_deletes_one_by_one_is_recorded(
    lifecycle: Lifecycle, records: Any
) -> None:
    """As when it is limited, or when someone listens to mongoengine's delete signals."""
    for name in "abc":
        Team(name=name).save()
    records()
    assert Team.objects.limit(1).delete() == 1

    def listen(sender: object, **kwargs: object) -> None: ...

    with signals.pre_delete.connected_to(listen, sender=Team):
        assert Team.objects.delete() == 2
    assert [record.operation for record in records()] == ["delete"] * 3


def test_what_a_delete_rule_writes_is_warned_of(lifecycle: Lifecycle, records: Any) -> None:
    """The delete itself is recorded."""
    team = Team(name="x").save()
    Player(team=team).save()
    records()
    with pytest.warns(UnrecordedWriteWarning, match=r"Player\.objects\.update\(\)"):
        team.delete()
    assert [(record.entity, record.operation) for record in records()] == [("Team", "delete")]
