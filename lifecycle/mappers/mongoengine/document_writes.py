"""``Document.update`` and ``Document.modify``: one document, written by operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final

from mongoengine.queryset import transform

from lifecycle.changes import Change, Delta, Operation
from lifecycle.mappers.mongoengine.causes import cause_now
from lifecycle.mappers.mongoengine.counting import count_on
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.images import Image, applied, image_of, remember
from lifecycle.mappers.mongoengine.listening import Bulk, Seen
from lifecycle.mappers.mongoengine.loading import Loaded, temporary
from lifecycle.mappers.mongoengine.objects import read_anew
from lifecycle.mappers.mongoengine.removing import at_hand
from lifecycle.mappers.mongoengine.sending import is_real
from lifecycle.mappers.mongoengine.tapping import tapped_document
from lifecycle.mappers.mongoengine.updates import touched
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.mappers.mongoengine.watchers import Watchers
from lifecycle.mappers.mongoengine.writing import Writing, carried_out
from lifecycle.markers import UNKNOWN

__all__ = ["modify", "one_document", "update"]

_OPTIONS: Final = frozenset(
    {
        "array_filters",
        "full_response",
        "full_result",
        "multi",
        "new",
        "read_concern",
        "remove",
        "upsert",
        "write_concern",
    }
)
"""Keywords of an update that name no field."""

_listener: ContextVar[Bulk | None] = ContextVar("lifecycle.mongoengine.document", default=None)


def one_document(cls: type) -> Bulk | None:
    """Who listens to the document that is written now, through a queryset of its class."""
    listener = _listener.get()
    return listener if listener is not None and listener.cls is cls else None


def update(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.update``, which leaves the document in memory as it is, but its version."""

    @wraps(original)
    def update(self: Any, **kwargs: Any) -> Any:
        image, seen = image_of(self), Seen(watchers)

        def write() -> Any:
            remember(self, None)  # in case it fails half way
            with at_hand(self):
                result = original(self, **kwargs)
            remember(self, _followed(image, seen))
            listener, was_hit = one_document(type(self)), getattr(result, "matched_count", result)
            if listener is not None and listener.has_counted and was_hit:
                count_on(self)
            return result

        return _carried_out(watchers, self, "update", kwargs, seen, write)

    return update


def modify(watchers: Watchers, original: Callable[..., Any]) -> Callable[..., Any]:
    """Around ``Document.modify``, which fills the document from what the write made of it."""

    @wraps(original)
    def modify(self: Any, query: Any = None, **kwargs: Any) -> Any:
        loaded, before = Loaded(), image_of(self)

        def write() -> Any:
            remember(self, None)  # in case it fails half way
            with tapped_document(self, loaded), temporary(), at_hand(self):
                modified = original(self, query, **kwargs)
            remember(self, loaded.image if modified else before)
            if modified:
                read_anew(self)
            return modified

        return _carried_out(watchers, self, "modify", kwargs, Seen(watchers), write)

    return modify


def _carried_out(
    watchers: Watchers,
    document: Any,
    method: str,
    keywords: dict[str, Any],
    seen: Seen,
    write: Callable[[], Any],
) -> Any:
    """Make a write with its hooks before and after; it is recorded like a bulk write of one."""
    cls = type(document)
    writings: list[Writing] = []
    if document.pk is not None:
        parts = [one.writing(document, Operation.UPDATE, watchers) for one in watchers.of(cls)]
        writings = [one for one in parts if one is not None and one.hooking.wanted]
    for one in writings:
        one.records = False
        one.hooking.see(lambda model, image: LiveUpdate(model, document, keywords, image))
    call = f"{cls.__qualname__}.{method}()"
    listener = Bulk(watchers, cls, call, cause=cause_now(), bulk=False)
    (listener.observers if writings else listener.followers).append(seen)

    def listened_to() -> Any:
        token = _listener.set(listener)
        try:
            return write()
        finally:
            _listener.reset(token)

    return carried_out(writings, seen, listened_to)


class LiveUpdate:
    """What an update by operators is about to change, as far as that can be foretold."""

    __slots__ = ("_document", "_image", "_keywords", "_model")

    def __init__(
        self, model: DocumentModel, document: Any, keywords: dict[str, Any], image: Image | None
    ) -> None:
        self._model = model
        self._document = document
        self._keywords = keywords
        self._image = image

    def read(self) -> dict[str, Delta]:
        """The changes; new values that only the server knows are ``UNKNOWN``."""
        update = self._update()
        before, after = self._image, self._foretold(update)
        changes: dict[str, Change] = {}
        for name in sorted(touched(update) or ()):
            change = Change(*(UNKNOWN if one is None else one.at(name) for one in (before, after)))
            if is_real(change):
                changes[name] = change
        return dict(self._model.python(changes, before, Operation.UPDATE))

    def write(self, field: str, value: Any) -> None:
        """Let the update set a field. Raises ``LookupError`` for a name that is no field."""
        if field not in self._model.names:
            raise LookupError(
                f"{self._model.cls.__qualname__} has no field {field!r}; "
                f"it has {', '.join(sorted(self._model.names))}"
            )
        for keyword in [one for one in self._keywords if field in one.split("__")[:2]]:
            del self._keywords[keyword]  # two operators on one field are an error
        self._keywords[f"set__{field}"] = value

    def is_taken(self, field: str, value: Any) -> bool:
        """Whether another document of the model has that value."""
        return self._model.is_taken(field, value, self._model.id_of(self._document))

    def fitted(self, field: str, value: Any) -> Any:
        """A value in the form that the field has it in."""
        return self._model.fitted(field, value)

    def _update(self) -> Any:
        given = {name: one for name, one in self._keywords.items() if name not in _OPTIONS}
        if isinstance(given.get("__raw__"), list):
            return given["__raw__"]
        try:
            return transform.update(self._model.cls, **given)
        except Exception:  # mongoengine will meet it too, and say what is wrong
            return {}

    def _foretold(self, update: Any) -> Image | None:
        if not isinstance(update, Mapping) or not update.keys() <= {"$set", "$unset"}:
            return None
        image = self._image or Image({}, None, None)
        sets = as_stored(update.get("$set", {}), self._document._collection)
        return applied(image, sets, update.get("$unset", {}))


def _followed(image: Image | None, seen: Seen) -> Image | None:
    """What is known of a document after it was written; ``None`` when it may be anything."""
    if image is None or len(seen.pairs) != 1:
        return None
    before, after = seen.pairs[0]
    if before is None or after is None:
        return None
    unsets = [name for name in before if name not in after]
    now = applied(image, after, unsets)
    now.remade = image.otherwise(now.son)  # the document in memory stays as it was
    for name, value in after.items():
        if value is UNKNOWN:
            now.projection = now.projection.forgotten(name)
    return now
