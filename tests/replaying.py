"""Whether records, replayed, lead from what tables held to what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from sqlalchemy import select
from sqlalchemy.orm import Session

from lifecycle.audit.records import Record
from lifecycle.changes import ChangeSet, Operation
from lifecycle.keys import key_text

__all__ = ["State", "replayed", "state_of"]

State: TypeAlias = dict[tuple[str, str], dict[str, Any]]
"""By entity and key, the fields; collections that are empty are left out."""


def state_of(session: Session, classes: Iterable[Any], collections: Iterable[Any] = ()) -> State:
    """What the tables of these classes hold; collections as (class, name, owner, member)."""
    found: State = {}
    for cls in classes:
        for row in session.scalars(select(cls)):
            mapper = row.__mapper__
            key = key_text(mapper.primary_key_from_instance(row))
            values = {attr.key: getattr(row, attr.key) for attr in mapper.column_attrs}
            found[cls.__name__, key] = values
    for cls, name, owner, member in collections:
        for owner_key, member_key in session.execute(select(owner, member)):
            members = found[cls.__name__, str(owner_key)].setdefault(name, set())
            members.add(str(member_key))
    return found


def replayed(state: State, records: Iterable[Record]) -> State:
    """The state after the records; each old value must be what is there."""
    state = {key: dict(values) for key, values in state.items()}
    for record in records:
        here = (record.entity, record.key)
        there = (record.entity, record.former_key or record.key)
        values = state.pop(there, {})
        assert (values == {}) == (record.operation is Operation.INSERT), record
        assert not ChangeSet(record.changes).conflicts_with(values), record
        assert here not in state, f"{record} comes to where another one is"
        after = {
            name: one for name, one in record.changes.applied_to(values).items() if one != set()
        }
        if record.operation is Operation.DELETE:
            assert after == {}, f"{after} outlives {record}"
        else:
            state[here] = after
    return state
