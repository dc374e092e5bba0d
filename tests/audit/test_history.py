"""Asking the log."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.audit.format import advanced, dump
from lifecycle.audit.history import History, State, literal_key
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import Page, Query
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.changes import (
    Change,
    ChangeSet,
    ListEdit,
    Operation,
    SetEdit,
    Splice,
    diff,
    join_path,
    same,
)
from lifecycle.errors import HistoryError, UnknownRevision
from lifecycle.keys import key_text
from lifecycle.markers import ABSENT, MASKED, UNKNOWN
from lifecycle.relations import Relation
from lifecycle.uuids import uuid7
from tests.strategies import laws

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Order:
    """A model with a key."""

    id: Any


class Names:
    """Names as a mapper gives them, for one model."""

    def entity(self, model: type | str) -> str:
        return model if isinstance(model, str) else model.__name__

    def key(self, model: type | str, identity: Any) -> str:
        return literal_key(identity)

    def subject(self, instance: Any) -> tuple[str, str]:
        return type(instance).__name__, literal_key(instance.id)

    def entities(self) -> list[str]:
        return ["Order", "Line"]

    def relation(self, entity: str, name: str) -> Relation:
        if name == "lines":
            return Relation(
                target="Line",
                fields=("id",),
                target_fields=("order",),
                holds=lambda order, line: bool(order["id"] == line["order"]),
            )
        return Relation(target="Tag", fields=("tags",), keys=lambda values: values.get("tags", ()))


class NoEntities(Names):
    """Names that must not be listed."""

    def entities(self) -> list[str]:
        raise AssertionError


class Did(NamedTuple):
    """One record to be: what was done to which object."""

    operation: str
    key: str
    changes: Mapping[str, Any]
    former_key: str | None = None


def insert(key: str, **values: Any) -> Did:
    deltas = {name: one for name, one in values.items() if isinstance(one, SetEdit)}
    plain = {name: one for name, one in values.items() if name not in deltas}
    return Did("insert", key, {**diff({}, plain), **deltas})


def update(key: str, **changes: Any) -> Did:
    """Pairs of old and new, or deltas."""
    return Did(
        "update", key, {f: Change(*c) if isinstance(c, tuple) else c for f, c in changes.items()}
    )


def delete(key: str, **values: Any) -> Did:
    return Did("delete", key, diff(values, {}))


def move(former: str, key: str, **changes: Any) -> Did:
    return update(key, **changes)._replace(former_key=former)


class Log:
    """A store made by hand, one revision a minute, and its history."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.history = History(lambda: self.store, Names())
        self.made = 0

    def revision(self, *done: Did, entity: str = "Order", **more: Any) -> Revision:
        revision = Revision(id=uuid7(), at=NOON + timedelta(minutes=self.made), **more)
        self.made += 1
        return self.store.append(
            revision,
            [
                Record(
                    revision=revision,
                    n=n,
                    entity=entity,
                    key=one.key,
                    former_key=one.former_key,
                    operation=Operation(one.operation),
                    changes=ChangeSet(one.changes, Operation(one.operation)),
                    label=f"label of {one.key}",
                )
                for n, one in enumerate(done)
            ],
        )

    def of(self, key: str) -> list[tuple[str, str, int]]:
        """The records of an object: what was done, under which key, in which revision."""
        return [
            (str(record.operation), record.key, record.position.seq)
            for record in self.history.of("Order", key)
        ]

    def as_of(self, key: str, when: Any) -> Any:
        """The values of an object at some time."""
        state = self.history.as_of("Order", key, when)
        return None if state is None else dict(state.values)

    def snapshot(self, at: Any = None) -> dict[str, Any]:
        """The values of every object at some time."""
        states = self.history.snapshot("Order", at)
        assert all(key == state.key for key, state in states.items())
        return {key: dict(state.values) for key, state in states.items()}


@pytest.fixture
def log() -> Log:
    return Log()


# --- one object's records ---


def test_an_objects_records_come_newest_first(log: Log) -> None:
    """Those of other objects and models are not among them."""
    log.revision(insert("1", a=1), insert("2", a=1))
    log.revision(update("1", a=(1, 2)))
    log.revision(insert("1"), entity="Line")
    log.revision(delete("1", a=2))
    assert log.of("1") == [("delete", "1", 4), ("update", "1", 2), ("insert", "1", 1)]
    assert log.of("3") == []


