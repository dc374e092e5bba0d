"""From what has been written to records in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
from msgspec.structs import replace

from lifecycle.audit.format import dump
from lifecycle.audit.intents import Intent, dump_intent
from lifecycle.audit.recorder import Recorder
from lifecycle.audit.records import Line, Record, Revision
from lifecycle.audit.store import Query
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.changes import Change, ChangeSet, Delta, ListEdit, Operation, SetEdit, Splice
from lifecycle.context import acting
from lifecycle.errors import RecordingError, UnrecordedWriteWarning
from lifecycle.faults import Faults
from lifecycle.forms import Form
from lifecycle.markers import ABSENT, MASKED, UNKNOWN
from lifecycle.policy import Policy
from lifecycle.written import Plain, Written

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Beside:
    """A store beside the data that keeps what is inserted through each connection."""

    def __init__(self) -> None:
        self.revisions: list[tuple[Any, Revision]] = []
        self.records: list[tuple[Any, Record]] = []
        self.lines: list[Line] = []

    def insert_revision(self, connection: Any, revision: Revision) -> Revision:
        assert revision.seq is None
        stored = replace(revision, seq=len(self.revisions) + 1)
        self.revisions.append((connection, stored))
        return stored

    def insert_records(
        self, connection: Any, revision: Revision, records: Sequence[Record | Line]
    ) -> None:
        assert revision.seq is not None
        for one in records:
            if isinstance(one, Line):
                self.lines.append(one)
            else:
                self.records.append((connection, replace(one, revision=revision)))


@pytest.fixture
def beside() -> Beside:
    return Beside()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


Make = Callable[..., Recorder]


@pytest.fixture
def make(beside: Beside, store: MemoryStore) -> Make:
    """A recorder whose clock goes on by a second with every revision."""
    ticks = iter(range(100))

    def recorder(**keywords: Any) -> Recorder:
        return Recorder(
            beside=lambda connection: beside,
            store=lambda: store,
            clock=lambda: NOON + timedelta(seconds=next(ticks)),
            **keywords,
        )

    return recorder


def written(
    deltas: dict[str, Delta] | None = None,
    operation: str = "update",
    *,
    key: str = "1",
    policy: Policy | None = None,
    **more: Any,
) -> Written:
    deltas = {"a": Change(1, 2)} if deltas is None else deltas
    changes = ChangeSet(deltas, Operation(operation))
    return Written("Order", key, changes, policy or Policy(), **more)


def records_of(store: MemoryStore) -> list[Record]:
    return list(store.scan(Query()))


def recorded(make: Make, store: MemoryStore, one: Written) -> Record:
    """The only record that is made of it."""
    make().open().write([one])
    (record,) = records_of(store)
    return record


# --- which models ---


@pytest.mark.parametrize(
    ("mode", "policy", "wanted"),
    [
        ("all", None, True),
        ("all", True, True),
        ("all", False, False),
        ("marked", None, False),
        ("marked", True, True),
        ("marked", False, False),
    ],
)
def test_models_are_recorded_by_mode_and_mark(
    mode: str, policy: bool | None, wanted: bool, make: Make, store: MemoryStore
) -> None:
    """A mark decides; the mode decides for models without one."""
    recorder = make(mode=mode)
    one = written(policy=Policy(recorded=policy))
    assert recorder.wants(one.policy) is wanted
    recorder.open().write([one])
    assert len(records_of(store)) == wanted


def test_nothing_is_written_when_nothing_is_wanted(
    make: Make, beside: Beside, store: MemoryStore
) -> None:
    """Neither a revision nor a record, and the store is not even asked for."""
    writer = make().open()
    writer.write([])
    writer.write([written(policy=Policy(recorded=False))], connection="c")
    writer.write([written({"a": Change(1, 2)}, policy=Policy(exclude=frozenset("a")))])
    writer.write([written({})], connection="c")
    assert (beside.revisions, records_of(store)) == ([], [])
    assert (writer.stored, writer.group, writer.revision) == (False, None, None)


# --- which fields ---


def test_a_record_holds_what_was_written(make: Make, store: MemoryStore) -> None:
    """Entity, keys, label, cause, operation and changes."""
    one = written(key="2", former_key="1", label="Order two", cause="cascade")
    record = recorded(make, store, one)
    assert (record.entity, record.key, record.former_key) == ("Order", "2", "1")
    assert (record.label, record.operation, record.n) == ("Order two", "update", 0)
    assert record.cause == "cascade"
    assert record.changes == one.changes


def test_excluded_fields_are_left_out_with_all_that_is_inside(
    make: Make, store: MemoryStore
) -> None:
    """A name that merely begins alike stays."""
    deltas: dict[str, Delta] = {
        "note": Change(1, 2),
        "meta.a.b": Change(1, 2),
        "metadata": Change(1, 2),
        "a~1b": Change(1, 2),
    }
    policy = Policy(exclude=frozenset({"note", "meta", "a.b"}))
    assert recorded(make, store, written(deltas, policy=policy)).changes == {
        "metadata": Change(1, 2)
    }


@pytest.mark.parametrize(
    ("operation", "delta", "hidden"),
    [
        ("update", Change("x", "y"), Change(MASKED, MASKED)),
        ("update", Change("x", None), Change(MASKED, MASKED)),
        ("update", Change(UNKNOWN, "y"), Change(MASKED, MASKED)),
        ("update", Change(ABSENT, "y"), Change(ABSENT, MASKED)),
        ("insert", Change(ABSENT, "y"), Change(ABSENT, MASKED)),
        ("delete", Change("x", ABSENT), Change(MASKED, ABSENT)),
        ("update", SetEdit(frozenset("y"), frozenset()), Change(MASKED, MASKED)),
        ("update", ListEdit((Splice(0, (), ("y",)),)), Change(MASKED, MASKED)),
        ("update", Change(["x"] * 9, [*["x"] * 9, "y"]), Change(MASKED, MASKED)),
    ],
)
def test_of_a_masked_field_only_the_change_is_recorded(
    operation: str, delta: Delta, hidden: Change, make: Make, store: MemoryStore
) -> None:
    """Whether there was and is a value can be seen, and nothing of the value."""
    one = written({"a": delta}, operation, policy=Policy(mask=frozenset("a")))
    record = recorded(make, store, one)
    assert record.changes == {"a": hidden}
    assert record.operation == operation


def test_changes_inside_a_masked_field_do_not_show_where(make: Make, store: MemoryStore) -> None:
    """The keys of a masked map are part of what is hidden."""
    deltas: dict[str, Delta] = {
        "keys.stripe": Change("x", "y"),
        "keys.paypal": Change(ABSENT, "z"),
        "a~1b.c": Change(1, 2),
        "open.c": Change(1, 2),
    }
    one = written(deltas, policy=Policy(mask=frozenset({"keys", "a.b"})))
    assert recorded(make, store, one).changes == {
        "keys": Change(MASKED, MASKED),
        "a~1b": Change(MASKED, MASKED),
        "open.c": Change(1, 2),
    }


def test_what_is_masked_and_excluded_is_left_out(make: Make, store: MemoryStore) -> None:
    """The stricter one counts."""
    policy = Policy(mask=frozenset("a"), exclude=frozenset("a"))
    deltas: dict[str, Delta] = {"a": Change(1, 2), "b": Change(1, 2)}
    assert recorded(make, store, written(deltas, policy=policy)).changes == {"b": Change(1, 2)}


@pytest.mark.parametrize(
    "one",
    [
        written({"a": Change(ABSENT, 1)}, "insert", policy=Policy(exclude=frozenset("a"))),
        written({"a": Change(1, ABSENT)}, "delete", policy=Policy(exclude=frozenset("a"))),
        written({}, "insert"),
        written(
            {"a": Change(1, 2)}, key="2", former_key="1", policy=Policy(exclude=frozenset("a"))
        ),
    ],
)
def test_that_an_object_came_went_or_moved_is_always_recorded(
    one: Written, make: Make, store: MemoryStore
) -> None:
    """Even when all its fields are excluded, its history stays whole."""
    record = recorded(make, store, one)
    assert (record.operation, record.key, record.former_key) == (
        one.changes.operation,
        one.key,
        one.former_key,
    )
    assert record.changes == {}


def test_large_values_are_taken_apart(make: Make, store: MemoryStore) -> None:
    """A map, a list or a set is recorded by what changed in it, where that is smaller."""
    words = [f"word {n}" for n in range(50)]
    deltas: dict[str, Delta] = {
        "map": Change({"a": words, "b": 1}, {"a": words, "b": 2}),
        "list": Change(words, [*words, "last"]),
        "set": Change(set(words), {*words, "last"}),
        "small": Change([1], [2]),
    }
    one = written(deltas)
    record = recorded(make, store, one)
    assert record.changes["map.b"] == Change(1, 2)
    assert record.changes["list"] == ListEdit((Splice(50, (), ("last",)),))
    assert record.changes["set"] == SetEdit(frozenset({"last"}), frozenset())
    old = {name: delta.old for name, delta in deltas.items() if isinstance(delta, Change)}
    assert record.changes.applied_to(old) == one.changes.applied_to(old)
    assert deltas["list"] == one.changes["list"]


# --- revisions ---


def test_a_revision_says_when_by_whom_and_why(make: Make, store: MemoryStore) -> None:
    """Its time comes from the clock, the rest from acting() and the set-up."""
    writer = make(origin="shop").open()
    with acting("ann", label="Ann", reason="why", source="web", request_id="r1", ticket=7) as block:
        writer.write([written()])
    revision = records_of(store)[0].revision
    assert revision == Revision(
        id=revision.id,
        seq=1,
        at=NOON,
        actor="ann",
        actor_label="Ann",
        reason="why",
        source="web",
        request_id="r1",
        context={"ticket": 7},
        origin="shop",
        group=block.group,
    )
    assert revision.id.version == 7


def test_the_records_of_several_writes_are_numbered_through(make: Make, beside: Beside) -> None:
    """They belong to one revision, which is inserted once, with its first record."""
    writer = make().open()
    with acting("ann"):
        writer.write(
            [written(key="1"), written(policy=Policy(recorded=False)), written(key="2")],
            connection="c",
        )
    with acting("bob"):
        writer.write([written(key="3")], connection="c")
    ((connection, revision),) = beside.revisions
    assert connection == "c"
    assert writer.stored
    assert writer.revision == revision
    assert revision.actor == "ann"
    assert [(record.n, record.key) for _, record in beside.records] == [
        (0, "1"),
        (1, "2"),
        (2, "3"),
    ]
    assert all(record.revision == revision for _, record in beside.records)


class Shape:
    """Inserts that are told by one value."""

    entity = "Order"
    operation = Operation.INSERT
    form = Form(("a",))
    conversions: ClassVar[dict[int, Any]] = {}
    conceals = False

    def __init__(self) -> None:
        self.made: list[str] = []

    def written(self, one: Plain) -> Written:
        self.made.append(one.key)
        return written({"a": Change(ABSENT, one.values[0])}, "insert", key=one.key)


def test_plain_changes_are_lines_among_the_records(make: Make, beside: Beside) -> None:
    """In the order in which they are told, with the text that a changeset would have."""
    shape, other = Shape(), Shape()
    told = [
        Plain(shape, "1", (1,)),
        written(key="2"),
        written(policy=Policy(recorded=False)),
        *(Plain(other, key, ("x",)) for key in "345"),
        Plain(shape, "6", (None,)),
        Plain(shape, "7", (2.5,)),
    ]
    writer = make().open()
    writer.write(told, connection="c")
    writer.write([Plain(shape, "8", (n,)) for n in range(3)], connection="c")
    assert [(one.n, one.key, one.changes) for one in beside.lines] == [
        (0, "1", '{"a":1}'),
        (2, "3", '{"a":"x"}'),
        (3, "4", '{"a":"x"}'),
        (4, "5", '{"a":"x"}'),
        (5, "6", '{"a":null}'),
        (6, "7", '{"a":2.5}'),
        (7, "8", '{"a":0}'),
        (8, "8", '{"a":1}'),
        (9, "8", '{"a":2}'),
    ]
    assert {(one.entity, one.verb) for one in beside.lines} == {("Order", "insert")}
    assert [(record.n, record.key) for _, record in beside.records] == [(1, "2")]
    assert not shape.made


def test_changes_that_are_few_or_not_so_plain_are_recorded_in_full(
    make: Make, beside: Beside
) -> None:
    """All of their shape, made once each, whatever has to be mended in others."""
    shape, plain, few = Shape(), Shape(), Shape()
    told = [
        Plain(shape, "1", ("x",)),
        Plain(shape, "2", ("\ud800",)),
        Plain(shape, "3", ("x",)),
        Plain(few, "4", (4,)),
        *(Plain(plain, key, (5,)) for key in "567"),
        written({"a": Change(1, object())}, key="8"),
    ]
    recorder = encoding(make(faults=Faults("report")))
    with pytest.warns(UnrecordedWriteWarning):
        recorder.open().write(told, connection="c")
    assert (shape.made, few.made, plain.made) == (["1", "2", "3"], ["4"], [])
    assert [(one.n, one.key) for one in beside.lines] == [(4, "5"), (5, "6"), (6, "7")]
    assert [(one.n, one.key, one.changes.new("a")) for _, one in beside.records] == [
        (0, "1", "x"),
        (1, "2", "\ud800"),
        (2, "3", "x"),
        (3, "4", 4),
        (7, "8", UNKNOWN),
    ]


def test_without_a_connection_everything_is_recorded_in_full(
    make: Make, store: MemoryStore
) -> None:
    """A store that is elsewhere takes records."""
    make().open().write([Plain(Shape(), "1", (1,)), written(key="2")])
    assert [(one.key, one.changes.new("a")) for one in records_of(store)] == [("1", 1), ("2", 2)]


def test_writers_do_not_share_a_revision(make: Make, beside: Beside) -> None:
    """Each transaction has its own, of its own group unless it is given one."""
    recorder = make()
    first = recorder.open()
    first.write([written()], connection="a")
    second = recorder.open(first.group)
    second.write([written()], connection="b")
    third = recorder.open()
    third.write([written()], connection="a")
    one, other, last = (revision for _, revision in beside.revisions)
    assert len({one.id, other.id, last.id}) == 3
    assert one.group == one.id == other.group
    assert last.group == last.id
    assert [connection for connection, _ in beside.revisions] == ["a", "b", "a"]


def test_a_revision_undone_is_started_anew(make: Make, beside: Beside) -> None:
    """By whoever acts by then, in the same group, numbered from the start."""
    writer = make().open()
    with acting("ann"):
        writer.write([written(), written()], connection="c")
    group = writer.group
    writer.undone()
    assert not writer.stored
    with acting("bob"):
        writer.write([written(key="2")], connection="c")
    (_, gone), (_, kept) = beside.revisions
    assert (gone.actor, kept.actor) == ("ann", "bob")
    assert gone.at < kept.at
    assert kept.id != gone.id
    assert kept.group == gone.group == group
    record = beside.records[-1][1]
    assert (record.n, record.key, record.revision) == (0, "2", kept)
    assert writer.stored


def test_every_write_without_a_connection_is_a_revision_of_the_same_group(
    make: Make, store: MemoryStore
) -> None:
    """A store takes a revision only once, so a second write never joins the first one."""
    writer = make().open()
    writer.write([written(key="1"), written(key="2")])
    writer.write([written(key="3")])
    found = records_of(store)
    assert [(record.revision.seq, record.n, record.key) for record in found] == [
        (1, 0, "1"),
        (1, 1, "2"),
        (2, 0, "3"),
    ]
    assert {record.revision.group for record in found} == {writer.group} == {found[0].revision.id}


def test_a_write_that_cannot_be_stored_leaves_the_writer_as_it_was(
    make: Make, beside: Beside
) -> None:
    """The next write starts over."""
    recorder = make()

    def elsewhere(connection: Any) -> Beside:
        raise RecordingError("elsewhere")

    recorder.beside = elsewhere
    writer = recorder.open()
    with pytest.raises(RecordingError):
        writer.write([written()], connection="c")
    assert (writer.stored, writer.group) == (False, None)
    recorder.beside = lambda connection: beside
    writer.write([written()], connection="c")
    assert [record.n for _, record in beside.records] == [0]


# --- what is intended first ---


class Keeping(MemoryStore):
    """A store that keeps the intents and the records it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.intended: list[Intent] = []
        self.confirmed: list[Record] = []

    def intend(self, intent: Intent) -> None:
        self.intended.append(intent)
        super().intend(intent)

    def confirm(
        self, revision: Revision, records: Sequence[Record], intents: Sequence[UUID]
    ) -> Revision:
        self.confirmed += records
        return super().confirm(revision, records, intents)


