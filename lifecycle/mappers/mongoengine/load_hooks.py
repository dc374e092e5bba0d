"""The hooks around loading a document, on classes that have some and on no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from lifecycle.dispatch import run
from lifecycle.errors import HookDefinitionError
from lifecycle.mappers.base import Services
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.images import EVERYTHING, Image, Projection
from lifecycle.mappers.mongoengine.stored import StoredDocument
from lifecycle.mappers.mongoengine.tapping import Listener
from lifecycle.moments import Moment, PostLoad, PreLoad

__all__ = ["LoadHooks", "unfilled"]


class LoadHooks:
    """What one Lifecycle runs when a document of one class is loaded."""

    def __init__(self, model: DocumentModel, services: Services) -> None:
        plan = services.dispatcher.plan(model.cls)
        self._model = model
        self._suppression = services.suppression
        self._before: Final = plan.get(Moment.PRE_LOAD, ())
        self._after: Final = plan.get(Moment.POST_LOAD, ())

    @property
    def look_at_data(self) -> bool:
        """Whether any of them wants the SON, and may replace it."""
        return bool(self._before) and not self._suppression.hooks

    def before(
        self, instance: Any, data: dict[str, Any], stored: StoredDocument, read: Projection
    ) -> dict[str, Any]:
        """Show the SON that a document is about to be made of; returns what to make it of.

        ``read`` is how much of it the query has brought.
        """
        if not self.look_at_data:
            return data
        event = PreLoad(
            instance,
            data,
            self._model.entity,
            self._key(data),
            partial=read is not EVERYTHING,
            covers=lambda name: read.covers(stored.unnamed(name)),
        )
        event.keeper = lambda _: stored
        run(self._before, event)
        return event.data

    def stored(
        self,
        son: dict[str, Any],
        collection: Any,
        listener: Callable[[], Listener],
        image: Callable[[], Image | None] | None = None,
    ) -> StoredDocument:
        """The document as the database holds it."""
        return StoredDocument(self._model, son.get("_id"), collection, listener, image)

    def after(self, document: Any, son: dict[str, Any], stored: StoredDocument) -> None:
        """Show a loaded document."""
        if self._after and not self._suppression.hooks:
            event = PostLoad(document, self._model.entity, self._key(son))
            event.keeper = lambda _: stored
            run(self._after, event)

    def _key(self, son: dict[str, Any]) -> str | None:
        return self._model.stored_key(son["_id"]) if "_id" in son else None


def unfilled(cls: Any) -> Any:
    """A document without fields, for hooks that run before there is one."""
    document = cls.__new__(cls)
    for name, value in (("_initialised", False), ("_created", True), ("_data", _NoFields())):
        object.__setattr__(document, name, value)
    return document


class _NoFields(dict[str, Any]):
    """In the place of a document's values: whoever asks, or assigns, is told what to do."""

    def __getitem__(self, name: str) -> NoReturn:
        raise _no_field(name)

    def get(self, name: str, default: object = None) -> NoReturn:
        """Refuse."""
        raise _no_field(name)

    def __setitem__(self, name: str, value: object) -> NoReturn:
        raise _no_field(name)


def _no_field(name: str) -> HookDefinitionError:
    return HookDefinitionError(
        f"at pre_load a document has no field {name!r} yet: read and change event.data, which is "
        "the SON by the database's names, or use post_load"
    )
