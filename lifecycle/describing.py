"""What an application has declared: its models with their hooks, behaviours and policies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from lifecycle.bundles import Behaviour, behaviours_of
from lifecycle.dispatch import Plan
from lifecycle.hooks import Hook
from lifecycle.moments import Moment
from lifecycle.policy import Policy, has_stable_name

__all__ = ["Described", "DescribedHook", "Description", "describe"]

_OF_FLUSHES: Final = (Moment.PRE_FLUSH, Moment.ON_FLUSH, Moment.POST_FLUSH)
_OF_NO_OBJECT: Final = (*_OF_FLUSHES, Moment.LOAD_CLASS_METADATA)
_REFERENCE: Final = "Reference"


@dataclass(frozen=True, slots=True)
class DescribedHook:
    """A hook: its name, where it is defined, and when it runs."""

    name: str
    where: str
    condition: str = ""
    priority: int = 0
    is_async: bool = False

    def __str__(self) -> str:
        told = [self.name]
        if self.condition:
            told.append(f"when {self.condition}")
        if self.priority:
            told.append(f"priority {self.priority}")
        if self.is_async:
            told.append("async")
        return ", ".join(told) + (f"  [{self.where}]" if self.where else "")


Hooks = dict[str, tuple[DescribedHook, ...]]
"""Hooks by moment, in the order in which they run; moments without any are missing."""


@dataclass(frozen=True, slots=True)
class Described:
    """One mapped class: what is recorded of it, what runs for it, and what it declares.

    ``entity`` is its name in the log, which is ``stable`` if it does not depend on that of the
    class. ``recorded`` says whether there are records of it; of fields in ``mask`` they have no
    values, of those in ``exclude`` nothing. ``bulk`` is empty for as the Lifecycle says.
    """

    entity: str
    model: str
    mapper: str
    stable: bool
    recorded: bool
    mask: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    label: str = ""
    bulk: str = ""
    behaviours: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    hooks: Hooks = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """Every mapped class, and the hooks that are of flushes and classes rather than of objects."""

    models: tuple[Described, ...]
    hooks: Hooks = field(default_factory=dict)


class Adapter(Protocol):
    """What this needs of a mapper."""

    def classes(self) -> Iterator[type]: ...
    def entity(self, cls: type) -> str: ...
    def policy(self, cls: type) -> Policy: ...


def describe(
    adapters: Iterable[tuple[str, Adapter]],
    plan: Callable[[type], Plan],
    wants: Callable[[Policy], bool],
) -> Description:
    """Describe every class of these mappers, by their names."""
    models = [
        _described(name, adapter, cls, plan(cls), wants)
        for name, adapter in adapters
        for cls in adapter.classes()
    ]
    models.sort(key=lambda one: (one.entity, one.model))
    others = plan(object)
    return Description(tuple(models), _hooks(others, lambda moment: moment in _OF_NO_OBJECT))


def _described(
    mapper: str, adapter: Adapter, cls: type, plan: Plan, wants: Callable[[Policy], bool]
) -> Described:
    policy = adapter.policy(cls)
    declared = behaviours_of(cls)
    return Described(
        entity=adapter.entity(cls),
        model=f"{cls.__module__}.{cls.__qualname__}",
        mapper=mapper,
        stable=has_stable_name(cls),
        recorded=wants(policy),
        mask=tuple(sorted(policy.mask)),
        exclude=tuple(sorted(policy.exclude)),
        label=_name(policy.label),
        bulk=policy.bulk or "",
        behaviours=tuple(str(one) for one in declared if not _is_reference(one)),
        references=tuple(str(one) for one in declared if _is_reference(one)),
        hooks=_hooks(plan, lambda moment: moment not in _OF_NO_OBJECT),
    )


def _is_reference(behaviour: Behaviour) -> bool:
    return behaviour.name.startswith(_REFERENCE)


def _hooks(plan: Plan, wanted: Callable[[Moment], bool]) -> Hooks:
    return {
        str(moment): tuple(map(_hook, plan[moment]))
        for moment in Moment
        if moment in plan and wanted(moment)
    }


def _hook(hook: Hook) -> DescribedHook:
    condition = hook.mark.condition
    return DescribedHook(
        name=hook.name,
        where=_where(hook.function),
        condition="" if condition is None else str(condition),
        # That of signals is lower than any that can be meant.
        priority=hook.mark.priority if hook.function is not None else 0,
        is_async=hook.is_async,
    )


def _where(function: Any) -> str:
    """The module and line of a function."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None)
    return "" if code is None else f"{function.__module__}:{code.co_firstlineno}"


def _name(label: Any) -> str:
    if label is None or isinstance(label, str):
        return label or ""
    name = getattr(label, "__name__", repr(label))
    return f"a function at {_where(label)}" if name == "<lambda>" else str(name)
