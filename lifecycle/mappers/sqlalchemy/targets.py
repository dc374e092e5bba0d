"""What can be installed, and whose sessions are meant by it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.orm import Mapper, Session, scoped_session, sessionmaker

__all__ = [
    "accepts",
    "claim",
    "engine_of",
    "may_write",
    "overlap",
    "release",
    "root_of",
    "sessions_of",
    "unwrapped",
]

_RESTORE: Final = "__lifecycle_restore__"


def accepts(target: object) -> bool:
    """Whether the target is an engine, or makes sessions, or is one.

    Sessions may be plain, scoped, async or of Flask-SQLAlchemy.
    """
    target = unwrapped(target)
    return (
        isinstance(target, sessionmaker | Session | Engine)
        or _is_class(target, Session)
        or _is_async(target)
    )


def sessions_of(target: Any) -> Any:
    """The class whose instances do the flushing, the one session that does it, or the engine."""
    target = unwrapped(target)
    if isinstance(target, Engine):
        return root_of(target)
    if isinstance(target, sessionmaker):
        return target.class_
    if not _is_async(target):
        return target
    for name in ("sync_session", "sync_session_class"):
        if hasattr(target, name) and not (name == "sync_session" and isinstance(target, type)):
            return getattr(target, name)
    return target.kw.get("sync_session_class", target.class_.sync_session_class)


def claim(target: Any) -> Any:
    """As `sessions_of`, but sure to be the target's own.

    Async factories and classes flush through ``Session`` itself unless told otherwise: they are
    given a class of their own, which `release` takes away again.
    """
    target = unwrapped(target)
    if not _is_async(target) or hasattr(target, "sync_session"):
        return sessions_of(target)
    original = sessions_of(target)
    own = type(original.__name__, (original,), {})
    restore = (
        _replace_in_class(target, own) if isinstance(target, type) else _configure(target, own)
    )
    setattr(own, _RESTORE, restore)
    return own


def release(sessions: Any) -> None:
    """Give back what `claim` took."""
    restore: Callable[[], None] | None = (
        vars(sessions).get(_RESTORE) if isinstance(sessions, type) else None
    )
    if restore is not None:
        restore()


def _replace_in_class(cls: Any, own: type) -> Callable[[], None]:
    had_own, original = "sync_session_class" in vars(cls), cls.sync_session_class
    cls.sync_session_class = own

    def restore() -> None:
        if had_own:
            cls.sync_session_class = original
        else:
            del cls.sync_session_class

    return restore


def _configure(factory: Any, own: type) -> Callable[[], None]:
    before = dict(factory.kw)
    factory.configure(sync_session_class=own)

    def restore() -> None:
        factory.kw.pop("sync_session_class", None)
        if "sync_session_class" in before:
            factory.configure(sync_session_class=before["sync_session_class"])

    return restore


def engine_of(target: Any) -> Engine | None:
    """The engine a target is bound to, ``None`` when it has none of its own."""
    target = unwrapped(target)
    if isinstance(target, Engine):
        return target
    bind = getattr(target, "kw", {}).get("bind") or getattr(target, "bind", None)
    bind = getattr(bind, "sync_engine", bind)
    engine: Engine | None = getattr(bind, "engine", None)
    return engine


def may_write(factory: sessionmaker[Any], mapper: Mapper[Any]) -> bool:
    """Whether sessions of a factory have a bind for a mapped class; with ``binds``, not for all."""
    if factory.kw.get("bind") is not None or not factory.kw.get("binds"):
        return True
    named = {getattr(one, "class_", one) for one in factory.kw["binds"]}
    return not named.isdisjoint({*mapper.class_.__mro__, *mapper.tables})


def root_of(engine: Engine) -> Engine:
    """The engine that one with options of its own was made from; both have the same connections."""
    root: Engine = getattr(engine, "_proxied", engine)
    return root


def overlap(one: Any, other: Any) -> bool:
    """Whether some session belongs to both."""
    if one is other:
        return True
    if isinstance(one, type) and isinstance(other, type):
        return issubclass(one, other) or issubclass(other, one)
    if isinstance(one, type):
        return isinstance(other, one)
    return isinstance(other, type) and isinstance(one, other)


def unwrapped(target: Any) -> Any:
    """The factory inside a scoped session or Flask-SQLAlchemy's ``db``; an async engine's own."""
    if _is_async(target, "AsyncEngine"):
        target = target.sync_engine
    if type(target).__module__.partition(".")[0] == "flask_sqlalchemy":
        target = getattr(target, "session", target)
    if isinstance(target, scoped_session) or _is_async(target, "async_scoped_session"):
        target = target.session_factory
    return target


def _is_async(target: object, *names: str) -> bool:
    """Whether it is of SQLAlchemy's asyncio extension, which the application may not have."""
    extension = sys.modules.get("sqlalchemy.ext.asyncio")
    if extension is None:
        return False
    kinds = tuple(getattr(extension, name) for name in names or _ASYNC)
    return isinstance(target, kinds) or (not names and _is_class(target, extension.AsyncSession))


_ASYNC: Final = ("async_sessionmaker", "AsyncSession")


def _is_class(target: object, base: type) -> bool:
    return isinstance(target, type) and issubclass(target, base)
