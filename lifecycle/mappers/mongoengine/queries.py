"""The methods of querysets and documents that pass ``save`` and ``delete`` by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from mongoengine import Document, signals

from lifecycle.changes import Operation
from lifecycle.mappers.mongoengine.causes import cause_now, caused
from lifecycle.mappers.mongoengine.counting import begin
from lifecycle.mappers.mongoengine.document_writes import one_document
from lifecycle.mappers.mongoengine.documents import is_concrete
from lifecycle.mappers.mongoengine.images import remember
from lifecycle.mappers.mongoengine.listening import Bulk, Seen
from lifecycle.mappers.mongoengine.loading import qualify
from lifecycle.mappers.mongoengine.removing import mark_all, marker, really, sets_of_mark
from lifecycle.mappers.mongoengine.tapping import (
    Tapped,
    tapped_queryset,
    untapped,
)
from lifecycle.mappers.mongoengine.watchers import Watchers
from lifecycle.mappers.mongoengine.writing import Writing, afterwards, prepared
from lifecycle.removal import removal_of
from lifecycle.written import CASCADE

__all__ = [
    "delete",
    "get_collection",
    "insert",
    "modify",
    "update",
]


def get_collection(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document._get_collection``: what is written through it is seen."""

    roots: WeakKeyDictionary[type, type | None] = WeakKeyDictionary()

    @wraps(original)
    def _get_collection(cls: Any) -> Any:
        collection = untapped(original(cls))
        try:
            root = roots[cls]
        except KeyError:
            root = next((one for one in reversed(cls.__mro__) if is_concrete(one)), None)
            roots[cls] = root
        return collection if root is None else Tapped(collection, Bulk(watchers, root))

    return _get_collection


def update(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.update``, which ``update_one`` and ``upsert_one`` call too."""

    @wraps(original)
    def update(self: Any, *args: Any, **kwargs: Any) -> Any:
        with tapped_queryset(self, _listener(watchers, self, "update")):
            return original(self, *args, **kwargs)

    return update


def delete(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.delete``, which follows the delete rules of other classes."""

    @wraps(original)
    def delete(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("_from_doc_delete"):
            with caused(CASCADE):
                return original(self, *args, **kwargs)
        is_soft = removal_of(self._document) is not None
        with really(is_soft and bool(kwargs.pop("hard", False))):
            if _deletes_one_by_one(self):
                return original(self, *args, **kwargs)
            by = marker(watchers, self._document)
            if by is not None:
                return mark_all(by, self, *args[:1], **_only(kwargs, "write_concern"))
            return delete_all(self, *args, **kwargs)

    def delete_all(self: Any, *args: Any, **kwargs: Any) -> Any:
        with tapped_queryset(self, _listener(watchers, self, "delete")), caused(CASCADE):
            return original(self, *args, **kwargs)

    return delete


def _only(keywords: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: keywords[name]} if name in keywords else {}


def _deletes_one_by_one(queryset: Any) -> bool:
    cls = queryset._document
    return bool(
        queryset._skip
        or queryset._limit
        or signals.pre_delete.has_receivers_for(cls)
        or signals.post_delete.has_receivers_for(cls)
    )


def modify(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.modify``, which also loads what it found, or what it has made of it.

    With ``remove`` it deletes that, or marks it.
    """

    @wraps(original)
    def modify(self: Any, *args: Any, **kwargs: Any) -> Any:
        removes = kwargs.get("remove", len(args) > 2 and args[2])
        by = marker(watchers, self._document) if removes else None
        if by is not None:
            options = (
                _only(kwargs, "full_response") if len(args) < 2 else {"full_response": args[1]}
            )
            return self.modify(**options, **sets_of_mark(by, self._document))
        with tapped_queryset(self, _listener(watchers, self, "modify")):
            found = original(self, *args, **kwargs)
        if kwargs.get("new", len(args) > 3 and args[3]):
            qualify(self, found)
        elif isinstance(found, Document):
            remember(found, None)  # it is as it was before this very write
        return found

    return modify


def _listener(watchers: Watchers, queryset: Any, method: str) -> Bulk:
    return one_document(queryset._document) or Bulk(
        watchers,
        queryset._document,
        f"{queryset._document.__qualname__}.objects.{method}()",
        cause=cause_now(),
    )


# --- inserts, whose documents are at hand -----------------------------------------------------


def insert(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.insert``, with the hooks of each document."""

    @wraps(original)
    def insert(self: Any, doc_or_docs: Any, *args: Any, **kwargs: Any) -> Any:
        documents = [doc_or_docs] if isinstance(doc_or_docs, Document) else [*doc_or_docs]
        writings = _writings(watchers, self._document, documents)
        prepared([writing for some in writings for writing in some])
        for document in documents:
            if isinstance(document, Document) and document._created and watchers.of(type(document)):
                begin(document)
        seen = Seen(watchers)
        listener = _listener(watchers, self, "insert")
        if any(writings):
            listener.observers.append(seen)
        try:
            with tapped_queryset(self, listener):
                result = original(self, doc_or_docs, *args, **kwargs)
            for some, sent in zip(writings, seen.sent, strict=False):
                for writing in some:
                    writing.hooking.tell([sent])
        except BaseException:
            _past_undoing(writings, seen, failed=True)
            raise
        _past_undoing(writings, seen, failed=False)
        return result

    return insert


def _past_undoing(writings: Sequence[Sequence[Writing]], seen: Seen, *, failed: bool) -> None:
    """Run the hooks for what can no longer be undone of each document that was inserted.

    When mongoengine fails, it has inserted the first of them.
    """
    with ExitStack() as stack:
        for some, sent in reversed([*zip(writings, seen.sent, strict=False)]):
            stack.callback(afterwards, some, [sent], failed=failed)


def _writings(watchers: Watchers, cls: Any, documents: Sequence[Any]) -> list[list[Writing]]:
    """The writings of each document; of none when mongoengine will refuse one of them."""
    for document in documents:
        if not isinstance(document, cls) or (document.pk and not document._created):
            return []
    return [
        [
            writing
            for one in watchers.of(type(document))
            if (writing := one.writing(document, Operation.INSERT, watchers)) is not None
            and writing.hooking.wanted
        ]
        for document in documents
    ]
