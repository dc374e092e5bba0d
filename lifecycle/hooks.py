"""Declaring hooks: decorators that mark functions, and the search for marked functions.

A decorator only marks; nothing is registered globally. A `Hook` is a marked function found on a
model, or subscribed, and checked to be callable the way it will be called.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partialmethod
from typing import Any, Final, Protocol, TypeVar, overload

from lifecycle.conditions import NOT_GIVEN, Condition, condition_of
from lifecycle.errors import HookDefinitionError
from lifecycle.moments import CHANGE_EVENTS, Moment, ObjectEvent

__all__ = [
    "Hook",
    "Mark",
    "load_class_metadata",
    "marks_of",
    "model_hooks",
    "on_flush",
    "post_commit",
    "post_flush",
    "post_load",
    "post_persist",
    "post_remove",
    "post_rollback",
    "post_update",
    "pre_flush",
    "pre_load",
    "pre_persist",
    "pre_remove",
    "pre_update",
    "subscribed_hooks",
]

F = TypeVar("F", bound=Callable[..., Any])

_MARKS: Final = "__lifecycle_marks__"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a decorator wrote on a function: when it is to run, for which classes."""

    moment: Moment
    targets: tuple[type, ...] = ()
    condition: Condition | None = None
    priority: int = 0


class Decorator(Protocol):
    """The type of ``pre_persist`` and its siblings."""

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(
        self,
        *targets: type,
        when: str | tuple[str, ...] | Condition | None = None,
        was: Any = ...,
        becomes: Any = ...,
        priority: int = 0,
    ) -> Callable[[F], F]: ...


def _decorator(moment: Moment) -> Decorator:
    def decorator(
        *targets: Any,
        when: str | tuple[str, ...] | Condition | None = None,
        was: Any = NOT_GIVEN,
        becomes: Any = NOT_GIVEN,
        priority: int = 0,
    ) -> Any:
        if not isinstance(priority, int):
            raise HookDefinitionError(f"@{moment}(priority={priority!r}): give a whole number")
        condition = condition_of(when, was, becomes)
        if condition is not None and moment not in CHANGE_EVENTS:
            raise HookDefinitionError(
                f"@{moment} takes no condition, for nothing changes at that moment"
            )
        if targets and moment in _OF_FLUSHES and not inspect.isroutine(targets[0]):
            raise HookDefinitionError(
                f"@{moment} takes no target, for it is of a whole flush: look at event.changesets"
            )
        if len(targets) == 1 and inspect.isroutine(targets[0]):
            return _marked(targets[0], Mark(moment, condition=condition, priority=priority))
        for target in targets:
            if not isinstance(target, type):
                raise HookDefinitionError(
                    f"@{moment}({target!r}): that is neither a function nor a class; mark a plain "
                    "function or method, and name model classes as targets, or none for all of them"
                )
        return _Marking(Mark(moment, targets, condition, priority))

    decorator.__name__ = decorator.__qualname__ = str(moment)
    decorator.__doc__ = (
        f"Mark a function to run at `{moment}`; see `lifecycle.moments` for what it may do.\n\n"
        "On a model's method give no target. On a free function, or a subscriber's method, name\n"
        "the classes it is for: none means all. ``when`` is a field, a tuple of fields (any of\n"
        "them) or a condition; ``was`` and ``becomes`` ask for the values of that one field.\n"
        "A higher ``priority`` runs first. Marked several times, a function runs for every mark\n"
        "that applies. Raises ``HookDefinitionError`` for what cannot work."
    )
    return decorator


class _Marking:
    """Marks the function it is called with: what a decorator gives for targets and keywords.

    A bare ``@pre_update`` on a class is the same call as ``pre_update(Order)``, which names a
    target, and leaves this in the place of the class: to use it as one is an error that says so.
    """

    __slots__ = ("mark",)

    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    def __call__(self, *function: Any, **keywords: Any) -> Any:
        if len(function) != 1 or keywords:
            raise self.unused()
        return _marked(function[0], self.mark)

    def __repr__(self) -> str:
        targets = ", ".join(target.__qualname__ for target in self.mark.targets)
        return f"@{self.mark.moment}({targets or '...'}), on no function yet"

    def unused(self) -> HookDefinitionError:
        """The error for taking it for something that has been marked, or for a class."""
        return HookDefinitionError(
            f"{self!r}: put it on the function that is to be called" + _if_bare(self.mark)
        )


