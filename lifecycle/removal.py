"""Marking objects as removed, instead of deleting them: what `soft_delete` says of a model.

The mappers carry it out. For hooks and for the log a marked object is not there: to mark it removes
it, and to take the mark away brings it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lifecycle.errors import ConfigurationError

__all__ = ["HARD", "WITH_DELETED", "Removal", "hard", "is_hard", "marked_by", "removal_of"]

T = TypeVar("T")

_REMOVAL: Final = "__lifecycle_removal__"
_HARD: Final = "_lifecycle_hard"

WITH_DELETED: Final = "lifecycle_with_deleted"
"""The execution option of a query that finds marked rows, too."""

HARD: Final = "lifecycle_hard"
"""The execution option of a ``DELETE`` that really deletes."""


@dataclass(frozen=True, slots=True)
class Removal:
    """The field that marks an object as removed when it has a value, and what gives the value."""

    field: str
    mark: Callable[[], Any]


def marked_by(cls: type, removal: Removal) -> None:
    """Let objects of a model, and of its subclasses, be marked instead of deleted."""
    setattr(cls, _REMOVAL, removal)


def removal_of(cls: type) -> Removal | None:
    """How objects of a model are marked; ``None`` when they are deleted."""
    found: Removal | None = getattr(cls, _REMOVAL, None)
    return found


def hard(what: T) -> T:
    """Let the next delete of an object, or a ``delete()`` statement, really delete.

    Returns it, as in ``session.delete(hard(order))`` and ``hard(document).delete()``. A queryset is
    told by ``delete(hard=True)``. A statement finds what is marked, too, only with `with_deleted`.

    Raises ``ConfigurationError`` for anything else.
    """
    if hasattr(what, "execution_options"):
        really: T = what.execution_options(**{HARD: True})
        return really
    try:
        vars(what)[_HARD] = True
    except TypeError:
        raise ConfigurationError(
            f"hard() got {what!r}: give an object of a model, or a delete() statement"
        ) from None
    return what


def is_hard(instance: Any) -> bool:
    """Whether the delete that was asked for is to be a real one."""
    return _HARD in vars(instance)
