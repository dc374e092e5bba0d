"""What every audit store must do, as tests.

An implementation proves itself in its own test suite with::

    class TestMyStore(AuditStoreContract):
        @pytest.fixture
        def store(self) -> AuditStore:
            return MyStore(...)   # empty, one for each test
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import combinations, product
from threading import Barrier
from time import monotonic, sleep
from typing import Any, Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from lifecycle.audit.format import load
from lifecycle.audit.intents import Intent, IntentStore
from lifecycle.audit.records import FeedPosition, Position, Record, Revision
from lifecycle.audit.store import Asked, AuditStore, Feed, Glimpse, Query
from lifecycle.changes import Change, ChangeSet, Delta, ListEdit, Operation, SetEdit, Splice, Within
from lifecycle.errors import StoreError
from lifecycle.markers import ABSENT, MASKED, UNKNOWN

__all__ = ["AuditStoreContract"]

NOON: Final = datetime(2026, 11, 21, 12, 0, 0, 1, tzinfo=UTC)

TEXTS: Final = (
    "", "a", "A", "a ", " a", "á", "a\u0301", "ä", "ss", "ß", "'", '"', "`", "\\", "%", "_", "--",
    "'; DROP TABLE lifecycle_change; --", "{}", "null", "NULL", "0", "1,2", "a\nb", "a\tb",
    "a\x00b", "a\x00c", "\x1f", "🙂", "👩‍👩‍👧", "שלום", "\u202eabc", "x" * 254, "é" * 254, "\ud800",
    "\ue000", "\ue0000000", "<script>", "a/b?c=d&e#f",
)  # fmt: skip
"""Texts that a store may be tempted to alter, to trim, or to take for another."""

VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 2**53 + 1, 2**63, -(10**40), 0.1, 1e308, 1.0, -0.0,
    float("nan"), float("inf"), *TEXTS,
    Decimal("1.10"), Decimal("-0E-7"), Decimal("NaN"),
    NOON, datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5))),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Vienna")),
    date(1, 1, 1), time(23, 59, 59, 999_999), timedelta(days=-1, microseconds=1),
    UUID(int=7), b"", b"\x00\xff", (1, (2,)), {1, "1"}, frozenset({None}), [], {}, [[], {"a": [1]}],
    {"b": 1, "a": 2}, {1: "one", None: "none", (1, 2): "pair"}, {"$set": [1]}, UNKNOWN, MASKED,
)  # fmt: skip
"""A value of every type the log knows."""

DELTAS: Final[dict[str, Delta]] = {
    "name": Change("a", "b"),
    "address.zip": Change(ABSENT, "1010"),
    "a~1b.c~0d": Change(UNKNOWN, MASKED),
    "tags": SetEdit(frozenset({"new", 2}), frozenset({"old"})),
    "lines": ListEdit((Splice(2, ("x",), ("y", 1)), Within({"0.qty": Change(1, 2)}))),
}
"""A delta of every kind."""


def a_revision(**fields: Any) -> Revision:
    """A revision nobody else has."""
    return Revision(**{"id": uuid4(), "at": NOON, **fields})


def a_record(revision: Revision, n: int = 0, **fields: Any) -> Record:
    """A record of a revision."""
    operation = fields.get("operation", Operation.UPDATE)
    changes = ChangeSet({"name": Change("a", "b")}, operation)
    given = {"entity": "shop.Order", "key": "1", "operation": operation, "changes": changes}
    return Record(revision=revision, n=n, **{**given, **fields})


def an_intent(revision: Revision, **fields: Any) -> Intent:
    """An intent of one record."""
    record = a_record(revision, **fields)
    return Intent(id=uuid4(), revision=revision, records=(record,), traces=("a trace",))


def append(store: AuditStore, revision: Revision, *records: dict[str, Any]) -> list[Record]:
    """Append a revision with records of these fields; return them as they were stored."""
    made = [a_record(revision, n, **fields) for n, fields in enumerate(records)]
    stored = store.append(revision, made)
    return [replace(record, revision=stored) for record in made]


def pages(store: AuditStore, query: Query, limit: int, *, newest_first: bool) -> Iterator[Record]:
    """Every record, page by page, while each page keeps to its limit."""
    after: Position | None = None
    while True:
        page = store.page(query, after=after, limit=limit, newest_first=newest_first)
        yield from page
        if page.next is None:
            assert len(page) <= limit
            return
        assert len(page) == limit
        assert page.next == page.records[-1].position
        after = page.next


class AuditStoreContract:
    """The tests; a subclass gives a fixture ``store`` with an empty `AuditStore` for each."""

    # appending

    def test_is_a_store_that_can_be_read(self, store: AuditStore) -> None:
        """An empty store fulfils the protocol, passes its check and answers that it is empty."""
        store.check()

        assert isinstance(store, AuditStore)
        assert store.page(Query()).records == ()
        assert store.page(Query()).next is None
        assert list(store.scan(Query())) == []
        assert store.entities() == []
        assert store.revision_at(NOON) is None
        assert store.revision(uuid4()) is None

    def test_append_returns_the_revision_with_its_seq(self, store: AuditStore) -> None:
        """The revision that was appended differs from the stored one in its seq alone."""
        revision = a_revision()

        stored = store.append(revision, [a_record(revision)])

        assert stored.seq is not None
        assert replace(stored, seq=None) == revision

    def test_every_field_comes_back(self, store: AuditStore) -> None:
        """A revision and a record with all fields set come back equal."""
        revision = a_revision(
            at=NOON.replace(microsecond=999_999),
            actor="ann",
            actor_label="Ann Example",
            reason="marriage",
            source="web",
            request_id="r-1",
            context={"ip": "::1", "nested": {"n": [1, 2.5, None, True, "é\x00", "🙂"]}, "": 2**60},
            origin="node-1",
            group=uuid4(),
        )
        [record] = append(
            store,
            revision,
            {
                "key": "2",
                "former_key": "1",
                "label": "Order 2",
                "error": "its field 'a' cannot be recorded",
                "cause": "cascade",
                "changes": ChangeSet(DELTAS),
            },
        )

        assert store.page(Query()).records == (record,)
        assert store.revision(revision.id) == record.revision

    def test_what_is_missing_comes_back_missing(self, store: AuditStore) -> None:
        """Fields that were not given come back as None, and not as an empty text."""
        [record] = append(store, a_revision(), {})

        [found] = store.page(Query())

        assert found == record
        assert (found.label, found.error, found.former_key, found.cause) == (None,) * 4
        assert (found.actor, found.revision.group) == (None,) * 2

    def test_append_is_all_or_nothing(self, store: AuditStore) -> None:
        """When one record cannot be stored, neither are the others nor their revision."""
        revision = a_revision()
        twins = [a_record(revision, 0), a_record(revision, 1), a_record(revision, 1)]

        with pytest.raises(StoreError, match=str(revision.id)):
            store.append(revision, twins)

        assert store.revision(revision.id) is None
        assert store.page(Query()).records == ()
        store.append(revision, twins[:2])
        assert len(store.page(Query())) == 2

    def test_append_may_be_repeated(self, store: AuditStore) -> None:
        """A revision that is delivered twice is stored once, and is the same both times."""
        revision = a_revision(actor="ann")
        first = store.append(revision, [a_record(revision)])

        again = store.append(revision, [a_record(revision), a_record(revision, 1)])

        assert again == first
        assert len(store.page(Query())) == 1

    def test_a_revision_may_have_no_records(self, store: AuditStore) -> None:
        """It is stored and found like any other, and has no records."""
        stored = store.append(a_revision(), [])

        assert store.revision(stored.id) == stored
        assert store.page(Query(revision=stored.id)).records == ()

    # order and pages

    def test_records_are_ordered_by_revision_and_number(self, store: AuditStore) -> None:
        """Oldest first is the order of appending, whatever their times say; newest first is its
        reverse."""
        first = append(store, a_revision(at=NOON + timedelta(hours=1)), {}, {}, {})
        second = append(store, a_revision(at=NOON), {}, {})

        assert list(store.page(Query(), newest_first=False)) == first + second
        assert list(store.page(Query())) == (first + second)[::-1]
        assert first[0].position < first[1].position < second[0].position

    @pytest.mark.parametrize("newest_first", [True, False])
    def test_pages_are_complete_and_without_doubles(
        self, store: AuditStore, newest_first: bool
    ) -> None:
        """Whatever the limit, following the pages gives every record once and in order."""
        moved = {"key": "2", "former_key": "1"}
        append(store, a_revision(actor="ann"), {})
        append(store, a_revision(actor="ann"), {}, {"key": "2"}, moved)
        append(store, a_revision(actor="ann"))
        append(store, a_revision(actor="ann"), moved, {}, {}, {"entity": "shop.Item"})
        append(store, a_revision(actor="ann"), {})
        queries = (
            Query(),
            Query(actor="ann"),
            Query(entity="shop.Order"),
            Query(entity="shop.Order", key="1"),
            Query(since=NOON),
        )
        for query in queries:
            expected = list(store.scan(query))[:: -1 if newest_first else 1]
            for limit in range(1, len(expected) + 2):
                assert list(pages(store, query, limit, newest_first=newest_first)) == expected

    def test_a_page_may_start_between_records(self, store: AuditStore) -> None:
        """A position need not be a record's: the page starts with the next one."""
        first, second, third = (append(store, a_revision(), {}, {})[0].position for _ in range(3))
        between = Position(second.seq, 100)

        older = store.page(Query(), after=between)
        newer = store.page(Query(), after=between, newest_first=False)

        assert [record.position.seq for record in older] == [second.seq] * 2 + [first.seq] * 2
        assert [record.position.seq for record in newer] == [third.seq] * 2

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_page_without_room_is_refused(self, store: AuditStore, limit: int) -> None:
        """A limit below one is a mistake of the caller's."""
        with pytest.raises(ValueError, match="limit"):
            store.page(Query(), limit=limit)

    # queries

    def test_every_part_of_a_query_holds(self, store: AuditStore) -> None:
        """Each part alone, and any two together, give the records for which they hold."""
        everything = _varied(store)
        parts = _parts(everything)
        chosen = [*combinations(parts, 1), *combinations(parts, 2)]

        for names in chosen:
            given: dict[str, Any] = {}
            for name in names:
                given.update(parts[name][0])
            query = Query(**given)
            expected = [r for r in everything if all(parts[name][1](r) for name in names)]
            assert list(store.scan(query)) == expected, query
            assert list(store.page(query, limit=100)) == expected[::-1], query
            assert store.count_at_most(query, 100) == len(expected), query

    def test_all_parts_of_a_query_hold_together(self, store: AuditStore) -> None:
        """A query with every part gives the one record for which all of them hold."""
        everything = _varied(store)
        parts = _parts(everything)
        query = Query(**{name: value for part, _ in parts.values() for name, value in part.items()})
        expected = [r for r in everything if all(holds(r) for _, holds in parts.values())]

        assert expected
        assert list(store.scan(query)) == expected

    def test_the_borders_of_a_query(self, store: AuditStore) -> None:
        """``since`` and ``upto`` are included, ``until`` is not, to the microsecond."""
        tick = timedelta(microseconds=1)
        [first] = append(store, a_revision(at=NOON), {})
        second, third = append(store, a_revision(at=NOON + tick), {}, {})

        def found(**parts: Any) -> list[Record]:
            return list(store.scan(Query(**parts)))

        assert found(since=NOON) == [first, second, third]
        assert found(since=NOON + tick) == [second, third]
        assert found(until=NOON) == []
        assert found(until=NOON + tick) == [first]
        assert found(since=NOON.astimezone(ZoneInfo("Asia/Tokyo")), until=NOON + tick) == [first]
        assert found(upto=second.position) == [first, second]
        assert found(upto=Position(first.position.seq, 2**31 - 1)) == [first]
        assert found(upto=Position(third.position.seq, 2**31 - 1)) == [first, second, third]

    def test_a_key_is_found_before_and_after_a_move(self, store: AuditStore) -> None:
        """A record that moved an object is found once by either key, in order with the others."""
        born, moved, other, later = append(
            store,
            a_revision(),
            {"key": "old"},
            {"key": "new", "former_key": "old"},
            {"entity": "shop.Other", "key": "old"},
            {"key": "new"},
        )

        assert list(store.scan(Query(entity="shop.Order", key="old"))) == [born, moved]
        assert list(store.scan(Query(entity="shop.Order", key="new"))) == [moved, later]
        assert list(store.scan(Query(entity="shop.Other", key="old"))) == [other]
        assert list(store.page(Query(entity="shop.Order", key="old"), limit=1)) == [moved]

    # values

    def test_every_text_is_kept_exactly(self, store: AuditStore) -> None:
        """Texts of every kind come back as they were, and are never taken for each other."""
        for text in TEXTS:
            named = dict.fromkeys(
                ("actor", "actor_label", "reason", "source", "request_id", "origin"), text
            )
            moved = {"entity": text, "key": text, "former_key": text + "!", "label": text}
            [record] = append(store, a_revision(**named, context={text: text}), moved)
            assert record.revision == store.revision(record.revision.id), ascii(text)

        for text in TEXTS:
            queries = (
                Query(entity=text, key=text),
                Query(entity=text, key=text + "!"),
                Query(entity=text),
                Query(actor=text),
                Query(request_id=text),
            )
            for query in queries:
                [found] = store.page(query)
                assert found.key == found.label == found.revision.reason == text, ascii(query)
        assert store.entities() == sorted(TEXTS)

    @pytest.mark.parametrize("operation", list(Operation))
    def test_every_value_is_kept_exactly(self, store: AuditStore, operation: Operation) -> None:
        """Values of every type come back equal in type and value, however they changed."""
        old, new = (operation is not Operation.INSERT), (operation is not Operation.DELETE)
        changes = ChangeSet(
            {
                f"f{n}": Change(value if old else ABSENT, value if new else ABSENT)
                for n, value in enumerate(VALUES)
            },
            operation,
        )
        append(store, a_revision(), {"operation": operation, "changes": changes})

        [found] = store.page(Query())

        assert found.operation is operation
        assert found.changes == changes

    def test_large_values_are_kept(self, store: AuditStore) -> None:
        """A value of a megabyte comes back whole."""
        changes = ChangeSet({"text": Change("é" * 2**19, "🙂" * 2**18), "raw": Change(None, b"x")})
        append(store, a_revision(reason="r" * 2**17), {"changes": changes, "label": "l" * 2**17})

        [found] = store.page(Query())

        assert found.changes == changes
        assert found.reason == "r" * 2**17
        assert found.label == "l" * 2**17

    # the other questions

    @pytest.mark.parametrize("newest_first", [True, False])
    def test_a_trail_has_what_a_replay_needs(self, store: AuditStore, newest_first: bool) -> None:
        """It is the scan, in either order, as it is stored."""
        _varied(store)
        moved = {"key": "new", "former_key": "1", "changes": ChangeSet(DELTAS), "label": "\ud800"}
        append(store, a_revision(), moved, {"key": "2"})
        for query in (Query(), Query(entity="shop.Order", key="1"), Query(actor="ann")):
            scanned = list(store.scan(query))[:: -1 if newest_first else 1]
            expected = [
                (*record.position, record.key, record.former_key, record.operation.value)
                for record in scanned
            ]
            trail = list(store.trail(query, newest_first=newest_first))
            assert [entry[:5] for entry in trail] == expected
            for record, entry in zip(scanned, trail, strict=True):
                assert entry.label == record.label
                assert load(entry.changes, record.operation, entry.format) == record.changes

    def test_a_scan_is_not_confused_by_a_writer(self, store: AuditStore) -> None:
        """What was there when a scan began is seen once and in order while others append."""
        there = [
            record
            for _ in range(3)
            for record in append(store, a_revision(), *[{"key": str(n)} for n in range(400)])
        ]
        scan = store.scan(Query())

        seen = [next(scan)]
        append(store, a_revision(), {"entity": "late"})
        seen += scan

        assert [record for record in seen if record.entity != "late"] == there
        assert len(seen) <= len(there) + 1

    def test_a_scan_may_be_left(self, store: AuditStore) -> None:
        """A scan that is not read to its end blocks nobody."""
        append(store, a_revision(), {}, {})

        next(store.scan(Query()))

        append(store, a_revision(), {})
        assert len(list(store.scan(Query()))) == 3

    def test_threads_may_append_at_once(self, store: AuditStore) -> None:
        """Revisions appended by several threads are all stored whole, each with its own seq."""
        revisions = [a_revision(reason=str(n)) for n in range(24)]

        stored = _at_once(lambda revision: append(store, revision, {}, {}), revisions)

        assert len({records[0].revision.seq for records in stored}) == len(revisions)
        expected = sorted((r for records in stored for r in records), key=lambda r: r.position)
        assert list(store.scan(Query())) == expected

    def test_threads_may_deliver_the_same_at_once(self, store: AuditStore) -> None:
        """A revision that several threads deliver at once is stored once, for all of them."""
        revision = a_revision()

        stored = _at_once(lambda same: store.append(same, [a_record(same)]), [revision] * 6)

        assert stored == [store.revision(revision.id)] * 6
        assert len(store.page(Query())) == 1

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_the_feed_gives_every_record_once(self, store: AuditStore, limit: int) -> None:
        """Read on from position to position it gives what there is, once, and then nothing."""
        there = append(store, a_revision(), {}, {}, {})
        there += append(store, a_revision())
        there += append(store, a_revision(), {}, {})
        seen, position = _fed(store, None, limit, len(there))
        assert seen == there

        later = append(store, a_revision(), {})

        assert _fed(store, FeedPosition(*map(int, position or ())), limit, 1)[0] == later

    def test_an_empty_feed_has_no_position(self, store: AuditStore) -> None:
        """A reader that found nothing asks for the beginning again."""
        assert store.feed() == Feed((), None)

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_feed_without_room_is_refused(self, store: AuditStore, limit: int) -> None:
        """A limit below one is a mistake of the caller's."""
        with pytest.raises(ValueError, match="limit"):
            store.feed(limit=limit)

    def test_the_feed_is_followed_while_threads_append(self, store: AuditStore) -> None:
        """A reader that follows concurrent writers misses nothing and sees nothing twice."""
        revisions = [a_revision(reason=str(n)) for n in range(60)]
        with ThreadPoolExecutor(1) as writers:
            writing = writers.submit(_at_once, lambda one: append(store, one, {}, {}), revisions)
            seen: list[Record] = []
            position, done = None, False
            while not done:
                done = writing.done()
                found, position = _fed(store, position, 7)
                seen += found
        stored = [record for records in writing.result() for record in records]
        seen += _fed(store, position, 7, len(stored) - len(seen))[0]

        assert sorted(seen, key=lambda record: record.position) == sorted(
            stored, key=lambda record: record.position
        )

    # intents

    def test_an_intent_waits_for_its_record(self, store: AuditStore) -> None:
        """It is no record before; the record takes its place, with all its fields."""
        assert isinstance(store, IntentStore)
        revision = a_revision(actor="\ud800ann\x00", context={"ip": "::1"}, group=uuid4())
        intent = an_intent(revision, changes=ChangeSet(DELTAS), label="Order 1")
        store.intend(intent)
        assert list(store.intents()) == [intent]
        assert store.page(Query()).records == ()
        assert store.revision(revision.id) is None
        assert list(store.feed()) == []
        assert store.entities() == []

        stored = store.confirm(revision, intent.records, [intent.id])

        assert list(store.intents()) == []
        assert list(store.scan(Query())) == [
            replace(one, revision=stored) for one in intent.records
        ]

    def test_an_intent_that_is_withdrawn_leaves_nothing(self, store: AuditStore) -> None:
        """Others stay; one that is not there is passed over."""
        assert isinstance(store, IntentStore)
        late = an_intent(a_revision(at=NOON + timedelta(hours=1)))
        first, early = an_intent(a_revision()), an_intent(a_revision(at=NOON - timedelta(hours=1)))
        for intent in (early, first, late):
            store.intend(intent)

        store.withdraw([first.id, uuid4()])
        store.withdraw([])

        assert [intent.id for intent in store.intents()] == [early.id, late.id]
        assert store.page(Query()).records == ()

    def test_an_intent_may_be_confirmed_by_several_at_once(self, store: AuditStore) -> None:
        """Its revision is stored once, for all of them."""
        assert isinstance(store, IntentStore)
        intent = an_intent(a_revision())
        store.intend(intent)

        stored = _at_once(
            lambda same: store.confirm(same, intent.records, [intent.id]), [intent.revision] * 6
        )

        assert stored == [store.revision(intent.revision.id)] * 6
        assert len(store.page(Query())) == 1
        assert list(store.intents()) == []

    def test_the_revision_at_a_moment(self, store: AuditStore) -> None:
        """It is the newest one made at or before the moment, the last appended of equals."""
        later = store.append(a_revision(at=NOON + timedelta(days=1)), [])
        store.append(a_revision(at=NOON), [])
        last = store.append(a_revision(at=NOON), [])

        assert store.revision_at(NOON - timedelta(microseconds=1)) is None
        assert store.revision_at(NOON) == last
        assert store.revision_at(NOON + timedelta(hours=23)) == last
        assert store.revision_at(later.at.astimezone(ZoneInfo("America/New_York"))) == later
        assert store.revision_at(NOON + timedelta(days=9)) == later

    def test_the_entities(self, store: AuditStore) -> None:
        """Each entity that has records is named once, in alphabetical order."""
        for entity in ("b.B", "a.A", "b.B", "c.C", "a.a"):
            append(store, a_revision(), {"entity": entity})

        assert store.entities() == ["a.A", "a.a", "b.B", "c.C"]

    def test_counting_stops(self, store: AuditStore) -> None:
        """A count is exact up to its limit, and is the limit where there are more."""
        append(store, a_revision(actor="ann"), {}, {"key": "2", "former_key": "1"}, {"key": "2"})
        ways = ((Query(), 3), (Query(actor="ann"), 3), (Query(entity="shop.Order", key="1"), 2))

        for query, there in ways:
            assert [store.count_at_most(query, n) for n in range(5)] == [
                min(n, there) for n in range(5)
            ]
        assert store.count_at_most(Query(actor="eve"), 5) == 0

    def test_several_counts_are_those_of_each(self, store: AuditStore) -> None:
        """Each up to the limit, in the order of their queries."""
        append(store, a_revision(actor="ann"), {}, {"key": "2", "former_key": "1"}, {"key": "2"})
        queries = [Query(entity="shop.Order", key="1"), Query(actor="eve"), Query(), Query()]

        for n in range(4):
            singly = [store.count_at_most(query, n) for query in queries]
            assert store.counts_at_most(queries, n) == singly
        assert store.counts_at_most([], 5) == []

    def test_glimpses_are_the_first_records_of_pages(self, store: AuditStore) -> None:
        """Each of its own query and position, in its own order; nothing where there is none."""
        first = append(store, a_revision(), {"label": "one"}, {"key": "2", "former_key": "1"})
        second = append(store, a_revision(actor="eve"), {"key": "2", "label": None}, {"key": "3"})
        entity, there = "shop.Order", [record.position for record in (*first, *second)]
        asked = [
            Asked(Query(entity=entity, key="2")),
            Asked(Query(entity=entity, key="1")),
            Asked(Query(entity=entity, key="1"), newest_first=False),
            Asked(Query(entity=entity, key="2"), after=there[2]),
            Asked(Query(entity=entity, key="2"), after=there[1], newest_first=False),
            Asked(Query(entity=entity, key="2", upto=there[1])),
            Asked(Query(entity=entity, key="none")),
            Asked(Query(entity="none", key="2")),
            Asked(Query()),
            Asked(Query(), newest_first=False),
            Asked(Query(actor="eve"), newest_first=False),
            Asked(Query(), after=there[3], newest_first=False),
        ]

        found = store.glimpses(asked)
        pages = [
            store.page(one.query, after=one.after, limit=1, newest_first=one.newest_first)
            for one in asked
        ]
        expected = [Glimpse.of(page.records[0]) if page.records else None for page in pages]
        assert found == expected
        assert found[0] is not None
        assert (found[0].id, found[0].label) == (second[0].id, None)
        assert store.glimpses([]) == []

    def test_glimpses_of_many_objects_are_those_of_each(self, store: AuditStore) -> None:
        """By any text of a key, up to any revision, under the key before and the one after."""
        keys = [text for text in TEXTS if 0 < len(text) < 200]
        entities = ["shop.Order", "shop.order", "日 'x'"]
        ends: list[Position | None] = [None]
        for number, (entity, key) in enumerate(product(entities, keys)):
            moved = {"key": f"{key}/moved", "former_key": key} if number % 3 else {"key": key}
            both = {"entity": entity, "key": key, "label": f"{number}"}
            stored = append(store, a_revision(), both, both, {"entity": entity, **moved})
            ends.append(Position(stored[0].position.seq, 2**31 - 1))
        asked = [
            Asked(Query(entity=entity, key=key, upto=end))
            for entity, key, end in product(entities, (*keys, "1/moved", "none"), ends[::25])
        ]
        found = store.glimpses(asked)
        pages = [store.page(one.query, limit=1) for one in asked]
        assert found == [Glimpse.of(one.records[0]) if one.records else None for one in pages]
        assert len(list(filter(None, found))) > 100


