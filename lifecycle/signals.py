"""The moments as blinker signals, for code that already speaks blinker."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from blinker import Signal

from lifecycle.dispatch import Dispatcher
from lifecycle.errors import HookDefinitionError
from lifecycle.hooks import Hook, Mark
from lifecycle.moments import Moment, ObjectEvent

__all__ = ["Signals"]


class Signals:
    """One signal for each moment that objects have, as in ``signals.pre_update.connect(f)``.

    The sender is the object's class; a receiver is called as ``f(sender, event=event)``.
    ``connect(f, sender=Order)`` is for orders, and for objects of classes that inherit from it.
    Receivers run after all other hooks, in no order of their own, and blinker keeps them weakly.
    What they may do and what raising does is as for every hook of the moment.
    """

    pre_persist: Signal
    pre_update: Signal
    pre_remove: Signal
    post_persist: Signal
    post_update: Signal
    post_remove: Signal
    post_commit: Signal
    post_rollback: Signal
    pre_load: Signal
    post_load: Signal

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher: Final = dispatcher
        self._signals: Final = {moment: Signal(f"{moment} of an object") for moment in _MOMENTS}
        for moment, signal in self._signals.items():
            setattr(self, str(moment), signal)
            # Strongly: a bound method would go at once.
            signal.receiver_connected.connect(self._connected, weak=False)
            signal.receiver_disconnected.connect(self._changed, weak=False)
        dispatcher.add_source(self._hooks_of)

    def _connected(self, signal: Signal, *, receiver: Any, sender: Any, weak: bool) -> None:
        if inspect.iscoroutinefunction(receiver):
            signal.disconnect(receiver, sender)
            raise HookDefinitionError(
                f"{receiver!r} is async, and blinker would not await it: subscribe it as a hook"
            )
        self._changed(signal)

    def _changed(self, signal: Signal, **details: Any) -> None:
        self._dispatcher.forget_plans()

    def _hooks_of(self, cls: type) -> list[Hook]:
        return [
            _hook(moment, signal)
            for moment, signal in self._signals.items()
            if any(_receivers(signal, cls))
        ]


_MOMENTS: Final = (
    Moment.PRE_PERSIST,
    Moment.PRE_UPDATE,
    Moment.PRE_REMOVE,
    Moment.POST_PERSIST,
    Moment.POST_UPDATE,
    Moment.POST_REMOVE,
    Moment.POST_COMMIT,
    Moment.POST_ROLLBACK,
    Moment.PRE_LOAD,
    Moment.POST_LOAD,
)

_LAST: Final = -(2**31)
"""The priority of signals: after every hook."""


def _hook(moment: Moment, signal: Signal) -> Hook:
    def send(event: ObjectEvent) -> None:
        sender = type(event.instance)
        for receiver in _receivers(signal, sender):
            event.hook = getattr(receiver, "__qualname__", repr(receiver))
            receiver(sender, event=event)

    return Hook(f"signals.{moment}", Mark(moment, priority=_LAST), send)


def _receivers(signal: Signal, cls: type) -> Iterator[Any]:
    """Those that want a class, or one it inherits from, each once."""
    met: list[Any] = []
    for sender in cls.__mro__:
        for receiver in signal.receivers_for(sender):
            if receiver not in met:
                met.append(receiver)
                yield receiver
