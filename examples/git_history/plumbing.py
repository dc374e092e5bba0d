"""git's plumbing commands, run as processes and read as streams."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from examples.git_history.errors import GitError

_CHUNK = 1 << 16
_BINARY_IF_NUL_WITHIN = 8000  # git's own test for binary content

_ELSEWHERE = frozenset(
    f"GIT_{name}" for name in ("DIR", "COMMON_DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY")
)


def _environment() -> dict[str, str]:
    """This process's environment without what would point git elsewhere, as inside a git hook."""
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


@contextmanager
def running(
    command: list[str],
    directory: Path,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A running git, ended with the block whether or not it was read to its end."""
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=_environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    except FileNotFoundError as error:
        raise GitError("the git command was not found: install git and see it on PATH") from error
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output(command: list[str], directory: Path) -> bytes:
    """All that a git command prints. Raises ``GitError`` when it fails."""
    with TemporaryFile() as errors, running(command, directory, stderr=errors) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        if process.wait():
            raise GitError(_complaint(command, directory, errors))
        return printed


def tokens(
    command: list[str], directory: Path, stdin: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[bytes]:
    """The NUL-terminated parts of what a git command prints, read while it runs.

    Raises ``GitError`` when the command fails, so that output that broke off never looks whole.
    """
    with (
        TemporaryFile() as errors,
        running(command, directory, stdin=stdin, stderr=errors) as process,
    ):
        assert process.stdout is not None
        rest = b""
        while chunk := process.stdout.read(_CHUNK):
            *whole, rest = (rest + chunk).split(b"\0")
            yield from whole
        if process.wait():
            raise GitError(_complaint(command, directory, errors))


def _complaint(command: list[str], directory: Path, errors: IO[bytes]) -> str:
    errors.seek(0)
    said = errors.read().decode("utf-8", "replace").strip().removeprefix("fatal: ")
    if "not a git repository" in said:
        return f"{directory} is no git repository: give the path of one, or run `git init` there"
    if "bad revision 'HEAD'" in said:
        return f"{directory} has no commits on HEAD: commit something first"
    return f"`{' '.join(command[:2])}` failed in {directory}: {said or 'it gave no reason'}"


class Objects:
    """Contents of objects, asked for one after the other from one ``git cat-file --batch``."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers, self._path = process.stdin, process.stdout, path
        self.measure = lru_cache(maxsize=10_000)(self._measure)

    def commit(self, sha: str) -> bytes:
        """The raw content of a commit."""
        return b"".join(self._content(sha))

    def _measure(self, blob: str) -> tuple[int, int | None]:
        """The size of a blob and its number of lines, ``None`` when it is binary."""
        size = newlines = 0
        binary, last = False, b"\n"
        for chunk in self._content(blob):
            binary = binary or b"\0" in chunk[: max(0, _BINARY_IF_NUL_WITHIN - size)]
            size += len(chunk)
            newlines += chunk.count(b"\n")
            last = chunk[-1:]
        return size, None if binary else newlines + (last != b"\n")

    def _content(self, name: str) -> Iterator[bytes]:
        try:
            self._requests.write(name.encode("ascii") + b"\n")
            self._requests.flush()
        except BrokenPipeError as error:
            raise GitError(f"git cat-file ended before {name} was read: run git fsck") from error
        answer = self._answers.readline().split()
        if len(answer) != 3:
            raise GitError(
                f"object {name} is missing from {self._path}: run `git fsck`, or fetch it"
            )
        left = int(answer[2])
        while left:
            chunk = self._answers.read(min(left, _CHUNK))
            if not chunk:
                raise GitError(f"git cat-file ended inside {name}: run `git fsck`")
            left -= len(chunk)
            yield chunk
        self._answers.readline()
