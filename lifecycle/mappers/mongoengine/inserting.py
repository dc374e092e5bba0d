"""Inserts: what is written is at hand, and pymongo gives it the ids that it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo.errors import BulkWriteError

from lifecycle.mappers.mongoengine.asking import Asked, Pair
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.spooling import chunks

__all__ = ["insert_many", "insert_one"]


def insert_one(asked: Asked) -> Any:
    """``Collection.insert_one``."""
    result = asked.make()
    _tell(asked, [asked.given["document"]])
    return result


def insert_many(asked: Asked) -> Any:
    """``Collection.insert_many``, of which some may be written when it fails."""
    documents = asked.given["documents"]
    if isinstance(documents, Iterable) and not isinstance(documents, Mapping | list | tuple):
        documents = [*documents] or documents
    try:
        result = asked.make(documents=documents)
    except BulkWriteError as error:
        failed = {one["index"] for one in error.details["writeErrors"]}
        end = min(failed, default=None) if asked.given.get("ordered", True) else None
        _tell(asked, (one for n, one in enumerate(documents[:end]) if n not in failed))
        raise
    _tell(asked, documents)
    return result


def _tell(asked: Asked, documents: Iterable[Any]) -> None:
    for some in chunks(documents):
        stored = [as_stored(one, asked.collection) for one in some]
        if any("_id" not in one for one in stored):
            asked.taker.miss("the server gave it an id, which it does not tell")
            return
        asked.taker.take([Pair(None, one) for one in stored])
