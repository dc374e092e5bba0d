"""What mongoengine's delete rules do to other documents: recorded, with the cause."""

from __future__ import annotations

from typing import Any

import mongoengine
import pytest
from mongoengine import fields, signals

from lifecycle import ABSENT, Change, Lifecycle, audited, post_remove, pre_remove
from lifecycle.changes import ListEdit, Splice

# Their keys are text, for nx-27017 counts no ids in a list, and the rules count.


class Club(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    city = fields.StringField()


class Member(mongoengine.Document):
    """Goes with its club."""

    name = fields.StringField(primary_key=True)
    club = fields.ReferenceField(Club, reverse_delete_rule=mongoengine.CASCADE)


class Badge(mongoengine.Document):
    """Goes with its member."""

    member = fields.ReferenceField(Member, reverse_delete_rule=mongoengine.CASCADE)


@audited(bulk="forbid")
class Fan(mongoengine.Document):
    """Forgets its club."""

    club = fields.ReferenceField(Club, reverse_delete_rule=mongoengine.NULLIFY)


class League(mongoengine.Document):
    """Drops the club from its list."""

    clubs = fields.ListField(fields.ReferenceField(Club, reverse_delete_rule=mongoengine.PULL))


class Stadium(mongoengine.Document):
    name = fields.StringField(primary_key=True)


class Contract(mongoengine.Document):
    """Keeps its stadium from being deleted."""

    stadium = fields.ReferenceField(Stadium, reverse_delete_rule=mongoengine.DENY)


class Sheet(mongoengine.Document):
    """Goes with the one above it."""

    name = fields.StringField(primary_key=True)
    above = fields.ReferenceField("self", reverse_delete_rule=mongoengine.CASCADE)
    ran: list[str] = []

    @pre_remove
    def before(self) -> None:
        self.ran.append("before")

    @post_remove
    def after(self) -> None:
        self.ran.append("after")


def told(records: list[Any]) -> list[tuple[str, str, str | None]]:
    return [(one.entity, str(one.operation), one.cause) for one in records]


@pytest.mark.parametrize("by", ["document", "queryset"])
def test_what_goes_with_a_document_is_recorded(lifecycle: Lifecycle, records: Any, by: str) -> None:
    """At every depth, before the document itself; only that was asked for."""
    club = Club(name="x").save()
    member = Member(name="m", club=club).save()
    Badge(member=member).save()
    records()
    if by == "document":
        club.delete()
    else:
        assert Club.objects.delete() == 1
    found = records()
    assert told(found) == [
        ("Badge", "delete", "cascade"),
        ("Member", "delete", "cascade"),
        ("Club", "delete", None),
    ]
    assert found[1].changes.old("club") == club.id
    assert Badge.objects.count() == Member.objects.count() == 0


def test_references_that_are_taken_away_are_recorded(lifecycle: Lifecycle, records: Any) -> None:
    """Also where bulk writes are forbidden, for nobody asked for this one."""
    club, other = Club(name="x").save(), Club(name="y").save()
    Fan(club=club).save()
    League(clubs=[club, other]).save()
    records()
    club.delete()
    found = records()
    assert sorted(told(found[:2])) == [
        ("Fan", "update", "cascade"),
        ("League", "update", "cascade"),
    ]
    by_entity = {one.entity: dict(one.changes) for one in found}
    assert by_entity["Fan"] == {"club": Change(club.id, ABSENT)}
    assert by_entity["League"] == {"clubs": ListEdit((Splice(0, (club.id,), ()),))}


def test_a_delete_that_is_denied_is_not_recorded(lifecycle: Lifecycle, records: Any) -> None:
    """Nothing was written."""
    stadium = Stadium(name="x").save()
    Contract(stadium=stadium).save()
    records()
    with pytest.raises(mongoengine.errors.OperationError, match="refers to it"):
        stadium.delete()
    with pytest.raises(mongoengine.errors.OperationError, match="refers to it"):
        Stadium.objects.delete()
    assert records() == []


def test_what_goes_one_by_one_has_its_hooks_and_the_cause(
    lifecycle: Lifecycle, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody listens to mongoengine's delete signals; what the listener does has not."""
    monkeypatch.setattr(Sheet, "ran", [])
    top = Sheet(name="a").save()
    Sheet(name="b", above=top).save()
    club = Club(name="x").save()
    records()

    def listen(sender: object, **kwargs: object) -> None:
        Club.objects.update(city="y")

    with signals.pre_delete.connected_to(listen, sender=Sheet):
        top.delete()
    found = [one for one in records() if one.entity == "Sheet"]
    assert told(found) == [("Sheet", "delete", "cascade"), ("Sheet", "delete", None)]
    assert Sheet.ran == ["before", "before", "after", "after"]
    renamed = next(iter(lifecycle.history.of(club)))
    assert (dict(renamed.changes), renamed.cause) == ({"city": Change(ABSENT, "y")}, None)


def test_a_rule_that_finds_nothing_records_nothing(lifecycle: Lifecycle, records: Any) -> None:
    """Most do."""
    Club(name="x").save().delete()
    assert told(records()) == [("Club", "insert", None), ("Club", "delete", None)]
