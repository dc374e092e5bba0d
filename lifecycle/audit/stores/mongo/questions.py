"""The questions to a store as filters of its collection, each entered through an index."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, DESCENDING

from lifecycle.audit.records import Position
from lifecycle.audit.store import Query
from lifecycle.audit.stores.mongo.documents import microseconds, position_text
from lifecycle.audit.stores.texts import escaped
from lifecycle.changes import Operation

__all__ = ["filter_of", "order"]


def order(newest_first: bool) -> list[tuple[str, int]]:
    """The order of the documents."""
    return [("position", DESCENDING if newest_first else ASCENDING)]


def filter_of(query: Query, after: Position | None, newest_first: bool) -> dict[str, Any]:
    """What the documents fulfil that are wanted, and come after a position in that order."""
    wanted: dict[str, Any] = {"n": {"$gte": 0}}  # the rest are no records
    if query.entity is not None:
        wanted["entity"] = escaped(query.entity)
    if query.key is not None:
        wanted["keys"] = escaped(query.key)
    if query.operation is not None:
        wanted["operation"] = Operation(query.operation).value
    for name in ("actor", "request_id"):
        text = getattr(query, name)
        if text is not None:
            wanted[name] = escaped(text)
    if query.group is not None:
        wanted["group"] = str(query.group)
    if query.revision is not None:  # the head has that id, the others have it before a full stop
        wanted["_id"] = {"$gte": f"{query.revision}", "$lt": f"{query.revision}/"}
    at: dict[str, int] = {}
    if query.since is not None:
        at["$gte"] = microseconds(query.since)
    if query.until is not None:
        at["$lt"] = microseconds(query.until)
    position: dict[str, str] = {}
    if query.upto is not None:
        position["$lte"] = position_text(query.upto)
    if after is not None:
        position["$lt" if newest_first else "$gt"] = position_text(after)
    return wanted | ({"at": at} if at else {}) | ({"position": position} if position else {})
