"""Asking the log: what happened to an object, and how it stood at some time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice, takewhile
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from lifecycle.audit.fields import FieldValue, field_values
from lifecycle.audit.names import Names, instead_of, literal_key
from lifecycle.audit.netting import Net, netted
from lifecycle.audit.records import Position, Record, Revision
from lifecycle.audit.replaying import Replay, State
from lifecycle.audit.store import Asked, AuditStore, Entry, Page, Query
from lifecycle.audit.times import When, position_at, revision_id, revision_of
from lifecycle.audit.tracing import entries_of, pages, records_of, statements, whole_history
from lifecycle.changes import ChangeSet, Operation, diff
from lifecycle.errors import HistoryError
from lifecycle.markers import ABSENT, UNKNOWN, is_hidden

__all__ = ["FieldValue", "History", "Names", "State", "When", "literal_key"]

_LOOKUPS: Final = 4  # questions at most for the newest records of some objects
_LOOKED_AT: Final = 2_000  # records read at most for one page of those that touch a field


def _touches(record: Record, field: str | None) -> bool:
    return field is None or record.changes.touches(field)


class History:
    """Questions to the log of one Lifecycle.

    Models are given as classes or by their registered names, objects by what the mapper calls
    their identity (a tuple for a composite key). Every question is answered from the log alone, so
    objects that are gone can be asked about like any other, and fields that the model no longer
    has.

    A name that neither a model nor any record has raises ``HistoryError``, when the answer is read;
    a model without records has an empty history.
    """

    def __init__(self, store: Callable[[], AuditStore], names: Names) -> None:
        self._store = store
        self._names = names

    # --- records ---

    def of(
        self,
        target: Any,
        identity: Any = None,
        *,
        field: str | None = None,
        operation: str | None = None,
        actor: str | None = None,
        request_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Record]:
        """Every record of one object that matches, newest first, back over changes of its key.

        ``of(obj)`` for an object at hand, ``of(Model, identity)`` for any. The rest is as in
        `find`. Raises ``HistoryError`` for a class that is not mapped or an object without
        identity.
        """
        entity, key = self._subject_of(target, identity)
        query = Query(
            entity=entity,
            operation=None if operation is None else _operation(operation),
            actor=actor,
            request_id=request_id,
            since=since,
            until=until,
        )
        records = self._known(target, records_of(self._store(), entity, key))
        return (one for one in records if query.matches(one) and _touches(one, field))

    def find(
        self,
        model: type | str | None = None,
        *,
        field: str | None = None,
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

        ``field`` is a field, or a path inside one, that was changed; no index helps to find it.
        ``since`` is inclusive and ``until`` exclusive; both are aware. Raises ``ValueError`` for
        one without a zone, and for an operation that is none.
        """
        query = self._query(
            model, None, operation, actor, revision, request_id, group, since, until
        )
        records = self._known(model, pages(self._store(), query, newest_first=newest_first))
        return (one for one in records if _touches(one, field))

    def newest(self, objects: Collection[tuple[str, str]]) -> dict[tuple[str, str], Position]:
        """Where the newest record of each object stands, by entity and key.

        Empty where the store does not look up so many in a few questions.
        """
        store, asked = self._store(), dict.fromkeys(objects)
        size = getattr(store, "glimpses_at_once", 0)
        if len(asked) > _LOOKUPS * size:
            return {}
        found: dict[tuple[str, str], Position] = {}
        wanted = iter(asked)
        while some := list(islice(wanted, size)):
            queries = [Asked(Query(entity=entity, key=key)) for entity, key in some]
            for subject, one in zip(some, store.glimpses(queries), strict=True):
                if one is not None:
                    found[subject] = Position(one.seq, one.n)
        return found

    def page(
        self,
        model: type | str | None = None,
        identity: Any = None,
        *,
        field: str | None = None,
        operation: str | None = None,
        actor: str | None = None,
        revision: UUID | str | Revision | None = None,
        request_id: str | None = None,
        group: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: Position | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Page:
        """At most ``limit`` of the records that `find` gives, from a position on.

        The page's ``next`` is the ``after`` of the page behind it, ``None`` on the last one; it
        skips nothing and repeats nothing while others write. ``identity`` is that of an object, by
        the key it has. With ``field`` a page may be short of its limit, even empty, and not be the
        last. Raises as `find` does.
        """
        query = self._query(
            model, identity, operation, actor, revision, request_id, group, since, until
        )
        store, found, looked = self._store(), list[Record](), 0
        while True:
            page = store.page(query, after=after, limit=limit, newest_first=newest_first)
            looked += len(page)
            for record in page:
                if _touches(record, field):
                    found.append(record)
                if len(found) == limit:
                    last = record.position == page.records[-1].position
                    return Page(tuple(found), page.next if last else record.position)
            if page.next is None or looked >= _LOOKED_AT:
                return Page(tuple(found), page.next)
            after = page.next

    def revision(self, id: UUID | str) -> Revision:
        """The revision of that id. Raises ``UnknownRevision`` when there is none such."""
        return revision_of(self._store(), id)

    def net(self, revision: Revision | UUID | str) -> list[Net]:
        """What a revision came to, one `Net` for each object, in the order they were touched.

        Its records, from ``find(revision=...)``, tell what each flush did. Raises
        ``UnknownRevision`` when there is none such.
        """
        if not isinstance(revision, Revision):
            revision = self.revision(revision)
        return netted(self.find(revision=revision, newest_first=False))

    # --- states ---

    def as_of(self, target: type | str, identity: Any, when: When) -> State | None:
        """An object as it stood right after ``when``; ``None`` when there was none.

        `State.related` leads on to other objects, as they stood then. Raises ``UnknownRevision``
        for a revision that is not in the store, ``TypeError`` for what is no time in the log,
        ``ValueError`` for a datetime without a zone, and ``HistoryError`` where a record does not
        fit the ones before it.
        """
        entity, key = self._subject(target, identity)
        state = self._state(entity, key, self._at(when))
        if state is None:
            self.refuse_unknown(target)
        return state

    def snapshot(self, model: type | str, at: When | None = None) -> dict[str, State]:
        """Every object of a model as it stood right after ``at``, or as the log leaves it, by key.

        Reads every record of the model up to then, and holds one state per object. Raises as
        `as_of` does.
        """
        return self._snapshot(model, None if at is None else self._at(at))

    def _snapshot(self, model: type | str, upto: Position | None) -> dict[str, State]:
        entity = self._names.entity(model)
        replay = Replay(entity, self)
        for entry in self._store().trail(Query(entity=entity, upto=upto)):
            replay.take(entry)
        states = replay.states(upto)
        if not states:
            self.refuse_unknown(model)
        return states

    def snapshots(self, model: type | str, at: Iterable[When]) -> Iterator[dict[str, State]]:
        """The `snapshot` at each of several times, oldest first, in one reading of the log.

        Raises as `as_of` does, and ``ValueError`` when the times are not in order.
        """
        entity = self._names.entity(model)
        ends = [self._at(when) for when in at]
        if ends != sorted(ends):
            raise ValueError("snapshots are made in one reading of the log: give the oldest first")
        entries = self._store().trail(Query(entity=entity, upto=ends[-1])) if ends else iter(())
        replay = Replay(entity, self)
        ahead = next(entries, None)
        if ahead is None:
            self.refuse_unknown(model)
        for end in ends:
            while ahead is not None and (ahead.seq, ahead.n) <= end:
                replay.take(ahead)
                ahead = next(entries, None)
            yield replay.states(end)

    def related(self, state: State, name: str) -> list[State]:
        """What `State.related` gives."""
        relation = self._names.relation(state.entity, name)
        _refuse_untold(state, relation.fields, name)
        if relation.keys is not None:
            keys = sorted(relation.keys(state.values))
            return [self._target(state, relation.target, key) for key in keys]
        assert relation.holds is not None
        targets = self._snapshot(relation.target, state.upto).values()
        for target in targets:
            _refuse_untold(target, relation.target_fields, name)
        return [target for target in targets if relation.holds(state.values, target.values)]

    def name(self, entity: str, entry: Entry) -> str:
        """How messages name an entry's record: by its id, entity and key."""
        place = Query(entity=entity, upto=Position(entry.seq, entry.n))
        record = self._store().page(place, limit=1).records[0]
        return f"record {record.id} of {entity} {entry.key}"

    def _target(self, state: State, entity: str, key: str) -> State:
        """An object that was referred to; all that is known of one from before the log is that."""
        found = self._state(entity, key, state.upto)
        return found or State(
            entity=entity,
            key=key,
            values=MappingProxyType({}),
            label=None,
            position=state.position,
            complete=False,
            upto=state.upto,
            source=self,
        )

    # --- over time ---

    def field(self, target: Any, identity: Any, name: str | None = None) -> list[FieldValue]:
        """Every value that a field, or a path inside one, has had, newest first.

        ``field(obj, "name")`` for an object at hand, ``field(Model, identity, "name")`` for any.
        The value is ``ABSENT`` where the object, or what holds it, was not there. Raises as `of`
        and `as_of` do.
        """
        if name is None:
            if isinstance(target, type | str) or not isinstance(identity, str):
                raise HistoryError("which field? write history.field(Model, identity, 'name')")
            name, identity = identity, None
        entity, key = self._subject_of(target, identity)
        values = field_values(whole_history(self._store(), entity, key), name)
        if not values:
            self.refuse_unknown(target)
        return values

    def compare(
        self, target: Any, identity: Any = None, *, old: When, new: When | None = None
    ) -> ChangeSet:
        """What changed of an object between two times, or since one until the log's end.

        An insert or a delete when the object was there at only one of them. What the log cannot
        tell of the older state is ``UNKNOWN``. Raises as `as_of` does.
        """
        entity, key = self._subject_of(target, identity)
        upto = None if new is None else self._at(new)
        after = self._state(entity, key, upto)
        before = self._state(entity, self._key_then(entity, key, upto, old), self._at(old))
        if before is None and after is None:
            self.refuse_unknown(target)
        operation = Operation.UPDATE
        if (before is None) is not (after is None):
            operation = Operation.INSERT if before is None else Operation.DELETE
        return diff(_told(before, after), _told(after, before), operation=operation)

    def _key_then(self, entity: str, key: str, upto: Position | None, when: When) -> str:
        """The key an object had at an earlier time, which it may have changed since."""
        then = self._at(when)
        for record in records_of(self._store(), entity, key, upto):
            if record.position <= then:
                break
            if record.key == key and record.former_key is not None:
                key = record.former_key
        return key

    # --- finding the way ---

    def _subject(self, target: Any, identity: Any) -> tuple[str, str]:
        if identity is None:
            raise HistoryError(f"whose history? give an identity: history.of({target!r}, identity)")
        return self._names.entity(target), self._names.key(target, identity)

    def _subject_of(self, target: Any, identity: Any) -> tuple[str, str]:
        """The entity and key of an object at hand, or of a model and an identity."""
        if isinstance(target, type | str):
            return self._subject(target, identity)
        if identity is None:
            return self._names.subject(target)
        raise HistoryError(
            f"history.of({target!r}, {identity!r}) has an object and an identity: "
            "give the object alone, or its class with the identity"
        )

    def _query(
        self,
        model: type | str | None,
        identity: Any,
        operation: str | None,
        actor: str | None,
        revision: UUID | str | Revision | None,
        request_id: str | None,
        group: UUID | None,
        since: datetime | None,
        until: datetime | None,
    ) -> Query:
        return Query(
            entity=None if model is None else self._names.entity(model),
            key=None if identity is None or model is None else self._names.key(model, identity),
            operation=None if operation is None else _operation(operation),
            actor=actor,
            revision=None if revision is None else revision_id(revision),
            request_id=request_id,
            group=group,
            since=since,
            until=until,
        )

    def _state(self, entity: str, key: str, upto: Position | None) -> State | None:
        entries = deque(entries_of(self._store(), entity, key, upto))
        entries.reverse()
        if not entries:
            return None
        began = (entries[0].seq, entries[0].n)
        bulk = self._store().trail(statements(entity, upto), newest_first=True)
        since = list(takewhile(lambda entry: (entry.seq, entry.n) > began, bulk))
        replay = Replay(entity, self)
        for entry in sorted((*entries, *since)) if since else entries:
            replay.take(entry)
        return next(iter(replay.states(upto).values()), None)

    def _at(self, when: When) -> Position:
        return position_at(self._store(), when)

    def _known(self, model: Any, records: Iterator[Record]) -> Iterator[Record]:
        """These records; where there are none, it may be for an unknown name."""
        record = None
        for record in records:
            yield record
        if record is None:
            self.refuse_unknown(model)

    def refuse_unknown(self, model: Any) -> None:
        """Raise ``HistoryError`` for a name that neither a model nor any record has."""
        if not isinstance(model, str):
            return
        known = {*self._names.entities(), *self._store().entities()}
        if model not in known:
            raise HistoryError(
                f"no model is called {model!r}, and nothing of that name is in the log: "
                f"{instead_of(model, known)}"
            )


def _operation(name: str) -> Operation:
    try:
        return Operation(name)
    except ValueError:
        *others, last = Operation
        raise ValueError(f"{name!r} is no operation: use {', '.join(others)} or {last}") from None


def _refuse_untold(state: State, fields: Iterable[str], name: str) -> None:
    """Raise ``HistoryError`` when a state does not tell what a relationship goes by."""
    for field in fields:
        value = state.values.get(field, ABSENT if state.complete else UNKNOWN)
        if is_hidden(value):
            raise HistoryError(
                f"where {name!r} led to cannot be told: the log does not hold {field!r} of "
                f"{state.entity} {state.key} as it was then; record the field, or ask about "
                "the related objects themselves"
            )


def _told(state: State | None, other: State | None) -> dict[str, Any]:
    """A state's values; ``UNKNOWN`` for those only the other one tells, where it may have some."""
    if state is None:
        return {}
    values = dict(state.values)
    if not state.complete and other is not None:
        values = {**dict.fromkeys(other.values, UNKNOWN), **values}
    return values
