"""What the log holds: revisions and their records, as plain immutable data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct, field

from lifecycle.changes import ChangeSet, Operation

__all__ = ["FORMAT", "FeedPosition", "Line", "Lines", "Position", "Record", "Revision"]

FORMAT = 1
"""The version of the record format this release writes; every record carries its own."""


class Position(NamedTuple):
    """Where a record stands in its store; positions order records, newest last."""

    seq: int
    n: int


class FeedPosition(NamedTuple):
    """How far a reader of the feed has come; plain numbers, to be kept until the next time.

    ``horizon`` is what the store has to put before ``seq`` so that nothing appears behind a reader,
    and 0 where it needs nothing.
    """

    horizon: int
    seq: int
    n: int


class Revision(Struct, frozen=True, kw_only=True):
    """Everything one database transaction recorded: who, when, why, in which context.

    ``seq`` orders the revisions of one store and is ``None`` until the store has assigned it.
    ``id`` (uuid7) names the revision wherever it is stored. ``at`` is aware, in UTC, to the
    microsecond. ``group`` joins the revisions of several databases that belong together.
    ``context`` holds JSON values only.
    """

    id: UUID
    at: datetime
    seq: int | None = None
    actor: str | None = None
    actor_label: str | None = None
    reason: str | None = None
    source: str | None = None
    request_id: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    origin: str | None = None
    group: UUID | None = None


# As many are made as objects are written, and nothing in one can lead back to it.
class Record(Struct, frozen=True, kw_only=True, gc=False):
    """A changeset as stored: one object's changes in one flush or document write.

    ``key`` is the object's identity after the change. ``former_key`` is its identity before it,
    and is set only when the change moved the object to another key. ``label`` is what the object
    called itself at that moment. ``error`` says what of the change could not be recorded, and why:
    such values are `UNKNOWN` here. ``cause`` is ``"cascade"`` for what the database did by itself,
    through a foreign key, because another row changed or went; it is ``None`` for what was asked
    for. ``n`` orders the records of one revision.
    """

    revision: Revision
    n: int
    entity: str
    key: str
    operation: Operation
    changes: ChangeSet
    former_key: str | None = None
    label: str | None = None
    error: str | None = None
    cause: str | None = None
    format: int = FORMAT

    @property
    def id(self) -> str:
        """The record's name in every store it is copied to: ``<revision id>.<n>``."""
        return f"{self.revision.id}.{self.n}"

    @property
    def position(self) -> Position:
        """Where the record stands in the store it was read from.

        Raises ``ValueError`` for a record that has not been stored.
        """
        if self.revision.seq is None:
            raise ValueError(f"record {self.id} has no position: it has not been stored yet")
        return Position(self.revision.seq, self.n)

    @property
    def at(self) -> datetime:
        """When its revision was made, in UTC."""
        return self.revision.at

    @property
    def actor(self) -> str | None:
        """The stable id of who did it, ``None`` when nobody was named."""
        return self.revision.actor

    @property
    def reason(self) -> str | None:
        """Why, in the actor's words."""
        return self.revision.reason


class Line(Struct, gc=False):
    """A record about to be stored that has nothing but changes, and these as their text.

    ``verb`` is the text of its operation; its format is the newest one.
    """

    n: int
    entity: str
    key: str
    verb: str
    changes: str


class Lines(Struct, gc=False):
    """Many such lines of one entity and operation; ``n`` is that of the first."""

    n: int
    entity: str
    keys: list[str]
    verb: str
    changes: list[str]

    def __len__(self) -> int:
        return len(self.keys)
