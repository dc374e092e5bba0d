"""What changed: fields with their old and new values, as pure data.

A `ChangeSet` maps field names to what happened there:

- `Change`: the value was replaced,
- `ListEdit`: elements of a list were inserted, removed or replaced,
- `SetEdit`: elements of a set, or keys of a relationship, were added or removed.

Values inside a field are named by paths such as ``address.zip`` or ``items.2.qty``; a segment that
contains a dot or a tilde is escaped (``~1`` and ``~0``, after RFC 6901). No path in a changeset is
the beginning of another one.

Nothing here does I/O or knows an ORM. The laws, tested as properties: ``diff(a, b).applied_to(a)``
is ``b``; inverting twice changes nothing; ``then`` is associative; equality is exact (`same`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias, cast

from lifecycle import codec
from lifecycle.errors import ConflictError, FrozenChangesError
from lifecycle.markers import ABSENT, MASKED, UNKNOWN, Marker

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


# --- equality -------------------------------------------------------------------------------


def same(a: object, b: object) -> bool:
    """Whether two values are exactly the same: same type, same value, at every depth.

    Stricter than ``==`` (``1``, ``1.0`` and ``True`` differ, and so do ``Decimal("1.0")`` and
    ``Decimal("1.00")``, and one instant in two zones), and NaN is the same as NaN.
    """
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    compare = _SAME.get(kind)
    if compare is not None:
        return compare(a, b)
    try:
        return bool(a == b)
    except Exception:  # a foreign type's __eq__ may do anything; unequal is the safe answer
        return False


def _same_float(a: float, b: float) -> bool:
    if a != a:
        return b != b
    return a == b and math.copysign(1.0, a) == math.copysign(1.0, b)


def _same_sequence(a: list[Any] | tuple[Any, ...], b: list[Any] | tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


def _same_dict(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    if len(a) != len(b):
        return False
    their_keys = {key: key for key in b}
    return all(
        key in b and same(key, their_keys[key]) and same(value, b[key]) for key, value in a.items()
    )


def _same_set(a: set[Any] | frozenset[Any], b: set[Any] | frozenset[Any]) -> bool:
    if len(a) != len(b) or a != b:
        return False
    their_elements = {element: element for element in b}
    return all(same(element, their_elements[element]) for element in a)


def _same_time(a: datetime | time, b: datetime | time) -> bool:
    return (
        a.replace(tzinfo=None) == b.replace(tzinfo=None)
        and a.fold == b.fold
        and a.utcoffset() == b.utcoffset()
        and (a.tzinfo is None) == (b.tzinfo is None)
    )


_SAME: Final[dict[type, Callable[[Any, Any], bool]]] = {
    float: _same_float,
    Decimal: lambda a, b: a.as_tuple() == b.as_tuple(),
    list: _same_sequence,
    tuple: _same_sequence,
    dict: _same_dict,
    set: _same_set,
    frozenset: _same_set,
    datetime: _same_time,
    time: _same_time,
}


# --- paths ----------------------------------------------------------------------------------


def join_path(*segments: str) -> str:
    """One path from its segments, each escaped."""
    return ".".join(
        segment.replace("~", "~0").replace(".", "~1")
        if "." in segment or "~" in segment
        else segment
        for segment in segments
    )


def split_path(path: str) -> list[str]:
    """The segments of a path, unescaped."""
    segments = path.split(".")
    if "~" in path:
        segments = [segment.replace("~1", ".").replace("~0", "~") for segment in segments]
    return segments


def value_at(state: Mapping[str, Any], path: str) -> Any:
    """The value a state holds at a path, or ``ABSENT``."""
    value: Any = state
    for segment in split_path(path):
        value = _child(value, segment)
    return value


def _child(value: Any, segment: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(segment, ABSENT)
    if isinstance(value, list):
        return value[int(segment)] if _is_index(segment, value) else ABSENT
    return value if isinstance(value, Marker) else ABSENT


def _is_index(segment: str, elements: list[Any]) -> bool:
    return segment.isascii() and segment.isdigit() and int(segment) < len(elements)


# --- what can happen to one value -----------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A value was replaced: what it was before and what it is after.

    ``ABSENT`` says there was, or is, no value; ``UNKNOWN`` that it cannot be known.
    """

    old: Any
    new: Any

    def inverted(self) -> Change:
        """The change back."""
        return Change(self.new, self.old)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Change):
            return NotImplemented
        return same(self.old, other.old) and same(self.new, other.new)

    __hash__ = None  # type: ignore[assignment]  # holds values of any kind, lists included


