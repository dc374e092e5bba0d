"""What changed: fields with their old and new values, as pure data.

A `ChangeSet` maps field names, or paths inside fields, to what happened there: a `Change`, a
`ListEdit` or a `SetEdit` (see `lifecycle.deltas`). No path in a changeset is the beginning of
another one.

Nothing here does I/O or knows an ORM. The laws, tested as properties: ``diff(a, b).applied_to(a)``
is ``b``; inverting twice changes nothing; ``then`` is associative; equality is exact (`same`).
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol, cast
from uuid import UUID

from lifecycle.deltas import (
    Change,
    Delta,
    ListEdit,
    SetEdit,
    Splice,
    Tree,
    Within,
    composed,
    conflicts,
    flat,
    join_path,
    patched,
    split_path,
    tree,
    value_at,
)
from lifecycle.differences import differences
from lifecycle.equality import same
from lifecycle.errors import ConflictError, FrozenChangesError
from lifecycle.markers import ABSENT, MASKED, UNKNOWN, Marker, is_hidden

__all__ = [
    "ABSENT",
    "MASKED",
    "UNKNOWN",
    "Change",
    "ChangeSet",
    "Delta",
    "ListEdit",
    "Live",
    "Operation",
    "SetEdit",
    "Splice",
    "Within",
    "diff",
    "join_path",
    "same",
    "split_path",
    "value_at",
]


class Operation(StrEnum):
    """What happened to the object as a whole."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    BULK = "bulk"
    """A statement changed rows that were not told apart; its record has no key of an object."""


def diff(
    a: Mapping[str, Any], b: Mapping[str, Any], *, operation: Operation = Operation.UPDATE
) -> ChangeSet:
    """What changed from state ``a`` to state ``b``, in the smallest form.

    Plain dicts with text keys, lists and sets are compared inside; everything else as a whole.
    """
    found: dict[str, Delta] = {}
    for name in dict.fromkeys((*a, *b)):
        found |= differences((name,), a.get(name, ABSENT), b.get(name, ABSENT))
    return ChangeSet(found, operation)


# --- the changeset --------------------------------------------------------------------------


class Live(Protocol):
    """What a changeset that is not written yet stands for: an object and its fields."""

    def read(self) -> dict[str, Delta]:
        """The object's changes as they are now; the dict it gave before only if they are equal."""
        ...

    def write(self, field: str, value: Any) -> None:
        """Give a mapped field a value; raise ``LookupError`` for a field that is not mapped."""
        ...

    def fitted(self, field: str, value: Any) -> Any:
        """A value in the form that the field has it in."""
        ...

    def is_taken(self, field: str, value: Any) -> bool:
        """Whether another object of the model has that value, one marked as removed included."""
        ...


_CONTAINERS: Final = (dict, list, set, frozenset)
_PLAIN: Final = frozenset(
    {type(None), bool, int, float, str, Decimal, datetime, date, UUID, Marker}
)
"""Types of most values, which are no containers."""

_OPERATIONS: Final = {
    (Operation.INSERT, Operation.UPDATE): Operation.INSERT,
    (Operation.INSERT, Operation.DELETE): Operation.UPDATE,  # nothing, once `net` has been taken
    (Operation.UPDATE, Operation.UPDATE): Operation.UPDATE,
    (Operation.UPDATE, Operation.DELETE): Operation.DELETE,
    (Operation.DELETE, Operation.INSERT): Operation.UPDATE,
}


