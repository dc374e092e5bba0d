"""Loads: keeping the SON each document was made from, and knowing which part of it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, Final, NamedTuple

from mongoengine import Document
from mongoengine.base import get_document

from lifecycle.mappers.mongoengine.images import (
    EVERYTHING,
    Image,
    Projection,
    applied,
    image_of,
    remember,
    remember_loaded,
)
from lifecycle.mappers.mongoengine.listening import migrating
from lifecycle.mappers.mongoengine.load_hooks import unfilled
from lifecycle.mappers.mongoengine.objects import join, read_anew
from lifecycle.mappers.mongoengine.removing import at_hand, shown
from lifecycle.mappers.mongoengine.tapping import Tapped, tapped_document, untapped
from lifecycle.mappers.mongoengine.values import copied
from lifecycle.mappers.mongoengine.watchers import Loading, Watchers
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
    "setstate",
    "temporary",
]


class _Source(NamedTuple):
    """Where the SON comes from that the next document is made of, if not just from a load."""

    queryset: Any = None
    has_hooks: bool = True
    is_load: bool = True  # else it is made only to fill another one
    of_one: bool = True  # else of all that are made until it is over


_NO_LOAD: Final = _Source(has_hooks=False, is_load=False, of_one=False)
_source: Final[ContextVar[_Source | None]] = ContextVar(
    "lifecycle.mongoengine.source", default=None
)


def from_son(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document._from_son``, which every load goes through; the hot one."""

    @wraps(original)
    def _from_son(cls: Any, son: Any, _auto_dereference: bool = True, created: bool = False) -> Any:
        source = _source.get()
        if source is not None and source.of_one:
            _source.set(None)
        actual = cls if type(son) is dict and "_cls" not in son else _class_of(cls, son)
        loading = watchers.loading[actual]
        if loading is None:
            return original(cls, son, _auto_dereference, created)
        if loading.plain and source is None:
            document = original(cls, son, _auto_dereference, created)
            remember_loaded(document, son, cls._collection, watchers)
            return document
        if loading.hooks and (source is None or source.has_hooks):
            make = partial(original, cls, _auto_dereference=_auto_dereference, created=created)
            return _told(watchers, loading, actual, source, make, son)
        document = original(cls, son, _auto_dereference, created)
        kept = copied(son) if loading.as_copy else son
        if source is None:
            remember_loaded(document, kept, cls._collection, watchers)
        else:
            remember(document, _from_source(source, Image(kept, cls._collection, watchers)))
        if loading.joined and (source is None or source.is_load):
            join(document)
        return document

    return _from_son


def _class_of(cls: Any, son: Any) -> Any:
    """The class that mongoengine makes a document of."""
    name = son.get("_cls") if isinstance(son, dict) else None
    return cls if name is None or name == cls._class_name else get_document(name)


def _told(
    watchers: Watchers,
    loading: Loading,
    cls: Any,
    source: _Source | None,
    make: Callable[..., Any],
    son: dict[str, Any],
) -> Any:
    """Make a document with the hooks before and after; its image is of the SON before all hooks."""
    data, noted, hooks = son, None, loading.hooks
    collection = cls._get_collection()
    if source is not None and source.queryset is not None:
        collection = source.queryset._collection_obj
    listener = partial(migrating, watchers, cls)
    if any(one.look_at_data for one in hooks):
        data, instance = copied(son), unfilled(cls)
        stored = hooks[0].stored(son, collection, listener)
        for one in hooks:
            data = one.before(instance, data, stored, _read_by(source))
        noted = stored.noted
    document = make(data)
    image = Image(copied(son) if data is son else son, cls._collection, watchers)
    if data is not son:
        image.remade = frozenset(
            name for name in (*data, *son) if data.get(name, ABSENT) != son.get(name, ABSENT)
        )
    image.noted = noted
    remember(document, _from_source(source, image))
    if source is None or source.is_load:
        if loading.joined:
            join(document)
        for one in hooks:
            one.after(document, son, one.stored(son, collection, listener, lambda: image))
    return document


def _read_by(source: _Source | None) -> Projection:
    """How much of a document a query reads."""
    fields = None if source is None or source.queryset is None else source.queryset._loaded_fields
    return Projection.of(fields.as_dict()) if fields else EVERYTHING


def _from_source(source: _Source | None, image: Image) -> Image:
    if source is not None and source.queryset is not None:
        _qualify(source.queryset, image)
    return image


@contextmanager
def _made_from(source: _Source) -> Iterator[None]:
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def temporary() -> AbstractContextManager[None]:
    """The next document is made only to fill another one: its load hooks see the data alone."""
    return _made_from(_Source(is_load=False))


def item(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around the methods of a queryset that give one document."""

    @wraps(original)
    def item(self: Any, *args: Any) -> Any:
        if self._as_pymongo:
            return original(self, *args)
        collection = self._collection_obj
        if type(collection) is Tapped and type(collection.listener) is not Loaded:
            collection = collection.collection
        is_plain = collection is self._document._collection
        if is_plain and not self._loaded_fields.fields and not self._search_text:
            return original(self, *args)
        with _made_from(_Source(self, is_load=_loaded_into(self) is None)):
            return original(self, *args)

    return item


def in_bulk(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.in_bulk``, which leaves out what its queryset asks for."""

    @wraps(original)
    def in_bulk(self: Any, object_ids: Any) -> Any:
        with _made_from(_Source(self, of_one=False)) if self._loaded_fields else nullcontext():
            found = original(self, shown(self, object_ids))
        for document in found.values():
            qualify(self, document)
        return found

    return in_bulk


def qualify(queryset: Any, document: Any) -> None:
    """Note what only the queryset knows: where the document is, and how much of it was read."""
    image = image_of(document) if isinstance(document, Document) else None
    if image is not None:
        _qualify(queryset, image)


def _qualify(queryset: Any, image: Image) -> None:
    image.collection = untapped(queryset._collection_obj)
    if queryset._loaded_fields:
        image.projection = Projection.of(queryset._loaded_fields.as_dict())
    if queryset._search_text:  # the score is in the SON, but not in the database
        image.son = {name: value for name, value in image.son.items() if name != "_text_score"}
    loaded = _loaded_into(queryset)
    if loaded is not None:
        loaded.image = image


def _loaded_into(queryset: Any) -> Loaded | None:
    """Who listens to the queryset in order to fill another document from what it loads."""
    collection = queryset._collection_obj
    listener = collection.listener if isinstance(collection, Tapped) else None
    return listener if isinstance(listener, Loaded) else None


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
        with tapped_document(self, loaded), at_hand(self):
            result = original(self, *fields, **kwargs)
        read_anew(self)
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
        with _made_from(_NO_LOAD):
            document = original(cls, *args, **kwargs)
        remember(document, None)
        return document

    return from_json


def queryset_from_json(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.from_json``, likewise."""

    @wraps(original)
    def from_json(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _made_from(_NO_LOAD):
            documents = original(self, *args, **kwargs)
        for document in documents:
            remember(document, None)
        return documents

    return from_json


def setstate(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.__setstate__``: what comes from a pickle, or is a copy, is no load."""

    @wraps(original)
    def __setstate__(self: Any, data: Any) -> None:
        with _made_from(_NO_LOAD):
            original(self, data)

    return __setstate__