def _fed(
    store: AuditStore, after: FeedPosition | None, limit: int, expected: int = 0
) -> tuple[list[Record], FeedPosition | None]:
    """What a reader of the feed finds until there is nothing new, and where it stands then.

    So many records are waited for: transactions of others, who share a server, can hold up a feed.
    """
    seen: list[Record] = []
    deadline = monotonic() + 30
    while True:
        feed = store.feed(after, limit=limit)
        assert len(feed) <= limit
        assert (feed.position == after) is (not feed.records)
        seen += feed
        after = feed.position
        if not feed.records:
            if len(seen) >= expected or monotonic() > deadline:
                return seen, after
            sleep(0.01)


def _varied(store: AuditStore) -> list[Record]:
    """Records in which every part of a query is sometimes so and sometimes otherwise."""
    records: list[Record] = []
    groups = (None, uuid4())
    for hour in range(8):
        revision = a_revision(
            at=NOON + timedelta(hours=hour),
            actor=(None, "ann", "eve")[hour % 3],
            request_id=("r-1", "r-2", None, "r-2")[hour % 4],
            group=groups[hour // 2 % 2],
        )
        records += append(
            store,
            revision,
            {"operation": Operation.INSERT, "key": "1"},
            {"entity": "shop.Item", "key": "1"},
            {"key": "2", "former_key": "1"},
            {"operation": Operation.DELETE, "key": "2"},
        )
    return records


_Part = tuple[dict[str, Any], Callable[[Record], bool]]


def _parts(records: Sequence[Record]) -> dict[str, _Part]:
    """Every part of a query, with what it means; one of the records fulfils all."""
    chosen = next(r for r in records if r.actor == "ann" and r.revision.group and r.former_key)
    wanted = chosen.revision
    since, until = wanted.at - timedelta(hours=2), wanted.at + timedelta(hours=2)
    return {
        "entity": ({"entity": chosen.entity}, lambda r: r.entity == chosen.entity),
        "key": (
            {"entity": chosen.entity, "key": "1"},
            lambda r: r.entity == chosen.entity and "1" in (r.key, r.former_key),
        ),
        "operation": ({"operation": chosen.operation}, lambda r: r.operation is chosen.operation),
        "actor": ({"actor": wanted.actor}, lambda r: r.actor == wanted.actor),
        "revision": ({"revision": wanted.id}, lambda r: r.revision.id == wanted.id),
        "request_id": (
            {"request_id": wanted.request_id},
            lambda r: r.revision.request_id == wanted.request_id,
        ),
        "group": ({"group": wanted.group}, lambda r: r.revision.group == wanted.group),
        "since": ({"since": since}, lambda r: r.at >= since),
        "until": ({"until": until}, lambda r: r.at < until),
        "upto": ({"upto": chosen.position}, lambda r: r.position <= chosen.position),
    }


def _at_once(work: Callable[[Revision], Any], revisions: Sequence[Revision]) -> list[Any]:
    """The results of work that six threads begin together."""
    start = Barrier(6)

    def begin(number: int) -> list[Any]:
        start.wait(timeout=30)
        return [work(revision) for revision in revisions[number::6]]

    with ThreadPoolExecutor(6) as threads:
        return [result for results in threads.map(begin, range(6)) for result in results]
