"""Going through BSON values along the fields that declare them.

The database names things by ``db_field``, hooks and the log by attribute; hooks see Python values,
the log keeps those of BSON. A reference is its id, or its ``DBRef``: nothing here asks a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from bson import DBRef
from mongoengine import fields as fields_
from mongoengine.base import BaseField, ComplexBaseField, get_document
from mongoengine.errors import NotRegistered

from lifecycle.changes import Change, join_path, same
from lifecycle.mappers.mongoengine.images import reached
from lifecycle.mappers.mongoengine.values import as_stored, copied
from lifecycle.markers import Marker

__all__ = [
    "keeps_its_son_apart",
    "logged",
    "path_of",
    "python",
    "spread",
    "stored",
    "stored_id",
    "without_value",
]

_Leaf = Callable[[Any, Any], Any]

_EMBEDDED: Final = (fields_.EmbeddedDocumentField, fields_.GenericEmbeddedDocumentField)
_REFERENCES: Final = (fields_.ReferenceField, fields_.LazyReferenceField)
_AS_STORED: Final = (
    fields_.CachedReferenceField,  # its to_python() asks the server
    fields_.FileField,
    fields_.GenericReferenceField,
    fields_.DynamicField,
)
_SCALARS: Final = (
    fields_.StringField,
    fields_.IntField,
    fields_.FloatField,
    fields_.DecimalField,
    fields_.BooleanField,
    fields_.DateTimeField,
    fields_.ObjectIdField,
    fields_.BinaryField,
    fields_.UUIDField,
    fields_.EnumField,
    fields_.SequenceField,
    fields_.Decimal128Field,
    fields_.FileField,
    *_REFERENCES,
)


def logged(field: Any, value: Any) -> Any:
    """A BSON value as it goes into the log: embedded documents by attribute names."""
    if not isinstance(value, dict | list):
        return value
    return _translated(field, value, lambda field, value: copied(value))


def stored(field: Any, value: Any) -> Any:
    """A value from the log as the database has it: embedded documents by the database's names."""
    if isinstance(field, _EMBEDDED) and isinstance(value, dict):
        cls = _embedded_class(field, value)
        names = {} if cls is None else cls._db_field_map
        inner = {} if cls is None else cls._fields
        return {
            names.get(name, name): stored(inner.get(name), item) for name, item in value.items()
        }
    if isinstance(field, ComplexBaseField):
        if isinstance(value, list):
            return [stored(field.field, item) for item in value]
        if isinstance(value, dict):
            return {key: stored(field.field, item) for key, item in value.items()}
    return copied(value)


def python(field: Any, value: Any) -> Any:
    """A BSON value as hooks see it: of Python types, embedded documents as plain dicts."""
    return _translated(field, value, _python_leaf)


def _translated(field: Any, value: Any, leaf: _Leaf) -> Any:
    if value is None or isinstance(value, Marker):
        return value
    if isinstance(field, _EMBEDDED) and isinstance(value, dict):
        cls = _embedded_class(field, value)
        return {name: _translated(inner, item, leaf) for name, inner, item in _named(cls, value)}
    if isinstance(field, ComplexBaseField):
        if isinstance(value, list):
            return [_translated(field.field, item, leaf) for item in value]
        if isinstance(value, dict):
            return {key: _translated(field.field, item, leaf) for key, item in value.items()}
    return leaf(field, value)


