"""What a behaviour may ask of an object, or of its class, whichever mapper it belongs to.

Each adapter has one `Objects`, found by `objects_of`. It knows no Lifecycle and keeps no state, so
it answers whether one is installed or not; sessions to work in come from `Reaching`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary

from lifecycle.errors import ConfigurationError

__all__ = [
    "LINKED",
    "SIBLINGS",
    "Identity",
    "Objects",
    "Reaching",
    "Row",
    "converted",
    "mapped_classes",
    "objects_of",
    "objects_or_none",
]

Identity: TypeAlias = tuple[Any, ...]
"""The parts of an object's primary key, in its order."""

SIBLINGS: Final = "__lifecycle_siblings__"
"""What a class is given whose objects are to know which others were loaded with them."""

LINKED: Final = "__lifecycle_linked__"
"""What a class is given whose objects are to know when they have been deleted."""

_ADAPTERS: Final = ("sqlalchemy", "mongoengine")


class Row(NamedTuple):
    """An object as a query for some of its fields tells it."""

    identity: Identity
    values: Identity


class Objects(Protocol):
    """One mapper's objects. A ``session`` is one of the mapper's; ``None`` where it has no such."""

    def maps(self, cls: type) -> bool:
        """Whether the class has objects in a database."""
        ...

    def classes(self) -> Iterable[type]:
        """Every such class there is."""
        ...

    def is_current(self, cls: type) -> bool:
        """Whether no later class has taken its place, as when it is defined again."""
        ...

    def entity(self, cls: type) -> str:
        """The registered name of a mapped class."""
        ...

    # --- one object ---

    def identity(self, instance: Any) -> Identity | None:
        """The primary key it has, or will have once it is written; ``None`` while not known."""
        ...

    def peek(self, instance: Any, fields: Sequence[str]) -> Identity | None:
        """The values of fields as they are in memory; ``None`` when one would have to be loaded."""
        ...

    def values_at(self, instance: Any, path: str) -> list[Any]:
        """Every value at a path of embedded documents, and lists of them."""
        ...

    def stamp(self, instance: Any) -> object:
        """One and the same object until what the database holds has been read anew."""
        ...

    def stands(self, instance: Any, stamp: object) -> bool:
        """Whether what was assigned when it had that stamp is still to be written."""
        ...

    def is_gone(self, instance: Any) -> bool:
        """Whether it has been deleted, as far as its mapper knows."""
        ...

    def await_assignment(self, instance: Any, fields: Sequence[str]) -> None:
        """Notice from now on when one of these fields, which have no value, is assigned to."""
        ...

    def awaits_assignment(self, instance: Any, fields: Sequence[str]) -> bool:
        """Whether nothing has been assigned to any of them since, be it ``None``."""
        ...

    def unsaved(self, instance: Any) -> str | None:
        """Why what is assigned to it would not be saved, and what to do; ``None`` if it would."""
        ...

    def siblings(self, instance: Any) -> Iterator[Any]:
        """The objects that were loaded together with it and are still there; itself may be one."""
        ...

    def touch(self, instance: Any) -> None:
        """Have its session flush, though no field has changed."""
        ...

    def is_in(self, instance: Any, session: Any) -> bool:
        """Whether it belongs to the session."""
        ...

    def session_of(self, instance: Any, cls: type) -> Any:
        """The session it is in, if that reaches the objects of a class too; else ``None``."""
        ...

    # --- a class ---

    def identity_fields(self, cls: type) -> tuple[str, ...]:
        """The attributes that make its primary key."""
        ...

    def as_identity(self, cls: type, values: Sequence[Any]) -> Identity | None:
        """Values kept elsewhere as a primary key of the class; ``None`` when they can be none."""
        ...

    def fitted(self, cls: type, fields: Sequence[str], values: Sequence[Any]) -> Identity:
        """Values turned into what these fields hold; raises ``ValueError`` where one cannot be."""
        ...

    def is_nullable(self, cls: type, field: str) -> bool:
        """Whether a field may be without a value."""
        ...

    def check_path(self, cls: type, path: str) -> None:
        """Raise ``ConfigurationError`` for what is no path into documents embedded in a class."""
        ...

    def reaches(self, session: Any, cls: type) -> bool:
        """Whether a session reaches the objects of a class."""
        ...

    # --- queries ---

    def load(self, cls: type, identities: Sequence[Identity], session: Any) -> list[Any]:
        """The objects with these primary keys, in one query where there are not too many."""
        ...

    def find(
        self,
        cls: type,
        fields: Sequence[str],
        values: Sequence[Identity],
        session: Any,
        *,
        after: Identity | None = None,
        limit: int | None = None,
    ) -> list[Any]:
        """The objects with one of these values in the fields, ordered by primary key."""
        ...

    def existing(self, cls: type, identities: Sequence[Identity], session: Any) -> set[Identity]:
        """Which of these primary keys are there, whatever hides their objects from queries."""
        ...

    def rows(
        self, cls: type, fields: Sequence[str], session: Any, after: Identity | None, limit: int
    ) -> list[Row]:
        """The next objects with a value in all of these fields, ordered by primary key."""
        ...

    async def in_background(self, run: Callable[[], None]) -> None:
        """Run what asks this mapper's database, without blocking the event loop."""
        ...

    # --- writing, with the hooks ---

    def save(self, instance: Any, session: Any) -> None:
        """Write what was assigned, at once or with the next commit."""
        ...

    def delete(self, instance: Any, session: Any) -> None:
        """Delete the object, at once or with the next commit."""
        ...

    def commit(self, session: Any) -> None:
        """Commit what is not committed yet."""
        ...


