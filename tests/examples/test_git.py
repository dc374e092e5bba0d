"""Reading a git repository: every kind of change, path, tree and repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.git_history.commits import FileChange, GitCommit, TreeEntry
from examples.git_history.errors import GitError
from examples.git_history.git import Repository
from examples.git_history.paths import path_bytes, path_text
from examples.git_history.plumbing import Objects, running
from tests.examples.repositories import (
    Changes,
    Written,
    git,
    link,
    odd_history,
    program,
    submodule,
)

SECOND = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
TEXT = "one\ntwo\nthree\nfour\nfive\n"


def last(written: Written) -> GitCommit:
    """The last commit, as the example reads it."""
    return list(Repository(written.path).commits())[-1]


def statuses(written: Written) -> list[tuple[str, str | None, str]]:
    """What the last commit changed: status, former path, path."""
    return [(one.status, one.former_path, one.path) for one in last(written).changes]


def only_change(written: Written) -> FileChange:
    [change] = last(written).changes
    return change


class TestChanges:
    def test_the_first_commit_adds_its_whole_tree(self, written: Written) -> None:
        written.commit({"a": "1\n2\n", "b": program("x")})
        first, second = last(written).changes
        assert (first.status, first.path, first.mode) == ("A", "a", "100644")
        assert (first.size, first.lines, first.added, first.removed) == (4, 2, 2, 0)
        assert (second.mode, second.size, second.lines) == ("100755", 1, 1)

    def test_an_edit_counts_added_and_removed_lines(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"a": TEXT.replace("two\n", "2\nii\n")})
        change = only_change(written)
        assert (change.status, change.lines, change.added, change.removed) == ("M", 6, 2, 1)

    def test_a_new_mode_alone_is_a_modification(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"a": program(TEXT)})
        change = only_change(written)
        assert (change.status, change.mode, change.added) == ("M", "100755", 0)

    def test_a_deletion_has_no_mode_and_no_blob(self, written: Written) -> None:
        written.commit({"a": TEXT, "b": ""})
        written.commit({"a": None})
        change = only_change(written)
        assert (change.status, change.mode, change.blob, change.size) == ("D", None, None, None)
        assert change.removed == 5

    def test_a_file_that_becomes_a_symbolic_link_changes_its_type(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"a": link("elsewhere")})
        change = only_change(written)
        assert (change.status, change.mode, change.size) == ("T", "120000", 9)

    def test_a_submodule_has_a_commit_but_no_size_and_no_lines(self, written: Written) -> None:
        commit = written.commit({"a": ""})
        written.commit({"module": submodule(commit)})
        change = only_change(written)
        assert (change.mode, change.blob) == ("160000", commit)
        assert (change.size, change.lines) == (None, None)

    def test_binary_content_has_a_size_but_no_lines(self, written: Written) -> None:
        written.commit({"a": b"\x00\n\xff\n"})
        change = only_change(written)
        assert (change.size, change.lines, change.added) == (4, None, None)

    def test_a_last_line_without_its_newline_counts(self, written: Written) -> None:
        written.commit({"a": "1\n2", "empty": ""})
        assert [change.lines for change in last(written).changes] == [2, 0]

    def test_content_larger_than_a_chunk_is_measured_whole(self, written: Written) -> None:
        written.commit({"large": "x\n" * 200_000, "late": b"x" * 9000 + b"\0"})
        assert [(one.size, one.lines) for one in last(written).changes] == [
            (400_000, 200_000),
            (9001, 1),
        ]

    def test_an_empty_commit_changes_nothing(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({}, "nothing")
        assert last(written).changes == ()

    def test_a_merge_shows_what_it_brought_to_the_main_line(self, written: Written) -> None:
        base = written.commit({"a": TEXT})
        side = written.commit({"b": TEXT + "b\n"}, branch="side", start=base)
        main = written.commit({"c": "c\n"})
        written.commit({"b": TEXT + "b\n"}, "merged", merge=side)
        commit = last(written)
        assert commit.parents == (main, side)
        assert statuses(written) == [("A", None, "b")]
        assert len(Repository(written.path).line) == 3


class TestRenames:
    def test_a_moved_file_is_one_rename(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"a": None, "dir/b": TEXT})
        assert statuses(written) == [("R", "a", "dir/b")]

    def test_a_rename_with_an_edit_is_a_rename_with_its_lines(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"a": None, "b": TEXT + "six\n"})
        change = only_change(written)
        assert (change.status, change.former_path, change.path) == ("R", "a", "b")
        assert (change.lines, change.added, change.removed) == (6, 1, 0)

    def test_a_rename_that_changes_only_case_is_a_rename(self, written: Written) -> None:
        written.commit({"Readme": TEXT})
        written.commit({"Readme": None, "README": TEXT})
        assert statuses(written) == [("R", "Readme", "README")]

    def test_a_copy_is_an_addition(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"a": TEXT + "six\n", "b": TEXT})
        assert statuses(written) == [("M", None, "a"), ("A", None, "b")]

    def test_moving_a_file_over_another_modifies_that_one(self, written: Written) -> None:
        written.commit({"a": TEXT, "b": "other\n"})
        written.commit({"a": None, "b": TEXT})
        assert statuses(written) == [("D", None, "a"), ("M", None, "b")]

    def test_two_files_that_change_places_are_two_modifications(self, written: Written) -> None:
        written.commit({"a": TEXT, "b": "other\n"})
        written.commit({"a": "other\n", "b": TEXT})
        assert statuses(written) == [("M", None, "a"), ("M", None, "b")]

    def test_a_file_can_give_way_to_a_folder_and_back(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"a": None, "a/b": TEXT})
        assert statuses(written) == [("R", "a", "a/b")]
        written.commit({"a/b": None, "a": "new\n"})
        assert statuses(written) == [("A", None, "a"), ("D", None, "a/b")]


class TestPaths:
    odd = (
        b"plain",
        b"with space",
        b'quo"te',
        b"new\nline",
        b"tab\there",
        b"back\\slash",
        "naïve/😀".encode(),
        b'"starts quoted"',
        b"latin-\xe9",
        b"\xff\xfe",
        b":100644 colon",
    )

    def test_every_path_git_can_hold_is_read_and_told_apart(self, written: Written) -> None:
        changes: Changes = {path: f"{number}\n" for number, path in enumerate(self.odd)}
        written.commit(changes)
        read = [change.path for change in last(written).changes]
        assert sorted(map(path_bytes, read)) == sorted(self.odd)

    def test_an_odd_path_can_be_renamed_to_another(self, written: Written) -> None:
        written.commit({b"new\nline\xff": TEXT})
        written.commit({b"new\nline\xff": None, b'\t"': TEXT + "six\n"})
        change = only_change(written)
        assert (change.former_path, change.path) == ('"new\\nline\\377"', '\t"')
        assert change.added == 1

    def test_a_path_that_is_not_utf_8_is_quoted_as_git_quotes_it(self, written: Written) -> None:
        written.commit({b'a"\\\x07\n\xe9': ""})
        shown = written.git("ls-tree", "-r", "--name-only", "HEAD")
        assert only_change(written).path == shown == '"a\\"\\\\\\a\\n\\351"'

    @given(st.binary(min_size=1))
    def test_the_text_of_a_path_stands_for_that_path_only(self, path: bytes) -> None:
        """Text to path is a function, so no two paths can have the same text."""
        assert path_bytes(path_text(path)) == path

    @given(st.text(min_size=1).filter(lambda text: text.isprintable() and text[0] != '"'))
    def test_a_path_in_utf_8_is_shown_as_it_is(self, path: str) -> None:
        assert path_text(path.encode()) == path


class TestCommits:
    def test_author_committer_and_message_are_read(self, written: Written) -> None:
        sha = written.commit({"a": ""}, "Title\n\nBody\n", author="Ann Lee <a@b> 1577914445 -0230")
        commit = last(written)
        zone = timezone(-timedelta(hours=2, minutes=30))
        assert (commit.sha, commit.position, commit.parents) == (sha, 0, ())
        assert (commit.author.name, commit.author.email) == ("Ann Lee", "a@b")
        assert commit.author.time == datetime(2020, 1, 1, 21, 34, 5, tzinfo=UTC)
        assert commit.author.time.utcoffset() == zone.utcoffset(None)
        assert commit.author.zone == "-0230"
        assert commit.message == "Title\n\nBody"

    def test_a_message_that_does_not_decode_keeps_what_does(self, written: Written) -> None:
        written.commit({"a": ""}, b"caf\xe9 au lait")
        assert last(written).message == "caf\N{REPLACEMENT CHARACTER} au lait"

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (b"encoding iso-8859-1\n", "caf\u00e9"),
            (b"encoding no-such-encoding\n", "caf\N{REPLACEMENT CHARACTER}"),
            (b"encoding hex\n", "caf\N{REPLACEMENT CHARACTER}"),
        ],
    )
    def test_the_encoding_a_commit_names_is_used_if_there_is_one(
        self, written: Written, header: bytes, message: str
    ) -> None:
        self.commit_literally(written, b"author A <a@b> 1 +0000", b"caf\xe9", header)
        assert last(written).message == message

    @pytest.mark.parametrize(
        ("line", "name", "email", "time"),
        [
            (b"author A <a@b> 99999999999999999999 +0000", "A", "a@b", None),
            (b"author A <a@b> 1 +9999", "A", "a@b", SECOND),
            (b"author A <a@b> -1 +0000", "A", "a@b", SECOND - timedelta(seconds=2)),
            (b"author A <a@b>", "A", "a@b", None),
            (b"author  <> 1 +0000", "", "", SECOND),
            (b"author nobody", "nobody", "", None),
            (b"author A\xff <a@b> 1 x", "A\N{REPLACEMENT CHARACTER}", "a@b", SECOND),
        ],
    )
    def test_of_a_broken_author_line_what_can_be_read_is_read(
        self, written: Written, line: bytes, name: str, email: str, time: datetime | None
    ) -> None:
        self.commit_literally(written, line, b"message")
        author = last(written).author
        assert (author.name, author.email) == (name, email)
        assert author.time == time

    @staticmethod
    def commit_literally(
        written: Written, author: bytes, message: bytes, header: bytes = b""
    ) -> None:
        """Write a commit that git itself would not have made."""
        tree = written.git("mktree")
        raw = b"tree %s\n%s\ncommitter B <b@c> 1 +0000\n%s\n%s" % (
            tree.encode(),
            author,
            header,
            message,
        )
        sha = written.git("hash-object", "--literally", "-t", "commit", "-w", "--stdin", text=raw)
        written.git("update-ref", "refs/heads/main", sha)


class TestRepositories:
    def test_a_folder_that_is_no_repository_is_named_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(GitError, match=rf"{tmp_path} is no git repository: .*git init"):
            Repository(tmp_path)

    def test_a_path_that_is_no_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(GitError, match="nowhere is no directory: give the path"):
            Repository(tmp_path / "nowhere")

    def test_a_repository_without_commits_is_told_from_none(self, written: Written) -> None:
        with pytest.raises(GitError, match="has no commits on HEAD"):
            Repository(written.path)

    def test_without_git_the_error_says_so(
        self, written: Written, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(GitError, match="install git"):
            Repository(written.path)

    def test_a_missing_object_is_named_with_what_to_do(self, written: Written) -> None:
        command = ["git", "cat-file", "--batch"]
        with (
            running(command, written.path, stdin=subprocess.PIPE) as process,
            pytest.raises(GitError, match=r"object 0{40} is missing from .*: run `git fsck`"),
        ):
            Objects(process, written.path).commit("0" * 40)

    def test_a_missing_blob_is_named(self, written: Written) -> None:
        written.commit({"a": TEXT})
        blob = written.git("rev-parse", "HEAD:a")
        (written.path / "objects" / blob[:2] / blob[2:]).unlink()
        with pytest.raises(GitError, match=f"failed in .*: unable to read {blob}"):
            list(Repository(written.path).commits())

    def test_a_damaged_repository_never_yields_half_a_commit(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"dir/b": TEXT, "c": "c\n"})
        tree = written.git("rev-parse", "HEAD:dir")
        (written.path / "objects" / tree[:2] / tree[2:]).unlink()
        read: list[int] = []
        with pytest.raises(GitError, match=r"`git diff-tree` failed in .*: unable to read tree"):
            read.extend(commit.position for commit in Repository(written.path).commits())
        assert read in ([], [0])

    def test_the_folders_of_a_work_tree_lead_to_its_repository(self, tmp_path: Path) -> None:
        git("init", "--quiet", str(tmp_path / "work"))
        inner = Written(tmp_path / "work" / ".git")
        inner.commit({"dir/a": TEXT, "b": ""})
        git("--git-dir", str(inner.path), "symbolic-ref", "HEAD", "refs/heads/main")
        (tmp_path / "work" / "dir").mkdir()
        repository = Repository(tmp_path / "work" / "dir")
        assert set(repository.tree("HEAD")) == {"dir/a", "b"}
        assert len(next(repository.commits()).changes) == 2

    def test_a_shallow_clone_begins_with_the_whole_tree_of_its_first_commit(
        self, written: Written, tmp_path: Path
    ) -> None:
        for number in range(4):
            written.commit({f"file-{number}": f"{number}\n"})
        source = written.path.as_uri()
        git("clone", "--quiet", "--bare", "--depth=2", source, str(tmp_path / "shallow"))
        first, second = Repository(tmp_path / "shallow").commits()
        assert (len(first.changes), len(second.changes)) == (3, 1)

    def test_a_repository_of_sha_256_names_is_read_alike(self, tmp_path: Path) -> None:
        written = Written(tmp_path / "repository.git", "--object-format=sha256")
        written.commit({"a": TEXT})
        written.commit({"a": None, "b": TEXT})
        change = only_change(written)
        assert change.blob is not None
        assert len(change.blob) == 64
        assert Repository(written.path).tree("HEAD")["b"].blob == change.blob

    def test_a_git_hook_that_reads_another_repository_is_not_misled(
        self, written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written.commit({"a": TEXT})
        monkeypatch.setenv("GIT_DIR", os.fspath(tmp_path / "nowhere"))
        assert len(Repository(written.path).line) == 1

    def test_reading_can_begin_and_end_anywhere(self, written: Written) -> None:
        for number in range(5):
            written.commit({"a": f"{number}\n"})
        read = list(Repository(written.path).commits(2, 4))
        assert [(commit.position, len(commit.changes)) for commit in read] == [(2, 1), (3, 1)]
        assert read[0].changes[0].status == "M"

    def test_reading_can_be_broken_off(self, written: Written) -> None:
        written.commit({"a": TEXT})
        written.commit({"b": TEXT})
        commits = Repository(written.path).commits()
        with closing(commits):
            assert next(commits).position == 0


def test_the_changes_of_every_commit_lead_from_tree_to_tree(tmp_path: Path) -> None:
    """Over a history of everything odd, the changes applied one by one give what ls-tree lists."""
    repository = Repository(odd_history(tmp_path / "odd.git").path)
    tree: Mapping[str, TreeEntry] = {}
    for commit in repository.commits():
        tree = after(tree, commit.changes)
        assert tree == repository.tree(commit.sha), commit.message
    assert len(repository.line) > 10


def after(tree: Mapping[str, TreeEntry], changes: tuple[FileChange, ...]) -> dict[str, TreeEntry]:
    """The tree after these changes, worked out without git."""
    gone = {one.former_path or one.path for one in changes if one.status in "DR"}
    result = {path: entry for path, entry in tree.items() if path not in gone}
    for one in changes:
        if one.status != "D":
            assert one.mode is not None
            assert one.blob is not None
            result[one.path] = TreeEntry(one.mode, one.blob, one.size)
    return result
