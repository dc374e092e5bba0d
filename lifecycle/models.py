"""What is known of the models of an application: names, keys, fields, and how they are related."""

from __future__ import annotations

from typing import Any, Final

from lifecycle.adapters import Adapters
from lifecycle.audit.names import literal_key
from lifecycle.behaviours.references.service import References
from lifecycle.errors import HistoryError
from lifecycle.relations import Pointer, Relation

__all__ = ["Models"]


class Models:
    """The models of every library, by their registered names: ``lifecycle.models``."""

    def __init__(self, adapters: Adapters, references: References) -> None:
        self._adapters: Final = adapters
        self._references: Final = references

    def entity(self, model: type | str) -> str:
        """The registered name of a model. Raises ``HistoryError`` for a class not mapped."""
        if isinstance(model, str):
            return model
        return self._adapters.of(model).entity(model)

    def key(self, model: type | str, identity: Any) -> str:
        """The text of an identity; that of a model given by name is text already, or a tuple."""
        if isinstance(model, str):
            return literal_key(identity)
        return self._adapters.of(model).key(model, identity)

    def subject(self, instance: Any) -> tuple[str, str]:
        """An object's registered model name and key. Raises ``HistoryError`` when it has none."""
        mapper = self._adapters.of(type(instance))
        return mapper.entity(type(instance)), mapper.key_of(instance)

    def entities(self) -> set[str]:
        """The registered names of every model there is, whether it has been used or not."""
        return {name for mapper in self._adapters for name in mapper.entities()}

    def fields(self, entity: str) -> set[str]:
        """The fields of a model and of those that inherit from it; none where it is not known."""
        return {name for mapper in self._adapters for name in mapper.fields(entity)}

    def relation(self, entity: str, name: str) -> Relation:
        """A relationship of a model, for the history. Raises ``HistoryError`` when it has none."""
        for mapper in self._adapters:
            found = mapper.relation(entity, name)
            if found is not None:
                return found
        raise HistoryError(
            f"no model of this process is called {entity!r}, so where {name!r} led to is not known"
        )

    def pointers(self, entity: str | None = None, *, source: str | None = None) -> list[Pointer]:
        """How objects point to others, by foreign keys and references.

        To those of a model, given by its registered name, from those of another, ``source``, or
        from and to any.
        """
        found = [one for mapper in self._adapters for one in mapper.pointers(entity, source)]
        known = {(one.source, one.fields) for one in found}
        referring = self._references.pointers(entity, source, self._entity_or_none, self.key)
        return [*found, *(one for one in referring if (one.source, one.fields) not in known)]

    def choices(self, entity: str) -> dict[str, dict[Any, str]]:
        """What people call the values of a model's fields that have choices, by field and value."""
        return {
            field: labels
            for mapper in self._adapters
            for field, labels in mapper.choices(entity).items()
        }

    def _entity_or_none(self, cls: type) -> str | None:
        try:
            return self.entity(cls)
        except HistoryError:
            return None
