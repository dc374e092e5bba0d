"""When a hook runs: conditions on the changes it would be told of.

``when="status"`` and its kin make these; they are joined with ``&``, ``|`` and ``~``. A condition
is evaluated just before its hook, so it sees what earlier hooks have set, and evaluates no more of
itself than it needs.

``was`` and ``becomes`` compare the value at a field or path as a whole. Where a map, list or set
changed only inside, as embedded documents do, its whole value is ``UNKNOWN``: it is no other single
value, and whether it is a given map, list or set is an error rather than a guess. Ask about a path
inside it, such as ``when="address.zip"``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from lifecycle.changes import Change, ChangeSet, same
from lifecycle.errors import HookDefinitionError
from lifecycle.markers import UNKNOWN

__all__ = ["AnyOf", "Becomes", "Changed", "Condition", "Was", "any_of", "condition_of"]


class Condition(ABC):
    """A question to a changeset that is answered with yes or no."""

    @abstractmethod
    def holds(self, changes: ChangeSet) -> bool:
        """Whether the hook is to run for these changes."""

    @abstractmethod
    def fields(self) -> frozenset[str]:
        """The fields, or paths, it asks about."""

    def __and__(self, other: Condition) -> Condition:
        return _Both(self, other) if isinstance(other, Condition) else NotImplemented

    def __or__(self, other: Condition) -> Condition:
        return _Either(self, other) if isinstance(other, Condition) else NotImplemented

    def __invert__(self) -> Condition:
        return _Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} is neither true nor false before there are changes: "
            "join conditions with &, | and ~ instead of and, or and not"
        )


@dataclass(frozen=True, slots=True, init=False)
class AnyOf:
    """Several values, one of which must match."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if not values:
            raise HookDefinitionError(
                "any_of() of no values can never match: give the values, as in any_of('a', 'b')"
            )
        object.__setattr__(self, "values", values)


def any_of(*values: Any) -> AnyOf:
    """One of these values, for ``was=`` and ``becomes=``; raises ``HookDefinitionError`` for none.

    A value matches when it is the same or equal (``==``), so ``1`` matches ``Decimal("1.0")``.
    """
    return AnyOf(*values)


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, AnyOf):
        return any(_matches(value, one) for one in wanted.values)
    if value is UNKNOWN or wanted is UNKNOWN:
        return value is wanted
    return same(value, wanted) or _is_equal(value, wanted)


def _is_equal(value: Any, wanted: Any) -> bool:
    try:
        return bool(value == wanted)
    except Exception:  # as in `same`: a foreign type's __eq__ may do anything, arrays included
        return False


_EDITED: Final = Change(UNKNOWN, UNKNOWN)


def _whole(changes: ChangeSet, field: str, wanted: Any) -> Change | None:
    """What became of the whole value at a field or path, ``None`` when it did not change.

    Raises ``HookDefinitionError`` where only edits are known and it could be what is wanted.
    """
    delta = changes.get(field)
    if isinstance(delta, Change):
        return delta
    if not changes.touches(field):
        return None
    is_container = any(path == field or path.startswith(f"{field}.") for path in changes)
    if _matches(UNKNOWN, wanted) or (is_container and not _has_parts(wanted)):
        return _EDITED
    raise HookDefinitionError(
        f"was= or becomes= asks for the whole of {field!r}, and only edits are known "
        f"(changed: {', '.join(changes)}): ask about a path that changes as a whole, "
        f"or give when={field!r} alone and compare in the hook"
    )


def _has_parts(wanted: Any) -> bool:
    if isinstance(wanted, AnyOf):
        return any(map(_has_parts, wanted.values))
    return isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes)


@dataclass(frozen=True, slots=True)
class Changed(Condition):
    """The value at a field or path changes."""

    field: str

    def __str__(self) -> str:
        return f"{self.field} changes"

    def holds(self, changes: ChangeSet) -> bool:
        return changes.touches(self.field)

    def fields(self) -> frozenset[str]:
        return frozenset({self.field})


@dataclass(frozen=True, slots=True)
class Was(Changed):
    """The value at a field or path changes, from this one (or one of `any_of` these)."""

    value: Any

    def __str__(self) -> str:
        return f"{self.field} was {self.value!r}"

    def holds(self, changes: ChangeSet) -> bool:
        delta = _whole(changes, self.field, self.value)
        return delta is not None and _matches(delta.old, self.value)


@dataclass(frozen=True, slots=True)
class Becomes(Changed):
    """The value at a field or path changes, to this one (or one of `any_of` these)."""

    value: Any

    def __str__(self) -> str:
        return f"{self.field} becomes {self.value!r}"

    def holds(self, changes: ChangeSet) -> bool:
        delta = _whole(changes, self.field, self.value)
        return delta is not None and _matches(delta.new, self.value)


@dataclass(frozen=True, slots=True)
class _Joined(Condition):
    left: Condition
    right: Condition

    def fields(self) -> frozenset[str]:
        return self.left.fields() | self.right.fields()


class _Both(_Joined):
    __slots__ = ()

    def __str__(self) -> str:
        return f"({self.left} and {self.right})"

    def holds(self, changes: ChangeSet) -> bool:
        return self.left.holds(changes) and self.right.holds(changes)


class _Either(_Joined):
    __slots__ = ()

    def __str__(self) -> str:
        return f"({self.left} or {self.right})"

    def holds(self, changes: ChangeSet) -> bool:
        return self.left.holds(changes) or self.right.holds(changes)


@dataclass(frozen=True, slots=True)
class _Not(Condition):
    condition: Condition

    def __str__(self) -> str:
        return f"not {self.condition}"

    def holds(self, changes: ChangeSet) -> bool:
        return not self.condition.holds(changes)

    def fields(self) -> frozenset[str]:
        return self.condition.fields()


class _NotGiven:
    def __repr__(self) -> str:
        return "not given"


NOT_GIVEN: Final[Any] = _NotGiven()
"""Stands for a keyword that was left out, so that every value, ``None`` included, can be given."""


def condition_of(
    when: str | tuple[str, ...] | Condition | None, was: Any, becomes: Any
) -> Condition | None:
    """The condition a decorator's keywords stand for, ``None`` when there is none.

    Raises ``HookDefinitionError`` for keywords that do not go together.
    """
    if isinstance(when, Condition):
        condition: Condition | None = when
    elif when is None:
        condition = None
    else:
        condition = _any_changed(when)
    if was is NOT_GIVEN and becomes is NOT_GIVEN:
        return condition
    if not isinstance(when, str):
        raise HookDefinitionError(
            f"was= and becomes= ask about one field, but when={when!r} does not name one: "
            "give when='field', or join conditions from lifecycle.conditions with & and |"
        )
    parts: list[Condition] = []
    if was is not NOT_GIVEN:
        parts.append(Was(when, was))
    if becomes is not NOT_GIVEN:
        parts.append(Becomes(when, becomes))
    return parts[0] if len(parts) == 1 else _Both(*parts)


def _any_changed(when: Any) -> Condition:
    names = (when,) if isinstance(when, str) else when
    if not isinstance(names, tuple | list) or not names:
        raise HookDefinitionError(
            f"when={when!r} is no condition: give a field name, a tuple of them, "
            "or an object from lifecycle.conditions"
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise HookDefinitionError(f"when={when!r} holds {name!r}, which is no field name")
    condition: Condition = Changed(names[0])
    for name in names[1:]:
        condition |= Changed(name)
    return condition
