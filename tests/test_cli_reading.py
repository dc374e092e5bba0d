"""The commands that read the log, export it, and put objects back."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.orm import close_all_sessions

from lifecycle.cli import exporting
from lifecycle.cli.commands import lifecycle as command
from lifecycle.cli.logs import FOUND

APPLICATION = """
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker
from lifecycle import Lifecycle, acting, audited

class Base(DeclarativeBase):
    pass

@audited(entity="cli.Order")
class CliOrder(Base):
    __tablename__ = "cli_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int | None]
    note: Mapped[str | None]
    lines: Mapped[list["CliLine"]] = relationship(cascade="all, delete-orphan")

@audited(entity="cli.Line")
class CliLine(Base):
    __tablename__ = "cli_line"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("cli_order.id"))

engine = create_engine("sqlite:///app.db")
Base.metadata.create_all(engine)
Session = sessionmaker(engine)
lifecycle = Lifecycle()
lifecycle.install(Session)
lifecycle.create_tables(engine)

def setup():
    with acting("ann", reason="=first"), Session.begin() as session:
        session.add(CliOrder(id=1, total=1, note="=1+1", lines=[CliLine(id=5)]))
    with acting("bob", request_id="r7"), Session.begin() as session:
        session.get(CliOrder, 1).total = 2
