"""What the events of a change stream tell of documents, whoever has written them.

An event has the document before and after the change where its collection keeps such images
(``changeStreamPreAndPostImages``, MongoDB 6). Without them it has what was set, and old values are
``UNKNOWN``, for by now others may have written the document again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bson import json_util

from lifecycle.changes import Change, ChangeSet, Delta, Operation, join_path
from lifecycle.mappers.mongoengine.asking import Pair, Son, id_key
from lifecycle.mappers.mongoengine.bulk import changes_of, label_of
from lifecycle.mappers.mongoengine.documents import DocumentModel, is_unmarked
from lifecycle.mappers.mongoengine.fields import logged, path_of
from lifecycle.mappers.mongoengine.images import reached
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.written import ROWS, STATEMENT, VERB, Heard, Written

__all__ = ["ChangeEvents", "as_token", "token_of"]

Event = Mapping[str, Any]
"""A change event, as the server documents them."""

ClassOf = Callable[[str, Any], str | None]
"""The ``_cls`` of the document in a collection with an ``_id``, if it is there."""

_OF_ALL: Final = {"drop": "delete", "rename": "update"}
"""Events of whole collections, and what to call them."""

_UNKNOWN_CLASS: Final = "the document's class is not known, so neither is what of it to hide"


class ChangeEvents:
    """Tells what events say of the documents of some classes.

    Of those that share a collection all have to be given. ``class_of`` is asked for the class of a
    document where its event does not tell.
    """

    def __init__(
        self,
        models: Iterable[DocumentModel],
        wants: Callable[[Any], bool],
        class_of: ClassOf = lambda collection, id: None,
    ) -> None:
        self._families: Final[dict[str, list[DocumentModel]]] = {}
        for model in models:
            name = model.cls._get_collection_name()
            self._families.setdefault(name, []).append(model)
        for name, family in [*self._families.items()]:
            if not any(wants(model.policy) for model in family):
                del self._families[name]
        self._wants = wants
        self._class_of = class_of

    @property
    def collections(self) -> list[str]:
        """The names of the collections whose documents are recorded."""
        return sorted(self._families)

    def heard(self, event: Event) -> Heard:
        """What an event tells; without ``written`` when that is not recorded."""
        at = _time_of(event)
        transaction = None
        if "txnNumber" in event and "lsid" in event:
            session = id_key(event["lsid"].get("id"))
            transaction = f"{session!r}.{int(event['txnNumber'])}"
        token = as_token(event["_id"])
        return Heard(self._written(event), at, token, token, transaction)

    def _written(self, event: Event) -> Written | None:
        collection = event.get("ns", {}).get("coll")
        family = self._families.get(collection)
        kind = event["operationType"]
        if family is None:
            return None
        if kind in _OF_ALL:
            return _of_all(self._any_recorded(family), collection, kind)
        if kind not in _CHANGES:
            return None  # an index, or an option of the collection
        id = event["documentKey"]["_id"]
        model = self._model(family, collection, event, id)
        if model is not None and not self._wants(model.policy):
            return None
        error = None
        if model is None:
            model, error = self._any_recorded(family), _UNKNOWN_CLASS
        changes = _CHANGES[kind](model, event)
        if changes is None:
            return None
        if error is not None:
            changes = _hidden(changes)
        whole = event.get("fullDocument") or event.get("fullDocumentBeforeChange")
        label = None if whole is None or error is not None else label_of(model, dict(whole))
        key = model.stored_key(id)
        return Written(model.entity, key, changes, model.policy, label=label, error=error)

    def _any_recorded(self, family: list[DocumentModel]) -> DocumentModel:
        return next(model for model in family if self._wants(model.policy))

    def _model(
        self, family: list[DocumentModel], collection: str, event: Event, id: Any
    ) -> DocumentModel | None:
        """The class of the document; ``None`` when it may be one that hides more than others."""
        name = None
        for image in ("fullDocument", "fullDocumentBeforeChange"):
            name = name or (event.get(image) or {}).get("_cls")
        if name is None and not family[0].root._meta.get("allow_inheritance"):  # type: ignore[attr-defined]
            return family[0]
        name = name or self._class_of(collection, id)
        return next((model for model in family if model.cls._class_name == name), None)


def as_token(token: Any) -> str:
    """The text of a resume token."""
    return json_util.dumps(token, sort_keys=True)


def token_of(text: str) -> Any:
    """The resume token of a text."""
    return json_util.loads(text)


def _time_of(event: Event) -> datetime:
    """When it was written, by the server's clock; before MongoDB 6 to the second."""
    told: Any = event.get("wallTime") or event["clusterTime"]
    time: datetime = told if isinstance(told, datetime) else told.as_datetime()
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _of_all(model: DocumentModel, collection: str, kind: str) -> Written:
    """A record of what became of a collection as a whole."""
    changes = {
        VERB: Change(ABSENT, _OF_ALL[kind]),
        STATEMENT: Change(ABSENT, f"{collection}.{kind}"),
        ROWS: Change(ABSENT, UNKNOWN),
    }
    return Written(model.entity, "", ChangeSet(changes, Operation.BULK), model.policy)


