"""Fields that are set by themselves when something happens to their object.

What `timestamps` and `blame` have in common: which fields are due, and what is a value by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from lifecycle.bundles import Behaviour, declare
from lifecycle.changes import ChangeSet, Operation
from lifecycle.conditions import NOT_GIVEN, Condition, condition_of
from lifecycle.errors import ConfigurationError, HookDefinitionError
from lifecycle.hooks import pre_persist, pre_update

__all__ = ["LAST", "On", "stamped"]

C = TypeVar("C", bound=type)

On: TypeAlias = str | tuple[str, ...] | Condition
"""What has to change: a field or path, any of several, or a condition."""

LAST: Final = -1000
"""The priority of hooks that look at what all others have done."""


class _Stamp(NamedTuple):
    """When a field is due: with these operations, and only if the condition holds."""

    operations: tuple[Operation, ...]
    condition: Condition | None = None

    def is_due(self, field: str, changes: ChangeSet) -> bool:
        if changes.operation not in self.operations or _is_given(field, changes):
            return False
        return self.condition is None or self.condition.holds(changes)


def _is_given(field: str, changes: ChangeSet) -> bool:
    """Whether somebody has set the field by hand; a new object without a value has not."""
    if not changes.touches(field):
        return False
    return changes.operation is Operation.UPDATE or changes.new(field) is not None


def stamped(
    name: str,
    created: str | None,
    updated: str | None,
    others: Mapping[str, On],
    value: Callable[[], Any],
) -> Callable[[C], C]:
    """A behaviour that gives fields a value: when created, at every change, and at certain ones.

    All that are due at once get the same. Raises ``ConfigurationError`` for what cannot work.
    """
    stamps = _stamps(name, created, updated, others)

    def fill(changes: ChangeSet) -> dict[str, Any]:
        due = [field for field, stamp in stamps.items() if stamp.is_due(field, changes)]
        return dict.fromkeys(due, value()) if due else {}

    @pre_persist(priority=LAST)
    @pre_update(priority=LAST)
    def stamp(self: Any, event: Any) -> None:
        for field, given in fill(event.changes).items():
            try:
                event.changes.fill(field, given)
            except ValueError as error:
                event.veto(f"{field} cannot be set by @{name}: {error}")

    asked = {
        path
        for one in stamps.values()
        if one.condition is not None
        for path in one.condition.fields()
    }
    options = {"created": created, "updated": updated, **others}
    behaviour = Behaviour(
        name,
        ", ".join(stamps),
        {key: given for key, given in options.items() if given is not None},
        frozenset({*stamps, *asked}),
        fill,
    )

    def decorator(cls: C) -> C:
        declare(cls, behaviour, [stamp])
        return cls

    return decorator


def _stamps(
    name: str, created: str | None, updated: str | None, others: Mapping[str, On]
) -> dict[str, _Stamp]:
    stamps: dict[str, _Stamp] = {}
    written = (Operation.INSERT, Operation.UPDATE)
    for keyword, field, operations in (
        ("created", created, (Operation.INSERT,)),
        ("updated", updated, written),
    ):
        if field is None:
            continue
        if not isinstance(field, str) or not field or field in stamps:
            raise ConfigurationError(
                f"@{name}({keyword}={field!r}): give the name of a field of its own, as text"
            )
        stamps[field] = _Stamp(operations)
    for field, on in others.items():
        if field in stamps:
            raise ConfigurationError(f"@{name} sets {field!r} twice: leave one of them out")
        try:
            condition = condition_of(on, NOT_GIVEN, NOT_GIVEN)
        except HookDefinitionError as error:
            raise ConfigurationError(f"@{name}({field}=...): {error}") from None
        stamps[field] = _Stamp(written, condition)
    if not stamps:
        raise ConfigurationError(
            f"@{name}() sets nothing: name fields, as in @{name}(updated=...), or leave the "
            "parentheses out"
        )
    return stamps