def test_what_was_intended_is_recorded_without_making_its_text_again(make: Make) -> None:
    """The text is kept with the changes when the intent is written."""
    store = Keeping()
    recorder = make(durability="intent")
    recorder.store = lambda: store
    writer, one = recorder.open(), written({"tags": Change(["a", "b"], ["b"] * 20)})
    writer.intend([one], ["trace"])
    (intent,) = store.intended
    dump_intent(intent)

    writer.write([one])

    (record,) = store.confirmed
    assert record == intent.records[0]
    assert record.changes is intent.records[0].changes
    assert dump(record.changes) is dump(intent.records[0].changes)
    assert list(store.intents()) == []


def test_intents_of_one_revision_are_told_apart(make: Make) -> None:
    """They are confirmed together, numbered as they came."""
    store = Keeping()
    recorder = make(durability="intent")
    recorder.store = lambda: store
    writer = recorder.open()
    some = [written(key=key) for key in "ab"]
    for one in some:
        writer.intend([one], ["trace"])

    assert len({intent.id for intent in store.intents()}) == 2

    writer.write(some)

    assert [(record.n, record.key) for record in store.confirmed] == [(0, "a"), (1, "b")]
    assert list(store.intents()) == []


def test_what_became_of_an_intent_is_recorded(make: Make) -> None:
    """It need not be what was intended."""
    store = Keeping()
    recorder = make(durability="intent")
    recorder.store = lambda: store
    writer, one = recorder.open(), written({"a": Change(1, 2)})
    writer.intend([one], ["trace"])
    one.changes = ChangeSet({"a": Change(1, 3)})

    writer.write([one])

    assert [record.changes for record in records_of(store)] == [{"a": Change(1, 3)}]
    assert list(store.intents()) == []


