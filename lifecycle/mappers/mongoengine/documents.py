"""What there is to know of a document class, worked out once, and the classes met so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from bson import ObjectId
from bson.errors import InvalidId
from mongoengine import (
    Document,
    EmbeddedDocumentField,
    GenericEmbeddedDocumentField,
    IntField,
    LazyReferenceField,
    ReferenceField,
)
from mongoengine.base import get_document
from mongoengine.errors import NotRegistered, ValidationError

from lifecycle.bundles import behaviours_of
from lifecycle.changes import Change, ChangeSet, Delta, Operation, join_path
from lifecycle.dispatch import call
from lifecycle.errors import HistoryError, HookDefinitionError
from lifecycle.hooks import Hook, model_hooks
from lifecycle.keys import key_text
from lifecycle.mappers.base import Services
from lifecycle.mappers.mongoengine.fields import (
    logged,
    path_of,
    python,
    spread,
    stored_id,
    without_value,
)
from lifecycle.mappers.mongoengine.images import Image
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import ABSENT, Marker
from lifecycle.moments import LoadClassMetadata, Moment
from lifecycle.policy import NO_MASKING, Masking, Policy, check_fields, entity_of, policy_of
from lifecycle.removal import removal_of

__all__ = [
    "DocumentModel",
    "DocumentModels",
    "all_subclasses",
    "document_classes",
    "is_concrete",
    "is_current",
    "is_unmarked",
    "named_within",
]

_CONTAINERS: Final = (dict, list)
_MOST_NAMES: Final = 1_000

NetChanges = Mapping[str, Change]
"""What a write changed, by path in the database's names, with BSON values."""


def is_concrete(cls: Any) -> bool:
    """Whether a class is a document class with a collection of its own or a shared one."""
    return issubclass(cls, Document) and not cls._meta.get("abstract")


def all_subclasses(cls: type) -> Iterator[type]:
    """A class and everything that inherits from it."""
    yield cls
    subclass: type
    for subclass in cls.__subclasses__():
        yield from all_subclasses(subclass)


