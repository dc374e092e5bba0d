"""The example git_history: replaying, going on after a stop, checking against git, the command."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mongoengine
import pytest
from pymongo import MongoClient
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection

from examples.common.databases import Databases
from examples.common.errors import DatabaseError
from examples.git_history import replay as replay_module
from examples.git_history.__main__ import main
from examples.git_history.check import check, picked
from examples.git_history.commits import FileChange
from examples.git_history.errors import MismatchError
from examples.git_history.git import Repository
from examples.git_history.models import Commit, File
from examples.git_history.replay import replay
from examples.git_history.workspace import open_workspace
from lifecycle.audit.records import Record
from tests.examples.repositories import Written, link, odd_history
from tests.servers import MongoServer, unique_name

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "examples.git_history", "demo"]
TEXT = "one\ntwo\nthree\nfour\n"


@pytest.fixture
def mongodb(mongo_server: MongoServer) -> Iterator[str]:
    """The URI of an empty MongoDB database."""
    name = unique_name()
    yield urlsplit(mongo_server.uri)._replace(path=f"/{name}").geturl()
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_server.uri)
    client.drop_database(name)
    client.close()


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'history.sqlite'}"


@pytest.fixture
def workspace(database: str, mongodb: str) -> Iterator[Databases]:
    with open_workspace(database, mongodb) as workspace:
        yield workspace


@pytest.fixture
def four_commits(written: Written) -> Written:
    """Files that are added, renamed and deleted, and a third commit that changes nothing."""
    written.commit({"a": TEXT, "b": "b\n"}, "first")
    written.commit({"a": None, "c": TEXT + "five\n"}, "second\n\nwith a body")
    written.commit({}, "third")
    written.commit({"b": None, "c": link("b")}, "fourth")
    return written


def replayed(written: Written, workspace: Databases) -> Repository:
    repository = Repository(written.path)
    replay(repository, workspace)
    return repository


def records(workspace: Databases, sha: str) -> list[Record]:
    """The records of a commit, oldest first."""
    return list(workspace.lifecycle.history.find(request_id=sha, newest_first=False))


def all_differences(written: Written, workspace: Databases) -> list[str]:
    return check(Repository(written.path), workspace, "all").differences


class TestReplay:
    def test_a_history_of_everything_odd_ends_up_as_git_has_it(
        self, tmp_path: Path, workspace: Databases
    ) -> None:
        repository = Repository(odd_history(tmp_path / "odd.git").path)
        done = replay(repository, workspace)
        checked = check(repository, workspace, "all")
        assert checked.differences == []
        assert (done.before, done.commits) == (0, len(repository.line))
        assert checked.commits == len(repository.line)
        assert done.records == checked.records == done.files + done.commits

    def test_each_commit_is_recorded_as_its_authors_doing(
        self, written: Written, workspace: Databases
    ) -> None:
        sha = written.commit({"a": TEXT}, "Why\n\nThis.", author="Ann <ann@b> 1577914445 +0530")
        replayed(written, workspace)
        for record in records(workspace, sha):
            revision = record.revision
            assert (revision.actor, revision.actor_label) == ("ann@b", "Ann")
            assert (revision.reason, revision.source) == ("Why\n\nThis.", "git")
            assert revision.context == {"committed_at": "2020-01-02T03:04:05+05:30"}

    def test_the_files_of_a_commit_are_one_transaction(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        repository = replayed(four_commits, workspace)
        for sha in repository.line:
            files = [one for one in records(workspace, sha) if one.entity == "git.File"]
            assert len({record.revision.id for record in files}) == (0 if not files else 1)

    def test_a_commit_without_changes_has_its_documents_record(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        repository = replayed(four_commits, workspace)
        assert [one.entity for one in records(workspace, repository.line[2])] == ["git.Commit"]

    def test_a_rename_moves_the_file_to_another_key(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        replayed(four_commits, workspace)
        found = list(workspace.lifecycle.history.of(File, "c"))
        assert [(one.operation, one.former_key, one.key) for one in found] == [
            ("update", None, "c"),
            ("update", "a", "c"),
            ("insert", None, "a"),
        ]

    def test_the_hooks_derive_what_the_models_say_they_do(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        repository = replayed(four_commits, workspace)
        kinds = [one.changes.get("kind") for one in workspace.lifecycle.history.of(File, "c")]
        assert kinds[0] is not None
        assert (kinds[0].old, kinds[0].new) == ("text", "symbolic link")
        second = Commit.objects.get(sha=repository.line[1])
        assert (second.summary, second.added, second.removed) == ("second", 1, 0)

    def test_a_document_holds_the_statistics_of_each_file(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        repository = replayed(four_commits, workspace)
        commit = Commit.objects.get(sha=repository.line[1])
        [file] = commit.files
        assert (commit.position, commit.parents) == (1, [repository.line[0]])
        assert (file.path, file.former_path, file.status) == ("c", "a", "R")
        assert (file.added, file.removed) == (1, 0)

    def test_no_key_is_taken_twice_when_a_rename_ends_where_a_file_was_deleted(
        self, workspace: Databases
    ) -> None:
        """git reports this as a modification; apply does not rely on that."""

        def change(status: str, path: str, former_path: str | None = None) -> FileChange:
            return FileChange(status, path, former_path, "100644", "0" * 40, 1, 1, 0, 0)

        with workspace.sessions.begin() as session:
            replay_module.apply(session, [change("A", "a"), change("A", "b")])
        with workspace.sessions.begin() as session:
            changes = [change("R", "b", "a"), change("D", "b"), change("A", "a")]
            replay_module.apply(session, changes)
        found = workspace.lifecycle.history.find(newest_first=False)
        assert [(one.operation, one.former_key, one.key) for one in found][2:] == [
            ("delete", None, "b"),
            ("update", "a", "b"),
            ("insert", None, "a"),
        ]


class TestGoingOn:
    def test_a_replay_in_parts_is_the_same_as_one_at_once(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        repository = Repository(four_commits.path)
        parts = [replay(repository, workspace, limit=limit) for limit in (1, 2, 5)]
        assert [(part.before, part.commits) for part in parts] == [(0, 1), (1, 2), (3, 1)]
        assert replay(repository, workspace).commits == 0
        checked = check(repository, workspace, "all")
        assert (checked.differences, checked.records) == ([], 4 + 2 + 1 + 2)

    def test_new_commits_are_taken_up_by_the_next_run(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        replayed(four_commits, workspace)
        four_commits.commit({"c": "back\n"})
        assert replay(Repository(four_commits.path), workspace).commits == 1
        assert all_differences(four_commits, workspace) == []

    @pytest.mark.parametrize("position", range(4))
    def test_a_run_killed_before_the_document_goes_on_with_it(
        self,
        four_commits: Written,
        workspace: Databases,
        monkeypatch: pytest.MonkeyPatch,
        position: int,
    ) -> None:
        repository = Repository(four_commits.path)
        replay(repository, workspace, limit=position)
        with monkeypatch.context() as patch:
            patch.setattr(Commit, "save", killed)
            with pytest.raises(KeyboardInterrupt):
                replay(repository, workspace)
        assert Commit.objects.count() == position
        self.assert_whole(repository, workspace)

    @pytest.mark.parametrize("position", range(4))
    def test_a_run_killed_before_the_documents_record_goes_on_with_both(
        self,
        four_commits: Written,
        workspace: Databases,
        database: str,
        position: int,
    ) -> None:
        repository = Repository(four_commits.path)
        replay(repository, workspace, limit=position + 1)
        forget(database, "git.Commit", repository.line[position])
        self.assert_whole(repository, workspace)

    @staticmethod
    def assert_whole(repository: Repository, workspace: Databases) -> None:
        """After one more run nothing is missing and nothing is there twice."""
        replay(repository, workspace)
        checked = check(repository, workspace, "all")
        assert (checked.differences, checked.records) == ([], 4 + 2 + 1 + 2)

    def test_a_failed_commit_leaves_nothing_of_its_files(
        self, four_commits: Written, workspace: Databases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository = Repository(four_commits.path)
        whole = replay_module.apply

        def broken(session: Any, changes: Any) -> None:
            whole(session, changes)
            session.flush()
            killed()

        with monkeypatch.context() as patch:
            patch.setattr(replay_module, "apply", broken)
            with pytest.raises(KeyboardInterrupt):
                replay(repository, workspace)
        assert list(workspace.lifecycle.history.find()) == []
        self.assert_whole(repository, workspace)

    def test_another_repository_is_refused(
        self, four_commits: Written, workspace: Databases, tmp_path: Path
    ) -> None:
        replayed(four_commits, workspace)
        other = Written(tmp_path / "other.git")
        other.commit({"x": "x"})
        with pytest.raises(MismatchError, match=r"another repository's history: .* start over"):
            replay(Repository(other.path), workspace)

    def test_a_rewritten_history_is_refused_by_the_commit_that_is_gone(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        replayed(four_commits, workspace)
        four_commits.git("update-ref", "refs/heads/main", "refs/heads/main~2")
        four_commits.commit({"c": "other"})
        with pytest.raises(MismatchError, match=r"number 4, \w+ \('fourth'\), is not on HEAD"):
            replay(Repository(four_commits.path), workspace)

    def test_a_branch_that_has_gone_back_is_refused(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        replayed(four_commits, workspace)
        four_commits.git("update-ref", "refs/heads/main", "refs/heads/main~1")
        with pytest.raises(MismatchError, match="check out the branch that has it"):
            replay(Repository(four_commits.path), workspace)

    def test_what_is_put_back_on_the_pages_does_not_stop_it(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        repository = replayed(four_commits, workspace)
        restore = workspace.lifecycle.restore
        undone = restore.undo(next(workspace.lifecycle.history.find(File)))
        replay(repository, workspace)
        restore.undo(undone)
        replay(repository, workspace)

    @pytest.mark.parametrize("lost", ["documents", "log"])
    def test_databases_of_different_replays_are_refused(
        self, four_commits: Written, workspace: Databases, database: str, lost: str
    ) -> None:
        repository = replayed(four_commits, workspace)
        if lost == "documents":
            mongoengine.get_db().drop_collection("commits")
        for sha in repository.line[1:] if lost == "log" else []:
            forget(database, "git.Commit", sha)
            forget(database, "git.File", sha)
        with pytest.raises(MismatchError, match="do not belong together"):
            replay(repository, workspace)


def killed(*arguments: object, **options: object) -> None:
    """Stands in for a step that a killed run did not come to."""
    raise KeyboardInterrupt


def forget(database: str, entity: str, sha: str) -> None:
    """Take the records of an entity for a commit, and their revision, out of the log."""
    with altering(database) as connection:
        seqs = connection.scalars(
            text(
                "SELECT DISTINCT seq FROM lifecycle_revision JOIN lifecycle_change USING (seq)"
                " WHERE request_id = :sha AND entity = :entity"
            ),
            {"sha": sha, "entity": entity},
        ).all()
        for seq in seqs:
            for table in ("lifecycle_change", "lifecycle_revision"):
                connection.execute(text(f"DELETE FROM {table} WHERE seq = :seq"), {"seq": seq})


@contextmanager
def altering(database: str) -> Iterator[Connection]:
    """A connection that goes behind the library's back."""
    engine = create_engine(database)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


