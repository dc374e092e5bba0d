"""Objects that are brought to the present shape of their model when they are loaded.

A model names the field that holds the version of each object, and has a step for each version,
marked with `migrates`. An object that is behind goes through the steps it lacks while it is loaded,
so the application only ever sees the present shape; it stays clean, and what the steps made of it
is saved with its next write. `lifecycle migrations --run` does the rest in the background.

A migration is made of all that is stored. Where a query brings only a part of an object that is
behind, or that does not tell its version, the rest is read with one more query. It is written only
if the object still is at the version it was read at: of two that load the same object the first one
writes it, and what the other one saves then are its own changes. The record has the cause
``migration``: of a document it is one of its own, for which no other hooks run, of a row it is that
of the UPDATE it went with, which other hooks, such as those of timestamps, see as an update.

Queries look at what is stored, and bulk statements change that: a filter by a new field finds no
object that is behind, and what a statement writes to one is there for its steps to replace.
``as_pymongo()``, column queries and aggregations give values as they are stored. Run the migration
to its end before relying on one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from lifecycle.behaviours.steps import Data, Plan, migrates, plan_of
from lifecycle.bundles import Behaviour, behaviours_of, declare
from lifecycle.equality import same
from lifecycle.errors import ConfigurationError, MigrationError
from lifecycle.hooks import post_load, pre_load, pre_persist, pre_update
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.moments import PostLoad, PreLoad, PrePersist, PreUpdate
from lifecycle.stored import Stored

__all__ = [
    "Failed",
    "Migrated",
    "Save",
    "declared_plan",
    "lazy_migration",
    "migrates",
    "tolerating",
    "write",
]

C = TypeVar("C", bound=type)

Save: TypeAlias = Literal["next write", "at once"]
"""When what a migration made of an object is saved.

``"next write"``: with the next change of the object; loading writes nothing. ``"at once"``: a
document while it is loaded, a row with the next flush of its session.
"""

_NAME: Final = "lazy_migration"
_FIRST: Final = 1_000  # before hooks of the application, which know the present shape only


@dataclass(frozen=True, slots=True)
class Migrated:
    """What the steps made of one object when it was loaded, and have not saved yet."""

    was: Any
    values: Mapping[str, Any]
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an object that is behind was loaded as it is stored."""

    error: MigrationError


_failing: ContextVar[bool] = ContextVar("lifecycle.migrations.failing", default=False)


def lazy_migration(version: str, *, save: Save = "next write") -> Callable[[C], C]:
    """Bring objects of a model to its present version when they are loaded.

    ``version`` is the field with the number of the version an object is stored at. New objects get
    the current one, which is that after the last step; give the field no default of its own, or
    one that moves along. An object without a version is as old as the first step. ``save`` is a
    `Save`.

    A step that fails makes the query raise ``MigrationError``, which names object and step; the
    object is left untouched. So does a version that is newer than the steps lead to. Raises
    ``ConfigurationError`` for a chain of steps with a gap, or for what is none of these.
    """
    if not isinstance(version, str) or not version:
        raise ConfigurationError(f"lazy_migration({version!r}): name the field of the version")
    if save not in get_args(Save):
        raise ConfigurationError(
            f'lazy_migration(save={save!r}) is not known: use "next write" or "at once"'
        )

    @pre_load(priority=_FIRST)
    def migrate(self: Any, event: PreLoad) -> None:
        """Fill an object that is behind with what its steps make of it."""
        plan = plan_of(type(self), version)
        if event.session is not None and event.data.get(version) == plan.current:
            return  # as a rule; of a row, whose columns have the names of their attributes
        try:
            _migrate(plan, self, event)
        except MigrationError as error:
            told = MigrationError(f"{event.subject} {error}")
            if not _failing.get():
                raise told from error
            event.stored.noted = Failed(told)
            _leave_out_unmapped(self, event)

    @pre_update(priority=_FIRST)
    def save_migration(self: Any, event: PreUpdate) -> None:
        """Have what the steps made of it written along."""
        stored = event.stored
        noted = stored.noted
        if noted is UNKNOWN:
            plan = plan_of(type(self), version)
            raw = _read(stored, plan)
            noted = None if raw is None else _made(plan, self, raw)
        write(stored, noted, version)

    @pre_persist(priority=_FIRST)
    def start_at_current(self: Any, event: PrePersist) -> None:
        """A new object has the current shape, unless it brings its version along."""
        if getattr(self, version, None) is None:
            event.changes.set(version, plan_of(type(self), version).current)

    @post_load(priority=_FIRST)
    def save_at_once(self: Any, event: PostLoad) -> None:
        """Have it written without waiting for another change; a run writes it by itself."""
        if not _failing.get():
            write(event.stored, event.stored.noted, version)

    def decorate(cls: C) -> C:
        behaviour = Behaviour(_NAME, version, {"save": save}, frozenset({version}))
        hooks: list[Callable[..., Any]] = [migrate, save_migration, start_at_current]
        if save == "at once":
            hooks.append(save_at_once)
        declare(cls, behaviour, hooks)
        plan_of(cls, version)
        return cls

    return decorate


