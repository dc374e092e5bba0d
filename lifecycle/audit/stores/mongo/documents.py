"""Revisions and records as documents of one collection, and back.

Each record is a document, which tells of its revision what can be asked for. One of them, the head,
tells all of it, and is written last: a record counts when its head is there, so that a revision is
stored as a whole or not at all, on a server without transactions too. A revision without records is
a head at ``n`` -1.

``position`` is seq and n as one text, so that one comparison tells what comes after a record.

Changes and context are the texts of the record format, for BSON has not all of their values, nor
their order. Times are ISO texts in UTC, for those of BSON end at milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from lifecycle import codec
from lifecycle.audit.format import dump, load
from lifecycle.audit.records import Position, Record, Revision
from lifecycle.audit.store import Entry, Glimpse
from lifecycle.audit.stores.mongo.numbers import OPEN_SINCE, TAKEN
from lifecycle.audit.stores.texts import escaped, unescaped
from lifecycle.changes import Operation
from lifecycle.errors import HistoryError

__all__ = [
    "COLLECTION",
    "GLIMPSED",
    "HOLDS",
    "INDEXES",
    "INTENTS",
    "LAST_N",
    "LEAF_INDEXES",
    "LEAVES",
    "REPLAYED",
    "SEALS",
    "WHOLE",
    "closed_placeholder",
    "documents_of",
    "entry_of",
    "glimpse_of",
    "is_head",
    "microseconds",
    "placeholder",
    "position_text",
    "record_of",
    "revision_id",
    "revision_of",
]

Document = dict[str, Any]

COLLECTION: Final = "lifecycle_change"
INTENTS: Final = "lifecycle_intent"
"""The collection of what is about to be written, until it is recorded."""
SEALS: Final = "lifecycle_seal"
LEAVES: Final = "lifecycle_leaf"
HOLDS: Final = "lifecycle_hold"
"""The collections of the evidence."""

LAST_N: Final = 2**31 - 1
"""A number that no record of a revision reaches."""

LEAF_INDEXES: Final[dict[tuple[str, ...], dict[str, bool]]] = {
    ("seal", "place"): {},
    ("seq", "n"): {},
}

INDEXES: Final[dict[tuple[str, ...], dict[str, bool]]] = {
    (TAKEN,): {"unique": True, "sparse": True},
    (OPEN_SINCE,): {"sparse": True},
    ("position",): {},
    ("entity", "position"): {},
    ("entity", "keys", "position"): {},
    ("actor", "position"): {},
    ("request_id", "position"): {},
    ("group", "position"): {},
    ("at", "position"): {},
}
"""The fields of each index, and its options."""

WHOLE: Final = dict.fromkeys(("seq", "at", "actor", "request_id", "group", "revision"), 1)
"""The projection of a head to its revision."""

REPLAYED: Final = dict.fromkeys(("seq", "n", "keys", "operation", "label", "changes", "format"), 1)
"""The projection of a record to an `Entry`."""

GLIMPSED: Final = dict.fromkeys(("seq", "n", "at", "keys", "operation", "label"), 1)
"""The projection of a record to a `Glimpse`."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS: Final = ("actor_label", "reason", "source", "origin")


