"""What the database is known to hold of one document.

A load keeps the SON it was made from, by reference: mongoengine never changes it. A load by
``only()`` or ``exclude()`` has read only a part; of the rest nothing is known, which is not the
same as knowing that it is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lifecycle.errors import ConflictError
from lifecycle.mappers.mongoengine.transactions import bound, current
from lifecycle.markers import ABSENT, UNKNOWN

__all__ = [
    "EVERYTHING",
    "Image",
    "Projection",
    "applied",
    "image_of",
    "known",
    "reached",
    "remember",
    "remember_loaded",
]


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


class Projection:
    """Which paths, in the database's names, have been read; ``only=None`` means all others."""

    __slots__ = ("_only", "_unread")

    def __init__(self, only: Iterable[str] | None = None, unread: Iterable[str] = ()) -> None:
        self._only = None if only is None else frozenset(only)
        self._unread = frozenset(unread)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Projection:
        """From a MongoDB projection; what it cuts out of a list counts as not read."""
        only = {path for path, how in fields.items() if how == 1 and path != "_id"}
        unread = {path for path, how in fields.items() if how != 1}
        includes = only or fields.get("_id") == 1
        return cls(only | ({"_id"} - unread) if includes else None, unread)

    def covers(self, path: str) -> bool:
        """Whether everything at and inside the path has been read."""
        if self is EVERYTHING:
            return True
        if any(_overlap(path, unread) for unread in self._unread):
            return False
        return self._only is None or any(
            path == read or path.startswith(read + ".") for read in self._only
        )

    def learnt(self, path: str) -> Projection:
        """The same when everything at the path is known, as after it has been written."""
        if self is EVERYTHING:
            return self
        unread = {one for one in self._unread if one != path and not one.startswith(path + ".")}
        return Projection(None if self._only is None else {*self._only, path}, unread)

    def forgotten(self, path: str) -> Projection:
        """The same when nothing at the path is known any more."""
        return Projection(self._only, {*self._unread, path})


EVERYTHING: Final = Projection()
_set: Final = object.__setattr__
_IMAGE: Final = "_lifecycle_image"  # a private name: even a dynamic document does not store it


class Image:
    """A document's SON as the database was last seen to hold it, and where.

    ``collection`` is the collection it is in, ``None`` for its class's own. ``era`` tells images
    of one installation from those of another, between which writes went unseen. ``transaction`` is
    the one it was seen in, if any: when that is rolled back, so is what was seen. ``remade`` are
    the fields of which the document has something else than the database for a known reason: as it
    was given that when it was loaded, or as others have written the database since. ``noted`` is
    what a hook has noted about it when it was loaded.
    """

    __slots__ = ("collection", "era", "noted", "projection", "remade", "son", "transaction")

    def __init__(
        self,
        son: dict[str, Any],
        collection: Any,
        era: object,
        projection: Projection = EVERYTHING,
    ) -> None:
        self.son = son
        self.collection = collection
        self.era = era
        self.projection = projection
        self.remade: frozenset[str] = frozenset()
        self.noted: Any = None
        self.transaction = None if bound.get() is None else current()

    def covers(self, path: str) -> bool:
        """Whether everything at a path is known; ``False`` for a part that was not loaded."""
        return self.projection.covers(path)

    def at(self, path: str) -> Any:
        """The value at a path, ``ABSENT`` for none, ``UNKNOWN`` for what was not loaded."""
        return reached(self.son, path.split(".")) if self.covers(path) else UNKNOWN

    def otherwise(self, son: Mapping[str, Any]) -> frozenset[str]:
        """The fields of which a document with this image has something else than a newer SON."""
        names = {*self.son, *son}
        return self.remade | {one for one in names if self.at(one) != son.get(one, ABSENT)}

    def has_place_for(self, path: str) -> bool:
        """Whether a value at the path lies in something that is there, or may be for all we know.

        If not, writing it makes all that is above it too.
        """
        segments = path.split(".")
        if len(segments) == 1 or not self.covers(segments[0]):
            return True
        parent = reached(self.son, segments[:-1])
        return isinstance(parent, dict) or reached(self.son, segments) is not ABSENT