def declared_plan(cls: type) -> Plan | None:
    """The steps of a model; ``None`` for one that declares no lazy migration."""
    found = [one for one in behaviours_of(cls) if one.name == _NAME]
    return plan_of(cls, found[-1].of) if found else None


@contextmanager
def tolerating() -> Iterator[None]:
    """Load objects whose steps fail as they are stored, and save none by it, inside the block."""
    token = _failing.set(True)
    try:
        yield
    finally:
        _failing.reset(token)


def _migrate(plan: Plan, instance: Any, event: PreLoad) -> None:
    stored, raw = event.stored, event.stored.named(event.data)
    if plan.field in raw or not event.partial:
        if not plan.from_version(raw.get(plan.field)):
            stored.noted = None
            return
    elif vars(instance).get(plan.field) == plan.current and stored.noted is None:
        return  # a part of it is read later, and as a whole it is known to be current
    if event.partial or not all(map(event.covers, plan.reads)):
        whole = _read(stored, plan)
        if whole is None:
            return  # somebody else has deleted it meanwhile
        raw = whole
    stored.noted = noted = _made(plan, instance, raw)
    if noted is None:
        return
    for name, value in noted.values.items():
        if event.covers(name):
            event.data[stored.unnamed(name)] = value
    for name in noted.gone:
        event.data.pop(stored.unnamed(name), None)


def _leave_out_unmapped(instance: Any, event: PreLoad) -> None:
    """Leave out what the model has no field for any more, which a document cannot be made with."""
    names = event.stored.named(event.data)
    for given, name in zip(list(event.data), names, strict=True):
        if not name.startswith("_") and not hasattr(type(instance), name):
            del event.data[given]


def _read(stored: Stored, plan: Plan) -> Data | None:
    try:
        return stored.read(plan.reads)
    except Exception as error:
        raise MigrationError(
            f"cannot be read as it is stored, which raised {type(error).__name__}: see that all "
            f"columns its steps read are there ({', '.join(plan.reads) or 'those mapped'})"
        ) from error


def _made(plan: Plan, instance: Any, raw: Data) -> Migrated | None:
    """What is to be written of an object with this data; ``None`` when it is current."""
    if not plan.from_version(raw.get(plan.field)):
        return None
    data = plan.migrated(instance, raw)
    values = {name: value for name, value in data.items() if not same(raw.get(name, ABSENT), value)}
    gone = tuple(name for name in raw if name not in data)
    return Migrated(raw.get(plan.field), values, gone)


def write(stored: Stored, noted: Any, version: str) -> bool:
    """Have what the steps made of an object written, unless somebody else has done it."""
    if not isinstance(noted, Migrated):
        return False
    if stored.rewrite(noted.values, noted.gone, field=version, was=noted.was):
        return True
    stored.noted = None
    return False
