"""Inserts: what is written is at hand, and pymongo gives it the ids that it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo.errors import BulkWriteError

from lifecycle.mappers.mongoengine.asking import Asked, Pair
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.spooling import chunks

__all__ = ["expected_inserts", "insert_many", "insert_one"]


def insert_one(asked: Asked) -> Any:
    """``Collection.insert_one``."""
    documents = [asked.given["document"]]
    _announce(asked, documents)
    result = asked.make()
    _tell(asked, documents)
    return result


def insert_many(asked: Asked) -> Any:
    """``Collection.insert_many``, of which some may be written when it fails."""
    documents = asked.given["documents"]
    if isinstance(documents, Iterable) and not isinstance(documents, Mapping | list | tuple):
        documents = [*documents] or documents
    if isinstance(documents, Sequence):  # else the call itself refuses it
        _announce(asked, documents)
    try:
        result = asked.make(documents=documents)
    except BulkWriteError as error:
        failed = {one["index"] for one in error.details["writeErrors"]}
        end = len(documents)
        if asked.given.get("ordered", True):
            end = min(failed, default=end)
        _tell(asked, documents, lambda n: n < end and n not in failed)
        raise
    _tell(asked, documents)
    return result


def _announce(asked: Asked, documents: Sequence[Any]) -> None:
    if asked.taker.intends:
        for some in chunks(expected_inserts(asked, documents)):
            asked.announce(some)


def expected_inserts(asked: Asked, documents: Sequence[Any]) -> Sequence[Pair]:
    """What inserting these will make, which get their ids for that; nothing if it will fail."""
    for one in documents:
        if isinstance(one, MutableMapping) and "_id" not in one:
            one["_id"] = ObjectId()  # as pymongo does
    try:
        stored = [as_stored(one, asked.collection) for one in documents]
    except Exception:
        return ()  # the call itself will meet it too
    return [Pair(None, one) for one in stored] if all("_id" in one for one in stored) else ()


def _tell(
    asked: Asked, documents: Iterable[Any], inserted: Callable[[int], bool] = lambda n: True
) -> None:
    """Tell of the documents that were inserted, in the portions that they were announced in."""
    for some in chunks(enumerate(documents)):
        stored = [as_stored(one, asked.collection) for n, one in some if inserted(n)]
        if any("_id" not in one for one in stored):
            asked.taker.miss("the server gave it an id, which it does not tell")
            return
        asked.taker.take([Pair(None, one) for one in stored])
