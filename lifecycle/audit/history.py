"""Asking the log: what happened to an object, and how it stood at some time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from lifecycle.audit.records import Position, Record, Revision
from lifecycle.audit.store import AuditStore, Query
from lifecycle.changes import ABSENT, Change, Operation, SetEdit, split_path
from lifecycle.errors import ConflictError, HistoryError, UnknownRevision
from lifecycle.keys import key_text
from lifecycle.markers import UNKNOWN

__all__ = ["History", "Names", "State", "When", "literal_key"]

When: TypeAlias = datetime | Revision | Record | UUID | str
"""A time in the log: an aware datetime, a revision, its id, or one record of it."""

_LAST: Final = sys.maxsize
_BEFORE_ALL: Final = Position(-1, 0)
_NAMED: Final = 20  # names listed when one was not found


class Names(Protocol):
    """Knows the registered names of models and the keys of their objects."""

    def entity(self, model: type | str) -> str:
        """The registered name of a model class, or of a name itself."""
        ...

    def key(self, model: type | str, identity: Any) -> str:
        """The text of an identity of a model."""
        ...

    def subject(self, instance: Any) -> tuple[str, str]:
        """An object's entity and key."""
        ...

    def entities(self) -> Iterable[str]:
        """The registered names of every model there is, whether it has been used or not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An object as it stood at some time: its fields' values as the log holds them.

    ``complete`` is false when the log does not reach back to the object's insert; fields that
    have not changed since are then missing from ``values``.
    """

    entity: str
    key: str
    values: Mapping[str, Any]
    label: str | None
    position: Position
    complete: bool

    def __getitem__(self, field: str) -> Any:
        return self.values[field]


