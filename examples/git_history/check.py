"""Checks the log against git: the files as it knows them at a commit are that commit's tree."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from examples.common.databases import Databases
from examples.git_history.commits import TreeEntry
from examples.git_history.git import Repository
from examples.git_history.models import Commit, File
from examples.git_history.progress import track
from lifecycle.audit.history import State

ALL = "all"

Tree = Mapping[str, TreeEntry]

_IN_PART = TreeEntry("", "", None)
"""A file whose insert the log does not have."""


@dataclass(slots=True)
class Checked:
    """What a check has compared, and every difference it found, in words."""

    commits: int = 0
    files: int = 0
    records: int = 0
    seconds: float = 0.0
    differences: list[str] = field(default_factory=list)


def check(repository: Repository, databases: Databases, sample: int | str) -> Checked:
    """Compare git with the documents, with the table, and with the log at a sample of commits.

    ``sample`` is a number of commits, spread evenly with the first and the last, or ``"all"``.
    """
    started = time.perf_counter()
    shas = list(Commit.objects.order_by("position").scalar("sha"))
    checked = Checked(differences=_line_differences(repository.line, shas))
    wanted = picked(shas, sample)
    for sha, logged in track(_logged(databases, wanted), "checked", len(wanted)):
        tree = repository.tree(sha)
        checked.differences += _differences(f"the log at {sha}", tree, logged)
        checked.commits += 1
        checked.files += len(tree)
    if shas:
        last, now = repository.tree(shas[-1]), databases.lifecycle.history.snapshot(File)
        checked.differences += _differences("the log as it ends", last, _tree(now))
        checked.differences += _differences("the table as it is now", last, _stored(databases))
    checked.records = sum(1 for _ in databases.lifecycle.history.find())
    checked.seconds = time.perf_counter() - started
    return checked


def picked(shas: Sequence[str], sample: int | str) -> list[str]:
    """The commits to check: all, or so many spread evenly, the first and the last among them."""
    if isinstance(sample, str) or sample >= len(shas):
        return list(shas)
    if sample == 1:
        return [shas[-1]]
    last = len(shas) - 1
    return [shas[last * step // (sample - 1)] for step in range(sample)]


def _logged(databases: Databases, shas: Sequence[str]) -> Iterator[tuple[str, Tree]]:
    """The files as the log has them right after each of these commits, oldest first."""
    history = databases.lifecycle.history
    saved = {
        record.key: record.revision
        for record in history.find(Commit, operation="insert", newest_first=False)
    }
    snapshots = history.snapshots(File, [saved[sha] for sha in shas if sha in saved])
    for sha in shas:
        yield sha, _tree(next(snapshots)) if sha in saved else {}


def _tree(states: Mapping[str, State]) -> Tree:
    return {state.values.get("path", state.key): _entry(state) for state in states.values()}


def _entry(state: State) -> TreeEntry:
    if not state.complete:
        return _IN_PART
    return TreeEntry(state["mode"], state["blob"], state["size"])


def _stored(databases: Databases) -> Tree:
    """The files as the table has them now."""
    with databases.sessions() as session:
        rows = session.execute(select(File.path, File.mode, File.blob, File.size))
        return {path: TreeEntry(mode, blob, size) for path, mode, blob, size in rows}


def _line_differences(line: Sequence[str], shas: Sequence[str]) -> list[str]:
    """Where the documents are not the beginning of the main line."""
    if not shas:
        return ["nothing has been replayed: there is no commit document"]
    for position, sha in enumerate(shas):
        if line[position : position + 1] != [sha]:
            expected = line[position] if position < len(line) else "nothing"
            return [f"document {position + 1} is commit {sha}, git has {expected} there"]
    return []


def _differences(where: str, tree: Tree, found: Tree) -> Iterator[str]:
    for path in sorted(tree.keys() | found.keys()):
        expected, actual = tree.get(path), found.get(path)
        if expected != actual:
            yield f"{where}: {path!r} is {_shown(actual)}, in git {_shown(expected)}"


def _shown(entry: TreeEntry | None) -> str:
    if entry is None:
        return "missing"
    if entry is _IN_PART:
        return "known in part only"
    size = "no size" if entry.size is None else f"{entry.size:,} bytes"
    return f"{entry.mode} {entry.blob[:12]} ({size})"
