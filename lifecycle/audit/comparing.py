"""Comparing the log with the database it tells of: what was written past it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from lifecycle import codec
from lifecycle.audit.leaving import Left, LeftObjects, Lefts
from lifecycle.audit.ledger import Ledger, ledger_of
from lifecycle.audit.likeness import alike
from lifecycle.audit.masking import recordable
from lifecycle.audit.outside import EXTERNAL, Comparison, Difference, Findings
from lifecycle.audit.progress import Progress, nobody
from lifecycle.audit.records import Position
from lifecycle.audit.seen import Seen, seen
from lifecycle.audit.store import AuditStore, Query
from lifecycle.changes import (
    Change,
    ChangeSet,
    Delta,
    Operation,
    SetEdit,
    join_path,
    split_path,
)
from lifecycle.markers import ABSENT, MASKED, UNKNOWN, is_hidden
from lifecycle.written import Written

__all__ = ["EXTERNAL", "Comparison", "Difference", "compare"]

_KEYS: Final = 2_000


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


def compare(
    store: AuditStore,
    live: Iterable[Live],
    *,
    record: bool = False,
    progress: Progress = nobody,
) -> Comparison:
    """Replay the log and compare it with what is in the database now.

    Rows are read in chunks, in flat memory; what changes meanwhile is looked at again. With
    ``record`` each difference is recorded as a change by nobody, with the cause ``external``, so
    that the log agrees from then on. Rows without any record are ``unknown`` once the log has been
    pruned, for they may be older. Values that are masked, excluded, erased or unknown are not
    compared; what a migration has written to columns that are new to the log counts as written past
    it. Raises ``ConfigurationError`` for a store that cannot be asked so, ``HistoryError``
    for a log that contradicts itself, and what the databases raise.
    """
    findings = Findings(store, record)
    with seen() as memory:
        _Comparing(store, ledger_of(store), findings, memory, progress).run(live)
    findings.flush()
    return findings.result


class _Comparing:
    def __init__(
        self,
        store: AuditStore,
        ledger: Ledger,
        findings: Findings,
        memory: Seen,
        progress: Progress,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._left = LeftObjects(ledger)
        self._findings = findings
        self._seen = memory
        self._progress = progress
        self._pruned = any(entry.kind == "prune" for entry in ledger.entries())
        newest = store.page(Query(), limit=1).records
        self._began = newest[0].position if newest else Position(0, 0)

    def run(self, live: Iterable[Live]) -> None:
        """Everything there is, and then everything there should be."""
        result = self._findings.result
        whole = dict[str, None]()
        collections = dict[str, set[str]]()
        for one in live:
            if one.rows is None:
                result.elsewhere.append(one.place)
                continue
            if one.is_whole:
                whole[one.entity] = None
            for entity, name in one.collections:
                collections.setdefault(entity, set()).add(name)
            for rows in one.rows:
                written = rows.written
                self._rows(one, rows)
                if one.is_whole:
                    self._seen.add(one.entity, [row.key for row in written])
                    result.objects += len(written)
                if one.collections:
                    self._seen.add_members(written)
                result.rows += len(written)
                self._progress(len(written))
        for entity in whole:
            if not self._blurred(entity):
                self._missing(entity, collections.get(entity, set()))

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
                unknown = {one for one in doubtful if one[0] == entity}
                self._findings.result.unknown += len(unknown)
                doubtful -= unknown
        for _ in range(5):
            if not doubtful:
                return
            lefts = self._left.of_all(doubtful)
            again = [one for one in rows.again() if (one.entity, one.key) in doubtful]
            later = self._left.of_all(doubtful)
            moved = {
                (entity, key)
                for entity, key in doubtful
                if _place(lefts[entity], key) != _place(later[entity], key)
            }
            for one in again:
                if (one.entity, one.key) not in moved:
                    self._look(live, one, lefts[one.entity])
            doubtful = moved

    def _doubtful(self, live: Live, written: list[Written]) -> set[tuple[str, str]]:
        """The objects that are not as the log has them, by entity and key."""
        lefts = self._left.of_all((one.entity, one.key) for one in written)
        if self._pruned:
            self._findings.result.unknown += sum(
                one.key not in lefts[one.entity] and recordable(one) is not None for one in written
            )
        return {
            (one.entity, one.key)
            for one in written
            if not _is_as_inserted(live, one, lefts[one.entity].get(one.key))
            and self._difference(live, one, lefts[one.entity]) is not None
        }

    def _look(self, live: Live, one: Written, lefts: Lefts) -> None:
        found = self._difference(live, one, lefts)
        if found is not None:
            fields = tuple(sorted(found)) if found.operation is Operation.UPDATE else ()
            what = "altered" if found.operation is Operation.UPDATE else "inserted"
            self._findings.add(what, one.entity, one.key, fields, found)

    def _difference(self, live: Live, one: Written, lefts: Lefts) -> ChangeSet | None:
        """How a row differs from the log."""
        changes = recordable(one)
        left = lefts.get(one.key)
        if left is not None:
            different = _differences(live, left, changes or ChangeSet())
            return ChangeSet(different, Operation.UPDATE) if different else None
        if changes is None or (one.key not in lefts and self._pruned):
            return None
        if live.is_whole:
            return ChangeSet(dict(changes), Operation.INSERT)
        part: dict[str, Delta] = {
            path: Change(UNKNOWN, delta.new) if isinstance(delta, Change) else delta
            for path, delta in changes.items()
        }
        return ChangeSet(part, Operation.UPDATE)

    # what should be there

    def _missing(self, entity: str, collections: set[str]) -> None:
        """Objects, and members of collections, that the log has and the database has not."""
        after: str | None = None
        while keys := self._ledger.keys(entity, after, _KEYS):
            gone = self._seen.missing(entity, keys)
            missing = set(gone)
            for key, left in self._left.of(entity, keys if collections else gone).items():
                # What has changed since the comparison began may have come after it passed.
                if left is None or left.place > self._began:
                    continue
                if key not in missing:
                    self._missing_members(entity, key, collections, left)
                    continue
                changes: dict[str, Delta] = {
                    join_path(name): Change(value, ABSENT) for name, value in left.values.items()
                }
                deleted = ChangeSet(changes, Operation.DELETE)
                self._findings.add("deleted", entity, key, (), deleted)
            after = keys[-1]

    def _missing_members(self, entity: str, key: str, collections: set[str], left: Left) -> None:
        for name in collections:
            held = left.values.get(name)
            if not held or is_hidden(held):
                continue
            gone = frozenset(held) - self._seen.members(entity, name, key)
            if gone:
                edit = SetEdit(added=frozenset(), removed=gone)
                changes = ChangeSet({join_path(name): edit}, Operation.UPDATE)
                self._findings.add("altered", entity, key, (name,), changes)


def _is_as_inserted(live: Live, one: Written, left: Left | None) -> bool:
    """Whether a row is, to the letter, as the log has its insert: the quick look at most rows."""
    state = one.changes.state
    if left is None or left.text is None or state is None or not live.is_whole:
        return False
    mask, exclude = one.policy.mask, one.policy.exclude
    if mask or exclude or one.policy.conceals:
        state = {
            name: MASKED if name in mask else one.policy.hidden(name, value)
            for name, value in state.items()
            if name not in exclude
        }
    return codec.to_text(codec.encode_each(state)) == left.text


def _differences(live: Live, left: Left, changes: ChangeSet) -> dict[str, Delta]:
    """Where the log has something else than what is there."""
    values, unseen = left.values, ABSENT if left.complete else UNKNOWN
    different: dict[str, Delta] = {}
    for path, delta in changes.items():
        name = split_path(path)[0]
        if isinstance(delta, SetEdit):
            held = values.get(name, frozenset() if left.complete else UNKNOWN)
            missing = frozenset() if is_hidden(held) else delta.added - frozenset(held or ())
            if missing:
                different[path] = SetEdit(added=missing, removed=frozenset())
            continue
        assert isinstance(delta, Change)
        old, new = values.get(name, unseen), delta.new
        if old is ABSENT and new is None and not live.has_all:
            continue  # the column was added since, and has no value
        if not (is_hidden(old) or is_hidden(new) or alike(old, new)):
            different[path] = Change(old, new)
    if live.has_all:
        there = {split_path(path)[0] for path in changes}
        for name, old in values.items():
            if name not in there and not (old is ABSENT or is_hidden(old)):
                different[join_path(name)] = Change(old, ABSENT)
    return different


def _place(lefts: Lefts, key: str) -> tuple[int, int] | None:
    left = lefts.get(key)
    return None if left is None else left.place
