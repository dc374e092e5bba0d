"""The hooks around loading, on classes that have some and on no others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final
from weakref import WeakSet, ref

from sqlalchemy import event
from sqlalchemy.orm import QueryContext, Session

from lifecycle.dispatch import run
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.awaiting import await_hook
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import State, is_noted
from lifecycle.mappers.sqlalchemy.stored import StoredRow
from lifecycle.moments import Moment, PostLoad, PreLoad

__all__ = ["Loading"]


class Loading:
    """Listens to the loads of classes with load hooks, in the sessions that are installed.

    ``pre_load`` runs before every other listener, so that mutable and composite attributes are made
    of the data as the hooks leave it. ``post_load`` runs when the rows at hand are all objects, and
    before the query hands any of them out; there, and not sooner, SQLAlchemy notes assignments.
    """

    def __init__(
        self,
        services: Services,
        sees: Callable[[Session], bool],
        doubt: Callable[[Session, State, bool], None],
    ) -> None:
        self._services = services
        self._sees = sees
        self._doubt = doubt
        self._models: dict[type, Model] = {}
        self._watched: Final[WeakSet[type]] = WeakSet()
        self._listeners: Final = _listeners(ref(self))

    def watch(self, model: Model) -> None:
        """Listen to a class from now on, if it has load hooks and is not listened to yet."""
        plan = self._services.dispatcher.plan(model.cls)
        if model.cls in self._watched or not {Moment.PRE_LOAD, Moment.POST_LOAD} & plan.keys():
            return
        self._models[model.cls] = model
        for name, listener in self._listeners:
            event.listen(
                model.cls, name, listener, raw=True, insert=True, restore_load_context=True
            )
        self._watched.add(model.cls)

    def forget(self) -> None:
        """Listen to no class any more."""
        for cls in list(self._watched):
            for name, listener in self._listeners:
                if event.contains(cls, name, listener):  # a registry disposed of takes them along
                    event.remove(cls, name, listener)
        self._watched.clear()
        self._models.clear()

    def run(
        self, state: State, context: QueryContext | None, names: Collection[str] | None
    ) -> None:
        """Run the load hooks of an object; ``names`` are the fields it got, ``None`` for all."""
        session = state.session
        model = self._models.get(state.class_)
        if session is None or model is None or not self._sees(session):
            return
        if self._services.suppression.hooks:
            return
        before = {
            name: state.dict[name]
            for name in model.fields
            if name in state.dict and (names is None or name in names)
        }
        if names is not None and not before:
            return  # met again by a query, with nothing to fill but relationships
        plan = self._services.dispatcher.plan(model.cls)
        if hooks := plan.get(Moment.PRE_LOAD):
            told = PreLoad(
                state.obj(),
                dict(before),
                model.entity,
                model.stored_key(state),
                session,
                partial=len(before) < len(model.fields),
                covers=before.__contains__,
            )
            told.keeper = lambda _: StoredRow(session, model, state)
            run(hooks, told, await_hook)
            data = told.data if told.data.keys() >= before.keys() else _without(told.data, before)
            for name, value in data.items():
                if name not in before or value is not before[name]:
                    state.dict[name] = value
                    self._doubt(session, state, is_noted(state))
        if Moment.POST_LOAD in plan:
            self._later(state, model, session, context)

    def _later(
        self, state: State, model: Model, session: Session, context: QueryContext | None
    ) -> None:
        """Run the post hooks after the rows at hand, as SQLAlchemy's own eager loaders run."""
        paths = getattr(context, "post_load_paths", None)
        if paths is None:
            self.tell(state, model, session)
            return
        pending = paths.get(self)
        if pending is None:
            pending = paths[self] = _AfterRows(self)
        pending.add(state, model, session)

    def tell(self, state: State, model: Model, session: Session) -> None:
        """Run the post hooks of one object."""
        hooks = self._services.dispatcher.plan(model.cls).get(Moment.POST_LOAD, ())
        instance = state.obj()
        if instance is not None:
            told = PostLoad(instance, model.entity, model.stored_key(state), session)
            told.keeper = lambda _: StoredRow(session, model, state)
            run(hooks, told, await_hook)


def _without(data: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The data, with ``None`` for what a hook has taken away."""
    return dict.fromkeys(before) | data


class _AfterRows:
    """What SQLAlchemy calls after the rows of a query, or of one of its chunks."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._loaded: dict[State, tuple[Any, Model, Session]] = {}

    def add(self, state: State, model: Model, session: Session) -> None:
        """Remember an object of these rows, and keep it alive until its hooks have run."""
        self._loaded[state] = (state.obj(), model, session)

    def invoke(self, context: QueryContext, path: object) -> None:
        """Called by SQLAlchemy, once for the rows at hand."""
        loaded, self._loaded = self._loaded, {}
        for state, (_, model, session) in loaded.items():
            self._loading.tell(state, model, session)


def _listeners(loading: ref[Loading]) -> tuple[tuple[str, Callable[..., None]], ...]:
    """What to listen to on a class; it keeps no Lifecycle from going, as the class stays."""

    def loaded(state: State, context: QueryContext | None) -> None:
        alive = loading()
        if alive is not None and state.key is not None:  # else a new one that is being merged
            alive.run(state, context, None)

    def refreshed(
        state: State, context: QueryContext | None, names: Collection[str] | None
    ) -> None:
        alive = loading()
        if alive is not None:
            alive.run(state, context, names)

    return ("load", loaded), ("refresh", refreshed)