def test_an_object_is_given_by_itself_by_class_or_by_name(log: Log) -> None:
    """All lead to the same records; a composite identity is a tuple."""
    log.revision(insert("1"), insert("a,b"))
    ways = [
        log.history.of(Order(1)),
        log.history.of(Order, 1),
        log.history.of("Order", 1),
        log.history.of("Order", "1"),
    ]
    assert len({record.id for way in ways for record in way}) == 1
    assert [record.key for record in log.history.of(Order(("a", "b")))] == ["a,b"]


@pytest.mark.parametrize("target", [Order, "Order"])
def test_a_model_alone_is_no_object(log: Log, target: Any) -> None:
    """The error shows how to ask."""
    with pytest.raises(HistoryError, match=r"whose history\? give an identity: history\.of\("):
        log.history.of(target)


def test_a_history_goes_back_over_changes_of_the_key(log: Log) -> None:
    """Over a chain of them, and not to objects that had the key before."""
    log.revision(insert("c"))
    log.revision(delete("c"), insert("a"))
    log.revision(move("a", "b"))
    log.revision(update("b", x=(1, 2)))
    log.revision(move("b", "c"))
    assert log.of("c") == [
        ("update", "c", 5),
        ("update", "b", 4),
        ("update", "b", 3),
        ("insert", "a", 2),
    ]


def test_the_history_of_a_key_given_up_tells_where_its_object_went(log: Log) -> None:
    """And goes on with the object that has the key now."""
    log.revision(insert("a"))
    log.revision(move("a", "b"))
    assert log.of("a") == [("update", "b", 2), ("insert", "a", 1)]
    log.revision(insert("a"))
    assert log.of("a") == [("insert", "a", 3), ("update", "b", 2), ("insert", "a", 1)]


def test_two_objects_that_swapped_keys_keep_their_histories(log: Log) -> None:
    """Within one revision, through a third key."""
    log.revision(insert("a", name="A"), insert("b", name="B"))
    swap = log.revision(move("a", "t"), move("b", "a"), move("t", "b"))
    assert [key for _, key, _ in log.of("b")] == ["b", "t", "a"]
    assert log.of("b")[-1] == ("insert", "a", 1)
    assert log.of("a") == [("update", "a", 2), ("insert", "b", 1)]
    expected = {"a": {"name": "B"}, "b": {"name": "A"}}
    assert log.snapshot(swap) == expected
    assert {key: log.as_of(key, swap) for key in "ab"} == expected
    assert log.as_of("t", swap) is None


def test_a_key_moved_on_in_one_revision_is_followed_record_by_record(log: Log) -> None:
    """What gives a key up comes before what takes it."""
    log.revision(insert("a", name="A"), insert("b", name="B"))
    shift = log.revision(move("a", "z"), move("b", "a"))
    assert log.snapshot() == {"z": {"name": "A"}, "a": {"name": "B"}}
    assert (log.as_of("z", shift), log.as_of("a", shift)) == ({"name": "A"}, {"name": "B"})
    (moved, _) = log.history.of("Order", "z")
    assert log.as_of("z", moved) == {"name": "A"}
    assert log.as_of("a", moved) is None
    assert log.as_of("b", moved) == {"name": "B"}


# --- names without records ---


about_a_model = pytest.mark.parametrize(
    "ask",
    [
        lambda history, model: list(history.of(model, 1)),
        lambda history, model: list(history.find(model)),
        lambda history, model: history.as_of(model, 1, NOON) or [],
        lambda history, model: list(history.snapshot(model)),
        lambda history, model: list(*history.snapshots(model, [NOON])),
    ],
    ids=["of", "find", "as_of", "snapshot", "snapshots"],
)


@about_a_model
@pytest.mark.parametrize("model", [Order, "Order", "Line"])
def test_a_model_without_records_has_an_empty_history(log: Log, ask: Any, model: Any) -> None:
    """Whether the log has any other records or none."""
    assert ask(log.history, model) == []
    log.revision(insert("1"), entity="Invoice")
    assert ask(log.history, model) == []


