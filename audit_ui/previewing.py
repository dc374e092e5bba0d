"""Working out what a restore would do now, and how much of that its reader may see and choose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from audit_ui.languages import gettext as _
from audit_ui.languages import gettext_noop
from audit_ui.reader import Reader
from audit_ui.restoring import Choice, Item, Plan, Restorer, Wish
from audit_ui.veil import veiled_changes
from lifecycle.audit.netting import netted
from lifecycle.audit.records import Record
from lifecycle.changes import ChangeSet, Delta, Operation, split_path
from lifecycle.restoring import Obstacle, ObstacleKind, Step

__all__ = ["drawn_up", "seen"]

FIELDS: Final = 100
"""How many fields of one object can be chosen by themselves; the others go together."""

DETAILED: Final = 30
"""How many objects have fields to choose; of those behind them all fields go together."""

_OF_FIELDS: Final[set[ObstacleKind]] = {"changed", "unknown", "dropped", "reference", "unique"}
"""What is no longer in the way when its field is left out."""

_UNSEEN: Final[dict[ObstacleKind, str]] = {
    "changed": gettext_noop("it was changed again since"),
    "reference": gettext_noop("it would refer to what is not there"),
    "unique": gettext_noop("another object has its value"),
}
"""What is said of values that the reader may not see."""


def drawn_up(
    restorer: Restorer, wish: Wish, reader: Reader, may: Callable[[str, str], bool]
) -> Plan:
    """Work out what a wish comes to now, as one reader may see it.

    ``may`` tells whether the reader may put back an object, by entity and key. Raises what
    `Restores` does.
    """
    careful, bold = restorer.verbs.previews(**wish.asked())
    final = {(one.entity, one.key, one.field) for one in bold.conflicts}
    steps = {(step.entity, step.key): step for step in bold.steps}
    conflicts: dict[tuple[str, str], list[Obstacle]] = {}
    for one in careful.conflicts:
        conflicts.setdefault((one.entity, one.key), []).append(one)
    objects = _objects(wish)
    items: list[Item] = []
    for subject in dict.fromkeys((*objects, *steps, *conflicts)):
        if subject not in steps and subject not in conflicts:
            continue
        step, found = steps.get(subject), conflicts.get(subject, [])
        records = objects.get(subject, ())
        by_field = step is not None and step.operation is not Operation.DELETE
        own = [one for one in found if not by_field or one.kind not in _OF_FIELDS or not one.field]
        number = len(items)
        item = Item(
            name=str(number),
            entity=subject[0],
            key=subject[1],
            label=next((one.label for one in reversed(records) if one.label), None),
            step=step,
            choices=(),
            conflicts=tuple(seen(one, reader) for one in own),
            allowed=may(*subject),
            records=records,
        )
        if step is not None and by_field:
            limit = FIELDS if number < DETAILED else 0
            beside = [one for one in found if one not in own]
            choices = _choices(item.name, step, beside, final, reader, limit)
            item = replace(item, choices=tuple(choices))
        items.append(item)
    settled = sum(one not in steps and one not in conflicts for one in objects)
    return Plan(wish, tuple(items), careful.notes, settled)


def _objects(wish: Wish) -> dict[tuple[str, str], tuple[Record, ...]]:
    """The objects of a wish, each with its records."""
    if wish.verb != "undo":
        return {(one.entity, one.key): (one,) for one in wish.records}
    found: dict[tuple[str, str], tuple[Record, ...]] = {}
    for net in reversed(netted(wish.records)):
        found[net.entity, net.key] = found.get((net.entity, net.key), ()) + net.records
    return found


def _choices(
    name: str,
    step: Step,
    conflicts: Sequence[Obstacle],
    final: Collection[tuple[str, str, str | None]],
    reader: Reader,
    limit: int,
) -> Iterator[Choice]:
    """The fields one by one up to a limit, those in conflict first; the others by what they are."""
    deltas: dict[str, dict[str, Delta]] = {}
    for path, delta in veiled_changes(step.entity, step.changes, reader.sees).items():
        deltas.setdefault(split_path(path)[0], {})[path] = delta
    against: dict[str, list[Obstacle]] = {}
    for one in conflicts:
        against.setdefault(_field_of(one, deltas), []).append(one)
    single = []
    for field_ in dict.fromkeys((*against, *deltas)):
        own = against.get(field_, [])
        unseen = step.operation is Operation.UPDATE and not reader.sees(step.entity, field_)
        lasting = any((one.entity, one.key, one.field) in final for one in own)
        single.append(
            Choice(
                name="",
                fields=(field_,),
                changes=ChangeSet(deltas.get(field_, {}), step.operation),
                conflicts=tuple(seen(one, reader) for one in own),
                barred=unseen or lasting or field_ not in deltas,
                fixed=step.operation is Operation.INSERT and not own,
            )
        )
    for number, choice in enumerate((*single[:limit], *_together(single[limit:]))):
        yield replace(choice, name=f"{name}.{number}")


def _together(choices: Sequence[Choice]) -> Iterator[Choice]:
    """Choices of one kind as one choice."""

    def kind(one: Choice) -> tuple[bool, bool]:
        return one.barred, bool(one.conflicts)

    for (barred, _doubted), group in groupby(sorted(choices, key=kind), kind):
        some = list(group)
        yield Choice(
            name="",
            fields=tuple(name for one in some for name in one.fields),
            changes=ChangeSet(
                {path: delta for one in some for path, delta in one.changes.items()},
                some[0].changes.operation,
            ),
            conflicts=some[0].conflicts[:1],
            barred=barred,
            fixed=some[0].fixed,
        )


def _field_of(one: Obstacle, fields: Collection[str]) -> str:
    """The field that an obstacle is about; the first of several."""
    named = one.field or ""
    first = split_path(named)[0]
    return first if first in fields else split_path(named.partition(", ")[0])[0]


def seen(one: Obstacle, reader: Reader) -> Obstacle:
    """An obstacle without values that the reader may not see."""
    if not reader.is_veiled or one.kind not in _UNSEEN or not one.field:
        return one
    names = [split_path(part)[0] for part in one.field.split(", ")]
    if one.kind != "unique" and all(reader.sees(one.entity, name) for name in names):
        return one  # that of a unique value names other fields too
    return replace(one, message=f"{one.field}: {_(_UNSEEN[one.kind])}")
