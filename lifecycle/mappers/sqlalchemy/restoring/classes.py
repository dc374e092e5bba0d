"""Which class an object of the log is of, and what that class has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sqlalchemy import Column, Dialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Mapper, Session, configure_mappers

from lifecycle.equality import same
from lifecycle.errors import HistoryError
from lifecycle.mappers.sqlalchemy.model import Model, root_of_hierarchy
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.relating import mappers_named
from lifecycle.mappers.sqlalchemy.restoring.facts import Facts, facts_of
from lifecycle.mappers.sqlalchemy.restoring.identities import identity_of
from lifecycle.restoring import Said, Shape, Values

__all__ = ["Classes"]


_DIALECT: Final = DefaultDialect()  # discriminators are of types that every database has


class Classes:
    """The models by the names they have in the log."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._roots: dict[str, Model | None] = {}
        self._facts: dict[Model, Facts] = {}

    def root(self, entity: str) -> Model | None:
        """The model whose rows the keys are unique among; ``None`` for a name no class has."""
        if entity not in self._roots:
            configure_mappers()
            found = mappers_named(entity)
            self._roots[entity] = self._models.get(root_of_hierarchy(found[0])) if found else None
        return self._roots[entity]

    def of(self, entity: str, values: Values) -> Model:
        """The model of an object with these values, which may be a class that inherits.

        Raises ``HistoryError`` when its class is gone.
        """
        root = self.root(entity)
        assert root is not None
        kind = root.mapper.polymorphic_on
        if kind is None:
            return root
        name = next((one for one in root.fields if root.mapper.attrs[one].columns[0] is kind), None)
        if name is None or name not in values:
            return root
        value = root.python(name, values[name], _DIALECT)
        mapper = root.mapper.polymorphic_map.get(value)
        if mapper is None:
            told = f"{name}={value!r}"
            raise HistoryError(Said("no class is mapped for %(value)s any more", value=told))
        return self._models.get(mapper.class_)

    def of_class(self, cls: type) -> Model:
        """The model of a mapped class."""
        return self._models.get(cls)

    def facts(self, model: Model) -> Facts:
        """What the tables of a model say."""
        if model not in self._facts:
            self._facts[model] = facts_of(model)
        return self._facts[model]

    def exists(self, session: Session, model: Model, key: str) -> bool:
        """Whether there is an object of that key now."""
        return session.get(model.cls, identity_of(model, key)) is not None

    def shape(self, model: Model, dialect: Dialect) -> Shape:
        """What a model has for a restore."""
        mapper, policy = model.mapper, model.policy
        generated = {name for name in model.fields if _is_generated(mapper, name)}
        return Shape(
            fields=frozenset(model.recorded_names),
            collections=frozenset(one.name for one in model.many_to_many),
            kept=model.volatile,
            generated=frozenset(generated),
            required=frozenset(
                name
                for name in model.names - generated
                if _is_required(mapper.attrs[name].columns[0])
            ),
            hidden=policy.exclude | policy.mask,
            marked=model.removal is not None,
            alike={name: _alike(model, name, dialect) for name in model.converted},
        )


def _alike(model: Model, name: str, dialect: Dialect) -> Callable[[Any, Any], bool]:
    def alike(one: Any, other: Any) -> bool:
        if same(one, other):
            return True
        read = partial(model.python, name, dialect=dialect)
        try:
            return model.fields[name].equal(read(one), read(other))
        except Exception:  # an application's type may raise anything for what it cannot read
            return False

    return alike


def _is_generated(mapper: Mapper[Any], name: str) -> bool:
    return any(
        isinstance(column, Column)
        and (column.computed is not None or column is mapper.version_id_col)
        for column in mapper.attrs[name].columns
    )


def _is_required(column: Any) -> bool:
    return not (column.nullable or column.default is not None or column.server_default is not None)
