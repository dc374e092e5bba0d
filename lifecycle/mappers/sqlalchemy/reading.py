"""Reading an object's changes from SQLAlchemy's own book-keeping, without any SQL.

SQLAlchemy keeps, for each attribute set since the last flush, the value it had before
(``committed_state``); the present values are in ``dict``. Reading these two is an order of
magnitude cheaper than asking for attribute histories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.base import NEVER_SET, NO_VALUE
from sqlalchemy.sql import ClauseElement

from lifecycle.changes import Change, Delta, Operation
from lifecycle.mappers.sqlalchemy.model import Field, Model
from lifecycle.mappers.sqlalchemy.values import ATOMS
from lifecycle.markers import ABSENT, UNKNOWN

__all__ = [
    "LiveObject",
    "State",
    "Values",
    "inserting",
    "is_expression",
    "is_loaded",
    "note",
    "old_value",
    "removing",
    "updated",
    "updating",
]

State = InstanceState[Any]
Values = Mapping[str, Any]


def is_expression(value: Any) -> bool:
    """Whether a value is SQL that the database is to work out."""
    if type(value) in ATOMS:  # the common case, and asking an object for what it lacks is slow
        return False
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


def is_loaded(state: State, name: str) -> bool:
    """Whether the value the database holds for a field is in memory."""
    if name in state.committed_state:
        return not _is_missing(state.committed_state[name])
    return name in state.dict


def old_value(state: State, name: str, fetched: Values) -> Any:
    """The value the database holds for a field, ``UNKNOWN`` when nothing in memory tells."""
    if name in state.committed_state:
        old = state.committed_state[name]
        return fetched.get(name, UNKNOWN) if _is_missing(old) else old
    return state.dict[name] if name in state.dict else fetched.get(name, UNKNOWN)


def _is_missing(value: Any) -> bool:
    return value is NO_VALUE or value is NEVER_SET


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
        if old is not new:
            note(found, field, fetched.get(name, UNKNOWN) if _is_missing(old) else old, new)
    return found


def removing(model: Model, state: State, fetched: Values) -> dict[str, Delta]:
    """What the DELETE of an object takes away."""
    values, committed = state.dict, state.committed_state
    return {
        name: Change(
            values[name]
            if name in values and name not in committed
            else old_value(state, name, fetched),
            ABSENT,
        )
        for name in model.fields
    }


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

    __slots__ = ("_committed", "_fetched", "_found", "_model", "_operation", "_state", "_values")

    def __init__(self, model: Model, state: State, operation: Operation, fetched: Values) -> None:
        self._model = model
        self._state = state
        self._operation = operation
        self._fetched = fetched
        self._found: dict[str, Delta] = {}
        self._committed = 0
        self._values: dict[str, Any] | None = None

    def read(self) -> dict[str, Delta]:
        """The object's changes as they are now; the same dict while nothing was assigned."""
        if not self._is_as_before():
            self._found = self._work_out()
            self._remember()
        return self._found

    def _is_as_before(self) -> bool:
        values = self._state.dict
        if self._values is None or len(self._state.committed_state) != self._committed:
            return False
        try:
            return values == self._values
        except Exception:  # a value, such as an array, that cannot say whether it equals another
            return False

    def _remember(self) -> None:
        """Keep the values, unless one of them could be changed in place without a trace."""
        values = self._state.dict
        kinds = {type(values[name]) for name in self._model.fields if name in values}
        self._values = dict(values) if kinds <= ATOMS else None
        self._committed = len(self._state.committed_state)

    def _work_out(self) -> dict[str, Delta]:
        if self._operation is Operation.UPDATE:
            return updating(self._model, self._state, self._fetched)
        if self._operation is Operation.INSERT:
            return inserting(self._model, self._state)
        return removing(self._model, self._state, self._fetched)

    def write(self, field: str, value: Any) -> None:
        """Set a mapped attribute. Raises ``LookupError`` for a name that is not mapped."""
        model = self._model
        if field not in model.fields and field not in model.mapper.attrs:
            raise LookupError(
                f"{model.cls.__qualname__} has no mapped field {field!r}; "
                f"it has {', '.join(sorted(model.fields))}"
            )
        setattr(self._state.obj(), field, value)