def test_the_default_clock_tells_aware_time(store: MemoryStore, beside: Beside) -> None:
    """In UTC, now."""
    recorder = Recorder(beside=lambda connection: beside, store=lambda: store)
    before = datetime.now(UTC)
    recorder.open().write([written()])
    at = records_of(store)[0].at
    assert before <= at <= datetime.now(UTC)
    assert at.tzinfo is UTC


def test_a_group_may_be_given_from_outside(make: Make, store: MemoryStore) -> None:
    """As when several databases take part in one unit of work."""
    group = UUID(int=7)
    writer = make().open(group)
    assert writer.group == group
    writer.write([written()])
    assert records_of(store)[0].revision.group == group


class Refused:
    """A value that has no form in the log."""


@pytest.mark.parametrize("through", ["c", None])
def test_a_value_without_a_form_fails_the_write(
    through: Any, make: Make, beside: Beside, store: MemoryStore
) -> None:
    """The error names entity, key, field and cause, and nothing of it is stored."""
    recorder = encoding(make())
    bad: dict[str, Delta] = {"a": Change(1, 2), "b": Change(1, Refused())}
    with pytest.raises(RecordingError, match=r"^Order 1: field 'b' cannot be .*Refused has no"):
        recorder.open().write([written(bad)], connection=through)


