"""Association tables, whose rows are members of collections to the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import chain
from typing import Any, Final

from sqlalchemy import Column, Dialect, Table
from sqlalchemy.orm import Mapper as ORMMapper
from sqlalchemy.orm import RelationshipProperty

from lifecycle.changes import ChangeSet
from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.collections import Membership
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.rows import Pair, RowValues
from lifecycle.written import Told, Written

__all__ = ["Members"]


class Members:
    """An association table, whose rows are members of collections at one or both ends."""

    is_whole: Final = False

    def __init__(self, table: Table) -> None:
        self.table: Final = table
        self._ends: list[tuple[Model, str, tuple[str, ...], tuple[str, ...]]] = []
        self.columns: tuple[Column[Any], ...] = ()

    @property
    def identity(self) -> tuple[Column[Any], ...]:
        """All that is read: what else a row may hold makes it no other member."""
        return self.columns

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that have it as a collection."""
        return tuple(model for model, *_ in self._ends)

    @property
    def collections(self) -> tuple[tuple[str, str], ...]:
        """The entity and name of each."""
        return tuple((model.entity, name) for model, name, *_ in self._ends)

    def columns_for(self, assigned: Set[str]) -> tuple[Column[Any], ...]:
        return self.columns

    def add(self, model: Model, relationship: RelationshipProperty[Any]) -> None:
        """One end: the collection of a model that the rows are members of."""
        owner = _referencing(relationship.synchronize_pairs, relationship.parent)
        member = _referencing(relationship.secondary_synchronize_pairs or (), relationship.mapper)
        if owner is None or member is None:
            return  # its rows do not hold the keys of both ends
        self._ends.append((model, relationship.key, _keys(owner), _keys(member)))
        self.columns = tuple(dict.fromkeys((*self.columns, *owner, *member)))

    def told(self, portions: Iterable[Iterable[Pair]], dialect: Dialect) -> Iterator[Told]:
        return self.written(chain.from_iterable(portions), dialect)

    def written(
        self, pairs: Iterable[Pair], dialect: Dialect, *, carried: bool = False
    ) -> Iterator[Written]:
        found: dict[tuple[int, str], Membership] = {}
        for before, after in pairs:
            for row, kind in ((before, "removed"), (after, "added")):
                if row is None:
                    continue
                for number, (_, _, owner, member) in enumerate(self._ends):
                    owner_key, member_key = _key(row, owner), _key(row, member)
                    if owner_key is not None and member_key is not None:
                        if carried and after is not None:  # the owner has taken its members along
                            owner_key = _key(after, owner) or owner_key
                        at = found.setdefault((number, owner_key), Membership())
                        getattr(at, kind).add(member_key)
        for (number, key), membership in found.items():
            model, name, _, _ = self._ends[number]
            edit = membership.edit()
            if edit.added or edit.removed:
                yield Written(model.entity, key, ChangeSet({name: edit}), model.policy)


def _referencing(pairs: Any, mapper: ORMMapper[Any]) -> tuple[Column[Any], ...] | None:
    """The columns of an association table that hold a mapper's primary key, in its order."""
    by_name = {mapper.get_property_by_column(referred).key: own for referred, own in pairs}
    names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    return tuple(by_name[name] for name in names) if by_name.keys() >= set(names) else None


def _keys(columns: tuple[Column[Any], ...]) -> tuple[str, ...]:
    return tuple(column.key for column in columns)


def _key(row: RowValues, columns: tuple[str, ...]) -> str | None:
    values = tuple(row[column] for column in columns)
    return None if None in values else key_text(values)
