"""Comparing the log with the database it tells of: what was written past it?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

from msgspec import Struct, field

from lifecycle import codec
from lifecycle.audit.format import advanced, load
from lifecycle.audit.ledger import Ledger, ledger_of
from lifecycle.audit.likeness import alike
from lifecycle.audit.progress import Progress
from lifecycle.audit.recorder import recordable
from lifecycle.audit.records import Position, Record, Revision
from lifecycle.audit.store import AuditStore, Entry, Query
from lifecycle.changes import (
    Change,
    ChangeSet,
    Delta,
    Operation,
    SetEdit,
    join_path,
    split_path,
)
from lifecycle.context import current
from lifecycle.errors import ConflictError, HistoryError
from lifecycle.markers import ABSENT, UNKNOWN, is_hidden
from lifecycle.uuids import uuid7
from lifecycle.written import Written

__all__ = ["EXTERNAL", "Comparison", "Difference", "compare"]

EXTERNAL: Final = "external"
"""The cause of records of what was written past the log."""

_MOST: Final = 1_000
_KEYS: Final = 500
_BATCH: Final = 500


class LiveRows(Protocol):
    """Some rows as inserts that would make them, and how to read them again."""

    @property
    def written(self) -> list[Written]: ...
    @property
    def again(self) -> Callable[[], list[Written]]: ...


class Live(Protocol):
    """A table or collection as it is now."""

    @property
    def entity(self) -> str: ...
    @property
    def is_whole(self) -> bool: ...
    @property
    def has_all(self) -> bool: ...
    @property
    def place(self) -> str: ...
    @property
    def rows(self) -> Iterator[LiveRows] | None: ...
    @property
    def collections(self) -> tuple[tuple[str, str], ...]: ...


class Difference(Struct, frozen=True, kw_only=True):
    """One object that is not as the log tells: ``inserted``, ``altered`` or ``deleted`` past it.

    ``fields`` are those that differ. No value is told.
    """

    what: str
    entity: str
    key: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f": {', '.join(self.fields)}" if self.fields else ""
        return f"{self.what} past the log: {self.entity} {self.key}{named}"


class Comparison(Struct, kw_only=True):
    """What a comparison saw; ``differences`` are the first thousand, ``found`` counts all.

    ``unknown`` counts rows the log cannot tell, for a statement was recorded as a whole.
    ``elsewhere`` are tables with recorded objects that are not in the database at hand.
    """

    rows: int = 0
    objects: int = 0
    unknown: int = 0
    found: int = 0
    recorded: int = 0
    elsewhere: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether the database is as the log tells."""
        return not self.found


class _State:
    """An object as the log leaves it."""

    __slots__ = ("complete", "last", "single", "values")

    def __init__(self, last: Entry, complete: bool) -> None:
        self.last = last
        self.complete = complete
        self.single: str | None = None
        self.values: dict[str, Any] = {}


def compare(
    store: AuditStore,
    live: Iterable[Live],
    *,
    record: bool = False,
    progress: Progress = lambda done: None,
) -> Comparison:
    """Replay the log and compare it with what is in the database now.

    Rows are read in chunks, in flat memory; what changes meanwhile is looked at again. With
    ``record`` each difference is recorded as a change by nobody, with the cause ``external``, so
    that the log agrees from then on. Values that are masked, excluded, erased or unknown are not
    compared. Raises ``ConfigurationError`` for a store that cannot be asked so, ``HistoryError``
    for a log that contradicts itself, and what the databases raise.
    """
    return _Comparing(store, ledger_of(store), record, progress).run(live)


