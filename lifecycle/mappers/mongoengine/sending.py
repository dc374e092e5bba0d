"""One document's write: what was sent, and what it changed in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

from bson import ObjectId
from msgspec import Struct, field
from msgspec.structs import replace
from pymongo.results import DeleteResult, UpdateResult

from lifecycle.changes import Change, Operation, same
from lifecycle.errors import RecordingError
from lifecycle.mappers.mongoengine.asking import Pair
from lifecycle.mappers.mongoengine.documents import NetChanges, is_unmarked
from lifecycle.mappers.mongoengine.fields import stored_id
from lifecycle.mappers.mongoengine.images import (
    EVERYTHING,
    Image,
    Projection,
    applied,
    known,
    remember,
)
from lifecycle.mappers.mongoengine.reading import removed
from lifecycle.mappers.mongoengine.transactions import Transaction, current
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.removal import removal_of

__all__ = ["Announce", "Sending", "Sent", "changed", "is_real", "sent_of", "update_of"]


class Sent(Struct, frozen=True):
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
    physical: Sent | None = None
    """The update that was sent, of a document that is marked as removed or brought back by it."""

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


Announce: TypeAlias = Callable[[Sent, Any], None]
"""Told of a write, and its collection, that is about to be sent."""


class _Foreseen(NamedTuple):
    """What an update is as hooks and the log are told of it, and what it leaves."""

    told: Sent | None
    after: Image


class Sending:
    """Listens to the collection while one document is saved or deleted.

    ``announce`` is called before each write, ``written`` when what it did has been taken down.
    """

    def __init__(self, document: Any, era: object, *, strict: bool = False) -> None:
        self.sent: list[Sent] = []
        self.announce: Announce | None = None
        self.written: Callable[[], None] | None = None
        self._document = document
        self._era = era
        self._strict = strict
        self._foreseen: _Foreseen | None = None
        removal = removal_of(type(document))
        self._mark = None if removal is None else document._db_field_map.get(removal.field)

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
        if self.announce is not None:
            expected = self._EXPECTED[name](self, collection, *args, **kwargs)
            if expected is not None:
                self.announce(expected, collection)
        if self._strict and name in self._STRICT:
            result = self._STRICT[name](self, collection, *args, **kwargs)
        else:
            result = getattr(collection, name)(*args, **kwargs)
        understand(self, collection, result, *args, **kwargs)
        if self.written is not None:
            self.written()
        return result

    # --- what they are about to do ---

    def _about_to_insert(self, collection: Any, son: Any) -> Sent:
        if "_id" not in son:
            son["_id"] = ObjectId()  # as pymongo does
        return _insert(Image(as_stored(son, collection), collection, self._era))

    def _about_to_replace(self, collection: Any, query: Any, son: Any) -> Sent | None:
        found = collection.find_one(query)
        if found is None:
            return None  # an insert will follow
        return self._as_told(self._replacement(collection, found, son))

    def _about_to_update(
        self, collection: Any, query: Any, update: Any, upsert: bool = False
    ) -> Sent | None:
        foreseen = self._foresee(collection, query, update)
        if not self._strict:  # else the write itself tells what it has found
            self._foreseen = foreseen
        return foreseen.told

    def _about_to_delete(self, collection: Any, query: Any) -> Sent:
        return self._deletion(collection)

    _EXPECTED: ClassVar[Mapping[str, Callable[..., Sent | None]]] = {
        "insert_one": _about_to_insert,
        "find_one_and_replace": _about_to_replace,
        "update_one": _about_to_update,
        "delete_many": _about_to_delete,
    }

    # --- the same writes, which also tell what they have overwritten ---

    def _strict_update(
        self, collection: Any, query: Any, update: Any, upsert: bool = False
    ) -> UpdateResult:
        found = collection.find_one_and_update(query, update, upsert=upsert)
        self._remember_before(collection, found)
        raw = {"n": int(upsert or found is not None), "updatedExisting": found is not None}
        return UpdateResult({**raw, "nModified": raw["n"], "ok": 1.0}, acknowledged=True)

    def _strict_delete(self, collection: Any, query: Any) -> DeleteResult:
        found = collection.find_one_and_delete(query)
        self._remember_before(collection, found)
        return DeleteResult({"n": int(found is not None), "ok": 1.0}, acknowledged=True)

    def _remember_before(self, collection: Any, found: Any) -> None:
        if found is not None:
            son = found if type(found) is dict else as_stored(found, collection)
            before = known(self._document, self._era, collection, son["_id"])
            image = Image(son, collection, self._era)
            image.remade = self._names(image) if before is None else before.otherwise(son)
            image.noted = None if before is None else before.noted
            remember(self._document, image)

    _STRICT: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "update_one": _strict_update,
        "delete_many": _strict_delete,
    }

    # --- the writes mongoengine makes in save() and delete() ---

    def _insert_one(self, collection: Any, result: Any, son: Any) -> None:
        self._inserted(Image(as_stored(son, collection), collection, self._era))

    def _find_one_and_replace(self, collection: Any, found: Any, query: Any, son: Any) -> None:
        if found is None:
            return  # there was none, so an insert follows
        sent = self._replacement(collection, found, son)
        remember(self._document, sent.after)
        told = self._as_told(sent)
        if sent.changes and told is not None:
            self.sent.append(told)

    def _update_one(
        self, collection: Any, result: Any, query: Any, update: Any, upsert: bool = False
    ) -> None:
        foreseen, self._foreseen = self._foreseen, None
        if (result.raw_result or {}).get("updatedExisting") is not False:
            told, after = foreseen or self._foresee(collection, query, update)
            remember(self._document, after)
            if told is not None:
                self.sent.append(told)
        elif upsert:
            empty = Image({}, collection, self._era)
            _, sets, _ = self._parts(collection, query, update)
            query = as_stored(query, collection)
            image = applied(empty, query | sets, ())
            image.remade = self._names(image).difference(image.son)
            self._inserted(image)

    def _delete_many(self, collection: Any, result: Any, query: Any) -> None:
        if result.acknowledged and not result.deleted_count:
            return
        if self._is_unmarked(collection):
            self.sent.append(self._deletion(collection))
        remember(self._document, None)

    _UNDERSTOOD: ClassVar[Mapping[str, Callable[..., None]]] = {
        "insert_one": _insert_one,
        "find_one_and_replace": _find_one_and_replace,
        "update_one": _update_one,
        "delete_many": _delete_many,
    }

    # --- what they did ---

    def _foresee(self, collection: Any, query: Any, update: Any) -> _Foreseen:
        """What an update changes, and what it leaves, if the document is as it is known."""
        id, sets, unsets = self._parts(collection, query, update)
        sent, after = update_of(id, self._before(collection, id), sets, unsets)
        return _Foreseen(self._as_told(sent), after)

    def _names(self, image: Image) -> frozenset[str]:
        """Every field that the document may have, in the database or in memory."""
        document = self._document
        return frozenset((*document._db_field_map.values(), *document._dynamic_fields, *image.son))

    def _inserted(self, image: Image) -> None:
        remember(self._document, image)
        if self._mark is None or is_unmarked(image.son.get(self._mark)):
            self.sent.append(_insert(image))

    def _replacement(self, collection: Any, found: Any, son: Any) -> Sent:
        before = Image(found, collection, self._era)
        after = Image(as_stored(son, collection), collection, self._era)
        names = dict.fromkeys((*before.son, *after.son))
        changes = {name: Change(before.at(name), after.at(name)) for name in names}
        return Sent(Operation.UPDATE, after.son["_id"], _net(changes), before, after)

    def _as_told(self, sent: Sent | None) -> Sent | None:
        """An update as hooks and the log are told of it: to mark a document removes it."""
        if sent is None or self._mark is None:
            return sent
        change = sent.changes.get(self._mark)
        if change is None:
            before = sent.before
            known = before is not None and before.covers(self._mark)
            return sent if not known or is_unmarked(before.at(self._mark)) else None  # type: ignore[union-attr]
        was_there, is_there = is_unmarked(change.old), is_unmarked(change.new)
        if was_there and not is_there:
            changes = removed(self._document, sent.before)
            return Sent(Operation.DELETE, sent.id, changes, physical=sent)
        if is_there and not was_there:
            assert sent.after is not None  # an update tells what it leaves
            return replace(_insert(sent.after), physical=sent)
        return sent if is_there else None

    def _is_unmarked(self, collection: Any) -> bool:
        if self._mark is None:
            return True
        image = known(self._document, self._era, collection, stored_id(self._document))
        return image is None or is_unmarked(image.son.get(self._mark))

    def _parts(self, collection: Any, query: Any, update: Any) -> tuple[Any, dict[str, Any], Any]:
        """The id, what is set and what is unset, by an update of mongoengine's.

        One that marks the document adds to its version, which the document has done by then.
        """
        stored = as_stored({"query": query, **update}, collection)
        sets, fields = stored.get("$set", {}), self._document._reverse_db_field_map
        for name in stored.get("$inc", {}):
            sets[name] = self._document._data[fields.get(name, name)]
        return stored["query"]["_id"], sets, stored.get("$unset", {})

    def _before(self, collection: Any, id: Any) -> Image:
        image = known(self._document, self._era, collection, id)
        if image is not None:
            return image
        return Image({"_id": id}, collection, self._era, Projection(only={"_id"}))

    def _deletion(self, collection: Any) -> Sent:
        id = stored_id(self._document)
        changes = removed(self._document, known(self._document, self._era, collection, id))
        return Sent(Operation.DELETE, id, changes)


def _insert(image: Image) -> Sent:
    changes = {name: Change(ABSENT, value) for name, value in image.son.items()}
    return Sent(Operation.INSERT, image.son["_id"], changes, after=image)


def update_of(
    id: Any, before: Image, sets: dict[str, Any], unsets: Any
) -> tuple[Sent | None, Image]:
    """What an update changes, if anything, and what it leaves."""
    after = applied(before, sets, unsets)
    names = (*sets, *unsets)
    if before.projection is EVERYTHING and not any("." in name for name in names):
        was, now = before.son, after.son
        changes = {name: Change(was.get(name, ABSENT), now.get(name, ABSENT)) for name in names}
    else:
        changes = _by_path(before, after, sets, names)
    net = _net(changes)
    return (Sent(Operation.UPDATE, id, net, before, after) if net else None), after


def _by_path(
    before: Image, after: Image, sets: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Change]:
    """What an update changes at each path it has, or in the whole field where that is made."""
    changes: dict[str, Change] = {}
    for name, paths in _by_field(names).items():
        if not all(map(before.has_place_for, paths)):
            paths = [name]
        for path in paths:
            if after.covers(path):
                changes[path] = Change(before.at(path), after.at(path))
            else:
                changes[path] = Change(UNKNOWN, sets.get(path, ABSENT))
    return changes


def _net(changes: Mapping[str, Change]) -> dict[str, Change]:
    return {
        path: change
        for path, change in changes.items()
        if (old := change.old) is UNKNOWN or (new := change.new) is UNKNOWN or not same(old, new)
    }


def _by_field(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(path.partition(".")[0], []).append(path)
    return found


def sent_of(pair: Pair) -> Sent:
    """What it was that made a document what it is from what it was."""
    before, after = pair
    son = before if after is None else after
    assert son is not None  # a document that never was is no pair
    operation = Operation.UPDATE
    if before is None or after is None:
        operation = Operation.INSERT if before is None else Operation.DELETE
    was, now = ({} if one is None else one for one in pair)
    return Sent(operation, son["_id"], changed(was, now))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    """The fields of a document that are others now, or may be."""
    found: dict[str, Change] = {}
    alike = before.keys() == after.keys()
    for name in before if alike else dict.fromkeys((*before, *after)):
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if old is UNKNOWN or new is UNKNOWN or not (old is new or same(old, new)):
            found[name] = Change(old, new)
    return found


def is_real(change: Change) -> bool:
    """Whether a value is another one, as far as is known."""
    return change.old is UNKNOWN or change.new is UNKNOWN or not same(change.old, change.new)
