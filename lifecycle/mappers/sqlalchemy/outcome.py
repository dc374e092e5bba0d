"""What one flush did to one object, and the order in which that can be replayed."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Dialect

from lifecycle.changes import Change, ChangeSet, Delta, Operation
from lifecycle.errors import RecordingError
from lifecycle.faults import Faults, attempted_label
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import State, Values, note
from lifecycle.markers import UNKNOWN
from lifecycle.written import Written

__all__ = [
    "Done",
    "as_written",
    "complete",
    "in_order",
    "inserted",
    "moves_in_order",
    "turned_into_update",
]


class Done(Struct):
    """What the flush did to one object, and which of its values the database still has to tell.

    What an INSERT brought or a DELETE took away is in ``whole``, all other changes in ``deltas``.
    """

    model: Model
    state: State
    operation: Operation
    deltas: dict[str, Delta]
    unread: tuple[str, ...]
    key: str
    former_key: str | None = None
    whole: dict[str, Any] | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether it turned out that nothing changed."""
        return self.whole is None and not self.deltas

    def changes(self) -> ChangeSet:
        """The same as a changeset, of values as the object has them."""
        return _changes(self.whole, self.deltas, self.operation)


def _changes(
    whole: dict[str, Any] | None, deltas: dict[str, Delta], operation: Operation
) -> ChangeSet:
    if whole is None:
        return ChangeSet(deltas, operation)
    changes = ChangeSet.of_state(whole, operation)
    return ChangeSet({**changes, **deltas}, operation) if deltas else changes


_by_name: Final = attrgetter("model.entity", "key")


def _as_added(one: Done) -> tuple[int, str, str]:
    return one.state.insert_order or 0, one.model.entity, one.key


def in_order(done: list[Done]) -> list[Done]:
    """What was done in an order that can be replayed.

    Changes of keys, inserts as they were added, then updates, then deletes. Raises as
    `moves_in_order`.
    """
    moves: list[Done] = []
    found: dict[Operation, list[Done]] = {one: [] for one in Operation}
    for one in done:
        (found[one.operation] if one.former_key is None else moves).append(one)
    return [
        *moves_in_order(moves),
        *sorted(found[Operation.INSERT], key=_as_added),
        *sorted(found[Operation.UPDATE], key=_by_name),
        *sorted(found[Operation.DELETE], key=_by_name),
    ]


def moves_in_order(moves: list[Done]) -> Iterator[Done]:
    """Changes of keys, each after the one that gives its new key up.

    Raises ``RecordingError`` when objects exchange their keys, which no order can tell.
    """
    waiting = {(one.model.entity, one.former_key): one for one in moves}
    while waiting:
        free = [one for one in waiting.values() if (one.model.entity, one.key) not in waiting]
        if not free:
            raise RecordingError(
                f"{', '.join(f'{entity} {key}' for entity, key in waiting)} exchange their keys in "
                "one flush, which the log cannot tell: move one of them to a free key and flush"
            )
        for one in sorted(free, key=_by_name):
            del waiting[one.model.entity, one.former_key]
            yield one


def inserted(model: Model, state: State) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What an INSERT wrote, and the fields whose value the database worked out."""
    values = state.dict
    try:
        return {name: values[name] for name in model.fields}, ()
    except KeyError:
        pass
    expired = state.expired_attributes
    unread = tuple(name for name in model.fields if name not in values and name in expired)
    found = {name: values.get(name) for name in model.fields}
    found.update(dict.fromkeys(unread, UNKNOWN))
    return found, unread


def turned_into_update(
    model: Model, state: State, brought: Values, removed: Values
) -> tuple[dict[str, Delta], tuple[str, ...]]:
    """The difference an INSERT made that took the place of a deleted row, as an UPDATE.

    What the new object does not set stays in the row, unless the database or an ``onupdate``
    changes it; also gives the fields that have to be read for that, or for having been set to an
    SQL expression.
    """
    worked_out = state.expired_attributes
    unread = tuple(
        name
        for name in model.fields
        if (name in model.volatile and name not in state.committed_state)
        or (name in worked_out and name not in state.dict)
    )
    deltas: dict[str, Delta] = {}
    for name, field in model.fields.items():
        if name in unread:
            deltas[name] = Change(removed[name], UNKNOWN)
        elif name in state.dict:
            note(deltas, field, removed[name], brought[name])
    return deltas, unread


def complete(one: Done, values: Values) -> None:
    """Fill in what the database has told."""
    for name in one.unread:
        if one.whole is not None:
            one.whole[name] = values[name]
            continue
        delta = one.deltas.get(name)
        old = delta.old if isinstance(delta, Change) else UNKNOWN
        note(one.deltas, one.model.fields[name], old, values[name])


def as_written(one: Done, dialect: Dialect, faults: Faults) -> Written:
    """The same with values as they go to the log; what cannot be told goes to `Faults.settle`."""
    model = one.model
    try:
        whole = None if one.whole is None else model.logged_state(one.whole, dialect)
        deltas = model.logged_deltas(one.deltas, dialect) if one.deltas else one.deltas
        label = model.policy.label_of(one.state.obj()) if model.policy.label is not None else None
        error = None
    except Exception:
        whole, deltas, label, error = _as_far_as_known(one, dialect, faults)
    changes = _changes(whole, deltas, one.operation)
    return Written(model.entity, one.key, changes, model.policy, one.former_key, label, error)


def _as_far_as_known(
    one: Done, dialect: Dialect, faults: Faults
) -> tuple[dict[str, Any] | None, dict[str, Delta], str | None, str | None]:
    """Values, changes and label as far as they can be told, and what is wrong with the rest."""
    model = one.model
    found: dict[str, str] = {}

    def logged(name: str, value: Any) -> Any:
        return model.logged_or_unknown(found, name, value, dialect)

    whole = None
    if one.whole is not None:
        whole = {name: logged(name, value) for name, value in one.whole.items()}
    deltas = {
        name: Change(logged(name, delta.old), logged(name, delta.new))
        if isinstance(delta, Change)
        else delta
        for name, delta in one.deltas.items()
    }
    label = attempted_label(found, model.policy, one.state.obj())
    return whole, deltas, label, faults.settle(model.entity, one.key, found)
