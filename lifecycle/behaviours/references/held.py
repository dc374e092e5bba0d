"""What an object remembers of its references: what was read, and what was assigned."""

from __future__ import annotations

from typing import Any, Final

from lifecycle.objects import Identity

__all__ = ["Entry", "Held", "held", "holding"]

_HELD: Final = "_lifecycle_references"  # a private name: even a dynamic document does not store it


class Entry:
    """What one reference of one object led to, and for which values and load of the object.

    ``values`` are those of the identifier fields, ``None`` for a target that has no identity yet.
    """

    __slots__ = ("stamp", "target", "values")

    def __init__(self, stamp: object, values: Identity | None, target: Any) -> None:
        self.stamp = stamp
        self.values = values
        self.target = target

    def holds(self, stamp: object, values: Identity | None) -> bool:
        """Whether the object has not been read anew, nor its identifier changed, since."""
        return self.stamp is stamp and self.values == values


class Held(dict[str, Entry]):
    """The entries of one object by reference; copies and pickles of the object have none."""

    def __reduce__(self) -> Any:
        return Held, ()

    def __deepcopy__(self, memo: Any) -> Held:
        return Held()


def held(instance: Any) -> Held:
    """What an object remembers, to be looked at only."""
    found = vars(instance).get(_HELD)
    return found if found is not None else _NOTHING


_NOTHING: Final = Held()


def holding(instance: Any) -> Held:
    """What an object remembers, to be added to."""
    found: Held | None = vars(instance).get(_HELD)
    if found is None:
        found = Held()
        object.__setattr__(instance, _HELD, found)  # past what mappers make of assignments
    return found
