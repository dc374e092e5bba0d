"""Many-to-many collections: which keys were added to them and removed from them.

A row of an association table is one fact with two ends. Where both ends have a relationship, both
change, even when only one of them was touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sqlalchemy.orm import (
    MANYTOMANY,
    InstanceState,
    Mapper,
    PassiveFlag,
    RelationshipProperty,
    UOWTransaction,
)
from sqlalchemy.orm.attributes import instance_dict

from lifecycle.changes import Delta, Operation, SetEdit
from lifecycle.keys import key_text
from lifecycle.markers import UNKNOWN

__all__ = ["ManyToMany", "Membership", "many_to_many", "memberships", "pending_edits"]

State: TypeAlias = InstanceState[Any]

_IN_MEMORY: Final = PassiveFlag.PASSIVE_NO_INITIALIZE | PassiveFlag.INCLUDE_PENDING_MUTATIONS


@dataclass(frozen=True, slots=True)
class ManyToMany:
    """A relationship over an association table, and those that are its other end."""

    name: str
    target: Mapper[Any]
    reverse: tuple[str, ...]
    loads_to_delete: bool
    """Whether SQLAlchemy loads the collection in order to delete the owner."""


def many_to_many(mapper: Mapper[Any]) -> tuple[ManyToMany, ...]:
    """The many-to-many relationships of a mapper that it writes."""
    return tuple(
        ManyToMany(
            name=relationship.key,
            target=relationship.mapper,
            reverse=tuple(other.key for other in _reverse(relationship)),
            loads_to_delete=not relationship.passive_deletes,
        )
        for relationship in mapper.relationships
        if relationship.direction is MANYTOMANY and not relationship.viewonly
    )


def _reverse(relationship: RelationshipProperty[Any]) -> Iterable[RelationshipProperty[Any]]:
    return (other for other in relationship._reverse_property if not other.viewonly)


# --- before a flush -------------------------------------------------------------------------


def pending_edits(
    relationships: Collection[ManyToMany], state: State, operation: Operation
) -> Iterator[tuple[str, Delta]]:
    """What the next flush does to an object's collections, as far as memory tells.

    The key of a member that has none yet is ``UNKNOWN``. Of an object that is to be deleted the
    collections are loaded here, which SQLAlchemy otherwise does a moment later.
    """
    for one in relationships:
        if operation is Operation.DELETE:
            if one.loads_to_delete:
                getattr(state.obj(), one.name)
        elif one.name not in state.committed_state:
            continue
        history = state.get_history(one.name, _IN_MEMORY)
        gone = history.deleted if operation is not Operation.DELETE else history.non_added()
        added = [] if operation is Operation.DELETE else history.added
        edit = SetEdit(_keys(one, added or ()), _keys(one, gone or ()))
        if edit.added or edit.removed:
            yield one.name, edit


def _keys(one: ManyToMany, members: Iterable[Any]) -> frozenset[Any]:
    return frozenset(_key(one.target, instance_dict(member)) for member in members)


def _key(mapper: Mapper[Any], values: dict[str, Any]) -> Any:
    identity = tuple(
        values.get(mapper.get_property_by_column(column).key) for column in mapper.primary_key
    )
    return UNKNOWN if identity == (None,) * len(identity) else key_text(identity)


# --- after a flush --------------------------------------------------------------------------


@dataclass(slots=True)
class Membership:
    """The keys that came to one collection of one object, and those that left it."""

    added: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def edit(self) -> SetEdit:
        """The same as plain data; what came and left is as it was."""
        return SetEdit(frozenset(self.added - self.removed), frozenset(self.removed - self.added))


def memberships(
    context: UOWTransaction,
    owners: Iterable[tuple[State, Collection[ManyToMany]]],
    key_of: Callable[[State], str],
) -> dict[State, dict[str, Membership]]:
    """What a flush did to the collections of these objects, and to the other end of each.

    It asks for the histories that the flush itself has worked through, and leaves out what that
    leaves out: members that are not in the session, for they are gone.
    """
    there = context.session._contains_state
    found: dict[State, dict[str, Membership]] = {}

    def of(state: State, name: str) -> Membership:
        return found.setdefault(state, {}).setdefault(name, Membership())

    for state, relationships in owners:
        is_delete, _ = context.states[state]
        for one in relationships:
            history = context.get_attribute_history(  # type: ignore[no-untyped-call]
                state, one.name, _IN_MEMORY
            )
            added = () if is_delete else history.added
            gone = history.non_added() if is_delete else history.deleted
            for members, kind in ((added, "added"), (gone, "removed")):
                for member in members or ():
                    if member is not None and there(member):
                        getattr(of(state, one.name), kind).add(key_of(member))
                        for name in one.reverse:
                            getattr(of(member, name), kind).add(key_of(state))
    return found
