"""One flush: the hooks before it, what it wrote, the hooks after it, and the record of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.orm import Session, UOWTransaction

from lifecycle.dispatch import call
from lifecycle.errors import LostAssignmentWarning, warn
from lifecycle.mappers.aftermath import Happened
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.aftermath import Aftermath
from lifecycle.mappers.sqlalchemy.altered import tell_altered
from lifecycle.mappers.sqlalchemy.awaiting import await_hook
from lifecycle.mappers.sqlalchemy.cascades import after_flush
from lifecycle.mappers.sqlalchemy.doomed import committed_already
from lifecycle.mappers.sqlalchemy.fetching import connection_of, is_sharded
from lifecycle.mappers.sqlalchemy.midst import with_others
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.old_values import Doubts, OldValues
from lifecycle.mappers.sqlalchemy.outcome import Done, DoneToMany
from lifecycle.mappers.sqlalchemy.outcomes import Outcomes
from lifecycle.mappers.sqlalchemy.reading import State
from lifecycle.mappers.sqlalchemy.removing import Removing
from lifecycle.mappers.sqlalchemy.settling import Settling
from lifecycle.mappers.sqlalchemy.telling import Telling
from lifecycle.moments import CHANGE_EVENTS, POST, ChangeEvent, Moment, PostFlush
from lifecycle.written import Told, Written, in_full

__all__ = ["Flush"]

Record: TypeAlias = "Callable[[Connection, list[Told]], None]"

_AFTER: Final = frozenset(
    {*POST.values(), Moment.POST_FLUSH, Moment.POST_COMMIT, Moment.POST_ROLLBACK}
)
"""The moments after an object was written."""


class Flush:
    """What is known about one flush of one session, from `before` to `after`."""

    def __init__(
        self,
        session: Session,
        context: UOWTransaction,
        models: Models,
        services: Services,
        only: Iterable[Any] | None = None,
        doubted: Doubts | None = None,
        removing: Removing | None = None,
    ) -> None:
        self._session = session
        self._services = services
        self._hooks_run = not services.suppression.hooks
        old = OldValues(session, models, doubted or Doubts(strict=services.strict))
        self._outcomes: Final = Outcomes(session, models, old)
        self._settling: Final = Settling(session, models, services, old, only, removing)
        self._context = context
        self.before: Final = self._settling.before
        self.late: Final = self._settling.late
        self.settled: Final = self._settling.settled
        self.marked: Final = self._settling.marked
        self.assigned: Final = self._settling.assigned
        self.caused: Final[dict[Connection, list[Written]]] = {}
        """What the database did by itself meanwhile, through foreign keys."""
        self.meanwhile: Final[dict[Connection, list[Written]]] = {}
        """What statements of late hooks and other listeners did in the middle of it."""

    @property
    def has_begun(self) -> bool:
        """Whether the unit of work, or a listener in its midst, is at it.

        A flush that turns out to have nothing to write ends before it has a transaction, and
        nobody is told.
        """
        return hasattr(self._context, "transaction")

    def writes(self, state: State) -> bool:
        """Whether an object is among those that the unit of work is about to write."""
        return state in self._context.states

    @property
    def is_writing(self) -> bool:
        """Whether the unit of work is at it, and no late hook is running meanwhile."""
        return self.has_begun and not self._settling.in_hooks

    def after(self, record: Record, aftermath: Aftermath) -> None:
        """Record what was written, for each connection, then run the post hooks.

        In this order, for the hooks may write to the same rows.
        """
        is_recorded = not self._services.suppression.audit
        is_heard = self._hooks_run and self._is_heard()
        in_columns = is_recorded and not (
            is_heard or self._settling.causes or is_sharded(self._session)
        )
        done = self._outcomes.of(self._context, in_columns=in_columns)
        if is_recorded:
            self._record(done, record)
        if is_heard:
            one_by_one = [one for one in done if isinstance(one, Done)]
            self._run_post_hooks(one_by_one)
            self._keep_for_later(one_by_one, aftermath)

    def _is_heard(self) -> bool:
        """Whether any hook is to be told of what was written."""
        plan = self._services.dispatcher.plan
        classes = {state.class_ for state in self._context.states}
        return any(not _AFTER.isdisjoint(plan(cls)) for cls in (object, *classes))

    def _run_post_hooks(self, done: list[Done]) -> None:
        plan = self._services.dispatcher.plan
        hooked = {
            model: found for model in {one.model for one in done} if (found := plan(model.cls))
        }
        calls = [
            (hooks, one)
            for one in (done if hooked else ())
            if (hooks := hooked.get(one.model, {}).get(POST[one.operation]))
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

    def _record(self, done: Iterable[Done | DoneToMany], record: Record) -> None:
        connections: dict[Model, Connection] = {}
        try:
            self._record_through(connections, done, record)
            for model, connection in connections.items():
                if model.keys_in_doubt:
                    self._tell_altered_keys(model, connection)
        except Exception as error:
            if any(one._is_autocommit_isolation() for one in connections.values()):
                entities = ", ".join(sorted({model.entity for model in connections}))
                raise committed_already(f"the flush of {entities}", error) from error
            raise

    def _tell_altered_keys(self, model: Model, connection: Connection) -> None:
        """Warn of objects that were given keys which the database has turned into others."""
        new, names = self._session._new, model.identity_names
        given = (
            state.dict
            for state in self._context.states
            if state.class_ is model.cls
            and (state in new or not names.isdisjoint(state.committed_state))
        )
        gaps, columns = self._services.gaps, model.keys_in_doubt
        tell_altered(model.entity, columns, given, connection.dialect, gaps)

    def _record_through(
        self,
        connections: dict[Model, Connection],
        done: Iterable[Done | DoneToMany],
        record: Record,
    ) -> None:
        by_connection: dict[Connection, list[Told]] = {}
        causes = self._settling.causes
        wanted: dict[Any, tuple[Telling, list[Told]] | None] = {}
        sharded = is_sharded(self._session)
        for one in done:
            shard: Any = one.state.identity_token if sharded else None
            place: Any = (one.model, shard) if sharded else one.model
            if place not in wanted:
                wanted[place] = None
                if self._services.recorder.wants(one.model.policy):
                    connection = connection_of(self._session, one.model, shard)
                    connections[one.model] = connection
                    found = by_connection.setdefault(connection, [])
                    telling = Telling(one.model, connection.dialect, self._services.faults)
                    wanted[place] = telling, found
            at = wanted[place]
            if at is None:
                continue
            telling, found = at
            cause = causes.get(one.state) if causes else None
            if isinstance(one, DoneToMany):
                found.append(telling.batch(one.operation, one.keys, one.parts))
            elif cause is None:
                found.append(telling.told(one))
            else:
                written = telling.in_full(one)
                written.cause = cause
                found.append(written)
        for connection, caused in self.caused.items():
            own = list(in_full(by_connection.get(connection, ())))
            by_connection[connection] = [*after_flush(own, caused)]
        for connection, others in self.meanwhile.items():
            own = list(in_full(by_connection.get(connection, ())))
            by_connection[connection] = [*with_others(own, others)]
        for connection, found in by_connection.items():
            record(connection, found)


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