def _marked(function: Any, mark: Mark) -> Any:
    if not inspect.isfunction(function):
        what = "the class" if isinstance(function, type) else type(function).__name__
        name = getattr(function, "__qualname__", repr(function))
        raise HookDefinitionError(
            f"@{mark.moment} cannot mark {what} {name}: put it on a plain function or method"
            + (", below @staticmethod or @classmethod" if "method" in what else "")
            + _if_bare(mark)
        )
    setattr(function, _MARKS, (*marks_of(function), mark))
    return function


def _if_bare(mark: Mark) -> str:
    """What to do if the target is one only because the decorator stands on it."""
    if len(mark.targets) != 1:
        return ""
    name = mark.targets[0].__qualname__
    return f"; if there is a bare @{mark.moment} on the class {name} itself, put it on a method"


_OF_FLUSHES: Final = frozenset({Moment.PRE_FLUSH, Moment.ON_FLUSH, Moment.POST_FLUSH})
_OF_NO_OBJECT: Final = _OF_FLUSHES | {Moment.LOAD_CLASS_METADATA}

pre_flush: Final = _decorator(Moment.PRE_FLUSH)
pre_persist: Final = _decorator(Moment.PRE_PERSIST)
pre_update: Final = _decorator(Moment.PRE_UPDATE)
pre_remove: Final = _decorator(Moment.PRE_REMOVE)
on_flush: Final = _decorator(Moment.ON_FLUSH)
post_persist: Final = _decorator(Moment.POST_PERSIST)
post_update: Final = _decorator(Moment.POST_UPDATE)
post_remove: Final = _decorator(Moment.POST_REMOVE)
post_flush: Final = _decorator(Moment.POST_FLUSH)
post_commit: Final = _decorator(Moment.POST_COMMIT)
post_rollback: Final = _decorator(Moment.POST_ROLLBACK)
pre_load: Final = _decorator(Moment.PRE_LOAD)
post_load: Final = _decorator(Moment.POST_LOAD)
load_class_metadata: Final = _decorator(Moment.LOAD_CLASS_METADATA)


def marks_of(function: object) -> tuple[Mark, ...]:
    """The marks the decorators left on a function, or on the one inside a method or property."""
    for kind, attribute in _WRAPPERS.items():
        if isinstance(function, kind):
            function = getattr(function, attribute)
    marks: tuple[Mark, ...] = getattr(function, _MARKS, ())
    return marks


_WRAPPERS: Final = {
    staticmethod: "__func__",
    classmethod: "__func__",
    property: "fget",
    cached_property: "func",
    partialmethod: "func",
}
"""Descriptors that hide a function and its marks, and where they keep it."""


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """A marked function with the way to call it: ``call(event)``, awaited if it ``is_async``."""

    name: str
    mark: Mark
    call: Callable[[Any], Any]
    is_async: bool = False
    function: Any = None
    """The function as it was written, where there is one."""

    def concerns(self, cls: type) -> bool:
        """Whether it is for that model class: one of its targets, or any when it names none."""
        return not self.mark.targets or issubclass(cls, self.mark.targets)


def model_hooks(cls: type) -> list[Hook]:
    """The hooks a class declares or inherits, base classes first, then in order of definition.

    A subclass that overrides a hook without its decorator disables it.
    Raises ``HookDefinitionError`` for one that cannot be called as ``f(self)`` or
    ``f(self, event)``, or that names targets, and for a decorator on the class itself.
    """
    _refuse_bare(cls)
    return [
        _method_hook(cls, owner, name, function, mark)
        for owner, name, function in _marked_members(cls)
        for mark in marks_of(function)
    ]


def _refuse_bare(cls: type) -> None:
    """Refuse a class whose name in its module holds the decorator that was put on it."""
    module = sys.modules.get(cls.__module__)
    holder = getattr(module, "__dict__", {}).get(cls.__name__)
    if isinstance(holder, _Marking) and holder.mark.targets == (cls,):
        raise holder.unused()


def _marked_members(cls: type) -> Iterator[tuple[type, str, Any]]:
    for owner in reversed(cls.__mro__):
        for name, member in list(vars(owner).items()):
            if marks_of(member) and inspect.getattr_static(cls, name, None) is member:
                yield owner, name, member


