"""What is about to be written to a database that the log is not in.

The two cannot commit as one, so an intent is stored first. When the change has been made, its
records take the place of the intent; a process that is killed in between leaves the intent, and
`lifecycle.audit.reconciling` settles it by looking at the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable
from uuid import UUID

from msgspec import Struct

from lifecycle import codec
from lifecycle.audit.exact import record_of, record_row, revision_of, revision_row
from lifecycle.audit.format import kept
from lifecycle.audit.records import Record, Revision
from lifecycle.errors import HistoryError

__all__ = ["Intent", "IntentStore", "dump_intent", "load_intent"]


class Intent(Struct, frozen=True, kw_only=True):
    """Changes that are about to be made, as they will be recorded.

    Intents of one transaction share their revision, which is not stored yet. ``traces`` has a text
    for each record, by which its mapper finds out whether the change has been made.
    """

    id: UUID
    revision: Revision
    records: tuple[Record, ...]
    traces: tuple[str, ...]


@runtime_checkable
class IntentStore(Protocol):
    """An `AuditStore` that keeps intents, too. Every method raises as those of a store do."""

    def intend(self, intent: Intent) -> None:
        """Store an intent; it has to survive this process."""
        ...

    def confirm(
        self, revision: Revision, records: Sequence[Record], intents: Sequence[UUID]
    ) -> Revision:
        """Store a revision as `append` does, in the place of these intents.

        If not in one step, then the revision first: an intent whose revision is stored is settled.
        """
        ...

    def withdraw(self, intents: Sequence[UUID]) -> None:
        """Remove intents; those that are not there are passed over."""
        ...

    def intents(self) -> Iterator[Intent]:
        """Every intent there is, oldest first."""
        ...


def dump_intent(intent: Intent) -> str:
    """The text of an intent. Those of its changes are kept: they will be recorded as they are."""
    for record in intent.records:
        kept(record.changes)
    return codec.to_text(
        {
            "format": 1,
            "revision": codec.encode(list(revision_row(intent.revision))),
            "records": [codec.encode(list(record_row(record))) for record in intent.records],
            "traces": list(intent.traces),
        }
    )


def load_intent(id: UUID, text: str) -> Intent:
    """The intent of a text. Raises ``HistoryError`` when it cannot be read."""
    body = codec.from_text(text)
    try:
        revision = revision_of(tuple(map(codec.decode, body["revision"])))
        rows = [tuple(map(codec.decode, row)) for row in body["records"]]
        return Intent(
            id=id,
            revision=revision,
            records=tuple(record_of(row, revision) for row in rows),
            traces=tuple(body["traces"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HistoryError(
            f"the intent {id} cannot be read ({error!r}): a newer release of lifecycle wrote it, "
            "or it was altered"
        ) from error
