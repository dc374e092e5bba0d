"""What one flush did to one object, and the order in which that can be replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from sqlalchemy import Connection

from lifecycle.changes import Change, ChangeSet, Delta, Operation
from lifecycle.errors import RecordingError
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import State, Values, note
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.written import Written

__all__ = [
    "Done",
    "as_written",
    "complete",
    "inserted",
    "moves_in_order",
    "replay_order",
    "turn_into_update",
]


class Done(NamedTuple):
    """What the flush did to one object, and which of its values the database still has to tell."""

    model: Model
    state: State
    operation: Operation
    deltas: dict[str, Delta]
    unread: tuple[str, ...]
    key: str
    former_key: str | None


_RANK: Final = {Operation.INSERT: 0, Operation.UPDATE: 1, Operation.DELETE: 2}


def replay_order(one: Done) -> tuple[int, int, str, str]:
    """Inserts as they were added, then updates, then deletes."""
    added = one.state.insert_order or 0 if one.operation is Operation.INSERT else 0
    return _RANK[one.operation], added, one.model.entity, one.key


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
        for one in sorted(free, key=replay_order):
            del waiting[one.model.entity, one.former_key]
            yield one


def inserted(model: Model, state: State) -> tuple[dict[str, Delta], tuple[str, ...]]:
    """What an INSERT wrote, and the fields whose value the database worked out."""
    deltas: dict[str, Delta] = {}
    unread, values = [], state.dict
    for name in model.fields:
        if name in values:
            deltas[name] = Change(ABSENT, values[name])
        elif name in state.expired_attributes:
            deltas[name] = Change(ABSENT, UNKNOWN)
            unread.append(name)
        else:
            deltas[name] = Change(ABSENT, None)
    return deltas, tuple(unread)


def turn_into_update(model: Model, deltas: dict[str, Delta], removed: dict[str, Delta]) -> None:
    """Turn an INSERT that took the place of a deleted row, as an UPDATE, into its difference."""
    for name, field in model.fields.items():
        old, new = removed[name], deltas.pop(name)
        assert isinstance(old, Change)
        assert isinstance(new, Change)
        note(deltas, field, old.old, new.new)


def complete(one: Done, values: Values) -> None:
    for name in one.unread:
        delta = one.deltas.get(name)
        old = delta.old if isinstance(delta, Change) else UNKNOWN
        note(one.deltas, one.model.fields[name], old, values[name])


def as_written(one: Done, connection: Connection) -> Written:
    model, dialect = one.model, connection.dialect
    deltas: dict[str, Delta] = {}
    for name, delta in one.deltas.items():
        assert isinstance(delta, Change)
        old, new = model.logged(name, delta.old, dialect), model.logged(name, delta.new, dialect)
        unchanged = old is delta.old and new is delta.new
        deltas[name] = delta if unchanged else Change(old, new)
    return Written(
        entity=model.entity,
        key=one.key,
        former_key=one.former_key,
        changes=ChangeSet(deltas, one.operation),
        policy=model.policy,
        label=model.policy.label_of(one.state.obj()),
    )
