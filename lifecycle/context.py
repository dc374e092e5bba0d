"""Who acts, and why: the context of the running thread or task.

It travels in context variables, so it follows a task and never leaks into another one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from functools import wraps
from types import MappingProxyType, TracebackType
from typing import Any, Final, ParamSpec, TypeVar
from uuid import UUID

from lifecycle import codec
from lifecycle.errors import EncodingError
from lifecycle.keys import LONGEST
from lifecycle.policy import BulkMode
from lifecycle.uuids import uuid7

__all__ = ["BulkChoice", "Context", "Suppression", "acting", "current", "grouped"]

P = ParamSpec("P")
R = TypeVar("R")


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


class acting:
    """Name who acts, and why, for everything written inside the block.

    Blocks nest: what an inner one does not give is taken from the outer one, and extra keywords
    add to it; another actor does not take over the outer one's label. A revision takes its context
    when its first record is made. All revisions of an outermost block share a group, whatever
    databases they are of: they are found together, and undone together when one of them is named
    to be undone. As a decorator, of plain and of async functions, it makes a block
    of every call. A ``with`` inside a generator holds for its consumer too, between two values.

    ``actor`` is a stable id as text, or an object with an ``id`` (or ``pk``), whose ``str()`` is
    then the label if its class defines one. ``label`` is what people call the actor now. Extra
    keywords hold values that the log can encode. Raises ``TypeError`` for an actor without an id
    and for anything that is not text where text is wanted, ``ValueError`` for an empty actor or an
    id that is too long, and ``EncodingError`` for an extra keyword that cannot be recorded.
    """

    def __init__(
        self,
        actor: Any = None,
        *,
        label: str | None = None,
        reason: str | None = None,
        source: str | None = None,
        request_id: str | None = None,
        **context: Any,
    ) -> None:
        if actor is not None:
            actor, label = _identified(actor, label)
        texts = {"reason": reason, "source": source, "request_id": request_id}
        for keyword, text in {"actor": actor, "label": label, **texts}.items():
            _check_text(keyword, text)
        self._actor: Final[str | None] = actor
        self._label: Final = label
        self._texts: Final[dict[str, Any]] = {
            name: text for name, text in texts.items() if text is not None
        }
        self._extra: Final = {name: _recordable(name, value) for name, value in context.items()}
        self._token: Token[Context] | None = None

    def __enter__(self) -> Context:
        if self._token is not None:
            raise RuntimeError("this acting() block is open already: call acting() for each block")
        inner = self._within(_current.get())
        self._token = _current.set(inner)
        return inner

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        token, self._token = self._token, None
        assert token is not None  # __enter__ has set it
        _current.reset(token)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Make a block of every call of a function."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"acting() cannot decorate the generator {function.__qualname__}, which runs after "
                "the call is over: write `with acting(...)` around what consumes it"
            )
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]  # R is the coroutine

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._again():
                return function(*args, **kwargs)

        return called

    def _again(self) -> acting:
        """Another block of the same content: calls may overlap."""
        return acting(self._actor, label=self._label, **self._texts, **self._extra)

    def _within(self, outer: Context) -> Context:
        same_actor = self._actor in (None, outer.actor)
        label = outer.actor_label if self._label is None and same_actor else self._label
        return replace(
            outer,
            actor=outer.actor if self._actor is None else self._actor,
            actor_label=label,
            extra=MappingProxyType({**outer.extra, **self._extra}) if self._extra else outer.extra,
            group=outer.group or uuid7(),
            **self._texts,
        )


def _identified(actor: Any, label: str | None) -> tuple[str, str | None]:
    if isinstance(actor, str):
        return str.__str__(actor), label
    if isinstance(actor, int | UUID) and not isinstance(actor, bool):
        return str(actor), label
    kind: Any = type(actor)
    identity = None
    if not isinstance(actor, type):
        identity = getattr(actor, "id", None)
        if identity is None:
            identity = getattr(actor, "pk", None)
    if identity is None or callable(identity):
        what = f"the class {actor.__qualname__}" if kind is type else f"a {kind.__qualname__}"
        raise TypeError(
            f"acting() got {what} that has no id: "
            "give a stable id as text, or an object whose id is set"
        )
    if label is None and kind.__str__ is not object.__str__:
        label = str(actor)  # what object.__str__ gives is an address, or every field
    return str(identity), label


_INDEXED: Final = frozenset({"actor", "request_id"})


def _check_text(keyword: str, text: Any) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise TypeError(f"acting({keyword}={text!r}) must be text, not {type(text).__qualname__}")
    if keyword == "actor" and not text:
        raise ValueError("acting() got an empty actor: give a stable id, or None for nobody")
    if keyword in _INDEXED and len(text) > LONGEST:
        raise ValueError(
            f"acting({keyword}=...) has {len(text)} characters, and the log keeps {LONGEST}: "
            "shorten it, or give it as an extra keyword"
        )


def _recordable(keyword: str, value: Any) -> Any:
    """A copy of an extra keyword's value, so that what is recorded is what was given."""
    if keyword in Context.__dataclass_fields__:
        raise TypeError(
            f"acting() has no keyword {keyword!r}, which would look like a part of the context: "
            "give label= for the actor's label, or choose another name"
        )
    try:
        return codec.decode(codec.encode(value))
    except EncodingError as error:
        raise EncodingError(f"acting({keyword}=...) cannot be recorded: {error}") from error


@contextmanager
def grouped(group: UUID) -> Iterator[None]:
    """Join the revisions of everything written inside the block by one group."""
    token = _current.set(replace(_current.get(), group=group))
    try:
        yield
    finally:
        _current.reset(token)


class Suppression:
    """What of one Lifecycle is switched off in the running thread or task."""

    def __init__(self) -> None:
        self._token: Final = object()

    @property
    def hooks(self) -> bool:
        """Whether hooks are not to run."""
        blocks = _suppressed.get()  # mostly none: it is asked at every write
        return bool(blocks) and any(owner is self._token and hooks for owner, hooks, _ in blocks)

    @property
    def audit(self) -> bool:
        """Whether nothing is to be recorded."""
        blocks = _suppressed.get()
        return bool(blocks) and any(owner is self._token and audit for owner, _, audit in blocks)

    @contextmanager
    def __call__(self, *, hooks: bool, audit: bool) -> Iterator[None]:
        """Switch off inside the block; blocks nest."""
        reset = _suppressed.set((*_suppressed.get(), (self._token, hooks, audit)))
        try:
            yield
        finally:
            _suppressed.reset(reset)


_suppressed: ContextVar[tuple[tuple[object, bool, bool], ...]] = ContextVar(
    "lifecycle.suppressed", default=()
)


class BulkChoice:
    """How one Lifecycle records bulk writes in the running thread or task, if that was chosen."""

    def __init__(self) -> None:
        self._token: Final = object()

    @property
    def mode(self) -> BulkMode | None:
        """The mode of the innermost block; ``None`` outside of all."""
        chosen = (mode for owner, mode in reversed(_chosen.get()) if owner is self._token)
        return next(chosen, None)

    @contextmanager
    def __call__(self, mode: BulkMode) -> Iterator[None]:
        """Choose a mode inside the block; blocks nest."""
        reset = _chosen.set((*_chosen.get(), (self._token, mode)))
        try:
            yield
        finally:
            _chosen.reset(reset)


_chosen: ContextVar[tuple[tuple[object, BulkMode], ...]] = ContextVar("lifecycle.bulk", default=())
