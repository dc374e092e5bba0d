"""Git repositories for the tests, written through fast-import, which no file system limits.

Run as a program it writes a large one, to try the example at scale::

    python -m tests.examples.repositories FOLDER --commits 2500
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ANN = "Ann <ann@example.org> 1577914445 +0530"


class Entry(NamedTuple):
    """What a path of a tree holds; of a submodule the name of its commit."""

    mode: str
    content: str | bytes


def program(content: str) -> Entry:
    """An executable file."""
    return Entry("100755", content)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry("120000", target)


def submodule(commit: str) -> Entry:
    """A submodule at a commit."""
    return Entry("160000", commit)


Changes = Mapping[str | bytes, Entry | str | bytes | None]
"""What a commit does to each path: new content, or ``None`` to delete it."""


class Written:
    """A bare repository that is being written."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        git("init", "--quiet", "--bare", "--initial-branch=main", *options, str(path))

    def git(self, *arguments: str, text: bytes = b"") -> str:
        """Run git on it and return what it prints."""
        return git("--git-dir", str(self.path), *arguments, text=text)

    def commit(
        self,
        changes: Changes | None = None,
        message: str | bytes = "a change",
        *,
        author: str | bytes = ANN,
        branch: str = "main",
        start: str | None = None,
        merge: str | None = None,
    ) -> str:
        """Add a commit to a branch, which starts at ``start``, and return the commit's name."""
        parent = start or self._head(branch)
        stream = commit_command(
            changes or {}, message, author, branch, parent and f"from {parent}", merge
        )
        self.git("fast-import", "--quiet", "--force", text=stream)
        return self._head(branch)

    def _head(self, branch: str) -> str:
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")


def git(*arguments: str, text: bytes = b"") -> str:
    """Run git, untouched by anyone's configuration, and return what it prints."""
    isolated = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *arguments],
        env={**os.environ, **isolated},
        input=text,
        check=True,
        capture_output=True,
    )
    return done.stdout.decode().strip()


def commit_command(
    changes: Changes,
    message: str | bytes,
    author: str | bytes,
    branch: str,
    parent: str | None,
    merge: str | None,
) -> bytes:
    """One commit as fast-import reads it, deletions first."""
    lines = [b"commit refs/heads/" + branch.encode(), b"committer " + _bytes(author)]
    lines += [_data(message)]
    lines += [parent.encode()] if parent else []
    lines += [b"merge " + merge.encode()] if merge else []
    lines += [b"D " + _quoted(path) for path, entry in changes.items() if entry is None]
    for path, entry in changes.items():
        if entry is not None:
            lines += _modify(path, entry if isinstance(entry, Entry) else Entry("100644", entry))
    return b"\n".join([*lines, b""])


def _modify(path: str | bytes, entry: Entry) -> list[bytes]:
    if entry.mode == "160000":
        return [f"M 160000 {entry.content!s} ".encode() + _quoted(path)]
    return [f"M {entry.mode} inline ".encode() + _quoted(path), _data(entry.content)]


def _data(content: str | bytes) -> bytes:
    return b"data %d\n" % len(_bytes(content)) + _bytes(content)


def _quoted(path: str | bytes) -> bytes:
    return b'"' + b"".join(b"\\%03o" % byte for byte in _bytes(path)) + b'"'


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


# --- an odd one -----------------------------------------------------------------------------


