"""What all references have in common: where they are declared, and what they lead to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from lifecycle.bundles import Behaviour, behaviours_of, declare
from lifecycle.errors import ConfigurationError
from lifecycle.objects import LINKED, SIBLINGS, mapped_classes, objects_of, objects_or_none

__all__ = [
    "OnDelete",
    "Reference",
    "Target",
    "check_name",
    "declared",
    "owners",
    "references_of",
    "when_declared",
]

T = TypeVar("T")

OnDelete: TypeAlias = Literal["nothing", "restrict", "nullify", "cascade"]
"""What becomes of an object when the one it refers to is deleted."""

Target: TypeAlias = type[T] | Callable[[], type[T]] | str
"""A class, its name or that of its model in the log, or a function that gives it."""

_lock: Final = Lock()
_owners: Final[WeakSet[type]] = WeakSet()
_observers: Final[WeakSet[Any]] = WeakSet()


def declared() -> list[type]:
    """Every class that declares a reference, mixins among them."""
    with _lock:
        return sorted(_owners, key=lambda cls: (cls.__module__, cls.__qualname__))


def when_declared(observer: Any) -> None:
    """Call ``observer.declared()`` whenever a class declares a reference, while it lives."""
    with _lock:
        _observers.add(observer)


class Reference(property, Generic[T]):
    """The base of all references.

    It is a ``property``, which every mapper and dataclass transform knows to leave alone.
    """

    kind: ClassVar[str]

    def __init__(self, target: Target[T], *, session: Callable[[], Any] | None = None) -> None:
        super().__init__()
        if not (isinstance(target, type | str) or callable(target)):
            raise ConfigurationError(
                f"{self.kind}({target!r}): give a mapped class, its name, or a function of it"
            )
        if session is not None and not callable(session):
            raise ConfigurationError(
                f"{self.kind}(session={session!r}): give what makes or finds a session when it is "
                "called, such as a scoped_session"
            )
        self._target: Final = target
        self._found: type[T] | None = None
        self.session: Final = session
        self.owner: type = object
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if self.name:
            raise ConfigurationError(
                f"{self} is declared again as {owner.__qualname__}.{name}: make one for each"
            )
        self.owner, self.name = owner, name
        declare(owner, self.behaviour())
        for mark in (SIBLINGS, LINKED):
            setattr(owner, mark, True)
        with _lock:
            _owners.add(owner)
            observers = list(_observers)
        for one in observers:
            one.declared()

    def __eq__(self, other: object) -> bool:
        """Refuse to be compared in a query, which would find nothing, without a word."""
        if self is other:
            return True
        if isinstance(other, Reference):
            return NotImplemented
        raise TypeError(
            f"{self} is no column or field, and cannot be asked for in a query: compare what holds "
            "the identifier, or follow the reference of an object"
        )

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return f"{self.owner.__qualname__}.{self.name}" if self.name else f"a {self.kind}"

    def __repr__(self) -> str:
        return f"<{self.kind} {self} to {self.target_name}>"

    def behaviour(self) -> Behaviour:
        """What it tells of itself to `behaviours_of`."""
        raise NotImplementedError

    @property
    def target_name(self) -> str:
        """The target's name, as far as it is known."""
        if self._found is not None:
            return self._found.__qualname__
        target = self._target
        return target if isinstance(target, str) else getattr(target, "__qualname__", "?")

    @property
    def target(self) -> type[T]:
        """The class it leads to; raises ``ConfigurationError`` when there is no such class."""
        if self._found is None:
            found = self._resolved()
            setattr(found, LINKED, True)
            self._found = found
        return self._found

    def _resolved(self) -> type[T]:
        target: Any = self._target
        if isinstance(target, str):
            target = self._named(target)
        elif not isinstance(target, type):
            target = target()
        if not isinstance(target, type) or objects_or_none(target) is None:
            raise ConfigurationError(
                f"{self} refers to {target!r}, which is no mapped class: name a model of "
                "SQLAlchemy or a Document"
            )
        return target

    def _named(self, name: str) -> type:
        module, _, simple = name.replace(":", ".").rpartition(".")
        classes = [
            cls
            for cls in dict.fromkeys(mapped_classes())
            if (cls.__name__ == simple and module in ("", cls.__module__))
            or objects_of(cls).entity(cls) == name
        ]
        near = [cls for cls in classes if cls.__module__ == self.owner.__module__]
        roots = _topmost(near or classes)
        if len(roots) == 1:
            return roots[0]
        there = ", ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in roots) or "none"
        raise ConfigurationError(
            f"{self} refers to {name!r}, and the mapped classes of that name are: {there}. Import "
            "the module that declares it first, or give the class itself or its full name"
        )


def _topmost(classes: list[type]) -> list[type]:
    """Those that inherit from no other of them."""
    return [
        cls
        for cls in classes
        if not any(other is not cls and issubclass(cls, other) for other in classes)
    ]


def references_of(cls: type) -> dict[str, Reference[Any]]:
    """The references a class declares or inherits, by attribute."""
    found = _of_classes.get(cls)
    if found is None:
        members = ((one.of, getattr(cls, one.of, None)) for one in behaviours_of(cls) if one.of)
        found = _of_classes[cls] = {
            name: one for name, one in members if isinstance(one, Reference)
        }
    return found


_of_classes: Final[WeakKeyDictionary[type, dict[str, Reference[Any]]]] = WeakKeyDictionary()


def owners(reference: Reference[Any]) -> Iterator[type]:
    """The mapped classes that have a reference, without those that inherit from another one."""
    found = [
        cls
        for cls in _all_subclasses(reference.owner)
        if references_of(cls).get(reference.name) is reference
        and (objects := objects_or_none(cls)) is not None
        and objects.is_current(cls)
    ]
    yield from _topmost(found)


def _all_subclasses(cls: type) -> Iterator[type]:
    yield cls
    subclass: type
    for subclass in cls.__subclasses__():
        yield from _all_subclasses(subclass)


def check_name(kind: str, keyword: str, name: object) -> None:
    """Raise ``ConfigurationError`` for what cannot be the name of an attribute, or a path."""
    if not isinstance(name, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise ConfigurationError(f"{kind}({keyword}={name!r}): name an attribute, as text")
