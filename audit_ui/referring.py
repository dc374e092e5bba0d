"""References as they read then: beside a key, what the object it leads to called itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from lifecycle.audit.records import Position
from lifecycle.audit.store import Asked, Glimpse, Query
from lifecycle.changes import Change, ChangeSet, SetEdit
from lifecycle.errors import HistoryError
from lifecycle.markers import Marker, is_hidden
from lifecycle.relations import Pointer, Relation

__all__ = [
    "MOST",
    "Leading",
    "Leads",
    "Models",
    "Remembered",
    "Target",
    "asked_for",
    "leads",
    "leads_nowhere",
    "named",
]

MOST: Final = 20
"""How many objects are named on one page."""

_LAST_N: Final = 2**31 - 1


class Models(Protocol):
    """What knows where objects point to, as a Lifecycle does."""

    def pointers(self, entity: str | None = None, *, source: str | None = None) -> list[Pointer]:
        """By foreign keys and references."""
        ...

    def relation(self, entity: str, name: str) -> Relation:
        """By a relationship; raises ``HistoryError`` for none."""
        ...


class Remembered:
    """Models that are asked once about each entity, as for the time of one request."""

    def __init__(self, models: Models) -> None:
        self._models: Final = models
        self._sources: Final[dict[str | None, list[Pointer]]] = {}
        self._relations: Final[dict[tuple[str, str], Relation | HistoryError]] = {}

    def pointers(self, entity: str | None = None, *, source: str | None = None) -> list[Pointer]:
        if entity is not None:
            return self._models.pointers(entity, source=source)
        if source not in self._sources:
            self._sources[source] = self._models.pointers(source=source)
        return self._sources[source]

    def relation(self, entity: str, name: str) -> Relation:
        known = self._relations.get((entity, name))
        if known is None:
            try:
                known = self._models.relation(entity, name)
            except HistoryError as error:
                known = error
            self._relations[entity, name] = known
        if isinstance(known, HistoryError):
            raise known
        return known


class Target(NamedTuple):
    """An object that a value refers to, and the revision as of which it is looked at."""

    entity: str
    key: str
    seq: int


Leads: TypeAlias = Callable[[tuple[str, ...], Any, bool], Target | None]
"""``leads(path, value, after)``: what a value at a path refers to, before the change or after."""


Leading: TypeAlias = Callable[[ChangeSet], Leads]
"""Tells of a changeset what its values refer to."""


def leads_nowhere(path: tuple[str, ...], value: Any, after: bool) -> Target | None:
    """Of objects that refer to nothing, as far as is known."""
    return None


def leads(models: Models, entity: str, before: int, after: int, changes: ChangeSet) -> Leads:
    """What the values of a changeset refer to, as of the revisions it begins and ends with.

    A reference of several fields is told at its last one, where the changes have all of them.
    """
    pointers = {one.fields[-1]: one for one in models.pointers(source=entity)}
    sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    collections = {name for name, delta in changes.items() if isinstance(delta, SetEdit)}
    for name, delta in changes.items():
        if isinstance(delta, Change):
            sides[False][name], sides[True][name] = delta.old, delta.new

    def lead(path: tuple[str, ...], value: Any, later: bool) -> Target | None:
        name, seq = path[0], after if later else before
        if _is_none(value) or not all(part.isdecimal() for part in path[1:]):
            return None  # a reference is a field, or an element of a list in one
        if name in collections:
            return _member(models, entity, name, value, seq)
        pointer = pointers.get(name)
        if pointer is None:
            return None
        held = {**sides[later], name: value}
        if any(field not in held for field in pointer.fields):
            return None
        keys = _keys(pointer, held)
        return Target(pointer.target, keys[0], seq) if len(keys) == 1 else None

    return lead


def _is_none(value: Any) -> bool:
    return value is None or isinstance(value, Marker) or is_hidden(value)


def _keys(pointer: Pointer, values: Mapping[str, Any]) -> list[str]:
    try:
        return list(pointer.keys(values))
    except (AttributeError, HistoryError, LookupError, TypeError, ValueError):  # no key's value
        return []


def _member(models: Models, entity: str, name: str, value: Any, seq: int) -> Target | None:
    """What an element of a many-to-many collection refers to, which is a set of keys."""
    try:
        relation = models.relation(entity, name)
    except HistoryError:
        return None
    is_of_keys = relation.keys is not None and relation.fields == (name,)
    return Target(relation.target, str(value), seq) if is_of_keys else None


def asked_for(target: Target) -> Asked:
    """The newest record of a target that its revision, or an earlier one, holds."""
    upto = Position(target.seq, _LAST_N)
    return Asked(Query(entity=target.entity, key=target.key, upto=upto))


def named(targets: Sequence[Target], found: Iterable[Glimpse | None]) -> dict[Target, str]:
    """What each target that is recorded called itself; its entity and key where it had no name."""
    return {
        target: one.label or f"{target.entity} {target.key}"
        for target, one in zip(targets, found, strict=True)
        if one is not None
    }