class DocumentModel:
    """A document class: its names, its fields, and how its values go to hooks and to the log."""

    def __init__(self, cls: Any, masking: Masking = NO_MASKING) -> None:
        self.cls: Final = cls
        self.root: Final[type] = [base for base in cls.__mro__ if is_concrete(base)][-1]
        self.entity: Final = entity_of(self.root)
        self.policy: Final[Policy] = masking.extended(
            policy_of(cls),
            (
                (name, title, inner)
                for name, field in cls._fields.items()
                for title, inner in named_within(name, field)
            ),
        )
        self.dynamic: Final[bool] = cls._dynamic
        self.id_field: Final = cls._fields[cls._meta["id_field"]]
        removal = removal_of(cls)
        self.mark: Final[str | None] = (
            None if removal is None else cls._db_field_map.get(removal.field, removal.field)
        )
        """What marks a document as removed, by the database's name."""
        self._told: Final[dict[str, tuple[Any, str]]] = {}
        self.generated: Final = tuple(name for name, one in cls._fields.items() if one._auto_gen)

    def is_there(self, son: Mapping[str, Any]) -> bool:
        """Whether a document is there for the log, and not marked as removed."""
        return self.mark is None or is_unmarked(son.get(self.mark))

    @property
    def names(self) -> Collection[str]:
        """The names a condition may ask about: of a dynamic document, any."""
        return _AnyName(self.cls._fields) if self.dynamic else [*self.cls._fields, "pk"]

    def key(self, identity: Any) -> str:
        """The text of a primary key given in any form its field takes.

        Raises ``HistoryError`` when the field does not take it.
        """
        try:
            value = self.id_field.to_mongo(self.id_field.to_python(identity))
            return self.stored_key(as_stored({"_id": value})["_id"])
        except (ValidationError, TypeError, ValueError, AttributeError) as error:
            raise HistoryError(
                f"{identity!r} is no key of {self.cls.__qualname__} ({error}): give what its "
                f"{type(self.id_field).__name__} {self.id_field.name!r} takes"
            ) from error

    def id_of(self, document: Any) -> Any:
        """A document's primary key as the database would have it; ``None`` while it has none."""
        try:
            return stored_id(document)
        except Exception:  # before validation it may be anything, and validation will say so
            return None

    def key_of(self, document: Any) -> str | None:
        """The text of a document's identity as it is now; ``None`` while it has none."""
        value = self.id_of(document)
        return None if value is None else self.stored_key(value)

    def stored_key(self, value: Any) -> str:
        """The text of a primary key as the database has it."""
        return str(value) if type(value) is ObjectId else key_text((value,))

    def told(self, db_name: str) -> tuple[Any, str]:
        """The field of a name in the database, and its path in the log."""
        found = self._told.get(db_name)
        if found is None:
            name = self.cls._reverse_db_field_map.get(db_name, db_name)
            found = self.cls._fields.get(name), join_path(name)
            if len(self._told) < _MOST_NAMES:  # a dynamic document may have any
                self._told[db_name] = found
        return found

    def is_taken(self, name: str, value: Any, id: Any) -> bool:
        """Whether a document with another id has that value in a field."""
        db_name = self.cls._db_field_map.get(name, name)
        criteria = {db_name: value} | ({} if id is None else {"_id": {"$ne": id}})
        return self.root._get_collection().find_one(criteria, {"_id": 1}) is not None  # type: ignore[attr-defined]

    def fitted(self, name: str, value: Any) -> Any:
        """An instant or an identifier in the form that a load would give it in.

        Raises ``ValueError`` for text that is no identifier of the field's type.
        """
        field = self.cls._fields.get(name)
        if isinstance(value, datetime) and isinstance(field, IntField):
            return int(value.timestamp())
        if field is None or value is None:
            return value
        try:
            if isinstance(field, ReferenceField | LazyReferenceField) and isinstance(value, str):
                of = field.document_type.id  # the reference itself takes any text
                of.validate(of.to_python(value))
            field.validate(field.to_python(value))
            stored = field.to_mongo(field.to_python(value))
            collection = self.cls._collection
            return field.to_python(as_stored({"value": stored}, collection)["value"])
        except (InvalidId, TypeError, ValidationError) as error:
            raise ValueError(f"{value!r} is no value of a {type(field).__name__}") from error

    def logged(self, changes: NetChanges, image: Image | None) -> dict[str, Delta]:
        """What a write changed, as it goes into the log: BSON values under attribute names."""
        found: dict[str, Delta] = {}
        for db_path, change in changes.items():
            old, new = change.old, change.new
            if "." not in db_path:
                field, path = self.told(db_path)
            else:
                names, field = path_of(self.cls, db_path, {} if image is None else image.son)
                path = join_path(*names)
            if isinstance(old, _CONTAINERS) or isinstance(new, _CONTAINERS):
                change = Change(logged(field, old), logged(field, new))
            found[path] = change
        return found

    def python(self, changes: NetChanges, image: Image | None, operation: Operation) -> ChangeSet:
        """What a write changed, as hooks see it: Python values, embedded documents by path."""
        found: dict[str, Delta] = {}
        for db_path, change in changes.items():
            path, field = path_of(self.cls, db_path, {} if image is None else image.son)
            old, new = python(field, change.old), python(field, change.new)
            if operation is Operation.UPDATE:
                none = without_value(field)
                found.update(
                    spread(
                        field,
                        path,
                        none if old is ABSENT else old,
                        none if new is ABSENT else new,
                    )
                )
            else:
                found[join_path(*path)] = Change(old, new)
        return ChangeSet(found, operation)


def is_unmarked(value: Any) -> bool:
    """Whether a value of the field that marks documents leaves them be, as far as is known."""
    return value is None or isinstance(value, Marker)