class ChangeSet(Mapping[str, Delta]):
    """All changes of one object in one flush or document write, with its operation.

    A mapping of field, or path inside a field, to what happened there. During a pre moment it is
    live: `set`, or assigning to the object's attributes, changes what is about to be written.
    Once written it is frozen.
    """

    __slots__ = ("_deltas", "_live", "_state", "operation", "text")

    operation: Operation
    text: str | None
    """How the log has it, once that has been kept (`lifecycle.audit.format.kept`)."""
    _deltas: dict[str, Delta]

    def __init__(
        self,
        deltas: Mapping[str, Delta] | None = None,
        operation: Operation = Operation.UPDATE,
        *,
        live: Live | None = None,
    ) -> None:
        self.operation = operation if type(operation) is Operation else Operation(operation)
        self._live = live
        self.text = None
        self._state: Mapping[str, Any] | None = None
        self._deltas = dict(deltas or {}) if live is None else live.read()

    @classmethod
    def of_state(cls, state: Mapping[str, Any], operation: Operation) -> ChangeSet:
        """The INSERT or DELETE of an object, by the values it brings or takes away.

        Equal to the changeset of a `Change` for each field, which are made only when asked for.
        ``state`` is kept, not copied.
        """
        if operation is not Operation.INSERT and operation is not Operation.DELETE:
            raise ValueError(f"the {operation} of an object is not told by one state of it")
        made = cls.__new__(cls)
        made.operation, made._live, made._state, made.text = operation, None, state, None
        return made

    def __getattr__(self, name: str) -> Any:
        # Runs once for what `of_state` made, and never for anything else.
        if name != "_deltas" or self._state is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self.operation is Operation.INSERT:
            self._deltas = {path: Change(ABSENT, value) for path, value in self._state.items()}
        else:
            self._deltas = {path: Change(value, ABSENT) for path, value in self._state.items()}
        return self._deltas

    @property
    def state(self) -> Mapping[str, Any] | None:
        """The values an INSERT brings, or a DELETE takes away, when it was made `of_state`."""
        return self._state

    # reading

    def __getitem__(self, path: str) -> Delta:
        try:
            return self._deltas[path]
        except KeyError:
            found = self._inside(path)
            if found is None:
                how = "changed only inside" if self._edited(path) else "did not change"
                changed = ", ".join(self._deltas) or "nothing"
                raise KeyError(f"{path!r} {how}; changed: {changed}") from None
            return found

    def __contains__(self, path: object) -> bool:
        return path in self._deltas or (isinstance(path, str) and self._inside(path) is not None)

    def _inside(self, path: str) -> Change | None:
        """The change of a value inside a field that was replaced as a whole."""
        segments = split_path(path)
        for length in range(len(segments) - 1, 0, -1):
            delta = self._deltas.get(join_path(*segments[:length]))
            if isinstance(delta, Change):
                rest = join_path(*segments[length:])
                old, new = value_at(delta.old, rest), value_at(delta.new, rest)
                return None if same(old, new) else Change(old, new)
        return None

    def touches(self, path: str) -> bool:
        """Whether the value at a field or path changes, as a whole or somewhere inside."""
        return path in self or self._edited(path)

    def touched(self) -> frozenset[str]:
        """The fields that change, as a whole or somewhere inside."""
        return frozenset(split_path(path)[0] for path in self)

    def _edited(self, path: str) -> bool:
        """Whether only parts of the value are known to change, or edits of what it is part of."""
        inside = path + "."
        return any(
            changed.startswith(inside)
            or (path.startswith(changed + ".") and not isinstance(delta, Change))
            for changed, delta in self._deltas.items()
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._deltas)

    def __len__(self) -> int:
        return len(self._deltas if self._state is None else self._state)

    def items(self) -> ItemsView[str, Delta]:
        """The paths with what happened there."""
        return self._deltas.items()  # much faster than the mapping's own, and recording is hot

    def old(self, path: str) -> Any:
        """The value before. Raises ``KeyError`` when it did not change.

        Raises ``ConflictError`` where only edits of the value are known.
        """
        return self._whole(path).old

    def new(self, path: str) -> Any:
        """The value after. Raises as `old` does."""
        return self._whole(path).new

    def _whole(self, path: str) -> Change:
        delta = None if path not in self and self._edited(path) else self[path]
        if not isinstance(delta, Change):
            raise ConflictError(
                f"of {path!r} only edits are known, not the whole value; "
                "ask history.as_of for the object's state"
            )
        return delta

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ChangeSet):
            return self.operation == other.operation and self._deltas == other._deltas
        if isinstance(other, Mapping):
            return self._deltas == dict(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # holds values of any kind, lists included

    def __str__(self) -> str:
        return str(self._deltas)

    def __repr__(self) -> str:
        return f"ChangeSet({self._deltas!r}, {str(self.operation)!r})"

    # writing

    def set(self, field: str, value: Any) -> None:
        """Give a mapped field, changed or not, the value to be written.

        Raises ``FrozenChangesError`` once the changes have been written, and ``LookupError`` for a
        field that is not mapped.
        """
        if self._live is None:
            raise FrozenChangesError(
                f"{field!r} cannot be set: these changes have been written already; "
                "set it in a pre_persist or pre_update hook"
            )
        self._live.write(field, value)
        self.refresh()

    def fill(self, field: str, value: Any) -> None:
        """Give a field an instant, or an identifier as text, in the form that the field has it in.

        An aware time becomes one in UTC without zone where the column or the driver has none, and
        has no more digits than a document keeps; text becomes a number, a ``UUID`` or a reference.
        Raises as `set` does, and ``ValueError`` for text that is none of these.
        """
        self.set(field, value if self._live is None else self._live.fitted(field, value))

    def is_taken(self, field: str, value: Any) -> bool:
        """Whether another object of the model has that value in a field; asks the database.

        Raises as `set` does.
        """
        if self._live is None:
            raise FrozenChangesError(
                f"whether {field}={value!r} is taken can be asked in a pre_persist or pre_update "
                "hook only, for these changes have been written already"
            )
        return self._live.is_taken(field, value)

    def refresh(self) -> Mapping[str, Delta]:
        """Read a live changeset again from its object; a frozen one stays as it is.

        Returns the changes: the same mapping for as long as nothing is found changed.
        """
        if self._live is not None:
            self._deltas = self._live.read()
        return self._deltas

    def reader(self) -> Callable[[], Mapping[str, Delta]]:
        """What `refresh` asks, for a hot loop: the mapping of `as_read` while nothing changed."""
        return self.as_read if self._live is None else self._live.read

    def as_read(self) -> Mapping[str, Delta]:
        """The changes as they were last read."""
        return self._deltas

    def freeze(self) -> ChangeSet:
        """Make it plain data for good, and return it."""
        self._live = None
        return self

    # calculating

    def inverted(self) -> ChangeSet:
        """The changes back: an insert becomes a delete."""
        back = {Operation.INSERT: Operation.DELETE, Operation.DELETE: Operation.INSERT}
        return ChangeSet(
            {path: delta.inverted() for path, delta in self._deltas.items()},
            back.get(self.operation, self.operation),
        )

    def then(self, later: ChangeSet) -> ChangeSet:
        """One changeset with the effect of this one and a later one of the same object.

        Keeps fields that came back to what they were; `net` drops them. Raises ``ConflictError``
        when the later one cannot follow, as an insert after an insert.
        """
        merged = composed(tree(self._deltas), tree(later._deltas))
        return ChangeSet(flat(cast("Tree", merged)), self._operation_then(later))

    def _operation_then(self, later: ChangeSet) -> Operation:
        operation = _OPERATIONS.get((self.operation, later.operation))
        if operation is not None:
            return operation
        for one, other in ((self, later), (later, self)):
            if one.operation is Operation.UPDATE and not one.net():
                return other.operation
        raise ConflictError(
            f"an object's {later.operation} cannot follow its {self.operation}: "
            "a change between them is missing; read its whole history"
        )

    def net(self) -> ChangeSet:
        """The same without fields that came back to what they were."""
        return ChangeSet(
            {path: delta for path, delta in self._deltas.items() if not _is_nothing(delta)},
            self.operation,
        )

    def applied_to(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state after these changes. Raises ``ConflictError`` where an edit does not fit.

        A `Change` fits every state: its new value counts. `conflicts_with` tells beforehand.
        """
        return cast("dict[str, Any]", patched(state, tree(self._deltas)))

    def conflicts_with(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The paths whose value is not what it was before these changes, with what is there."""
        return conflicts(self._deltas, state)

    def compacted(self) -> ChangeSet:
        """The same with whole maps, lists and sets taken apart where that is smaller."""
        if self._state is not None:
            return self
        for delta in self._deltas.values():
            if type(delta) is Change and type(delta.old) not in _PLAIN:
                break
        else:
            return self
        out: dict[str, Delta] = {}
        for path, delta in self._deltas.items():
            if isinstance(delta, Change) and isinstance(delta.old, _CONTAINERS):
                found = differences(tuple(split_path(path)), delta.old, delta.new)
                out |= found or {path: delta}
            else:
                out[path] = delta
        return ChangeSet(out, self.operation)


def _is_nothing(delta: Delta) -> bool:
    if isinstance(delta, Change):
        return same(delta.old, delta.new) and not is_hidden(delta.old)
    if isinstance(delta, SetEdit):
        return not delta.added and not delta.removed
    return not delta.steps
