"""Edits in place that mongoengine does not notice: not saved, not recorded, and never silent.

It tracks the lists and dicts of most fields, but not every way to edit them: ``list.clear()``,
``dict |= …``, whatever lies in dynamic or geo fields, and in containers nested in the fields of a
dynamic document. After a save memory then holds what the database does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from mongoengine import fields as fields_
from mongoengine.base import ComplexBaseField

from lifecycle.changes import same
from lifecycle.errors import LostEditWarning, warn
from lifecycle.mappers.mongoengine.images import Image, image_of
from lifecycle.mappers.mongoengine.values import as_stored, copied
from lifecycle.markers import ABSENT

__all__ = ["warn_of_lost_edits"]

_EDITABLE: Final = (list, dict)


def warn_of_lost_edits(
    document: Any, son: dict[str, Any], era: object, subject: Callable[[], str]
) -> None:
    """Compare what memory holds, as SON, with what the database does after a save of it.

    Only lists and dicts can be edited in place. ``subject`` says in words which document it is.
    """
    image = image_of(document)
    if image is None or image.era is not era or image.son.get("_id", ABSENT) != son.get("_id"):
        return
    for db_name in _differing(image, son):
        field_name = document._reverse_db_field_map.get(db_name, db_name)
        field = document._fields.get(field_name) or document._dynamic_fields.get(field_name)
        if field is not None and _is_lost(field, image.son.get(db_name, ABSENT), son[db_name]):
            warn(
                f"a change of {field_name} of {subject()} was not saved, for it was made in place "
                "in a way that mongoengine does not notice: assign a new value to the field "
                "instead",
                LostEditWarning,
            )


def _differing(image: Image, son: dict[str, Any]) -> Iterator[str]:
    for db_name, value in son.items():
        if isinstance(value, _EDITABLE) and image.covers(db_name):
            stored = image.son.get(db_name, ABSENT)
            if (
                not _alike(stored, value)
                and (value or stored is not ABSENT)
                and db_name not in image.remade
            ):
                yield db_name


def _alike(stored: Any, value: Any) -> bool:
    """Whether two are equal; past the ``==`` of ``SON``, which takes both apart."""
    if isinstance(stored, dict) and isinstance(value, dict):
        return dict.__eq__(stored, value)
    return bool(stored == value)


def _is_lost(field: Any, stored: Any, value: Any) -> bool:
    """Whether a value differs from what a load of the stored one gives."""
    value = as_stored({"": value})[""]
    return not same(stored, value) and not _agree(stored, _loaded(field, stored), value)


def _agree(stored: Any, loaded: Any, value: Any) -> bool:
    """Whether two values are the same but for defaults, which may be others at every load."""
    if isinstance(loaded, dict) and isinstance(value, dict):
        known = stored if isinstance(stored, dict) else {}
        return loaded.keys() == value.keys() and all(
            _agree(known.get(key, ABSENT), loaded[key], value[key])
            if key in known or isinstance(value[key], list | dict)
            else True
            for key in value
        )
    if isinstance(loaded, list) and isinstance(value, list):
        items = [*(stored if isinstance(stored, list) else ()), *[ABSENT] * len(value)]
        return len(loaded) == len(value) and all(map(_agree, items, loaded, value))
    return same(loaded, value)


def _loaded(field: Any, stored: Any) -> Any:
    """What memory holds after a load: defaults are filled in, and values brought into shape."""
    if stored is ABSENT:
        loaded = field.default() if callable(field.default) else field.default
    elif _asks_the_server(field, stored):
        return stored
    else:
        loaded = field.to_python(copied(stored))
    return ABSENT if loaded is None else as_stored({"": field.to_mongo(loaded)})[""]


def _asks_the_server(field: Any, stored: Any) -> bool:
    """Whether making Python values of it may follow a reference."""
    while isinstance(field, ComplexBaseField) and field.field is not None:
        field = field.field
    return isinstance(field, fields_.CachedReferenceField) or _has_reference(stored)


def _has_reference(value: Any) -> bool:
    if isinstance(value, dict):
        return "_ref" in value or any(map(_has_reference, value.values()))
    return isinstance(value, list) and any(map(_has_reference, value))
