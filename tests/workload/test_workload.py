"""The log of random programs, replayed from empty, is what the tables hold."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import pytest
from sqlalchemy import Engine

from tests.workload import soaking
from tests.workload.database import Database
from tests.workload.exploring import explore, replay
from tests.workload.judging import ERROR, Complaint
from tests.workload.limits import is_known
from tests.workload.programs import from_text, to_text
from tests.workload.running import Run
from tests.workload.soaking import FAILED_ALONE, Figures, own_failures, report, soak

PROGRAMS = 13
"""In each of the two parts; one program is 60 transactions."""


@pytest.mark.parametrize("part", ["first", "second"])
def test_the_log_replayed_is_the_tables_and_every_old_value_is_true(
    database: Database, part: str
) -> None:
    """On failure the shortest program that shows it is printed, to be run again as it stands."""
    first = 1 if part == "first" else 1001
    for seed in range(first, first + PROGRAMS):
        run = explore(database, seed, every=30)
        assert run.commits
        assert run.verdict.records
        if run.complaints:
            pytest.fail(report(database, seed, run), pytrace=False)


def test_a_program_is_the_same_each_time_it_is_made_up_and_each_time_it_is_run(
    sqlite: Database,
) -> None:
    """It is known by its seed, and by its text."""
    one, again = explore(sqlite, 7), explore(sqlite, 7)
    text = to_text(one.steps)
    assert text == to_text(again.steps)
    replayed = replay(sqlite, from_text(text), every=15)
    assert to_text(replayed.steps) == text
    assert replayed.errors == one.errors
    assert replayed.verdict.records == one.verdict.records


def test_programs_do_the_same_without_a_lifecycle(sqlite_engine: Engine) -> None:
    """Recording changes neither what is written nor what is refused."""
    with closing(Database(sqlite_engine.url)) as database:
        programs = [explore(database, seed, every=1000).steps for seed in range(1, 11)]
    found: dict[bool, Any] = {True: [], False: []}
    for recorded, results in found.items():
        with closing(Database(sqlite_engine.url, recorded=recorded)) as database:
            for steps in programs:
                run = replay(database, steps, every=1000, tolerated=lambda complaint: True)
                results.append((run.errors, _settled(database)))
    assert found[True] == found[False]


MOVED_FROM_WHAT_IS_LOADED_LATER: Final = """
a.reopen(True, False)
a.add(Company[58], False, {})
a.add(Book[126], True, {'title': 't'})
a.commit()
a.relate_new(Company[58], Contact[146], True, {})
a.update_by_keys(1, Book[126], Book[126], {})
a.set_new_owner(Contact[146], Company[156], False, {})
a.unrelate(Company[58])
"""


@pytest.mark.parametrize("recorded", [True, False])
def test_what_sqlalchemy_fails_at_without_a_lifecycle_is_expected(
    sqlite_engine: Engine, recorded: bool
) -> None:
    """Where this passes no more, SQLAlchemy has mended it, and `is_known` has nothing to know."""
    with closing(Database(sqlite_engine.url, recorded=recorded)) as database:
        steps = from_text(MOVED_FROM_WHAT_IS_LOADED_LATER)
        run = replay(database, steps, every=1000, tolerated=lambda complaint: True)
    assert [one.signature for one in run.failures] == [(ERROR, "ValueError", "remove")]
    assert all(map(is_known, run.failures))


def test_a_soak_tells_what_fails_without_a_lifecycle_too_from_what_does_not(
    sqlite: Database,
) -> None:
    """The first is no fault of the log, and is counted by itself."""
    run = replay(sqlite, from_text(MOVED_FROM_WHAT_IS_LOADED_LATER))
    assert run.failures
    assert own_failures(sqlite, run) == []
    figures = Figures("sqlite")
    figures.add(run)
    assert figures.is_right
    assert figures.steps == {"done": 7, FAILED_ALONE: 1}

    made_up = Complaint(ERROR, "ValueError", "", "remove", "raised where it is not else")
    run.failures.append(made_up)
    assert own_failures(sqlite, run) == [made_up]
    figures.add(run, [made_up])
    assert figures.complaints[ERROR] == 1


def test_a_soak_reports_a_failure_of_a_kind_that_is_known_when_it_is_not_sqlalchemys(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = Complaint(ERROR, "ValueError", "", "remove", "raised with a Lifecycle only")

    def once(*arguments: Any, **options: Any) -> Run:
        run = replay(sqlite, from_text("a.commit()"))
        run.failures.append(made_up)
        return run

    monkeypatch.setattr(soaking, "explore", once)
    figures = Figures("sqlite")
    assert list(soak(sqlite, figures, transactions=1, seed=1)) == [1]
    assert not figures.is_right
    (text,) = figures.reports.values()
    assert "raised with a Lifecycle only" in text


def _settled(database: Database) -> Any:
    """What the tables hold, without times and without what counts the flushes that failed too."""
    rows = database.rows()
    for objects in rows.values():
        for fields in objects.values():
            fields.pop("made", None)
            fields.pop("touched", None)
    return rows


def test_figures_add_up(sqlite: Database) -> None:
    """The last program is as short as need be."""
    figures = Figures("sqlite")
    assert list(soak(sqlite, figures, transactions=70, seed=1)) == [60, 10]
    assert (figures.programs, figures.transactions) == (2, 70)
    assert 0 < figures.commits < 70
    assert figures.records


ONCE_WRONG: Final = {
    "a second flush of one of several rows that onupdate changed": """
