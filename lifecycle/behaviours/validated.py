"""`validated`: an object is written only if it holds what was declared of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

from lifecycle.behaviours.stamping import LAST
from lifecycle.bundles import Behaviour, declare
from lifecycle.changes import Operation
from lifecycle.errors import ConfigurationError, Invalid
from lifecycle.hooks import pre_persist, pre_update

__all__ = ["Check", "validated"]

C = TypeVar("C", bound=type)

Check: TypeAlias = Callable[[Any], Any]
"""Given a value, or an object: what is wrong, as text; ``False`` for something; else nothing."""


def validated(*checks: Check, **fields: Check | tuple[Check, ...]) -> Callable[[C], C]:
    """Refuse to write an object that fails checks, and tell of all that it fails.

    Each keyword is a field, with a function of its value, or several; functions given by position
    are of the whole object. A function finds a fault by returning text that says what is wrong, by
    returning ``False``, or by raising ``ValueError``. All run after the other hooks, before an
    insert and before an update; those of a field only when the field changes. A field without a
    value is given as ``None``.

    What fails raises `Invalid`, a ``Veto`` that names the object, and every field with its faults,
    none of them with a value; its ``failures`` has the same by field. Nothing is written then. No
    check runs for bulk statements. Raises ``ConfigurationError`` for a field the model does not
    have, and for what is no function.
    """
    by_field = {name: one if isinstance(one, tuple) else (one,) for name, one in fields.items()}
    for name, several in {"the object": checks, **by_field}.items():
        for check in several:
            if not callable(check):
                raise ConfigurationError(
                    f"@validated has {check!r} for {name}, which is no function: give functions "
                    "that return text for what is wrong"
                )
    if not checks and not fields:
        raise ConfigurationError("@validated() checks nothing: give functions, or fields with them")

    @pre_persist(priority=LAST - 1)
    @pre_update(priority=LAST - 1)
    def validate(self: Any, event: Any) -> None:
        failures: dict[str, list[str]] = {}
        for name, several in by_field.items():
            if event.operation is Operation.INSERT or event.changes.touches(name):
                found = list(_faults(several, getattr(self, name)))
                if found:
                    failures[name] = found
        of_object = list(_faults(checks, self))
        if of_object:
            failures[""] = of_object
        if failures:
            told = "; ".join(
                f"{name}: {', '.join(found)}" if name else ", ".join(found)
                for name, found in failures.items()
            )
            raise Invalid(f"{event.subject} is not valid: {told}", failures)

    behaviour = Behaviour(
        "validated",
        ", ".join(_name(one) for one in (*checks, *by_field)),
        {name: ", ".join(map(_name, several)) for name, several in by_field.items()},
        frozenset(by_field),
    )

    def decorator(cls: C) -> C:
        declare(cls, behaviour, [validate])
        return cls

    return decorator


def _faults(checks: tuple[Check, ...], value: Any) -> Iterator[str]:
    for check in checks:
        try:
            found = check(value)
        except ValueError as error:
            found = str(error) or False
        if found is False:
            yield f"fails {_name(check)}"
        elif isinstance(found, str):
            yield found


def _name(check: Any) -> str:
    return (
        check if isinstance(check, str) else str(getattr(check, "__name__", type(check).__name__))
    )
