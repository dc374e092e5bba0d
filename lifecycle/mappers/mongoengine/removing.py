"""Marking documents as removed in place of deleting them, and hiding what is marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from mongoengine import CASCADE as FOLLOW
from mongoengine import DENY, OperationError, signals

from lifecycle.changes import Change, ChangeSet
from lifecycle.mappers.mongoengine.causes import caused
from lifecycle.mappers.mongoengine.counting import count_on, counted
from lifecycle.mappers.mongoengine.fields import stored_id
from lifecycle.mappers.mongoengine.watchers import Watcher, Watchers
from lifecycle.removal import Removal, removal_of
from lifecycle.written import CASCADE

__all__ = [
    "at_hand",
    "init",
    "mark",
    "mark_all",
    "marker",
    "no_sub_classes",
    "really",
    "sets_of_mark",
    "shown",
    "with_deleted",
]

_really: ContextVar[bool] = ContextVar("lifecycle.mongoengine.really", default=False)
_at_hand: ContextVar[type | None] = ContextVar("lifecycle.mongoengine.at_hand", default=None)


@contextmanager
def really(wanted: bool = True) -> Iterator[None]:
    """Delete for good inside the block, what is marked as well."""
    token = _really.set(wanted or _really.get())
    try:
        yield
    finally:
        _really.reset(token)


@contextmanager
def at_hand(document: Any) -> Iterator[None]:
    """Let the next queryset of a document's class find this one, marked or not: it is its own."""
    token = _at_hand.set(type(document))
    try:
        yield
    finally:
        _at_hand.reset(token)


def marker(watchers: Watchers, cls: type) -> Watcher | None:
    """Who marks what is deleted of a class; ``None`` when it is really deleted."""
    if removal_of(cls) is None or _really.get():
        return None
    return next((one for one in watchers.of(cls) if one.marks(cls)), None)


# --- hiding -----------------------------------------------------------------------------------


def init(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.__init__``: a queryset finds what is not marked."""

    @wraps(original)
    def __init__(self: Any, document: Any, *args: Any, **kwargs: Any) -> None:
        original(self, document, *args, **kwargs)
        if removal_of(document) is not None and not _really.get() and watchers.of(document):
            if _at_hand.get() is document:
                _at_hand.set(None)
            else:
                self._cls_query = {**self._cls_query, _name(document): None}

    return __init__


def no_sub_classes(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.no_sub_classes``, which starts anew with what a class adds."""

    @wraps(original)
    def no_sub_classes(self: Any) -> Any:
        name = None if removal_of(self._document) is None else _name(self._document)
        hides = name in self._cls_query
        found = original(self)
        if hides:
            found._cls_query = {**found._cls_query, name: None}
        return found

    return no_sub_classes


def with_deleted(queryset: Any) -> Any:
    """The same queryset, which finds what is marked as deleted, too."""
    found = queryset.clone()
    if removal_of(found._document) is not None:
        name = _name(found._document)
        found._cls_query = {key: one for key, one in found._cls_query.items() if key != name}
    return found


def shown(queryset: Any, ids: Iterable[Any]) -> list[Any]:
    """Those of the identifiers whose documents a queryset does not hide."""
    ids = list(ids)
    if removal_of(queryset._document) is None:
        return ids
    name = _name(queryset._document)
    if name not in queryset._cls_query:
        return ids
    found = queryset._collection.find({"_id": {"$in": ids}, name: None}, {"_id": True})
    return [one["_id"] for one in found]


def _name(cls: Any) -> str:
    removal = removal_of(cls)
    assert removal is not None
    name: str = cls._db_field_map.get(removal.field, removal.field)
    return name


# --- marking ----------------------------------------------------------------------------------


def mark(
    by: Watcher, document: Any, signal_kwargs: Mapping[str, Any] | None = None, **_: Any
) -> None:
    """Mark a document, with what its hooks have changed; its delete rules are followed."""
    cls, signal_kwargs = type(document), signal_kwargs or {}
    signals.pre_delete.send(cls, document=document, **signal_kwargs)
    _check_denied(cls, [document])
    if getattr(document, _removal(cls).field) is None:
        for name, value in _marking(by, cls).items():
            setattr(document, name, value)
        sets, unsets = document._delta()
        update = {"$set": sets} | ({"$unset": unsets} if unsets else {})
        update = counted(cls, update)
        if "$inc" in update:
            count_on(document)
        document._get_collection().update_one({"_id": stored_id(document)}, update)
        document._clear_changed_fields()
    _follow(cls, [document])
    signals.post_delete.send(cls, document=document, **signal_kwargs)


def mark_all(by: Watcher, queryset: Any, write_concern: Any = None) -> Any:
    """Mark the documents of a queryset; returns how many there were."""
    cls = queryset._document
    rules = {FOLLOW, DENY}.intersection((cls._meta.get("delete_rules") or {}).values())
    documents = list(queryset.clone().only("pk")) if rules else []
    _check_denied(cls, documents)
    count = queryset.update(write_concern=write_concern, **sets_of_mark(by, cls))
    _follow(cls, documents)
    return count


def sets_of_mark(by: Watcher, cls: Any) -> dict[str, Any]:
    """What an update of a queryset is to set in order to mark what it finds."""
    return {f"set__{name}": value for name, value in _marking(by, cls).items()}


def _removal(cls: type) -> Removal:
    removal = removal_of(cls)
    assert removal is not None  # else nobody marks
    return removal


def _marking(by: Watcher, cls: Any) -> dict[str, Any]:
    """The mark, and what behaviours set besides."""
    removal = _removal(cls)
    mark = by.fitted(cls, removal.field, removal.mark())
    return {removal.field: mark, **by.filled(cls, ChangeSet({removal.field: Change(None, mark)}))}


def _referring(cls: Any, documents: list[Any], wanted: int) -> Iterator[tuple[Any, str, Any]]:
    """The documents that refer to these by fields with a delete rule."""
    for (other, name), rule in (
        list((cls._meta.get("delete_rules") or {}).items()) if documents else ()
    ):
        if rule == wanted and not other._meta.get("abstract"):
            yield other, name, other.objects(**{f"{name}__in": documents})


def _check_denied(cls: Any, documents: list[Any]) -> None:
    for other, name, found in _referring(cls, documents, DENY):
        if found.limit(1).count() > 0:
            raise OperationError(
                f"Could not delete document ({other.__name__}.{name} refers to it)"
            )


def _follow(cls: Any, documents: list[Any]) -> None:
    """Delete what is to be deleted with these; what is marked already is not found again."""
    for _, _, found in _referring(cls, documents, FOLLOW):
        with caused(CASCADE):
            found.delete()
