"""The mapped classes one Lifecycle has met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

from sqlalchemy.orm import Mapper
from sqlalchemy.orm.mapper import _all_registries  # no public way leads to every registry

from lifecycle.bundles import behaviours_of
from lifecycle.dispatch import call
from lifecycle.errors import HistoryError
from lifecycle.hooks import Hook
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.loading import Loading
from lifecycle.mappers.sqlalchemy.model import Model, mapper_of, root_of_hierarchy
from lifecycle.moments import LoadClassMetadata, Moment
from lifecycle.policy import Policy, check_fields, entity_of, policy_of
from lifecycle.removal import removal_of
from lifecycle.versioning import version_of

__all__ = ["Models", "all_mappers", "configured_mappers", "counts_by_one", "names"]


class Models:
    """Works out a mapped class when it is first met, and checks what is declared on it."""

    def __init__(self, services: Services, loading: Loading) -> None:
        self._services = services
        self._loading = loading
        self._checked: dict[type, Model] = {}
        self._registered: dict[type, Model] = {}
        self.generation = 0
        """Counts how often classes were added."""
        self.when_behaving: Callable[[], None] = lambda: None
        """Called when a class has a behaviour, for which statements have to be looked at."""
        self._told: WeakKeyDictionary[type, set[Hook]] = WeakKeyDictionary()

    def get(self, cls: type) -> Model:
        """The model of a class.

        Raises ``HistoryError`` when it is not mapped, and ``ConfigurationError`` when what is
        declared on it cannot work.
        """
        model = self._registered.get(cls)
        if model is None:
            mapper = mapper_of(cls)
            if mapper is None:
                raise HistoryError(
                    f"{cls.__module__}.{cls.__qualname__} is not mapped, so it has no history: "
                    "name a mapped class"
                )
            model = self._check(mapper)
            self._services.entities.register(model.entity, model.root)
            self._registered[cls] = model
        return model

    def concerned(self, cls: type) -> Model | None:
        """The model of a mapped class; ``None`` when neither the log nor any hook wants it."""
        model = self._registered.get(cls) or self.get(cls)
        if self._services.recorder.wants(model.policy) or self._services.dispatcher.plan(cls):
            return model
        return None

    def check_declared(self) -> None:
        """Check every configured class that has hooks or a policy, before it is first used.

        Classes with load hooks are listened to from then on, and hooks that want to know of
        classes are told of each once. Raises ``ConfigurationError`` for the first class whose
        declarations cannot work.
        """
        self.generation += 1
        for mapper in configured_mappers():
            cls = mapper.class_
            if self._declares(cls):
                model = self._check(mapper)
                self._loading.watch(model)
                self._tell_of(model)
                if _concerns_statements(cls):
                    self.when_behaving()

    def _declares(self, cls: type) -> bool:
        plan = self._services.dispatcher.plan(cls)
        return policy_of(cls) != Policy() or bool(plan) or bool(behaviours_of(cls))

    def check(self, target: type) -> None:
        """Check every configured class that is a target or inherits from it.

        Raises ``ConfigurationError`` for the first one whose declarations cannot work.
        """
        for mapper in configured_mappers():
            if issubclass(mapper.class_, target):
                self._check(mapper)

    def _check(self, mapper: Mapper[object]) -> Model:
        model = self._checked.get(mapper.class_)
        if model is None:
            _count_versions(mapper)
            model = Model(mapper, self._services.masking)
            check_fields(model.cls, model.policy, model.recorded_names)
            # What else is mapped never shows among an object's changes.
            self._services.dispatcher.known(model.cls, model.recorded_names)
            self._checked[model.cls] = model
        return model

    def _tell_of(self, model: Model) -> None:
        told = self._told.setdefault(model.cls, set())
        for hook in self._services.dispatcher.plan(model.cls).get(Moment.LOAD_CLASS_METADATA, ()):
            if hook not in told:
                told.add(hook)
                call(hook, LoadClassMetadata(model.cls, model.entity, tuple(model.fields)))


def _concerns_statements(cls: type) -> bool:
    """Whether a class has a behaviour that wants more than hooks."""
    fills = any(one.fill is not None for one in behaviours_of(cls))
    return fills or removal_of(cls) is not None or version_of(cls) is not None


def _count_versions(mapper: Mapper[object]) -> None:
    """Have SQLAlchemy count the versions of a class that is to have it so."""
    field = version_of(mapper.class_)
    if field is not None and field in mapper.column_attrs and mapper.version_id_col is None:
        mapper.version_id_col = mapper.column_attrs[field].columns[0]


def counts_by_one(mapper: Mapper[object]) -> bool:
    """Whether the next version of an object is one more than its last, as SQLAlchemy counts it."""
    return getattr(mapper.version_id_generator, "__module__", None) == Mapper.__module__


def names() -> Iterator[str]:
    """The registered names of every mapped class, configured or not."""
    return (entity_of(root_of_hierarchy(mapper)) for mapper in all_mappers())


def configured_mappers() -> Iterator[Mapper[object]]:
    """Every mapper there is that has been configured."""
    return (mapper for mapper in all_mappers() if mapper.configured)


def all_mappers() -> Iterator[Mapper[object]]:
    """Every mapper there is, configured or not."""
    for registry in list(_all_registries()):
        yield from list(registry.mappers)
