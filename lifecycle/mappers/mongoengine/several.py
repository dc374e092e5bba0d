"""``bulk_write``: several writes in one, each of which may find what another one has left.

What any of them can change is found by one of their filters beforehand, or made by one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError, PyMongoError

from lifecycle.mappers.mongoengine.asking import Asked, Pair, Son, id_key
from lifecycle.mappers.mongoengine.inserting import expected_inserts
from lifecycle.mappers.mongoengine.updates import computed, not_told
from lifecycle.mappers.mongoengine.values import as_stored
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
    if asked.taker.intends:
        _announce(asked, before, requests)
    try:
        result = asked.make()
    except BulkWriteError as error:
        _tell(asked, before, [*_inserted(requests), *_upserted(error.details)])
        raise
    _tell(asked, before, [*_inserted(requests), *_upserted(result.bulk_api_result)])
    return result


def _announce(asked: Asked, before: Spool, requests: Any) -> None:
    """Tell of the documents that it may change, and of those that it is to make."""
    expect = _expecting(asked, requests)
    for some in before.chunks():
        asked.announce([Pair(one, expect(one)) for one in some])
    made = [one._doc for one in requests if not hasattr(one, "_filter")]
    for some in chunks(expected_inserts(asked, made)):
        asked.announce(some)


def _expecting(asked: Asked, requests: Any) -> Callable[[Son], Son | None]:
    """What is to become of a document, as far as the requests tell."""
    filtered = [one for one in requests if hasattr(one, "_filter")]
    deletes = [not hasattr(one, "_doc") for one in filtered]
    by_id: dict[Any, Any] = {}
    for one in filtered:
        id = one._filter.get("_id")
        if one._filter.keys() == {"_id"} and not isinstance(id, Mapping):
            by_id[id_key(id)] = one
    alone = len(by_id) == len(filtered)  # each document has one request of its own

    def expect(before: Son) -> Son | None:
        request = by_id.get(id_key(before["_id"])) if alone else None
        if all(deletes) if request is None else not hasattr(request, "_doc"):
            return None
        if request is None:
            return not_told(before, None)
        if isinstance(request, ReplaceOne):
            return {"_id": before["_id"], **as_stored(request._doc, asked.collection)}
        after = computed(before, request._doc, asked.collection)
        return not_told(before, request._doc) if after is None else after

    return expect


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
