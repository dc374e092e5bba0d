"""Replays commits as object changes: files through SQLAlchemy, commits through mongoengine.

Each commit is one database transaction for its files, and one document written after it, both
acting as its author. How far a replay has come is read from the two databases alone, so it can be
killed at any instant and goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from sqlalchemy import select
from sqlalchemy.orm import Session

from examples.common.databases import Databases
from examples.git_history.commits import FileChange, GitCommit
from examples.git_history.git import Repository
from examples.git_history.models import Commit, File, FileStatistics
from examples.git_history.progress import track
from examples.git_history.resume import has_files, resume
from lifecycle import acting
from lifecycle.audit.records import Record

_PATHS_PER_QUERY = 500
_LONGEST_ACTOR = 255  # characters; the log's column


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one run did. ``before`` is the number of commits that were in already."""

    before: int
    commits: int
    files: int
    records: int
    seconds: float


def replay(repository: Repository, databases: Databases, limit: int | None = None) -> Replayed:
    """Replay the commits that are not in yet, at most ``limit`` of them.

    Raises ``MismatchError`` when the databases hold anything but the beginning of this
    repository's main line.
    """
    started = time.perf_counter()
    start = resume(repository, databases)
    stop = len(repository.line) if limit is None else min(start + limit, len(repository.line))
    newest = _newest_record(databases)
    files = 0
    for commit in track(repository.commits(start, stop), "replayed", stop - start):
        files_are_in = commit.position == start and has_files(databases, commit.sha)
        replay_commit(databases, commit, files_are_in=files_are_in)
        files += len(commit.changes)
    return Replayed(
        before=start,
        commits=stop - start,
        files=files,
        records=sum(1 for _ in _records_since(databases, newest)),
        seconds=time.perf_counter() - started,
    )


def replay_commit(databases: Databases, commit: GitCommit, *, files_are_in: bool = False) -> None:
    """Write one commit as its author: its files in one transaction, then its document."""
    author, committed_at = commit.author, commit.committer.time
    with acting(
        (author.email or author.name or "nobody")[:_LONGEST_ACTOR],
        label=author.name or None,
        reason=commit.message or None,
        source="git",
        request_id=commit.sha,
        committed_at=committed_at and committed_at.isoformat(),
    ):
        if not files_are_in:
            with databases.sessions.begin() as session:
                apply(session, commit.changes)
        document(commit).save(force_insert=True)


def _newest_record(databases: Databases) -> Record | None:
    return next(databases.lifecycle.history.find(), None)


def _records_since(databases: Databases, newest: Record | None) -> Iterator[Record]:
    records = databases.lifecycle.history.find()
    if newest is None:
        return records
    return takewhile(lambda record: record.position > newest.position, records)


# --- files ----------------------------------------------------------------------------------


def apply(session: Session, changes: Sequence[FileChange]) -> None:
    """Make the files as the commit left them.

    Deletions are flushed first and renames second, so that no key is taken by two files at once.
    """
    files = _load(session, [change.former_path or change.path for change in changes])
    for change in _with_status("D", changes):
        session.delete(files[change.path])
    session.flush()
    for change in _with_status("R", changes):
        assert change.former_path is not None
        _write(files[change.former_path], change)
    session.flush()
    for change in _with_status("MT", changes):
        _write(files[change.path], change)
    for change in _with_status("A", changes):
        file = File()
        _write(file, change)
        session.add(file)


def _with_status(statuses: str, changes: Iterable[FileChange]) -> Iterator[FileChange]:
    return (change for change in changes if change.status in statuses)


def _load(session: Session, paths: Sequence[str]) -> dict[str, File]:
    files: dict[str, File] = {}
    for first in range(0, len(paths), _PATHS_PER_QUERY):
        some = paths[first : first + _PATHS_PER_QUERY]
        found = session.scalars(select(File).where(File.path.in_(some)))
        files.update((file.path, file) for file in found)
    return files


def _write(file: File, change: FileChange) -> None:
    assert change.mode is not None
    assert change.blob is not None
    file.path = change.path
    file.mode = change.mode
    file.blob = change.blob
    file.size = change.size
    file.lines = change.lines


# --- documents ------------------------------------------------------------------------------


def document(commit: GitCommit) -> Commit:
    """The document of a commit."""
    return Commit(
        sha=commit.sha,
        position=commit.position,
        parents=list(commit.parents),
        author_name=commit.author.name,
        author_email=commit.author.email,
        authored_at=commit.author.time,
        zone=commit.author.zone,
        message=commit.message,
        files=[
            FileStatistics(
                path=change.path,
                status=change.status,
                former_path=change.former_path,
                added=change.added,
                removed=change.removed,
            )
            for change in commit.changes
        ],
    )
