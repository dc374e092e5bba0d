"""Objects as the log leaves them, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

from lifecycle.audit.format import advanced, load
from lifecycle.audit.ledger import Ledger
from lifecycle.audit.store import Entry
from lifecycle.changes import Operation, SetEdit, split_path
from lifecycle.errors import ConflictError, HistoryError
from lifecycle.markers import UNKNOWN

__all__ = ["Left", "LeftObjects", "Lefts"]


class Left:
    """An object as the log leaves it.

    ``complete`` says whether the log has its insert. ``text`` is that of its insert while nothing
    else is known of it: the values are worked out when they are first needed.
    """

    __slots__ = ("_values", "complete", "last", "text")

    def __init__(self, last: Entry) -> None:
        self.last = last
        self.complete = last.operation == "insert"
        self.text: str | None = last.changes if self.complete else None
        self._values: dict[str, Any] = {}
        if not self.complete:
            self.advance(last)

    @property
    def place(self) -> tuple[int, int]:
        """That of its last record."""
        return self.last.seq, self.last.n

    @property
    def values(self) -> dict[str, Any]:
        """What the log has of its fields."""
        if self.text is not None:
            text, self.text = self.text, None
            if not advanced(self._values, text, True, self.last.format):
                inserted = load(text, Operation.INSERT, self.last.format)
                self._values = inserted.applied_to({})
        return self._values

    def advance(self, entry: Entry) -> None:
        """Let an update have its effect. Raises ``HistoryError`` where it does not fit."""
        values = self.values
        self.last = entry
        if advanced(values, entry.changes, False, entry.format):
            return
        changes = load(entry.changes, Operation(entry.operation), entry.format)
        for path, delta in changes.items():
            if not (self.complete and isinstance(delta, SetEdit)):
                values.setdefault(split_path(path)[0], UNKNOWN)
        try:
            self._values = changes.applied_to(values)
        except ConflictError as error:
            raise HistoryError(
                f"record {entry.n} of revision {entry.seq}, of key {entry.key}, does not fit what "
                f"the log has before it ({error}): a write in between was not recorded"
            ) from error


Lefts: TypeAlias = dict[str, Left | None]
"""By key; ``None`` for those that are gone by the log."""


class LeftObjects:
    """Reads from a ledger what the log leaves of some objects."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger: Final = ledger

    def of_all(self, objects: Iterable[tuple[str, str]]) -> dict[str, Lefts]:
        """The same for objects of several entities, given by entity and key."""
        keys: dict[str, list[str]] = {}
        for entity, key in objects:
            keys.setdefault(entity, []).append(key)
        return {entity: self.of(entity, some) for entity, some in keys.items()}

    def of(self, entity: str, keys: Sequence[str]) -> Lefts:
        """What is left of some objects; of those that were never there nothing is told.

        Raises ``HistoryError`` for a log that contradicts itself, and as the store does.
        """
        found: Lefts = {}
        if not keys:
            return found
        tangled: set[str] = set()
        for entry in self._ledger.of_objects(entity, keys):
            key = entry.key
            if entry.former_key is not None:
                tangled.update((key, entry.former_key))
            elif entry.operation == "insert":
                found[key] = Left(entry)
            elif entry.operation == "delete":
                found[key] = None
            elif entry.operation == "update":
                before = found.get(key)
                if before is None:
                    found[key] = Left(entry)
                else:
                    before.advance(entry)
        for key in tangled.intersection(keys):
            found[key] = self._followed(entity, key)
        return found

    def _followed(self, entity: str, key: str) -> Left | None:
        """An object whose key was changed, by all it was called."""
        chain: list[Entry] = []
        upto: tuple[int, int] | None = None
        while True:
            entries = [
                entry
                for entry in self._ledger.of_objects(entity, [key])
                if upto is None or (entry.seq, entry.n) < upto
            ]
            moved_in = None
            for entry in reversed(entries):
                if entry.former_key == key and entry.key != key:
                    return _replayed(chain)
                if entry.operation == "delete":
                    return _replayed(chain)
                chain.append(entry)
                if entry.operation == "insert":
                    return _replayed(chain)
                if entry.former_key is not None:
                    moved_in = entry
                    break
            if moved_in is None or moved_in.former_key is None:
                return _replayed(chain)
            key, upto = moved_in.former_key, (moved_in.seq, moved_in.n)


def _replayed(newest_first: Sequence[Entry]) -> Left | None:
    if not newest_first:
        return None
    left = Left(newest_first[-1])
    for entry in islice(reversed(newest_first), 1, None):
        left.advance(entry)
    return left
