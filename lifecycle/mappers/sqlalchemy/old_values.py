"""The old values of one flush: what the database holds, kept before it is overwritten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.base import NO_VALUE

from lifecycle.changes import Operation
from lifecycle.forms import ATOMS
from lifecycle.mappers.sqlalchemy.fetching import fetch_before
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.reading import State, is_expression, is_known, old_value

__all__ = ["NOTHING", "Doubts", "OldValues"]

NOTHING: Final[Mapping[str, Any]] = {}
"""What was read for most objects."""

_FIXED: Final = ATOMS | {InstanceState}
"""Types of what an object's dict holds, when none of it can have been changed in place."""


class Doubts:
    """Objects of a session whose values in memory need not be what the database holds.

    With ``strict`` that is every object, and what is read of it is locked, so that it stays true
    until it is overwritten.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict: Final = strict
        self.any = strict
        """Whether there is anything to ask: it is asked for each object of a flush."""
        self._all = strict
        self._states: Final[WeakSet[State]] = WeakSet()
        self._locked: Final[WeakSet[State]] = WeakSet()

    def add(self, state: State, *, lock: bool = False) -> None:
        """Its values come from elsewhere; with ``lock`` its row is locked when it is read."""
        self._states.add(state)
        if lock:
            self._locked.add(state)
        self.any = True

    def lock(self, states: Iterable[State]) -> bool:
        """Whether the rows of these are to be locked when they are read."""
        return self.strict or (len(self._locked) > 0 and not self._locked.isdisjoint(states))

    def add_all(self) -> None:
        """Rows were changed behind the objects' backs; nobody tells which objects are theirs."""
        self.any = self._all = True

    def end(self, session: Session) -> None:
        """A transaction has ended: what its objects still hold may be written by others now."""
        self._states.clear()
        keeps = not session.expire_on_commit and len(session.identity_map) > 0
        self.any = self._all = self.strict or keeps

    def __contains__(self, state: State) -> bool:
        return self._all or state in self._states


