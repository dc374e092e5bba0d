"""One flush: the hooks before it, what it wrote, the hooks after it, and the record of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.orm import Session, UOWTransaction
from sqlalchemy.orm.attributes import instance_state

from lifecycle.changes import Change, ChangeSet, Delta, Operation, SetEdit
from lifecycle.dispatch import Seen, call, run, settle
from lifecycle.errors import HookLoopError, LostAssignmentWarning, warn
from lifecycle.hooks import Hook
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.aftermath import Aftermath, Happened
from lifecycle.mappers.sqlalchemy.awaiting import await_hook
from lifecycle.mappers.sqlalchemy.cascades import after_flush
from lifecycle.mappers.sqlalchemy.collections import ManyToMany, Membership, memberships
from lifecycle.mappers.sqlalchemy.doomed import committed_already
from lifecycle.mappers.sqlalchemy.fetching import fetch_columns
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.old_values import OldValues
from lifecycle.mappers.sqlalchemy.outcome import (
    Done,
    as_written,
    complete,
    inserted,
    moves_in_order,
    replay_order,
    turned_into_update,
)
from lifecycle.mappers.sqlalchemy.reading import (
    LiveObject,
    State,
    note,
    pending,
    stored,
    updated,
)
from lifecycle.markers import UNKNOWN
from lifecycle.moments import (
    CHANGE_EVENTS,
    POST,
    PRE,
    ChangeEvent,
    Moment,
    OnFlush,
    PostFlush,
    PreFlush,
)
from lifecycle.written import Written

__all__ = ["Flush"]

PASSES: Final = 100
"""How often the objects of one flush may be gone over before their hooks count as a loop."""

_Hooked: TypeAlias = "tuple[Model | None, tuple[Hook, ...]]"

Record: TypeAlias = "Callable[[Connection, list[Written]], None]"

_NO_HOOKS: Final[_Hooked] = (None, ())

_NO_EDIT: Final = SetEdit(frozenset(), frozenset())


class Flush:
    """What is known about one flush of one session, from `before` to `after`."""

    def __init__(
        self,
        session: Session,
        models: Models,
        services: Services,
        only: Iterable[Any] | None = None,
    ) -> None:
        self._session = session
        # The objects given to session.flush(), which leaves all others alone.
        self._only = None if only is None else {instance_state(instance) for instance in only}
        self._models = models
        self._services = services
        self._hooks_run = not services.suppression.hooks
        self._old = OldValues(session, models)
        self._seen: dict[tuple[State, Operation], Seen] = {}
        self._listed: dict[Operation, list[State]] | None = None
        self._several: Counter[Model] = Counter()
        self.settled: set[State] = set()
        """Objects whose INSERT or DELETE brings nothing that was not seen before the flush."""
        self.caused: dict[Connection, list[Written]] = {}
        """What the database did by itself meanwhile, through foreign keys."""
        self.in_hooks = False
        """Whether late hooks are running, in the middle of the writing."""

    # --- before ---

    def before(self) -> None:
        """Run the hooks before a flush, then note what it will overwrite."""
        of_flushes = self._services.dispatcher.plan(object) if self._hooks_run else {}
        if hooks := of_flushes.get(Moment.PRE_FLUSH):
            run(hooks, PreFlush(self._session), await_hook)
        self._old.fetch_missing(self._pending())
        if self._hooks_run:
            self._settle()
        if hooks := of_flushes.get(Moment.ON_FLUSH):
            run(hooks, OnFlush(self._session, tuple(self._pending_events())), await_hook)
            self._listed = None
            self._old.fetch_missing(self._pending())
            self._count_as_seen()
        for operation, states in self._pending().items():
            if operation is Operation.UPDATE:
                self._old.note_all(states)
            else:
                hooked = self._hooked(states, PRE[operation]) if self._hooks_run else {}
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
            self._old.fetch_missing(self._pending())
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
        return CHANGE_EVENTS[PRE[operation]](
            state.obj(),
            ChangeSet(operation=operation, live=live),
            model.entity,
            model.stored_key(state) or model.key(state),
            session=self._session,
            late=late,
        )

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
        if not hooks or not self._hooks_run:
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
            orphans = _orphans(dirty)
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

    def _is_still(self, operation: Operation, state: State) -> bool:
        """Whether no hook has taken the object out of the session, or deleted it, meanwhile."""
        return state.session is self._session and (
            operation is Operation.DELETE or state not in self._session._deleted
        )

    # --- after ---

    def after(self, context: UOWTransaction, record: Record, aftermath: Aftermath) -> None:
        """Run the post hooks on what was written, then record it, for each connection."""
        done = list(self._done(context))
        self._read_back(done)
        done = [one for one in done if not one.is_nothing]  # as an expression may turn out to be
        if self._hooks_run:
            self._run_post_hooks(done)
            self._keep_for_later(done, aftermath)
        if not self._services.suppression.audit:
            self._record(done, record)

    def _record(self, done: list[Done], record: Record) -> None:
        connections: dict[Model, Connection] = {}
        try:
            self._record_through(connections, done, record)
        except Exception as error:
            if any(one._is_autocommit_isolation() for one in connections.values()):
                entities = ", ".join(sorted({model.entity for model in connections}))
                raise committed_already(f"the flush of {entities}", error) from error
            raise

    def _record_through(
        self, connections: dict[Model, Connection], done: list[Done], record: Record
    ) -> None:
        by_connection: dict[Connection, list[Written]] = {}
        for one in done:
            if self._services.recorder.wants(one.model.policy):
                connection = connections.get(one.model) or self._connection(one.model)
                connections[one.model] = connection
                written = as_written(one, connection.dialect, self._services.faults)
                by_connection.setdefault(connection, []).append(written)
        for connection, caused in self.caused.items():
            by_connection[connection] = after_flush(by_connection.get(connection, []), caused)
        for connection, found in by_connection.items():
            record(connection, found)

    def _connection(self, model: Model) -> Connection:
        return self._session.connection(bind_arguments={"mapper": model.mapper})

    def _done(self, context: UOWTransaction) -> Iterator[Done]:
        """What the flush did to each object, in an order that can be replayed.

        Changes of keys come first, so that a key given up is free for what comes after.
        """
        replaced: dict[tuple[str, str | None], State] = {}
        others: list[tuple[Model, State, bool, bool]] = []
        owners: list[tuple[State, tuple[ManyToMany, ...]]] = []
        new = self._session._new
        classes = {state.class_ for state in context.states}
        models = {cls: (self._models.get(cls), self._models.concerned(cls)) for cls in classes}
        for state, (is_delete, list_only) in context.states.items():
            model, concerned = models[state.class_]
            if model.many_to_many and not list_only:
                owners.append((state, model.many_to_many))
            if concerned is None:
                continue
            if list_only and state in new:
                continue  # new, and not among the objects given to session.flush()
            if state._deleted and state.deleted:
                continue  # by an earlier flush
            if is_delete and list_only:
                replaced[model.entity, model.stored_key(state)] = state
            else:
                others.append((model, state, is_delete, list_only))
        self._several = Counter(
            model
            for model, state, is_delete, list_only in others
            if not (state in new or is_delete or list_only)
        )
        done = [
            one
            for model, state, is_delete, list_only in others
            if (one := self._one_done(model, state, is_delete, list_only, replaced)) is not None
        ]
        if owners:
            done += self._add_memberships(done, memberships(context, owners, self._key_of))
        moves = [one for one in done if one.former_key is not None]
        if moves:
            yield from moves_in_order(moves)
            done = [one for one in done if one.former_key is None]
        done.sort(key=replay_order)
        yield from done

    def _add_memberships(
        self, done: list[Done], found: dict[State, dict[str, Membership]]
    ) -> list[Done]:
        """Add changes of collections to what was done; returns what else was changed by them."""
        known, others = {one.state: one for one in done}, []
        for state, members in found.items():
            edits = {
                name: edit for name, one in members.items() if (edit := one.edit()) != _NO_EDIT
            }
            if state in known:
                known[state].deltas.update(edits)
            elif edits and (model := self._models.concerned(state.class_)) is not None:
                key = self._key_of(state)
                others.append(Done(model, state, Operation.UPDATE, dict(edits), (), key))
        return others

    def _key_of(self, state: State) -> str:
        model = self._models.get(state.class_)
        key = model.key(state) or model.stored_key(state)
        assert key is not None  # the flush has given it one
        return key

    def _one_done(
        self,
        model: Model,
        state: State,
        is_delete: bool,
        list_only: bool,
        replaced: dict[tuple[str, str | None], State],
    ) -> Done | None:
        fetched = self._old.fetched(state)
        # Not of a new object, which has it already when its defaults were read at once.
        stored_key = None if state in self._session._new else model.stored_key(state)
        if is_delete:
            assert stored_key is not None
            removed = stored(model, state, fetched)
            return Done(model, state, Operation.DELETE, {}, (), stored_key, whole=removed)
        # Of one that is expired nothing is in memory, nor was its key changed.
        key = model.key(state) or stored_key
        assert key is not None  # the flush has given it one
        if stored_key is None:
            brought, unread = inserted(model, state)
            old = replaced.get((model.entity, key)) if replaced else None
            if old is None:
                return Done(model, state, Operation.INSERT, {}, unread, key, whole=brought)
            removed = stored(model, old, self._old.fetched(old))
            deltas, unread = turned_into_update(model, state, brought, removed)
            return Done(model, state, Operation.UPDATE, deltas, unread, key)
        deltas = updated(model, state, fetched)
        unread = () if list_only else self._volatile(model, state, deltas)
        former = stored_key if stored_key != key else None
        if not deltas and not unread:
            return None
        return Done(model, state, Operation.UPDATE, deltas, unread, key, former)

    def _volatile(self, model: Model, state: State, deltas: dict[str, Delta]) -> tuple[str, ...]:
        """Add what the UPDATE changed by itself; returns the fields that have to be read."""
        noted = self._old.noted(state)
        if noted is None:
            if not deltas:
                return ()
            noted = dict.fromkeys(model.volatile, UNKNOWN)
        unread = []
        for name, old in noted.items():
            if name in state.dict:
                note(deltas, model.fields[name], old, state.dict[name])
            else:
                deltas[name] = Change(old, UNKNOWN)
                unread.append(name)
        if model.per_row and self._several[model] > 1 and (deltas or unread):
            # Of several rows SQLAlchemy gives each object what onupdate made of the first.
            for name in model.per_row.difference(state.committed_state, unread):
                deltas[name] = Change(noted[name], UNKNOWN)
                unread.append(name)
        return tuple(unread)

    def _read_back(self, done: list[Done]) -> None:
        """Read, in one SELECT per mapper, the values that only the database knows."""
        by_model: dict[Model, dict[tuple[Any, ...], Done]] = {}
        for one in done:
            if one.unread:
                identity = tuple(one.state.dict[name] for name in one.model.identity)
                by_model.setdefault(one.model, {})[identity] = one
        for model, ones in by_model.items():
            names = sorted({name for one in ones.values() for name in one.unread})
            for identity, values in fetch_columns(self._connection(model), model, names, ones):
                complete(ones[identity], values)

    def _run_post_hooks(self, done: list[Done]) -> None:
        plan = self._services.dispatcher.plan
        calls = [
            (hooks, one) for one in done if (hooks := plan(one.model.cls).get(POST[one.operation]))
        ]
        of_flush = plan(object).get(Moment.POST_FLUSH, ())
        if not calls and not of_flush:
            return
        values = WrittenValues(done)
        for hooks, one in calls:
            values.check("the hook of another object", one)
            event = self._post_event(one)
            for hook in hooks:
                call(hook, event, await_hook)
                values.check(f"{hook.name}, at {event.moment},", one)
        values.check("the hook of another object", *done)
        if not of_flush:
            return
        flushed = PostFlush(self._session, tuple(self._post_event(one) for one in done))
        for hook in of_flush:
            call(hook, flushed, await_hook)
            values.check(f"{hook.name}, at {flushed.moment},", *done)

    def _post_event(self, one: Done) -> ChangeEvent:
        return CHANGE_EVENTS[POST[one.operation]](
            one.state.obj(),
            one.changes(),
            one.model.entity,
            one.key,
            session=self._session,
            former_key=one.former_key,
        )

    def _keep_for_later(self, done: list[Done], aftermath: Aftermath) -> None:
        transaction = self._session.get_nested_transaction() or self._session.get_transaction()
        assert transaction is not None  # a flush always runs in one
        wanted = {model for model in {one.model for one in done} if aftermath.wants(model)}
        for one in done if wanted else ():
            if one.model in wanted:
                happened = Happened(
                    one.state.obj(), one.model, one.changes(), one.key, one.former_key
                )
                aftermath.add(transaction, happened)


def _orphans(states: list[State]) -> set[State]:
    """Those that the flush deletes because no parent has them any more."""
    owned = {
        mapper
        for mapper in {state.mapper for state in states}
        if any(base._delete_orphans for base in mapper.iterate_to_root())
    }
    if not owned:
        return set()
    return {one for one in states if one.mapper in owned and one.mapper._is_orphan(one)}


class WrittenValues:
    """What the objects of a flush had when they were written, to tell what is assigned later."""

    def __init__(self, done: list[Done]) -> None:
        self._values: Final = {one.state: dict(one.state.dict) for one in done}

    def check(self, who: str, *done: Done) -> None:
        """Warn of what was assigned to these since, for SQLAlchemy is going to forget it."""
        for one in done:
            known, now = self._values[one.state], one.state.dict
            lost = [
                name
                for name in one.model.fields
                if name in now
                and (name not in known or now[name] is not known[name])
                and name in one.state.committed_state
            ]
            if lost:
                self._values[one.state] = dict(now)
                warn(
                    f"{who} set {', '.join(lost)} of {one.model.entity} {one.key} after it had "
                    "been written, so that will not be saved: set it in a pre hook, or with SQL",
                    LostAssignmentWarning,
                )
