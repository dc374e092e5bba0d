"""Reading an object's changes from SQLAlchemy's own book-keeping, without any SQL.

SQLAlchemy keeps, for each attribute set since the last flush, the value it had before
(``committed_state``); the present values are in ``dict``. Reading these two is an order of
magnitude cheaper than asking for attribute histories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias

from sqlalchemy import and_, not_, select
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.base import NEVER_SET, NO_VALUE
from sqlalchemy.sql import ClauseElement

from lifecycle.changes import Change, Delta, Operation
from lifecycle.equality import same
from lifecycle.forms import ATOMS
from lifecycle.mappers.sqlalchemy.collections import pending_edits
from lifecycle.mappers.sqlalchemy.model import Field, Model
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.removal import WITH_DELETED

__all__ = [
    "NOTED",
    "LiveObject",
    "State",
    "Values",
    "is_expression",
    "is_known",
    "is_missing",
    "is_noted",
    "note",
    "old_value",
    "pending",
    "removing",
    "stored",
    "updated",
]

State = InstanceState[Any]
Values = Mapping[str, Any]
_Place: TypeAlias = tuple[dict[str, Any], str, Any]  # in a dict, under a name, there was a value


def is_expression(value: Any) -> bool:
    """Whether a value is SQL that the database is to work out."""
    if type(value) in ATOMS:  # the common case, and asking an object for what it lacks is slow
        return False
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


NOTED: Final = "_lifecycle_noted"
"""Where a load hook notes something about an object: among its attributes, past the mapping."""


def is_noted(state: State) -> bool:
    """Whether a load hook has noted something about an object."""
    return state.dict.get(NOTED) is not None


def is_known(state: State, name: str) -> bool:
    """Whether memory has the value the database holds for a field, beyond doubt.

    Of a plain container nobody can tell whether it was changed in place since it was read.
    """
    if name in state.committed_state:
        old = state.committed_state[name]
        return not is_missing(old) and not isinstance(old, _CONTAINERS)
    return name in state.dict and not isinstance(state.dict[name], _CONTAINERS)


_CONTAINERS: Final = (dict, list, set, bytearray)

_COMPARED: Final = ATOMS - {Decimal}
"""Types of values that can be compared with others of theirs; a Decimal may be a signalling NaN."""


def old_value(state: State, name: str, fetched: Values) -> Any:
    """The value the database holds for a field, ``UNKNOWN`` when nothing in memory tells."""
    if name in fetched:
        return fetched[name]
    if name in state.committed_state:
        old = state.committed_state[name]
        return UNKNOWN if is_missing(old) else old
    return state.dict.get(name, UNKNOWN)


def is_missing(value: Any) -> bool:
    """Whether an old value is SQLAlchemy's sign that it was not loaded."""
    return value is NO_VALUE or value is NEVER_SET


def pending(model: Model, state: State, operation: Operation, fetched: Values) -> dict[str, Delta]:
    """What the next flush does to an object; ``fetched`` holds old values read for it."""
    if operation is Operation.UPDATE:
        found = updating(model, state, fetched)
    elif operation is Operation.INSERT:
        found = inserting(model, state)
    else:
        found = removing(model, state, fetched)
    if model.many_to_many:
        found.update(pending_edits(model.many_to_many, state, operation))
    return found


def inserting(model: Model, state: State) -> dict[str, Delta]:
    """What the INSERT of a new object writes, as far as it is known before it."""
    values, instance = state.dict, state.obj()
    found: dict[str, Delta] = {}
    for name in model.fields:
        # A dataclass default need not be in the dict yet, but the attribute gives it.
        value = values[name] if name in values else getattr(instance, name, None)
        if value is not None or name in values:
            found[name] = Change(ABSENT, UNKNOWN if is_expression(value) else value)
    for name, value in _pending_foreign_keys(model, state):
        found[name] = Change(ABSENT, value)
    return found


def updating(model: Model, state: State, fetched: Values) -> dict[str, Delta]:
    """What the next UPDATE of an object changes; ``fetched`` holds old values read for it.

    An old value that is nowhere in memory is ``UNKNOWN``, and so is a new one that the database
    will work out.
    """
    found = updated(model, state, fetched)
    for name, new in _pending_foreign_keys(model, state):
        note(found, model.fields[name], old_value(state, name, fetched), new)
    return found


def updated(model: Model, state: State, fetched: Values) -> dict[str, Delta]:
    """What attributes set since the last flush changed, as `updating` but after the UPDATE."""
    found: dict[str, Delta] = {}
    fields, values = model.fields, state.dict
    for name, old in state.committed_state.items():
        field = fields.get(name)
        if field is None or name not in values:
            continue
        new = values[name]
        kind = type(new)
        if kind is type(old) and kind in _COMPARED and field.compares and name not in fetched:
            if old is not new and old != new:  # as a rule
                found[name] = Change(old, new)
        elif kind in ATOMS and type(old) in ATOMS and name not in fetched:
            if old is not new and not field.equal(old, new):
                found[name] = Change(old, new)
        elif is_missing(old):
            old = fetched.get(name, UNKNOWN)
            note(found, field, old, new)
            if name not in found and type(new) not in ATOMS and not same(old, new):
                found[name] = Change(old, new)  # as True and 1 in JSON, which are equal in Python
        elif old is not new and (is_expression(new) or not field.equal(old, new)):
            # Else the flush leaves it out, though the database may hold something else.
            note(found, field, fetched.get(name, old), new)
    return found