class OldValues:
    """Reads what memory lacks, and keeps what will not show any more after the writing.

    Of the doubted it takes nothing from memory.
    """

    def __init__(self, session: Session, models: Models, doubted: Doubts) -> None:
        self._doubted = doubted
        self._session = session
        self._models = models
        self._fetched: dict[State, dict[str, Any]] = {}
        self._noted: dict[State, dict[str, Any]] = {}
        self._held: dict[State, dict[str, Any]] = {}
        self._examined: dict[State, Operation] = {}
        self._updated: set[State] = set()

    def doubt(self, state: State) -> None:
        """Memory need not have what the flush has made of an object: the next one reads it."""
        self._doubted.add(state)

    def fetched(self, state: State) -> Mapping[str, Any]:
        """The values that were read for an object."""
        return self._fetched.get(state, NOTHING)

    def noted(self, state: State) -> Mapping[str, Any] | None:
        """The values kept of fields that the UPDATE changes without a trace in memory."""
        return self._noted.get(state)

    def is_doubtful(self, state: State, name: str) -> bool:
        """Whether memory has a doubted value of such a field still, and none of the flush.

        Nobody tells whether there was an UPDATE: what was assigned may have been what was there.
        """
        held = self._held.get(state)
        return held is not None and name in held and held[name] is state.dict.get(name)

    @property
    def any_fetched(self) -> bool:
        """Whether values were read for any object."""
        return bool(self._fetched)

    @property
    def any_noted(self) -> bool:
        """Whether such values are kept of any object."""
        return bool(self._noted)

    def any_fetched_of(self, states: Iterable[State]) -> bool:
        """Whether values were read for any of these."""
        return bool(self._fetched) and not self._fetched.keys().isdisjoint(states)

    def any_noted_of(self, states: Iterable[State]) -> bool:
        """Whether values are kept of any of these as `noted` has them."""
        return bool(self._noted) and not self._noted.keys().isdisjoint(states)

    def was_updated(self, state: State) -> bool:
        """Whether the flush came to update an object, listed for that or not."""
        return state in self._updated

    def fetch_missing(self, pending: Mapping[Operation, Collection[State]]) -> None:
        """Read what is about to be overwritten or deleted and is not in memory.

        One SELECT for the objects of a mapper; none when memory has it all.
        """
        missing: dict[Model, dict[State, Collection[str]]] = {}
        for operation, states in pending.items():
            self._examined.update(dict.fromkeys(states, operation))
            if operation is Operation.INSERT:
                continue
            for model, of_model in self._concerned(states):
                if not self._doubted.any:
                    of_model = _in_question(model, of_model, operation)
                for state in of_model:
                    if names := self._missing(model, state, operation):
                        missing.setdefault(model, {})[state] = names
        self._fetch(missing)

    def _fetch(self, missing: Mapping[Model, dict[State, Collection[str]]]) -> None:
        for model, states in missing.items():
            lock = self._doubted.lock(states)
            found = fetch_before(self._session, model, states, lock=lock)
            for state, values in found:
                self._fetched.setdefault(state, {}).update(values)

    def _missing(self, model: Model, state: State, operation: Operation) -> Collection[str]:
        doubted = self._doubted.any and state in self._doubted
        names = model.names if doubted else _missing(model, state, operation)
        if not names:
            return ()
        known = self._fetched.get(state, NOTHING)
        return [name for name in names if name not in known]

    def _concerned(self, states: Iterable[State]) -> list[tuple[Model, list[State]]]:
        """These objects by their model, as far as anybody cares about it."""
        found = []
        for cls in {state.class_ for state in states}:
            model = self._models.concerned(cls)
            if model is not None:
                found.append((model, [state for state in states if state.class_ is cls]))
        return found

    def note_all(self, states: Collection[State]) -> None:
        """`note` each of these whose model anybody cares about."""
        for model, some in self._concerned(states):
            if model.volatile or not _assign_atoms(some):
                for state in some:
                    self.note(model, state)

    def note(self, model: Model, state: State) -> None:
        """Keep the old values that will not show after the UPDATE has changed them."""
        values = state.dict
        names = [
            name
            for name in state.committed_state
            if type(values.get(name)) not in ATOMS
            and name in model.names
            and is_expression(values.get(name))
        ]
        if names or model.volatile:
            fetched = self.fetched(state)
            self._noted[state] = {
                name: old_value(state, name, fetched) for name in (*model.volatile, *names)
            }
            if fetched and state in self._doubted:
                self._held[state] = {one: values[one] for one in model.volatile if one in values}

    def late(self, state: State, operation: Operation) -> None:
        """The same for what only the flush itself decided: to write an object, or more of it."""
        if operation is Operation.UPDATE:
            self._updated.add(state)
        examined = self._examined.get(state)
        if examined is not None and operation is not Operation.UPDATE:
            return
        if (
            examined is Operation.UPDATE  # one to delete may be updated before that
            and _assign_atoms((state,))
            and not any(old is NO_VALUE for old in state.committed_state.values())
        ):
            return
        model = self._models.concerned(state.class_)
        if model is None:
            return
        if operation is not Operation.INSERT and (names := self._missing(model, state, operation)):
            self._fetch({model: {state: names}})
        if operation is Operation.UPDATE:
            self.note(model, state)


def _in_question(model: Model, states: list[State], operation: Operation) -> list[State]:
    """Those of some objects of which memory may lack what is about to be overwritten or deleted.

    As a rule there are none, and that is seen without looking at each value of each object.
    """
    if operation is Operation.DELETE and model.is_fixed:
        return [
            one
            for one in states
            if one.committed_state or not one.obj().__dict__.keys() >= model.names
        ]
    if operation is Operation.UPDATE and model.is_still:
        overwritten = chain.from_iterable(one.committed_state.values() for one in states)
        return [] if ATOMS.issuperset(map(type, overwritten)) else states
    return states


def _assign_atoms(states: Iterable[State]) -> bool:
    """Whether nothing but plain values has been assigned to these."""
    assigned = (map(one.obj().__dict__.get, one.committed_state) for one in states)
    return ATOMS.issuperset(map(type, chain.from_iterable(assigned)))


def _missing(model: Model, state: State, operation: Operation) -> Collection[str]:
    """The fields an UPDATE or DELETE is going to overwrite whose value memory does not know."""
    values, committed = state.dict, state.committed_state
    if operation is not Operation.UPDATE:
        if (
            not committed
            and values.keys() >= model.names
            and _FIXED.issuperset(map(type, values.values()))
        ):
            return ()
        return [name for name in model.names if not is_known(state, name)]
    names = [
        name for name, old in committed.items() if type(old) not in ATOMS and name in model.names
    ]
    if model.volatile:
        names += model.volatile
    if model.many_to_one:
        names += [name for name in _columns_to_come(model, state) if name in model.names]
    return {name for name in names if not is_known(state, name)} if names else ()


def _columns_to_come(model: Model, state: State) -> Iterator[str]:
    """The columns of relationships that were assigned to."""
    for relationship, columns in model.many_to_one:
        if relationship in state.committed_state:
            for local, _ in columns:
                yield local
