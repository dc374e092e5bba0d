"""The benchmark itself: it runs, and it does not believe a contestant that keeps no log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from tests.bench import __main__ as command
from tests.bench import documents, instructions
from tests.bench.__main__ import main
from tests.bench.contestants import CONTESTANTS, Contestant, Keeper
from tests.bench.loads import LOADS
from tests.bench.measuring import Figure, measure
from tests.bench.printing import print_tables
from tests.bench.workers import Failed, worker
from tests.servers import Unavailable

PLAIN, KEEPER = (one for one in CONTESTANTS if one.name in ("plain", "lifecycle"))
TINY = {"flush": 20, "single": 3, "among": 30, "update": 40}


class Forgetful(Keeper):
    """A contestant that claims to keep a log, and does not."""

    name = "forgetful"

    def install(
        self, base: type[DeclarativeBase], engine: Engine, sessions: sessionmaker[Session]
    ) -> None:
        """The tables are made, and nothing writes into them."""
        super().install(base, engine, sessions)
        self._lifecycle.uninstall(sessions)


class Broken(Contestant):
    """A contestant that does not work with this SQLAlchemy."""

    name = "broken"

    def begin(self, base: type[DeclarativeBase]) -> None:
        """What an outdated import would do."""
        raise ImportError("no such name in sqlalchemy")


@pytest.fixture(scope="module")
def figures() -> dict[tuple[str, str], Figure]:
    """The figures of every load, tiny, by step and contestant."""
    loads = [load.of(TINY[name]) for name, load in LOADS.items()]
    told: list[str] = []
    found = list(measure("sqlite", [PLAIN, KEEPER], loads, 2, told.append))
    assert len(told) == len(loads) * 2 * 3  # contestants, and rounds with the one that counts
    return {(f"{one.section.split(':')[0]}: {one.what}", one.contestant): one for one in found}


EXPECTED = {
    "sqlite, flush: insert": (2, 20),
    "sqlite, flush: load": (0, None),
    "sqlite, flush: update 3 of 10 columns": (2, 20),
    "sqlite, flush: delete": (2, 20),
    "sqlite, flush: insert, update and delete": (6, 60),
    "sqlite, single: insert": (2, 3),
    "sqlite, single: update 3 of 10 columns": (2, 3),
    "sqlite, single: delete": (2, 3),
    "sqlite, among: in an empty session": (pytest.approx(2.9), 10),
    "sqlite, among: among 30 clean objects": (pytest.approx(2.9), 10),
}


@pytest.mark.parametrize("what", EXPECTED)
def test_each_step_tells_its_time_ratio_statements_and_records(
    figures: dict[tuple[str, str], Figure], what: str
) -> None:
    """Statements are those of one commit."""
    plain, keeper = figures[what, "plain"], figures[what, "lifecycle"]
    assert plain.value > 0
    assert (plain.ratio, plain.records or 0) == (1, 0)
    assert keeper.ratio is not None
    assert keeper.ratio > 0
    assert keeper.statements is not None
    assert plain.statements is not None
    assert (keeper.statements - plain.statements, keeper.records) == EXPECTED[what]


def test_statements_past_the_unit_of_work_are_recorded_row_by_row(
    figures: dict[tuple[str, str], Figure],
) -> None:
    """How many statements that takes is the affair of its own tests."""
    assert figures["sqlite, update: update 40 rows", "lifecycle"].records == 40


def test_a_contestant_that_records_nothing_is_found_out() -> None:
    """Else doing nothing would win."""
    load = LOADS["flush"].of(5)
    with (
        pytest.raises(Failed, match="forgetful left 0 records of flush: insert, not 5"),
        worker(Forgetful(), "sqlite://") as one,
    ):
        one.count(load)


def test_a_contestant_that_cannot_be_set_up_is_named_with_its_error() -> None:
    """The error is raised in its process, and told here."""
    with (
        pytest.raises(Failed, match=r"(?s)broken failed: .*no such name in sqlalchemy"),
        worker(Broken(), "sqlite://"),
    ):
        pass


def test_a_table_shows_each_figure(
    figures: dict[tuple[str, str], Figure], capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so where a change left nothing in a log."""
    print_tables(figures.values())
    lines = capsys.readouterr().out.splitlines()
    assert "sqlite, flush: 20 objects" in (line.rstrip() for line in lines)
    delete = next(n for n, line in enumerate(lines) if line.split()[:2] == ["delete", "plain"])
    assert lines[delete].split()[-1] == "nothing"
    assert "lifecycle" in lines[delete + 1]
    assert " 20 " in lines[delete + 1]


def test_the_command_prints_json_of_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Those who are left out are not in it."""
    chosen = ["--quick", "--rounds", "1", "--database", "sqlite", "--load", "single", "--json"]
    assert main([*chosen, "--without", "peers", "--without", "lifecycle-off"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["contestant"] for one in found["figures"]} == {"plain", "lifecycle"}
    assert {one["section"] for one in found["figures"]} == {"sqlite, single: 10 objects"}


def test_a_contestant_that_is_not_installed_is_left_out_and_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are measured all the same."""
    absent = Contestant()
    absent.name, absent.package = "absent", "a-package-that-nobody-made"
    monkeypatch.setattr(command, "CONTESTANTS", (absent,))
    assert main(["--database", "sqlite", "--load", "hooks", "--quick", "--json"]) == 0
    assert "absent is not measured: a-package-that-nobody-made" in capsys.readouterr().err


def test_peers_are_imported_in_their_own_processes_only() -> None:
    """They change SQLAlchemy's classes for good."""
    code = (
        "import sys, tests.bench.__main__; "
        "print({'sqlalchemy_continuum', 'postgresql_audit'} & {*sys.modules})"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_documents_are_measured_beside_mongoengine_alone() -> None:
    """Everything the log is to have of them is in it, else it is an error."""
    told: list[str] = []
    found = list(documents.figures(20, 1, told.append))
    assert len(told) == documents.PARTS * 2  # one round, and the one that warms up
    assert {one.contestant for one in found} == {"plain", "in memory", "lifecycle"}
    assert {one.what for one in found} == {*documents.REACH}
    assert all(one.value > 0 for one in found)


def test_instructions_are_counted_in_this_process_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the system does not let us, it says why."""
    try:
        with instructions.counter() as file:
            before = instructions.read(file)
            sum(range(1000))
            spent = instructions.read(file) - before
    except Unavailable:
        assert instructions.main(["--objects", "20"]) == 2
        assert "instructions" in capsys.readouterr().err
        return
    assert 5_000 < spent < 1_000_000
    assert instructions.main(["--objects", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sqlite, flush: 20 objects"
    assert [line.split("  ")[1] for line in lines[1:]] == [
        "insert",
        "load",
        "update 3 of 10 columns",
        "delete",
        "insert, update and delete",
    ]