@about_a_model
def test_a_name_that_only_the_log_has_can_be_asked_about(log: Log, ask: Any) -> None:
    """As that of a class which is gone, or has another name now."""
    log.revision(insert("1"), delete("1"), entity="Invoice")
    ask(log.history, "Invoice")
    assert list(log.history.of("Invoice", "2")) == []


@about_a_model
def test_a_name_that_neither_a_model_nor_the_log_has_is_refused(log: Log, ask: Any) -> None:
    """The error suggests names that are alike, else all there are."""
    log.revision(insert("1"), entity="shop.Invoice")
    with pytest.raises(HistoryError, match=r"is called 'Ordre', .* the log: did you mean Order\?$"):
        ask(log.history, "Ordre")
    with pytest.raises(HistoryError, match=r"is called 'User', .* Line, Order, shop\.Invoice$"):
        ask(log.history, "User")


def test_names_are_looked_up_only_when_nothing_was_found(log: Log) -> None:
    """A question that has an answer costs no more."""
    log.revision(insert("1", a=1))
    log.store.entities = None  # type: ignore[method-assign, assignment]
    log.history = History(lambda: log.store, NoEntities())
    assert log.of("1") != []
    assert log.as_of("1", NOON) == log.snapshot()["1"] == {"a": 1}
    assert len(list(log.history.find("Order"))) == 1


# --- pages ---


