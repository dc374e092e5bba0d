"""Replaying the log: the states that records, one after the other, lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

from lifecycle.audit.format import advanced, load
from lifecycle.audit.records import Position
from lifecycle.audit.store import Entry
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation, SetEdit, split_path
from lifecycle.errors import ConflictError, HistoryError
from lifecycle.markers import UNKNOWN

__all__ = ["Replay", "Source", "State", "may_have_changed"]


class Source(Protocol):
    """Finds what an object was related to when it was as its state tells."""

    def related(self, state: State, name: str) -> list[State]:
        """The states of the objects a relationship led to, at the time of the state."""
        ...

    def name(self, entity: str, entry: Entry) -> str:
        """How messages name an entry's record."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An object as it stood at some time: its fields' values as the log holds them.

    ``position`` is that of its last change by then. ``complete`` is false when the log does not
    reach back to the object's insert; fields that have not changed since are then missing from
    ``values``.
    """

    entity: str
    key: str
    values: Mapping[str, Any]
    label: str | None
    position: Position
    complete: bool
    upto: Position | None = field(default=None, repr=False, compare=False)
    source: Source | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, field: str) -> Any:
        return self.values[field]

    def related(self, name: str) -> list[State]:
        """The objects that a relationship of the model led to at that time, as they then stood.

        A relationship to many whose rows hold the key reads every record of their model up to then.
        Raises ``HistoryError`` for what is no relationship of the model, or of no model, and where
        the log does not hold the fields it goes by.
        """
        if self.source is None:
            raise HistoryError(f"this state of {self.entity} {self.key} was not read from a log")
        return self.source.related(self, name)


class _Object:
    """One object on its way through the log; ``state`` is what has been told of it so far."""

    __slots__ = ("complete", "last", "state", "values")

    last: Entry

    def __init__(self, *, complete: bool) -> None:
        self.values: dict[str, Any] = {}
        self.complete = complete
        self.state: State | None = None

    def own_values(self) -> dict[str, Any]:
        """The values, not shared with a state that was given out."""
        if self.state is not None:
            self.values, self.state = dict(self.values), None
        return self.values


class Replay:
    """The objects of one entity as they stand after the entries taken so far, oldest first."""

    def __init__(self, entity: str, source: Source) -> None:
        self._entity: Final = entity
        self._source: Final = source
        self._objects: Final[dict[str, _Object]] = {}

    def take(self, entry: Entry) -> None:
        """Let the next entry have its effect. Raises ``HistoryError`` where it does not fit."""
        operation = entry.operation
        if operation == "bulk":
            changes = self._changes(entry)
            for one in self._objects.values():
                _blur(one, changes)
            return
        before = self._objects.pop(entry.former_key or entry.key, None)
        if operation == "delete":
            return
        if before is None or operation == "insert":
            before = _Object(complete=operation == "insert")
        values = before.own_values() if before.state is not None else before.values
        if not advanced(values, entry.changes, operation == "insert", entry.format):
            before.values = self._patched(before, entry)
        before.last = entry
        self._objects[entry.key] = before

    def _patched(self, before: _Object, entry: Entry) -> dict[str, Any]:
        changes = self._changes(entry)
        for path, delta in changes.items():
            # A field not seen yet has some value, so edits of it leave it unknown; but for the set
            # of an object seen from its insert, which began empty.
            if not (before.complete and isinstance(delta, SetEdit)):
                before.values.setdefault(split_path(path)[0], UNKNOWN)
        try:
            return changes.applied_to(before.values)
        except ConflictError as error:
            raise HistoryError(
                f"{self._source.name(self._entity, entry)} does not fit what the log has before "
                f"it ({error}): a write in between was not recorded"
            ) from error

    def _changes(self, entry: Entry) -> ChangeSet:
        try:
            return load(entry.changes, Operation(entry.operation), entry.format)
        except HistoryError as error:
            name = self._source.name(self._entity, entry)
            raise HistoryError(f"{name} cannot be read: {error}") from error

    def states(self, upto: Position | None) -> dict[str, State]:
        """Every object, by key, as it stands now, at a position."""
        return {key: self._state(key, one, upto) for key, one in self._objects.items()}

    def _state(self, key: str, one: _Object, upto: Position | None) -> State:
        if one.state is None or one.state.upto != upto:
            one.state = State(
                entity=self._entity,
                key=key,
                values=MappingProxyType(one.values),
                label=one.last.label,
                position=Position(one.last.seq, one.last.n),
                complete=one.complete,
                upto=upto,
                source=self._source,
            )
        return one.state


def may_have_changed(record_of_statement: ChangeSet, field: str) -> bool:
    """Whether a statement that did not tell its rows apart may have changed a field of some row."""
    changes = record_of_statement
    if changes.get("$verb") == Change(ABSENT, "insert"):
        return False
    # A DELETE sets none, and may have taken the object away.
    return field in changes or all(path.startswith("$") for path in changes)


def _blur(one: _Object, changes: ChangeSet) -> None:
    """Leave what is known of an object after a statement that may have changed it or not."""
    values = one.own_values()
    for name in values:
        if may_have_changed(changes, name):
            values[name] = UNKNOWN
