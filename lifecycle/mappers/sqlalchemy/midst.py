"""What statements in the middle of a flush did, in order with what the flush itself did.

Late hooks and the application's own listeners execute them, some before the flush writes a row and
some after that. Nobody tells which: it shows in the values that they found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from lifecycle.changes import Change, ChangeSet, Delta
from lifecycle.equality import same
from lifecycle.written import Written

__all__ = ["with_others"]


def with_others(own: list[Written], others: list[Written]) -> list[Written]:
    """What a flush did, with what statements in the middle of it did, to be replayed.

    ``others`` are in the order of the statements. Old values of the flush that such a statement
    had changed before become those that it left.
    """
    late: set[int] = set()
    written: list[Written | None] = [*own]
    for place, chain in _chains(own, others).items():
        of_flush = _as_written(own[place], chain)
        first = _first_after(of_flush, chain)
        late.update(map(id, chain[first:]))
        written[place] = _following(of_flush, chain[:first])
    return [
        *(one for one in others if id(one) not in late),
        *(one for one in written if one is not None),
        *(one for one in others if id(one) in late),
    ]


def _chains(own: list[Written], others: list[Written]) -> dict[int, list[Written]]:
    """What was done to the objects that the flush wrote, too, by their places in ``own``."""
    places = {(one.entity, one.former_key): place for place, one in enumerate(own)}
    places |= {(one.entity, one.key): place for place, one in enumerate(own)}
    found: dict[int, list[Written]] = {}
    for one in others:
        place = places.get((one.entity, one.former_key or one.key))
        if place is not None:
            places[one.entity, one.key] = place
            found.setdefault(place, []).append(one)
    return found


def _as_written(of_flush: Written, chain: list[Written]) -> Written:
    """What the flush did, where values that the database worked out were read after all of this."""
    worked_out: dict[str, Delta] = {}
    for name, made in of_flush.changes.items():
        found = [delta for one in chain if isinstance(delta := one.changes.get(name), Change)]
        if (
            found
            and isinstance(made, Change)
            and same(found[-1].new, made.new)
            and not any(same(one.old, made.new) or same(one.old, made.old) for one in found)
        ):
            worked_out[name] = Change(made.old, found[0].old)
    if not worked_out:
        return of_flush
    changes = ChangeSet({**of_flush.changes, **worked_out}, of_flush.changes.operation)
    return replace(of_flush, changes=changes)


def _first_after(of_flush: Written, chain: list[Written]) -> int:
    """The place of the first that came after the flush had written the object.

    It found the row as the flush has made it. What concerns other fields may have come before or
    after.
    """
    first = 0
    for place, one in enumerate(chain):
        found = [same(delta.old, made.new) for delta, made in _of_both(one, of_flush)]
        if found and all(found):
            return first
        if found:
            first = place + 1
    return first


def _following(of_flush: Written, before: Iterable[Written]) -> Written | None:
    """What the flush did, from what these had left; ``None`` when that was nothing more."""
    left = {
        name: delta.new
        for one in before
        for name, delta in one.changes.items()
        if isinstance(delta, Change)
    }
    if not left:
        return of_flush
    changes: dict[str, Delta] = {}
    for name, delta in of_flush.changes.items():
        if name not in left or not isinstance(delta, Change):
            changes[name] = delta
        elif not same(left[name], delta.new):
            changes[name] = Change(left[name], delta.new)
    if not changes and of_flush.former_key is None:
        return None
    return replace(of_flush, changes=ChangeSet(changes, of_flush.changes.operation))


def _of_both(one: Written, of_flush: Written) -> Iterator[tuple[Change, Change]]:
    """What happened to the fields that both have changed."""
    for name, delta in one.changes.items():
        made = of_flush.changes.get(name)
        if isinstance(delta, Change) and isinstance(made, Change):
            yield delta, made
