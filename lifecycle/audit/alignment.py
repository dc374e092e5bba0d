"""Recorded changes and values beside what the database holds of the same object now."""

from __future__ import annotations

from typing import Any

from lifecycle.changes import ChangeSet, Delta, SetEdit, same, split_path, value_at
from lifecycle.deltas import Change
from lifecycle.markers import ABSENT, Marker, is_hidden
from lifecycle.restoring import Shape, Values

__all__ = [
    "aligned",
    "alike",
    "brought",
    "by_field",
    "delta_aligned",
    "effective",
    "is_reached",
    "is_untold",
]


def brought(changes: ChangeSet) -> dict[str, Any]:
    """The values an insert brings; a collection, which began empty, as the set of its keys."""
    return {
        path: delta.added if isinstance(delta, SetEdit) else value
        for path, delta in changes.items()
        if (value := delta.new if isinstance(delta, Change) else None) is not ABSENT
    }


def by_field(changes: ChangeSet) -> dict[str, dict[str, Delta]]:
    """The deltas at each field and inside of it, by their paths."""
    found: dict[str, dict[str, Delta]] = {}
    for path, delta in changes.items():
        found.setdefault(split_path(path)[0], {})[path] = delta
    return found


def is_untold(delta: Delta) -> bool:
    """Whether the log does not hold the value a delta leads to."""
    return isinstance(delta, Change) and is_hidden(delta.new)


def effective(delta: Delta, live: Values, path: str) -> Delta:
    """Of a set, what is still to be added and removed: its elements do not depend on each other."""
    found = value_at(live, path)
    if isinstance(delta, SetEdit) and isinstance(found, set | frozenset):
        return SetEdit(delta.added - found, delta.removed & found)
    return delta


def is_reached(delta: Delta, live: Values, path: str) -> bool:
    """Whether a value is already what a delta would make it."""
    if isinstance(delta, SetEdit):
        return not delta.added and not delta.removed
    return isinstance(delta, Change) and same(value_at(live, path), delta.new)


def alike(one: Any, other: Any) -> bool:
    """Whether two values are the same; that no value and an empty collection are is a rule."""
    if isinstance(one, frozenset) or isinstance(other, frozenset):
        return (one or frozenset()) == (other or frozenset())
    return same(one, other)


def aligned(shape: Shape, live: Values, name: str, value: Any) -> Any:
    """A recorded value as the database holds it, where it holds the same one stored differently."""
    alike, found = shape.alike.get(name), live.get(name)
    if shape.sparse and _is_empty(value) and _is_empty(live.get(name, ABSENT)):
        return live.get(name, ABSENT)
    if alike is None or value is None or found is None or isinstance(value, Marker):
        return value
    return found if not isinstance(found, Marker) and alike(found, value) else value


def _is_empty(value: Any) -> bool:
    """Whether a document with this value reads like one without the field."""
    return value is None or value is ABSENT or (isinstance(value, list | dict) and not value)


def delta_aligned(shape: Shape, live: Values, name: str, delta: Delta) -> Delta:
    """A change of a whole field with its values `aligned`."""
    if not isinstance(delta, Change) or not (name in shape.alike or shape.sparse):
        return delta
    return Change(aligned(shape, live, name, delta.old), aligned(shape, live, name, delta.new))
