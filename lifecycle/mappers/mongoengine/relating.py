"""References of documents, told from what the log holds of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from bson import DBRef
from mongoengine import fields as fields_
from mongoengine.base import ComplexBaseField
from mongoengine.errors import NotRegistered

from lifecycle.errors import HistoryError
from lifecycle.mappers.mongoengine.documents import (
    DocumentModel,
    DocumentModels,
    all_subclasses,
    document_classes,
    is_concrete,
)
from lifecycle.markers import is_hidden
from lifecycle.relations import Pointer, Relation, Values, labels_of

__all__ = ["REFERENCES", "choices", "pointers", "referenced", "relation"]

REFERENCES = (fields_.ReferenceField, fields_.LazyReferenceField, fields_.CachedReferenceField)
"""The fields that hold the key of a document of one class."""


def relation(models: DocumentModels, root: Any, entity: str, name: str) -> Relation:
    """A reference field of a document class, or of one that inherits from it.

    Raises ``HistoryError`` when it has no such field, or one that tells no single class.
    """
    known: dict[str, Any] = {}
    cls: Any
    for cls in filter(is_concrete, all_subclasses(root)):
        known |= {one: field for one, field in cls._fields.items() if _reference(field)}
    if name not in known:
        raise HistoryError(
            f"{entity} has no reference {name!r}; it has {', '.join(sorted(known)) or 'none'}"
        )
    target = models.get(_reference(known[name]).document_type)

    def keys(values: Values) -> Iterator[str]:
        return (target.stored_key(id) for id in referenced(values.get(name)))

    return Relation(target=target.entity, fields=(name,), keys=keys)


def pointers(models: DocumentModels, entity: str | None, source: str | None) -> Iterator[Pointer]:
    """The reference fields of document classes to the documents of others, each once."""
    told: set[tuple[str, str]] = set()
    cls: Any
    for cls in document_classes():
        own = models.get(cls).entity
        for name, field in cls._fields.items() if source in (None, own) else ():
            reference = _reference(field)
            if reference is None or (own, name) in told:
                continue
            try:
                target = models.get(reference.document_type)
            except NotRegistered:  # a class that is not there yet has no history either
                continue
            if entity in (None, target.entity):
                told.add((own, name))
                yield Pointer(
                    source=own,
                    target=target.entity,
                    fields=(name,),
                    keys=partial(_keys, target, name),
                )


def choices(models: DocumentModels, entity: str) -> dict[str, dict[Any, str]]:
    """What people call the values of a class's fields, or the elements of lists in them."""
    found: dict[str, dict[Any, str]] = {}
    cls: Any
    for cls in document_classes():
        for name, field in cls._fields.items() if models.get(cls).entity == entity else ():
            while isinstance(field, ComplexBaseField) and field.field is not None:
                field = field.field
            if labels := labels_of(field.choices):
                found[name] = labels
    return found


def _keys(target: DocumentModel, name: str, values: Values) -> Iterator[str]:
    value = values.get(name)
    return iter(()) if is_hidden(value) else map(target.stored_key, referenced(value))


def _reference(field: Any) -> Any:
    """The field that holds a reference: this one, or that of its elements; ``None`` when none."""
    while isinstance(field, ComplexBaseField):
        field = field.field
    return field if isinstance(field, REFERENCES) else None


def referenced(value: Any) -> Iterator[Any]:
    """The keys a stored value of references has in it."""
    if isinstance(value, list):
        for item in value:
            yield from referenced(item)
    elif isinstance(value, dict):
        for item in [value["_id"]] if "_id" in value else value.values():  # one cached, or a map
            yield from referenced(item)
    elif isinstance(value, DBRef):
        yield value.id
    elif value is not None:
        yield value