def image_of(document: Any) -> Image | None:
    """The image a document carries; copies and pickles of it carry none."""
    found = document.__dict__.get(_IMAGE)
    if type(found) is tuple:
        found = Image(*found)
        found.transaction = None
        remember(document, found)
    image: Image | None = found
    return image


def remember(document: Any, image: Image | None) -> None:
    """Let a document carry an image, or none when what the database holds is not known."""
    if image is None:
        document.__dict__.pop(_IMAGE, None)
    else:
        # Past mongoengine's own __setattr__, and cheaper than making it a __dict__ first.
        _set(document, _IMAGE, image)


def remember_loaded(document: Any, son: dict[str, Any], collection: Any, era: object) -> None:
    """The same for a document just loaded as a whole: the image is made when it is asked for."""
    if bound.get() is None:
        _set(document, _IMAGE, (son, collection, era))
    else:
        remember(document, Image(son, collection, era))


def known(document: Any, era: object, collection: Any, id: Any) -> Image | None:
    """The image a document carries, if it is of this installation, collection and ``_id``.

    None either when its transaction has been rolled back.
    """
    image = image_of(document)
    if image is None or image.era is not era:
        return None
    if image.transaction is not None and not image.transaction.stands:
        return None
    known_id = image.son.get("_id", ABSENT)
    if known_id is not id and known_id != id:
        return None
    if collection is not None and image.collection is not None:
        return image if _is_one(image.collection, collection) else None
    return image


def _is_one(collection: Any, other: Any) -> bool:
    """Whether two are the same collection, whatever their options; quickly if they are."""
    if collection.name == other.name and collection.database is other.database:
        return True
    return bool(collection == other)


def reached(node: Any, segments: list[str]) -> Any:
    """The value at a path in a document, ``ABSENT`` for none."""
    for segment in segments:
        if isinstance(node, dict):
            node = node.get(segment, ABSENT)
        elif isinstance(node, list) and segment.isdigit() and int(segment) < len(node):
            node = node[int(segment)]
        else:
            return ABSENT
    return node


def applied(image: Image, sets: Mapping[str, Any], unsets: Iterable[str]) -> Image:
    """The image after an update; never changes the one given.

    A part that does not fit the image, which others must have changed since, becomes unknown.
    """
    son, projection = image.son, image.projection
    paths = (*unsets, *sets)
    if projection is EVERYTHING and not any("." in path for path in paths):
        son = {**son, **sets}
        for name in unsets:
            if name not in sets:
                son.pop(name, None)
        paths = ()
    for path in paths:
        segments = path.split(".")
        try:
            if path in sets:
                son = _with_value(son, segments, sets[path])
            else:
                son = _without_value(son, segments)
        except ConflictError:
            projection = projection.forgotten(segments[0])
            son = {name: value for name, value in son.items() if name != segments[0]}
        else:
            projection = projection.learnt(path)
    after = Image(son, image.collection, image.era, projection)
    after.remade, after.noted = image.remade.difference(sets), image.noted
    return after


def _with_value(node: Any, segments: list[str], value: Any) -> Any:
    """A copy of a document or list with the value at a path, as ``$set`` puts it there."""
    if not segments:
        return value
    first, rest = segments[0], segments[1:]
    if isinstance(node, list) and first.isdigit():
        index = int(first)
        longer = node + [None] * (index + 1 - len(node))
        below = {} if rest and index >= len(node) else longer[index]
        longer[index] = _with_value(below, rest, value)
        return longer
    if isinstance(node, dict):
        return {**node, first: _with_value(node.get(first, {}), rest, value)}
    raise _misfit(first, node)


def _without_value(node: Any, segments: list[str]) -> Any:
    """A copy without the value at a path, as ``$unset`` leaves it: elements of lists stay, null."""
    first, rest = segments[0], segments[1:]
    if isinstance(node, list) and first.isdigit():
        index = int(first)
        if index >= len(node):
            return node
        below = _without_value(node[index], rest) if rest else None
        return [*node[:index], below, *node[index + 1 :]]
    if not isinstance(node, dict):
        raise _misfit(first, node)
    if first not in node:
        return node
    if rest:
        return {**node, first: _without_value(node[first], rest)}
    return {name: value for name, value in node.items() if name != first}


def _misfit(segment: str, node: object) -> ConflictError:
    return ConflictError(f"{segment!r} does not lie in a {type(node).__name__}: it was replaced")
