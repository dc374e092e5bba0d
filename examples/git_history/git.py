"""Reads a git repository: its main line, what each commit changed, and its trees.

The main line is the first-parent line of HEAD, oldest commit first. Everything is read through
git's plumbing with NUL-separated output: one ``git diff-tree`` and one ``git cat-file`` process
serve a whole replay, whatever its length.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from examples.git_history.commits import FileChange, GitCommit, TreeEntry, parsed
from examples.git_history.errors import GitError
from examples.git_history.paths import path_text
from examples.git_history.plumbing import Objects, output, running, tokens

SUBMODULE = "160000"
SYMLINK = "120000"
EXECUTABLE = "100755"


class Repository:
    """A git repository on this machine.

    Raises ``GitError`` when ``path`` is no repository, when it has no commit, or without git.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise GitError(f"{self.path} is no directory: give the path of a git repository")
        found = output(["git", "rev-parse", "--absolute-git-dir"], self.path)
        self._git_dir = Path(os.fsdecode(found.removesuffix(b"\n")))
        command = ["git", "rev-list", "--first-parent", "--reverse", "HEAD", "--"]
        line = output(command, self._git_dir)
        self.line = line.decode("ascii").split()

    def commits(self, start: int = 0, stop: int | None = None) -> Iterator[GitCommit]:
        """The commits of the main line from position ``start`` up to ``stop``."""
        positions = range(len(self.line))[start:stop]
        with closing(self._diff_tree(positions)) as differences, self._objects() as objects:
            for position, (sha, found) in zip(positions, _commits(differences), strict=True):
                changes = tuple(_with_content(difference, objects) for difference in found)
                yield parsed(sha, position, objects.commit(sha), changes)

    def tree(self, sha: str) -> dict[str, TreeEntry]:
        """Every file of a commit's tree by its path."""
        listed = tokens(["git", "ls-tree", "-r", "-z", "-l", "--full-tree", sha], self._git_dir)
        return dict(_tree_entry(token) for token in listed)

    def _diff_tree(self, positions: range) -> Generator[bytes, None, None]:
        """The output of one diff-tree that compares each of these commits with the one before."""
        options = (
            "--stdin --root --always -r -M -z --raw --numstat --no-abbrev --no-relative "
            "--no-ext-diff --no-textconv --ignore-submodules=none"
        )
        with TemporaryFile() as pairs:  # a file, so that neither side waits for the other
            for position in positions:
                before = self.line[position - 1 : position] if position else []
                pairs.write(" ".join([self.line[position], *before]).encode() + b"\n")
            pairs.seek(0)
            yield from tokens(["git", "diff-tree", *options.split()], self._git_dir, stdin=pairs)

    @contextmanager
    def _objects(self) -> Iterator[Objects]:
        command = ["git", "cat-file", "--batch"]
        with running(command, self._git_dir, stdin=subprocess.PIPE) as process:
            yield Objects(process, self.path)


# --- differences ----------------------------------------------------------------------------


class _Difference(NamedTuple):
    status: str
    path: bytes
    former_path: bytes | None
    mode: str
    blob: str
    added: int | None = None
    removed: int | None = None


def _commits(parts: Iterator[bytes]) -> Iterator[tuple[str, list[_Difference]]]:
    """Each commit with its differences.

    diff-tree prints the commit's name, then a raw entry for each path (it starts with a colon),
    then the line counts of each path (they hold tabs).
    """
    sha, found = "", dict[bytes, _Difference]()
    for part in parts:
        if part.startswith(b":"):
            difference = _raw_entry(part, parts)
            found[difference.path] = difference
        elif b"\t" in part:
            added, removed, path = part.split(b"\t", 2)
            if not path:  # a rename: both paths follow
                next(parts)
                path = next(parts)
            found[path] = found[path]._replace(added=_count(added), removed=_count(removed))
        else:
            if sha:
                yield sha, list(found.values())
            sha, found = part.decode("ascii"), {}
    if sha:
        yield sha, list(found.values())


def _raw_entry(part: bytes, parts: Iterator[bytes]) -> _Difference:
    """``:<old mode> <new mode> <old blob> <new blob> <status>``, and the paths that follow."""
    _, mode, _, blob, status = part[1:].decode("ascii").split(" ")
    path = next(parts)
    former_path = None
    if status.startswith("R"):
        former_path, path = path, next(parts)
    return _Difference(status[0], path, former_path, mode, blob)


def _count(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def _with_content(difference: _Difference, objects: Objects) -> FileChange:
    status, path, former_path, mode, blob, added, removed = difference
    size = lines = None
    if status != "D" and mode != SUBMODULE:
        size, lines = objects.measure(blob)
    return FileChange(
        status=status,
        path=path_text(path),
        former_path=None if former_path is None else path_text(former_path),
        mode=None if status == "D" else mode,
        blob=None if status == "D" else blob,
        size=size,
        lines=lines,
        added=added,
        removed=removed,
    )


def _tree_entry(part: bytes) -> tuple[str, TreeEntry]:
    """``<mode> <type> <blob> <size padded>\\t<path>``; a submodule's size is a dash."""
    meta, _, path = part.partition(b"\t")
    mode, _, blob, size = meta.decode("ascii").split()
    return path_text(path), TreeEntry(mode, blob, None if size == "-" else int(size))