class Reaching(Protocol):
    """What one Lifecycle's adapter to a mapper adds: who is seen, and sessions to work in."""

    def maps(self, cls: type) -> bool:
        """Whether the class, or one that inherits from it, is the mapper's."""
        ...

    def sees(self, instance: Any) -> bool:
        """Whether the writes of this very object are seen."""
        ...

    def reaching(self, cls: type) -> AbstractContextManager[Any]:
        """A new session that reaches the objects of a class, closed with the block.

        ``None`` where there are no sessions. Raises ``ConfigurationError`` when no installed
        session set-up reaches them.
        """
        ...


def objects_or_none(cls: type) -> Objects | None:
    """The objects of the mapper that maps a class; ``None`` when it is not mapped."""
    found = _found.get(cls)
    if found is None:
        found = next((one for one in _all_objects() if one.maps(cls)), None)
        if found is not None:
            _found[cls] = found
    return found


_found: Final[WeakKeyDictionary[type, Objects]] = WeakKeyDictionary()


def objects_of(cls: type) -> Objects:
    """The same; raises ``ConfigurationError`` when it is not mapped."""
    found = objects_or_none(cls)
    if found is None:
        raise ConfigurationError(
            f"{cls.__module__}.{cls.__qualname__} is mapped neither by SQLAlchemy nor by "
            "mongoengine: name a mapped class"
        )
    return found


def mapped_classes() -> Iterator[type]:
    """Every mapped class there is."""
    for one in _all_objects():
        yield from one.classes()


def _all_objects() -> Iterator[Objects]:
    """Those of the libraries that the application has imported."""
    for library in _ADAPTERS:
        if library in sys.modules:
            yield import_module(f"lifecycle.mappers.{library}.objects").OBJECTS


def converted(value: Any, kind: type) -> Any:
    """A key as a value of another type: text, a number, a UUID, bytes.

    Raises ``ValueError``, ``TypeError`` or ``ArithmeticError`` for one that makes no such value.
    """
    if value is None or type(value) is kind:
        return value
    if kind is str:
        return str(value)
    if kind is bytes:
        return getattr(value, "binary", None) or getattr(value, "bytes", None) or bytes(value)
    if kind is UUID:
        return UUID(bytes=value) if isinstance(value, bytes) else UUID(str(value))
    if isinstance(value, kind):
        return value
    return kind(value)
