"""Being told of an UPDATE behind the application's own listeners, which may add to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy.orm import Mapper

__all__ = ["LastWord"]


class LastWord:
    """A listener that comes after those that mappers have of their own.

    SQLAlchemy calls what is listened to on all mappers before that, and what the listeners of one
    assign to its objects goes into the UPDATE, too. So does what is assigned by those that came to
    all mappers after Lifecycle's.
    """

    def __init__(self, listener: Callable[[Any, object, Any], Any]) -> None:
        self._listener: Final = listener
        self._mappers: Final[WeakSet[Mapper[Any]]] = WeakSet()

    @property
    def is_wanted_by_all(self) -> bool:
        """Whether the application listens to all mappers, behind Lifecycle."""
        everywhere: Any = Mapper
        found = everywhere.dispatch.before_update._clslevel[Mapper]
        return bool(found) and not found[-1].__module__.startswith("lifecycle.")

    def take_all(self, mappers: Iterable[Mapper[Any]]) -> None:
        """Come after what is listened to on all mappers."""
        for mapper in mappers:
            found: Any = mapper.dispatch.before_update
            if not found.listeners:
                self._take(mapper, found.for_modify(mapper.dispatch))

    def takes(self, mapper: Mapper[Any]) -> bool:
        """Whether a mapper has listeners of its own; the last of them is this one then."""
        found: Any = mapper.dispatch.before_update
        own = found.listeners
        if not own:
            return False
        if own[-1] is not self._listener:
            self._take(mapper, found)
        return True

    def _take(self, mapper: Mapper[Any], found: Any) -> None:
        # A new one, for another thread may be in the midst of the one that was there.
        found.listeners = deque((*self._others(found.listeners), self._listener))
        self._mappers.add(mapper)

    def leave(self) -> None:
        """Take it away from every mapper."""
        for mapper in list(self._mappers):
            found: Any = mapper.dispatch.before_update
            found.listeners = deque(self._others(found.listeners))
        self._mappers.clear()

    def _others(self, listeners: deque[Any]) -> list[Any]:
        return [one for one in listeners if one is not self._listener]
