"""``bulk_write``: several writes in one, each of which may find what another one has left.

What any of them can change is found by one of their filters beforehand, or made by one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pymongo.errors import BulkWriteError, PyMongoError

from lifecycle.mappers.mongoengine.asking import Asked, Pair, Son, id_key
from lifecycle.spooling import Spool, chunks

__all__ = ["bulk_write"]

_FILTERS: Final = 50
"""How many filters are asked for in one query."""


def bulk_write(asked: Asked) -> Any:
    """``Collection.bulk_write``."""
    requests = asked.given["requests"]
    try:
        before = Spool(_found(asked, requests))
    except (PyMongoError, TypeError, ValueError):
        if asked.in_transaction:
            raise
        result = asked.make()  # which will meet it too
        asked.taker.miss("what it changes could not be read before it")
        return result
    try:
        result = asked.make()
    except BulkWriteError as error:
        _tell(asked, before, [*_inserted(requests), *_upserted(error.details)])
        raise
    _tell(asked, before, [*_inserted(requests), *_upserted(result.bulk_api_result)])
    return result


def _found(asked: Asked, requests: Any) -> Iterator[Son]:
    """Every document that a filter finds, once, and those with an id that is to be inserted."""
    seen: set[Any] = set()
    for filter, options in _filters(requests):
        for one in asked.find(filter, None, **options):
            key = id_key(one["_id"])
            if key not in seen:
                seen.add(key)
                yield one


def _filters(requests: Any) -> Iterator[tuple[Any, Son]]:
    ids: list[Any] = [*_inserted(requests)]
    others: list[Any] = []
    for one in requests:
        filter = getattr(one, "_filter", None)
        if filter is None:
            continue
        options = {
            name: given
            for name in ("collation", "hint")
            if (given := getattr(one, f"_{name}", None)) is not None
        }
        id = filter.get("_id")
        if options:
            yield filter, options
        elif "_id" in filter and not isinstance(id, Mapping):
            ids.append(id)
        else:
            others.append(filter)
    for some in chunks(ids):
        yield {"_id": {"$in": some}}, {}
    for some in chunks(others, _FILTERS):
        yield {"$or": some}, {}


def _inserted(requests: Any) -> Iterator[Any]:
    """The ids of what is to be inserted, as far as it has some."""
    for one in requests:
        if not hasattr(one, "_filter") and "_id" in getattr(one, "_doc", ()):
            yield one._doc["_id"]


def _upserted(result: Mapping[str, Any]) -> Iterator[Any]:
    return (one["_id"] for one in result["upserted"])


def _tell(asked: Asked, before: Spool, made: Sequence[Any]) -> None:
    known: set[Any] = set()
    for some in before.chunks():
        ids = [one["_id"] for one in some]
        keys = [*map(id_key, ids)]
        known.update(keys)
        now = {id_key(one["_id"]): one for one in asked.read(ids, None)}
        pairs = zip(some, map(now.get, keys), strict=True)
        asked.taker.take([Pair(one, then) for one, then in pairs])
    for some in chunks({id_key(id): id for id in made if id_key(id) not in known}.values()):
        asked.taker.take([Pair(None, one) for one in asked.read(some, None)])