class _Comparing:
    def __init__(self, store: AuditStore, ledger: Ledger, record: bool, progress: Progress) -> None:
        self._store = store
        self._ledger = ledger
        self._record = record
        self._progress = progress
        self._result = Comparison()
        self._changes: list[tuple[str, str, ChangeSet]] = []
        self._pruned = any(entry.kind == "prune" for entry in ledger.entries())
        newest = store.page(Query(), limit=1).records
        self._began = newest[0].position if newest else Position(0, 0)

    def run(self, live: Iterable[Live]) -> Comparison:
        """Everything there is, and then everything there should be."""
        with TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/seen")) as seen:
            seen.execute("PRAGMA journal_mode = OFF")
            seen.execute("CREATE TABLE seen (entity, key, PRIMARY KEY (entity, key)) WITHOUT ROWID")
            seen.execute(
                "CREATE TABLE member (entity, name, key, member,"
                " PRIMARY KEY (entity, name, key, member)) WITHOUT ROWID"
            )
            whole = dict[str, None]()
            collections = dict[str, set[str]]()
            for one in live:
                if one.rows is None:
                    self._result.elsewhere.append(one.place)
                    continue
                if one.is_whole:
                    whole[one.entity] = None
                for entity, name in one.collections:
                    collections.setdefault(entity, set()).add(name)
                for rows in one.rows:
                    self._rows(one, rows)
                    self._remember(one, rows.written, seen)
                    self._result.rows += len(rows.written)
                    self._progress(len(rows.written))
            for entity in whole:
                if not self._blurred(entity):
                    self._missing(entity, collections.get(entity, set()), seen)
        self._flush()
        return self._result

    def _remember(self, live: Live, written: list[Written], seen: sqlite3.Connection) -> None:
        """Note what was there, on disk."""
        if live.is_whole:
            keys = [(live.entity, one.key) for one in written]
            seen.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", keys)
            self._result.objects += len(keys)
        members = [
            (one.entity, path, one.key, member)
            for one in written
            if live.collections
            for path, delta in one.changes.items()
            if isinstance(delta, SetEdit)
            for member in delta.added
        ]
        seen.executemany("INSERT OR IGNORE INTO member VALUES (?, ?, ?, ?)", members)

    def _blurred(self, entity: str) -> bool:
        """Whether statements were recorded that do not tell which objects they changed."""
        query = Query(entity=entity, operation=Operation.BULK)
        return self._store.count_at_most(query, 1) > 0

    # what is there

    def _rows(self, live: Live, rows: LiveRows) -> None:
        """Compare some rows; what differs is read again, between two looks at the log."""
        doubtful = self._doubtful(live, rows.written)
        for entity in {entity for entity, _ in doubtful}:
            if self._blurred(entity):
                self._result.unknown += sum(1 for one in doubtful if one[0] == entity)
                doubtful = {one for one in doubtful if one[0] != entity}
        for _ in range(5):
            if not doubtful:
                return
            states = self._all_states(doubtful)
            again = [one for one in rows.again() if (one.entity, one.key) in doubtful]
            later = self._all_states(doubtful)
            moved = {
                one
                for one in doubtful
                if _last(states[one[0]], one[1]) != _last(later[one[0]], one[1])
            }
            for one in again:
                if (one.entity, one.key) not in moved:
                    found = self._difference(live, one, states[one.entity])
                    if found is not None:
                        self._found(*found, one)
            doubtful = moved

    def _doubtful(self, live: Live, written: list[Written]) -> set[tuple[str, str]]:
        """The objects that are not as the log has them, by entity and key."""
        states = self._all_states({(one.entity, one.key) for one in written})
        return {
            (one.entity, one.key)
            for one in written
            if self._difference(live, one, states[one.entity]) is not None
        }

    def _all_states(
        self, objects: Iterable[tuple[str, str]]
    ) -> dict[str, dict[str, _State | None]]:
        keys: dict[str, list[str]] = {}
        for entity, key in objects:
            keys.setdefault(entity, []).append(key)
        return {entity: self._states(entity, found) for entity, found in keys.items()}

    def _states(self, entity: str, keys: Sequence[str]) -> dict[str, _State | None]:
        """What the log has of some objects; ``None`` for those that are gone by it."""
        found: dict[str, _State | None] = {}
        if not keys:
            return found
        tangled: set[str] = set()
        wanted = set(keys)
        for entry in self._ledger.of_objects(entity, list(wanted)):
            if entry.former_key is not None:
                tangled.update({entry.key, entry.former_key})
                continue
            if entry.operation == "delete":
                found[entry.key] = None
                continue
            state = found.get(entry.key)
            if entry.operation == "insert":
                state = found[entry.key] = _State(entry, True)
                state.single = entry.changes
            elif entry.operation == "update":
                if state is None:
                    state = found[entry.key] = _State(entry, False)
                _advance(state, entry)
            if state is not None:
                state.last = entry
        for key in tangled & wanted:
            found[key] = self._followed(entity, key)
        return found

    def _followed(self, entity: str, key: str) -> _State | None:
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
                    if not chain or moved_in is None:
                        return _replayed(chain) if chain else None
                    break
                if entry.operation == "delete":
                    return _replayed(chain) if chain else None
                chain.append(entry)
                if entry.operation == "insert":
                    return _replayed(chain)
                if entry.former_key is not None:
                    moved_in = entry
                    break
            if moved_in is None or moved_in.former_key is None:
                return _replayed(chain) if chain else None
            key, upto = moved_in.former_key, (moved_in.seq, moved_in.n)

    def _difference(
        self, live: Live, one: Written, states: dict[str, _State | None]
    ) -> tuple[str, dict[str, Delta]] | None:
        """How a row differs from the log."""
        state = states.get(one.key)
        if state is None:
            if one.key not in states and self._pruned:
                return None
            changes = recordable(one)
            if changes is None:
                return None
            if live.is_whole:
                return "inserted", dict(changes)
            return "altered", {
                path: Change(UNKNOWN, delta.new) if isinstance(delta, Change) else delta
                for path, delta in changes.items()
            }
        policy = one.policy
        if (
            state.single is not None
            and live.is_whole
            and one.changes.state is not None
            and not policy.mask
            and not policy.exclude
            and codec.to_text(codec.encode_each(one.changes.state)) == state.single
        ):
            return None
        changes = recordable(one)
        values = _values(state)
        different: dict[str, Delta] = {}
        for path, delta in (changes or {}).items():
            name = split_path(path)[0]
            if isinstance(delta, SetEdit):
                held = values.get(name, frozenset() if state.complete else UNKNOWN)
                missing = frozenset() if is_hidden(held) else delta.added - frozenset(held or ())
                if missing:
                    different[path] = SetEdit(added=missing, removed=frozenset())
                continue
            assert isinstance(delta, Change)
            old = values.get(name, ABSENT if state.complete else UNKNOWN)
            new = ABSENT if delta.new is ABSENT else delta.new
            if not (is_hidden(old) or is_hidden(new) or alike(old, new)):
                different[path] = Change(old, new)
        if live.has_all:
            there = {split_path(path)[0] for path in changes or ()}
            for name, old in values.items():
                if name not in there and not (old is ABSENT or is_hidden(old)):
                    different[join_path(name)] = Change(old, ABSENT)
        return ("altered", different) if different else None

    # what should be there

    def _missing(self, entity: str, collections: set[str], seen: sqlite3.Connection) -> None:
        """Objects, and members of collections, that the log has and the database has not."""
        after: str | None = None
        while keys := self._ledger.keys(entity, after, _KEYS):
            marks = ", ".join("?" * len(keys))
            query = f"SELECT key FROM seen WHERE entity = ? AND key IN ({marks})"
            there = {key for (key,) in seen.execute(query, (entity, *keys))}
            wanted = keys if collections else [key for key in keys if key not in there]
            for key, state in self._states(entity, wanted).items():
                # What has changed since the comparison began may have come after it passed.
                if state is None or (state.last.seq, state.last.n) > self._began:
                    continue
                values = _values(state)
                if key not in there:
                    changes: dict[str, Delta] = {
                        join_path(name): Change(value, ABSENT) for name, value in values.items()
                    }
                    self._tell("deleted", entity, key, (), ChangeSet(changes, Operation.DELETE))
                    continue
                for name in collections:
                    held = values.get(name)
                    if held and not is_hidden(held):
                        self._missing_members(entity, key, name, frozenset(held), seen)
            after = keys[-1]

    def _missing_members(
        self, entity: str, key: str, name: str, held: frozenset[str], seen: sqlite3.Connection
    ) -> None:
        query = "SELECT member FROM member WHERE entity = ? AND name = ? AND key = ?"
        gone = held - {member for (member,) in seen.execute(query, (entity, join_path(name), key))}
        if gone:
            edit = SetEdit(added=frozenset(), removed=gone)
            changes = ChangeSet({join_path(name): edit}, Operation.UPDATE)
            self._tell("altered", entity, key, (name,), changes)

    # what is told

    def _found(self, what: str, changes: dict[str, Delta], one: Written) -> None:
        operation = Operation.INSERT if what == "inserted" else Operation.UPDATE
        fields = () if what == "inserted" else tuple(sorted(changes))
        self._tell(what, one.entity, one.key, fields, ChangeSet(changes, operation))

    def _tell(
        self, what: str, entity: str, key: str, fields: tuple[str, ...], changes: ChangeSet
    ) -> None:
        self._result.found += 1
        if len(self._result.differences) < _MOST:
            self._result.differences.append(
                Difference(what=what, entity=entity, key=key, fields=fields)
            )
        if self._record:
            self._changes.append((entity, key, changes))
            if len(self._changes) == _BATCH:
                self._flush()

    def _flush(self) -> None:
        """Record what was found so far as one revision."""
        found, self._changes = self._changes, []
        if not found:
            return
        context, id = current(), uuid7()
        revision = Revision(
            id=id,
            at=datetime.now(UTC),
            actor=context.actor,
            actor_label=context.actor_label,
            reason=context.reason or "found in the database, and not in the log",
            source=EXTERNAL,
            group=id,
        )
        records = [
            Record(
                revision=revision,
                n=n,
                entity=entity,
                key=key,
                operation=changes.operation,
                changes=changes,
                cause=EXTERNAL,
            )
            for n, (entity, key, changes) in enumerate(found)
        ]
        self._store.append(revision, records)
        self._result.recorded += len(records)


