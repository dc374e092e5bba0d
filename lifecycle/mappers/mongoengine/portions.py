"""Writes of many documents, made in portions by their ids.

Each portion is read, written, and read again where only the server knows what it has made of it.
Outside of a transaction others may write in between, so a portion is small, and the next one is
read when it has been written.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Any

from pymongo.errors import PyMongoError
from pymongo.results import DeleteResult, UpdateResult

from lifecycle.mappers.mongoengine.asking import (
    Asked,
    Pair,
    Son,
    all_unknown,
    id_key,
    leaves_doubt,
)
from lifecycle.mappers.mongoengine.single import as_asked
from lifecycle.mappers.mongoengine.updates import Names, computing, not_told, touched
from lifecycle.spooling import CHUNK

__all__ = ["delete_many", "update_many"]


def update_many(asked: Asked) -> Any:
    """``Collection.update_many``."""
    names = asked.wanted(touched(asked.given["update"]))
    results = _in_portions(asked, names, lambda before: _update(asked, before, names))
    return _merged(results, UpdateResult) if results else as_asked(asked)


def delete_many(asked: Asked) -> Any:
    """``Collection.delete_many``."""
    results = _in_portions(asked, None, lambda before: _delete(asked, before))
    if results:
        return _merged(results, DeleteResult)
    result = asked.make()
    if result.deleted_count:
        asked.taker.miss("what it deleted could not be read before it")
    return result


def _in_portions(asked: Asked, names: Names, write: Callable[[list[Son]], Any]) -> list[Any]:
    """What writing each portion returned; empty when there is none, or none can be read."""
    with closing(_portions(asked, names)) as portions:
        try:
            first = next(portions, [])
        except (PyMongoError, TypeError, ValueError):
            if asked.in_transaction:
                raise
            return []  # the call itself will meet it too
        return [write(portion) for portion in chain([first], portions) if portion]


def _portions(asked: Asked, names: Names) -> Generator[list[Son]]:
    """The documents to write, each once: one that has been written can be found again."""
    seen: set[Any] = set()
    with asked.find(asked.given["filter"], names).batch_size(CHUNK) as cursor:
        while found := list(islice(cursor, CHUNK)):
            fresh = {key: one for one in found if (key := id_key(one["_id"])) not in seen}
            seen.update(fresh)
            yield [*fresh.values()]


def _update(asked: Asked, before: list[Son], names: Names) -> Any:
    update = asked.given["update"]
    compute = computing(update, asked.collection)
    expected = [Pair(one, compute(one) if compute else not_told(one, update)) for one in before]
    asked.announce(expected)
    result = _write(asked, before, names, gone=False)
    pairs = expected
    if compute is None or result.matched_count < len(before):
        pairs = _paired(before, _read_again(asked, before, names), gone=False)
    asked.taker.take(pairs)
    return result


def _delete(asked: Asked, before: list[Son]) -> Any:
    pairs = [Pair(one, None) for one in before]
    asked.announce(pairs)
    result = _write(asked, before, None, gone=True)
    if result.deleted_count < len(before):  # some did not match any more
        pairs = _paired(before, _read_again(asked, before, None), gone=True)
    asked.taker.take(pairs)
    return result


def _write(asked: Asked, before: list[Son], names: Names, *, gone: bool) -> Any:
    """Write a portion; if that fails, tell what it has got through before it raises."""
    ids = [one["_id"] for one in before]
    try:
        return asked.make(filter=_only(asked.given["filter"], ids))
    except Exception as error:
        if leaves_doubt(error) and asked.taker.intends:
            raise  # it may yet be made, which `reconcile` will find out
        try:
            after = asked.read(ids, names)
        except PyMongoError:
            asked.taker.miss("it failed, and what it has written until then cannot be read")
        else:
            asked.taker.take(_paired(before, after, gone=gone))
        raise


def _read_again(asked: Asked, before: list[Son], names: Names) -> list[Son]:
    try:
        return asked.read([one["_id"] for one in before], names)
    except PyMongoError:
        return [all_unknown(one, names) for one in before]


def _paired(before: Sequence[Son], after: Sequence[Son], *, gone: bool) -> list[Pair]:
    """The documents that are still there, with what they are now; or those that are gone."""
    now = {id_key(one["_id"]): one for one in after}
    found = [Pair(one, now.get(id_key(one["_id"]))) for one in before]
    return [pair for pair in found if (pair.after is None) is gone]


def _only(filter: Mapping[str, Any], ids: Sequence[Any]) -> Mapping[str, Any]:
    """The filter, of these documents only; those among them that do not match are left alone."""
    these = {"_id": {"$in": [*ids]}}
    return {"$and": [filter, these]} if "_id" in filter else {**filter, **these}


def _merged(results: Sequence[Any], kind: Any) -> Any:
    """One result of several, as the server would have given it for all of them at once."""
    if len(results) == 1:
        return results[0]
    raw = dict(results[-1].raw_result)
    for name in ("n", "nModified"):
        if name in raw:
            raw[name] = sum(one.raw_result[name] for one in results)
    if "updatedExisting" in raw:
        raw["updatedExisting"] = raw["n"] > 0
    return kind(raw, acknowledged=True)
