"""The judge finds everything that can be wrong with a log, and failing programs get short."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from msgspec.structs import replace

from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import Query
from lifecycle.audit.stores.sql.store import SqlStore
from lifecycle.changes import Change, ChangeSet, Operation, SetEdit
from lifecycle.markers import ABSENT, MASKED, UNKNOWN
from tests.workload.database import Database
from tests.workload.exploring import explore, shrink
from tests.workload.judging import (
    ERROR,
    MISMATCH,
    UNKNOWN_OLD,
    WRONG_OLD,
    Complaint,
    alike,
    judge,
)
from tests.workload.programs import from_text
from tests.workload.running import Run
from tests.workload.truth import Rows

UPDATE: Final = Operation.UPDATE

PROGRAM: Final = """
a.add(Book[2], True, {'title': 'one', 'pages': 1})
a.add(Path['a2'], True, {'size': 1})
a.add(Parcel[2], False, {'data': {'k': [1, 2]}}, {}, [1], 's', IPv4Address('10.0.0.1'), [])
a.commit()
a.change(Book[2], {'title': 'two'})
a.move(Path['a2'], Path['a4'])
a.change(Parcel[2], {'data': {'k': [1, 3]}})
a.commit()
a.change(Book[2], {'pages': 2})
a.change(Path['a4'], {'size': 2})
a.commit()
a.add(Book[4], True, {'title': 'four', 'pages': 4})
a.commit()
a.delete(Book[4])
a.commit()
"""


class Log:
    """The records of a run, and what they are compared with."""

    def __init__(self, database: Database, run: Run) -> None:
        self.records = list(database.lifecycle.store.scan(Query()))
        self.rows: Rows = database.rows()
        self.committed = {record.actor for record in self.records if record.actor}

    def complaints(self, records: list[Record]) -> list[Complaint]:
        """What the judge says of other records beside the same tables."""
        return judge(records, self.rows, self.committed).complaints

    def kinds(self, records: list[Record]) -> set[str]:
        return {one.kind for one in self.complaints(records)}


@pytest.fixture
def log(sqlite: Database) -> Log:
    """The log of a program without a fault, with a record of every form."""
    run = explore(sqlite, 3)
    assert run.complaints == []
    return Log(sqlite, run)


def _seen(record: Record) -> bool:
    """Whether the record says anything: of hidden values only that they changed is known."""
    return any(
        not isinstance(delta, Change) or delta.new is not MASKED
        for delta in record.changes.values()
    )


def _with_change(record: Record, path: str, change: Change) -> Record:
    changes = ChangeSet({**dict(record.changes.items()), path: change}, record.operation)
    return replace(record, changes=changes)


def _places(log: Log) -> Iterator[tuple[int, Record]]:
    found = [(at, record) for at, record in enumerate(log.records) if _seen(record)]
    assert len(found) > 50
    assert {record.operation for _, record in found} == {*Operation} - {Operation.BULK}
    yield from found


def test_a_log_without_a_fault_is_right(log: Log) -> None:
    """Else the tests below would say nothing."""
    assert log.complaints(log.records) == []


def test_every_record_that_is_missing_is_found(log: Log) -> None:
    """Whatever it told, some value or some row is not what it should be."""
    for at, record in _places(log):
        assert log.complaints(log.records[:at] + log.records[at + 1 :]), record


def test_every_record_that_is_there_twice_is_found(log: Log) -> None:
    """Also of updates, whose second telling changes nothing."""
    for at, record in _places(log):
        assert log.complaints(log.records[: at + 1] + log.records[at:]), record


def test_every_false_old_value_is_found(log: Log) -> None:
    """Of every field of every record."""
    count = 0
    for at, record in _places(log):
        for path, delta in record.changes.items():
            if isinstance(delta, Change):
                false = _with_change(record, path, Change("false", delta.new))
                records = [*log.records[:at], false, *log.records[at + 1 :]]
                assert WRONG_OLD in log.kinds(records), (path, record)
                count += 1
    assert count > 100


def test_every_false_new_value_is_found(log: Log) -> None:
    """By what the table holds, or by the old value of the next change."""
    for at, record in _places(log):
        for path, delta in record.changes.items():
            if isinstance(delta, Change) and delta.new not in (MASKED, ABSENT):
                false = _with_change(record, path, Change(delta.old, "false"))
                records = [*log.records[:at], false, *log.records[at + 1 :]]
                assert log.complaints(records), (path, record)


def test_every_old_value_that_is_not_known_is_counted(log: Log) -> None:
    """True or loud; here it could have been true."""
    for at, record in _places(log):
        path, delta = next(iter(record.changes.items()))
        if record.operation is Operation.UPDATE and isinstance(delta, Change):
            unknown = _with_change(record, path, Change(UNKNOWN, delta.new))
            records = [*log.records[:at], unknown, *log.records[at + 1 :]]
            assert UNKNOWN_OLD in log.kinds(records), (path, record)


def test_a_record_of_what_never_was_is_found(log: Log) -> None:
    """A row, or a change that comes to nothing."""
    last = log.records[-1]
    row = ChangeSet({"id": Change(ABSENT, 999)}, Operation.INSERT)
    phantom = replace(
        last, entity="workload.Book", key="999", changes=row, operation=Operation.INSERT
    )
    assert MISMATCH in log.kinds([*log.records, phantom])
    for at, record in _places(log):
        if record.operation is Operation.UPDATE:
            nothing = replace(record, changes=ChangeSet({}, Operation.UPDATE))
            assert MISMATCH in log.kinds([*log.records[:at], nothing, *log.records[at:]])


def test_a_record_of_a_transaction_that_was_rolled_back_is_found(log: Log) -> None:
    """Even where it would do no harm."""
    for actor in log.committed:
        found = judge(log.records, log.rows, log.committed - {actor}).complaints
        assert {(one.kind, one.text) for one in found} == {
            (MISMATCH, f"recorded for {actor}, which was not committed")
        }


def test_a_second_revision_of_one_transaction_is_found(log: Log) -> None:
    """A transaction is one revision."""
    first, second = list(dict.fromkeys(record.revision.id for record in log.records))[:2]
    actor = next(record.actor for record in log.records if record.revision.id == first)
    records = [
        replace(record, revision=replace(record.revision, actor=actor))
        if record.revision.id == second
        else record
        for record in log.records
    ]
    assert {one.text for one in log.complaints(records)} == {f"a second revision of {actor}"}


def test_a_change_past_the_log_is_found(sqlite: Database) -> None:
    """The tables are read without the capture's help."""
    run = explore(sqlite, 3)
    sqlite.connection.exec_driver_sql("DELETE FROM lifecycle_change WHERE n = 1")
    assert sqlite.judge(run.committed).count(MISMATCH)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), (1, "1"), (None, ABSENT), ({"k": 1}, {"k": True}), (b"x", "x")],
)
def test_values_of_two_types_are_never_alike(one: Any, other: Any) -> None:
    """Python takes some of them for equal."""
    assert not alike(one, other)


