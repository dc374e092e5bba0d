"""One flush: the hooks before it, what it wrote, the hooks after it, and the record of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.orm import Session, UOWTransaction
from sqlalchemy.orm.attributes import instance_state

from lifecycle.changes import Change, ChangeSet, Delta, Operation
from lifecycle.dispatch import Seen, call, run, settle
from lifecycle.errors import HookLoopError, LostAssignmentWarning, warn
from lifecycle.hooks import Hook
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.aftermath import Aftermath, Happened
from lifecycle.mappers.sqlalchemy.awaiting import await_hook
from lifecycle.mappers.sqlalchemy.fetching import fetch_before, fetch_columns
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.outcome import (
    Done,
    as_written,
    complete,
    inserted,
    moves_in_order,
    replay_order,
    turn_into_update,
)
from lifecycle.mappers.sqlalchemy.reading import (
    LiveObject,
    State,
    is_expression,
    is_loaded,
    note,
    old_value,
    removing,
    updated,
    updating,
)
from lifecycle.mappers.sqlalchemy.transactions import Transcript
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

_PENDING: Final = {
    Operation.INSERT: "new",
    Operation.UPDATE: "dirty",
    Operation.DELETE: "deleted",
}
"""Where a session keeps what it is going to write."""

_Hooked: TypeAlias = "tuple[Model | None, tuple[Hook, ...]]"

_NO_HOOKS: Final[_Hooked] = (None, ())


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
        self._fetched: dict[State, dict[str, Any]] = {}
        self._noted: dict[State, dict[str, Any]] = {}
        self._seen: dict[tuple[State, Operation], Seen] = {}
        self._listed: dict[Operation, list[Any]] | None = None

    # --- before ---

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
        for instance in self._pending()[Operation.UPDATE]:
            model = self._models.concerned(type(instance))
            if model is not None:
                self._note_volatile(model, instance_state(instance))

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
        for operation in _PENDING:
            instances = self._pending()[operation]
            hooked = self._hooked(instances, PRE[operation])
            if not hooked:
                continue
            for instance in instances:
                model, hooks = hooked.get(type(instance), _NO_HOOKS)
                if model is not None:
                    event = self._pre_event(model, instance_state(instance), operation)
                    for hook in self._show(hooks, event, instance_state(instance)):
                        self._listed = None  # it may have added, deleted or changed anything
                        yield f"{hook.name} of {event.subject}"

    def _hooked(self, instances: list[Any], moment: Moment) -> dict[type, _Hooked]:
        """The classes among these that have hooks at a moment: asked by class, not by object."""
        plan = self._services.dispatcher.plan
        return {
            cls: (self._models.get(cls), hooks)
            for cls in set(map(type, instances))
            if (hooks := plan(cls).get(moment))
        }

    def _pre_event(
        self, model: Model, state: State, operation: Operation, late: bool = False
    ) -> ChangeEvent:
        live = LiveObject(model, state, operation, self._fetched.get(state, {}))
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

    def late(self, state: State, operation: Operation, hooks: tuple[Hook, ...]) -> None:
        """Run the pre hooks for what only the flush itself has decided.

        That is about an object no hook has seen, or an update of fields that a hook has not seen.
        """
        model = self._models.concerned(state.class_)
        if model is None or not self._hooks_run:
            return
        seen = self._seen.get((state, operation))
        if seen is not None and operation is not Operation.UPDATE:
            return
        if state not in self._fetched and (names := _missing(model, state, operation)):
            self._fetched.update(fetch_before(self._session, model, {state: names}))
        event = self._pre_event(model, state, operation, late=True)
        if seen is not None:
            hooks = tuple(one for one in hooks if event.changes.keys() - seen.get(one, {}).keys())
        if self._show(hooks, event, state) and operation is Operation.UPDATE:
            self._note_volatile(model, state)

    def _count_as_seen(self) -> None:
        """What was done at on_flush is no reason to call the hooks of an object again."""
        for (state, operation), seen in self._seen.items():
            if operation is Operation.UPDATE:
                model = self._models.get(state.class_)
                changes = dict(updating(model, state, self._fetched.get(state, {})))
                seen.update(dict.fromkeys(seen, changes))

    def _pending_events(self) -> Iterator[ChangeEvent]:
        """What is about to be written, of the models anybody cares about."""
        for operation, instance in self._each_pending():
            model = self._models.concerned(type(instance))
            if model is not None:
                event = self._pre_event(model, instance_state(instance), operation)
                if event.changes or operation is not Operation.UPDATE:
                    yield event

    def _pending(self) -> dict[Operation, list[Any]]:
        """What the flush will write, as far as the session knows; it deletes orphans by itself.

        Listed once for as long as no hook has run, for the session works its lists out every time.
        """
        if self._listed is None:
            self._listed = {
                operation: [
                    instance
                    for instance in getattr(self._session, name)
                    if self._will_write(instance_state(instance), operation)
                ]
                for operation, name in _PENDING.items()
            }
        return self._listed

    def _will_write(self, state: State, operation: Operation) -> bool:
        if self._only is not None and state not in self._only:
            return False
        return operation is not Operation.UPDATE or not state.mapper._is_orphan(state)

    def _each_pending(self) -> Iterator[tuple[Operation, Any]]:
        for operation, instances in self._pending().items():
            for instance in instances:
                yield operation, instance

    def _fetch_missing(self) -> None:
        """Read old values that are about to be overwritten or deleted and are not in memory."""
        missing: dict[Model, dict[State, set[str]]] = {}
        for operation, instance in self._each_pending():
            state = instance_state(instance)
            model = self._models.concerned(type(instance))
            if model is None or state in self._fetched:
                continue
            if names := _missing(model, state, operation):
                missing.setdefault(model, {})[state] = names
        for model, states in missing.items():
            self._fetched.update(fetch_before(self._session, model, states))

    def _note_volatile(self, model: Model, state: State) -> None:
        """Keep the old values that will not show after the UPDATE has changed them."""
        names = [
            name
            for name in state.committed_state
            if name in model.fields and is_expression(state.dict.get(name))
        ]
        if names or model.volatile:
            fetched = self._fetched.get(state, {})
            self._noted[state] = {
                name: old_value(state, name, fetched) for name in (*model.volatile, *names)
            }

    # --- after ---

    def after(self, context: UOWTransaction, transcript: Transcript, aftermath: Aftermath) -> None:
        """Run the post hooks on what was written, then record it."""
        done = list(self._done(context))
        self._read_back(done)
        done = [one for one in done if one.deltas]  # an expression may come to what was there
        if self._hooks_run:
            self._run_post_hooks(done)
            self._keep_for_later(done, aftermath)
        if not self._services.suppression.audit:
            self._record(done, transcript)

    def _record(self, done: list[Done], transcript: Transcript) -> None:
        connections: dict[Model, Connection] = {}
        by_connection: dict[Connection, list[Written]] = {}
        for one in done:
            if self._services.recorder.wants(one.model.policy):
                connection = connections.get(one.model) or self._connection(one.model)
                connections[one.model] = connection
                by_connection.setdefault(connection, []).append(as_written(one, connection))
        for connection, written in by_connection.items():
            transcript.write(self._session, connection, written)

    def _connection(self, model: Model) -> Connection:
        return self._session.connection(bind_arguments={"mapper": model.mapper})

    def _done(self, context: UOWTransaction) -> Iterator[Done]:
        """What the flush did to each object, in an order that can be replayed.

        Changes of keys come first, so that a key given up is free for what comes after.
        """
        replaced: dict[tuple[str, str | None], State] = {}
        others: list[tuple[Model, State, bool, bool]] = []
        for state, (is_delete, list_only) in context.states.items():
            model = self._models.concerned(state.class_)
            if model is None:
                continue
            if list_only and state.key is None:
                continue  # new, and not among the objects given to session.flush()
            if is_delete and list_only:
                replaced[model.entity, model.stored_key(state)] = state
            else:
                others.append((model, state, is_delete, list_only))
        done = [
            one
            for model, state, is_delete, list_only in others
            if (one := self._one_done(model, state, is_delete, list_only, replaced)) is not None
        ]
        yield from moves_in_order([one for one in done if one.former_key is not None])
        yield from sorted((one for one in done if one.former_key is None), key=replay_order)

    def _one_done(
        self,
        model: Model,
        state: State,
        is_delete: bool,
        list_only: bool,
        replaced: dict[tuple[str, str | None], State],
    ) -> Done | None:
        fetched = self._fetched.get(state, {})
        key, stored_key = model.key(state), model.stored_key(state)
        if is_delete:
            assert stored_key is not None
            deltas = removing(model, state, fetched)
            return Done(model, state, Operation.DELETE, deltas, (), stored_key, None)
        assert key is not None  # the flush has given it one
        if stored_key is None:
            deltas, unread = inserted(model, state)
            old = replaced.get((model.entity, key))
            if old is None:
                return Done(model, state, Operation.INSERT, deltas, unread, key, None)
            turn_into_update(model, deltas, removing(model, old, self._fetched.get(old, {})))
            return Done(model, state, Operation.UPDATE, deltas, unread, key, None)
        deltas = updated(model, state, fetched)
        unread = () if list_only else self._volatile(model, state, deltas)
        if not deltas and not unread:
            return None
        former = stored_key if stored_key != key else None
        return Done(model, state, Operation.UPDATE, deltas, unread, key, former)

    def _volatile(self, model: Model, state: State, deltas: dict[str, Delta]) -> tuple[str, ...]:
        """Add what the UPDATE changed by itself; returns the fields that have to be read."""
        noted = self._noted.get(state)
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
            ChangeSet(one.deltas, one.operation),
            one.model.entity,
            one.key,
            session=self._session,
            former_key=one.former_key,
        )

    def _keep_for_later(self, done: list[Done], aftermath: Aftermath) -> None:
        transaction = self._session.get_nested_transaction() or self._session.get_transaction()
        assert transaction is not None  # a flush always runs in one
        for one in done:
            if aftermath.wants(one.model):
                changes = ChangeSet(one.deltas, one.operation)
                aftermath.add(
                    transaction,
                    Happened(one.state.obj(), one.model, changes, one.key, one.former_key),
                )


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


def _missing(model: Model, state: State, operation: Operation) -> set[str]:
    if operation is Operation.INSERT:
        return set()
    names = {*model.fields}
    if operation is Operation.UPDATE:
        names &= {*state.committed_state, *model.volatile, *_columns_to_come(model, state)}
    return {name for name in names if not is_loaded(state, name)}


def _columns_to_come(model: Model, state: State) -> Iterator[str]:
    """The columns of relationships that were assigned to."""
    for relationship, columns in model.many_to_one:
        if relationship in state.committed_state:
            for local, _ in columns:
                yield local