def _named(cls: Any, son: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for db_name, item in son.items():
        name = db_name if cls is None else cls._reverse_db_field_map.get(db_name, db_name)
        yield name, None if cls is None else cls._fields.get(name), item


def _embedded_class(field: Any, value: Any) -> Any:
    """The class of an embedded document, ``None`` when this process does not have it."""
    name = value.get("_cls") if isinstance(value, dict) else None
    try:
        if isinstance(name, str):
            return get_document(name)
        return getattr(field, "document_type", None)
    except NotRegistered:
        return None


def _python_leaf(field: Any, value: Any) -> Any:
    if field is None or isinstance(field, _AS_STORED):
        return copied(value)
    if isinstance(field, _REFERENCES):
        return value.id if isinstance(value, DBRef) else copied(value)
    try:
        return field.to_python(copied(value))
    except Exception:  # a value its own field cannot read is shown as it is stored
        return copied(value)


def path_of(cls: Any, db_path: str, son: Any) -> tuple[tuple[str, ...], Any]:
    """A path in attribute names, and the field that declares what is there, if any.

    ``son`` is the document, as far as it is known: it tells the classes of embedded documents.
    """
    if "." not in db_path:
        name = cls._reverse_db_field_map.get(db_path, db_path)
        return (name,), cls._fields.get(name)
    field: Any = None
    names: list[str] = []
    for segment in db_path.split("."):
        if cls is not None:
            name = cls._reverse_db_field_map.get(segment, segment)
            field = cls._fields.get(name)
        else:
            name = segment
            field = field.field if isinstance(field, ComplexBaseField) else None
        son = reached(son, [segment])
        cls = _embedded_class(field, son) if isinstance(field, _EMBEDDED) else None
        names.append(name)
    return tuple(names), field


def spread(field: Any, path: tuple[str, ...], old: Any, new: Any) -> Iterator[tuple[str, Change]]:
    """The changes from one Python value to another, inside embedded documents by path.

    Other dicts, and lists that got longer or shorter, are changed as a whole. Inside an embedded
    document a field without a value is as its attribute is.
    """
    if same(old, new):
        return
    pairs = list(_inside(field, old, new))
    if not pairs:
        yield join_path(*path), Change(old, new)
    for segment, inner, was, now in pairs:
        yield from spread(inner, (*path, segment), was, now)


def without_value(field: Any) -> Any:
    """What an attribute reads as whose value is not in the database: ``None``, or empty.

    mongoengine unsets a list or dict that has become empty, where that is its field's default.
    """
    default = getattr(field, "default", None)
    return default() if default is list or default is dict else None


def _inside(field: Any, old: Any, new: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        if isinstance(field, _EMBEDDED) and old.get("_cls") == new.get("_cls"):
            cls = _embedded_class(field, new)
            for name in dict.fromkeys((*old, *new)):
                inner = None if cls is None else cls._fields.get(name)
                none = without_value(inner)
                yield name, inner, old.get(name, none), new.get(name, none)
        elif _holds_embedded(field) and old.keys() == new.keys():
            for key in old:
                yield key, field.field, old[key], new[key]
    elif isinstance(old, list) and isinstance(new, list):
        as_long = len(old) == len(new)
        for index in range(len(old) if as_long and _holds_embedded(field) else 0):
            yield str(index), field.field, old[index], new[index]


def _holds_embedded(field: Any) -> bool:
    return isinstance(field, ComplexBaseField) and isinstance(field.field, _EMBEDDED)


def keeps_its_son_apart(field: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether values of a field share no list or dict with the SON they were loaded from.

    mongoengine builds new containers for the fields it watches. The others, such as geo and
    dynamic fields, hand out those of the SON, which an edit in place would then change.
    """
    if isinstance(field, ComplexBaseField):
        return field.field is None or keeps_its_son_apart(field.field, seen)
    if isinstance(field, fields_.EmbeddedDocumentField):
        cls = field.document_type
        if cls in seen:
            return True
        return all(
            keeps_its_son_apart(inner, seen | {cls})
            for embedded in (cls, *cls.__subclasses__())
            for inner in embedded._fields.values()
        )
    return isinstance(field, _SCALARS) and isinstance(field, BaseField)


def stored_id(document: Any) -> Any:
    """A document's primary key as the database has it; ``None`` while it has none."""
    name = document._meta["id_field"]
    value = document._data.get(name)
    if value is None:
        return None
    stored = document._fields[name].to_mongo(value)
    return as_stored({"_id": stored}, document._collection)["_id"]
