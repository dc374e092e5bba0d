"""Documents as behaviours ask of them: by key, by field, and which were loaded together."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import local
from typing import Any, Final
from uuid import UUID
from weakref import ref

from mongoengine import Document
from mongoengine import fields as fields_
from mongoengine.base import BaseDocument
from mongoengine.errors import LookUpError, ValidationError

from lifecycle.errors import ConfigurationError
from lifecycle.mappers.mongoengine.documents import (
    DocumentModel,
    document_classes,
    is_concrete,
    is_current,
)
from lifecycle.mappers.mongoengine.images import image_of
from lifecycle.objects import LINKED, SIBLINGS, Identity, Row, converted

__all__ = ["OBJECTS", "DocumentObjects", "back", "gone", "join", "joins", "read_anew"]

_AT_ONCE: Final = 1_000
_TOGETHER: Final = "_lifecycle_together"
_READ: Final = "_lifecycle_read"
_GONE: Final = "_lifecycle_gone"
_MOST_TOGETHER: Final = 10_000

_KINDS: Final[tuple[tuple[type, type], ...]] = (
    (fields_.StringField, str),
    (fields_.IntField, int),
    (fields_.UUIDField, UUID),
    (fields_.BinaryField, bytes),
)


class _Loading(local):
    """The documents of each class that this thread loads, until one is asked for the others."""

    def __init__(self) -> None:
        self.groups: Final[dict[type, list[ref[Any]]]] = {}


_loading: Final = _Loading()


def join(document: Any) -> None:
    """Note that a document has been loaded, with those of its class that this thread loads."""
    cls = type(document)
    group = _loading.groups.get(cls)
    if group is None or len(group) >= _MOST_TOGETHER:
        group = _loading.groups[cls] = []
    group.append(ref(document))
    object.__setattr__(document, _TOGETHER, group)


def joins(cls: Any) -> bool:
    """Whether documents of a class are to know which others were loaded with them."""
    return hasattr(cls, SIBLINGS)


def read_anew(document: Any) -> None:
    """Note that a document has been filled with what the database holds, for those who ask."""
    if joins(type(document)):
        object.__setattr__(document, _READ, object())


def gone(document: Any) -> None:
    """Note that a document has been deleted, where that is of interest."""
    if hasattr(type(document), LINKED):
        object.__setattr__(document, _GONE, True)


def back(document: Any) -> None:
    """Note that a document has been saved, be it one that had been deleted."""
    vars(document).pop(_GONE, None)


class DocumentObjects:
    """The documents of every class there is. They have no sessions."""

    def maps(self, cls: type) -> bool:
        return issubclass(cls, Document) and is_concrete(cls)

    def classes(self) -> Iterable[type]:
        return [*document_classes()]

    def is_current(self, cls: type) -> bool:
        return is_current(cls)

    def entity(self, cls: type) -> str:
        return DocumentModel(cls).entity

    # --- one document ---

    def identity(self, instance: Any) -> Identity | None:
        return None if instance.pk is None else (instance.pk,)

    def peek(self, instance: Any, fields: Sequence[str]) -> Identity | None:
        values = tuple(instance._data.get(name) for name in fields)
        if None in values:
            image = image_of(instance)
            unread = [name for name in fields if instance._data.get(name) is None]
            names = (instance._db_field_map.get(name, name) for name in unread)
            if image is not None and not all(map(image.covers, names)):
                return None  # only() or exclude() has left it out
        return values

    def values_at(self, instance: Any, path: str) -> list[Any]:
        return list(_reached(instance, path.split(".")))

    def stamp(self, instance: Any) -> object:
        return vars(instance).get(_READ)

    def stands(self, instance: Any, stamp: object) -> bool:
        return self.stamp(instance) is stamp

    def is_gone(self, instance: Any) -> bool:
        return vars(instance).get(_GONE) is not None

    def await_assignment(self, instance: Any, fields: Sequence[str]) -> None:
        for name in fields:
            instance._data.pop(name, None)  # which reads as None, and comes back when assigned

    def awaits_assignment(self, instance: Any, fields: Sequence[str]) -> bool:
        return not any(name in instance._data for name in fields)

    def unsaved(self, instance: Any) -> str | None:
        return "was never saved: there is nothing to bring back" if instance._created else None

    def siblings(self, instance: Any) -> Iterator[Any]:
        group = vars(instance).get(_TOGETHER)
        if group is None:
            yield instance
            return
        for cls, loading in list(_loading.groups.items()):
            if loading is group:
                del _loading.groups[cls]  # what is loaded from now on is with others
        for one in list(group):
            found = one()
            if found is not None:
                yield found

    def touch(self, instance: Any) -> None:
        """Its save is a flush of its own, always."""

    def is_in(self, instance: Any, session: Any) -> bool:
        return False

    def session_of(self, instance: Any, cls: type) -> None:
        return None

    # --- a class ---

    def identity_fields(self, cls: Any) -> tuple[str, ...]:
        return (cls._meta["id_field"],)

    def as_identity(self, cls: Any, values: Sequence[Any]) -> Identity | None:
        if len(values) != 1:
            return None
        field = cls._fields[cls._meta["id_field"]]
        try:
            value = _as_field(values[0], field)
            field.validate(value)
        except (ValidationError, ValueError, TypeError, ArithmeticError):
            return None
        return (value,)

    def fitted(self, cls: Any, fields: Sequence[str], values: Sequence[Any]) -> Identity:
        found = []
        for name, value in zip(fields, values, strict=True):
            field = cls._lookup_field(name.split("."))[-1]
            try:
                fit = _as_field(value, field)
                if fit is not None:
                    field.validate(fit)
            except (ValidationError, TypeError, ArithmeticError) as error:
                raise ValueError(str(error)) from error
            found.append(fit)
        return tuple(found)

    def is_nullable(self, cls: Any, field: str) -> bool:
        return not cls._fields[field].required

    def check_path(self, cls: Any, path: str) -> None:
        try:
            found = cls._lookup_field(path.split("."))
            unknown = [one for one in found if isinstance(one, str)]
            if unknown:
                raise LookUpError(f"{unknown[0]!r} is no field")
        except LookUpError as error:
            raise ConfigurationError(
                f"{path!r} leads nowhere in {cls.__qualname__} ({error}): name the fields, from "
                "the document inwards"
            ) from None

    def reaches(self, session: Any, cls: type) -> bool:
        return session is None and self.maps(cls)

    # --- queries ---

    def load(self, cls: Any, identities: Sequence[Identity], session: Any) -> list[Any]:
        ids = [id for (id,) in dict.fromkeys(identities)]
        found: list[Any] = []
        for start in range(0, len(ids), _AT_ONCE):
            found += cls.objects(pk__in=ids[start : start + _AT_ONCE])
        return found

    def find(
        self,
        cls: Any,
        fields: Sequence[str],
        values: Sequence[Identity],
        session: Any,
        *,
        after: Identity | None = None,
        limit: int | None = None,
    ) -> list[Any]:
        (name,) = fields
        found: list[Any] = []
        for start in range(0, len(values), _AT_ONCE):
            wanted = [value for (value,) in values[start : start + _AT_ONCE]]
            path, is_one = name.replace(".", "__"), "." in name and len(wanted) == 1
            asked = {path: wanted[0]} if is_one else {f"{path}__in": wanted}
            query = cls.objects(**asked).order_by("pk")
            if after is not None:
                query = query.filter(pk__gt=after[0])
            found += query if limit is None else query.limit(limit)
        return found

    def existing(self, cls: Any, identities: Sequence[Identity], session: Any) -> set[Identity]:
        field = cls._fields[cls._meta["id_field"]]
        wanted = {"_id": {"$in": [field.to_mongo(id) for (id,) in identities]}, **_of_class(cls)}
        found = cls._get_collection().find(wanted, {"_id": 1})
        return {(field.to_python(one["_id"]),) for one in found}

    def rows(
        self, cls: Any, fields: Sequence[str], session: Any, after: Identity | None, limit: int
    ) -> list[Row]:
        id_field = cls._fields[cls._meta["id_field"]]
        paths = [cls._lookup_field(name.split(".")) for name in fields]
        names = [".".join(one.db_field for one in path) for path in paths]
        filled = {"$exists": True, "$ne": None}  # within lists that would ask for more
        wanted: dict[str, Any] = {one: filled for one in names if "." not in one}
        wanted |= cls.objects._cls_query  # without those that are marked as deleted
        if after is not None:
            wanted["_id"] = {"$gt": id_field.to_mongo(after[0])}
        tops = {one.partition(".")[0]: 1 for one in names}
        found = cls._get_collection().find(wanted, tops)
        return [
            Row(
                (id_field.to_python(son["_id"]),),
                tuple(
                    path[-1].to_python(value)
                    for path, name in zip(paths, names, strict=True)
                    for value in _reached(son, name.split("."))
                ),
            )
            for son in found.sort("_id", 1).limit(limit)
        ]

    async def in_background(self, run: Callable[[], None]) -> None:
        await to_thread(run)

    # --- writing ---

    def save(self, instance: Any, session: Any) -> None:
        instance.save()

    def delete(self, instance: Any, session: Any) -> None:
        instance.delete()

    def commit(self, session: Any) -> None:
        """Each document is written by itself."""


OBJECTS: Final = DocumentObjects()


def _as_field(value: Any, field: Any) -> Any:
    for kind, type_ in _KINDS:
        if isinstance(field, kind):
            return converted(value, type_)
    return field.to_python(value)


def _of_class(cls: Any) -> dict[str, Any]:
    """What tells the documents of a class among those of its collection."""
    if not cls._meta.get("allow_inheritance"):
        return {}
    return {"_cls": {"$in": list(cls._subclasses)}}


def _reached(node: Any, names: list[str]) -> Iterator[Any]:
    """Every value at a path, through lists."""
    if isinstance(node, list):
        for item in node:
            yield from _reached(item, names)
    elif not names:
        if node is not None:
            yield node
    elif isinstance(node, dict):
        yield from _reached(node.get(names[0]), names[1:])
    elif isinstance(node, BaseDocument):
        yield from _reached(node._data.get(names[0]), names[1:])
