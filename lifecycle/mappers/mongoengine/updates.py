"""Update documents and filters: what they change, what can be foretold, and their text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import UNKNOWN

__all__ = [
    "Names",
    "assigned",
    "computed",
    "computing",
    "is_positional",
    "not_told",
    "text_of",
    "touched",
]

Names: TypeAlias = frozenset[str] | None
"""Fields of a document, in the database's names; ``None`` for all there may be."""

_ASSIGNING: Final = frozenset({"$set", "$addFields"})
_LONGEST: Final = 10_000


def touched(update: Any) -> Names:
    """The fields an update may change, as far as it tells: of operators, or of a pipeline."""
    if isinstance(update, Mapping):
        return _touched_by_operators(update)
    if isinstance(update, list):
        return _touched_by_stages(update)
    return None


def _touched_by_operators(update: Mapping[str, Any]) -> Names:
    found: set[str] = set()
    for operator, paths in update.items():
        if not operator.startswith("$") or not isinstance(paths, Mapping):
            return None
        found.update(paths)
        if operator == "$rename":
            found.update(path for path in paths.values() if isinstance(path, str))
    return frozenset(_first(found))


def _touched_by_stages(stages: list[Any]) -> Names:
    found: set[str] = set()
    for stage in stages:
        if not isinstance(stage, Mapping):
            return None
        for operator, what in stage.items():
            if operator in _ASSIGNING and isinstance(what, Mapping):
                found.update(what)
            elif operator == "$unset":
                found.update([what] if isinstance(what, str) else what)
            else:
                return None
    return frozenset(_first(found))


def _first(paths: Iterable[str]) -> Iterable[str]:
    return (path.partition(".")[0] for path in paths)


def is_positional(update: Any) -> bool:
    """Whether an update changes the elements of lists that its filter has found."""
    return isinstance(update, Mapping) and any(
        "$" in path.split(".")
        for paths in update.values()
        if isinstance(paths, Mapping)
        for path in paths
    )


def computed(before: dict[str, Any], update: Any, collection: Any) -> dict[str, Any] | None:
    """What an update of whole fields makes of a document; ``None`` when only the server knows."""
    compute = computing(update, collection)
    return None if compute is None else compute(before)


def computing(update: Any, collection: Any) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """What gives what an update of whole fields makes of any document, as `computed` does."""
    if not isinstance(update, Mapping) or not update.keys() <= {"$set", "$unset", "$setOnInsert"}:
        return None
    sets, unsets = update.get("$set", {}), update.get("$unset", {})
    if any("." in path for path in (*sets, *unsets)):
        return None
    stored = as_stored(sets, collection)

    def compute(before: dict[str, Any]) -> dict[str, Any]:
        after = {**before, **stored}
        return {name: one for name, one in after.items() if name not in unsets} if unsets else after

    return compute


def not_told(before: dict[str, Any], update: Any) -> dict[str, Any]:
    """A document after an update of which only the server knows what it makes."""
    names = touched(update)
    unknown = dict.fromkeys(before if names is None else names, UNKNOWN)
    return {**before, **unknown, "_id": before["_id"]}


def assigned(update: Any) -> dict[str, Any]:
    """The whole fields that an update sets to a value it tells."""
    sets = update.get("$set", {}) if isinstance(update, Mapping) else {}
    return {path: value for path, value in sets.items() if "." not in path}


# --- their text, in which no value is --------------------------------------------------------


def text_of(name: str, collection: Any, given: Mapping[str, Any]) -> str:
    """What is called on a collection, without its values, which may be secrets."""
    parts = [f"{collection.name}.{name}"]
    if isinstance(given.get("filter"), Mapping):
        parts.append(_criteria(given["filter"]))
    update = given.get("update")
    if isinstance(update, Mapping):
        parts.append(_operators(update))
    elif isinstance(update, list):
        parts += [_operators(stage) for stage in update if isinstance(stage, Mapping)]
    return " ".join(parts)[:_LONGEST]


def _criteria(filter: Any) -> str:
    return _object(filter, _criterion) if isinstance(filter, Mapping) else "?"


def _criterion(key: str, value: Any) -> str:
    if key.startswith("$") and isinstance(value, list | tuple):
        return "[" + ", ".join(map(_criteria, value)) + "]"
    if isinstance(value, Mapping) and value and all(str(one).startswith("$") for one in value):
        return _criteria(value)
    return "?"


def _operators(update: Mapping[str, Any]) -> str:
    return _object(update, _paths)


def _paths(operator: str, paths: Any) -> str:
    """What an operator works on: values may have keys that are values too."""
    if isinstance(paths, Mapping) and not any(str(path).startswith("$") for path in paths):
        return _object(paths, lambda *_: "?")
    return "?"


def _object(pairs: Mapping[str, Any], tell: Callable[[str, Any], str]) -> str:
    told = (f"{json.dumps(str(key))}: {tell(str(key), value)}" for key, value in pairs.items())
    return "{" + ", ".join(told) + "}"