@dataclass(frozen=True, slots=True, eq=False)
class Splice:
    """One step of a `ListEdit`: at ``index``, ``removed`` gave way to ``inserted``."""

    index: int
    removed: tuple[Any, ...]
    inserted: tuple[Any, ...]

    def inverted(self) -> Splice:
        """The step back."""
        return Splice(self.index, self.inserted, self.removed)

    def applied_to(self, elements: list[Any]) -> list[Any]:
        """The list after this step; ``ConflictError`` when the removed elements are not there."""
        end = self.index + len(self.removed)
        if self.index > len(elements) or not same(tuple(elements[self.index : end]), self.removed):
            raise ConflictError(
                f"the list does not hold {list(self.removed)!r} at index {self.index}; "
                "it has been changed since"
            )
        return [*elements[: self.index], *self.inserted, *elements[end:]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Splice):
            return NotImplemented
        return (
            self.index == other.index
            and same(self.removed, other.removed)
            and same(self.inserted, other.inserted)
        )

    __hash__ = None  # type: ignore[assignment]  # as for Change


@dataclass(frozen=True, slots=True)
class Within:
    """One step of a `ListEdit`: elements changed inside, by paths that start with their index."""

    deltas: Mapping[str, Delta]

    def inverted(self) -> Within:
        """The step back."""
        return Within({path: delta.inverted() for path, delta in self.deltas.items()})

    def applied_to(self, elements: list[Any]) -> list[Any]:
        """The list after this step; ``ConflictError`` when an element named is not there."""
        return cast("list[Any]", _patched(elements, _tree(self.deltas)))


@dataclass(frozen=True, slots=True)
class ListEdit:
    """Elements of a list changed; each step's indices count in the list the step before left."""

    steps: tuple[Splice | Within, ...]

    def inverted(self) -> ListEdit:
        """The edit back."""
        return ListEdit(tuple(step.inverted() for step in reversed(self.steps)))

    def applied_to(self, value: Any) -> Any:
        """The list after this edit; ``ConflictError`` when it does not fit."""
        if value is UNKNOWN or value is MASKED:
            return value
        if not isinstance(value, list):
            raise ConflictError(f"a list edit does not fit {value!r}, which is no list")
        for step in self.steps:
            value = step.applied_to(value)
        return value


@dataclass(frozen=True, slots=True)
class SetEdit:
    """Elements of a set, or keys of a relationship collection, were added and removed."""

    added: frozenset[Any]
    removed: frozenset[Any]

    def inverted(self) -> SetEdit:
        """The edit back."""
        return SetEdit(self.removed, self.added)

    def applied_to(self, value: Any) -> Any:
        """The set after this edit, of the same type; no value at all counts as an empty set.

        Raises ``ConflictError`` when an added element is there already or a removed one is not.
        """
        if value is UNKNOWN or value is MASKED:
            return value
        if value is ABSENT or value is None:
            value = frozenset()
        if not isinstance(value, set | frozenset):
            raise ConflictError(f"a set edit does not fit {value!r}, which is no set")
        if self.added & value or not self.removed <= value:
            raise ConflictError(
                f"the set {set(value)!r} has been changed since: {set(self.added & value)!r} "
                f"already there, {set(self.removed - value)!r} already gone"
            )
        return (value - self.removed) | self.added


