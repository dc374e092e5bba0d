"""Sessions of one's own, from the installed session set-up that reaches a class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import ref

from sqlalchemy.orm import Session

from lifecycle.errors import ConfigurationError, InstallError
from lifecycle.mappers.sqlalchemy.objects import OBJECTS, can_await

__all__ = ["SessionSources"]


class SessionSources:
    """The installed factories of sessions, those of async ones too, in the order they came."""

    def __init__(self) -> None:
        self._factories: Final[list[ref[Any]]] = []

    def add(self, factory: Any) -> None:
        """Take sessions from it from now on, if it is a factory, for as long as it lives."""
        if hasattr(factory, "kw"):
            self._factories.append(ref(factory))

    def discard(self, factory: Any) -> None:
        """Take no more from it."""
        self._factories[:] = [one for one in self._factories if one() not in (factory, None)]

    @contextmanager
    def reaching(self, cls: type) -> Iterator[Session]:
        """A new session whose database has the table of a class, closed with the block.

        It is of the first factory of which that holds; those of async sessions count where
        something can be awaited. Raises ``ConfigurationError`` when there is none.
        """
        session = self._session(cls)
        try:
            yield session
        finally:
            session.close()

    def _session(self, cls: type) -> Session:
        factories = [factory for factory in (one() for one in self._factories) if factory]
        usable = [one for one in factories if not _is_async(one) or can_await()]
        for factory in usable:
            session = _made(factory)
            try:
                if OBJECTS.reaches(session, cls):
                    return session
            except BaseException:
                session.close()
                raise
            session.close()
        kind = ConfigurationError if factories else InstallError
        raise kind(_unreached(cls, len(factories), len(usable)))


def _unreached(cls: type, factories: int, usable: int) -> str:
    name = cls.__qualname__
    if not factories:
        return (
            f"no sessionmaker is installed that could reach {name}: install one of its database, "
            "as in lifecycle.install(Session), or give the reference a session=…"
        )
    if not usable:
        return (
            f"only async session set-ups are installed, so {name} cannot be reached without "
            "awaiting: read it inside `await session.run_sync(…)`, use `await aprefetch(…)`, or "
            "install a plain sessionmaker of its database too"
        )
    return (
        f"none of the {usable} installed sessionmakers reaches {name}: its table is in the "
        "database of none of them; install one of that database, or create the table"
    )


def _is_async(factory: Any) -> bool:
    return not isinstance(factory, type) and not issubclass(
        getattr(factory, "class_", Session), Session
    )


def _made(factory: Any) -> Session:
    made = factory()
    session: Session = getattr(made, "sync_session", made)
    return session
