"""Before a flush: its pre hooks, until what they left is what all of them have seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from lifecycle.changes import ChangeSet, Operation
from lifecycle.dispatch import Seen, run, settle
from lifecycle.errors import HookLoopError
from lifecycle.hooks import Hook
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.awaiting import await_hook
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.old_values import OldValues
from lifecycle.mappers.sqlalchemy.reading import LiveObject, State, pending
from lifecycle.mappers.sqlalchemy.removing import Removing
from lifecycle.mappers.sqlalchemy.stored import StoredRow
from lifecycle.moments import (
    CHANGE_EVENTS,
    PRE,
    ChangeEvent,
    Moment,
    ObjectEvent,
    OnFlush,
    PreFlush,
)
from lifecycle.written import MIGRATION

__all__ = ["Settling"]

PASSES: Final = 100
"""How often the objects of one flush may be gone over before their hooks count as a loop."""

_Hooked: TypeAlias = "tuple[Model | None, tuple[Hook, ...]]"

_NO_HOOKS: Final[_Hooked] = (None, ())


class Settling:
    """The hooks before one flush of one session, and those in the middle of it."""

    def __init__(
        self,
        session: Session,
        models: Models,
        services: Services,
        old: OldValues,
        only: Iterable[Any] | None = None,
        removing: Removing | None = None,
    ) -> None:
        self._session = session
        # The objects given to session.flush(), which leaves all others alone.
        self._only = None if only is None else {instance_state(instance) for instance in only}
        self._models = models
        self._services = services
        self._hooks_run = not services.suppression.hooks
        self._old = old
        self._seen: dict[tuple[State, Operation], Seen] = {}
        self._listed: dict[Operation, list[State]] | None = None
        self._orphans: set[State] = set()
        self._removing = removing
        self._reached: set[State] = set()
        self.marked: Final[set[State]] = set()
        """Objects that are marked in place of being deleted."""
        self.settled: Final[set[State]] = set()
        """Objects whose INSERT or DELETE brings nothing that was not seen before the flush."""
        self.assigned: Final[dict[State, int]] = {}
        """Objects to update for which no late hook is waiting: how many of their attributes had
        been assigned to before the flush. Nothing has come to that while it is the same."""
        self.in_hooks = False
        """Whether late hooks are running, in the middle of the writing."""
        self.causes: Final[dict[State, str]] = {}
        """Why objects are written, where a hook has added something nobody asked for."""

    def before(self) -> None:
        """Run the hooks before a flush, then note what it will overwrite."""
        of_flushes = self._services.dispatcher.plan(object) if self._hooks_run else {}
        if hooks := of_flushes.get(Moment.PRE_FLUSH):
            run(hooks, PreFlush(self._session), await_hook)
        self._fetch_missing()
        if self._hooks_run:
            self._settle()
        if hooks := of_flushes.get(Moment.ON_FLUSH):
            run(hooks, OnFlush(self._session, tuple(self._pending_events())), await_hook)
            self._listed = None
            self._fetch_missing()
            self._count_as_seen()
        if self._removing is not None:
            self.marked.update(
                self._removing.mark(self._session, self._pending()[Operation.DELETE])
            )
            self._listed = None
        for operation, states in self._pending().items():
            hooked = self._hooked(states, PRE[operation]) if self._hooks_run else {}
            if operation is Operation.UPDATE:
                self._old.note_all(states)
                self.assigned.update(
                    (state, len(state.committed_state))
                    for state in states
                    if not hooked or state.class_ not in hooked
                )
            elif not hooked:
                self.settled.update(states)
            else:
                self.settled.update(
                    state
                    for state in states
                    if state.class_ not in hooked or (state, operation) in self._seen
                )

    def _settle(self) -> None:
        for _ in range(PASSES):
            ran = list(self._pass())
            if not ran:
                return
            self._fetch_missing()
        raise HookLoopError(
            f"after {PASSES} passes these hooks still change what others have seen: "
            f"{'; '.join(sorted(set(ran)))}. Make them come to the same result when called again"
        )

    def _pass(self) -> Iterator[str]:
        for operation in Operation.INSERT, Operation.UPDATE, Operation.DELETE:
            states = self._pending()[operation]
            hooked = self._hooked(states, PRE[operation])
            if not hooked:
                continue
            for state in states:
                model, hooks = hooked.get(state.class_, _NO_HOOKS)
                if model is not None and self._is_still(operation, state):
                    event = self._pre_event(model, state, operation)
                    for hook in self._show(hooks, event, state):
                        self._listed = None  # it may have added, deleted or changed anything
                        yield f"{hook.name} of {event.subject}"

    def _hooked(self, states: list[State], moment: Moment) -> dict[type, _Hooked]:
        """The classes among these that have hooks at a moment: asked by class, not by object."""
        plan = self._services.dispatcher.plan
        return {
            cls: (self._models.get(cls), hooks)
            for cls in {state.class_ for state in states}
            if (hooks := plan(cls).get(moment))
        }

    def _pre_event(
        self, model: Model, state: State, operation: Operation, late: bool = False
    ) -> ChangeEvent:
        live = LiveObject(model, state, operation, self._old.fetched(state))
        event = CHANGE_EVENTS[PRE[operation]](
            state.obj(),
            ChangeSet(operation=operation, live=live),
            model.entity,
            model.stored_key(state) or model.key(state),
            session=self._session,
            late=late,
        )
        if operation is Operation.UPDATE:
            event.keeper = self._stored
        return event

    def _stored(self, event: ObjectEvent) -> StoredRow:
        state = instance_state(event.instance)
        model = self._models.get(state.class_)
        tell = partial(self.causes.__setitem__, state, MIGRATION)
        return StoredRow(self._session, model, state, self._old.fetched(state), tell)

    def _show(self, hooks: tuple[Hook, ...], event: ChangeEvent, state: State) -> list[Hook]:
        if event.operation is Operation.UPDATE and not event.changes:
            return []
        seen = self._seen.setdefault((state, event.operation), {})
        return settle(hooks, event, seen, await_hook)

    def late(self, state: State, operation: Operation) -> None:
        """Before the flush writes an object: keep what it will overwrite, and run late hooks.

        Those are for what only the flush itself has decided: about an object no hook has seen, or
        an update of fields that a hook has not seen.
        """
        if operation is not Operation.INSERT:
            self._old.late(state, operation)
        hooks = self._services.dispatcher.plan(state.class_).get(PRE[operation])
        if not hooks or not self._hooks_run or state in self.marked:
            return
        seen = self._seen.get((state, operation))
        if seen is not None and operation is not Operation.UPDATE:
            return
        model = self._models.get(state.class_)
        event = self._pre_event(model, state, operation, late=True)
        if seen is not None:
            hooks = tuple(one for one in hooks if event.changes.keys() - seen.get(one, {}).keys())
        self.in_hooks = True
        ran = self._show(hooks, event, state)
        self.in_hooks = False
        if ran and operation is Operation.UPDATE:
            self._old.note(model, state)

    def _count_as_seen(self) -> None:
        """What was done at on_flush is no reason to call the hooks of an object again."""
        for (state, operation), seen in self._seen.items():
            if operation is Operation.UPDATE:
                model = self._models.get(state.class_)
                changes = pending(model, state, operation, self._old.fetched(state))
                seen.update(dict.fromkeys(seen, changes))

    def _pending_events(self) -> Iterator[ChangeEvent]:
        """What is about to be written, of the models anybody cares about."""
        for operation, states in self._pending().items():
            for state in states:
                model = self._models.concerned(state.class_)
                if model is not None:
                    event = self._pre_event(model, state, operation)
                    if event.changes or operation is not Operation.UPDATE:
                        yield event

    def _pending(self) -> dict[Operation, list[State]]:
        """What the flush will write, as far as the session knows; it deletes orphans by itself.

        Listed once for as long as no hook has run. From where ``session.new``, ``dirty`` and
        ``deleted`` take it, which make their sets of objects anew every time.
        """
        if self._listed is None:
            session, only = self._session, self._only
            dirty = [one for one in session.identity_map._modified if one not in session._deleted]
            orphans = self._orphans = _orphans(dirty)
            self._listed = {
                Operation.INSERT: list(session._new),
                Operation.UPDATE: [one for one in dirty if one not in orphans]
                if orphans
                else dirty,
                Operation.DELETE: list(session._deleted),
            }
            if only is not None:
                for operation, states in self._listed.items():
                    self._listed[operation] = [state for state in states if state in only]
        return self._listed

    def _fetch_missing(self) -> None:
        """Read old values; of orphans too, for one that is replaced by another never comes late.

        Before that, what is marked below a real delete joins it.
        """
        if self._removing is not None and self._removing.reach(self._session, self._reached):
            self._listed = None
        self._old.fetch_missing(self._pending())
        if self._orphans:
            self._old.fetch_missing({Operation.DELETE: self._orphans})

    def _is_still(self, operation: Operation, state: State) -> bool:
        """Whether no hook has taken the object out of the session, or deleted it, meanwhile."""
        return state.session is self._session and (
            operation is Operation.DELETE or state not in self._session._deleted
        )


def _orphans(states: list[State]) -> set[State]:
    """Those that the flush deletes because no parent has them any more."""
    owned = {
        mapper
        for mapper in {state.manager.mapper for state in states}
        if any(base._delete_orphans for base in mapper.iterate_to_root())
    }
    if not owned:
        return set()
    return {one for one in states if one.mapper in owned and one.mapper._is_orphan(one)}
