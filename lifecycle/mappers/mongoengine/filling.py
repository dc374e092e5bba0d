"""What behaviours set in updates that pass ``save`` by, for which no hook runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.mappers.mongoengine.updates import assigned, touched
from lifecycle.markers import UNKNOWN

__all__ = ["UPDATES", "filled"]

UPDATES: Final = frozenset({"find_one_and_update", "update_many", "update_one"})
"""The methods of a collection whose update can be added to."""


def filled(
    cls: Any, given: Mapping[str, Any], fill: Callable[[type, ChangeSet], dict[str, Any]]
) -> Any:
    """The update of a call with what is to be set besides, also where it inserts."""
    update = given["update"]
    names = touched(update)
    if names is None:  # a replacement, or a stage that may do anything
        return update
    values, fields = assigned(update), cls._reverse_db_field_map
    changes = {fields.get(name, name): Change(UNKNOWN, values.get(name, UNKNOWN)) for name in names}
    sets = _stored(cls, fill(cls, ChangeSet(changes)))
    if isinstance(update, list):
        return [*update, {"$set": sets}] if sets else update
    inserts: dict[str, Any] = {}
    if given.get("upsert"):
        of_insert = fill(cls, ChangeSet(changes, Operation.INSERT))
        inserts = {
            name: value for name, value in _stored(cls, of_insert).items() if name not in sets
        }
    parts = {"$set": sets, "$setOnInsert": inserts}
    more = {operator: {**update.get(operator, {}), **one} for operator, one in parts.items() if one}
    return {**update, **more}


def _stored(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        cls._db_field_map.get(name, name): cls._fields[name].to_mongo(value)
        if name in cls._fields
        else value
        for name, value in values.items()
    }