Delta: TypeAlias = Change | ListEdit | SetEdit
"""What can happen to one value."""

_Tree: TypeAlias = "dict[str, Delta | _Tree]"  # paths as nested dicts, one level per segment
_Node: TypeAlias = "Delta | _Tree"


# --- deltas over trees ----------------------------------------------------------------------


def _tree(deltas: Mapping[str, Delta]) -> _Tree:
    root: _Tree = {}
    for path, delta in deltas.items():
        *heads, last = split_path(path)
        node = root
        for head in heads:
            node = cast("_Tree", node.setdefault(head, {}))
        node[last] = delta
    return root


def _flat(tree: _Tree, prefix: tuple[str, ...] = ()) -> dict[str, Delta]:
    out: dict[str, Delta] = {}
    for segment, node in tree.items():
        if isinstance(node, dict):
            out.update(_flat(node, (*prefix, segment)))
        else:
            out[join_path(*prefix, segment)] = node
    return out


def _patched(value: Any, node: _Node) -> Any:
    """The value after a delta, or after the deltas of a tree; never changes it in place."""
    if isinstance(node, Change):
        return node.new
    if isinstance(node, ListEdit | SetEdit):
        return node.applied_to(value)
    if isinstance(value, Mapping):
        patched = dict(value)
        for segment, below in node.items():
            result = _patched(patched.get(segment, ABSENT), below)
            if result is ABSENT:
                patched.pop(segment, None)
            else:
                patched[segment] = result
        return patched
    if isinstance(value, list):
        elements = list(value)
        for segment, below in node.items():
            if not _is_index(segment, elements):
                raise ConflictError(f"the list has no element {segment}; it has been changed since")
            elements[int(segment)] = _patched(elements[int(segment)], below)
        return elements
    if value is UNKNOWN or value is MASKED:
        return value
    raise ConflictError(
        f"changes inside {', '.join(node)} do not fit {value!r}, which is no map and no list"
    )


def _inverted(node: _Node) -> _Node:
    if isinstance(node, dict):
        return {segment: _inverted(below) for segment, below in node.items()}
    return node.inverted()


def _composed(first: _Node, second: _Node) -> _Node:
    """One node with the effect of both, in that order."""
    if isinstance(second, Change):
        old = first.old if isinstance(first, Change) else _patched(second.old, _inverted(first))
        return Change(old, second.new)
    if isinstance(first, Change):
        return Change(first.old, _patched(first.new, second))
    if isinstance(first, dict) and isinstance(second, dict):
        merged: _Tree = dict(first)
        for segment, below in second.items():
            merged[segment] = _composed(merged[segment], below) if segment in merged else below
        return merged
    if isinstance(first, SetEdit) and isinstance(second, SetEdit):
        return SetEdit(
            (first.added - second.removed) | (second.added - first.removed),
            (first.removed - second.added) | (second.removed - first.added),
        )
    if isinstance(first, SetEdit) or isinstance(second, SetEdit):
        raise ConflictError(f"{second!r} cannot follow {first!r}: a set and a list edit")
    return ListEdit(_joined(_steps(first), _steps(second)))


def _steps(node: ListEdit | _Tree) -> tuple[Splice | Within, ...]:
    return (Within(_flat(node)),) if isinstance(node, dict) else node.steps


def _joined(
    first: tuple[Splice | Within, ...], second: tuple[Splice | Within, ...]
) -> tuple[Splice | Within, ...]:
    """Steps one after the other; two neighbours that change elements inside become one.

    Without that, how the steps were grouped would show, and `then` would not be associative.
    """
    if not first or not second:
        return first + second
    left, right = first[-1], second[0]
    if isinstance(left, Within) and isinstance(right, Within):
        merged = _composed(_tree(left.deltas), _tree(right.deltas))
        return (*first[:-1], Within(_flat(cast("_Tree", merged))), *second[1:])
    return first + second


# --- differences ----------------------------------------------------------------------------

