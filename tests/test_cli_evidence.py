"""`lifecycle seal | verify | erase | prune | hold`: what they answer, and how they exit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text, update

from lifecycle.audit.store import Query
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.changes import Change, ChangeSet
from lifecycle.cli.commands import lifecycle as command
from lifecycle.testing.store_contract import a_revision, append

Run = Callable[..., Result]

APPLICATION = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from lifecycle import Lifecycle

class Base(DeclarativeBase):
    pass

class CommandRow(Base):
    __tablename__ = "command_row"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

engine = create_engine("sqlite:///app.db")
Base.metadata.create_all(engine)
Session = sessionmaker(engine)
lifecycle = Lifecycle()
lifecycle.install(Session)
lifecycle.create_tables(engine)
"""


@pytest.fixture
def run() -> Run:
    """Runs the command with arguments."""
    return lambda *arguments: CliRunner().invoke(command, list(map(str, arguments)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """A log with three revisions."""
    store = SqlStore(f"sqlite:///{tmp_path / 'audit.db'}")
    store.create_tables()
    for actor in ("ann", "eve", "ann"):
        append(store, a_revision(actor=actor), {}, {"key": "2", "label": "\x1b[31m"})
    yield store
    store.close()


def test_seal_prints_a_checkpoint_to_keep(store: SqlStore, run: Run, tmp_path: Path) -> None:
    """And verify checks against the file it was kept in."""
    result = run("seal", store.url, "--by", "cron")
    assert result.exit_code == 0
    assert result.stderr == "6 records of 3 revisions were sealed in 1 seals.\n"
    kept = tmp_path / "checkpoints"
    kept.write_text(result.stdout)
    assert json.loads(result.stdout)["number"] == 1
    [entry] = store.ledger.entries()
    assert entry.actor == "cron"

    verified = run("verify", store.url, "--checkpoint", kept)
    assert verified.exit_code == 0
    assert "6 records of 3 revisions in 1 seals: nothing found." in verified.stdout
    answer = json.loads(run("verify", store.url, "--json").stdout)
    assert (answer["found"], answer["records"]) == (0, 6)
    assert json.loads(run("seal", store.url, "--json").stdout)["records"] == 0


def test_verify_leaves_its_verdict_in_the_log_when_asked(store: SqlStore, run: Run) -> None:
    """Who asked, and what was found; the next seal covers it."""
    run("seal", store.url)
    assert run("verify", store.url).exit_code == 0
    assert store.page(Query(entity="lifecycle.Verification")).records == ()
    assert run("verify", store.url, "--record", "--by", "cron").exit_code == 0
    [record] = store.page(Query(entity="lifecycle.Verification")).records
    assert (record.actor, record.label) == ("cron", "intact")
    found = {name: getattr(record.changes.get(name), "new", None) for name in record.changes}
    assert (found["intact"], found["found"], found["records"]) == (True, 0, 6)
    assert json.loads(run("seal", store.url, "--json").stdout)["records"] == 1
    assert run("verify", store.url).exit_code == 0


def test_verify_exits_with_3_when_something_was_altered(store: SqlStore, run: Run) -> None:
    """And names it, with what could steer a terminal escaped."""
    run("seal", store.url)
    with store.engine.begin() as connection:
        table = store.tables.change
        connection.execute(update(table).where(table.c.n == 1).values(key="\x1b[2J"))

    result = run("verify", store.url)

    assert result.exit_code == 3
    assert "altered: record 1 of revision 1 (shop.Order \\x1b[2J)" in result.stdout
    assert "\x1b" not in result.stdout
    answer = run("verify", store.url, "--json")
    assert answer.exit_code == 3
    assert json.loads(answer.stdout)["found"] == 3


def test_verify_exits_with_1_when_it_cannot(store: SqlStore, run: Run) -> None:
    """What was never sealed, and a log without the tables, are no proof of anything."""
    result = run("verify", store.url)
    assert result.exit_code == 1
    assert "run `lifecycle seal`" in result.stderr
    with store.engine.begin() as connection:
        connection.execute(text("DROP TABLE lifecycle_leaf"))
        connection.execute(text("DROP TABLE lifecycle_seal"))
    for name in ("seal", "verify"):
        result = run(name, store.url)
        assert result.exit_code == 1
        assert "lifecycle create-tables" in result.stderr


def test_a_key_to_trust_that_is_none_is_a_wrong_call(store: SqlStore, run: Run) -> None:
    """It is said before anything is read, with what a key looks like."""
    run("seal", store.url)
    result = run("verify", store.url, "--trust", "zz")
    assert result.exit_code == 2
    assert "'zz' is no Ed25519 public key: give 64 hexadecimal digits" in result.stderr


def test_erase_asks_first(store: SqlStore, run: Run) -> None:
    """Without a terminal it wants --yes; a dry run changes nothing."""
    target = ("--entity", "shop.Order", "--key", "2")
    refused = run("erase", store.url, *target)
    assert refused.exit_code == 2
    assert "give --yes" in refused.stderr
    assert run("erase", store.url, "--yes").exit_code == 1

    dry = run("erase", store.url, *target, "--dry-run")
    assert dry.stdout == "3 rows of the log would be erased.\n"
    done = run("erase", store.url, *target, "--yes", "--reason", "request", "--by", "dpo")
    assert done.stdout == "6 values of 3 rows of the log were erased.\n"
    [entry] = store.ledger.entries()
    assert (entry.kind, entry.actor, entry.reason) == ("erase", "dpo", "request")
    assert json.loads(run("erase", store.url, "--actor", "eve", "--yes", "--json").stdout) == {
        "matched": 1, "rows": 1, "values": 2, "dry_run": False, "pending": 0,
    }  # fmt: skip


def test_prune_removes_old_records(store: SqlStore, run: Run) -> None:
    """By number and by age; nonsense is refused."""
    assert run("prune", store.url, "--older-than", "5x", "--yes").exit_code == 2
    assert run("prune", store.url, "--yes").exit_code == 1
    dry = run("prune", store.url, "--entity", "shop.Order", "--keep", "1", "--dry-run")
    assert dry.stdout == "4 records and 0 revisions would be removed.\n"
    done = run("prune", store.url, "--entity", "shop.Order", "--keep", "1", "--yes")
    assert done.stdout == "4 records and 0 revisions were removed.\n"
    assert len(list(store.scan(Query()))) == 2
    assert run("prune", store.url, "--older-than", "1h", "--yes").exit_code == 0


def test_an_object_is_erased_and_handed_out_under_the_keys_it_had(
    store: SqlStore, run: Run, tmp_path: Path
) -> None:
    """By its present key, without the application."""
    append(store, a_revision(), {"key": "3", "former_key": "2"})
    file = tmp_path / "ann.jsonl"
    handed = run("export-subject", store.url, file, "--object", "shop.Order", "3", "--actor", "eve")
    assert handed.exit_code == 0
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert [one["key"] for one in found] == ["2", "1", "2", "2", "3"]
    assert found[1]["actor"] == "eve"
    assert run("export-subject", store.url, file).exit_code == 1

    done = run("erase", store.url, "--entity", "shop.Order", "--key", "3", "--yes", "--json")
    assert json.loads(done.stdout)["rows"] == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["hold", "{}", "--entity", "shop.Ordre"],
        ["erase", "{}", "--entity", "shop.Ordre", "--key", "2", "--yes"],
        ["export-subject", "{}", "-", "--object", "shop.Ordre", "2"],
    ],
)
def test_a_name_that_nothing_has_is_refused(
    store: SqlStore, run: Run, arguments: list[str]
) -> None:
    """So that a slip in writing does not hold, erase or hand out nothing."""
    result = run(*(one.format(store.url) for one in arguments))
    assert result.exit_code == 1
    assert "did you mean shop.Order?" in result.stderr
    assert store.ledger.holds() == []
    pruned = run("prune", store.url, "--entity", "shop.Ordre", "--keep", "1", "--yes")
    assert pruned.exit_code == 0  # a job goes on when there is nothing left
    assert "there are records of: shop.Order" in pruned.stderr


