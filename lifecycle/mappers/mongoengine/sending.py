"""One document's write: what was sent, and what it changed in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lifecycle.changes import Change, Operation, same
from lifecycle.mappers.mongoengine.documents import NetChanges
from lifecycle.mappers.mongoengine.fields import stored_id
from lifecycle.mappers.mongoengine.images import Image, applied, known, remember
from lifecycle.mappers.mongoengine.reading import removed
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import ABSENT, UNKNOWN

__all__ = ["Sending", "Sent"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that reached the database: what it did to the document with this ``_id``."""

    operation: Operation
    id: Any
    changes: NetChanges  # as finely as they were sent: what the log keeps
    whole: NetChanges  # the same by whole fields, where they are known: what hooks see


class Sending:
    """Listens to the collection while one document is saved or deleted."""

    def __init__(self, document: Any, era: object) -> None:
        self.sent: list[Sent] = []
        self._document = document
        self._era = era

    def __call__(
        self,
        collection: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Make a write, and take down what it did."""
        result = getattr(collection, name)(*args, **kwargs)
        self._UNDERSTOOD[name](self, collection, result, *args, **kwargs)
        return result

    # --- the writes mongoengine makes in save() and delete() ---

    def _insert_one(self, collection: Any, result: Any, son: Any) -> None:
        self._inserted(collection, as_stored(son, collection.codec_options))

    def _find_one_and_replace(self, collection: Any, before: Any, query: Any, son: Any) -> None:
        if before is None:
            return  # there was none, so an insert follows
        image = Image(as_stored(son, collection.codec_options), collection, self._era)
        remember(self._document, image)
        names = dict.fromkeys((*before, *image.son))
        changes = {name: Change(before.get(name, ABSENT), image.at(name)) for name in names}
        self._changed(image.son["_id"], changes, changes)

    def _update_one(
        self, collection: Any, result: Any, query: Any, update: Any, upsert: bool = False
    ) -> None:
        stored = as_stored({"query": query, **update}, collection.codec_options)
        sets, unsets = stored.get("$set", {}), stored.get("$unset", {})
        query = stored["query"]
        if (result.raw_result or {}).get("updatedExisting") is not False:
            self._updated(collection, query["_id"], sets, unsets)
        elif upsert:
            empty = Image({}, collection, self._era)
            self._inserted(collection, applied(empty, query | sets, ()).son)

    def _delete_many(self, collection: Any, result: Any, query: Any) -> None:
        if result.acknowledged and not result.deleted_count:
            return
        id = stored_id(self._document)
        changes = removed(self._document, known(self._document, self._era, collection, id))
        remember(self._document, None)
        self.sent.append(Sent(Operation.DELETE, id, changes, changes))

    _UNDERSTOOD: ClassVar[Mapping[str, Callable[..., None]]] = {
        "insert_one": _insert_one,
        "find_one_and_replace": _find_one_and_replace,
        "update_one": _update_one,
        "delete_many": _delete_many,
    }

    # --- what they did ---

    def _inserted(self, collection: Any, son: dict[str, Any]) -> None:
        remember(self._document, Image(son, collection, self._era))
        changes = {name: Change(ABSENT, value) for name, value in son.items()}
        self.sent.append(Sent(Operation.INSERT, son["_id"], changes, changes))

    def _updated(self, collection: Any, id: Any, sets: dict[str, Any], unsets: Any) -> None:
        before = known(self._document, self._era, collection, id)
        after = None if before is None else applied(before, sets, unsets)
        remember(self._document, after)
        changes: dict[str, Change] = {}
        whole: dict[str, Change] = {}
        for path in (*sets, *unsets):
            name = path.partition(".")[0]
            if before is None or after is None or not after.covers(path):
                whole[path] = changes[path] = Change(UNKNOWN, sets.get(path, ABSENT))
                continue
            fine = path if before.has_place_for(path) else name
            changes[fine] = Change(before.at(fine), after.at(fine))
            coarse = name if before.covers(name) else path
            whole[coarse] = Change(before.at(coarse), after.at(coarse))
        self._changed(id, changes, whole)

    def _changed(self, id: Any, changes: dict[str, Change], whole: dict[str, Change]) -> None:
        net = {path: change for path, change in changes.items() if _is_real(change)}
        if net:
            self.sent.append(Sent(Operation.UPDATE, id, net, whole))


def _is_real(change: Change) -> bool:
    return change.old is UNKNOWN or not same(change.old, change.new)