def microseconds(moment: datetime) -> int:
    """An aware moment as microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def position_text(position: Position) -> str:
    """A position as a text; such texts sort as their positions do."""
    return f"{position.seq:020}.{position.n + 1:010}"


def documents_of(revision: Revision, records: Sequence[Record], *, headed: bool) -> list[Document]:
    """The documents of a revision that has its ``seq``, the head last.

    ``headed`` says that the head is among them: it is that of the first record.
    """
    assert revision.seq is not None  # it has been numbered
    shared: Document = {"seq": revision.seq, "at": microseconds(revision.at)}
    for name in ("actor", "request_id"):
        text = getattr(revision, name)
        if text is not None:
            shared[name] = escaped(text)
    if revision.group is not None:
        shared["group"] = str(revision.group)
    made = [
        {
            "_id": f"{revision.id}.{revision.seq}.{record.n}",
            "position": position_text(Position(revision.seq, record.n)),
            **shared,
            **_record(record),
        }
        for record in records
    ]
    if not headed:
        return made
    if made:
        head = made.pop(0)
    else:
        head = {"position": position_text(Position(revision.seq, -1)), **shared, "n": -1}
    return [*made, {**head, "_id": str(revision.id), "revision": _revision(revision)}]


def _revision(revision: Revision) -> Document:
    texts = {name: getattr(revision, name) for name in _TEXTS}
    found = {name: escaped(text) for name, text in texts.items() if text is not None}
    return {**found, "context": codec.dumps(dict(revision.context))}


def _record(record: Record) -> Document:
    keys = [record.key] if record.former_key is None else [record.key, record.former_key]
    found: Document = {
        "n": record.n,
        "entity": escaped(record.entity),
        "keys": list(map(escaped, keys)),
        "operation": record.operation.value,
    }
    for name in ("label", "error", "cause"):
        text = getattr(record, name)
        if text is not None:
            found[name] = escaped(text)
    return {**found, "changes": dump(record.changes), "format": record.format}


def placeholder(revision: Revision, seq: int) -> Document:
    """What keeps a number for a revision until its transaction is over."""
    return {"_id": f"{revision.id}.open", TAKEN: seq, OPEN_SINCE: datetime.now(UTC)}


def closed_placeholder(revision: str, seq: int) -> Document:
    """What keeps the number of a revision that was removed."""
    return {"_id": f"{revision}.open", TAKEN: seq}


def is_head(document: Document) -> bool:
    """Whether it is the one of its revision that tells all of it."""
    return "." not in document["_id"]


def revision_id(document: Document) -> str:
    """The id of the revision a document is of."""
    id: str = document["_id"]
    return id.partition(".")[0]


def revision_of(head: Document) -> Revision:
    """The revision that a head tells of."""
    whole = head["revision"]
    group = head.get("group")
    return Revision(
        seq=head["seq"],
        id=UUID(head["_id"]),
        at=_EPOCH + timedelta(microseconds=head["at"]),
        actor=_text(head, "actor"),
        request_id=_text(head, "request_id"),
        group=None if group is None else UUID(group),
        context=codec.loads(whole["context"]),
        **{name: _text(whole, name) for name in _TEXTS},
    )


def _text(document: Document, name: str) -> str | None:
    text = document.get(name)
    return None if text is None else unescaped(text)


def record_of(document: Document, revision: Revision) -> Record:
    """The record of a document. Raises ``HistoryError`` when it cannot be read."""
    operation = Operation(document["operation"])
    entity, keys = unescaped(document["entity"]), list(map(unescaped, document["keys"]))
    try:
        changes = load(document["changes"], operation, document["format"])
    except HistoryError as error:
        raise HistoryError(
            f"record {revision.id}.{document['n']} of {entity} {keys[0]} cannot be read: {error}"
        ) from error
    return Record(
        revision=revision,
        n=document["n"],
        entity=entity,
        key=keys[0],
        former_key=keys[1] if len(keys) > 1 else None,
        operation=operation,
        label=_text(document, "label"),
        error=_text(document, "error"),
        cause=_text(document, "cause"),
        changes=changes,
        format=document["format"],
    )


def glimpse_of(document: Document, head: Document) -> Glimpse:
    """The glimpse of a document, whose revision has that head."""
    return Glimpse(
        revision=UUID(head["_id"]),
        seq=document["seq"],
        n=document["n"],
        at=_EPOCH + timedelta(microseconds=document["at"]),
        key=unescaped(document["keys"][0]),
        operation=Operation(document["operation"]),
        label=_text(document, "label"),
    )


def entry_of(document: Document) -> Entry:
    """The entry of a document."""
    keys = list(map(unescaped, document["keys"]))
    return Entry(
        seq=document["seq"],
        n=document["n"],
        key=keys[0],
        former_key=keys[1] if len(keys) > 1 else None,
        operation=document["operation"],
        label=_text(document, "label"),
        changes=document["changes"],
        format=document["format"],
    )
