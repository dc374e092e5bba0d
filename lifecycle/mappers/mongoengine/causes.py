"""Why something is written, when nobody asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["cause_now", "caused"]

_cause: ContextVar[str | None] = ContextVar("lifecycle.mongoengine.cause", default=None)


def cause_now() -> str | None:
    """The cause of what is written now; ``None`` for what the application asked for."""
    return _cause.get()


@contextmanager
def caused(cause: str | None) -> Iterator[None]:
    """Name the cause of what is written inside the block."""
    token = _cause.set(cause)
    try:
        yield
    finally:
        _cause.reset(token)
