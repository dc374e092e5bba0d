"""The order in which rows can be put back: each after those it needs, before those it gives way to.

The unit of work orders rows by their relationships. Here foreign keys are set as columns, for the
objects at their other ends may be gone, so the order has to come from the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from lifecycle.changes import Operation
from lifecycle.mappers.sqlalchemy.restoring.classes import Classes
from lifecycle.mappers.sqlalchemy.restoring.facts import Reference, value_of
from lifecycle.restoring import Step

__all__ = ["Members", "Part", "layers"]

Members: TypeAlias = Literal["all", "none", "remove", "add"]


@dataclass(frozen=True, slots=True)
class Part:
    """A step, or what of it is done at one time.

    ``without`` are fields left for later, ``only`` those that are all there is to it, ``nulled``
    those that are emptied before the object goes. ``members`` says which many-to-many rows.
    """

    step: Step
    members: Members = "all"
    without: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    nulled: frozenset[str] = frozenset()


def layers(classes: Classes, steps: Sequence[Step]) -> Iterator[list[Part]]:
    """The steps in groups: those of one need nothing of each other, only of the groups before.

    Where rows refer to each other in a circle, a foreign key that may be empty is set last.
    """
    if len(steps) == 1 or all(step.operation is Operation.UPDATE for step in steps):
        together: Members = "all"
    else:  # rows of association tables go first and come last, whatever is at their two ends
        together = "none"
        removals = [Part(step, "remove", only=frozenset()) for step in steps if _is_update(step)]
        if any(_has_members(classes, part.step) for part in removals):
            yield removals
    yield from _Sorting(classes, steps).layers(together)
    if together == "none":
        additions = [step for step in steps if step.operation is not Operation.DELETE]
        if any(_has_members(classes, step) for step in additions):
            yield [Part(step, "add", only=frozenset()) for step in additions]


def _is_update(step: Step) -> bool:
    return step.operation is Operation.UPDATE


def _has_members(classes: Classes, step: Step) -> bool:
    model = classes.of(step.entity, step.after or step.before or {})
    return any(one.name in step.changes for one in model.many_to_many)


@dataclass(slots=True)
class _Waiting:
    """What a step waits for: other steps, and because of which of whose references."""

    step: Step
    needs: dict[int, list[tuple[int, Reference] | None]] = field(default_factory=dict)


class _Sorting:
    def __init__(self, classes: Classes, steps: Sequence[Step]) -> None:
        self._steps: Final = steps
        self._facts: Final = [
            classes.facts(classes.of(step.entity, step.after or step.before or {}))
            for step in steps
        ]
        self._waiting: Final = [_Waiting(step) for step in steps]
        self._provided: Final[dict[Any, dict[Any, list[int]]]] = {}
        self._removed: Final[dict[Any, dict[Any, list[int]]]] = {}
        self._work_out()

    def _work_out(self) -> None:
        self._index()
        for here, (step, facts) in enumerate(zip(self._steps, self._facts, strict=True)):
            for reference in facts.references:
                before = value_of(step.before, reference.fields)
                after = value_of(step.after, reference.fields)
                if before == after:
                    continue
                for other in self._provided.get(reference.target, {}).get(after, ()):
                    self._wait(here, other, (here, reference))
                for other in self._removed.get(reference.target, {}).get(before, ()):
                    if self._steps[other].operation is Operation.DELETE:
                        self._wait(other, here, (here, reference))
            for unique in facts.uniques:
                before, after = value_of(step.before, unique), value_of(step.after, unique)
                if after is not None and before != after:
                    columns = facts.columns(unique)
                    for other in self._removed.get(columns, {}).get(after, ()):
                        self._wait(here, other, None)

    def _index(self) -> None:
        """Which steps bring, and which take away, the values that others refer to or want."""
        wanted = {reference.target for facts in self._facts for reference in facts.references} | {
            facts.columns(unique) for facts in self._facts for unique in facts.uniques
        }
        for here, (step, facts) in enumerate(zip(self._steps, self._facts, strict=True)):
            for target in wanted:
                names = facts.names(target)
                if names is None:
                    continue
                before, after = value_of(step.before, names), value_of(step.after, names)
                if before == after:
                    continue
                for index, value in ((self._provided, after), (self._removed, before)):
                    if value is not None:  # which nothing refers to
                        index.setdefault(target, {}).setdefault(value, []).append(here)

    def _wait(self, here: int, other: int, why: tuple[int, Reference] | None) -> None:
        if here != other:
            self._waiting[here].needs.setdefault(other, []).append(why)

    def layers(self, members: Members) -> Iterator[list[Part]]:
        left = dict(enumerate(self._waiting))
        later: list[Part] = []
        without: dict[int, frozenset[str]] = {}
        while left:
            ready = [here for here, one in left.items() if not one.needs.keys() & left.keys()]
            if not ready:
                broken = self._break(left)
                if broken is None:  # the database may put up with it, or says why not
                    ready = list(left)
                else:
                    owner, reference = broken
                    step = self._steps[owner]
                    names = frozenset(reference.fields)
                    if step.operation is Operation.DELETE:
                        yield [Part(step, "none", only=frozenset(), nulled=names)]
                    else:
                        later.append(Part(step, "none", only=names))
                        without[owner] = without.get(owner, frozenset()) | names
                    self._forget(left, broken)
                    continue
            yield [Part(self._steps[one], members, without.get(one, frozenset())) for one in ready]
            for one in ready:
                del left[one]
        if later:
            yield later

    def _break(self, left: dict[int, _Waiting]) -> tuple[int, Reference] | None:
        for one in left.values():
            for other, reasons in one.needs.items():
                if other in left and None not in reasons:
                    for why in reasons:
                        if why is not None and why[1].nullable:
                            return why
        return None

    def _forget(self, left: dict[int, _Waiting], broken: tuple[int, Reference]) -> None:
        for one in left.values():
            for other in list(one.needs):
                kept = [why for why in one.needs[other] if why != broken]
                if kept:
                    one.needs[other] = kept
                else:
                    del one.needs[other]