def test_one_number_or_time_in_two_forms_is_alike() -> None:
    """A database does not keep the difference."""
    assert alike(Decimal("1.5"), Decimal("1.50"))
    assert alike(
        datetime.fromisoformat("2026-01-01T00:00+00:00"),
        datetime.fromisoformat("2026-01-01T01:00+01:00"),
    )


class TestCollections:
    """Of many-to-many collections the log has what was added and removed."""

    TRUTH: Rows = {"Article": {"1": {"tags": frozenset({"5", "6"})}}}

    def judged(self, *edits: tuple[Operation, set[str], set[str]], truth: Rows = TRUTH) -> set[str]:
        """The kinds of complaint about an article's records."""
        revision = Revision(id=UUID(int=1), at=datetime.now(UTC), actor="a0")
        records = [
            Record(
                revision=revision,
                n=n,
                entity="Article",
                key="1",
                operation=operation,
                changes=ChangeSet({"tags": SetEdit(frozenset(added), frozenset(gone))}, operation),
            )
            for n, (operation, added, gone) in enumerate(edits)
        ]
        return {one.kind for one in judge(records, truth, {"a0"}).complaints}

    def test_what_was_added_and_removed_comes_to_what_is_there(self) -> None:
        """Sets of keys, whatever their order."""
        assert not self.judged((Operation.INSERT, {"5", "7"}, set()), (UPDATE, {"6"}, {"7"}))

    def test_a_member_too_many_or_too_few_is_found(self) -> None:
        """In the end, for no old value tells of it."""
        assert self.judged((Operation.INSERT, {"5", "6", "7"}, set())) == {MISMATCH}
        assert self.judged((Operation.INSERT, {"5"}, set())) == {MISMATCH}

    def test_a_member_that_was_there_or_not_there_before_is_found(self) -> None:
        """It is an old value too."""
        insert = (Operation.INSERT, {"5", "6"}, set[str]())
        assert WRONG_OLD in self.judged(insert, (UPDATE, {"5"}, set()))
        assert WRONG_OLD in self.judged(insert, (UPDATE, set(), {"9"}))

    def test_a_member_that_outlives_its_owner_is_found(self) -> None:
        """A delete takes every member away."""
        insert = (Operation.INSERT, {"5", "6"}, set[str]())
        delete = (Operation.DELETE, set[str](), {"5"})
        assert self.judged(insert, delete, truth={}) == {MISMATCH}


class TestShrinking:
    """What is left of a program that fails."""

    def test_a_program_is_cut_down_to_the_steps_that_matter(
        self, sqlite: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And these to the values that matter."""
        insert = SqlStore.insert_records

        def forgetful(self: Any, connection: Any, revision: Any, records: Any) -> None:
            kept = [record for record in records if "pages" not in record.changes]
            insert(self, connection, revision, kept)

        monkeypatch.setattr(SqlStore, "insert_records", forgetful)
        short = shrink(sqlite, from_text(PROGRAM))
        assert [str(step) for step in short.steps] == [
            "a.add(Book[2], True, {'title': 'one'})",
            "a.commit()",
        ]
        assert [one.kind for one in short.complaints] == [MISMATCH]

    def test_an_error_that_no_application_should_see_is_a_complaint(
        self, sqlite: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It ends the program, and is not taken for a refusal of the database."""

        def broken(*args: Any) -> None:
            raise ValueError("broken on purpose")

        monkeypatch.setattr(SqlStore, "insert_records", broken)
        short = shrink(sqlite, from_text(PROGRAM))
        assert [one.signature for one in short.complaints] == [(ERROR, "ValueError", "broken")]
        assert "broken on purpose" in short.complaints[0].text
        assert len(short.steps) == 2

    def test_a_program_without_a_fault_is_left_as_it_is(self, sqlite: Database) -> None:
        """There is nothing to look for."""
        steps = from_text(PROGRAM)
        assert shrink(sqlite, steps).steps == steps