class Paging(MemoryStore):
    """A store that counts the pages it gives out."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = 0

    def page(self, query: Query, **more: Any) -> Page:
        self.pages += 1
        return super().page(query, **more)


def test_records_are_fetched_page_by_page_as_they_are_read(log: Log) -> None:
    """Looking at the newest one costs one page, however long the history is."""
    log.store = Paging()
    log.revision(insert("1"), *(update("1", a=(n, n + 1)) for n in range(449)))
    found = log.history.of("Order", 1)
    assert log.store.pages == 0
    next(found)
    assert log.store.pages == 1
    assert len(list(found)) == 449
    assert log.store.pages == 3
    for newest_first in (True, False):
        log.store.pages = 0
        numbers = [record.n for record in log.history.find(newest_first=newest_first)]
        assert numbers == sorted(range(450), reverse=newest_first)
        assert log.store.pages == 3


# --- find ---


def test_find_gives_the_records_that_match_all_that_is_asked(log: Log) -> None:
    """Newest first, or oldest first."""
    first = log.revision(insert("1"), insert("2"), actor="ann", request_id="r1")
    second = log.revision(update("1", a=(1, 2)), actor="bob", group=UUID(int=7))
    third = log.revision(insert("1"), entity="Line", actor="ann")

    def found(**asked: Any) -> list[tuple[int, int]]:
        return [tuple(record.position) for record in log.history.find(**asked)]

    assert found() == [(3, 0), (2, 0), (1, 1), (1, 0)]
    assert found(newest_first=False) == [(1, 0), (1, 1), (2, 0), (3, 0)]
    assert found(model=Order) == found(model="Order") == [(2, 0), (1, 1), (1, 0)]
    assert found(operation="insert", actor="ann", model="Line") == [(3, 0)]
    assert found(operation=Operation.UPDATE) == [(2, 0)]
    assert found(revision=second) == found(revision=second.id) == found(revision=str(second.id))
    assert found(revision=second) == found(group=UUID(int=7)) == [(2, 0)]
    assert found(request_id="r1") == [(1, 1), (1, 0)]
    assert found(since=second.at, until=third.at) == [(2, 0)]
    assert found(until=first.at) == found(actor="carl") == []


def test_find_refuses_at_once_what_it_cannot_ask(log: Log) -> None:
    """Not only when the first record is read."""
    choices = "'upsert' is no operation: use insert, update, delete or bulk"
    with pytest.raises(ValueError, match=choices):
        log.history.find(operation="upsert")
    with pytest.raises(ValueError, match="has no time zone; give an aware datetime"):
        log.history.find(since=datetime(2026, 1, 1))
    with pytest.raises(UnknownRevision, match="'x' is no revision id: give a UUID or its text"):
        log.history.find(revision="x")


def test_a_revision_is_found_by_its_id(log: Log) -> None:
    """Given as it is or as text."""
    made = log.revision(insert("1"))
    assert log.history.revision(made.id) == log.history.revision(str(made.id)) == made


@pytest.mark.parametrize("id", [UUID(int=1), str(UUID(int=1))])
def test_a_revision_the_store_does_not_have_is_unknown(log: Log, id: Any) -> None:
    """The error repeats the id, wherever it was given."""
    with pytest.raises(UnknownRevision, match=f"the audit store has no revision {UUID(int=1)}"):
        log.history.revision(id)
    with pytest.raises(UnknownRevision, match="has no revision"):
        log.history.as_of("Order", 1, id)
    with pytest.raises(UnknownRevision, match="has no revision"):
        log.history.snapshot("Order", id)


@pytest.mark.parametrize("id", ["", "x", 5, None])
def test_what_is_no_revision_id_is_refused(log: Log, id: Any) -> None:
    """The error says what one is."""
    with pytest.raises(UnknownRevision, match=f"^{id!r} is no revision id: give a UUID"):
        log.history.revision(id)


# --- when ---


def test_a_time_is_given_as_datetime_revision_id_or_record(log: Log) -> None:
    """All of a revision counts, but for a record: what came after it does not."""
    log.revision(insert("1", a=1))
    second = log.revision(update("1", a=(1, 2)), update("1", a=(2, 3)))
    log.revision(update("1", a=(3, 4)))
    record = next(iter(log.store.page(Query(revision=second.id), newest_first=False)))
    in_tokyo = second.at.astimezone(timezone(timedelta(hours=9)))
    not_stored = Revision(id=second.id, at=second.at)
    for when, a in [
        (second, 3),
        (second.id, 3),
        (str(second.id), 3),
        (not_stored, 3),
        (second.at, 3),
        (in_tokyo, 3),
        (second.at + timedelta(seconds=59), 3),
        (second.at - timedelta(microseconds=1), 1),
        (record, 2),
    ]:
        assert log.as_of("1", when) == {"a": a}
        assert log.snapshot(when) == {"1": {"a": a}}
    assert log.snapshot() == {"1": {"a": 4}}


def test_before_the_log_began_there_was_nothing(log: Log) -> None:
    """Neither in an empty log nor in any other."""
    assert (log.as_of("1", NOON), log.snapshot(NOON), log.snapshot()) == (None, {}, {})
    log.revision(insert("1"))
    earlier = NOON - timedelta(seconds=1)
    assert (log.as_of("1", earlier), log.snapshot(earlier)) == (None, {})


def test_a_time_without_zone_is_refused(log: Log) -> None:
    """It could mean any of many moments."""
    log.revision(insert("1"))
    for ask in (log.as_of, lambda key, when: log.snapshot(when)):
        with pytest.raises(ValueError, match="has no time zone; give an aware datetime"):
            ask("1", datetime(2026, 11, 21))


@pytest.mark.parametrize("when", [NOON.date(), 5, 1.5, State])
def test_what_is_no_time_in_the_log_is_refused(log: Log, when: Any) -> None:
    """The error says what may be given."""
    for ask in (log.as_of, lambda key, when: log.snapshot(when)):
        with pytest.raises(TypeError, match="is no time in the log: give an aware datetime, a rev"):
            ask("1", when)


def test_a_revision_never_stored_is_unknown(log: Log) -> None:
    """It is looked up by its id."""
    with pytest.raises(UnknownRevision, match="has no revision"):
        log.as_of("1", Revision(id=uuid7(), at=NOON))


# --- states ---


def test_a_state_says_what_was_known_and_since_when(log: Log) -> None:
    """Its values, label and position are those after the last record that counts."""
    log.revision(insert("1", a=1, b=None))
    second = log.revision(update("1", a=(1, 2)))
    state = log.history.as_of(Order, 1, second)
    assert state is not None
    assert (state.entity, state.key, state.label) == ("Order", "1", "label of 1")
    assert (state.position, state.complete) == ((2, 0), True)
    assert (state["a"], state["b"], dict(state.values)) == (2, None, {"a": 2, "b": None})
    assert log.history.snapshot(Order, second) == {"1": state}
    with pytest.raises(TypeError):
        state.values["a"] = 5  # type: ignore[index]


def test_a_deleted_object_is_gone_until_it_is_inserted_again(log: Log) -> None:
    """The new one has nothing of the old one."""
    log.revision(insert("1", a=1, b=1))
    gone = log.revision(delete("1", a=1, b=1))
    back = log.revision(insert("1", a=2))
    assert (log.as_of("1", gone), log.snapshot(gone)) == (None, {})
    assert log.as_of("1", back) == {"a": 2} == log.snapshot()["1"]


def test_deleted_and_inserted_in_one_revision_is_another_object(log: Log) -> None:
    """Record by record."""
    log.revision(insert("1", a=1))
    replaced = log.revision(delete("1", a=1), insert("1", b=2))
    assert log.as_of("1", replaced) == {"b": 2} == log.snapshot(replaced)["1"]


def test_an_object_that_moved_away_is_at_its_new_key(log: Log) -> None:
    """Where it was there is nothing, or what came after it."""
    log.revision(insert("a", name="A"))
    moved = log.revision(move("a", "b", size=(ABSENT, 1)))
    after = log.revision(insert("a", name="new"))
    assert (log.as_of("a", moved), log.as_of("b", moved)) == (None, {"name": "A", "size": 1})
    assert (log.as_of("a", after), log.as_of("b", after)) == (
        {"name": "new"},
        {"name": "A", "size": 1},
    )
    assert log.snapshot(moved) == {"b": {"name": "A", "size": 1}}


def test_fields_that_came_and_went_are_in_the_state_while_they_were_there(log: Log) -> None:
    """As keys of a document do; markers are kept as values."""
    log.revision(insert("1", a=1, secret=MASKED))
    added = log.revision(update("1", b=(ABSENT, 2)))
    removed = log.revision(update("1", a=(1, ABSENT), secret=(MASKED, MASKED)))
    assert log.as_of("1", added) == {"a": 1, "b": 2, "secret": MASKED}
    assert log.as_of("1", removed) == {"b": 2, "secret": MASKED}


# --- logs that do not tell everything ---


def test_an_object_older_than_the_log_is_known_as_far_as_it_changed(log: Log) -> None:
    """What the log does not tell is missing or unknown, never guessed."""
    log.revision(
        update(
            "1",
            a=(1, 2),
            items=ListEdit((Splice(3, (), ("x",)),)),
            tags=SetEdit(frozenset("x"), frozenset()),
        ),
        update("1", **{"address.zip": (1, 2)}),
    )
    state = log.history.as_of("Order", 1, NOON)
    assert state is not None
    assert not state.complete
    assert state.values == {"a": 2, "items": UNKNOWN, "tags": UNKNOWN, "address": UNKNOWN}
    log.revision(update("1", items=(["y"], []), address=({"zip": 2}, {})))
    log.revision(update("1", items=ListEdit((Splice(0, (), ("z",)),)), b=(None, 1)))
    assert log.snapshot() == {"1": {"a": 2, "items": ["z"], "tags": UNKNOWN, "address": {}, "b": 1}}
    assert not log.history.snapshot("Order")["1"].complete


def test_an_object_older_than_the_log_stays_incomplete_when_it_moves(log: Log) -> None:
    """A change of its key is no insert."""
    log.revision(update("a", x=(1, 2)))
    log.revision(move("a", "b", y=(1, 2)))
    state = log.history.snapshot("Order")["b"]
    assert state == log.history.as_of("Order", "b", NOON + timedelta(hours=1))
    assert (state.values, state.complete) == ({"x": 2, "y": 2}, False)


def test_an_edit_of_a_field_the_insert_did_not_have_leaves_it_unknown(log: Log) -> None:
    """As after a column was added; the set of a new object begins empty."""
    log.revision(insert("1", a=1))
    log.revision(
        update(
            "1", items=ListEdit((Splice(3, (), ("x",)),)), tags=SetEdit(frozenset("x"), frozenset())
        ),
        update("1", **{"address.zip": (1, 2)}),
    )
    expected = {"a": 1, "items": UNKNOWN, "tags": {"x"}, "address": UNKNOWN}
    assert log.snapshot() == {"1": expected}
    assert log.as_of("1", NOON + timedelta(hours=1)) == expected


def test_an_insert_starts_afresh_even_where_a_delete_is_missing(log: Log) -> None:
    """A row deleted behind the log's back leaves nothing to the next one."""
    log.revision(insert("1", a=1, b=1))
    again = log.revision(insert("1", a=2))
    assert log.as_of("1", again) == {"a": 2} == log.snapshot()["1"]


