"""From a moment to the hooks that run: compiled once per class, then one loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from copy import deepcopy
from threading import RLock
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias, cast

from lifecycle.bundles import check_behaviours
from lifecycle.changes import Change, Delta, Operation, split_path
from lifecycle.errors import HookDefinitionError
from lifecycle.hooks import Hook, model_hooks, subscribed_hooks
from lifecycle.moments import ChangeEvent, Event, Moment

__all__ = ["Await", "Dispatcher", "Plan", "Seen", "call", "refuse_async", "run", "settle"]

Plan: TypeAlias = Mapping[Moment, tuple[Hook, ...]]
"""The hooks of one class by moment, in the order they run; a moment without hooks is missing."""

Seen: TypeAlias = dict[Hook, Mapping[str, Delta]]
"""The changes of one object as each of its hooks last left them."""

Await: TypeAlias = Callable[[Coroutine[Any, Any, Any], Hook], None]
"""Runs the coroutine of an async hook to its end."""

Source: TypeAlias = Callable[[type], list[Hook]]
"""Hooks of a class that come from neither its methods nor subscribers; may change over time."""


class Dispatcher:
    """Knows every listener, and which hooks a class has at which moment.

    Safe for threads: listeners and plans are replaced, never changed, so a flush that runs while
    another thread subscribes sees the listeners from before or from after, never half of them.
    """

    def __init__(self) -> None:
        self._lock: Final = RLock()  # a source may lead to other classes that become known
        self._listeners: tuple[Hook, ...] = ()
        self._plans: dict[type, Plan] = {}
        self._sources: tuple[Source, ...] = ()
        self._fields: dict[type, Collection[str]] = {}
        self._observers: tuple[Callable[[], None], ...] = ()

    def when_changed(self, observer: Callable[[], None]) -> None:
        """Call this whenever plans are no longer what they were."""
        self._observers = (*self._observers, observer)

    def subscribe(self, listener: Any) -> None:
        """Add a marked function, or an object or class with marked methods.

        Raises ``HookDefinitionError``, and adds nothing, when one of its hooks cannot work.
        """
        hooks = subscribed_hooks(listener)
        with self._lock:
            for hook in hooks:
                for cls, fields in self._fields.items():
                    if hook.concerns(cls) and hook.mark.targets:
                        _check_fields(hook, cls, fields)
            self._listeners = (*self._listeners, *hooks)
        self.forget_plans()

    def add_source(self, source: Source) -> None:
        """Ask this for hooks too, after all others; `forget_plans` when its answer changes."""
        with self._lock:
            self._sources = (*self._sources, source)
        self.forget_plans()

    def forget_plans(self) -> None:
        """Compile every plan anew at its next use."""
        with self._lock:
            self._plans = {}
        for observer in self._observers:
            observer()

    def known(self, cls: type, fields: Collection[str]) -> Plan:
        """Tell of a mapped class and its field names, and get its plan.

        Raises ``HookDefinitionError`` when a hook's condition asks about a field it does not have,
        and ``ConfigurationError`` when a behaviour is about one.
        """
        check_behaviours(cls, fields)
        with self._lock:
            for hook in self._hooks_for(cls):
                if hook.mark.targets or hook not in self._listeners:
                    _check_fields(hook, cls, fields)
            self._fields[cls] = fields
        return self.plan(cls)

    def plan(self, cls: type) -> Plan:
        """The hooks of a class; compiled at first use and after every new subscription.

        Those of moments that no object has are in the plan of every class; ask for ``object``'s.
        """
        plans = self._plans
        try:
            return plans[cls]
        except KeyError:
            # Into the dict taken above: if someone subscribes meanwhile, it is thrown away whole.
            return plans.setdefault(cls, _plan(self._hooks_for(cls)))

    def _hooks_for(self, cls: type) -> list[Hook]:
        hooks = [*model_hooks(cls), *(hook for hook in self._listeners if hook.concerns(cls))]
        for source in self._sources:
            hooks += source(cls)
        return hooks


def _plan(hooks: list[Hook]) -> Plan:
    by_moment: dict[Moment, list[Hook]] = {}
    for hook in hooks:
        by_moment.setdefault(hook.mark.moment, []).append(hook)
    return MappingProxyType(
        {
            moment: tuple(sorted(found, key=lambda hook: -hook.mark.priority))
            for moment, found in by_moment.items()
        }
    )


def _check_fields(hook: Hook, cls: type, fields: Collection[str]) -> None:
    if hook.mark.condition is None:
        return
    for path in hook.mark.condition.fields():
        if split_path(path)[0] not in fields:
            raise HookDefinitionError(
                f"{hook.name}, marked @{hook.mark.moment}, asks about {path!r}, but "
                f"{cls.__qualname__} has no such field: it has {', '.join(sorted(fields))}"
            )


def refuse_async(coroutine: Coroutine[Any, Any, Any], hook: Hook) -> NoReturn:
    """Where nothing can await: raises ``HookDefinitionError``, naming the hook."""
    coroutine.close()
    raise HookDefinitionError(
        f"{hook.name}, marked @{hook.mark.moment}, is async, and nothing can await it here: "
        "async hooks run under an AsyncSession only"
    )


def run(hooks: tuple[Hook, ...], event: Event, await_: Await = refuse_async) -> None:
    """Run hooks for one event, in order; the one hot loop.

    A hook that raises stops the rest; its error goes on with a note that names hook and object.
    """
    try:
        for hook in hooks:
            _call(hook, event, await_)
    except Exception as error:
        _add_note(error, event)
        raise


def call(hook: Hook, event: Event, await_: Await = refuse_async) -> None:
    """Run one hook as `run` does."""
    run((hook,), event, await_)


def settle(
    hooks: tuple[Hook, ...], event: ChangeEvent, seen: Seen, await_: Await = refuse_async
) -> list[Hook]:
    """Run those hooks of a pre moment that have not seen the changes as they are now.

    What one sets shows for the next. A hook has seen the changes as it left them, so it is not
    called again for what it did itself. Returns the hooks that ran.
    """
    changes, ran = event.changes, []
    updates = event.operation is Operation.UPDATE
    read_again = changes.reader()
    read = changes.as_read()
    now = _known(read, seen)
    try:
        for hook in hooks:
            if updates and not read:
                break
            if hook in seen and ((known := seen[hook]) is now or known == now):
                continue
            if _call(hook, event, await_):
                ran.append(hook)
                found = read_again()
                if found is not read:
                    read = changes.refresh()
                    if read != now:
                        now = _kept(read)
            seen[hook] = now
    except Exception as error:
        _add_note(error, event)
        raise
    return ran


def _call(hook: Hook, event: Event, await_: Await) -> bool:
    """Call one hook unless its condition is against it; returns whether it was called."""
    event.hook = hook.name
    condition = hook.mark.condition
    if condition is not None and not condition.holds(cast("ChangeEvent", event).changes):
        return False
    result = hook.call(event)
    if hook.is_async:
        await_(result, hook)
    return True


def _add_note(error: Exception, event: Event) -> None:
    error.add_note(f"raised by the hook {event.hook} at {event.moment} of {event.subject}")


def _known(changes: Mapping[str, Delta], seen: Seen) -> Mapping[str, Delta]:
    """The changes as a hook has kept them, so that ``is`` tells who has seen them; else a copy."""
    for known in seen.values():
        if known == changes:
            return known
    return _kept(changes)


def _kept(changes: Mapping[str, Delta]) -> Mapping[str, Delta]:
    """The changes with new containers of their own, which a later hook may change in place."""
    for delta in changes.values():
        if isinstance(delta, Change) and isinstance(delta.new, _CONTAINERS):
            return {path: _copied(delta) for path, delta in changes.items()}
    return changes


def _copied(delta: Delta) -> Delta:
    if isinstance(delta, Change) and isinstance(delta.new, _CONTAINERS):
        return Change(delta.old, deepcopy(delta.new))
    return delta


_CONTAINERS: Final = (dict, list, set)