def test_a_field_that_no_record_has_is_refused(store: SqlStore, run: Run) -> None:
    """A slip in writing does not pass for a field without values."""
    append(store, a_revision(), {"changes": ChangeSet({"phone": Change("1", "2")})})
    for how in ("--yes", "--dry-run"):
        result = run("erase", store.url, "--entity", "shop.Order", "--field", "phnoe", how)
        assert result.exit_code == 1
        assert "no record of shop.Order has a field 'phnoe'" in result.stderr
        assert "did you mean phone?" in result.stderr
    done = run("erase", store.url, "--entity", "shop.Order", "--field", "phone", "--yes")
    assert done.exit_code == 0


@pytest.mark.parametrize("age", ["99999999999y", "99999999h"])
def test_an_age_before_all_time_is_refused(store: SqlStore, run: Run, age: str) -> None:
    """In a line."""
    result = run("prune", store.url, "--older-than", age, "--yes")
    assert result.exit_code in (1, 2)
    assert "Error: " in result.stderr


def test_a_file_that_is_no_text_is_named(store: SqlStore, run: Run, tmp_path: Path) -> None:
    """As the key to sign with, and as checkpoints."""
    file = tmp_path / "audit.key"
    file.write_bytes(b"\xfb\xff")
    assert run("seal", store.url).exit_code == 0
    for arguments in (["seal", "--key-file"], ["verify", "--checkpoint"]):
        result = run(arguments[0], store.url, arguments[1], file)
        assert result.exit_code == 1
        assert "audit.key cannot be read as text" in result.stderr


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [
        ("undo", "--field", "--dry-run"),
        ("restore", "--field", "--dry-run"),
        ("erase", "--entity", "--dry-run"),
        ("prune", "--older-than", "--dry-run"),
        ("seal", "--by", "--app"),
    ],
)
def test_help_names_what_before_how(run: Run, name: str, first: str, then: str) -> None:
    """The options of a command before those that all have."""
    options = run(name, "--help").stdout.partition("Options:")[2]
    assert -1 < options.find(first) < options.find(then) < options.find("--help")