"""

URL = "sqlite:///app.db"
Run = Callable[..., Result]


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with a Lifecycle, in the working directory, and two transactions in its log."""
    (tmp_path / "cli_shop.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import cli_shop

    cli_shop.setup()
    yield cli_shop
    close_all_sessions()
    cli_shop.lifecycle.uninstall(cli_shop.Session)
    cli_shop.engine.dispose()
    cli_shop.Base.registry.dispose()
    del sys.modules["cli_shop"]


@pytest.fixture
def run(application: Any) -> Run:
    """Runs the command with arguments."""
    return lambda *arguments: CliRunner().invoke(command, list(map(str, arguments)))


def lines(result: Result) -> list[Any]:
    """The JSON objects that a command printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def ids(run: Run, *arguments: Any) -> list[str]:
    """The ids of the records that `history` finds."""
    return [found["id"] for found in lines(run("history", URL, *arguments, "--json"))]


def test_history_is_of_an_object_a_model_or_all_with_filters_composed(run: Run) -> None:
    """The URL comes first, anywhere, or as an option."""
    everything = ids(run)
    assert len(everything) == 3
    assert ids(run, "cli.Order") == ids(run, "cli.Order", 1) == [everything[0], everything[2]]
    assert ids(run, "--actor", "bob", "--field", "total") == everything[:1]
    assert ids(run, "--request", "r7", "--since", "2020-01-01T00:00") == everything[:1]
    assert lines(run("history", "cli.Line", "--store", URL, "--json"))[0]["entity"] == "cli.Line"
    assert "update cli.Order 1  bob" in run("history", URL).output
    assert "update  bob" in run("history", URL, "cli.Order", "1").output
    assert run("history", URL, "--until", "2020-01-01").exit_code == 1
    assert "is no time" in run("history", URL, "--since", "soon").output


def test_an_application_is_found_by_its_module(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option or by LIFECYCLE_APP; without either and without a URL the command says so."""
    assert "ann" in run("history", "--app", "cli_shop:lifecycle").output
    monkeypatch.setenv("LIFECYCLE_APP", "cli_shop:lifecycle")
    assert "bob" in run("history").output
    monkeypatch.delenv("LIFECYCLE_APP")
    nothing = run("history")
    assert nothing.exit_code == 2
    assert "whose log?" in nothing.output
    assert run("history", "--app", "cli_shop:engine").exit_code == 2


def test_show_tells_a_revision_or_a_record(run: Run) -> None:
    """By id; flush by flush, or net."""
    (first, *_) = ids(run, "--actor", "ann")
    revision = first.partition(".")[0]
    shown = run("show", URL, revision)
    assert "insert cli.Order 1" in shown.output
    assert "insert cli.Line 5" in shown.output
    assert [found["id"] for found in lines(run("show", URL, first, "--json"))] == [first]
    assert "insert cli.Line 5\torder_id" in run("show", URL, revision, "--net").output
    missing = run("show", URL, f"{revision}.99")
    assert missing.exit_code == 1
    assert "there is no record" in missing.output


def test_diff_compares_versions_and_can_tell_by_its_exit_code(run: Run) -> None:
    """Like git's."""
    first = next(id for id in reversed(ids(run)))
    revision = first.partition(".")[0]
    told = run("diff", URL, "cli.Order", 1, revision)
    assert (told.exit_code, told.output) == (0, "total\t1\t2\n")
    assert run("diff", URL, "cli.Order", 1, revision, "--exit-code").exit_code == FOUND
    same = run("diff", URL, "cli.Order", 1, revision, revision, "--exit-code")
    assert (same.exit_code, same.output) == (0, "Nothing differs.\n")


def test_blame_tells_who_set_each_field(run: Run) -> None:
    """And of one field every value it had."""
    told = {
        found["field"]: found["who"] for found in lines(run("blame", URL, "cli.Order", 1, "--json"))
    }
    assert told == {"id": "ann", "total": "bob", "note": "ann"}
    values = lines(run("blame", URL, "cli.Order", 1, "total", "--json"))
    assert [(one["value"], one["who"]) for one in values] == [(2, "bob"), (1, "ann")]
    none = run("blame", URL, "cli.Order", 1, "fax")
    assert (none.exit_code, none.output) == (
        1,
        f"Error: no record of cli.Order 1 tells of a field 'fax' in {URL}\n",
    )


def test_as_of_shows_an_object_with_what_it_led_to(run: Run) -> None:
    """Relations take the application."""
    revision = ids(run)[-1].partition(".")[0]
    assert "cli.Order 1\ttotal\t1\n" in run("as-of", URL, "cli.Order", 1, revision).output
    related = ("as-of", "cli.Order", 1, revision, "--related", "lines")
    assert "lines: cli.Line 5\tid\t5\n" in run(*related, "--app", "cli_shop:lifecycle").output
    assert "name it with --app" in run(*related, "--store", URL).output
    assert run("as-of", URL, "cli.Order", 1, "2020-01-01").exit_code == 1


def test_tail_shows_the_newest_oldest_first(run: Run) -> None:
    """So many as asked for."""
    found = [one["id"] for one in lines(run("tail", URL, "-n", 2, "--json"))]
    assert found == ids(run)[:2][::-1]


def test_stats_count_by_model_operation_and_actor(run: Run) -> None:
    """One line for each."""
    assert run("stats", URL).output.splitlines() == [
        "cli.Line\tinsert\tann\t1",
        "cli.Order\tinsert\tann\t1",
        "cli.Order\tupdate\tbob\t1",
    ]


def test_export_writes_json_lines_and_harmless_csv(run: Run, tmp_path: Path) -> None:
    """By the file's name, with the filters of history; no cell is a formula to a spreadsheet."""
    told = run("export", URL, "all.jsonl")
    assert "3 records are in all.jsonl" in told.output
    found = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert [one["id"] for one in found] == ids(run)[::-1]
    run("export", URL, "orders.csv", "--entity", "cli.Order")
    with Path("orders.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["actor"], first["reason"]) == ("ann", "'=first")
    assert (second["actor"], json.loads(second["changes"])) == ("bob", {"total": [1, 2]})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_export_to_a_full_disk_says_so(run: Run) -> None:
    """In a line."""
    result = run("export", URL, "/dev/full")
    assert result.exit_code == 1
    assert result.output == "Error: /dev/full cannot be written: No space left on device\n"


def test_export_writes_parquet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With times as times, every other column as text, in row groups; never to the output."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    monkeypatch.setattr(exporting, "_CHUNK", 2)
    assert run("export", URL, "all.parquet").exit_code == 0
    file = parquet.ParquetFile("all.parquet")
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (3, 2)
    rows = file.read().to_pylist()
    assert [one["id"] for one in rows] == ids(run)[::-1]
    assert rows[0]["at"] == datetime.fromisoformat(lines(run("tail", URL, "--json"))[0]["at"])
    assert (rows[2]["actor"], json.loads(rows[2]["changes"])) == ("bob", {"total": [1, 2]})
    assert rows[2]["reason"] is None
    assert run("export", URL, "-", "--format", "parquet").exit_code == 2
    assert "0 records" in run("export", URL, "none.parquet", "--actor", "nobody").output
    assert parquet.read_table("none.parquet").num_rows == 0


def test_export_to_parquet_names_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is not installed; no file is left."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("export", URL, "all.parquet")
    assert result.exit_code == 1
    assert "lifecycle-audit[parquet]" in result.output
    assert not Path("all.parquet").exists()


def test_undo_shows_what_it_would_do_and_does_it_when_told(run: Run, application: Any) -> None:
    """It is recorded with who did it; again there is nothing to do; a conflict exits with 1."""
    app = ("--app", "cli_shop:lifecycle")
    change = ids(run)[0]
    dry = run("undo", *app, change, "--dry-run")
    assert (dry.exit_code, len(ids(run))) == (0, 3)
    assert "update cli.Order 1\ttotal\t2\t1" in dry.output
    unanswered = run("undo", *app, change)
    assert (unanswered.exit_code, "give --yes" in unanswered.output) == (2, True)
    done = run("undo", *app, change, "--yes", "--actor", "cli")
    assert done.exit_code == 0, done.output
    assert "Done, as revision" in done.output
    assert lines(run("history", URL, "--json"))[0]["actor"] == "cli"
    again = run("undo", *app, change)
    assert (again.exit_code, "Nothing to do" in again.output) == (0, True)
    with application.Session.begin() as session:
        session.get(application.CliOrder, 1).total = 9
    refused = run("undo", *app, change, "--yes")
    assert refused.exit_code == 1
    assert "total was changed again since" in refused.output
    assert "it takes your application" in run("undo", URL, change).output


def test_a_field_that_nothing_has_is_refused(run: Run, application: Any) -> None:
    """It is not said that everything is as it should be."""
    change = ids(run)[0]
    for verb in ("undo", "restore"):
        refused = run(
            verb, "--app", "cli_shop:lifecycle", change, "--field", "totl", "--dry-run", "--json"
        )
        assert refused.exit_code == 1
        assert "cli.Order has no field 'totl'" in refused.output
        assert "did you mean total?" in refused.output


def test_undo_tells_scripts_what_it_did(run: Run, application: Any) -> None:
    """As one JSON object, with what is in the way if something is."""
    app = ("--app", "cli_shop:lifecycle", "--json")
    change = ids(run)[0]
    (dry,) = lines(run("undo", *app, change, "--dry-run"))
    assert [(one["entity"], one["changes"]) for one in dry["steps"]] == [
        ("cli.Order", {"total": [2, 1]})
    ]
    assert (dry["conflicts"], dry["revisions"]) == ([], [])
    (done,) = lines(run("undo", *app, change, "--yes"))
    assert ids(run)[0].startswith(done["revisions"][0])
    (again,) = lines(run("undo", *app, change))
    assert (again["steps"], again["revisions"]) == ([], [])
    with application.Session.begin() as session:
        session.get(application.CliOrder, 1).total = 9
    refused = run("undo", *app, change, "--yes")
    assert refused.exit_code == 1
    (conflict,) = json.loads(refused.stdout)["conflicts"]
    assert (conflict["kind"], conflict["field"]) == ("changed", "total")


def test_restore_goes_to_a_version_and_brings_back_what_is_gone(run: Run, application: Any) -> None:
    """By a record's id, or by the object's name."""
    app = ("--app", "cli_shop:lifecycle")
    first = ids(run, "cli.Order")[-1]
    assert run("restore", *app, first, "--yes").exit_code == 0
    with application.Session.begin() as session:
        assert session.get(application.CliOrder, 1).total == 1
        session.delete(session.get(application.CliOrder, 1))
    assert run("restore", *app, "cli.Order", 1, "--yes").exit_code == 0
    with application.Session() as session:
        assert session.get(application.CliOrder, 1).note == "=1+1"


@pytest.mark.parametrize(
    "name",
    ["history", "show", "diff", "blame", "as-of", "tail", "stats", "export", "undo", "restore"],
)
def test_help_teaches_with_examples(run: Run, name: str) -> None:
    """Every command says what it does, how it is called, and where the log is named."""
    told = run(name, "--help").output
    assert f"Usage: lifecycle {name} [OPTIONS] [URL]" in told
    assert f"  lifecycle {name} " in told
    assert "LIFECYCLE_APP" in told


def test_a_store_without_tables_is_named(tmp_path: Path) -> None:
    """A mistyped path makes no empty database."""
    result = CliRunner().invoke(command, ["tail", f"sqlite:///{tmp_path / 'none.db'}"])
    assert result.exit_code == 1
    assert "there is no file" in result.output
