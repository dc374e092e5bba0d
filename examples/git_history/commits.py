"""Commits and what they changed, and how a raw commit is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path a commit changed.

    ``status`` is git's letter: A added, M modified, T type changed, R renamed, D deleted. A rename
    has a ``former_path``. A deletion has no ``mode`` and ``blob``; a submodule no ``size``; neither
    it nor binary content has ``lines``. ``added`` and ``removed`` are ``None`` for binary content.
    """

    status: str
    path: str
    former_path: str | None
    mode: str | None
    blob: str | None
    size: int | None
    lines: int | None
    added: int | None
    removed: int | None


@dataclass(frozen=True, slots=True)
class Person:
    """An author or committer, with the time and zone git noted."""

    name: str
    email: str
    time: datetime | None
    zone: str


@dataclass(frozen=True, slots=True)
class GitCommit:
    """A commit of the main line, and what it changed against the commit before it."""

    sha: str
    position: int
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str
    changes: tuple[FileChange, ...]


class TreeEntry(NamedTuple):
    """A file in a tree, as ``git ls-tree`` lists it."""

    mode: str
    blob: str
    size: int | None


_PERSON = re.compile(
    rb"(?P<name>[^<]*)(?:<(?P<email>.*)>)?\s*(?P<time>-?\d+)?\s*(?P<zone>[+-]\d+)?\s*", re.DOTALL
)


def parsed(sha: str, position: int, raw: bytes, changes: tuple[FileChange, ...]) -> GitCommit:
    """A commit from the raw content of its object, and what it changed."""
    head, _, message = raw.partition(b"\n\n")
    headers = [line.partition(b" ") for line in head.split(b"\n")]
    first = {name: value for name, _, value in reversed(headers)}
    encoding = first.get(b"encoding", b"utf-8").decode("ascii", "replace")
    return GitCommit(
        sha=sha,
        position=position,
        parents=tuple(value.decode("ascii") for name, _, value in headers if name == b"parent"),
        author=_person(first.get(b"author", b""), encoding),
        committer=_person(first.get(b"committer", b""), encoding),
        message=_text(message, encoding).strip(),
        changes=changes,
    )


def _person(raw: bytes, encoding: str) -> Person:
    """Who and when; of a broken line whatever can be read."""
    match = _PERSON.match(raw)
    assert match is not None  # every part is optional
    name, email, time, zone = match.group("name", "email", "time", "zone")
    zone_text = (zone or b"").decode("ascii")
    return Person(
        name=_text(name, encoding).strip(),
        email=_text(email or b"", encoding).strip(),
        time=_moment(time, zone_text),
        zone=zone_text,
    )


def _moment(seconds: bytes | None, zone: str) -> datetime | None:
    """The time in its zone; ``None`` outside the years 1 to 9999."""
    if seconds is None:
        return None
    try:
        return (_EPOCH + timedelta(seconds=int(seconds))).astimezone(_timezone(zone))
    except (OverflowError, ValueError):
        return None


def _timezone(zone: str) -> timezone:
    """The zone git wrote, such as ``+0530``; UTC for one that cannot be."""
    digits = zone[1:].rjust(4, "0")
    offset = timedelta(hours=int(digits[:-2]), minutes=int(digits[-2:]))
    if offset >= timedelta(days=1):
        return UTC
    return timezone(-offset if zone.startswith("-") else offset)


def _text(raw: bytes, encoding: str) -> str:
    """Text in the encoding the commit names, with U+FFFD for what does not decode.

    Some codecs yield lone surrogates, and some databases refuse NUL: both become U+FFFD too.
    """
    try:
        text = raw.decode(encoding, "replace")
    except (LookupError, UnicodeError):
        text = raw.decode("utf-8", "replace")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "�")
