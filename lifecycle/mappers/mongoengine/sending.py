"""One document's write: what was sent, and what it changed in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lifecycle.changes import Change, Operation, same
from lifecycle.errors import RecordingError
from lifecycle.mappers.mongoengine.documents import NetChanges
from lifecycle.mappers.mongoengine.fields import stored_id
from lifecycle.mappers.mongoengine.images import Image, Projection, applied, known, remember
from lifecycle.mappers.mongoengine.reading import removed
from lifecycle.mappers.mongoengine.transactions import Transaction, current
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import ABSENT, UNKNOWN

__all__ = ["Sending", "Sent", "is_real"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that reached the database: what it did to the document with this ``_id``.

    ``changes`` are as fine as they were sent. ``before`` and ``after`` are what an update is known
    to have found and left.
    """

    operation: Operation
    id: Any
    changes: NetChanges
    before: Image | None = None
    after: Image | None = None
    transaction: Transaction | None = field(default_factory=current)

    def whole(self) -> NetChanges:
        """The same changes by whole fields, of those fields that are known as a whole."""
        before, after = self.before, self.after
        if before is None or after is None:
            return self.changes
        found: dict[str, Change] = {}
        for path, change in self.changes.items():
            name = path.partition(".")[0]
            if before.covers(name) and after.covers(name):
                found[name] = Change(before.at(name), after.at(name))
            else:
                found[path] = change
        return found


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
        """Make a write, and take down what it did.

        Raises ``RecordingError``, and makes none, for one that mongoengine does not make here.
        """
        understand = self._UNDERSTOOD.get(name)
        if understand is None:
            raise RecordingError(
                f"{type(self._document).__qualname__} is saved or deleted by {name}(), which "
                "mongoengine does not use there, so what it changes cannot be told: let "
                "it write as mongoengine does, or take the class out with @not_audited"
            )
        result = getattr(collection, name)(*args, **kwargs)
        understand(self, collection, result, *args, **kwargs)
        return result

    # --- the writes mongoengine makes in save() and delete() ---

    def _insert_one(self, collection: Any, result: Any, son: Any) -> None:
        self._inserted(collection, as_stored(son, collection))

    def _find_one_and_replace(self, collection: Any, found: Any, query: Any, son: Any) -> None:
        if found is None:
            return  # there was none, so an insert follows
        before = Image(found, collection, self._era)
        after = Image(as_stored(son, collection), collection, self._era)
        remember(self._document, after)
        names = dict.fromkeys((*before.son, *after.son))
        changes = {name: Change(before.at(name), after.at(name)) for name in names}
        self._changed(after.son["_id"], changes, before, after)

    def _update_one(
        self, collection: Any, result: Any, query: Any, update: Any, upsert: bool = False
    ) -> None:
        stored = as_stored({"query": query, **update}, collection)
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
        self.sent.append(Sent(Operation.DELETE, id, changes))

    _UNDERSTOOD: ClassVar[Mapping[str, Callable[..., None]]] = {
        "insert_one": _insert_one,
        "find_one_and_replace": _find_one_and_replace,
        "update_one": _update_one,
        "delete_many": _delete_many,
    }

    # --- what they did ---

    def _inserted(self, collection: Any, son: dict[str, Any]) -> None:
        image = Image(son, collection, self._era)
        remember(self._document, image)
        changes = {name: Change(ABSENT, value) for name, value in son.items()}
        self.sent.append(Sent(Operation.INSERT, son["_id"], changes, after=image))

    def _updated(self, collection: Any, id: Any, sets: dict[str, Any], unsets: Any) -> None:
        before = known(self._document, self._era, collection, id)
        if before is None:
            before = Image({"_id": id}, collection, self._era, Projection(only={"_id"}))
        after = applied(before, sets, unsets)
        remember(self._document, after)
        changes: dict[str, Change] = {}
        for name, paths in _by_field((*sets, *unsets)).items():
            if not all(map(before.has_place_for, paths)):
                paths = [name]
            for path in paths:
                if after.covers(path):
                    changes[path] = Change(before.at(path), after.at(path))
                else:
                    changes[path] = Change(UNKNOWN, sets.get(path, ABSENT))
        self._changed(id, changes, before, after)

    def _changed(self, id: Any, changes: dict[str, Change], before: Image, after: Image) -> None:
        net = {path: change for path, change in changes.items() if is_real(change)}
        if net:
            self.sent.append(Sent(Operation.UPDATE, id, net, before, after))


def _by_field(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(path.partition(".")[0], []).append(path)
    return found


def is_real(change: Change) -> bool:
    """Whether a value is another one, as far as is known."""
    return change.old is UNKNOWN or change.new is UNKNOWN or not same(change.old, change.new)
