"""A document past what load hooks have made of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from mongoengine.base import ComplexBaseField
from mongoengine.fields import EmbeddedDocumentField, GenericEmbeddedDocumentField

from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.images import Image, applied
from lifecycle.mappers.mongoengine.tapping import Listener, Tapped, untapped
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import UNKNOWN

__all__ = ["StoredDocument"]

_MADE_OF_PARTS: Final = (ComplexBaseField, EmbeddedDocumentField, GenericEmbeddedDocumentField)


class StoredDocument:
    """The document with an ``_id`` in a collection.

    ``listener`` gives who records what is written here. ``image`` gives what is known of the
    document, ``None`` for nothing. While it is loaded there is no image yet, and this holds what is
    noted until there is.
    """

    def __init__(
        self,
        model: DocumentModel,
        id: Any,
        collection: Any,
        listener: Callable[[], Listener],
        image: Callable[[], Image | None] | None = None,
    ) -> None:
        self._model = model
        self._id = id
        self._collection = untapped(collection)
        self._listener = listener
        self._image = image
        self._noted: Any = None

    @property
    def noted(self) -> Any:
        if self._image is None:
            return self._noted
        image = self._image()
        return UNKNOWN if image is None else image.noted

    @noted.setter
    def noted(self, note: Any) -> None:
        if self._image is None:
            self._noted = note
        elif image := self._image():
            image.noted = note

    def named(self, data: Mapping[str, Any]) -> dict[str, Any]:
        names = self._model.cls._reverse_db_field_map
        return {names.get(name, name): value for name, value in data.items()}

    def unnamed(self, name: str) -> str:
        found: str = self._model.cls._db_field_map.get(name, name)
        return found

    def read(self, also: Collection[str] = ()) -> dict[str, Any] | None:
        son = self._collection.find_one({"_id": self._id})
        return None if son is None else self.named(as_stored(son, self._collection))

    def rewrite(
        self, values: Mapping[str, Any], gone: Collection[str], *, field: str, was: Any
    ) -> bool:
        sets = {self.unnamed(name): self._bson(name, value) for name, value in values.items()}
        update: dict[str, Any] = {"$set": as_stored(sets, self._collection)}
        unsets = [self.unnamed(name) for name in gone]
        if unsets:
            update["$unset"] = dict.fromkeys(unsets, 1)
        as_it_was = {"_id": self._id, self.unnamed(field): was}
        result = Tapped(self._collection, self._listener()).update_one(as_it_was, update)
        image = None if self._image is None else self._image()
        if result.matched_count and image is not None:
            now = applied(image, update["$set"], unsets)
            # In place, for the changes that hooks are looking at are those since this image.
            image.son, image.projection = now.son, now.projection
            image.remade, image.noted = frozenset(), None
        return bool(result.matched_count)

    def _bson(self, name: str, value: Any) -> Any:
        """A value that a hook gave, which may be of the type that the field has in Python."""
        field = self._model.cls._fields.get(name)
        if field is None or value is None or isinstance(field, _MADE_OF_PARTS):
            return value
        return field.to_mongo(field.to_python(value))