def test_holds_are_set_listed_and_released(store: SqlStore, run: Run) -> None:
    """And keep what they hold."""
    assert run("hold", store.url).stdout == "Nothing is held.\n"
    made = run("hold", store.url, "--actor", "ann", "--reason", "case 7", "--by", "law")
    assert made.stdout.startswith("1  ")
    assert run("hold", store.url).stdout.endswith("actor 'ann' by 'law': 'case 7'\n")
    held = run("erase", store.url, "--actor", "ann", "--yes")
    assert held.exit_code == 1
    assert "legal hold 1 (case 7)" in held.stderr
    assert json.loads(run("hold", store.url, "--json").stdout)[0]["actor"] == "ann"
    assert run("hold", store.url, "--release", "1").stdout == "Hold 1 is released.\n"
    assert run("hold", store.url, "--release", "1").exit_code == 1
    assert run("hold", store.url, "--key", "1").exit_code == 1


def test_verify_finds_a_hold_that_was_taken_away(store: SqlStore, run: Run) -> None:
    """Until it is released, by somebody who is named in the chain, nothing is pruned."""
    run("seal", store.url)
    run("hold", store.url, "--actor", "ann", "--by", "law")
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM lifecycle_hold"))
    found = run("verify", store.url)
    assert found.exit_code == 3
    assert "deleted: legal hold 1: it was set and not released" in found.stdout
    refused = run("prune", store.url, "--older-than", "1h", "--yes")
    assert refused.exit_code == 1
    assert "legal hold 1 is not as it was set" in refused.stderr
    assert run("hold", store.url, "--release", "1", "--by", "judge").exit_code == 0
    assert run("verify", store.url).exit_code == 0
    assert [(one.kind, one.actor) for one in store.ledger.entries(1)] == [
        ("hold", "law"),
        ("release", "judge"),
    ]


def test_verify_against_the_database_of_an_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Given by its module and name; what was written past the log is named, and recorded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "command_application.py").write_text(APPLICATION)
    monkeypatch.setenv("LIFECYCLE_APP", "command_application:lifecycle")
    try:
        assert run("seal").exit_code == 0
        module = sys.modules["command_application"]
        with module.Session.begin() as session:
            session.add(module.CommandRow(id=1, name="a"))
        assert run("verify", "--against-database").exit_code == 0
        with module.engine.begin() as connection:
            connection.execute(text("UPDATE command_row SET name = 'b'"))
        found = run("verify", "--against-database", "--record")
        assert found.exit_code == 3
        assert "altered past the log: CommandRow 1: name" in found.stdout
        assert "1 found; 1 were recorded." in found.stdout
        assert run("verify", "--against-database").exit_code == 0
        result = run("lint", "--json")
        assert result.exit_code == 3
        assert {"entity": "CommandRow", "field": "", "rule": "entity"}.items() <= next(
            one for one in json.loads(result.stdout) if one["entity"] == "CommandRow"
        ).items()
        rules = ("secret", "mutable", "entity", "cascade", "install")
        ignored = [text for rule in rules for text in ("--ignore", rule)]
        assert run("lint", *ignored).exit_code == 0
    finally:
        module = sys.modules.pop("command_application")
        module.lifecycle.uninstall(module.Session)
        module.engine.dispose()


@pytest.mark.parametrize("app", ["nothing", "no_such_module:x", "json:dumps", "json:nothing"])
def test_what_is_no_application_is_refused(run: Run, app: str) -> None:
    """With the reason."""
    result = run("verify", "--app", app)
    assert result.exit_code == 2
    assert app in result.stderr


def test_a_command_without_a_log_asks_for_one(run: Run) -> None:
    """And what goes together is said."""
    assert "whose log?" in run("seal").stderr
    assert "give --app" in run("verify", "sqlite:///x.db", "--against-database").stderr


@pytest.mark.parametrize("name", ["seal", "verify", "erase", "prune", "hold", "lint"])
def test_help_teaches_by_examples(run: Run, name: str) -> None:
    """Each has some."""
    shown = run(name, "--help").stdout
    assert "Examples:" in shown
    assert f"lifecycle {name} " in shown
