"""The steps of a lazy migration: how they are marked, found, checked and taken."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from lifecycle.errors import ConfigurationError, MigrationError

__all__ = ["Data", "Plan", "Step", "migrates", "plan_of"]

F = TypeVar("F", bound=Callable[..., Any])
Data = dict[str, Any]
"""An object's fields as they are stored, by the names of their attributes."""

_STEP: Final = "__lifecycle_step__"


@dataclass(frozen=True, slots=True)
class Step:
    """What brings an object from one version to the next."""

    name: str
    from_: int
    reads: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.from_} to {self.from_ + 1})"


def migrates(*, from_: int, reads: Collection[str] = ()) -> Callable[[F], F]:
    """Mark a method of a model as the step that brings its objects from a version to the next.

    It is called with ``data``, a dict of all that is stored of one object, by the names of
    attributes, and changes that in place: what it puts there is what the object gets, and what it
    takes away is taken away from the database too. It may be called more than once for one object,
    so it is to do nothing else. The values are those of ``event.data`` at ``pre_load``: Python
    types from SQLAlchemy, BSON from mongoengine. It is a static method ``f(data)``, a class method
    ``f(cls, data)``, or a plain one, ``f(self, data)``, whose object has not been filled yet.

    ``reads`` are columns of the table that it needs and the model does not map any more. They are
    read with a query for each object that is migrated; a column that stays mapped costs none. Of a
    document all that is stored is there, whether it has a field or not.

    Raises ``ConfigurationError`` for a version that is no whole number from 1 on.
    """
    names = (reads,) if isinstance(reads, str) else tuple(reads)
    if not isinstance(from_, int) or isinstance(from_, bool) or from_ < 1:
        raise ConfigurationError(f"@migrates(from_={from_!r}): give a whole number, from 1 on")

    def mark(function: F) -> F:
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"@migrates(from_={from_}) cannot mark {function!r}: put it on a plain function, "
                "below @staticmethod or @classmethod"
            )
        setattr(function, _STEP, (from_, names))
        return function

    return mark


@dataclass(frozen=True)
class Plan:
    """All steps of one model: from the oldest version there may be to the current one."""

    cls: type
    field: str
    steps: tuple[Step, ...]

    @cached_property
    def oldest(self) -> int:
        """The version of objects that have none, as those from before there were versions."""
        return self.steps[0].from_ if self.steps else 1

    @cached_property
    def current(self) -> int:
        """The version that new objects have, and that all others are brought to."""
        return self.steps[-1].from_ + 1 if self.steps else 1

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """What the steps need that is no field of the model."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step.reads))

    def from_version(self, stored: Any) -> tuple[Step, ...]:
        """The steps that an object with this in its version field needs.

        Raises ``MigrationError`` for a version that this code does not know.
        """
        version = self.oldest if stored is None else stored
        if not isinstance(version, int) or version > self.current:
            raise MigrationError(
                f"is at version {version!r}, and this code knows {self.cls.__qualname__} up to "
                f"version {self.current}: run the code that wrote it, or a later one"
            )
        if version < self.oldest:
            raise MigrationError(
                f"is at version {version}, and no step begins there: {self.cls.__qualname__} has "
                f"steps from version {self.oldest} on; keep the step until no object needs it"
            )
        return self.steps[version - self.oldest :]

    def migrated(self, instance: Any, raw: Data) -> Data:
        """What the steps make of an object's data, which is left as it is.

        Raises ``MigrationError``, naming the step, when one fails.
        """
        data = deepcopy(raw)
        for step in self.from_version(raw.get(self.field)):
            try:
                answer = _callable(self.cls, instance, step.name)(data)
            except Exception as error:
                told = f"which raised {type(error).__name__}: correct it, or the data"
                raise MigrationError(f"cannot be migrated by {step}, {told}") from error
            if answer is not None:
                raise MigrationError(
                    f"cannot be migrated by {step}, which returned something: it is to change "
                    "the data in place"
                )
        data[self.field] = self.current
        return data


def _callable(cls: type, instance: Any, name: str) -> Callable[[Data], Any]:
    step: Callable[[Data], Any]
    if isinstance(inspect.getattr_static(cls, name), staticmethod | classmethod):
        step = getattr(cls, name)
    else:
        step = getattr(cls, name).__get__(instance)
    return step


_plans: Final[WeakKeyDictionary[type, Plan]] = WeakKeyDictionary()


def plan_of(cls: type, field: str) -> Plan:
    """The steps a model declares or inherits, in order.

    Raises ``ConfigurationError`` when two begin at one version, when one is missing between two,
    or when one cannot be called with the data.
    """
    plan = _plans.get(cls)
    if plan is None or plan.field != field:
        steps = sorted(_steps(cls), key=lambda step: step.from_)
        _check(cls, steps)
        plan = _plans[cls] = Plan(cls, field, tuple(steps))
    return plan


def _steps(cls: type) -> Iterator[Step]:
    for name in dict.fromkeys(name for base in cls.__mro__ for name in vars(base)):
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "__func__", member)
        marked = getattr(function, _STEP, None) if inspect.isfunction(function) else None
        if marked is not None:
            count = 1 if isinstance(member, staticmethod) else 2
            try:
                inspect.signature(function).bind(*range(count))
            except TypeError:
                raise ConfigurationError(
                    f"{cls.__qualname__}.{name}, marked @migrates, cannot be called with the data: "
                    "write it as f(data) below @staticmethod, or as f(self, data)"
                ) from None
            yield Step(name, *marked)


def _check(cls: type, steps: list[Step]) -> None:
    for one, other in pairwise(steps):
        if one.from_ == other.from_:
            raise ConfigurationError(
                f"{cls.__qualname__}.{one.name} and {other.name} both migrate from version "
                f"{one.from_}: give one of them another, or leave one out"
            )
        if one.from_ + 1 != other.from_:
            raise ConfigurationError(
                f"{cls.__qualname__} has a step from version {one.from_}, {one.name}, and the next "
                f"one from {other.from_}, {other.name}: the one from {one.from_ + 1} is missing"
            )