class History:
    """Questions to the log of one Lifecycle.

    Models are given as classes or by their registered names, objects by what the mapper calls
    their identity (a tuple for a composite key). Every question is answered from the log alone, so
    objects that are gone can be asked about like any other.

    A name that neither a model nor any record has raises ``HistoryError``, when the answer is read;
    a model without records has an empty history.
    """

    def __init__(self, store: Callable[[], AuditStore], names: Names) -> None:
        self._store = store
        self._names = names

    def of(self, target: Any, identity: Any = None) -> Iterator[Record]:
        """Every record of one object, newest first, back over changes of its key.

        ``of(obj)`` for an object at hand, ``of(Model, identity)`` for any.
        Raises ``HistoryError`` for a class that is not mapped or an object without identity.
        """
        if isinstance(target, type | str):
            entity, key = self._subject(target, identity)
        elif identity is None:
            entity, key = self._names.subject(target)
        else:
            raise HistoryError(
                f"history.of({target!r}, {identity!r}) has an object and an identity: "
                "give the object alone, or its class with the identity"
            )
        return self._known(target, self._records_of(entity, key, upto=None))

    def find(
        self,
        model: type | str | None = None,
        *,
        operation: str | None = None,
        actor: str | None = None,
        revision: UUID | str | Revision | None = None,
        request_id: str | None = None,
        group: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = True,
    ) -> Iterator[Record]:
        """Every record that matches all that is given, fetched page by page as it is read.

        ``since`` is inclusive and ``until`` exclusive; both are aware. Raises ``ValueError`` for
        one without a zone, and for an operation that is none.
        """
        query = Query(
            entity=None if model is None else self._names.entity(model),
            operation=None if operation is None else _operation(operation),
            actor=actor,
            revision=None if revision is None else _revision_id(revision),
            request_id=request_id,
            group=group,
            since=since,
            until=until,
        )
        return self._known(model, self._pages(query, newest_first=newest_first))

    def revision(self, id: UUID | str) -> Revision:
        """The revision of that id. Raises ``UnknownRevision`` when there is none such."""
        found = self._store().revision(_revision_id(id))
        if found is None:
            raise UnknownRevision(f"the audit store has no revision {id}")
        return found

    def as_of(self, target: type | str, identity: Any, when: When) -> State | None:
        """An object as it stood right after ``when``; ``None`` when there was none.

        Raises ``UnknownRevision`` for a revision that is not in the store, ``TypeError`` for what
        is no time in the log, ``ValueError`` for a datetime without a zone, and ``HistoryError``
        where a record does not fit the ones before it.
        """
        entity, key = self._subject(target, identity)
        upto = self._position(when)
        steps: list[Record] = []
        for record in self._records_of(entity, key, upto):
            if record.operation is Operation.DELETE or record.key != key:
                break  # from here back the key was another object's
            steps.append(record)
            if record.operation is Operation.INSERT:
                break
            key = record.former_key or key
        bulk = self._pages(Query(entity=entity, key="", operation=Operation.BULK, upto=upto))
        since = takewhile(lambda record: steps and record.position > steps[-1].position, bulk)
        states: dict[str, State] = {}
        for record in sorted((*steps, *since), key=lambda record: record.position):
            _replay(record, states)
        if not states:
            self._refuse_unknown(target)
        return next(iter(states.values()), None)

    def snapshot(self, model: type | str, at: When | None = None) -> dict[str, State]:
        """Every object of a model as it stood right after ``at``, or as the log leaves it, by key.

        Reads every record of the model up to then, and holds one state per object. Raises as
        `as_of` does.
        """
        entity = self._names.entity(model)
        upto = None if at is None else self._position(at)
        states: dict[str, State] = {}
        for record in self._store().scan(Query(entity=entity, upto=upto)):
            _replay(record, states)
        if not states:
            self._refuse_unknown(model)
        return states

    def snapshots(self, model: type | str, at: Iterable[When]) -> Iterator[dict[str, State]]:
        """The `snapshot` at each of several times, oldest first, in one reading of the log.

        Raises as `as_of` does, and ``ValueError`` when the times are not in order.
        """
        entity = self._names.entity(model)
        ends = [self._position(when) for when in at]
        if ends != sorted(ends):
            raise ValueError("snapshots are made in one reading of the log: give the oldest first")
        records = self._store().scan(Query(entity=entity, upto=ends[-1])) if ends else iter(())
        states: dict[str, State] = {}
        ahead = next(records, None)
        if ahead is None:
            self._refuse_unknown(model)
        for end in ends:
            while ahead is not None and ahead.position <= end:
                _replay(ahead, states)
                ahead = next(records, None)
            yield dict(states)

    # --- finding the way ---

    def _subject(self, target: Any, identity: Any) -> tuple[str, str]:
        if identity is None:
            raise HistoryError(f"whose history? give an identity: history.of({target!r}, identity)")
        return self._names.entity(target), self._names.key(target, identity)

    def _records_of(self, entity: str, key: str, upto: Position | None) -> Iterator[Record]:
        """An object's records, newest first, on to the key it had before when it was moved."""
        while True:
            query = Query(entity=entity, key=key, upto=upto)
            for record in self._pages(query):
                yield record
                if record.key == key and record.former_key not in (None, key):
                    break
            else:
                return
            assert record.former_key is not None
            key, upto = record.former_key, _just_before(record.position)

    def _known(self, model: Any, records: Iterator[Record]) -> Iterator[Record]:
        """These records; where there are none, it may be for an unknown name."""
        record = None
        for record in records:
            yield record
        if record is None:
            self._refuse_unknown(model)

    def _refuse_unknown(self, model: Any) -> None:
        """Raise ``HistoryError`` for a name that neither a model nor any record has."""
        if not isinstance(model, str):
            return
        known = {*self._names.entities(), *self._store().entities()}
        if model not in known:
            close = " or ".join(get_close_matches(model, known))
            raise HistoryError(
                f"no model is called {model!r}, and nothing of that name is in the log: "
                + (f"did you mean {close}?" if close else f"there are {_listed(known)}")
            )

    def _pages(self, query: Query, *, newest_first: bool = True) -> Iterator[Record]:
        store, after = self._store(), None
        while True:
            page = store.page(query, after=after, limit=200, newest_first=newest_first)
            yield from page
            if page.next is None:
                return
            after = page.next

    def _position(self, when: When) -> Position:
        """The last position that counts; one before all when the log had not begun."""
        if isinstance(when, Record):
            return when.position
        if isinstance(when, datetime):
            if when.utcoffset() is None:
                raise ValueError(f"{when!r} has no time zone; give an aware datetime")
            revision = self._store().revision_at(when)
            return _BEFORE_ALL if revision is None else _end_of(revision)
        if isinstance(when, Revision) and when.seq is not None:
            return _end_of(when)
        if isinstance(when, Revision | UUID | str):
            return _end_of(self.revision(_revision_id(when)))
        raise TypeError(
            f"{when!r} is no time in the log: give an aware datetime, a revision or its id, "
            "or a record"
        )