def test_what_took_a_key_unseen_does_not_inherit_from_who_left_it(log: Log) -> None:
    """A row inserted behind the log's back at a key that was given up."""
    log.revision(insert("a", name="A", size=1))
    log.revision(move("a", "b"))
    later = log.revision(update("a", name=("B", "C")))
    state = log.history.as_of("Order", "a", later)
    assert state is not None
    assert (state.values, state.complete) == ({"name": "C"}, False)
    assert log.history.snapshot("Order")["a"] == state
    assert log.as_of("b", later) == {"name": "A", "size": 1}


def test_an_edit_that_does_not_fit_is_an_error_that_names_the_record(log: Log) -> None:
    """A write in between is missing: no state can be told truthfully."""
    log.revision(insert("1", items=["a"]))
    revision = log.revision(update("1", items=ListEdit((Splice(0, ("b",), ()),))))
    for ask in (lambda: log.as_of("1", revision), log.snapshot):
        with pytest.raises(
            HistoryError,
            match=rf"record {revision.id}\.0 of Order 1 does not fit .*no longer.*not recorded",
        ):
            ask()


# --- keys by name ---


@pytest.mark.parametrize(
    ("identity", "key"), [("a,b", "a,b"), (5, "5"), (("a", 1), "a,1"), (("a,b",), "a,b")]
)
def test_the_identity_of_a_model_known_by_name_is_text_already_or_a_tuple(
    identity: Any, key: str
) -> None:
    """Text is not escaped again."""
    assert literal_key(identity) == key
    assert literal_key(key_text(("a,b", "c"))) == "a~1b,c"


