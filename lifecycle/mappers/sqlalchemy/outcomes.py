"""After a flush: what it did to each of its objects, as it is to be told and recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy.orm import Session, UOWTransaction

from lifecycle.changes import Change, Delta, Operation, SetEdit
from lifecycle.mappers.sqlalchemy.collections import ManyToMany, Membership, memberships
from lifecycle.mappers.sqlalchemy.fetching import connection_of, fetch_columns
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.old_values import OldValues
from lifecycle.mappers.sqlalchemy.outcome import (
    Done,
    complete,
    inserted,
    moves_in_order,
    replay_order,
    turned_into_update,
)
from lifecycle.mappers.sqlalchemy.reading import State, note, stored, updated
from lifecycle.markers import UNKNOWN

__all__ = ["Outcomes"]

_NO_EDIT: Final = SetEdit(frozenset(), frozenset())


class Outcomes:
    """Works out what one flush did, from SQLAlchemy's plan of it and the old values kept."""

    def __init__(self, session: Session, models: Models, old: OldValues) -> None:
        self._session = session
        self._models = models
        self._old = old
        self._several: Counter[Model] = Counter()

    def of(self, context: UOWTransaction) -> list[Done]:
        """What the flush did to each object, with what only the database knew read back."""
        done = list(self._all(context))
        self._read_back(done)
        return [one for one in done if not one.is_nothing]  # as an expression may turn out to be

    def _all(self, context: UOWTransaction) -> Iterator[Done]:
        """What the flush did to each object, in an order that can be replayed.

        Changes of keys come first, so that a key given up is free for what comes after.
        """
        replaced: dict[tuple[str, str | None], State] = {}
        others: list[tuple[Model, State, bool, bool]] = []
        owners: list[tuple[State, tuple[ManyToMany, ...]]] = []
        new = self._session._new
        classes = {state.class_ for state in context.states}
        models = {cls: (self._models.get(cls), self._models.concerned(cls)) for cls in classes}
        for state, (is_delete, list_only) in context.states.items():
            model, concerned = models[state.class_]
            if model.many_to_many and not list_only:
                owners.append((state, model.many_to_many))
            if concerned is None:
                continue
            if list_only and state in new:
                continue  # new, and not among the objects given to session.flush()
            if state._deleted and state.deleted:
                continue  # by an earlier flush
            if is_delete and list_only:
                replaced[model.entity, model.stored_key(state)] = state
            else:
                others.append((model, state, is_delete, list_only))
        self._several = Counter(
            model
            for model, state, is_delete, list_only in others
            if not (state in new or is_delete or list_only)
        )
        done = [
            one
            for model, state, is_delete, list_only in others
            if (one := self._one_done(model, state, is_delete, list_only, replaced)) is not None
        ]
        if owners:
            done += self._add_memberships(done, memberships(context, owners, self._key_of))
        moves = [one for one in done if one.former_key is not None]
        if moves:
            yield from moves_in_order(moves)
            done = [one for one in done if one.former_key is None]
        done.sort(key=replay_order)
        yield from done

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
                known[state].deltas.update(edits)
            elif edits and (model := self._models.concerned(state.class_)) is not None:
                key = self._key_of(state)
                others.append(Done(model, state, Operation.UPDATE, dict(edits), (), key))
        return others

    def _key_of(self, state: State) -> str:
        model = self._models.get(state.class_)
        key = model.key(state) or model.stored_key(state)
        assert key is not None  # the flush has given it one
        return key

    def _one_done(
        self,
        model: Model,
        state: State,
        is_delete: bool,
        list_only: bool,
        replaced: dict[tuple[str, str | None], State],
    ) -> Done | None:
        fetched = self._old.fetched(state)
        # Not of a new object, which has it already when its defaults were read at once.
        stored_key = None if state in self._session._new else model.stored_key(state)
        if is_delete:
            assert stored_key is not None
            removed = stored(model, state, fetched)
            return Done(model, state, Operation.DELETE, {}, (), stored_key, whole=removed)
        # Of one that is expired nothing is in memory, nor was its key changed.
        key = model.key(state) or stored_key
        assert key is not None  # the flush has given it one
        if stored_key is None:
            brought, unread = inserted(model, state)
            old = replaced.get((model.entity, key)) if replaced else None
            if old is None:
                return Done(model, state, Operation.INSERT, {}, unread, key, whole=brought)
            removed = stored(model, old, self._old.fetched(old))
            deltas, unread = turned_into_update(model, state, brought, removed)
            return Done(model, state, Operation.UPDATE, deltas, unread, key)
        deltas = updated(model, state, fetched)
        unread = ()
        if not list_only or self._old.was_updated(state):
            unread = self._volatile(model, state, deltas)
        former = stored_key if stored_key != key else None
        if not deltas and not unread:
            return None
        return Done(model, state, Operation.UPDATE, deltas, unread, key, former)

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
            else:
                deltas[name] = Change(old, UNKNOWN)
                unread.append(name)
        if model.per_row and self._several[model] > 1 and (deltas or unread):
            # Of several rows SQLAlchemy gives each object what onupdate made of the first.
            for name in model.per_row.difference(state.committed_state, unread):
                deltas[name] = Change(noted[name], UNKNOWN)
                unread.append(name)
        return tuple(unread)

    def _read_back(self, done: list[Done]) -> None:
        """Read, in one SELECT per mapper, the values that only the database knows."""
        by_model: dict[Model, dict[tuple[Any, ...], Done]] = {}
        for one in done:
            if one.unread:
                identity = tuple(one.state.dict[name] for name in one.model.identity)
                by_model.setdefault(one.model, {})[identity] = one
        for model, ones in by_model.items():
            names = sorted({name for one in ones.values() for name in one.unread})
            for identity, values in fetch_columns(
                connection_of(self._session, model), model, names, ones
            ):
                complete(ones[identity], values)