def _inserted(model: DocumentModel, event: Event) -> ChangeSet | None:
    return changes_of(model, Pair(None, dict(event["fullDocument"])))


def _deleted(model: DocumentModel, event: Event) -> ChangeSet | None:
    before = event.get("fullDocumentBeforeChange")
    if before is None:
        before = _unknown(model) | {"_id": event["documentKey"]["_id"]}
        before.pop(model.mark, None)  # for all that is known it was there
    return changes_of(model, Pair(dict(before), None))


def _replaced(model: DocumentModel, event: Event) -> ChangeSet | None:
    after = dict(event["fullDocument"])
    before = event.get("fullDocumentBeforeChange")
    if before is None:
        before = _unknown(model) | dict.fromkeys(after, UNKNOWN) | {"_id": after["_id"]}
    return changes_of(model, Pair(dict(before), after))


def _updated(model: DocumentModel, event: Event) -> ChangeSet | None:
    before, after = event.get("fullDocumentBeforeChange"), event.get("fullDocument")
    if before is not None and after is not None:
        return changes_of(model, Pair(dict(before), dict(after)))
    described = dict(_described(event.get("updateDescription") or {}))
    if model.mark is not None and model.mark in described:
        if not is_unmarked(described[model.mark]):
            return _deleted(model, event)
        whole = {name: one for name, one in described.items() if "." not in name}
        back = _unknown(model) | whole | {"_id": event["documentKey"]["_id"]}
        left = {name: one for name, one in back.items() if one is not ABSENT}
        return changes_of(model, Pair(None, left))
    found: dict[str, Delta] = {}
    for path, new in described.items():
        old = UNKNOWN if before is None else reached(before, path.split("."))
        names, field = path_of(model.cls, path, before or {})
        found[join_path(*names)] = Change(logged(field, old), logged(field, new))
    return ChangeSet(found, Operation.UPDATE)


def _described(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The paths that were changed, in the database's names, and what is there now."""
    yield from (told.get("updatedFields") or {}).items()
    for path in told.get("removedFields") or ():
        yield path, ABSENT
    for one in told.get("truncatedArrays") or ():
        yield one["field"], UNKNOWN  # a shorter list, of which nothing else is told


def _unknown(model: DocumentModel) -> Son:
    """A document of which no value is known."""
    return dict.fromkeys(model.cls._db_field_map.values(), UNKNOWN)


_CHANGES: Final[Mapping[str, Callable[[DocumentModel, Event], ChangeSet | None]]] = {
    "insert": _inserted,
    "update": _updated,
    "replace": _replaced,
    "delete": _deleted,
}


def _hidden(changes: ChangeSet) -> ChangeSet:
    """The same without any value."""

    def unknown(value: Any) -> Any:
        return ABSENT if value is ABSENT else UNKNOWN

    return ChangeSet(
        {
            path: Change(unknown(delta.old), unknown(delta.new))
            if isinstance(delta, Change)
            else Change(UNKNOWN, UNKNOWN)
            for path, delta in changes.items()
        },
        changes.operation,
    )