class TestCheck:
    def test_a_blob_altered_in_one_stored_record_is_found(
        self, four_commits: Written, workspace: Databases, database: str
    ) -> None:
        repository = replayed(four_commits, workspace)
        blob = repository.tree(repository.line[0])["b"].blob
        with altering(database) as connection:
            altered = connection.execute(
                text(
                    "UPDATE lifecycle_change SET changes = replace(changes, :old, :new)"
                    " WHERE key = 'b' AND operation = 'insert'"
                ),
                {"old": blob, "new": "f" * 40},
            )
            assert altered.rowcount == 1
        differences = all_differences(four_commits, workspace)
        assert len(differences) == 3  # until the fourth commit deletes it
        assert differences[0] == (
            f"the log at {repository.line[0]}: 'b' is 100644 {'f' * 12} (2 bytes), "
            f"in git 100644 {blob[:12]} (2 bytes)"
        )

    def test_a_change_that_was_not_replayed_is_found(
        self, four_commits: Written, workspace: Databases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = replay_module.apply
        monkeypatch.setattr(
            replay_module,
            "apply",
            lambda session, changes: whole(session, [one for one in changes if one.status != "D"]),
        )
        repository = replayed(four_commits, workspace)
        found = all_differences(four_commits, workspace)
        assert [one.partition(":")[0] for one in found] == [
            f"the log at {repository.line[3]}",
            "the log as it ends",
            "the table as it is now",
        ]
        assert all(one.endswith("in git missing") for one in found)

    def test_a_record_taken_out_is_found_with_all_that_follows_from_it(
        self, four_commits: Written, workspace: Databases, database: str
    ) -> None:
        repository = replayed(four_commits, workspace)
        forget(database, "git.File", repository.line[1])
        found = all_differences(four_commits, workspace)
        assert any("'a' is 100644" in one for one in found)
        assert any("'c' is known in part only" in one for one in found)

    def test_a_document_without_its_record_is_found(
        self, four_commits: Written, workspace: Databases, database: str
    ) -> None:
        repository = replayed(four_commits, workspace)
        forget(database, "git.Commit", repository.line[2])
        found = all_differences(four_commits, workspace)
        assert [one.partition(":")[0] for one in found] == [f"the log at {repository.line[2]}"] * 2

    def test_a_row_changed_behind_the_log_is_found(
        self, four_commits: Written, workspace: Databases, database: str
    ) -> None:
        replayed(four_commits, workspace)
        with altering(database) as connection:
            connection.execute(text("UPDATE files SET mode = '100755'"))
        [difference] = all_differences(four_commits, workspace)
        assert difference.startswith("the table as it is now: 'c' is 100755")

    def test_a_missing_document_is_found(self, four_commits: Written, workspace: Databases) -> None:
        repository = replayed(four_commits, workspace)
        mongoengine.get_db()["commits"].delete_one({"_id": repository.line[1]})
        assert all_differences(four_commits, workspace) == [
            f"document 2 is commit {repository.line[2]}, git has {repository.line[1]} there"
        ]

    def test_without_a_replay_there_is_nothing_that_could_be_right(
        self, four_commits: Written, workspace: Databases
    ) -> None:
        assert all_differences(four_commits, workspace) == [
            "nothing has been replayed: there is no commit document"
        ]

    @pytest.mark.parametrize(
        ("sample", "numbers"),
        [("all", "0123456789"), (20, "0123456789"), (4, "0369"), (2, "09"), (1, "9"), (0, "")],
    )
    def test_a_sample_is_spread_evenly_with_the_first_and_the_last(
        self, sample: int | str, numbers: str
    ) -> None:
        assert "".join(picked("0123456789", sample)) == numbers


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path: Path, database: str, mongodb: str) -> Callable[..., int]:
        def run(command: str, repository: Path, *options: str) -> int:
            places = ["--data", str(tmp_path / "data"), "--database", database]
            return main([command, str(repository), *places, "--mongodb", mongodb, *options])

        return run

    def test_a_replay_says_what_it_did_and_that_git_agrees(
        self, four_commits: Written, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("replay", four_commits.path) == 0
        out = capsys.readouterr().out
        assert re.search(r"Replayed 4 commits with 5 file changes as 9 records in [\d.]+ s\.", out)
        assert re.search(r"Checked 4 commits with 7 files .* 9 records, .* 0 differences\.", out)

    def test_a_replay_with_nothing_to_do_says_so_and_shows_no_empty_bar(
        self,
        four_commits: Written,
        run: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert run("replay", four_commits.path, "--check", "0") == 0
        capsys.readouterr()
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert run("replay", four_commits.path, "--check", "0") == 0
        assert capsys.readouterr().out == "4 commits replayed by earlier runs; nothing new.\n"

    def test_a_difference_is_printed_and_fails_the_check(
        self,
        four_commits: Written,
        run: Callable[..., int],
        database: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run("replay", four_commits.path, "--check", "0") == 0
        with altering(database) as connection:
            connection.execute(
                text("UPDATE lifecycle_change SET changes = replace(changes, '100644', '100755')")
            )
        capsys.readouterr()
        assert run("check", four_commits.path, "--check", "all") == 1
        printed = capsys.readouterr()
        assert "6 differences." in printed.out
        assert "'a' is 100755" in printed.err

    def test_a_record_that_cannot_be_read_fails_the_check_in_one_line(
        self,
        four_commits: Written,
        run: Callable[..., int],
        database: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run("replay", four_commits.path, "--check", "0") == 0
        with altering(database) as connection:
            connection.execute(text("UPDATE lifecycle_change SET changes = '[' WHERE key = 'b'"))
        assert run("check", four_commits.path) == 1
        assert re.fullmatch(r"error: record .* cannot be read.*\n", capsys.readouterr().err)

    def test_a_path_that_is_no_repository_ends_with_status_2_and_makes_nothing(
        self, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "empty").mkdir()
        assert run("replay", tmp_path / "empty") == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'empty'} is no git repo")
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize(
        "options", [["--limit", "0"], ["--check", "some"], ["--check", "-1"], ["--port", "70000"]]
    )
    def test_an_option_that_makes_no_sense_is_refused(
        self, options: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["demo", ".", *options])
        assert f"argument {options[0]}" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("database", "cause"),
        [
            ("nonsense", "is no database URL"),
            ("nonsense://", "is no database URL"),
            ("sqlite:////nowhere/at/all.sqlite", "unable to open"),
            ("postgresql+psycopg://ann:secret@127.0.0.1:1/x", "refused"),
        ],
    )
    def test_a_database_that_cannot_be_used_is_a_clear_error(
        self, database: str, cause: str, mongodb: str
    ) -> None:
        with pytest.raises(DatabaseError, match=cause) as caught, open_workspace(database, mongodb):
            pass
        assert "secret" not in str(caught.value)

    def test_a_mongodb_that_does_not_answer_is_a_clear_error(
        self, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("examples.common.databases._MONGODB_ANSWERS_WITHIN", 100)
        with (
            pytest.raises(DatabaseError, match=r"no MongoDB answers: 127\.0\.0\.1:1"),
            open_workspace(database, "mongodb://127.0.0.1:1/x"),
        ):
            pass


class TestDemo:
    """The command as a person runs it, with a MongoDB of its own."""

    def start(self, written: Written, folder: Path, *options: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "MONGODB_URI"}
        return subprocess.Popen(
            [*DEMO, str(written.path), f"--data={folder / 'data'}", *options],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_however_it_ends_it_leaves_nothing_running_and_can_go_on(
        self, four_commits: Written, tmp_path: Path, end: signal.Signals
    ) -> None:
        demo = self.start(four_commits, tmp_path, "--port", "0")
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        addresses = re.findall(r"http://\S+", "".join(lines))
        server = tmp_path / "data" / "mongodb" / "server.pid"
        assert server.exists()
        for address in addresses:
            assert urllib.request.urlopen(address).status == 200
        demo.send_signal(end)
        _, errors = demo.communicate(timeout=30)
        status = {signal.SIGINT: 0, signal.SIGTERM: 143, signal.SIGKILL: -9}[end]
        assert (demo.returncode, errors) == (status, "")
        assert len(addresses) >= 5
        assert gone(server)

    def test_a_busy_port_is_one_clear_line(self, four_commits: Written, tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            demo = self.start(four_commits, tmp_path, "--port", str(port))
            out, errors = demo.communicate(timeout=30)
        assert (demo.returncode, out) == (1, "")
        assert errors == (
            f"error: port {port} is in use: choose another one with --port, or make demo PORT=…\n"
        )


def gone(pid_file: Path) -> bool:
    """Whether a server takes its pid file away within some seconds, as it does at its end."""
    deadline = time.monotonic() + 30
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not pid_file.exists()
