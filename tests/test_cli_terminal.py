"""The command as people see it, at a terminal; and as a pipe sees it that is closed early."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lifecycle.audit import sealing
from lifecycle.audit.store import Query
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.audit.stores.sql import ledger as sql_ledger
from lifecycle.audit.verifying import verify
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.cli import exporting
from lifecycle.cli.commands import lifecycle as command
from lifecycle.cli.ending import INTERRUPTED, UNREAD
from lifecycle.testing.store_contract import a_revision, append

ROOT = Path(__file__).parent.parent
MAIN = [sys.executable, "-c", "from lifecycle.cli import main; main()"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """A log with four revisions."""
    store = SqlStore(f"sqlite:///{tmp_path / 'audit.db'}")
    store.create_tables()
    for n in range(4):
        changes = ChangeSet({"name": Change("old\x1b[2J", f"new{n}")}, Operation.UPDATE)
        append(store, a_revision(actor="ann"), {"key": "1", "changes": changes})
    yield store
    store.close()


class Terminal:
    """A command that runs at a terminal of its own; ``seen`` is what it has shown so far."""

    def __init__(self, *arguments: Any, piped: bool = False, **environment: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 120))
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self._process = subprocess.Popen(
            [*MAIN, *map(str, arguments)],
            stdin=slave,
            stdout=subprocess.PIPE if piped else slave,
            stderr=slave,
            env={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C gets there
        )
        os.close(slave)
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Read on until it shows a text."""
        until = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < until, f"no {text!r} in {self.seen!r}"
            self._read()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.2)
        try:
            read = os.read(self._master, 65536) if ready else b""
        except OSError:  # the other end is closed
            return False
        self.seen += self._decoder.decode(read)  # a read may end within a character
        return True

    def end(self) -> int:
        """Read to the end; the exit code."""
        until = time.monotonic() + 60
        while self._read():
            assert time.monotonic() < until, f"it has not ended after {self.seen!r}"
        return self._process.wait(30)

    def piped(self) -> str:
        """What went into the pipe."""
        assert self._process.stdout is not None
        return self._process.stdout.read().decode()


def test_tables_have_colours_at_a_terminal_and_json_never(store: SqlStore) -> None:
    """NO_COLOR is respected; what is in the log cannot steer the terminal."""
    with Terminal("history", store.url) as coloured:
        assert coloured.end() == 0
    assert "\x1b[31m'old" in coloured.seen
    assert "\x1b[2J" not in coloured.seen

    with Terminal("history", store.url, NO_COLOR="1") as plain:
        assert plain.end() == 0
    assert "'old" in plain.seen
    assert "\x1b[3" not in plain.seen

    with Terminal("history", store.url, "--json") as as_json:
        assert as_json.end() == 0
    assert [json.loads(line)["key"] for line in as_json.seen.splitlines()] == ["1"] * 4
    assert "\x1b" not in as_json.seen


def test_tail_follows_until_ctrl_c(store: SqlStore) -> None:
    """What comes is shown as it comes, and ending it is no failure."""
    with Terminal("tail", store.url, "-n", 1, "--follow", "--json") as terminal:
        terminal.wait_for("new3")
        append(store, a_revision(actor="eve"), {"key": "later"})
        terminal.wait_for('"later"')
        terminal.type("\x03")
        assert terminal.end() == 0
    assert "new2" not in terminal.seen
    assert "Abort" not in terminal.seen
    assert "Traceback" not in terminal.seen


def test_progress_is_for_the_terminal_and_the_answer_for_the_pipe(store: SqlStore) -> None:
    """The bar goes to one, JSON alone to the other."""
    sealing.seal(store)
    with Terminal("verify", store.url, "--json", piped=True) as terminal:
        answer = json.loads(terminal.piped())
        assert terminal.end() == 0
    assert answer["found"] == 0
    assert "verified" in terminal.seen
    assert "100%" in terminal.seen


def test_what_cannot_be_taken_back_is_asked_for(store: SqlStore) -> None:
    """At a terminal; no is no."""
    arguments = ("prune", store.url, "--entity", "shop.Order", "--keep", 1)
    for answer, code, left in (("n", 1, 4), ("y", 0, 1)):
        with Terminal(*arguments) as terminal:
            terminal.wait_for("Remove them? [y/N]:")
            terminal.type(f"{answer}\n")
            assert terminal.end() == code
        assert len(store.page(Query()).records) == left


def test_a_pipe_that_is_closed_early_ends_it_quietly(store: SqlStore) -> None:
    """As `| head` does, with the exit code of SIGPIPE."""
    for n in range(300):  # more than a pipe holds
        changes = ChangeSet({"name": Change("x" * 300, str(n))}, Operation.UPDATE)
        append(store, a_revision(), {"changes": changes})
    with subprocess.Popen(
        [*MAIN, "history", store.url, "--limit", "300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == UNREAD


# --- interrupted ----------------------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def run(store: SqlStore) -> Run:
    """Runs the command on the log with arguments."""
    return lambda *arguments: CliRunner().invoke(
        command, [arguments[0], store.url, *map(str, arguments[1:])]
    )


def interrupting(patch: pytest.MonkeyPatch, owner: Any, name: str, at: int) -> None:
    """Ctrl-C when something is done for the n-th time."""
    original, count = getattr(owner, name), [0]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        count[0] += 1
        if count[0] == at:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    patch.setattr(owner, name, interrupted)


WRITER, LEDGER = sql_ledger._Writer, sql_ledger.SqlLedger


@pytest.mark.parametrize(
    ("owner", "name", "arguments"),
    [
        (WRITER, "add_leaves", ("seal",)),
        (WRITER, "remove", ("prune", "--entity", "shop.Order", "--keep", 1, "--yes")),
        (WRITER, "change_row", ("erase", "--entity", "shop.Order", "--field", "name", "--yes")),
        (LEDGER, "leaves", ("verify",)),
        (SqlStore, "scan", ("stats",)),
    ],
)
def test_an_interrupted_command_leaves_nothing_half_done(
    run: Run,
    store: SqlStore,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    arguments: tuple[Any, ...],
) -> None:
    """One line says so, the exit code is that of Ctrl-C, and doing it again does the rest."""
    monkeypatch.setattr(sealing, "REVISIONS", 1)
    if arguments[0] != "seal":
        sealing.seal(store)
    with monkeypatch.context() as patch:
        interrupting(patch, owner, name, at=1 if arguments[0] in ("stats", "prune") else 2)
        result = run(*arguments)
    assert result.exit_code == INTERRUPTED
    assert result.stderr.startswith("Interrupted.")
    assert len(result.stderr.splitlines()) == 1

    assert run(*arguments).exit_code == 0
    assert verify(store).intact


def test_an_interrupted_export_leaves_the_file_that_was_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whole or not at all, and nothing beside it."""
    file = tmp_path / "records.csv"
    for before in (None, "older"):
        if before is not None:
            file.write_text(before)
        with monkeypatch.context() as patch:
            interrupting(patch, exporting, "_row", at=3)
            assert run("export", file).exit_code == INTERRUPTED
        assert (file.read_text() if file.exists() else None) == before
        assert [one.name for one in tmp_path.glob("*records*")] == (["records.csv"] * bool(before))
    file.chmod(0o640)
    assert run("export", file).exit_code == 0
    assert len(file.read_text().splitlines()) == 5
    assert file.stat().st_mode & 0o777 == 0o640