_CONTAINERS: Final = frozenset({dict, list, set, frozenset})


def _differences(path: tuple[str, ...], old: Any, new: Any) -> Iterator[tuple[str, Delta]]:
    """How to get from one value to the other, by paths and elements where that is smaller."""
    if same(old, new):
        return
    kind = type(old)
    if kind is type(new) and kind in _CONTAINERS:
        detailed = _detailed(kind, path, old, new)
        if detailed is not None and _weight(detailed) < _weight({"": Change(old, new)}):
            yield from detailed.items()
            return
    yield join_path(*path), Change(old, new)


def _detailed(kind: type, path: tuple[str, ...], old: Any, new: Any) -> dict[str, Delta] | None:
    if kind is dict:
        if not all(type(key) is str for key in (*old, *new)):
            return None
        keys = dict.fromkeys((*old, *new))
        return dict(
            found
            for key in keys
            for found in _differences((*path, key), old.get(key, ABSENT), new.get(key, ABSENT))
        )
    if kind is list:
        edit = {join_path(*path): _list_edit(old, new)}
        if len(old) != len(new):
            return edit
        by_index = dict(
            found
            for index, pair in enumerate(zip(old, new, strict=True))
            for found in _differences((*path, str(index)), *pair)
        )
        return min(by_index, edit, key=_weight)
    added, removed = new - old, old - new
    if not same((old - removed) | added, new):  # equal elements of another type, as 1 and True
        return None
    return {join_path(*path): SetEdit(frozenset(added), frozenset(removed))}


def _list_edit(old: list[Any], new: list[Any]) -> ListEdit:
    matcher = SequenceMatcher(
        None,
        [codec.canonical(element) for element in old],
        [codec.canonical(element) for element in new],
        autojunk=False,
    )
    # From the end to the beginning, so that indices in the old list hold at every step.
    return ListEdit(
        tuple(
            Splice(start, tuple(old[start:end]), tuple(new[new_start:new_end]))
            for kind, start, end, new_start, new_end in reversed(matcher.get_opcodes())
            if kind != "equal"
        )
    )


def _weight(deltas: Mapping[str, Delta]) -> int:
    """About how many bytes these deltas take in the log."""
    return sum(len(path) + 6 + _delta_weight(delta) for path, delta in deltas.items())


def _delta_weight(delta: Delta) -> int:
    if isinstance(delta, Change):
        return _values_weight((delta.old, delta.new))
    if isinstance(delta, SetEdit):
        return 8 + _values_weight((*delta.added, *delta.removed))
    return sum(
        8 + _weight(step.deltas)
        if isinstance(step, Within)
        else 8 + _values_weight((*step.removed, *step.inserted))
        for step in delta.steps
    )


def _values_weight(values: Iterable[Any]) -> int:
    return sum(len(codec.canonical(value)) + 1 for value in values)


def diff(
    a: Mapping[str, Any], b: Mapping[str, Any], *, operation: Operation = Operation.UPDATE
) -> ChangeSet:
    """What changed from state ``a`` to state ``b``, in the smallest form.

    Plain dicts with text keys, lists and sets are compared inside; everything else as a whole.
    """
    found: dict[str, Delta] = {}
    for name in dict.fromkeys((*a, *b)):
        found.update(_differences((name,), a.get(name, ABSENT), b.get(name, ABSENT)))
    return ChangeSet(found, operation)


# --- the changeset --------------------------------------------------------------------------


