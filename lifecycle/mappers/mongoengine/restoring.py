"""Putting documents back: reading them as the log has them, and saving them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from mongoengine import Document
from mongoengine.base import ComplexBaseField, get_document
from mongoengine.errors import NotRegistered, OperationError, ValidationError
from pymongo.errors import PyMongoError

from lifecycle.changes import Operation
from lifecycle.errors import ConflictError, HistoryError, RecordingError
from lifecycle.hiding import filled, hidden_places
from lifecycle.mappers.mongoengine.documents import (
    DocumentModel,
    DocumentModels,
    all_subclasses,
    is_concrete,
)
from lifecycle.mappers.mongoengine.fields import logged, stored, stored_id
from lifecycle.mappers.mongoengine.relating import REFERENCES, referenced
from lifecycle.mappers.mongoengine.removing import with_deleted
from lifecycle.markers import MASKED
from lifecycle.restoring import Obstacle, ObstacleKind, Said, Shape, Step, Values

__all__ = ["DocumentSite"]


class DocumentSite:
    """The documents of installed classes; each write is one of its own."""

    def __init__(self, models: DocumentModels) -> None:
        self._models: Final = models
        self._roots: Final[dict[str, DocumentModel | None]] = {}

    def has(self, entity: str) -> bool:
        return self._root(entity) is not None

    def _root(self, entity: str) -> DocumentModel | None:
        if entity not in self._roots:
            found: Any = next(
                (
                    cls
                    for cls in all_subclasses(Document)
                    if is_concrete(cls) and DocumentModel(cls).entity == entity
                ),
                None,
            )
            self._roots[entity] = None if found is None else self._models.get(found)
        return self._roots[entity]

    def _of(self, entity: str, values: Values) -> DocumentModel:
        root = self._root(entity)
        assert root is not None
        name = values.get("_cls")
        if not isinstance(name, str):
            return root
        try:
            return self._models.get(get_document(name))
        except NotRegistered as error:
            told = Said("no document class is called %(name)s any more", name=repr(name))
            raise HistoryError(told) from error

    def shape(self, entity: str, values: Values) -> Shape:
        model = self._of(entity, values)
        fields = frozenset(model.cls._fields) | {"_cls"}
        return Shape(
            fields=fields | frozenset(values) if model.dynamic else fields,
            required=frozenset(name for name, field in model.cls._fields.items() if field.required),
            hidden=model.policy.exclude | model.policy.mask,
            sparse=True,
            marked=model.mark is not None,
        )

    # --- reading ---

    def read(self, entity: str, key: str, *, lock: bool = False) -> Values | None:
        root = self._root(entity)
        assert root is not None
        collection = root.cls._get_collection()
        son = collection.find_one({"_id": self._id(root, key)})
        if son is None or not self._of(entity, son).is_there(son):
            return None
        return self._values(root, son)

    def _id(self, root: DocumentModel, key: str) -> Any:
        field = root.id_field
        for text in (key, int(key) if key.lstrip("-").isdigit() else key):
            try:
                value = field.to_mongo(field.to_python(text))
                if root.key(value) == key:
                    return value
            except (HistoryError, ValidationError, TypeError, ValueError):
                continue
        raise HistoryError(f"the identity of {root.entity} {key} cannot be told from its key")

    def _values(self, root: DocumentModel, son: dict[str, Any]) -> dict[str, Any]:
        model = self._of(root.entity, son)
        values: dict[str, Any] = {}
        for db_name, value in son.items():
            name = model.cls._reverse_db_field_map.get(db_name, db_name)
            if name in model.policy.exclude:
                continue
            value = logged(model.cls._fields.get(name), value)
            hidden = name in model.policy.mask
            values[name] = MASKED if hidden else model.policy.hidden(name, value)
        return values

    # --- what is in the way ---

    def obstacles(self, steps: Sequence[Step]) -> Iterator[Obstacle]:
        planned = {(step.entity, step.key): step for step in steps}
        for step in steps:
            model = self._of(step.entity, step.after or step.before or {})
            if step.after is not None:
                yield from self._missing(step, model, planned)
                yield from self._taken(step, model, planned)
            else:
                yield from self._left_behind(step, model, planned)

    def _missing(
        self, step: Step, model: DocumentModel, planned: dict[tuple[str, str], Step]
    ) -> Iterator[Obstacle]:
        assert step.after is not None
        for name, field in model.cls._fields.items():
            inner = field
            while isinstance(inner, ComplexBaseField):
                inner = inner.field
            if not isinstance(inner, REFERENCES) or name not in step.changes.touched():
                continue
            target = self._models.get(inner.document_type)
            before = set(map(target.stored_key, referenced((step.before or {}).get(name))))
            for id in referenced(step.after.get(name)):
                key = target.stored_key(id)
                other = planned.get((target.entity, key))
                there = (
                    other.after is not None
                    if other is not None
                    else target.cls._get_collection().find_one({"_id": id}, {"_id": 1}) is not None
                )
                if key not in before and not there:
                    told = Said(
                        "%(field)s would refer to %(target)s, which is not there",
                        field=name,
                        target=f"{target.entity} {key}",
                    )
                    yield _obstacle(step, "reference", told, name)

    def _taken(
        self, step: Step, model: DocumentModel, planned: dict[tuple[str, str], Step]
    ) -> Iterator[Obstacle]:
        assert step.after is not None
        for name, field in model.cls._fields.items():
            value = step.after.get(name)
            if not field.unique or field.primary_key or value is None:
                continue
            names = [name, *([field.unique_with] if isinstance(field.unique_with, str) else [])]
            if field.unique_with and not isinstance(field.unique_with, str):
                names += list(field.unique_with)
            if not step.changes.touched() & set(names):
                continue
            criteria = {
                model.cls._fields[one].db_field: stored(model.cls._fields[one], step.after.get(one))
                for one in names
            }
            for son in model.cls._get_collection().find(criteria, {"_id": 1}).limit(2):
                key = model.stored_key(son["_id"])
                other = planned.get((step.entity, key))
                if key != step.key and (other is None or not self._frees(other, names)):
                    told = Said(
                        "%(value)s is taken by %(object)s",
                        value=f"{name}={value!r}",
                        object=f"{step.entity} {key}",
                    )
                    yield _obstacle(step, "unique", told, name)

    def _frees(self, step: Step, names: list[str]) -> bool:
        return step.after is None or bool(step.changes.touched() & set(names))

    def _left_behind(
        self, step: Step, model: DocumentModel, planned: dict[tuple[str, str], Step]
    ) -> Iterator[Obstacle]:
        root = self._root(step.entity)
        assert root is not None
        id = self._id(root, step.key)
        for cls, name in model.cls._meta.get("delete_rules") or {}:
            referring = self._models.get(cls)
            for found in cls.objects(**{name: id}).only("pk").limit(5):
                key = referring.key_of(found) or ""
                other = planned.get((referring.entity, key))
                if other is None or (other.after is not None and name not in other.changes):
                    told = Said("%(object)s refers to it", object=f"{referring.entity} {key}")
                    yield _obstacle(step, "referenced", told)

    # --- writing ---

    def apply(self, steps: Sequence[Step]) -> None:
        done: list[str] = []
        for step in sorted(steps, key=lambda step: _ORDER[step.operation]):
            try:
                self._take(step)
            except (ValidationError, OperationError, PyMongoError) as error:
                written = f"; written before it: {', '.join(done)}" if done else ""
                kind = RecordingError if done else ConflictError
                raise kind(
                    f"{step.entity} {step.key} could not be put back ({type(error).__name__})"
                    f"{written}: make a new preview of what is left"
                ) from error
            done.append(f"{step.entity} {step.key}")

    def make_way(self) -> bool:
        return False

    def _take(self, step: Step) -> None:
        model = self._of(step.entity, step.after or step.before or {})
        if step.operation is Operation.INSERT:
            assert step.after is not None
            values = {
                name: self._python(model, name, value)
                for name, value in step.after.items()
                if name != "_cls"
            }
            marked = self._marked(model, step.key)
            if marked is None:
                model.cls(**values).save(force_insert=True)
                return
            for name in model.cls._fields:
                if name != model.id_field.name:
                    setattr(marked, name, values.get(name))
            marked.save()
            return
        root = self._root(step.entity)
        assert root is not None
        document = model.cls.objects(pk=self._id(root, step.key)).first()
        if document is None:
            return
        if step.operation is Operation.DELETE:
            document.delete()
            return
        assert step.after is not None
        for name in sorted(step.changes.touched() - {"_cls"}):
            if name in step.after:
                value = step.after[name]
                if any(hidden_places(value)):  # which stays as it is
                    value = filled(value, self._present(model, document, name))
                setattr(document, name, self._python(model, name, value))
            else:
                delattr(document, name)
        document.save()

    def _present(self, model: DocumentModel, document: Any, name: str) -> Any:
        son = model.cls._get_collection().find_one({"_id": stored_id(document)}) or {}
        db_name = model.cls._db_field_map.get(name, name)
        return logged(model.cls._fields.get(name), son.get(db_name))

    def _marked(self, model: DocumentModel, key: str) -> Any:
        """The document that is there, but marked as removed; to change it brings it back."""
        if model.mark is None:
            return None
        return with_deleted(model.cls.objects(pk=self._id(model, key))).first()

    def _python(self, model: DocumentModel, name: str, value: Any) -> Any:
        field = model.cls._fields.get(name)
        if field is None or value is None:
            return value
        return field.to_python(stored(field, value))


_ORDER: Final = {Operation.INSERT: 0, Operation.UPDATE: 1, Operation.DELETE: 2}


def _obstacle(step: Step, kind: ObstacleKind, message: str, field: str | None = None) -> Obstacle:
    return Obstacle(entity=step.entity, key=step.key, kind=kind, message=message, field=field)
