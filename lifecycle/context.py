"""Who acts, and why: the context of the running thread or task.

It travels in context variables, so it follows a task and never leaks into another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

__all__ = ["Context", "acting", "current"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known about the one who acts; every part may be missing."""

    actor: str | None = None
    actor_label: str | None = None
    reason: str | None = None
    source: str | None = None
    request_id: str | None = None
    group: UUID | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


_NOBODY: Final = Context()
_current: ContextVar[Context] = ContextVar("lifecycle.context", default=_NOBODY)


def current() -> Context:
    """The context of the running thread or task."""
    return _current.get()


@contextmanager
def acting(
    actor: Any = None,
    *,
    label: str | None = None,
    reason: str | None = None,
    source: str | None = None,
    request_id: str | None = None,
    **context: Any,
) -> Iterator[Context]:
    """Name who acts, and why, for everything written inside the block.

    Blocks nest: what an inner one does not give is taken from the outer one, and extra keywords
    add to it. A revision takes its context when its first record is made.

    ``actor`` is a stable id as text, or an object with an ``id`` (or ``pk``), whose ``str()`` is
    then the label. ``label`` is what people call the actor now. Extra keywords hold values that
    the log can encode. Raises ``TypeError`` for an actor without an id.
    """
    outer = _current.get()
    if actor is not None:
        actor, label = _identified(actor, label)
    inner = replace(
        outer,
        actor=outer.actor if actor is None else actor,
        actor_label=label if actor is not None or label is not None else outer.actor_label,
        reason=outer.reason if reason is None else reason,
        source=outer.source if source is None else source,
        request_id=outer.request_id if request_id is None else request_id,
        extra=MappingProxyType({**outer.extra, **context}) if context else outer.extra,
    )
    token = _current.set(inner)
    try:
        yield inner
    finally:
        _current.reset(token)


def _identified(actor: Any, label: str | None) -> tuple[str, str | None]:
    if isinstance(actor, str):
        return str(actor), label
    if isinstance(actor, int | UUID) and not isinstance(actor, bool):
        return str(actor), label
    identity = getattr(actor, "id", None)
    if identity is None:
        identity = getattr(actor, "pk", None)
    if identity is None:
        raise TypeError(
            f"acting() got a {type(actor).__qualname__} that has no id: "
            "give a stable id as text, or an object whose id is set"
        )
    return str(identity), str(actor) if label is None else label