def _method_hook(cls: type, owner: type, name: str, function: Any, mark: Mark) -> Hook:
    label = f"{owner.__qualname__}.{name}"
    if mark.targets:
        raise HookDefinitionError(
            f"{label} is a method of the model {cls.__qualname__}, so its "
            f"@{mark.moment} must name no target class; it runs for its own class"
        )
    if mark.moment in _OF_NO_OBJECT:
        raise HookDefinitionError(
            f"{label}, marked @{mark.moment}, is a method of a model, but no object has that "
            "moment: subscribe a function instead"
        )
    if isinstance(function, staticmethod) or not callable(function):
        raise _no_method(label, mark, function, "a plain method, f(self) or f(self, event)")
    _refuse_deferred(label, mark, function)
    arguments = _positional(label, mark, function, "f(self) or f(self, event)", (1, 2))
    if arguments == 1:

        def call(event: ObjectEvent) -> Any:
            return function(event.instance)

    else:

        def call(event: ObjectEvent) -> Any:
            return function(event.instance, event)

    return Hook(label, mark, call, inspect.iscoroutinefunction(function), function)


def subscribed_hooks(listener: Any) -> list[Hook]:
    """The hooks of a listener: a marked function, or an object or class with marked methods.

    A class is instantiated without arguments. Raises ``HookDefinitionError`` when nothing in it is
    marked, or when something marked cannot be called as ``f(event)``.
    """
    if isinstance(listener, _Marking):
        raise listener.unused()
    if isinstance(listener, type):
        return _bound_hooks(_instantiated(listener))
    if marks_of(listener):
        name = getattr(listener, "__qualname__", repr(listener))
        return [_listener_hook(name, listener, mark) for mark in marks_of(listener)]
    return _bound_hooks(listener)


def _instantiated(listener: type) -> Any:
    if not any(_marked_members(listener)):
        raise _nothing_marked(f"the class {listener.__qualname__}")
    try:
        return listener()
    except TypeError as error:
        raise HookDefinitionError(
            f"the class {listener.__qualname__} cannot be made without arguments ({error}): "
            "subscribe an instance of it instead"
        ) from error


def _bound_hooks(listener: Any) -> list[Hook]:
    hooks = []
    for owner, name, member in _marked_members(type(listener)):
        label = f"{owner.__qualname__}.{name}"
        for mark in marks_of(member):
            if not (callable(member) or isinstance(member, classmethod)):
                raise _no_method(label, mark, member, "a method, f(self, event)")
            hooks.append(_listener_hook(label, getattr(listener, name), mark))
    if not hooks:
        raise _nothing_marked(f"{listener!r}")
    return hooks


def _nothing_marked(what: str) -> HookDefinitionError:
    return HookDefinitionError(
        f"{what} has nothing to subscribe: mark a function or methods "
        "with @pre_update or another moment first"
    )


def _listener_hook(name: str, function: Any, mark: Mark) -> Hook:
    _refuse_deferred(name, mark, function)
    _positional(name, mark, function, "f(event)", (1,))
    return Hook(name, mark, function, inspect.iscoroutinefunction(function), function)


def _no_method(name: str, mark: Mark, member: object, wanted: str) -> HookDefinitionError:
    return HookDefinitionError(
        f"{name}, marked @{mark.moment}, is a {type(member).__name__}: make it {wanted}"
    )


def _refuse_deferred(name: str, mark: Mark, function: Any) -> None:
    """Refuse a function whose body does not run when it is called."""
    for is_kind, what in (
        (inspect.isasyncgenfunction, "is an async generator, and would never run"),
        (inspect.isgeneratorfunction, "is a generator, and would never run"),
    ):
        if is_kind(function):
            raise HookDefinitionError(
                f"{name}, marked @{mark.moment}, {what}: write it as a plain function"
            )


def _positional(name: str, mark: Mark, function: Any, wanted: str, counts: tuple[int, ...]) -> int:
    """With how many of the allowed numbers of positional arguments a function can be called."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise HookDefinitionError(
            f"{name}, marked @{mark.moment}, does not tell its parameters ({error}): "
            f"mark a plain function that can be called as {wanted}"
        ) from error
    for count in reversed(counts):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    raise HookDefinitionError(
        f"{name}{signature}, marked @{mark.moment}, cannot be called as {wanted}: "
        "change its parameters"
    )