# --- as a property ---

KEYS = "abc"
FIELDS = st.dictionaries(
    st.sampled_from(["n", "list", "map"]),
    st.integers(0, 2)
    | st.lists(st.sampled_from(["x" * 9, "y" * 9, "z" * 9]), max_size=4)
    | st.dictionaries(st.sampled_from("pq"), st.lists(st.integers(0, 1), max_size=3)),
)
STEPS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "set", "move", "delete"]),
            st.sampled_from(KEYS),
            st.sampled_from(KEYS),
            FIELDS,
        ),
        min_size=1,
        max_size=4,
    ),
    max_size=8,
)


def done(rows: dict[str, Any], what: str, key: str, other: str, values: Any) -> Did | None:
    """Do a step to the rows; returns its record, None when there is nothing to do."""
    if what == "set":
        before = rows.get(key)
        rows[key] = values
        operation = "insert" if before is None else "update"
        changes = diff(before or {}, values, operation=Operation(operation))
        return Did(operation, key, changes) if changes or before is None else None
    if key not in rows or (what == "move" and other in rows):
        return None
    before = rows.pop(key)
    if what == "delete":
        return delete(key, **before)
    rows[other] = values
    return Did("update", other, diff(before, values), former_key=key)


def replay(log: Log, rows: dict[str, Any], steps: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Do the steps, a revision for each list of them; every moment with the rows as they were."""
    moments = []
    for revision in steps:
        records, copies = [], []
        for step in revision:
            record = done(rows, *step)
            if record is not None:
                records.append(record)
                copies.append(deepcopy(rows))
        if records:
            stored = log.revision(*records)
            moments.append((stored, copies[-1]))
            page = log.store.page(Query(revision=stored.id), newest_first=False)
            moments += zip(page, copies, strict=True)
    return moments


@laws
@given(STEPS)
def test_every_state_is_as_the_objects_were(steps: Any) -> None:
    """After every revision, and after every record, for every key and for all at once."""
    log = Log()
    for when, rows in replay(log, {}, steps):
        assert log.snapshot(when) == rows
        assert {key: log.as_of(key, when) for key in KEYS} == {key: rows.get(key) for key in KEYS}


@laws
@given(STEPS)
def test_snapshots_of_several_times_are_each_the_snapshot_of_its_time(steps: Any) -> None:
    """One reading of the log gives what many would."""
    log = Log()
    times = sorted((when for when, _ in replay(log, {}, steps)), key=_end)
    snapshots = list(log.history.snapshots("Order", times))
    assert snapshots == [log.history.snapshot("Order", when) for when in times]


def _end(when: Revision | Record) -> tuple[int, float]:
    if isinstance(when, Record):
        return when.position
    assert when.seq is not None
    return when.seq, float("inf")


def test_snapshots_are_asked_for_oldest_first(log: Log) -> None:
    """Anything else is refused; times before the log are empty."""
    first, second = log.revision(insert("1", a=1)), log.revision(update("1", a=(1, 2)))
    with pytest.raises(ValueError, match="oldest first"):
        list(log.history.snapshots("Order", [second, first]))
    empty, full = log.history.snapshots("Order", [NOON - timedelta(days=1), second])
    assert (empty, list(full)) == ({}, ["1"])
    assert list(log.history.snapshots("Order", [])) == []


@laws
@given(st.dictionaries(st.sampled_from(KEYS), FIELDS), STEPS)
def test_what_is_told_of_objects_older_than_the_log_is_true(older: Any, steps: Any) -> None:
    """What is known is right, what is not is unknown or missing, and both questions agree."""
    log = Log()
    for when, rows in replay(log, deepcopy(older), steps):
        states = log.history.snapshot("Order", when)
        assert {key: log.history.as_of("Order", key, when) for key in KEYS} == {
            key: states.get(key) for key in KEYS
        }
        for key, state in states.items():
            if state.complete:
                assert state.values == rows[key]
            for field, value in state.values.items():
                assert value is UNKNOWN or value == rows[key][field]


# --- relations, at that time ---


def test_as_of_leads_on_to_related_objects_as_they_then_stood(log: Log) -> None:
    """Those whose rows hold the key, and those whose keys it holds; later changes do not show."""
    log.revision(insert("1", word="old"), entity="Tag")
    then = log.revision(insert("7", id=7, tags=SetEdit(frozenset({"1"}), frozenset())))
    then = log.revision(insert("a", order=7, qty=1), insert("b", order=8, qty=1), entity="Line")
    log.revision(update("1", word=("old", "new")), entity="Tag")
    log.revision(update("a", order=(7, 8)), insert("c", order=7, qty=1), entity="Line")
    log.revision(update("7", tags=SetEdit(frozenset(), frozenset({"1"}))))

    before = log.history.as_of("Order", "7", then)
    after = log.history.as_of("Order", "7", log.revision())
    assert before is not None
    assert after is not None

    assert [line.key for line in before.related("lines")] == ["a"]
    assert [line.key for line in after.related("lines")] == ["c"]
    assert [tag["word"] for tag in before.related("tags")] == ["old"]
    assert after.related("tags") == []


def test_a_related_object_from_before_the_log_is_there_without_values(log: Log) -> None:
    """That it was there is known, and nothing else."""
    when = log.revision(insert("7", tags=SetEdit(frozenset({"5"}), frozenset())))
    order = log.history.as_of("Order", "7", when)
    assert order is not None
    (tag,) = order.related("tags")
    assert (tag.key, dict(tag.values), tag.complete) == ("5", {}, False)


def test_a_relation_by_a_value_that_is_unknown_is_an_error(log: Log) -> None:
    """An empty answer would be a guess."""
    when = log.revision(update("7", name=("a", "b")))
    order = log.history.as_of("Order", "7", when)
    assert order is not None
    with pytest.raises(HistoryError, match="the log does not hold 'id' of Order 7"):
        order.related("lines")


# --- over time ---


def test_a_field_tells_every_value_it_had_by_whom_and_how_long(log: Log) -> None:
    """Newest first; an update that left the field alone is not among them."""
    log.revision(insert("1", name="a", size=1), actor="ann")
    log.revision(update("1", size=(1, 2)), actor="bob")
    log.revision(update("1", name=("a", "b")), actor="cid")
    log.revision(delete("1", name="b", size=2), actor="dan")

    told = log.history.field("Order", "1", "name")

    assert [(one.value, one.actor) for one in told] == [(ABSENT, "dan"), ("b", "cid"), ("a", "ann")]
    assert [one.until for one in told] == [None, told[0].since, told[1].since]
    assert told[2].lasted == timedelta(minutes=2)
    assert [one.value for one in log.history.field(Order("1"), "size")] == [ABSENT, 2, 1]


def test_a_field_inside_another_and_edits_of_a_list_are_told_as_values(log: Log) -> None:
    """The values are those that a state would have."""
    log.revision(insert("1", box={"w": 1, "h": 1}, items=["a"]))
    edit = ListEdit((Splice(1, (), ("b",)),))
    log.revision(update("1", **{"box.w": (1, 2), "items": edit}))
    assert [one.value for one in log.history.field("Order", "1", "box.w")] == [2, 1]
    assert [one.value for one in log.history.field("Order", "1", "items")] == [["a", "b"], ["a"]]


def test_compare_tells_what_changed_between_two_times_or_until_now(log: Log) -> None:
    """Also over a change of the key; where it was not there at one time, all of it came or went."""
    first = log.revision(insert("1", name="a", size=1))
    second = log.revision(update("1", name=("a", "b")))
    log.revision(move("1", "2", size=(1, 2)))
    compare = log.history.compare
    assert compare("Order", "1", old=first, new=second) == {"name": Change("a", "b")}
    assert compare("Order", "2", old=first) == {"name": Change("a", "b"), "size": Change(1, 2)}
    gone = log.revision(delete("2", name="b", size=2))
    assert compare("Order", "2", old=second, new=gone).operation == "delete"


def test_compare_does_not_take_what_it_does_not_know_for_absent(log: Log) -> None:
    """The log begins in the middle of the object's life."""
    first = log.revision(update("1", name=("a", "b")))
    log.revision(update("1", size=(1, 2)))
    assert log.history.compare("Order", "1", old=first) == {"size": Change(UNKNOWN, 2)}


def test_the_net_of_a_revision_is_one_change_for_each_object(log: Log) -> None:
    """What came and went is left out, a way round is one step, and what came back is nothing."""
    revision = log.revision(
        insert("1", name="a"),
        update("1", name=("a", "b")),
        insert("2", name="x"),
        delete("2", name="x"),
        move("5", "6", size=(1, 2)),
        move("6", "7", size=(2, 3)),
        update("9", name=("a", "b")),
        update("9", name=("b", "a")),
    )
    assert [
        (str(one.operation), one.former_key, one.key, dict(one.changes), len(one.records))
        for one in log.history.net(revision)
    ] == [
        ("insert", None, "1", {"name": Change(ABSENT, "b")}, 2),
        ("update", "5", "7", {"size": Change(1, 3)}, 2),
    ]


def test_filters_compose_and_pages_are_complete(log: Log) -> None:
    """By field, actor and time together; a page goes on exactly where the one before ended."""
    for number in range(30):
        log.revision(
            update("1", **{"name" if number % 3 else "size": (number, number + 1)}),
            actor="ann" if number % 2 else "bob",
        )
    wanted = {"field": "name", "actor": "ann", "since": NOON + timedelta(minutes=5)}
    expected = [record.id for record in log.history.find("Order", **wanted)]
    assert len(expected) == 9
    assert [record.id for record in log.history.of("Order", "1", **wanted)] == expected
    found, after = [], None
    for _ in range(20):
        page = log.history.page("Order", "1", **wanted, after=after, limit=3)
        found += [record.id for record in page]
        after = page.next
        if after is None:
            break
    assert found == expected


@given(st.data())
@laws
def test_a_state_brought_forward_quickly_is_the_state_of_the_changeset(data: st.DataObject) -> None:
    """The short way through the stored text and the long way through the changeset are one."""
    fields = st.sampled_from(["a", "b", "c.d", "e~f"])
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([ABSENT, UNKNOWN]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=4,
    )
    before = data.draw(st.dictionaries(fields, values.filter(lambda value: value is not ABSENT)))
    after = data.draw(st.dictionaries(fields, values.filter(lambda value: value is not ABSENT)))
    for start, operation in ((before, Operation.UPDATE), ({}, Operation.INSERT)):
        changes = ChangeSet(
            {
                join_path(name): Change(start.get(name, ABSENT), after.get(name, ABSENT))
                for name in {*start, *after}
            },
            operation,
        )
        state = dict(start)
        if advanced(state, dump(changes), operation is Operation.INSERT, 1):
            assert same(state, changes.applied_to(start))
        else:
            assert same(state, start)