b.add(Barrel[14], True, {})
b.add(Barrel[68], False, {})
b.commit()
a.change(Barrel[14], {'label': 't23'})
a.change_twice(Barrel[68], {'label': 't25'}, {'label': None})
a.commit()
""",
    "two objects in place of one deleted": """
a.add(Slot[8, 8], False, {'booked_by': 't11'})
a.commit()
a.switch_row(Slot[8, 8], {'booked_by': 't15'}, True)
a.add(Slot[8, 8], True, {'booked_by': None})
a.commit()
""",
    "two objects in place of one deleted, whose row the database changes with each": """
a.add(Memo[52], False, {})
a.begin_nested()
a.switch_row(Memo[52], {}, True)
a.add(Memo[52], True, {})
a.commit()
""",
    "a member with a new key that leaves its collection": """
a.tag_new(True, Student[140], True, {}, Course[142], True, {})
a.commit()
a.retag(Student[140], 0)
a.move_associated(Course[142], False, Course[240])
a.commit()
""",
    "an orphan that another object replaces": """
a.reopen(False, False)
a.add_order(Order[111], True, {}, 2, {}, {})
a.commit()
a.replace_line(Order[111], {'article': None})
a.commit()
""",
    "an expression on an object in place of a deleted one": """
a.upsert('Book', Book[38], {'title': 't1', 'pages': 3}, False)
a.switch_row(Book[38], {}, False)
a.count_up(Book[38])
a.commit()
""",
    "a version that counts up with a key that the database has changed": """
a.bulk_insert('Slot', 0, Slot[2, 2], {}, False)
a.relate_all_new(Employee[252], True, {'name': 't1'}, 0)
a.add(Manager[256], False, {'name': ' '})
a.relate(Employee[256], Employee[252])
a.move_in_table(Slot[2, 2], 2, False)
a.move_associated(Person[256], False, Manager[266])
a.commit()
""",
    "a version of what a rollback puts back into a session that has let go of it": """
a.relate_all_new(Employee[22], True, {'name': 't1'}, 1, Employee[26], True, {'name': 't3'})
a.flush()
a.move_associated(Person[26], False, Employee[124])
a.commit()
a.move_associated(Person[124], False, Employee[182])
a.delete_folders(0, 3)
a.rollback()
a.delete(Person[22])
a.commit()
""",
}


@pytest.mark.parametrize("program", ONCE_WRONG.values(), ids=ONCE_WRONG.keys())
def test_what_was_once_wrong_is_right(sqlite: Database, program: str) -> None:
    """Programs found by long runs."""
    run = replay(sqlite, from_text(program))
    assert run.complaints == []
    assert set(run.outcomes) == {"done"}
