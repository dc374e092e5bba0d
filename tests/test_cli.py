"""The command line: what it prints, and how it exits."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, inspect
from starlette.testclient import TestClient

import lifecycle
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.changes import Change, ChangeSet, ListEdit, Operation, SetEdit, Splice, Within
from lifecycle.cli.commands import lifecycle as command
from lifecycle.cli.serving import pages
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.testing.store_contract import a_revision, append

PROGRAM = [sys.executable, "-c", "from lifecycle.cli import main; main()"]

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Runs the command with arguments."""
    return lambda *arguments: CliRunner().invoke(command, list(map(str, arguments)))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store that is not there yet."""
    return f"sqlite:///{tmp_path / 'audit.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store at that URL with an object's history."""
    store = SqlStore(url)
    store.create_tables()
    append(
        store,
        a_revision(actor="ann", actor_label="Ann Example"),
        {
            "operation": Operation.INSERT,
            "changes": ChangeSet({"name": Change(ABSENT, "Eve")}, Operation.INSERT),
        },
    )
    steps = (Splice(1, ("x",), ("y", "z")), Within({"0.qty": Change(1, 2)}))
    edits = {
        "name": Change("Eve", "Bob"),
        "nick": Change(ABSENT, "Bobby"),
        "tags": SetEdit(frozenset({"b", "a"}), frozenset({"c"})),
        "items": ListEdit(steps),
    }
    append(
        store,
        a_revision(actor="u-7", reason="marriage"),
        {"key": "2", "former_key": "1", "changes": ChangeSet(edits)},
    )
    gone = ChangeSet({"name": Change("Bob", ABSENT)}, Operation.DELETE)
    deleted = {"key": "2", "operation": Operation.DELETE, "changes": gone, "cause": "cascade"}
    append(store, a_revision(), deleted)
    yield store
    store.close()


def test_it_tells_its_version(run: Run) -> None:
    """The version is the package's."""
    assert run("--version").output == f"lifecycle {lifecycle.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["create-tables"], ["history"], ["ui"]])
def test_every_help_has_examples(run: Run, arguments: list[str]) -> None:
    """Each command explains itself with calls that could be typed."""
    result = run(*arguments, "--help")

    assert result.exit_code == 0
    assert f"  lifecycle {' '.join(arguments)}".rstrip() in result.output.partition("Examples:")[2]


def test_create_tables_creates_them(run: Run, url: str) -> None:
    """The tables are there afterwards, and a second call changes nothing."""
    first, second = run("create-tables", url), run("create-tables", url)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert url in first.output
    engine = create_engine(url)
    names = ("change", "hold", "intent", "leaf", "revision", "seal")
    assert inspect(engine).get_table_names() == [f"lifecycle_{name}" for name in names]
    engine.dispose()


def test_history_is_plain_text_in_a_pipe(run: Run, store: SqlStore) -> None:
    """One line heads each record, and each value has its own: as it came, changed or went."""
    result = run("history", store.url, "shop.Order", 2)
    moved_away = run("history", store.url, "shop.Order", 1)

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "2026-11-21 12:00:00 UTC  delete (cascade)",
        "    name: 'Bob'",
        "2026-11-21 12:00:00 UTC  update (key 1 -> 2)  u-7  marriage",
        "    name: 'Eve' -> 'Bob'",
        "    nick: added 'Bobby'",
        "    tags: removed 'c'",
        "    tags: added 'a', 'b'",
        "    items[1]: 'x' -> 'y', 'z'",
        "    items.0.qty: 1 -> 2",
        "2026-11-21 12:00:00 UTC  insert  Ann Example (ann)",
        "    name: 'Eve'",
    ]
    assert moved_away.output.splitlines()[-2:] == [
        "2026-11-21 12:00:00 UTC  insert  Ann Example (ann)",
        "    name: 'Eve'",
    ]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_history_tells_what_could_not_be_recorded(
    arguments: list[str], run: Run, store: SqlStore
) -> None:
    """The error of a record is shown, on one line."""
    changes = ChangeSet({"data": Change("a", UNKNOWN)})
    append(store, a_revision(), {"key": "9", "changes": changes, "error": "field 'data':\nno form"})

    output = run("history", store.url, "shop.Order", 9, *arguments).output

    if arguments:
        assert json.loads(output)["error"] == "field 'data':\nno form"
    else:
        assert output.splitlines()[1] == r"    not recorded in full: field 'data':\nno form"


