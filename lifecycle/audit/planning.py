"""Working out what it takes to put objects back, and what speaks against it.

Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lifecycle.audit.alignment import (
    aligned,
    alike,
    brought,
    by_field,
    delta_aligned,
    effective,
    is_reached,
    is_untold,
)
from lifecycle.audit.later import Later
from lifecycle.audit.netting import Net
from lifecycle.audit.records import Record
from lifecycle.changes import ChangeSet, Delta, Operation, diff, split_path
from lifecycle.deltas import Change
from lifecycle.errors import ConflictError, HistoryError
from lifecycle.hiding import fits, hidden_places, without_hidden
from lifecycle.markers import ABSENT, UNKNOWN, is_hidden
from lifecycle.restoring import Obstacle, ObstacleKind, Said, Shape, Site, Step, Values

__all__ = ["Chosen", "Goal", "Planner"]

Chosen = Callable[[str, str, str], bool]
"""Whether a field is to be put back, by entity, key and the field's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is to become of one object.

    With ``changes`` they are to be made, from the state they start at; with ``state`` the object is
    to be as there, whatever it is now. ``record`` is the last one that brought it to where the
    changes start.
    """

    entity: str
    key: str
    new_key: str
    changes: ChangeSet | None = None
    state: Values | None = None
    complete: bool = True
    record: Record | None = None

    @classmethod
    def undoing(cls, net: Net) -> Goal:
        """The way back from what some records came to."""
        return cls(
            entity=net.entity,
            key=net.key,
            new_key=net.former_key or net.key,
            changes=net.changes.inverted(),
            record=net.records[-1],
        )


class Planner:
    """Turns goals into steps and obstacles, by what the database holds now."""

    def __init__(self, sites: Sequence[Site], later: Later, chosen: Chosen, force: bool) -> None:
        self._sites: Final = sites
        self._later: Final = later
        self._chosen: Final = chosen
        self._force: Final = force
        self.obstacles: Final[list[Obstacle]] = []
        self.notes: Final[list[str]] = []

    def plan(self, goals: Iterable[Goal]) -> list[Step]:
        """The steps that lead to the goals; none for what is as it should be already."""
        steps = [step for goal in goals if (step := self._step(goal)) is not None]
        for site in self._sites:
            own = [step for step in steps if site.has(step.entity)]
            if own:
                self.obstacles.extend(site.obstacles(own))
        return steps

    def _step(self, goal: Goal) -> Step | None:
        if goal.changes is not None and goal.changes.operation is Operation.BULK:
            why = Said("a statement changed rows that the log does not tell apart")
            self._refuse(goal, "statement", why)
            return None
        site = next((one for one in self._sites if one.has(goal.entity)), None)
        if site is None:
            self._refuse(goal, "dropped", Said("no installed model has this name"))
            return None
        key, live = goal.key, site.read(goal.entity, goal.key)
        if live is None and goal.new_key != goal.key:  # it moved with what it refers to
            key, live = goal.new_key, site.read(goal.entity, goal.new_key)
        if goal.changes is not None and goal.changes.operation is Operation.INSERT:
            return self._insert(goal, site, live, brought(goal.changes))
        if live is None:
            return self._gone(goal, site)
        shape = self._shape(goal, site, live)
        if shape is None:
            return None
        if goal.record is not None and not self._later.is_same(
            goal.entity, key, goal.record, marked=shape.marked
        ):
            return self._gone(goal, site, live)
        if goal.changes is None:
            return self._to_state(goal, shape, live)
        if goal.changes.operation is Operation.DELETE:
            return self._delete(goal, shape, live)
        return self._update(goal, shape, live)

    def _gone(self, goal: Goal, site: Site, other: Values | None = None) -> Step | None:
        """The object is not there any more; perhaps its key is that of another one by now."""
        if goal.state is not None:
            return self._insert(goal, site, other, dict(goal.state))
        if goal.changes is not None and goal.changes.operation is Operation.UPDATE:
            by = self._later.since(goal.entity, goal.key, goal.record, None)
            if other is None:
                why = Said("it is not there any more%(by)s", by=by)
            else:
                why = Said("it is gone, and its key is that of another object%(by)s", by=by)
            self._refuse(goal, "gone", why)
        elif other is not None:
            self.notes.append(
                Said(
                    "%(entity)s %(key)s is gone already; what has its key now is another object",
                    entity=goal.entity,
                    key=goal.key,
                )
            )
        return None

    # --- the verbs ---

    def _insert(
        self, goal: Goal, site: Site, live: Values | None, values: dict[str, Any]
    ) -> Step | None:
        shape = self._shape(goal, site, values)
        if shape is None:
            return None
        wanted = self._insertable(goal, shape, values)
        if live is not None:
            differing = [
                name
                for name, value in wanted.items()
                if name not in shape.kept
                and not alike(live.get(name, ABSENT), aligned(shape, live, name, value))
            ]
            if differing:
                named = ", ".join(differing)
                by = self._later.since(goal.entity, goal.key, goal.record, None)
                said = {"fields": named, "by": by}
                if goal.state is None:
                    why = Said("there is one again, with another %(fields)s%(by)s", **said)
                else:
                    why = Said("another object has its key, with another %(fields)s%(by)s", **said)
                self._refuse(goal, "exists", why)
            return None
        for name in sorted(shape.required):
            if wanted.get(name) is None:
                why = Said("%(field)s must have a value, and the log has none", field=name)
                self._refuse(goal, "required", why, name)
        for name, value in wanted.items():
            self._note_untold(goal, (f"{name}.{place}" for place in hidden_places(value)))
        told = {name: without_hidden(value) for name, value in wanted.items()}
        return _made(goal, Operation.INSERT, None, told)

    def _insertable(self, goal: Goal, shape: Shape, values: dict[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        untold = sorted((shape.hidden & shape.fields) - values.keys())
        for name, value in values.items():
            if name in shape.generated or not self._chosen(goal.entity, goal.key, name):
                continue
            if is_hidden(value) or name in shape.hidden:
                untold.append(name)
            elif name not in shape.fields:
                self._refuse_dropped(goal, name)
            else:
                wanted[name] = value
        self._note_untold(goal, (name for name in untold if name not in shape.required))
        return wanted

    def _note_untold(self, goal: Goal, names: Iterable[str]) -> None:
        self.notes.extend(
            Said(
                "%(entity)s %(key)s comes back without %(field)s, which the log does not hold",
                entity=goal.entity,
                key=goal.key,
                field=name,
            )
            for name in names
        )

    def _delete(self, goal: Goal, shape: Shape, live: Values) -> Step | None:
        assert goal.changes is not None
        left = brought(goal.changes.inverted())
        if not self._goes(goal, left):
            return None
        for name in live:
            if name in shape.kept | shape.generated:
                continue
            began_empty = shape.sparse or name in shape.collections
            value = left.get(name, ABSENT if began_empty else UNKNOWN)
            if is_hidden(value):  # the log may tell at least that it was changed
                olds = self._later.olds(goal.entity, goal.key, goal.record, name)
                if not olds:
                    continue
                value = olds[-1]
            value = aligned(shape, live, name, value)
            if is_hidden(value):
                self._refuse_changed(goal, name, live[name], UNKNOWN)
            elif not alike(live[name], value):
                self._refuse_changed(goal, name, live[name], value)
        return _made(goal, Operation.DELETE, live, None)

    def _goes(self, goal: Goal, names: Iterable[str]) -> bool:
        """Whether an object goes, which it only does as a whole, whatever fields were chosen."""
        chosen = [self._chosen(goal.entity, goal.key, split_path(name)[0]) for name in names]
        if any(chosen) and not all(chosen):
            self.notes.append(
                Said(
                    "%(entity)s %(key)s stays: it would go as a whole, not by some fields",
                    entity=goal.entity,
                    key=goal.key,
                )
            )
        return all(chosen)

    def _update(self, goal: Goal, shape: Shape, live: Values) -> Step | None:
        assert goal.changes is not None
        after = dict(live)
        for name, deltas in by_field(goal.changes).items():
            if not self._chosen(goal.entity, goal.key, name) or name in shape.kept:
                continue
            if name in shape.generated:
                continue
            if name not in shape.fields:
                self._refuse_dropped(goal, name)
            elif name in shape.hidden or any(map(is_untold, deltas.values())):
                why = Said("the log does not hold what %(field)s was before", field=name)
                self._refuse(goal, "unknown", why, name)
            else:
                told = {path: delta_aligned(shape, live, name, one) for path, one in deltas.items()}
                self._put(goal, live, after, name, told)
        return _made(goal, Operation.UPDATE, live, after)

    def _put(
        self,
        goal: Goal,
        live: Values,
        after: dict[str, Any],
        name: str,
        deltas: Mapping[str, Delta],
    ) -> None:
        left = {path: effective(one, live, path) for path, one in deltas.items()}
        changes = ChangeSet(
            {path: one for path, one in left.items() if not is_reached(one, live, path)}
        )
        in_the_way = changes.conflicts_with(live)
        if in_the_way and not (self._force and list(changes) == [name]):
            path, found = next(iter(in_the_way.items()))
            delta = changes[path]
            expected = delta.old if isinstance(delta, Change) else UNKNOWN
            self._refuse_changed(goal, path, found, expected)
        elif changes:
            try:
                value = changes.applied_to(live).get(name, ABSENT)
            except ConflictError as error:
                why = Said("%(field)s has been changed since: %(error)s", field=name, error=error)
                self._refuse(goal, "changed", why, name)
            else:
                self._put_value(goal, live, after, name, value)

    def _put_value(
        self, goal: Goal, live: Values, after: dict[str, Any], name: str, value: Any
    ) -> None:
        """Let a field have a value, if what is hidden inside it can stay as it is."""
        if fits(value, live.get(name, ABSENT)):
            after[name] = value
        else:
            places = ", ".join(f"{name}.{place}" for place in hidden_places(value))
            why = Said("the log does not hold what %(places)s was", places=places)
            self._refuse(goal, "unknown", why, name)

    def _to_state(self, goal: Goal, shape: Shape, live: Values) -> Step | None:
        if goal.state is None:
            return _made(goal, Operation.DELETE, live, None) if self._goes(goal, live) else None
        after = dict(live)
        state = dict(goal.state)
        for name in shape.collections:
            state.setdefault(name, frozenset())
        for name, value in state.items():
            if name in shape.kept | shape.generated | shape.hidden:
                continue
            if is_hidden(value):
                if self._chosen(goal.entity, goal.key, name):
                    self.notes.append(
                        Said(
                            "%(entity)s %(key)s keeps its %(field)s, which the log does not hold "
                            "as it was",
                            entity=goal.entity,
                            key=goal.key,
                            field=name,
                        )
                    )
                continue
            value = aligned(shape, live, name, value)
            if not self._chosen(goal.entity, goal.key, name):
                continue
            if name not in shape.fields:
                self._refuse_dropped(goal, name)
            elif not alike(live.get(name, ABSENT), value):
                self._put_value(goal, live, after, name, value)
        if shape.sparse and goal.complete:  # else it may have had what the log does not tell
            for name in live.keys() - state.keys() - shape.hidden:
                if self._chosen(goal.entity, goal.key, name):
                    after[name] = ABSENT
        return _made(goal, Operation.UPDATE, live, after)

    # --- saying what is in the way ---

    def _shape(self, goal: Goal, site: Site, values: Values) -> Shape | None:
        try:
            return site.shape(goal.entity, values)
        except HistoryError as error:
            self._refuse(goal, "dropped", error.args[0])
            return None

    def _refuse_changed(self, goal: Goal, path: str, found: Any, expected: Any) -> None:
        values = {
            "field": path,
            "by": self._later.since(goal.entity, goal.key, goal.record, path),
            "found": _shown(found),
            "expected": _shown(expected),
        }
        if expected is UNKNOWN:
            why = Said("%(field)s was changed again since%(by)s: it is %(found)s", **values)
        else:
            why = Said(
                "%(field)s was changed again since%(by)s: it is %(found)s, not %(expected)s",
                **values,
            )
        self._refuse(goal, "changed", why, path)

    def _refuse_dropped(self, goal: Goal, name: str) -> None:
        self._refuse(goal, "dropped", Said("the model has no %(field)s any more", field=name), name)

    def _refuse(
        self, goal: Goal, kind: ObstacleKind, message: str, field: str | None = None
    ) -> None:
        self.obstacles.append(
            Obstacle(entity=goal.entity, key=goal.key, kind=kind, message=message, field=field)
        )


def _made(
    goal: Goal, operation: Operation, before: Values | None, after: dict[str, Any] | None
) -> Step | None:
    if after is not None:
        after = {name: value for name, value in after.items() if value is not ABSENT}
    changes = diff(before or {}, after or {}, operation=operation)
    if operation is Operation.UPDATE and not changes:
        return None
    return Step(
        entity=goal.entity,
        key=goal.key,
        new_key=goal.new_key,
        operation=operation,
        before=before,
        after=after,
        changes=changes,
    )


def _shown(value: Any) -> str:
    if value is ABSENT:
        return Said("no value")
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
