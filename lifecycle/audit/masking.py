"""The changes of an object as they may be recorded: without what is excluded, masked or hidden."""

from __future__ import annotations

from collections.abc import Iterable

from lifecycle.changes import (
    Change,
    ChangeSet,
    Delta,
    Operation,
    SetEdit,
    join_path,
    same,
    split_path,
)
from lifecycle.hiding import CONTAINERS
from lifecycle.markers import ABSENT, MASKED
from lifecycle.policy import Policy
from lifecycle.written import Written

__all__ = ["recordable"]


def recordable(one: Written) -> ChangeSet | None:
    """The changes as they may be recorded; ``None`` when nothing is left of an update.

    That an object came, went or moved to another key is recorded even when all fields are excluded.
    """
    policy = one.policy
    conceals = policy.conceals and _may_conceal(one)
    if not policy.exclude and not policy.mask and not conceals and one.changes:
        return one.changes.compacted()
    within: set[str] = set()
    deltas: dict[str, Delta] = {}
    for path, delta in one.changes.items():
        field = split_path(path)[0]
        if field in policy.exclude:
            continue
        if field in policy.mask:  # a path inside it would show keys or length of what is hidden
            deltas[join_path(field)] = _masked(delta if path == join_path(field) else None)
        elif conceals:
            _conceal(policy, path, delta, deltas, within)
        else:
            deltas[path] = delta
    operation = one.changes.operation
    if not deltas and not within and operation is Operation.UPDATE and one.former_key is None:
        return None
    return _with_hidden(ChangeSet(deltas, operation).compacted(), within)


def _masked(delta: Delta | None) -> Change:
    if not isinstance(delta, Change):
        return Change(MASKED, MASKED)
    return Change(
        ABSENT if delta.old is ABSENT else MASKED, ABSENT if delta.new is ABSENT else MASKED
    )


def _may_conceal(one: Written) -> bool:
    """Whether a change has a value with an inside, or is of something that is inside one."""
    if one.policy.inside:
        return True
    if one.changes.state is not None:
        return any(isinstance(value, CONTAINERS) for value in one.changes.state.values())
    return any(
        not isinstance(delta, Change)
        or "." in path
        or isinstance(delta.old, CONTAINERS)
        or isinstance(delta.new, CONTAINERS)
        for path, delta in one.changes.items()
    )


def _conceal(
    policy: Policy, path: str, delta: Delta, deltas: dict[str, Delta], within: set[str]
) -> None:
    """Add a change without what is to be hidden inside it, and the places where that changed."""
    field, *segments = split_path(path)
    if isinstance(delta, SetEdit):  # of a collection, which holds keys
        deltas[path] = delta
        return
    if not isinstance(delta, Change):  # mappers give whole values
        deltas[join_path(field)] = Change(MASKED, MASKED)
        return
    inside, depth = policy.inside_of(field).followed(segments)
    if inside is None:
        hidden = join_path(field, *segments[:depth])
        deltas[hidden] = _masked(delta if depth == len(segments) else None)
        return
    if segments:
        old, new = inside.hide(delta.old), inside.hide(delta.new)
    else:
        old, new = policy.hidden(field, delta.old), policy.hidden(field, delta.new)
    places = [join_path(field, *segments, *place) for place in inside.changed(delta.old, delta.new)]
    if not (places and same(old, new)):
        deltas[path] = Change(old, new)
    within.update(places)


def _with_hidden(changes: ChangeSet, within: Iterable[str]) -> ChangeSet:
    """The changes, and that something hidden changed where they do not tell of a change."""
    told = [path for path in within if not any(_overlap(path, other) for other in changes)]
    if not told:
        return changes
    hidden = dict.fromkeys(sorted(told), Change(MASKED, MASKED))
    return ChangeSet({**changes, **hidden}, changes.operation)


def _overlap(path: str, other: str) -> bool:
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
