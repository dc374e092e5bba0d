"""The command that runs the workload for long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workload import __main__ as command
from tests.workload import soaking
from tests.workload.__main__ import main
from tests.workload.judging import MISMATCH, Complaint
from tests.workload.programs import from_text
from tests.workload.running import Run
from tests.workload.soaking import Figures

ON_SQLITE = ["--database", "sqlite", "--transactions", "30"]


def test_a_soak_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """And is right when the log is."""
    status = main([*ON_SQLITE, "--seed", "3"])
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("sqlite  ")]
    _, transactions, commits, records, *wrong = line.split()
    assert transactions == "30"
    assert 0 < int(commits) < 30
    assert int(records)
    assert wrong == ["0", "0", "0", "0"]
    assert status == 0


def test_a_fault_is_printed_with_its_program_and_makes_the_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of its kind is made short; others are counted."""
    complaint = Complaint(MISMATCH, "Book", "2", "title", "made up")

    def explore(database: Any, seed: int, **options: Any) -> Run:
        run = Run(database, {}, steps=from_text("a.commit()"), transactions=15)
        run.complaints.append(complaint)
        run.verdict.complaints.append(complaint)
        return run

    monkeypatch.setattr(soaking, "explore", explore)
    assert main([*ON_SQLITE, "--seed", "7"]) == 1
    printed = capsys.readouterr().out
    assert "sqlite                30        0        0           2 " in printed
    assert printed.count("# seed 7 on sqlite") == 1
    assert "a.commit()\n# mismatch: Book 2.title: made up" in printed


def test_a_soak_that_is_stopped_prints_the_figures_so_far(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the usual end of a long one."""

    def soak(database: Any, figures: Figures, **options: Any) -> Iterator[int]:
        figures.transactions = 20
        yield 20
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "soak", soak)
    assert main(ON_SQLITE) == 0
    captured = capsys.readouterr()
    assert "stopped" in captured.err
    assert "sqlite                20 " in captured.out


def test_a_program_in_a_file_is_replayed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As it was printed, with its comments."""
    program = tmp_path / "program.txt"
    program.write_text("# two books\na.add(Book[2], True, {'title': 'x'})\na.commit()\n")
    assert main(["--database", "sqlite", "--program", str(program)]) == 0
    assert "sqlite: 1 records, {'done': 2}" in capsys.readouterr().out
