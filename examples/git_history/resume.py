"""Finds where a replay ended, from the two databases alone."""

from __future__ import annotations

import mongoengine

from examples.common.databases import Databases
from examples.git_history.errors import MismatchError
from examples.git_history.git import Repository
from examples.git_history.models import COMMIT, FILE, Commit, File

_START_OVER = "start over with another --data folder (or other databases), or remove this one"


def resume(repository: Repository, databases: Databases) -> int:
    """The position of the first commit that is not in with all its files and its document.

    A run can be killed between any two of a commit's three steps: the files with their records,
    the document, the document's record. A document without its record is taken away, to be
    written again with it. Raises ``MismatchError`` when the databases hold anything but the
    beginning of this repository's main line.
    """
    last = Commit.objects.order_by("-position").first()
    if last is not None:
        _refuse_another_line(repository, last)
    done = 0 if last is None else last.position + 1
    end = _end_of_log(databases)
    if end == _document_of(last.sha if last else None):
        return done
    if end in [_files_of(sha) for sha in repository.line[done : done + 1]]:
        return done
    if last is not None and end in _ends_without_record(repository, last):
        mongoengine.get_db()["commits"].delete_one({"_id": last.sha})
        return done - 1
    raise MismatchError(
        f"the two databases do not belong together: the last document is commit "
        f"{last and last.sha}, the log ends with {end and ' of commit '.join(map(str, end))}; "
        f"give the pair that was written together, or {_START_OVER}"
    )


def has_files(databases: Databases, sha: str) -> bool:
    """Whether the log has the files of a commit."""
    return next(databases.lifecycle.history.find(File, request_id=sha), None) is not None


_End = tuple[str, str | None] | None
"""What the newest record of the log is about: its entity and its commit."""


def _end_of_log(databases: Databases) -> _End:
    """By the last record of a commit: what is done on the pages is of none."""
    replayed = (one for one in databases.lifecycle.history.find() if one.revision.request_id)
    record = next(replayed, None)
    return None if record is None else (record.entity, record.revision.request_id)


def _files_of(sha: str) -> _End:
    return (FILE, sha)


def _document_of(sha: str | None) -> _End:
    return None if sha is None else (COMMIT, sha)


def _ends_without_record(repository: Repository, last: Commit) -> list[_End]:
    """How the log can end when all of a commit is in but the record of its document."""
    if last.files:
        return [_files_of(last.sha)]
    return [_document_of(repository.line[last.position - 1] if last.position else None)]


def _refuse_another_line(repository: Repository, last: Commit) -> None:
    line = repository.line
    if line[last.position : last.position + 1] == [last.sha]:
        return
    first = Commit.objects(position=0).first()
    if first is None or first.sha != line[0]:
        raise MismatchError(
            f"the databases hold another repository's history: it begins with "
            f"{first.sha if first else 'no commit'}, that of {repository.path} with {line[0]}; "
            f"{_START_OVER}"
        )
    raise MismatchError(
        f"the history of {repository.path} is not the one that was replayed: its commit number "
        f"{last.position + 1}, {last.sha} ({last.summary!r}), is not on HEAD's main line any more; "
        f"check out the branch that has it, or {_START_OVER}"
    )
