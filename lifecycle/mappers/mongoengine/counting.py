"""Counting the versions of documents, and saving each only as the one that was loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mongoengine.errors import SaveConditionError

from lifecycle.errors import StaleVersion
from lifecycle.mappers.mongoengine.updates import touched
from lifecycle.versioning import version_of

__all__ = ["NEXT", "begin", "count_on", "counted", "inserted", "name_of", "updated"]

NEXT: Final = 1
"""What an update adds to a version."""


def name_of(cls: Any) -> str | None:
    """What the database calls the field that counts the versions of a class, if any does."""
    field = version_of(cls)
    return None if field is None else cls._db_field_map.get(field, field)


def counted(cls: Any, update: Any) -> Any:
    """An update past ``save``, which counts the version too, unless it sets it."""
    name, names = name_of(cls), touched(update)
    if name is None or not names or name in names:  # or it is a replacement, or may do anything
        return update
    if isinstance(update, list):
        return [*update, {"$set": {name: {"$add": [{"$ifNull": [f"${name}", 0]}, NEXT]}}}]
    return {**update, "$inc": {**update.get("$inc", {}), name: NEXT}}


def count_on(document: Any) -> None:
    """Note in memory that an update of just this document has counted its version."""
    field = version_of(type(document))
    if field is not None:
        document._data[field] = (document._data.get(field) or 0) + NEXT


def begin(document: Any) -> str | None:
    """Make a new document the first version; returns the field that was given one, if any."""
    field = version_of(type(document))
    if field is None or getattr(document, field) is not None:
        return None
    setattr(document, field, 1)
    return field


def inserted(step: Callable[..., Any], document: Any, doc: Any, *given: Any, **named: Any) -> Any:
    """Make the insert of a save, of version 1."""
    field = begin(document)
    if field is not None:
        doc[document._db_field_map.get(field, field)] = 1
    return step(document, doc, *given, **named)


def updated(
    step: Callable[..., Any],
    document: Any,
    doc: Any,
    save_condition: Any,
    *given: Any,
    **named: Any,
) -> Any:
    """Make the update of a save, of the next version.

    Raises ``StaleVersion`` when the document is not as it was loaded; then it was not written.
    """
    cls = type(document)
    field = version_of(cls)
    if field is None or not document._get_update_doc():
        return step(document, doc, save_condition, *given, **named)
    version = getattr(document, field)
    setattr(document, field, (version or 0) + 1)
    try:
        return step(document, doc, {**(save_condition or {}), field: version}, *given, **named)
    except BaseException as error:
        setattr(document, field, version)
        if save_condition is None and isinstance(error, SaveConditionError):
            raise StaleVersion(
                f"{cls.__qualname__} {document.pk} is no longer version {version}: somebody else "
                "has changed or deleted it since it was loaded, so it was not saved. Load it again"
            ) from error
        raise
