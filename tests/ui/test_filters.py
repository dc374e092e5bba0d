"""What is written in an address becomes one question, or an error that says how to go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from audit_ui.errors import Mistake
from audit_ui.filters import Filters, Term
from audit_ui.places import Cursor, read_record_id, read_uuid
from lifecycle.audit.records import Position
from lifecycle.audit.store import Query
from lifecycle.changes import Operation

NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)


def test_filters_become_one_query() -> None:
    """Every filter given has its part of the question; empty ones have none."""
    filters = Filters.of(
        {
            "entity": "shop.Order",
            "key": "7",
            "actor": "ann",
            "operation": "deleted",
            "request_id": "",
            "since": " 7d ",
            "page": "ignored",
        }
    )
    assert filters.query(NOW) == Query(
        entity="shop.Order",
        key="7",
        actor="ann",
        operation=Operation.DELETE,
        since=NOW - timedelta(days=7),
    )
    assert filters.sieve() is None
    assert filters.with_(since="", key="8") == {
        "entity": ["shop.Order"],
        "key": ["8"],
        "actor": ["ann"],
        "operation": ["deleted"],
    }


def test_what_the_page_itself_names_cannot_be_overruled() -> None:
    """On the page of an entity, the address cannot ask for another."""
    given = [("entity", "other"), ("-entity", "shop.Order"), ("actor", "ann")]
    filters = Filters.of(given, entity="shop.Order")
    assert filters == Filters((Term("entity", "shop.Order"), Term("actor", "ann")))


def test_what_cannot_be_asked_of_the_store_is_sifted() -> None:
    """One value of each kind is the store's; more of them, and what is not wanted, is not."""
    filters = Filters.of([("actor", "ann"), ("actor", "bob"), ("-entity", "shop.Order")])
    assert filters.query(NOW) == Query()
    assert filters.sieve() is not None
    assert filters.only_entity is None
    assert Filters.of([("entity", "a"), ("entity", "b")]).only_entity is None
    assert Filters.of([("entity", "a"), ("-actor", "b")]).only_entity == "a"


def test_what_a_form_does_not_hold_is_carried_beside_it() -> None:
    """The second value of a name, and every one that is not wanted."""
    filters = Filters.of([("actor", "ann"), ("actor", "bob"), ("-actor", "cy"), ("field", "x")])
    assert filters.beside(["actor"]) == [
        Term("actor", "bob"),
        Term("actor", "cy", negated=True),
        Term("field", "x"),
    ]
    assert filters.without(Term("actor", "ann")) == {
        "actor": ["bob"],
        "-actor": ["cy"],
        "field": ["x"],
    }


@pytest.mark.parametrize(
    ("since", "moment"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("24h", NOW - timedelta(hours=24)),
        ("4w", NOW - timedelta(weeks=4)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T14:30", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("2026-03-01 14:30:05Z", datetime(2026, 3, 1, 14, 30, 5, tzinfo=UTC)),
        ("2026-03-01T14:30+02:00", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
    ],
)
def test_times_are_relative_or_iso_and_in_utc(since: str, moment: datetime) -> None:
    """Short forms count back from now; dates without a zone are in UTC."""
    assert Filters.of({"since": since}).query(NOW).since == moment


def test_until_a_day_includes_that_day() -> None:
    """From the first to the first is one whole day, not none."""
    query = Filters.of({"since": "2026-03-01", "until": "2026-03-01"}).query(NOW)
    assert query.until is not None
    assert query.since is not None
    assert query.until - query.since == timedelta(days=1)


@pytest.mark.parametrize(
    ("filters", "title"),
    [
        ({"key": "7"}, "A key needs its entity"),
        ({"operation": "drop"}, "No operation is called 'drop'"),
        ({"since": "yesterday"}, "'yesterday' is no time"),
        ({"until": "2026-02-30"}, "'2026-02-30' is no time"),
        ({"since": "999999w"}, "'999999w' is no time"),
        ({"until": "9999-12-31"}, "'9999-12-31' is no time"),
        ({"since": "٣d"}, "'٣d' is no time"),
    ],
)
def test_what_cannot_be_understood_is_said(filters: dict[str, str], title: str) -> None:
    """A wrong filter is an error of the reader's, with advice, never ignored."""
    with pytest.raises(Mistake) as caught:
        Filters.of(filters).query(NOW)
    assert caught.value.status == 400
    assert caught.value.title == title
    assert caught.value.detail


def test_cursors_are_positions() -> None:
    """A page begins older or newer than a position; none is the newest."""
    assert Cursor.of({"older_than": "12.3"}) == Cursor(older_than=Position(12, 3))
    assert Cursor.of({"newer_than": "12.3"}) == Cursor(newer_than=Position(12, 3))
    assert not Cursor.of({"older_than": ""})


@pytest.mark.parametrize("text", ["x", "1", "1.2.3", "-1.0", "9" * 30 + ".0", "1.0\n"])
def test_damaged_cursors_are_told(text: str) -> None:
    """A position that cannot be one is a 400, whatever was done to it."""
    with pytest.raises(Mistake, match="no place in the history"):
        Cursor.of({"older_than": text})


def test_ids_are_read_or_refused() -> None:
    """Records and revisions are found by ids of their form only."""
    id = UUID(int=5)
    assert read_uuid(str(id)) == id
    assert read_record_id(f"{id}.12") == (id, 12)
    for text in ("", "5", str(id), f"{id}.", f"{id}.x", f"{id}.1.2", "-" * 36 + ".0"):
        with pytest.raises(Mistake, match="is no record id"):
            read_record_id(text)
    with pytest.raises(Mistake, match="is no revision id"):
        read_uuid("none")
