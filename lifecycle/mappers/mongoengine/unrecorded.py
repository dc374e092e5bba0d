"""Writes that pass ``save`` and ``delete`` by: not recorded, and never silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final

from mongoengine import Document
from pymongo.results import DeleteResult, UpdateResult

from lifecycle.errors import UnrecordedWriteWarning, warn
from lifecycle.mappers.mongoengine.images import image_of, remember
from lifecycle.mappers.mongoengine.loading import Loaded, qualify
from lifecycle.mappers.mongoengine.tapping import tapped_document, tapped_queryset
from lifecycle.mappers.mongoengine.watchers import Watchers

__all__ = ["document_modify", "document_update", "queryset_modify", "queryset_write"]

_LIBRARIES: Final = ("contextlib", "lifecycle", "mongoengine")
_outer_call: ContextVar[str | None] = ContextVar("lifecycle.mongoengine.call", default=None)
"""The document's method the application called, when that goes through a queryset."""


def queryset_write(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around a method of a queryset that writes; warns when it did."""

    @wraps(original)
    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        cls = self._document
        entities = watchers.unrecorded(cls)
        if not entities or kwargs.get("_from_doc_delete"):
            return original(self, *args, **kwargs)
        call = _outer_call.get() or f"{cls.__qualname__}.objects.{original.__name__}()"
        with tapped_queryset(self, _Warning(call, entities)):
            return original(self, *args, **kwargs)

    return write


def queryset_modify(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``BaseQuerySet.modify``, which also loads what it found, or what it has made of it."""
    write = queryset_write(watchers, original)

    @wraps(original)
    def modify(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = write(self, *args, **kwargs)
        if kwargs.get("new", len(args) > 3 and args[3]):
            qualify(self, found)
        elif isinstance(found, Document):
            remember(found, None)  # it is as it was before this very write
        return found

    return modify


def document_update(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.update``, after which what is stored is not known."""

    @wraps(original)
    def update(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            with _called(self, "update"):
                return original(self, *args, **kwargs)
        finally:
            remember(self, None)

    return update


def document_modify(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.modify``, which fills the document from what the write made of it."""

    @wraps(original)
    def modify(self: Any, *args: Any, **kwargs: Any) -> Any:
        loaded, before = Loaded(), image_of(self)
        remember(self, None)  # in case it fails half way
        with _called(self, "modify"), tapped_document(self, loaded):
            modified = original(self, *args, **kwargs)
        remember(self, loaded.image if modified else before)
        return modified

    return modify


@contextmanager
def _called(document: Any, method: str) -> Iterator[None]:
    token = _outer_call.set(f"{type(document).__qualname__}.{method}()")
    try:
        yield
    finally:
        _outer_call.reset(token)


class _Warning:
    """Listens to a queryset, and warns of each write that changed something.

    Only after the write, for most deletes follow rules that find nothing to change.
    """

    def __init__(self, call: str, entities: Sequence[str]) -> None:
        self._call = call
        self._entities = entities

    def __call__(
        self, collection: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make the write, then warn of it."""
        try:
            result = getattr(collection, name)(*args, **kwargs)
        except Exception:
            if name.endswith("_many"):
                self._warn()  # it may have got through some of them
            raise
        if kwargs.get("upsert") or _changed_something(result):
            self._warn()
        return result

    def _warn(self) -> None:
        for entity in self._entities:
            warn(
                f"{self._call} changed documents of {entity} that are not recorded: it passes "
                "save() and delete() by. Save or delete the documents one by one instead, or "
                "take the class out with @not_audited",
                UnrecordedWriteWarning,
            )


def _changed_something(result: Any) -> bool:
    """Whether a write did; one that the server was not asked to acknowledge counts as if so."""
    if isinstance(result, UpdateResult):
        return not result.acknowledged or result.matched_count > 0
    if isinstance(result, DeleteResult):
        return not result.acknowledged or result.deleted_count > 0
    return result is not None
