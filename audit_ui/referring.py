"""What values mean: of a key, what its object was called then; of a choice, its name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from lifecycle.audit.records import Position
from lifecycle.audit.store import Asked, Glimpse, Query
from lifecycle.changes import Change, ChangeSet, SetEdit
from lifecycle.errors import HistoryError
from lifecycle.markers import Marker, is_hidden
from lifecycle.relations import Pointer, Relation

__all__ = [
    "MOST",
    "NOWHERE",
    "Known",
    "Leading",
    "Leads",
    "Models",
    "Remembered",
    "Target",
    "asked_for",
    "named",
]

MOST: Final = 20
"""How many objects are named on one page of a store that does not look up many at once."""

_LAST_N: Final = 2**31 - 1


class Models(Protocol):
    """What knows where objects point to, as `Lifecycle.models` does."""

    def pointers(self, entity: str | None = None, *, source: str | None = None) -> list[Pointer]:
        """By foreign keys and references."""
        ...

    def relation(self, entity: str, name: str) -> Relation:
        """By a relationship; raises ``HistoryError`` for none."""
        ...

    def choices(self, entity: str) -> dict[str, dict[Any, str]]:
        """What people call the values of fields that have choices."""
        ...


class Remembered:
    """Models that are asked once about each entity, as for the time of one request."""

    def __init__(self, models: Models) -> None:
        self._models: Final = models
        self._sources: Final[dict[str | None, list[Pointer]]] = {}
        self._relations: Final[dict[tuple[str, str], Relation | HistoryError]] = {}
        self._choices: Final[dict[str, dict[str, dict[Any, str]]]] = {}

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

    def choices(self, entity: str) -> dict[str, dict[Any, str]]:
        if entity not in self._choices:
            self._choices[entity] = self._models.choices(entity)
        return self._choices[entity]


class Target(NamedTuple):
    """An object that a value refers to, and the revision as of which it is looked at."""

    entity: str
    key: str
    seq: int


class Leads:
    """What the values of a changeset mean: what they refer to, and what people call them."""

    def target(self, path: tuple[str, ...], value: Any, *, after: bool) -> Target | None:
        """What a value at a path refers to, before the change or after."""
        return None

    def word(self, path: tuple[str, ...], value: Any) -> str:
        """What people call a value at a path; an empty text where that is not known."""
        return ""


NOWHERE: Final = Leads()
"""Of objects of which nothing is known."""

Leading: TypeAlias = Callable[[ChangeSet], Leads]
"""Tells of a changeset what its values mean."""


class Known(Leads):
    """As the models have it, by the revisions a changeset begins and ends with.

    A reference of several fields is told at its last one, where the changes have all of them.
    """

    def __init__(
        self, models: Models, entity: str, before: int, after: int, changes: ChangeSet
    ) -> None:
        self._models: Final = models
        self._entity: Final = entity
        self._seqs: Final = (before, after)
        self._pointers: Final = {one.fields[-1]: one for one in models.pointers(source=entity)}
        self._choices: Final = models.choices(entity)
        self._sides: Final[tuple[dict[str, Any], dict[str, Any]]] = ({}, {})
        self._collections: Final = {
            name for name, delta in changes.items() if isinstance(delta, SetEdit)
        }
        for name, delta in changes.items():
            if isinstance(delta, Change):
                self._sides[False][name], self._sides[True][name] = delta.old, delta.new

    def target(self, path: tuple[str, ...], value: Any, *, after: bool) -> Target | None:
        name, seq = path[0], self._seqs[after]
        if _is_none(value) or not _is_whole(path):
            return None
        if name in self._collections:
            return _member(self._models, self._entity, name, value, seq)
        pointer = self._pointers.get(name)
        if pointer is None:
            return None
        held = {**self._sides[after], name: value}
        if any(field not in held for field in pointer.fields):
            return None
        keys = _keys(pointer, held)
        return Target(pointer.target, keys[0], seq) if len(keys) == 1 else None

    def word(self, path: tuple[str, ...], value: Any) -> str:
        labels = self._choices.get(path[0])
        if not labels or _is_none(value) or not _is_whole(path):
            return ""
        values = value if isinstance(value, list) else [value]
        words = [labels.get(one, "") for one in values if isinstance(one, Hashable)]
        return ", ".join(filter(None, words))


def _is_whole(path: tuple[str, ...]) -> bool:
    """Whether it is a field, or an element of a list in one; what lies deeper is a value's part."""
    return all(part.isdecimal() for part in path[1:])


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
