"""What a document is about to change, read from its own book-keeping, without any query."""

from __future__ import annotations

from typing import Any

from lifecycle.changes import Change, Delta, Operation
from lifecycle.mappers.mongoengine.documents import DocumentModel, NetChanges
from lifecycle.mappers.mongoengine.fields import python
from lifecycle.mappers.mongoengine.images import Image, applied, reached
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import ABSENT, UNKNOWN

__all__ = ["LiveDocument", "removed"]


def removed(document: Any, image: Image | None) -> NetChanges:
    """What deleting a document takes away; of a part that was not loaded, ``UNKNOWN``."""
    son = {} if image is None else image.son
    names = dict.fromkeys((*document._db_field_map.values(), *son))
    return {
        name: Change(son[name] if known else UNKNOWN, ABSENT)
        for name in names
        if not (known := image is not None and image.covers(name)) or name in son
    }


class LiveDocument:
    """A document about to be written, as a changeset sees it."""

    __slots__ = ("_document", "_image", "_model", "_operation")

    def __init__(
        self, model: DocumentModel, document: Any, operation: Operation, image: Image | None
    ) -> None:
        self._model = model
        self._document = document
        self._operation = operation
        self._image = image

    def read(self) -> dict[str, Delta]:
        """The document's changes as they are now."""
        if self._operation is Operation.DELETE:
            changes = removed(self._document, self._image)
            return dict(self._model.python(changes, self._image, Operation.DELETE))
        if self._operation is Operation.INSERT:
            return self._inserting()
        return self._updating()

    def write(self, field: str, value: Any) -> None:
        """Set an attribute. Raises ``LookupError`` for a name that is no field."""
        model = self._model
        if field not in model.names:
            raise LookupError(
                f"{model.cls.__qualname__} has no field {field!r}; "
                f"it has {', '.join(sorted(model.names))}"
            )
        setattr(self._document, field, value)

    def is_taken(self, field: str, value: Any) -> bool:
        """Whether another document of the model has that value."""
        return self._model.is_taken(field, value, self._model.id_of(self._document))

    def fitted(self, field: str, value: Any) -> Any:
        """A value in the form that the field has it in."""
        return self._model.fitted(field, value)

    def _inserting(self) -> dict[str, Delta]:
        found: dict[str, Delta] = {}
        for name in self._document._fields_ordered:
            value = self._python(name)
            if value is not ABSENT:
                found[name] = Change(ABSENT, value)
        return found

    def _updating(self) -> dict[str, Delta]:
        by_name: dict[str, list[str]] = {}
        for path in self._document._get_changed_fields():
            by_name.setdefault(path.partition(".")[0], []).append(path)
        found: dict[str, Delta] = {}
        for db_name, paths in by_name.items():
            found |= self._compared(db_name, paths)
        if not found and self._image is not None and self._image.noted is not None:
            # What is assigned may be what the database has, and not what a load hook has made of
            # it: then it is to be written, with the rest of that.
            names = self._document._reverse_db_field_map
            for db_name in self._image.remade & by_name.keys():
                name = names.get(db_name, db_name)
                found[name] = Change(UNKNOWN, self._document._data.get(name))
        return found

    def _compared(self, db_name: str, paths: list[str]) -> dict[str, Delta]:
        """One field's changes: as a whole when all of it was loaded, else just the paths."""
        name = self._document._reverse_db_field_map.get(db_name, db_name)
        try:
            new = {db_name: self._stored(name)}
        except Exception:  # see _python
            return {name: Change(self._old(db_name), self._document._data.get(name))}
        changes = {path: Change(self._old(path), reached(new, path.split("."))) for path in paths}
        if self._image is not None and self._image.covers(db_name):
            after = _changed(self._image, changes).at(db_name)
            changes = {db_name: Change(self._image.at(db_name), after)}
        return dict(self._model.python(changes, self._image, Operation.UPDATE))

    def _old(self, path: str) -> Any:
        return UNKNOWN if self._image is None else self._image.at(path)

    def _python(self, name: str) -> Any:
        """A field's value as it would be written, in Python types; ``ABSENT`` for none."""
        try:
            stored = self._stored(name)
        except Exception:
            # Hooks run before validation, and may be there to set right what is wrong: they see
            # a value that cannot be written as it is, and validation says what is wrong with it.
            return self._document._data.get(name)
        return python(self._field(name), stored)

    def _stored(self, name: str) -> Any:
        field, value = self._field(name), self._document._data.get(name)
        if value is None:
            return None if field is not None and field.null else ABSENT
        value = value if field is None else field.to_mongo(value)
        return as_stored({"value": value}, self._document._collection)["value"]

    def _field(self, name: str) -> Any:
        return self._document._fields.get(name) or self._document._dynamic_fields.get(name)


def _changed(image: Image, changes: NetChanges) -> Image:
    """What the database will hold when it is told of these changes, and of no other."""
    sets = {path: change.new for path, change in changes.items() if change.new is not ABSENT}
    return applied(image, sets, changes.keys() - sets.keys())