def test_history_is_a_table_on_a_terminal(store: SqlStore) -> None:
    """On a terminal the same is shown as a table."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    subprocess.run(
        [*PROGRAM, "history", store.url, "shop.Order", "2"],
        stdout=theirs,
        env=environment,
        check=True,
        timeout=60,
    )
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)

    assert "Before" in shown
    assert "marriage" in shown
    assert "'Bob'" in shown
    assert "│" in shown


def test_history_as_json_is_one_object_a_line(run: Run, store: SqlStore) -> None:
    """Each record is a line of JSON with everything that is known of it."""
    result = run("history", store.url, "shop.Order", 1, "--json")

    newest, oldest = map(json.loads, result.output.splitlines())
    assert newest["changes"]["name"] == ["Eve", "Bob"]
    assert (newest["former_key"], newest["key"], newest["reason"]) == ("1", "2", "marriage")
    assert oldest["changes"] == {"name": "Eve"}
    assert oldest["at"] == "2026-11-21T12:00:00.000001+00:00"
    deleted, *_ = map(
        json.loads, run("history", store.url, "shop.Order", 2, "--json").output.splitlines()
    )
    assert (newest["cause"], deleted["cause"]) == (None, "cascade")


def test_history_says_when_there_is_more(run: Run, store: SqlStore) -> None:
    """A limit that leaves records out says so, beside the output."""
    result = run("history", store.url, "shop.Order", 1, "--limit", 1, "--json")

    assert len(result.stdout.splitlines()) == 1
    assert "--limit" in result.stderr


def test_history_cannot_steer_the_terminal(run: Run, store: SqlStore) -> None:
    """Control characters in what was recorded are shown, not obeyed."""
    evil = "\x1b[2J\r\u202e"
    append(
        store,
        a_revision(actor=evil, reason=evil),
        {"key": "9", "changes": ChangeSet({evil: Change(evil, 1)})},
    )

    output = run("history", store.url, "shop.Order", 9).output

    assert "\\x1b[2J" in output
    assert not set(evil) & set(output) - set("[2J")


def test_an_object_without_records_is_not_found(run: Run, store: SqlStore) -> None:
    """What was not found is said, with what could be, and the exit code is 1."""
    no_key = run("history", store.url, "shop.Order", "77")
    no_entity = run("history", store.url, "shop.Ordre", "1")

    assert (no_key.exit_code, no_entity.exit_code) == (1, 1)
    assert "no records for the key '77'" in no_key.stderr
    assert "there are records of: shop.Order" in no_entity.stderr


@pytest.mark.parametrize("command", [["history", "{}", "A", "1"], ["ui", "{}"]])
def test_a_store_that_is_not_there_is_told(run: Run, url: str, command: list[str]) -> None:
    """A store without tables is an error in one line, with the next step; nothing is created."""
    result = run(*(argument.format(url) for argument in command))

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert f"lifecycle create-tables {url}" in result.stderr
    assert not Path(url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("arguments", [["create-tables"], ["history", "x"], ["nonesuch"], ["--x"]])
def test_a_wrong_call_exits_with_2(run: Run, arguments: list[str]) -> None:
    """Arguments that cannot be understood are not the same as failing."""
    assert run(*arguments).exit_code == 2


def test_a_wrong_url_is_a_wrong_call(run: Run) -> None:
    """A URL that can never work is a usage error, without its password."""
    result = run("create-tables", "nonesuch://ann:s3cret@host/x")

    assert result.exit_code == 2
    assert "nonesuch://ann:***@host/x" in result.stderr
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize("arguments", [["history", "{}", "A", "1"], ["ui", "{}"]])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mongodb://ann:s3cret@host/", "names no database"),
        ("mongodb://ann:s3cret@/app", "cannot be read"),
        ("sqlite://", "memory of the process that opens it: give the URL of a file or a server"),
    ],
)
def test_a_url_where_no_log_can_be_is_a_wrong_call(
    run: Run, url: str, message: str, arguments: list[str]
) -> None:
    """The error says what to give instead."""
    result = run(*(argument.format(url) for argument in arguments))

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(("command", "place"), [("create-tables", "URL"), ("ui", "[URL]")])
def test_every_command_calls_the_place_of_the_log_by_the_same_name(
    run: Run, command: str, place: str
) -> None:
    """URL, in the usage and in the text; in brackets where an application can be given instead."""
    assert f"Usage: lifecycle {command} [OPTIONS] {place}\n" in run(command, "--help").output


def test_restoring_from_the_pages_needs_the_application(run: Run, store: SqlStore) -> None:
    """Its models know how."""
    result = run("ui", store.url, "--restore")
    assert result.exit_code == 2
    assert "give --app without a URL" in " ".join(result.stderr.split())


def test_pages_of_an_application_put_back_only_when_told_to(tmp_path: Path) -> None:
    """Only where that was asked for."""
    application = lifecycle.Lifecycle(store=f"sqlite:///{tmp_path}/app.db")
    application.create_tables()
    for restore in (False, True):
        app = pages(application, local_only=True, restore=restore)
        with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5)) as client:
            path = "/r/01936d5e-7c4a-7b61-9d43-0c5f2f6a8e11.0/undo"
            assert ("put nothing back" in client.get(path).text) is not restore
    application.store.engine.dispose()  # type: ignore[attr-defined]


def test_a_busy_port_is_told(run: Run, store: SqlStore) -> None:
    """A port that is taken is an error in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("ui", store.url, "--port", taken.getsockname()[1])

    assert result.exit_code == 1
    assert "Address already in use; choose another --port" in result.stderr


def test_the_pages_need_a_server(
    run: Run, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not installed is named, with how to install it."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    result = run("ui", store.url)

    assert result.exit_code == 1
    assert "pip install" in result.stderr
    assert "uvicorn" in result.stderr


def test_ui_serves_the_pages_until_ctrl_c(store: SqlStore) -> None:
    """The pages answer at the printed address, and Ctrl-C ends without a traceback."""
    serving = subprocess.Popen(
        [*PROGRAM, "ui", store.url, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with serving:
        assert serving.stdout
        assert serving.stderr
        address = serving.stdout.readline().split()[4]
        with urllib.request.urlopen(address, timeout=30) as response:
            page = response.read().decode()
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=30) == 0
        assert serving.stderr.read() == ""

    assert "shop.Order" in page


def test_without_click_one_line_says_so() -> None:
    """Where the extra is not installed, the command names it."""
    hide = "import sys; sys.modules['click'] = None; from lifecycle.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, check=False, timeout=60
    )

    assert result.returncode == 1
    assert result.stderr == (
        "lifecycle: the command line needs click; run: pip install 'lifecycle-audit[cli]'\n"
    )
