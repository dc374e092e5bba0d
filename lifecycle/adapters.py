"""The adapters of one Lifecycle to the libraries that its application has imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from lifecycle.errors import ConfigurationError, HistoryError, InstallError
from lifecycle.mappers.base import Mapper, Services

if TYPE_CHECKING:
    from lifecycle.mappers.mongoengine import MongoengineMapper

__all__ = ["Adapters"]

_CLASSES: Final = {"sqlalchemy": "SQLAlchemyMapper", "mongoengine": "MongoengineMapper"}
"""The adapter class for each library, imported when the application has imported the library."""


class Adapters:
    """One adapter for each library, made when first looked at after the library was imported."""

    def __init__(self, services: Services) -> None:
        self._services: Final = services
        self._made: Final[dict[str, Mapper]] = {}

    def __iter__(self) -> Iterator[Mapper]:
        return (adapter for _, adapter in self.named())

    def named(self) -> Iterator[tuple[str, Mapper]]:
        """Each with the name of its library."""
        for library, name in _CLASSES.items():
            if library in sys.modules:
                if library not in self._made:
                    module = import_module(f"lifecycle.mappers.{library}")
                    self._made[library] = getattr(module, name)(self._services)
                yield library, self._made[library]

    def accepting(self, target: Any) -> Mapper:
        """The one that installs into a target. Raises ``InstallError`` when none does."""
        for mapper in self:
            if mapper.accepts(target):
                return mapper
        raise InstallError(
            f"{target!r} cannot be installed: give a sessionmaker, a scoped_session, a Session "
            "class or session, an Engine, the mongoengine module, a Document class, or the alias "
            "of a mongoengine connection"
        )

    def maps(self, cls: type) -> bool:
        """Whether a class is mapped, or one that inherits from it."""
        return self._mapping(cls) is not None

    def of(self, cls: type) -> Mapper:
        """The one that maps a class. Raises ``HistoryError`` when none does."""
        mapper = self._mapping(cls)
        if mapper is not None:
            return mapper
        raise HistoryError(
            f"{cls.__module__}.{cls.__qualname__} is not mapped, so it has no history: "
            "name a mapped class, or its registered name"
        )

    def of_documents(self) -> MongoengineMapper:
        """The one to mongoengine. Raises ``ConfigurationError`` when that is not imported."""
        for mapper in self:
            if not mapper.records_beside:
                return cast("MongoengineMapper", mapper)
        raise ConfigurationError("no documents are known: import mongoengine, and your documents")

    def _mapping(self, cls: type) -> Mapper | None:
        if cls is object or issubclass(cls, type):  # from which all classes inherit
            return None
        return next((mapper for mapper in self if mapper.maps(cls)), None)