def named_within(name: str, field: Any, seen: frozenset[Any] = frozenset()) -> Iterator[Any]:
    """A field with its names, and all that are in the documents embedded in it."""
    yield name, field
    yield field.db_field or name, field
    inner = getattr(field, "field", None)
    if inner is not None:
        yield from named_within(name, inner, seen)
    if isinstance(field, EmbeddedDocumentField | GenericEmbeddedDocumentField):
        cls = getattr(field, "document_type", None)
        for embedded in () if cls is None or cls in seen else (cls, *cls.__subclasses__()):
            for one, below in embedded._fields.items():
                yield from named_within(one, below, seen | {cls})


def is_current(cls: Any) -> bool:
    """Whether no later class has taken the name, as when a class is defined again."""
    try:
        return get_document(cls._class_name) is cls
    except NotRegistered:
        return False


def document_classes() -> Iterator[Any]:
    """Every class there is that has documents, without those that were defined again since."""
    return (one for one in all_subclasses(Document) if is_concrete(one) and is_current(one))


class _AnyName(Collection[str]):
    """The field names of a dynamic document: those declared, and any other."""

    def __init__(self, declared: Collection[str]) -> None:
        self._declared = declared

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


class DocumentModels:
    """Works out a document class when it is first met, and checks what is declared on it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._models: dict[type, DocumentModel] = {}
        self._told: Final[WeakKeyDictionary[type, set[Hook]]] = WeakKeyDictionary()

    def get(self, cls: type) -> DocumentModel:
        """The model of a class.

        Raises ``HistoryError`` when it has no documents, and ``ConfigurationError`` when what is
        declared on it cannot work.
        """
        model = self._models.get(cls)
        if model is None:
            if not is_concrete(cls):
                raise HistoryError(
                    f"{cls.__module__}.{cls.__qualname__} has no documents of its own, so it has "
                    "no history: name a Document class that is not abstract"
                )
            model = self._checked(cls)
            self._services.entities.register(model.entity, model.root)
            self._models[cls] = model
            self._tell_of(cls)
        return model

    def concerned(self, cls: type) -> DocumentModel | None:
        """The model of a class; ``None`` when neither the log nor any hook wants it."""
        model = self._models.get(cls) or self.get(cls)
        if self._services.recorder.wants(model.policy) or self._services.dispatcher.plan(cls):
            return model
        return None

    def with_load_hooks(self, cls: type) -> DocumentModel | None:
        """The model of a class with hooks around loading; ``None`` for others."""
        self._tell_of(cls)
        plan = self._services.dispatcher.plan(cls)
        return self.get(cls) if {Moment.PRE_LOAD, Moment.POST_LOAD} & plan.keys() else None

    def check_declared(self, classes: Iterable[type]) -> None:
        """Check each of these that has hooks or a policy, before it is first used.

        Hooks that want to know of classes are told of each once. Raises ``ConfigurationError`` for
        the first one whose declarations cannot work.
        """
        for cls in classes:
            if not is_current(cls):
                continue
            declares = policy_of(cls) != Policy() or model_hooks(cls) or behaviours_of(cls)
            if declares and cls not in self._models:
                self._checked(cls)
            self._tell_of(cls)

    def _tell_of(self, cls: Any) -> None:
        told = self._told.setdefault(cls, set())
        for hook in self._services.dispatcher.plan(cls).get(Moment.LOAD_CLASS_METADATA, ()):
            if hook not in told:
                told.add(hook)
                model = self._models.get(cls) or DocumentModel(cls)
                call(hook, LoadClassMetadata(cls, model.entity, tuple(cls._fields)))

    def check(self, target: type) -> None:
        """Check every class a target covers. Raises as `check_declared` does."""
        for cls in all_subclasses(target):
            if cls not in self._models and is_concrete(cls) and is_current(cls):
                self._checked(cls)

    def _checked(self, cls: type) -> DocumentModel:
        model = DocumentModel(cls, self._services.masking)
        for hook in model_hooks(cls):
            if hook.is_async:
                raise HookDefinitionError(
                    f"{hook.name}, marked @{hook.mark.moment}, is async, and mongoengine would "
                    "never await it: write it as a plain function"
                )
        if not model.dynamic:
            check_fields(cls, model.policy, model.names)
        self._services.dispatcher.known(cls, model.names)
        return model
