"""Stored documents as rows of plain values, as `lifecycle.audit.leaves` has them, and back.

A document says of its revision, beside its own record, what can be asked for. A row has each value
once, so a document of which any other part is not as it was written, gives a row that no seal fits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from lifecycle.audit.leaves import Row
from lifecycle.audit.records import Position
from lifecycle.audit.stores.mongo.documents import is_head, position_text
from lifecycle.audit.stores.mongo.numbers import TAKEN

__all__ = ["record_row", "record_update", "revision_row", "revision_updates"]

Document = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1)
_SHARED: Final = ("seq", "at", "actor", "request_id", "group")
_OWN: Final = ("operation", "label", "error", "cause", "changes", "format")
_WHOLE: Final = ("actor_label", "reason", "source", "origin", "context")


def revision_row(head: Document) -> Row:
    """The row of the revision that a head tells of."""
    whole = head.get("revision")
    told: Document = whole if isinstance(whole, dict) else {}
    group = head.get("group")
    row = (
        head.get("seq"),
        str(head["_id"]).replace("-", ""),
        _time(head.get("at")),
        head.get("actor"),
        told.get("actor_label"),
        told.get("reason"),
        told.get("source"),
        head.get("request_id"),
        told.get("context"),
        told.get("origin"),
        group.replace("-", "") if isinstance(group, str) else group,
        None,
    )
    known = {"_id", "position", "n", "revision", TAKEN, *_SHARED, "entity", "keys", *_OWN}
    as_written = (
        isinstance(whole, dict)
        and not told.keys() - set(_WHOLE)
        and not head.keys() - known
        and head.get(TAKEN, head.get("seq")) == head.get("seq")
        and head.get("position") == _place(head)
        and isinstance(group, str | None)
    )
    return row if as_written else (*row[:8], f"altered: {head!r}", *row[9:])


def record_row(document: Document, head: Document) -> Row:
    """The row of the record of a document; the head is that of its revision."""
    keys = document.get("keys")
    named = keys if isinstance(keys, list) else []
    row = (
        document.get("seq"),
        document.get("n"),
        document.get("entity"),
        named[0] if named else None,
        named[1] if len(named) > 1 else None,
        *(document.get(name) for name in _OWN),
    )
    expected = {name: head[name] for name in _SHARED if name in head}
    others = {
        name: value
        for name, value in document.items()
        if name not in ("_id", "position", "n", "entity", "keys", *_OWN)
        and not (is_head(document) and name in ("revision", TAKEN))
    }
    id = f"{head['_id']}.{document.get('seq')}.{document.get('n')}"
    as_written = (
        others == expected
        and len(named) in (1, 2)
        and (document["_id"] == id or is_head(document))
        and document.get("position") == _place(document)
    )
    return row if as_written else (*row[:2], f"altered: {document!r}", *row[3:])


def _place(document: Document) -> str | None:
    try:
        return position_text(Position(document["seq"], document["n"]))
    except (KeyError, TypeError, ValueError):
        return None


def _time(at: Any) -> Any:
    if type(at) is not int:
        return repr(at)
    try:
        return (_EPOCH + timedelta(microseconds=at)).isoformat(" ", "microseconds")
    except OverflowError:
        return at


def record_update(before: Row, after: Row) -> dict[str, Any]:
    """The update of a document whose record's row becomes another one."""
    values: dict[str, Any] = dict(zip(_OWN, after[5:], strict=True))
    was = dict(zip(_OWN, before[5:], strict=True))
    changed = {name: value for name, value in values.items() if value != was[name]}
    if before[3:5] != after[3:5]:
        changed["keys"] = [key for key in after[3:5] if key is not None]
    return _update(changed)


def revision_updates(before: Row, after: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    """The updates of a head, and of all documents of its revision, when its row becomes another."""
    names = ("seq", "id", "at", "actor", "actor_label", "reason", "source", "request_id", "context")
    whole: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for name, old, new in zip(names, before, after, strict=False):
        if old != new:
            if name in _WHOLE:
                whole[f"revision.{name}"] = new
            else:
                shared[name] = new
    return _update(whole), _update(shared)


def _update(values: Document) -> dict[str, Any]:
    sets = {name: value for name, value in values.items() if value is not None}
    unsets = dict.fromkeys(values.keys() - sets.keys(), "")
    return ({"$set": sets} if sets else {}) | ({"$unset": unsets} if unsets else {})
