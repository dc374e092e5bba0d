"""What a flush did to many objects of one model, worked out in columns.

Most of a large flush is alike: plain values of a few models that changed in the same fields. Each
column is then looked at as a whole, which is much less work than to look at each object.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from lifecycle.changes import Operation
from lifecycle.forms import ATOMS, Column
from lifecycle.mappers.sqlalchemy.alike import (
    KINDS,
    Alike,
    Changed,
    differing,
    parted,
    without_unchanged,
)
from lifecycle.mappers.sqlalchemy.model import Field, Model
from lifecycle.mappers.sqlalchemy.old_values import OldValues
from lifecycle.mappers.sqlalchemy.outcome import DoneToMany
from lifecycle.mappers.sqlalchemy.reading import State, is_expression, is_missing, stored

__all__ = ["done_to_many"]


def done_to_many(
    model: Model, operation: Operation, states: list[State], old: OldValues
) -> DoneToMany | None:
    """What was done to these objects; ``None`` where that takes a look at each of them."""
    if not model.is_uniform or old.any_noted_of(states):
        return None
    try:
        if operation is Operation.DELETE:
            return _went(model, states, old)
        if old.any_fetched_of(states):
            return None
        return _came(model, states) if operation is Operation.INSERT else _changed(model, states)
    except Exception:  # foreign values may do anything, which is told object by object
        return None


def _came(model: Model, states: list[State]) -> DoneToMany | None:
    by_place = {one.insert_order or 0: one for one in states}
    if len(by_place) < len(states):
        return None
    added = [by_place[place] for place in sorted(by_place)]
    try:
        columns = _columns(model.fields, added)
    except KeyError:
        if any(one.expired_attributes for one in added):  # the database has worked something out
            return None
        columns = _columns_or_none(model.fields, added)
    identity = [columns[name] for name in model.identity]
    if any(None in column for column in identity):
        return None
    keys = model.key_texts(identity)
    part = Alike(tuple(columns), range(len(keys)), [*columns.values()])
    return DoneToMany(model, Operation.INSERT, keys, [part], added[0])


def _went(model: Model, states: list[State], old: OldValues) -> DoneToMany:
    keys, by_key = _by_key(model, states)
    if old.any_fetched_of(states) or any(one.committed_state for one in states):
        wholes = [stored(model, one, old.fetched(one)) for one in by_key]
        columns: list[Any] = [*zip(*wholes, strict=True)]
    else:
        columns = [*_columns(model.fields, by_key).values()]
    part = Alike(tuple(model.fields), range(len(keys)), columns)
    return DoneToMany(model, Operation.DELETE, keys, [part], by_key[0])


def _changed(model: Model, states: list[State]) -> DoneToMany | None:
    keys, by_key = _by_key(model, states)
    places: dict[tuple[str, ...], list[int]] = {}
    for place, state in enumerate(by_key):
        places.setdefault(tuple(state.committed_state), []).append(place)
    parts: list[Alike] = []
    for assigned, some in places.items():
        those = by_key if len(some) == len(by_key) else [by_key[place] for place in some]
        found = _assigned(model, [name for name in assigned if name in model.fields], those)
        if found is None:
            return None
        differ = {name: _flags(model.fields[name], *pair) for name, pair in found.items()}
        changed = {name: pair for name, pair in found.items() if True in differ[name]}
        if not model.identity_names.isdisjoint(changed):
            return None
        parts += parted(changed, [differ[name] for name in changed], some)
        if len(parts) > KINDS:
            return None
    keys, parts = without_unchanged(keys, parts)
    return DoneToMany(model, Operation.UPDATE, keys, parts, by_key[0])


def _assigned(model: Model, names: list[str], states: list[State]) -> Changed | None:
    """What was assigned to these; ``None`` when memory does not have all of it."""
    values = [one.obj().__dict__ for one in states]  # the session holds them
    committed = [one.committed_state for one in states]
    changed: dict[str, tuple[Column, Column]] = {}
    for name in names:
        get = itemgetter(name)
        olds, news = list(map(get, committed)), list(map(get, values))
        if not ATOMS.issuperset(map(type, olds)) and any(map(is_missing, olds)):
            return None
        if not ATOMS.issuperset(map(type, news)) and any(map(is_expression, news)):
            return None
        changed[name] = olds, news
    return changed


def _flags(field: Field, olds: Column, news: Column) -> list[bool]:
    if field.compares and ATOMS.issuperset({*map(type, olds), *map(type, news)}):
        return differing(olds, news)
    pairs = zip(olds, news, strict=True)
    return [old is not new and not field.equal(old, new) for old, new in pairs]


def _by_key(model: Model, states: list[State]) -> tuple[list[str], list[State]]:
    """Objects and their keys, in the order of these."""
    identities = [one.key[1] for one in states if one.key]
    keys = model.key_texts([*zip(*identities, strict=True)])
    places = sorted(range(len(keys)), key=keys.__getitem__)
    return [keys[place] for place in places], [states[place] for place in places]


def _columns(names: Iterable[str], states: list[State]) -> dict[str, list[Any]]:
    """The values that these have in memory; raises ``KeyError`` when one lacks some."""
    values = [one.obj().__dict__ for one in states]  # the session holds them
    return {name: list(map(itemgetter(name), values)) for name in names}


def _columns_or_none(names: Iterable[str], states: list[State]) -> dict[str, list[Any]]:
    """The same, with ``None`` for what new objects were not given."""
    values = [one.obj().__dict__ for one in states]
    return {name: [one.get(name) for one in values] for name in names}