@pytest.mark.parametrize("through", ["c", None])
def test_a_value_without_a_form_is_unknown_where_that_is_reported(
    through: Any, make: Make, beside: Beside, store: MemoryStore
) -> None:
    """Only the side that is affected, only in its record; the revision is written once."""
    faults = Faults("report")
    writer = encoding(make(faults=faults)).open()
    bad: dict[str, Delta] = {"a": Change(1, 2), "b": Change(1, Refused())}
    with pytest.warns(UnrecordedWriteWarning, match="Order 2"):
        writer.write([written(key="1"), written(bad, key="2")], connection=through)
    found = [one for _, one in beside.records] if through else records_of(store)
    assert [(one.key, one.n, one.error is None) for one in found] == [
        ("1", 0, True),
        ("2", 1, False),
    ]
    assert dict(found[1].changes) == {"a": Change(1, 2), "b": Change(1, UNKNOWN)}
    assert len({one.revision.id for one in found}) == 1
    if through:
        assert len(beside.revisions) == 1


def encoding(recorder: Recorder) -> Recorder:
    """The recorder with stores that encode what they are given, as real ones do."""
    beside, store = recorder.beside(None), recorder.store()
    insert_records, append = beside.insert_records, store.append

    def encode_then_insert(connection: Any, revision: Revision, records: Any) -> None:
        for record in records:
            if isinstance(record, Record):
                dump(record.changes)
        insert_records(connection, revision, records)

    def encode_then_append(revision: Revision, records: Any) -> Revision:
        for record in records:
            dump(record.changes)
        return append(revision, records)

    beside.insert_records = encode_then_insert  # type: ignore[method-assign]
    store.append = encode_then_append  # type: ignore[method-assign]
    return recorder
