"""Lazy migrations as a whole: who is at which version, and finishing the rest in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Final, Protocol

from lifecycle.behaviours.lazy_migration import Failed, Migrated, declared_plan, tolerating, write
from lifecycle.behaviours.steps import Plan
from lifecycle.context import acting, current
from lifecycle.errors import ConfigurationError, LifecycleError
from lifecycle.stored import Held, Stock

__all__ = ["Failure", "Migrations", "Planned", "Ran", "Versions"]

_EXAMPLES: Final = 10
_FAILURES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Versions:
    """How many objects of a model are stored at which version.

    ``counts`` has the versions that there are; objects without one count for the oldest.
    """

    entity: str
    field: str
    current: int
    steps: tuple[str, ...]
    counts: dict[int, int]

    @property
    def behind(self) -> int:
        """How many are still to be migrated."""
        return sum(count for version, count in self.counts.items() if version < self.current)

    @property
    def ahead(self) -> int:
        """How many are at a version that this code does not know."""
        return sum(count for version, count in self.counts.items() if version > self.current)


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that could not be migrated, and why; it was left untouched."""

    entity: str
    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What a dry run has found to do: the fields of an object that would be written or go."""

    entity: str
    key: str
    writes: tuple[str, ...]
    drops: tuple[str, ...]


@dataclass(slots=True)
class Ran:
    """What a run has done, or would do.

    ``examples`` are the first objects a dry run came to. Of failures the first thousand are kept.
    """

    dry_run: bool = False
    migrated: int = 0
    failed: int = 0
    left: int = 0
    failures: list[Failure] = field(default_factory=list)
    examples: list[Planned] = field(default_factory=list)

    def fail(self, failure: Failure) -> None:
        """Count an object that could not be migrated."""
        self.failed += 1
        if len(self.failures) < _FAILURES:
            self.failures.append(failure)


class Adapter(Protocol):
    """What this needs of a mapper."""

    def classes(self) -> Iterator[type]: ...
    def entity(self, cls: type) -> str: ...
    def stock(self, cls: type) -> Stock: ...


class Migrations:
    """The lazy migrations of an application's models: `Lifecycle.migrations`."""

    def __init__(
        self,
        adapters: Iterable[Adapter],
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        self._adapters: Final = adapters
        self._clock: Final = clock
        self._wait: Final = wait

    def versions(self, *models: type) -> list[Versions]:
        """Count the objects of these models by version, or of all that are in the database at hand.

        Raises ``ConfigurationError`` for a model without a lazy migration.
        """
        return [_versions(plan, entity, stock) for plan, entity, stock in self._chosen(models)]

    def elsewhere(self) -> list[str]:
        """The names of models left out, for they cannot be loaded here.

        Their tables are not in the database at hand, or no ``sessionmaker`` is installed.
        """
        return [entity for _, entity, stock in self._all().values() if not stock.is_here()]

    def model(self, entity: str) -> type:
        """The model with a lazy migration that has this name in the log.

        Raises ``ConfigurationError`` when there is none.
        """
        known = self._all()
        for cls, (_, name, _) in known.items():
            if name == entity:
                return cls
        named = ", ".join(name for _, name, _ in known.values()) or "no model"
        raise ConfigurationError(f"{entity!r} has no lazy migration: {named} has")

    def run(
        self,
        *models: type,
        limit: int | None = None,
        rate: float | None = None,
        chunk: int = 500,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Ran:
        """Migrate what is left of these models, or of all.

        In short transactions of ``chunk`` objects, by their identities, ``rate`` objects a second
        at most and ``limit`` in all. It can be stopped at any time, run again, and run while the
        application works: what is done is done, and an object that others migrate or change
        meanwhile is left to them. One that fails is told and left untouched. A ``dry_run`` writes
        nothing. ``progress`` is told of so many more objects that are through.

        Raises ``ConfigurationError`` as `versions` does, or for numbers that are not above zero.
        """
        for name, value in (("limit", limit), ("rate", rate), ("chunk", chunk)):
            if value is not None and value <= 0:
                raise ConfigurationError(f"{name}={value!r}: give a number above zero")
        ran = Ran(dry_run)
        pace = _Pace(rate, self._clock, self._wait)
        with tolerating():
            for plan, entity, stock in self._chosen(models):
                told = current().reason or f"lazy migration of {entity} to version {plan.current}"
                with acting(reason=told):
                    run = _Run(plan, entity, stock, ran)
                    for done in run.portions(limit, pace.most(chunk)):
                        progress(done)
                        pace.keep(done)
                ran.left += _versions(plan, entity, stock).behind
        return ran

    def _chosen(self, models: tuple[type, ...]) -> list[tuple[Plan, str, Stock]]:
        found = self._all()
        for model in models:
            if model not in found:
                known = ", ".join(cls.__qualname__ for cls in found) or "no model"
                raise ConfigurationError(
                    f"{model.__qualname__} has no lazy migration of its own: {known} has"
                )
        if models:
            return [one for cls, one in found.items() if cls in models]
        return [one for one in found.values() if one[2].is_here()]

    def _all(self) -> dict[type, tuple[Plan, str, Stock]]:
        """Every model with steps of its own; one that adds none is part of the one above it."""
        found: dict[type, tuple[Plan, str, Stock]] = {}
        for adapter in self._adapters:
            plans = {cls: plan for cls in adapter.classes() if (plan := declared_plan(cls))}
            for cls, plan in plans.items():
                bases = (plans.get(base) for base in cls.__mro__[1:])
                if not any(base and base.current == plan.current for base in bases):
                    found[cls] = (plan, adapter.entity(cls), adapter.stock(cls))
        return dict(sorted(found.items(), key=lambda one: (one[1][1], one[0].__qualname__)))


def _versions(plan: Plan, entity: str, stock: Stock) -> Versions:
    counts: dict[int, int] = {}
    for version, count in stock.counts(plan.field).items():
        number = plan.oldest if version is None else version
        counts[number] = counts.get(number, 0) + count
    steps = tuple(map(str, plan.steps))
    return Versions(entity, plan.field, plan.current, steps, dict(sorted(counts.items())))


class _Run:
    """A run over the objects of one model."""

    def __init__(self, plan: Plan, entity: str, stock: Stock, ran: Ran) -> None:
        self._plan = plan
        self._entity = entity
        self._stock = stock
        self._ran = ran

    def portions(self, limit: int | None, chunk: int) -> Iterator[int]:
        """Go through all that are behind; gives how many there were in each portion."""
        after: Any = None
        while True:
            seen = self._ran.migrated + self._ran.failed
            count = chunk if limit is None else min(chunk, limit - seen)
            if count < 1:
                return
            done, after = self._portion(after, count)
            if not done:
                return
            yield done

    def _portion(self, after: Any, count: int) -> tuple[int, Any]:
        found: Sequence[Held] = ()
        told = _Told()
        try:
            with self._stock.below(
                self._plan.field,
                self._plan.current,
                after=after,
                count=count,
                keep=not self._ran.dry_run,
            ) as found:
                for held in found:
                    self._take(held, told)
        except Exception as error:
            if not found:
                raise
            if len(found) > 1:  # the database refuses one of them
                return self._apart(after, len(found))
            told = _Told(failures=[self._failure(found[0], error)])
        self._ran.migrated += told.migrated
        self._ran.examples += told.examples
        for failure in told.failures:
            self._ran.fail(failure)
        return len(found), found[-1].identity if found else after

    def _apart(self, after: Any, count: int) -> tuple[int, Any]:
        """The same, each object in a transaction of its own."""
        through = 0
        while through < count:
            done, after = self._portion(after, 1)
            if not done:
                break
            through += done
        return max(through, 1), after

    def _take(self, held: Held, told: _Told) -> None:
        noted = held.stored.noted
        if isinstance(noted, Failed):
            told.failures.append(Failure(self._entity, held.key, str(noted.error)))
        elif not isinstance(noted, Migrated):
            return  # somebody else has migrated it meanwhile
        elif self._ran.dry_run:
            told.migrated += 1
            if len(self._ran.examples) + len(told.examples) < _EXAMPLES:
                writes = tuple(sorted(noted.values))
                told.examples.append(Planned(self._entity, held.key, writes, noted.gone))
        else:
            try:
                told.migrated += write(held.stored, noted, self._plan.field)
            except Exception as error:
                told.failures.append(self._failure(held, error))

    def _failure(self, held: Held, error: Exception) -> Failure:
        why = str(error) if isinstance(error, LifecycleError) else f"{type(error).__name__}"
        return Failure(self._entity, held.key, f"{self._entity} {held.key} was refused: {why}")


@dataclass(slots=True)
class _Told:
    """What came of one portion, counted when it is committed."""

    migrated: int = 0
    failures: list[Failure] = field(default_factory=list)
    examples: list[Planned] = field(default_factory=list)


class _Pace:
    """Keeps to so many objects a second, on the whole."""

    def __init__(
        self, rate: float | None, clock: Callable[[], float], wait: Callable[[float], None]
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._wait = wait
        self._done = 0
        self._since = clock()

    def most(self, chunk: int) -> int:
        """How many at a time: those of a second at most."""
        return chunk if self._rate is None else max(1, min(chunk, int(self._rate)))

    def keep(self, done: int) -> None:
        """Wait until as many as are done now may have been done."""
        self._done += done
        if self._rate is not None:
            early = self._since + self._done / self._rate - self._clock()
            if early > 0:
                self._wait(early)
