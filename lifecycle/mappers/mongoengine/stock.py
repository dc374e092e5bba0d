"""The documents of one class, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.images import image_of
from lifecycle.mappers.mongoengine.listening import migrating
from lifecycle.mappers.mongoengine.stored import StoredDocument
from lifecycle.stored import Held

__all__ = ["DocumentStock"]


class DocumentStock:
    """The documents of a class; each write is one of its own."""

    def __init__(self, model: DocumentModel) -> None:
        self._model: Final = model
        self._cls: Final = model.cls

    def is_here(self) -> bool:
        return True

    def counts(self, field: str) -> dict[Any, int]:
        pipeline = [
            {"$match": self._of_class()},
            {"$group": {"_id": f"${self._name(field)}", "count": {"$sum": 1}}},
        ]
        found = self._cls._get_collection().aggregate(pipeline)
        return {one["_id"]: one["count"] for one in found}

    @contextmanager
    def below(
        self, field: str, limit: Any, *, after: Any, count: int, keep: bool
    ) -> Iterator[Sequence[Held]]:
        name = self._name(field)
        query = self._of_class() | {"$or": [{name: None}, {name: {"$lt": limit}}]}
        if after is not None:
            query["_id"] = {"$gt": after}
        # Past querysets, for those of the application may leave some out.
        with self._cls._get_collection().find(query).sort("_id", 1).limit(count) as cursor:
            sons = list(cursor)
        yield [self._held(son) for son in sons]

    def _held(self, son: dict[str, Any]) -> Held:
        document = self._cls._from_son(son)
        image = image_of(document)
        era: Any = None if image is None else image.era
        listener = partial(migrating, era, type(document))
        collection = self._cls._get_collection()
        stored = StoredDocument(self._model, son["_id"], collection, listener, lambda: image)
        return Held(document, self._model.stored_key(son["_id"]), stored, son["_id"])

    def _name(self, field: str) -> str:
        found: str = self._cls._db_field_map.get(field, field)
        return found

    def _of_class(self) -> dict[str, Any]:
        """What tells the documents of this class among others in the same collection."""
        if not self._cls._meta.get("allow_inheritance") or self._cls is self._model.root:
            return {}
        return {"_cls": {"$in": list(self._cls._subclasses)}}
