"""Writes of one document: what it was before comes in the same round trip."""

from __future__ import annotations

from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import PyMongoError
from pymongo.results import DeleteResult, UpdateResult

from lifecycle.changes import same
from lifecycle.mappers.mongoengine.asking import Asked, Pair, Son, all_unknown
from lifecycle.mappers.mongoengine.updates import (
    Names,
    computed,
    computing,
    is_positional,
    not_told,
    touched,
)
from lifecycle.mappers.mongoengine.values import as_stored

__all__ = [
    "announce",
    "as_asked",
    "delete_one",
    "find_one_and_delete",
    "find_one_and_replace",
    "find_one_and_update",
    "replace_one",
    "update_one",
]

TRIES: Final = 5
"""How often a document is read again that others change before it is written."""


def announce(asked: Asked) -> None:
    """Tell of what is about to be made of the document that would be found now, if there is one."""
    update = asked.given.get("update")
    names = None if update is None else asked.wanted(touched(update))
    before = _peek(asked, names)
    if before is None:
        return
    after: Son | None = None
    if "replacement" in asked.given:
        stored = as_stored(asked.given["replacement"], asked.collection)
        after = {"_id": before["_id"], **stored}
    elif update is not None:
        compute = computing(update, asked.collection)
        after = compute(before) if compute else not_told(before, update)
    asked.announce([Pair(before, after)])


def update_one(asked: Asked) -> Any:
    """``Collection.update_one``."""
    update = asked.given["update"]
    names = asked.wanted(touched(update))
    return _updated(asked, names, asked.hit("find_one_and_update", names, update=update))


def replace_one(asked: Asked) -> Any:
    """``Collection.replace_one``."""
    replacement = asked.given["replacement"]
    return _updated(asked, None, asked.hit("find_one_and_replace", None, replacement=replacement))


def _updated(asked: Asked, names: Names, before: Son | None) -> Any:
    if before is None:
        return as_asked(asked)
    after = _after(asked, before, names)
    asked.taker.take([Pair(before, after)])
    modified = 0 if same(before, after) else 1
    raw = {"n": 1, "nModified": modified, "ok": 1.0, "updatedExisting": True}
    return UpdateResult(raw, acknowledged=True)


def as_asked(asked: Asked) -> Any:
    """Make an update for which there seems to be no document: it may insert one, or raise."""
    result = asked.make()
    if result.upserted_id is not None:
        asked.inserted([result.upserted_id])
    elif result.matched_count:
        asked.taker.miss("what it changed could not be read before it")
    return result


def delete_one(asked: Asked) -> Any:
    """``Collection.delete_one``."""
    before = asked.hit("find_one_and_delete", None)
    if before is not None:
        asked.taker.take([Pair(before, None)])
        return DeleteResult({"n": 1, "ok": 1.0}, acknowledged=True)
    result = asked.make()
    if result.deleted_count:
        asked.taker.miss("what it deleted could not be read before it")
    return result


def find_one_and_delete(asked: Asked) -> Any:
    """``Collection.find_one_and_delete``."""
    if asked.given.get("projection") is not None:
        return _peeked(asked, None)
    found = asked.make()
    if found is not None:
        asked.taker.take([Pair(asked.as_read(found), None)])
    return found


def find_one_and_update(asked: Asked) -> Any:
    """``Collection.find_one_and_update``."""
    return _found_and_changed(asked, asked.wanted(touched(asked.given["update"])))


def find_one_and_replace(asked: Asked) -> Any:
    """``Collection.find_one_and_replace``."""
    return _found_and_changed(asked, None)


def _found_and_changed(asked: Asked, names: Names) -> Any:
    if asked.given.get("projection") is not None or _gives_after(asked):
        return _peeked(asked, names)
    upserts = asked.given.get("upsert", False)
    found = asked.make(upsert=False)
    if found is not None:
        before = asked.as_read(found, names)
        asked.taker.take([Pair(before, _after(asked, before, names))])
    elif upserts:
        made = asked.make(return_document=ReturnDocument.AFTER)  # else it would not tell what
        if made is not None:
            asked.taker.take([Pair(None, asked.as_read(made))])
    return found


def _gives_after(asked: Asked) -> bool:
    return bool(asked.given.get("return_document", ReturnDocument.BEFORE))


def _peeked(asked: Asked, names: Names) -> Any:
    """Write a document only while it still is as it was read before.

    For its own answer does not tell what was overwritten, and it has to come from the same moment
    as the write: two callers that count something up must not get the same number.
    """
    for _ in range(TRIES):
        before = _peek(asked, names)
        if before is None:
            break
        filter = {"$and": [asked.given["filter"], _as_it_is(asked, before, names)]}
        result = asked.make(filter=filter, **({"upsert": False} if "upsert" in asked.given else {}))
        if result is not None:
            asked.taker.take([Pair(before, _then(asked, before, result, names))])
            return result
    result = asked.make()
    if result is not None or asked.given.get("upsert"):
        _tell_of(asked, result, before, names)
    return result


def _peek(asked: Asked, names: Names) -> Son | None:
    try:
        return asked.find_one(names)
    except (PyMongoError, TypeError, ValueError):
        if asked.in_transaction:
            raise
        return None  # the call itself will meet it too


def _as_it_is(asked: Asked, before: Son, names: Names) -> Son:
    found: Son = {"_id": before["_id"]}
    # What a filter says of a list decides which of its elements "$" is.
    positional = is_positional(asked.given.get("update"))
    for name in before if names is None else names:
        if name == "_id" or name.startswith("$") or "." in name:
            continue
        if name not in before:
            found[name] = {"$exists": False}
        elif not positional or not isinstance(before[name], list | dict):
            found[name] = {"$eq": before[name], "$exists": True}
    return found


def _then(asked: Asked, before: Son, result: Any, names: Names) -> Son | None:
    if asked.name == "find_one_and_delete":
        return None
    if _gives_after(asked) and asked.given.get("projection") is None:
        return asked.as_read(result, names)
    return _after(asked, before, names)


def _tell_of(asked: Asked, result: Any, before: Son | None, names: Names) -> None:
    """Tell what can be told of a write that had nothing to read before it, or never the same."""
    if result is None or "_id" not in result:
        asked.taker.miss("its answer does not tell what it has written")
    elif before is None and asked.given.get("upsert"):
        asked.inserted([result["_id"]])
    elif asked.name == "find_one_and_delete":
        asked.taker.miss("others wrote the document that it deleted at the same time")
    else:
        found = asked.read([result["_id"]], names)
        asked.taker.take([Pair(all_unknown(one, names), one) for one in found])


def _after(asked: Asked, before: Son, names: Names) -> Son:
    """What a write has made of a document; values are unknown if it is gone again."""
    if "replacement" in asked.given:
        stored = as_stored(asked.given["replacement"], asked.collection)
        return {"_id": before["_id"], **stored}
    after = computed(before, asked.given["update"], asked.collection)
    if after is not None:
        return after
    try:
        found = asked.read([before["_id"]], names)
    except PyMongoError:
        found = []
    return found[0] if found else all_unknown(before, names)