class Live(Protocol):
    """What a changeset that is not written yet stands for: an object and its fields."""

    def read(self) -> dict[str, Delta]:
        """The object's changes as they are now."""
        ...

    def write(self, field: str, value: Any) -> None:
        """Give a mapped field a value; raise ``LookupError`` for a field that is not mapped."""
        ...


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

    __slots__ = ("_deltas", "_live", "operation")

    operation: Operation

    def __init__(
        self,
        deltas: Mapping[str, Delta] | None = None,
        operation: Operation = Operation.UPDATE,
        *,
        live: Live | None = None,
    ) -> None:
        self.operation = Operation(operation)
        self._live = live
        self._deltas: dict[str, Delta] = dict(deltas or {}) if live is None else live.read()

    # reading

    def __getitem__(self, path: str) -> Delta:
        try:
            return self._deltas[path]
        except KeyError:
            found = self._inside(path)
            if found is None:
                raise KeyError(
                    f"{path!r} did not change; changed: {', '.join(self._deltas) or 'nothing'}"
                ) from None
            return found

    def __contains__(self, path: object) -> bool:
        return path in self._deltas or (isinstance(path, str) and self._inside(path) is not None)

    def _inside(self, path: str) -> Change | None:
        """The change of a value inside a field that was replaced as a whole."""
        segments = split_path(path)
        for length in range(len(segments) - 1, 0, -1):
            delta = self._deltas.get(join_path(*segments[:length]))
            if isinstance(delta, Change):
                old, new = delta.old, delta.new
                for segment in segments[length:]:
                    old, new = _child(old, segment), _child(new, segment)
                return None if same(old, new) else Change(old, new)
        return None

    def __iter__(self) -> Iterator[str]:
        return iter(self._deltas)

    def __len__(self) -> int:
        return len(self._deltas)

    def old(self, path: str) -> Any:
        """The value before. Raises ``KeyError`` when it did not change.

        Raises ``ConflictError`` where only the edits of a list or set are known.
        """
        return self._whole(path).old

    def new(self, path: str) -> Any:
        """The value after. Raises as `old` does."""
        return self._whole(path).new

    def _whole(self, path: str) -> Change:
        delta = self[path]
        if not isinstance(delta, Change):
            raise ConflictError(
                f"of {path!r} only its edits are known, not the whole value: {delta!r}; "
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

    def refresh(self) -> None:
        """Read a live changeset again from its object; of a frozen one, nothing."""
        if self._live is not None:
            self._deltas = self._live.read()

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
        if not later._deltas and later.operation is Operation.UPDATE:
            return ChangeSet(self._deltas, self.operation)
        if not self._deltas and self.operation is Operation.UPDATE:
            return ChangeSet(later._deltas, later.operation)
        operation = _OPERATIONS.get((self.operation, later.operation))
        if operation is None:
            nothing_so_far = self.operation is Operation.UPDATE and not self.net()
            if not nothing_so_far:
                raise ConflictError(f"{later.operation} cannot follow {self.operation}")
            operation = later.operation
        merged = _composed(_tree(self._deltas), _tree(later._deltas))
        return ChangeSet(_flat(cast("_Tree", merged)), operation)

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
        return cast("dict[str, Any]", _patched(state, _tree(self._deltas)))

    def conflicts_with(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The paths whose value is not what it was before these changes, with what is there."""
        conflicts: dict[str, Any] = {}
        for path, delta in self._deltas.items():
            found = value_at(state, path)
            if isinstance(delta, Change):
                if delta.old is not UNKNOWN and not same(found, delta.old):
                    conflicts[path] = found
                continue
            try:
                delta.applied_to(found)
            except ConflictError:
                conflicts[path] = found
        return conflicts

    def compacted(self) -> ChangeSet:
        """The same with whole maps, lists and sets taken apart where that is smaller."""
        out: dict[str, Delta] = {}
        for path, delta in self._deltas.items():
            if isinstance(delta, Change) and type(delta.old) in _CONTAINERS:
                out.update(_differences(tuple(split_path(path)), delta.old, delta.new))
            else:
                out[path] = delta
        return ChangeSet(out, self.operation)


def _is_nothing(delta: Delta) -> bool:
    if isinstance(delta, Change):
        return same(delta.old, delta.new) and delta.old is not UNKNOWN and delta.old is not MASKED
    if isinstance(delta, SetEdit):
        return not delta.added and not delta.removed
    return not delta.steps
