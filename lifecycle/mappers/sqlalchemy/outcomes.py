"""After a flush: what it did to each of its objects, as it is to be told and recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy.orm import Session, UOWTransaction

from lifecycle.changes import Change, Delta, Operation, SetEdit
from lifecycle.mappers.sqlalchemy.collections import ManyToMany, Membership, memberships
from lifecycle.mappers.sqlalchemy.columns import done_to_many
from lifecycle.mappers.sqlalchemy.fetching import (
    connection_of,
    fetch_columns,
    is_sharded,
    stored_members,
)
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.old_values import NOTHING, OldValues
from lifecycle.mappers.sqlalchemy.outcome import (
    Done,
    DoneToMany,
    Replaced,
    complete,
    in_order,
    inserted,
)
from lifecycle.mappers.sqlalchemy.reading import State, note, stored, updated
from lifecycle.mappers.sqlalchemy.removing import is_marked
from lifecycle.markers import UNKNOWN

__all__ = ["Outcomes"]

_AllReplaced: TypeAlias = "dict[tuple[str, str | None], Replaced]"
"""The rows in whose place new objects come, by entity and key."""

_MANY: Final = 3
"""From so many objects of a model on columns pay."""

_NO_EDIT: Final = SetEdit(frozenset(), frozenset())


class _Kind(NamedTuple):
    """Objects of a model that a flush has written in one way, or has only listed."""

    model: Model
    operation: Operation
    only_listed: bool
    states: list[State]


def _place(one: tuple[_Kind, State]) -> int:
    """New objects in the order in which they were added, after all others."""
    kind, state = one
    return state.insert_order or 0 if kind.operation is Operation.INSERT else 0


class Outcomes:
    """Works out what one flush did, from SQLAlchemy's plan of it and the old values kept."""

    def __init__(self, session: Session, models: Models, old: OldValues) -> None:
        self._session = session
        self._models = models
        self._old = old
        self._updated: Counter[type] = Counter()
        """How many rows the flush updated, by the root of their hierarchy."""

    def of(self, context: UOWTransaction, *, in_columns: bool) -> list[Done | DoneToMany]:
        """What the flush did to each object, with what only the database knew read back.

        In an order that can be replayed: changes of keys come first, so that a key given up is free
        for what comes after. What is alike is told ``in_columns``, where the caller takes that.
        """
        done, to_many = self._all(context, in_columns)
        if self._read_back(done):  # an expression may turn out to change nothing
            done = [one for one in done if not one.is_nothing]
        return in_order([*done, *to_many])

    def _all(
        self, context: UOWTransaction, in_columns: bool
    ) -> tuple[list[Done], list[DoneToMany]]:
        replaced: _AllReplaced = {}
        written: list[_Kind] = []
        for kind in self._kinds(context):
            if kind.operation is not Operation.DELETE or not kind.only_listed:
                written.append(kind)
                continue
            for state in kind.states:
                removed = stored(kind.model, state, self._old.fetched(state))
                key = kind.model.stored_key(state)
                replaced[kind.model.entity, key] = Replaced(kind.model, removed)
        if any(kind.model.per_row for kind in written):
            self._count_updated(written, replaced)
        to_many: list[DoneToMany] = []
        if in_columns and not replaced:
            written, to_many = self._in_columns(written)
        each = [(kind, state) for kind in written for state in kind.states]
        if replaced:  # several may come into one place, in the order in which they were added
            each.sort(key=_place)
        done = [
            one
            for kind, state in each
            if (one := self._one_done(kind, state, replaced)) is not None
        ]
        owners = list(self._owners(context))
        if owners:
            done += self._add_memberships(done, memberships(context, owners, self._key_of))
        return done, to_many

    def _kinds(self, context: UOWTransaction) -> Iterator[_Kind]:
        """The objects of a flush that anybody cares about."""
        listed: dict[tuple[type, tuple[bool, bool]], list[State]] = {}
        for state, how in context.states.items():
            listed.setdefault((state.class_, how), []).append(state)
        new = self._session._new
        for (cls, (is_delete, only_listed)), states in listed.items():
            model = self._models.concerned(cls)
            if model is None:
                continue
            # One that is new has its key already when its defaults were read at once.
            came = [one for one in states if one.key is None or one in new]
            if came and not only_listed:  # else the flush was given other objects
                yield _Kind(model, Operation.INSERT, only_listed, came)
            if len(came) < len(states):
                operation = Operation.DELETE if is_delete else Operation.UPDATE
                if came:
                    known = set(came)
                    states = [one for one in states if one not in known]
                # Not those that an earlier flush has deleted.
                there = [one for one in states if not (one._deleted and one.deleted)]
                yield _Kind(model, operation, only_listed, there)

    def _owners(self, context: UOWTransaction) -> Iterator[tuple[State, tuple[ManyToMany, ...]]]:
        """The objects of which the flush has written collections, of whichever class."""
        classes = {state.class_ for state in context.states}
        known = {cls: found for cls in classes if (found := self._models.get(cls).many_to_many)}
        for state, (_, only_listed) in context.states.items() if known else ():
            if state.class_ in known and not only_listed:
                yield state, known[state.class_]

    def _count_updated(self, written: list[_Kind], replaced: _AllReplaced) -> None:
        for kind in written:
            if kind.operation is Operation.UPDATE:
                may_be = [self._may_be_updated(one, kind.only_listed) for one in kind.states]
                self._updated[kind.model.root] += sum(may_be)
            elif kind.operation is Operation.INSERT and replaced:
                self._updated[kind.model.root] += len(kind.states)

    def _in_columns(self, written: list[_Kind]) -> tuple[list[_Kind], list[DoneToMany]]:
        """What was done to many objects that are alike, and the others."""
        others, to_many = [], []
        for kind in written:
            many = None
            if len(kind.states) >= _MANY:
                many = done_to_many(kind.model, kind.operation, kind.states, self._old)
            if many is None:
                others.append(kind)
            elif many.keys:
                to_many.append(many)
        return others, to_many

    def _add_memberships(
        self, done: list[Done], found: dict[State, dict[str, Membership]]
    ) -> list[Done]:
        """Add changes of collections to what was done; returns what else was changed by them."""
        known, others = {one.state: one for one in done}, []
        for state, members in found.items():
            edits = {
                name: edit for name, one in members.items() if (edit := one.edit()) != _NO_EDIT
            }
            if state in known:
                # One that is brought back has all of its members there already.
                deltas = known[state].deltas
                deltas.update((name, edit) for name, edit in edits.items() if name not in deltas)
            elif is_marked(state):
                continue  # it is not there, for the log
            elif edits and (model := self._models.concerned(state.class_)) is not None:
                key = self._key_of(state)
                others.append(Done(model, state, Operation.UPDATE, dict(edits), (), key))
        return others

    def _key_of(self, state: State) -> str:
        model = self._models.get(state.class_)
        key = model.key(state) or model.stored_key(state)
        assert key is not None  # the flush has given it one
        return key

    def _one_done(self, kind: _Kind, state: State, replaced: _AllReplaced) -> Done | None:
        model = kind.model
        if kind.operation is Operation.INSERT:
            return self._came(model, state, replaced)
        fetched = self._old.fetched(state) if self._old.any_fetched else NOTHING
        stored_key = model.stored_key(state)
        assert stored_key is not None
        if kind.operation is Operation.DELETE:
            removed = stored(model, state, fetched)
            if _has_mark(model, removed):
                return None  # it was removed already
            return Done(model, state, Operation.DELETE, {}, (), stored_key, None, removed)
        deltas = updated(model, state, fetched)
        key = stored_key
        if not model.identity_names.isdisjoint(deltas):  # else it was assigned what it had
            key = model.key(state) or stored_key
        unread: tuple[str, ...] = ()
        if (model.volatile or self._old.any_noted) and self._may_be_updated(
            state, kind.only_listed
        ):
            unread = self._volatile(model, state, deltas)
        former = stored_key if stored_key != key else None
        if model.removal is not None:
            mark = deltas.get(model.removal.field)
            new = state.dict.get(model.removal.field)
            old = mark.old if isinstance(mark, Change) else new
            if (old is None) != (new is None):
                return self._come_or_gone(model, state, gone=old is None)
            if new is not None:
                return None  # it is not there, for the log
        if not deltas and not unread:
            return None
        return Done(model, state, Operation.UPDATE, deltas, unread, key, former)

    def _came(self, model: Model, state: State, replaced: _AllReplaced) -> Done | None:
        """What a new object is: an INSERT, or a change of the row it takes the place of."""
        values = state.obj().__dict__  # the session holds it
        brought, unread = inserted(model, state, values)
        if model.removal is not None and _has_mark(model, brought):
            return None  # it comes removed
        key = model.key_in(values)
        assert key is not None  # the flush has given it one
        before = replaced.get((model.entity, key)) if replaced else None
        if before is None:
            return Done(model, state, Operation.INSERT, {}, unread, key, None, brought)
        if self._is_one_of_several(model):
            self._old.doubt(state)
        return before.by(state, key)

    def _come_or_gone(self, model: Model, state: State, *, gone: bool) -> Done:
        """What to mark an object does to it, or to take the mark away."""
        if gone:
            whole = stored(model, state, self._old.fetched(state))
            key = model.stored_key(state)
            assert key is not None  # it was in the database
            return Done(model, state, Operation.DELETE, {}, (), key, whole=whole)
        whole = tuple(state.dict.get(name, UNKNOWN) for name in model.fields)
        missing = tuple(name for name in model.fields if name not in state.dict)
        members: dict[str, Delta] = {
            one.name: SetEdit(keys, frozenset())
            for one in model.many_to_many
            if (keys := frozenset(stored_members(self._session, state.obj(), one)))
        }
        key = self._key_of(state)
        return Done(model, state, Operation.INSERT, members, missing, key, whole=whole)

    def _may_be_updated(self, state: State, only_listed: bool) -> bool:
        return not only_listed or self._old.was_updated(state)

    def _is_one_of_several(self, model: Model) -> bool:
        """Whether objects of a model have to be doubted that were updated.

        Of several rows SQLAlchemy gives each object what onupdate made of the first, and the
        objects keep it: what they hold is no old value for the next flush.
        """
        return bool(model.per_row) and self._updated[model.root] > 1

    def _volatile(self, model: Model, state: State, deltas: dict[str, Delta]) -> tuple[str, ...]:
        """Add what the UPDATE changed by itself; returns the fields that have to be read."""
        noted = self._old.noted(state)
        if noted is None:
            if not deltas:
                return ()
            noted = dict.fromkeys(model.volatile, UNKNOWN)
        unread = []
        for name, old in noted.items():
            if name in state.dict:
                note(deltas, model.fields[name], old, state.dict[name])
            if name not in state.dict or (name in deltas and self._old.is_doubtful(state, name)):
                deltas[name] = Change(old, UNKNOWN)
                unread.append(name)
        if self._is_one_of_several(model) and (deltas or unread):
            self._old.doubt(state)
            for name in model.per_row.difference(state.committed_state, unread):
                deltas[name] = Change(noted[name], UNKNOWN)
                unread.append(name)
        return tuple(unread)

    def _read_back(self, done: list[Done]) -> bool:
        """Read, in one SELECT per mapper, the values that only the database knows, if any."""
        by_place: dict[tuple[Model, Any], dict[tuple[Any, ...], Done]] = {}
        sharded = is_sharded(self._session)
        for one in done:
            if one.unread:
                identity = tuple(one.state.dict[name] for name in one.model.identity)
                place = one.model, one.state.identity_token if sharded else None
                by_place.setdefault(place, {})[identity] = one
        for (model, shard), ones in by_place.items():
            names = sorted({name for one in ones.values() for name in one.unread})
            connection = connection_of(self._session, model, shard)
            for identity, values in fetch_columns(connection, model, names, ones):
                complete(ones[identity], values)
        return bool(by_place)


def _has_mark(model: Model, whole: tuple[Any, ...]) -> bool:
    """Whether an object with these values is marked as removed."""
    return model.removal is not None and model.named(whole)[model.removal.field] is not None
