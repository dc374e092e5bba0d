"""Loads: keeping the SON each document was made from, and knowing which part of it was read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mongoengine import Document

from lifecycle.mappers.mongoengine.images import (
    Image,
    Projection,
    applied,
    image_of,
    remember,
)
from lifecycle.mappers.mongoengine.tapping import Tapped, tapped_document, untapped
from lifecycle.mappers.mongoengine.values import copied
from lifecycle.mappers.mongoengine.watchers import Keep, Watchers
from lifecycle.markers import ABSENT

__all__ = [
    "Loaded",
    "document_from_json",
    "from_son",
    "in_bulk",
    "item",
    "qualify",
    "queryset_from_json",
    "reload",
]


def from_son(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document._from_son``, which every load goes through; the hot one."""

    @wraps(original)
    def _from_son(cls: Any, son: Any, *args: Any, **kwargs: Any) -> Any:
        document = original(cls, son, *args, **kwargs)
        keep = watchers.keeping[type(document)]
        if keep is not None:
            kept = son if keep is Keep.BY_REFERENCE else copied(son)
            remember(document, Image(kept, cls._collection, watchers))
        return document

    return _from_son


def item(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around the methods of a queryset that give one document."""

    @wraps(original)
    def item(self: Any, *args: Any) -> Any:
        found = original(self, *args)
        if self._loaded_fields.fields or self._search_text or _tells_more(self):
            qualify(self, found)
        return found

    return item


def _tells_more(queryset: Any) -> bool:
    """Whether it reads from elsewhere than its class does, or for somebody who is to be told."""
    collection = queryset._collection_obj
    if isinstance(collection, Tapped):
        if isinstance(collection.listener, Loaded):
            return True
        collection = collection.collection
    return collection is not untapped(queryset._document._collection)


def in_bulk(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.in_bulk``."""

    @wraps(original)
    def in_bulk(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(self, *args, **kwargs)
        for document in found.values():
            qualify(self, document)
        return found

    return in_bulk


def qualify(queryset: Any, document: Any) -> None:
    """Note what only the queryset knows: where the document is, and how much of it was read."""
    image = image_of(document) if isinstance(document, Document) else None
    if image is None:
        return
    image.collection = untapped(queryset._collection_obj)
    if queryset._loaded_fields:
        image.projection = Projection.of(queryset._loaded_fields.as_dict())
    if queryset._search_text:  # the score is in the SON, but not in the database
        image.son = {name: value for name, value in image.son.items() if name != "_text_score"}
    if isinstance(queryset._collection_obj, Tapped):
        listener = queryset._collection_obj.listener
        if isinstance(listener, Loaded):
            listener.image = image


class Loaded:
    """Listens while mongoengine loads a document anew, to fill an old one from it."""

    image: Image | None = None

    def __call__(
        self, collection: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make a write; what it loads comes through the queryset."""
        return getattr(collection, name)(*args, **kwargs)


def reload(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.reload``, which loads another document and copies its fields."""

    @wraps(original)
    def reload(self: Any, *fields: Any, **kwargs: Any) -> Any:
        if not watchers.of(type(self)):
            return original(self, *fields, **kwargs)
        loaded = Loaded()
        with tapped_document(self, loaded):
            result = original(self, *fields, **kwargs)
        names = [name for name in fields if isinstance(name, str)]
        remember(self, _refreshed(self, loaded.image, names) if names else loaded.image)
        return result

    return reload


def _refreshed(document: Any, loaded: Image | None, names: list[str]) -> Image | None:
    """The document's image with some fields as they were loaded anew."""
    image = image_of(document)
    if loaded is None or image is None or image.era is not loaded.era:
        return loaded
    values = {
        db_name: loaded.son.get(db_name, ABSENT)
        for db_name in (document._db_field_map.get(name, name) for name in names)
    }
    sets = {name: value for name, value in values.items() if value is not ABSENT}
    return applied(image, sets, [name for name in values if name not in sets])


def document_from_json(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.from_json``: what is made from JSON was not read from the database."""

    @wraps(original)
    def from_json(cls: Any, *args: Any, **kwargs: Any) -> Any:
        document = original(cls, *args, **kwargs)
        remember(document, None)
        return document

    return from_json


def queryset_from_json(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.from_json``, likewise."""

    @wraps(original)
    def from_json(self: Any, *args: Any, **kwargs: Any) -> Any:
        documents = original(self, *args, **kwargs)
        for document in documents:
            remember(document, None)
        return documents

    return from_json
