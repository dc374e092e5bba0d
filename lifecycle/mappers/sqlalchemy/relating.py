"""Relationships of mapped classes, told from what the log holds of their objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from sqlalchemy import Dialect, ForeignKeyConstraint, Table
from sqlalchemy.orm import MANYTOMANY, MANYTOONE, RelationshipProperty, configure_mappers
from sqlalchemy.orm import Mapper as ORMMapper
from sqlalchemy.sql import operators, visitors

from lifecycle.errors import HistoryError
from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.model import Model, attribute_of, root_of_hierarchy
from lifecycle.mappers.sqlalchemy.models import Models, configured_mappers
from lifecycle.markers import is_hidden
from lifecycle.policy import entity_of
from lifecycle.relations import Pointer, Relation, Values, labels_of

__all__ = ["choices", "mappers_named", "pointers", "relation"]


def mappers_named(entity: str) -> list[ORMMapper[Any]]:
    """The mappers whose objects are in the log under a name."""
    configure_mappers()
    return [
        mapper for mapper in configured_mappers() if entity_of(root_of_hierarchy(mapper)) == entity
    ]


def relation(models: Models, entity: str, name: str, dialect: Dialect) -> Relation | None:
    """A relationship of a model; ``None`` when no mapped class has the name.

    Raises ``HistoryError`` when the model has no such relationship, or one whose objects the
    recorded values do not tell.
    """
    mappers = mappers_named(entity)
    if not mappers:
        return None
    found = next((one for one in mappers if name in one.relationships), None)
    if found is None:
        known = sorted(set().union(*(one.relationships.keys() for one in mappers)))
        raise HistoryError(
            f"{entity} has no relationship {name!r}; it has {', '.join(known) or 'none'}"
        )
    relationship = found.relationships[name]
    own, theirs = models.get(found.class_), models.get(relationship.mapper.class_)
    if relationship.direction is MANYTOMANY:
        if relationship.viewonly:
            raise _cannot_be_told(entity, name, "it is view-only, so the log has no keys of it")
        return Relation(
            target=theirs.entity, fields=(name,), keys=lambda values: values.get(name) or ()
        )
    pairs = _pairs(relationship, found)
    if pairs is None:
        raise _cannot_be_told(entity, name, "its join goes by more than equal columns")
    locals_, remotes = tuple(zip(*pairs, strict=True))
    if relationship.direction is MANYTOONE and set(remotes) == set(theirs.identity):
        ordered = [locals_[remotes.index(one)] for one in theirs.identity]
        return Relation(
            target=theirs.entity,
            fields=tuple(ordered),
            keys=lambda values: _key(own, ordered, values, dialect),
        )
    return Relation(
        target=theirs.entity,
        fields=tuple(locals_),
        target_fields=tuple(remotes),
        holds=lambda here, there: (
            (key := _key(own, locals_, here, dialect)) != []
            and key == _key(theirs, remotes, there, dialect)
        ),
    )


def pointers(
    models: Models, entity: str | None, source: str | None, dialect: Dialect
) -> Iterator[Pointer]:
    """The foreign keys of mapped tables to the key of a model's objects, each once.

    Of one model's objects, or of any; in those of one model, or in any.
    """
    configure_mappers()
    every = list(configured_mappers())
    targets = every if entity is None else mappers_named(entity)
    told: set[tuple[str, str, tuple[str, ...]]] = set()
    for mapper in every if source is None else mappers_named(source):
        if not targets or not isinstance(mapper.local_table, Table):
            continue
        own = models.get(mapper.class_)
        for constraint in sorted(mapper.local_table.foreign_key_constraints, key=str):
            reached = [one for one in targets if constraint.referred_table in one.tables]
            found = _pointing(mapper, constraint, reached, models)
            if found is None:
                continue
            target, fields = found
            joins = own.entity == target and fields == tuple(own.identity)
            if joins or (own.entity, target, fields) in told:
                continue
            told.add((own.entity, target, fields))
            yield Pointer(
                source=own.entity,
                target=target,
                fields=fields,
                keys=partial(_key_told, own, fields, dialect=dialect),
            )


def choices(entity: str) -> dict[str, dict[Any, str]]:
    """What people call the values of a model's columns, by attribute, where their types tell."""
    return {
        attribute.key: labels
        for mapper in mappers_named(entity)
        for attribute in mapper.column_attrs
        if (labels := labels_of(getattr(attribute.columns[0].type, "choices", None)))
    }


def _pointing(
    mapper: ORMMapper[Any],
    constraint: ForeignKeyConstraint,
    targets: Iterable[ORMMapper[Any]],
    models: Models,
) -> tuple[str, tuple[str, ...]] | None:
    """The fields that hold the key of a target, in its order, and the target's name; else none."""
    for target in targets:
        identity = models.get(target.class_).identity
        fields = {
            attribute_of(target, one.column): attribute_of(mapper, one.parent)
            for one in constraint.elements
        }
        if fields.keys() == set(identity) and None not in fields.values():
            named = tuple(str(fields[name]) for name in identity)
            return entity_of(root_of_hierarchy(target)), named
    return None


def _key_told(model: Model, names: Iterable[str], values: Values, *, dialect: Dialect) -> list[str]:
    """The same as `_key`; none where the log hides a value."""
    if any(is_hidden(values.get(name)) for name in names):
        return []
    return _key(model, names, values, dialect)


def _key(model: Model, names: Iterable[str], values: Values, dialect: Dialect) -> list[str]:
    """What some fields hold, as the text of a key; none when one of them has no value."""
    parts = [model.python(name, values.get(name), dialect) for name in names]
    return [] if None in parts else [key_text(parts)]


def _pairs(
    relationship: RelationshipProperty[Any], mapper: ORMMapper[Any]
) -> list[tuple[str, str]] | None:
    """The attributes on both sides that must be equal; ``None`` when there is more to it."""
    columns = relationship.local_remote_pairs or []
    pairs = [
        (attribute_of(mapper, local), attribute_of(relationship.mapper, remote))
        for local, remote in columns
    ]
    comparisons = [
        part for part in visitors.iterate(relationship.primaryjoin) if hasattr(part, "operator")
    ]
    equal = [part for part in comparisons if part.operator is operators.eq]
    joined = [part for part in comparisons if part.operator is operators.and_]
    simple = len(equal) == len(pairs) and len(equal) + len(joined) == len(comparisons)
    if not pairs or not simple or any(None in pair for pair in pairs):
        return None
    return [(local, remote) for local, remote in pairs if local and remote]


def _cannot_be_told(entity: str, name: str, why: str) -> HistoryError:
    return HistoryError(
        f"where {name!r} of {entity} led to cannot be told from the log: {why}; ask about the "
        "related objects themselves"
    )
