"""Collections as they are now, for comparing them with the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from mongoengine.connection import ConnectionFailure

from lifecycle.changes import ChangeSet, Operation
from lifecycle.mappers.base import Live, LiveRows
from lifecycle.mappers.mongoengine.bulk import state_of
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.written import Written

__all__ = ["live_documents"]

_CHUNK: Final = 500


def live_documents(models: Sequence[DocumentModel]) -> Iterator[Live]:
    """The collection of each root class, with its documents in the order of their ids.

    What has no connection in this process is told to be elsewhere.
    """
    roots: dict[Any, list[DocumentModel]] = {}
    for model in models:
        roots.setdefault(model.root, []).append(model)
    for root, family in roots.items():
        place = family[0].cls._get_collection_name()
        try:
            collection = root._get_collection()
        except ConnectionFailure:  # mongoengine's own: nobody has told it where that is
            rows = None
        else:
            rows = _documents(collection, family)
        yield Live(family[0].entity, place, True, True, rows)


def _documents(collection: Any, family: list[DocumentModel]) -> Iterator[LiveRows]:
    with collection.find().sort("_id", 1).batch_size(_CHUNK) as cursor:
        while documents := list(islice(cursor, _CHUNK)):
            ids = [one["_id"] for one in documents]
            written = _written(family, documents)
            yield LiveRows(written, partial(_again, family, collection, ids))


def _again(family: list[DocumentModel], collection: Any, ids: list[Any]) -> list[Written]:
    return _written(family, list(collection.find({"_id": {"$in": ids}})))


def _written(family: list[DocumentModel], documents: list[Any]) -> list[Written]:
    by_class = {model.cls._class_name: model for model in family}
    found = []
    for document in documents:
        son = as_stored(document)
        model = by_class.get(son["_cls"]) if "_cls" in son else family[0]
        if model is not None and model.is_there(son):
            changes = ChangeSet.of_state(state_of(model, son), Operation.INSERT)
            key = model.stored_key(son["_id"])
            found.append(Written(model.entity, key, changes, model.policy))
    return found