def _end_of(revision: Revision) -> Position:
    if revision.seq is None:
        raise HistoryError(f"revision {revision.id} has not been stored yet")
    return Position(revision.seq, _LAST)


def _just_before(position: Position) -> Position:
    """The last position before another; there need not be a record at it."""
    return Position(position.seq, position.n - 1)


def _revision_id(id: UUID | str | Revision) -> UUID:
    if isinstance(id, Revision):
        return id.id
    if isinstance(id, UUID):
        return id
    try:
        return UUID(id)
    except (AttributeError, TypeError, ValueError):
        raise UnknownRevision(
            f"{id!r} is no revision id: give a UUID or its text, or an aware datetime for a time"
        ) from None


def _operation(name: str) -> Operation:
    try:
        return Operation(name)
    except ValueError:
        *others, last = Operation
        raise ValueError(f"{name!r} is no operation: use {', '.join(others)} or {last}") from None


def _listed(names: set[str]) -> str:
    some = ", ".join(sorted(names)[:_NAMED]) or "none at all"
    return some + (", …" if len(names) > _NAMED else "")


def _replay(record: Record, states: dict[str, State]) -> None:
    if record.operation is Operation.BULK:
        for key, state in states.items():
            states[key] = _blurred(state, record)
        return
    before = states.pop(record.former_key or record.key, None)
    if record.operation is not Operation.DELETE:
        states[record.key] = _after(record, before)


def _blurred(state: State, record: Record) -> State:
    """What is known of an object after a statement that may have changed it or not."""
    if record.changes.get("$verb") == Change(ABSENT, "insert"):
        return state
    fields = [path for path in record.changes if not path.startswith("$")]
    touched = fields or state.values  # a DELETE sets none, and may have taken the object away
    values = {name: UNKNOWN if name in touched else value for name, value in state.values.items()}
    return replace(state, values=MappingProxyType(values))


def _after(record: Record, before: State | None) -> State:
    if record.operation is Operation.INSERT:
        before, complete = None, True
    else:
        complete = before is not None and before.complete
    values: dict[str, Any] = {} if before is None else dict(before.values)
    for path, delta in record.changes.items():
        # A field not seen yet has some value, so edits of it leave it unknown; but for the set of
        # an object seen from its insert, which began empty.
        if not (complete and isinstance(delta, SetEdit)):
            values.setdefault(split_path(path)[0], UNKNOWN)
    try:
        values = record.changes.applied_to(values)
    except ConflictError as error:
        raise HistoryError(
            f"record {record.id} of {record.entity} {record.key} does not fit what the log has "
            f"before it ({error}): a write in between was not recorded"
        ) from error
    return State(
        entity=record.entity,
        key=record.key,
        values=MappingProxyType(values),
        label=record.label,
        position=record.position,
        complete=complete,
    )


def literal_key(identity: Any) -> str:
    """The key of an identity of a model that is known by name only."""
    if isinstance(identity, str):
        return identity
    return key_text(identity if isinstance(identity, tuple) else (identity,))