def removing(model: Model, state: State, fetched: Values) -> dict[str, Delta]:
    """What the DELETE of an object takes away."""
    removed = zip(model.fields, stored(model, state, fetched), strict=True)
    return {name: Change(value, ABSENT) for name, value in removed}


def stored(model: Model, state: State, fetched: Values) -> tuple[Any, ...]:
    """The values the database holds for all fields of an object, in their order."""
    if not fetched and not state.committed_state:
        try:
            return model.values_of(state.dict)
        except KeyError:
            pass
    return tuple(old_value(state, name, fetched) for name in model.fields)


def note(found: dict[str, Delta], field: Field, old: Any, new: Any) -> None:
    """Add a field's change to those found, or take it away when it is none."""
    if is_expression(new):
        found[field.name] = Change(old, UNKNOWN)
    elif old is UNKNOWN or new is UNKNOWN or not field.equal(old, new):
        found[field.name] = Change(old, new)
    else:
        found.pop(field.name, None)


def _pending_foreign_keys(model: Model, state: State) -> Iterator[tuple[str, Any]]:
    """The columns a many-to-one assignment will set; the flush itself does it only later."""
    committed, values = state.committed_state, state.dict
    for relationship, columns in model.many_to_one:
        if relationship not in committed or relationship not in values:
            continue
        target = values[relationship]
        if committed[relationship] is target:
            continue
        for local, remote in columns:
            if local in model.fields:
                yield local, None if target is None else _column_of(target, remote)


def _column_of(target: Any, name: str) -> Any:
    value = target.__dict__.get(name)
    return UNKNOWN if value is None else value


class LiveObject:
    """An object about to be written, as a changeset sees it."""

    __slots__ = ("_assigned", "_fetched", "_found", "_model", "_operation", "_places", "_state")

    def __init__(self, model: Model, state: State, operation: Operation, fetched: Values) -> None:
        self._model = model
        self._state = state
        self._operation = operation
        self._fetched = fetched
        self._found: dict[str, Delta] = {}
        self._assigned = -1
        self._places: list[_Place] = []

    def read(self) -> dict[str, Delta]:
        """The object's changes as they are now; the same dict while nothing was assigned.

        An attribute that is assigned to is new among the committed ones, or has another value in
        its place. An equal value will not do: it may be the same number with another scale.
        """
        if len(self._state.committed_state) == self._assigned:
            for values, name, value in self._places:
                if values.get(name, ABSENT) is not value:
                    break
            else:
                return self._found
        self._found = self._work_out()
        self._remember()
        return self._found

    def _remember(self) -> None:
        """Keep what was just read, and from where, unless it could be changed in place."""
        fields, values, assigned = self._model.fields, self._state.dict, self._state.committed_state
        names = assigned if self._operation is Operation.UPDATE else fields
        places = [(values, name, values.get(name, ABSENT)) for name in names if name in fields]
        targets: list[_Place] = []
        for relationship, columns in self._model.many_to_one:
            if relationship in assigned:
                target = values.get(relationship)
                targets.append((values, relationship, target))
                if target is not None:
                    theirs = target.__dict__
                    places += [(theirs, name, theirs.get(name, ABSENT)) for _, name in columns]
        fixed = all(type(value) in ATOMS or isinstance(value, Enum) for *_, value in places)
        fixed = fixed and not any(one.name in assigned for one in self._model.many_to_many)
        self._places = places + targets
        self._assigned = len(assigned) if fixed else -1

    def _work_out(self) -> dict[str, Delta]:
        found = pending(self._model, self._state, self._operation, self._fetched)
        if not found and is_noted(self._state):
            # What is assigned may be what the database has, and not what a load hook has made of
            # it: then it is to be written, with the rest of that.
            found = pending(self._model, self._state, self._operation, {})
        return found

    def write(self, field: str, value: Any) -> None:
        """Set a mapped attribute. Raises ``LookupError`` for a name that is not mapped."""
        model = self._model
        if field not in model.fields and field not in model.mapper.attrs:
            raise LookupError(
                f"{model.cls.__qualname__} has no mapped field {field!r}; "
                f"it has {', '.join(sorted(model.fields))}"
            )
        setattr(self._state.obj(), field, value)

    def is_taken(self, field: str, value: Any) -> bool:
        """Whether another object of the model, in the database or the session, has that value."""
        session, column = self._state.session, getattr(self._model.root, field)
        assert session is not None  # it is about to be flushed
        for other in session._new:
            is_another = other is not self._state and issubclass(other.class_, self._model.root)
            if is_another and other.dict.get(field) == value:
                return True
        query = select(column).where(column == value).limit(1)
        if self._state.key is not None:
            own = zip(self._model.mapper.primary_key, self._state.key[1], strict=True)
            query = query.where(not_(and_(*(part == given for part, given in own))))
        with session.no_autoflush:
            found = session.execute(query, execution_options={WITH_DELETED: True})
            return found.first() is not None

    def fitted(self, field: str, value: Any) -> Any:
        """A value in the form that the field has it in."""
        return self._model.fitted(field, value)
