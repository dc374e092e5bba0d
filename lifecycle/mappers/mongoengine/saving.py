"""``Document.save`` and ``Document.delete``, with their hooks and their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple

from mongoengine import Document

from lifecycle.changes import Operation
from lifecycle.mappers.mongoengine.causes import cause_now, caused
from lifecycle.mappers.mongoengine.counting import inserted, updated
from lifecycle.mappers.mongoengine.images import remember
from lifecycle.mappers.mongoengine.lost_edits import warn_of_lost_edits
from lifecycle.mappers.mongoengine.objects import back, gone
from lifecycle.mappers.mongoengine.removing import mark, marker, really
from lifecycle.mappers.mongoengine.sending import Sending
from lifecycle.mappers.mongoengine.tapping import tapped_document
from lifecycle.mappers.mongoengine.watchers import Watchers
from lifecycle.mappers.mongoengine.writing import Writing, carried_out, settled
from lifecycle.removal import is_hard, removal_of

__all__ = ["delete", "save", "save_step"]

_SAVING: Final = "_lifecycle_saving"


class _Saving(NamedTuple):
    """What a document carries while it is saved or deleted."""

    sending: Sending
    writings: Sequence[Writing]


def save(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.save``."""

    @wraps(original)
    def save(self: Any, *args: Any, **kwargs: Any) -> Any:
        force_insert = args[0] if args else kwargs.get("force_insert")
        never_stored = self._created or not hasattr(self, "_changed_fields")
        operation = Operation.INSERT if force_insert or never_stored else Operation.UPDATE

        def write() -> Any:
            if _writes_its_own_way(type(self)):
                return _listened_to(self, lambda: original(self, *args, **kwargs))
            return original(self, *args, **kwargs)

        result = _carried_out(watchers, self, operation, write)
        back(self)
        return result

    return save


def _writes_its_own_way(cls: Any) -> bool:
    """Whether a class replaces the parts of `save` that write: then all of it is listened to."""
    return (
        cls._save_create is not Document._save_create
        or cls._save_update is not Document._save_update
    )


def save_step(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around the parts of ``Document.save`` that write, after validation and its signals."""

    is_update = original.__name__ == "_save_update"
    step = updated if is_update else inserted

    @wraps(original)
    def save_step(self: Any, doc: Any, *args: Any, **kwargs: Any) -> Any:
        saving = vars(self).get(_SAVING)
        if saving is None:
            return step(original, self, doc, *args, **kwargs)
        if settled(saving.writings, late=True):
            doc = self.to_mongo()
        result = _listened_to(self, lambda: step(original, self, doc, *args, **kwargs))
        if is_update and not result[1]:  # else it has made a document anew, of a part of this one
            warn_of_lost_edits(self, doc, watchers, saving.writings[0].subject)
        return result

    return save_step


def delete(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.delete``."""

    @wraps(original)
    def delete(self: Any, *args: Any, **kwargs: Any) -> Any:
        is_soft = removal_of(type(self)) is not None
        wants_hard = is_soft and bool(kwargs.pop("hard", False) or is_hard(self))
        by = None if wants_hard or self.pk is None else marker(watchers, type(self))

        def write() -> Any:
            if by is not None:
                return _listened_to(self, lambda: mark(by, self, *args, **kwargs))
            with really(is_soft):
                return _listened_to(self, lambda: original(self, *args, **kwargs))

        cause = cause_now()
        with caused(None):  # what hooks and signals write is asked for
            result = _carried_out(watchers, self, Operation.DELETE, write, cause)
        gone(self)
        return result

    return delete


def _carried_out(
    watchers: Watchers,
    document: Any,
    operation: Operation,
    write: Callable[[], Any],
    cause: str | None = None,
) -> Any:
    parts = [one.writing(document, operation, watchers) for one in watchers.of(type(document))]
    writings = [writing for writing in parts if writing is not None]
    if not writings:
        remember(document, None)  # what is written now goes unseen
        return write()
    for writing in writings:
        writing.cause = cause
    strict = any(writing.strict for writing in writings)
    sending = Sending(document, watchers, strict=strict)

    def sent() -> Any:
        attributes = vars(document)
        outer = attributes.get(_SAVING)  # writes of one document may nest
        attributes[_SAVING] = _Saving(sending, writings)
        try:
            return write()
        finally:
            if outer is None:
                del attributes[_SAVING]
            else:
                attributes[_SAVING] = outer

    return carried_out(writings, sending, sent)


def _listened_to(document: Any, write: Callable[[], Any]) -> Any:
    saving = vars(document).get(_SAVING)
    if saving is None:
        return write()
    with tapped_document(document, saving.sending):
        return write()