def odd_history(path: Path) -> Written:
    """A repository whose every commit does something that is easily got wrong."""
    text = "".join(f"line {number}\n" for number in range(12))
    written = Written(path)
    written.commit({"a": text, "b": "other\n" * 3, "Readme": f"# Read\n{text}", "d/e/f": "f\n"})
    written.commit({}, "an empty commit")
    written.commit({"a": None, "c": text}, "a rename")
    written.commit({"c": None, "a": text + "more\n"}, "a rename back, with an edit")
    written.commit({"a": "other\n" * 3, "b": text + "more\n"}, "two files change places")
    written.commit({"Readme": None, "README": f"# Read\n{text}"}, "a rename of case")
    written.commit({"README": None, "b": f"# Read\n{text}"}, "a rename onto another file")
    written.commit({"d/e/f": None, "d/e": "now a file\n"}, "a folder becomes a file")
    written.commit({"d/e": None, "d/e/f": "now a file\n"}, "a file becomes a folder")
    written.commit({"a": program("other\n" * 3)}, "a mode")
    written.commit({"a": link("b")}, "a type")
    written.commit({"a": "".join(f"new {n}\n" for n in range(9)), "bin": b"\0\1\n"}, "and back")
    odd: Changes = {
        b"latin-\xe9": text,
        'quo"te': "1\n",
        "new\nline": "2\n",
        '"q"': "3\n",
        "😀": "",
    }
    written.commit(odd, "odd paths")
    written.commit({b"latin-\xe9": None, b"\xff\n": text + "more\n"}, "one odd path to another")
    head = written.commit({"x" * 200 + "/" + "y" * 200: "long\n"}, b"a long path, a caf\xe9")
    written.commit({"module": submodule(head)}, "a submodule")
    side = written.commit({"side": "side\n"}, "aside", branch="side", start=head)
    written.commit({"side": "side\n"}, "a merge", merge=side)
    written.commit({"module": None, "bin": None, "😀": None}, "", author="<> 1 +0000")
    return written


# --- a large one ----------------------------------------------------------------------------


def synthesise(path: Path, commits: int, *, files: int = 400, seed: int = 1) -> Written:
    """A repository with so many commits: edits, adds, renames, new modes, deletions.

    The tree grows to about ``files`` files and then keeps its size.
    """
    written = Written(path)
    stream = b"".join(_history(random.Random(seed), commits, files))
    written.git("fast-import", "--quiet", text=stream)
    return written


def _history(chance: random.Random, commits: int, files: int) -> Iterator[bytes]:
    tree: dict[str | bytes, Entry] = {}
    for number in range(commits):
        author = (
            f"Author {number % 7} <author{number % 7}@example.org> {10**9 + number * 600} +0100"
        )
        changes: dict[str | bytes, Entry | str | bytes | None] = {}
        for change in range(chance.choice((0, 1, 1, 2, 2, 3, 5, 12))):
            changes |= _one_change(chance, tree, files, f"{number}-{change}")
        message = f"Commit number {number}\n\nwith a body"
        yield commit_command(changes, message, author, "main", None, None)


def _one_change(
    chance: random.Random, tree: dict[str | bytes, Entry], files: int, name: str
) -> dict[str | bytes, Entry | None]:
    """Change one file of the tree, and say how."""
    do = chance.random()
    if len(tree) < 10 or (do < 0.5 and len(tree) < files):
        path = f"dir{chance.randrange(20)}/sub{chance.randrange(5)}/file-{name}.txt"
        text = "".join(f"line {n} of {name}\n" for n in range(chance.randrange(60)))
        tree[path] = Entry("100644", text)
        return {path: tree[path]}
    old = chance.choice(sorted(tree, key=_bytes))
    if do < 0.8:
        lines = str(tree[old].content).splitlines(keepends=True)
        lines.insert(chance.randrange(len(lines) + 1), f"an edit, {name}\n")
        tree[old] = Entry(tree[old].mode, "".join(lines))
        return {old: tree[old]}
    if do < 0.88:
        tree[old] = tree[old]._replace(mode=chance.choice(("100644", "100755")))
        return {old: tree[old]}
    entry = tree.pop(old)
    if do < 0.94:
        return {old: None}
    new = f"dir{chance.randrange(20)}/moved-{name}.txt"
    tree[new] = entry._replace(content=f"{entry.content!s}edited while moved, {name}\n")
    return {old: None, new: tree[new]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a large git repository.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commits", type=int, default=2500)
    options = parser.parse_args()
    synthesise(options.folder, options.commits)
