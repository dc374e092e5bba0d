"""What one flush did to one object, and the order in which that can be replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from lifecycle.changes import Change, ChangeSet, Delta, Operation
from lifecycle.errors import RecordingError
from lifecycle.mappers.sqlalchemy.alike import Alike
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import State, Values, note
from lifecycle.markers import UNKNOWN

__all__ = [
    "Done",
    "DoneToMany",
    "Replaced",
    "changes_of",
    "complete",
    "in_order",
    "inserted",
    "moves_in_order",
]


# There are as many as objects are written, and nothing in one can lead back to it.
class Done(Struct, gc=False):
    """What the flush did to one object, and which of its values the database still has to tell.

    What an INSERT brought or a DELETE took away is in ``whole``, a value for each field of the
    model; all other changes are in ``deltas``.
    """

    model: Model
    state: State
    operation: Operation
    deltas: dict[str, Delta]
    unread: tuple[str, ...]
    key: str
    former_key: str | None = None
    whole: tuple[Any, ...] | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether it turned out that nothing changed."""
        return self.whole is None and not self.deltas

    def changes(self) -> ChangeSet:
        """The same as a changeset, of values as the object has them."""
        whole = None if self.whole is None else self.model.named(self.whole)
        return changes_of(whole, self.deltas, self.operation)


class DoneToMany(NamedTuple):
    """What the flush did to objects of a model, in columns: what else is many `Done`.

    Each object is in one of the parts.
    """

    model: Model
    operation: Operation
    keys: list[str]
    parts: list[Alike]
    state: State
    """That of the first."""

    @property
    def key(self) -> str:
        """The key of the first."""
        return self.keys[0]


def changes_of(
    whole: dict[str, Any] | None, deltas: dict[str, Delta], operation: Operation
) -> ChangeSet:
    """The changeset of what an INSERT brought or a DELETE took away, and of other changes."""
    if whole is None:
        return ChangeSet(deltas, operation)
    changes = ChangeSet.of_state(whole, operation)
    return ChangeSet({**changes, **deltas}, operation) if deltas else changes


_by_key: Final = attrgetter("key")
_by_name: Final = attrgetter("model.entity", "key")


_SomeDone: TypeAlias = Done | DoneToMany


def _as_added(inserts: list[_SomeDone]) -> Iterable[_SomeDone]:
    """Inserts in the order in which their objects were added."""
    places = [one.state.insert_order or 0 for one in inserts]
    by_place = dict(zip(places, inserts, strict=True))
    if len(by_place) == len(places):  # as a rule
        return map(by_place.__getitem__, sorted(places))
    return sorted(inserts, key=lambda one: (one.state.insert_order or 0, *_by_name(one)))


def in_order(done: Iterable[_SomeDone]) -> list[_SomeDone]:
    """What was done in an order that can be replayed.

    Changes of keys, inserts as they were added, then updates, then deletes; what was done to many
    is where the first of them would be. Raises as `moves_in_order`.
    """
    moves: list[Done] = []
    inserts: list[_SomeDone] = []
    updates: list[_SomeDone] = []
    deletes: list[_SomeDone] = []
    for one in done:
        operation = one.operation
        if isinstance(one, Done) and one.former_key is not None:
            moves.append(one)
        elif operation is Operation.UPDATE:
            updates.append(one)
        else:
            (inserts if operation is Operation.INSERT else deletes).append(one)
    for some in updates, deletes:
        some.sort(key=_by_key if len({one.model for one in some}) < 2 else _by_name)
    return [*moves_in_order(moves), *_as_added(inserts), *updates, *deletes]


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


def inserted(model: Model, state: State, values: Values) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """What an INSERT wrote, and the fields whose value the database worked out."""
    try:
        return model.values_of(values), ()
    except KeyError:
        pass
    expired = state.expired_attributes
    unread = tuple(name for name in model.fields if name not in values and name in expired)
    unknown = dict.fromkeys(unread, UNKNOWN)
    return tuple(values.get(name, unknown.get(name)) for name in model.fields), unread


class Replaced:
    """A deleted row, for as long as new objects with its key take its place in the flush.

    To the log they change it. Of several, nobody has seen what the row held between them, and one
    change tells what all of them have made of it.
    """

    def __init__(self, model: Model, removed: tuple[Any, ...]) -> None:
        self._model = model
        self._removed = model.named(removed)
        self._told: Done | None = None

    def by(self, state: State, key: str) -> Done | None:
        """What has become of it; ``None`` when what was returned of an earlier object tells it.

        To be asked in the order in which the objects were added.
        """
        deltas, unread = self._turned_into(state)
        told = self._told
        if told is None:
            self._told = Done(self._model, state, Operation.UPDATE, deltas, unread, key)
            return self._told
        kept = told.deltas.keys() - state.dict.keys() - deltas.keys()
        told.unread = (*unread, *(name for name in told.unread if name in kept))
        told.deltas = {name: told.deltas[name] for name in told.deltas if name in kept} | deltas
        told.state = state
        return None

    def _turned_into(self, state: State) -> tuple[dict[str, Delta], tuple[str, ...]]:
        """The difference an INSERT made that took the place of the row, as an UPDATE.

        What the new object does not set stays in the row, unless the database or an ``onupdate``
        changes it; also gives the fields that have to be read for that, or for having been set to
        an SQL expression.
        """
        model, values, worked_out = self._model, state.dict, state.expired_attributes
        unread = tuple(
            name
            for name in model.fields
            if (name in model.volatile and name not in state.committed_state)
            or (name in worked_out and name not in values)
        )
        deltas: dict[str, Delta] = {}
        for name, field in model.fields.items():
            if name in unread:
                deltas[name] = Change(self._removed[name], UNKNOWN)
            elif name in values:
                note(deltas, field, self._removed[name], values[name])
        return deltas, unread


def complete(one: Done, values: Values) -> None:
    """Fill in what the database has told."""
    if one.whole is not None:
        read = {name: values[name] for name in one.unread}
        one.whole = tuple((one.model.named(one.whole) | read).values())
        return
    for name in one.unread:
        delta = one.deltas.get(name)
        old = delta.old if isinstance(delta, Change) else UNKNOWN
        note(one.deltas, one.model.fields[name], old, values[name])