def _last(states: dict[str, _State | None], key: str) -> tuple[int, int] | None:
    state = states.get(key)
    return None if state is None else (state.last.seq, state.last.n)


def _values(state: _State) -> dict[str, Any]:
    """The values of a state, which are worked out when they are first needed."""
    if state.single is not None:
        text, state.single = state.single, None
        if not advanced(state.values, text, True, state.last.format):
            state.values = load(text, Operation.INSERT, state.last.format).applied_to({})
    return state.values


def _advance(state: _State, entry: Entry) -> None:
    values = _values(state)
    if advanced(values, entry.changes, False, entry.format):
        return
    changes = load(entry.changes, Operation(entry.operation), entry.format)
    for path, delta in changes.items():
        if not (state.complete and isinstance(delta, SetEdit)):
            values.setdefault(split_path(path)[0], UNKNOWN)
    try:
        state.values = changes.applied_to(values)
    except ConflictError as error:
        raise HistoryError(
            f"record {entry.n} of revision {entry.seq}, of key {entry.key}, does not fit what the "
            f"log has before it ({error}): a write in between was not recorded"
        ) from error


def _replayed(newest_first: Sequence[Entry]) -> _State:
    oldest = newest_first[-1]
    state = _State(oldest, oldest.operation == "insert")
    if state.complete:
        state.single = oldest.changes
    else:
        _advance(state, oldest)
    for entry in islice(reversed(newest_first), 1, None):
        _advance(state, entry)
    state.last = newest_first[0]
    return state
