"""Following references: for all objects that were loaded together, in one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Lock
from typing import Any, Final, Protocol
from weakref import WeakSet

from lifecycle.behaviours.references.declaring import Reference, references_of
from lifecycle.errors import ConfigurationError, InstallError
from lifecycle.objects import Reaching, objects_of

__all__ = [
    "Following",
    "Known",
    "aprefetch",
    "know",
    "prefetch",
    "reaching",
    "session_for",
    "together",
]


class Following(Protocol):
    """A reference that can be followed for many objects at once."""

    @property
    def target(self) -> type:
        """The class it leads to."""
        ...

    def fetch(self, instances: Sequence[Any]) -> None:
        """Find what these refer to, in one query, and let each remember its own."""
        ...


class Known(Protocol):
    """A Lifecycle, as far as references need one."""

    @property
    def adapters(self) -> Iterable[Reaching]:
        """Its adapters to the libraries that are there."""
        ...


_lock: Final = Lock()
_known: Final[WeakSet[Any]] = WeakSet()


def know(lifecycle: Known) -> None:
    """Sessions may be had from this one, for as long as it lives."""
    with _lock:
        _known.add(lifecycle)


@contextmanager
def session_for(reference: Reference[Any], cls: type, owner: Any) -> Iterator[Any]:
    """Where the objects of a class are to be looked for, on behalf of an owner of the reference.

    Raises ``ConfigurationError`` when nothing reaches them.
    """
    if reference.session is not None:
        yield reference.session()
        return
    session = objects_of(cls).session_of(owner, cls)
    if session is not None:
        yield session
        return
    with reaching(cls, owner) as session:
        yield session


@contextmanager
def reaching(cls: type, owner: Any = None) -> Iterator[Any]:
    """A session of its own that reaches a class: of the Lifecycle that sees the owner, or another.

    ``None`` for documents. Raises ``ConfigurationError`` when there is none.
    """
    with ExitStack() as stack:
        yield _opened(stack, cls, owner)


def _opened(stack: ExitStack, cls: type, owner: Any) -> Any:
    if objects_of(cls).reaches(None, cls):
        return None
    failed: list[ConfigurationError] = []
    with _lock:
        known = list(_known)
    known.sort(key=lambda one: not any(mapper.sees(owner) for mapper in one.adapters))
    for mapper in (mapper for one in known for mapper in one.adapters if mapper.maps(cls)):
        try:
            return stack.enter_context(mapper.reaching(cls))
        except ConfigurationError as error:
            failed.append(error)
    # One that has something installed knows better what is wrong.
    failed.sort(key=lambda one: isinstance(one, InstallError))
    if failed:
        raise failed[0]
    raise ConfigurationError(
        f"{cls.__qualname__} cannot be reached, for no Lifecycle is there: make one, and install "
        "the session set-up of its database"
    )


def together(reference: Reference[Any], instance: Any) -> list[Any]:
    """An object, and those loaded with it that have the same reference."""
    owner = reference.owner
    found = [
        other
        for other in objects_of(type(instance)).siblings(instance)
        if isinstance(other, owner) and other is not instance
    ]
    return [instance, *found]


def prefetch(instances: Iterable[Any], *names: str) -> None:
    """Follow references of many objects at once, whether they were loaded together or not.

    Each of ``names`` takes one query for all objects of a class; what they lead to is remembered
    as if it had been read. Raises ``ConfigurationError`` for a class without such a reference.
    """
    for reference, found in _fetches(instances, names):
        reference.fetch(found)


async def aprefetch(instances: Iterable[Any], *names: str) -> None:
    """As `prefetch`, awaited: for objects of an ``AsyncSession``, and for code that must not block.

    Objects of SQLAlchemy are asked for as an ``AsyncSession`` does, documents in a thread.
    """
    for reference, found in _fetches(instances, names):
        await objects_of(reference.target).in_background(partial(reference.fetch, found))


def _fetches(
    instances: Iterable[Any], names: tuple[str, ...]
) -> Iterator[tuple[Following, list[Any]]]:
    by_reference: dict[int, tuple[Any, list[Any]]] = {}
    for instance in instances:
        references = references_of(type(instance))
        for name in names:
            if name not in references:
                raise ConfigurationError(
                    f"{type(instance).__qualname__} has no reference {name!r}; it has "
                    f"{', '.join(sorted(references)) or 'none'}"
                )
            one = references[name]
            by_reference.setdefault(id(one), (one, []))[1].append(instance)
    yield from by_reference.values()
