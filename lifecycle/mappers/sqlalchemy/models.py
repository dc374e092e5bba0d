"""The mapped classes one Lifecycle has met."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Mapper
from sqlalchemy.orm.mapper import _all_registries  # no public way leads to every registry

from lifecycle.errors import HistoryError
from lifecycle.hooks import model_hooks
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.model import Model, mapper_of
from lifecycle.policy import Policy, check_fields, policy_of

__all__ = ["Models"]


class Models:
    """Works out a mapped class when it is first met, and checks what is declared on it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._models: dict[type, Model] = {}

    def get(self, cls: type) -> Model:
        """The model of a class.

        Raises ``HistoryError`` when it is not mapped, and ``ConfigurationError`` when what is
        declared on it cannot work.
        """
        model = self._models.get(cls)
        if model is None:
            mapper = mapper_of(cls)
            if mapper is None:
                raise HistoryError(
                    f"{cls.__module__}.{cls.__qualname__} is not mapped, so it has no history: "
                    "name a mapped class"
                )
            model = self._checked(mapper)
            self._services.entities.register(model.entity, mapper.base_mapper.class_)
            self._models[cls] = model
        return model

    def concerned(self, cls: type) -> Model | None:
        """The model of a mapped class; ``None`` when neither the log nor any hook wants it."""
        model = self._models.get(cls) or self.get(cls)
        if self._services.recorder.wants(model.policy) or self._services.dispatcher.plan(cls):
            return model
        return None

    def check_declared(self) -> None:
        """Check every configured class that has hooks or a policy, before it is first used.

        Raises ``ConfigurationError`` for the first one whose declarations cannot work.
        """
        for mapper in _configured_mappers():
            cls = mapper.class_
            if cls not in self._models and (policy_of(cls) != Policy() or model_hooks(cls)):
                self._checked(mapper)

    def _checked(self, mapper: Mapper[object]) -> Model:
        model = Model(mapper)
        check_fields(model.cls, model.policy, model.fields)
        self._services.dispatcher.known(model.cls, [*model.fields, *mapper.relationships.keys()])
        return model


def _configured_mappers() -> Iterator[Mapper[object]]:
    for registry in list(_all_registries()):
        for mapper in list(registry.mappers):
            if mapper.configured:
                yield mapper
