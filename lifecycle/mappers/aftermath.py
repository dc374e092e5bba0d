"""What hooks are told once it is known how a transaction ended: one event for each object."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from lifecycle.changes import ChangeSet, Operation
from lifecycle.dispatch import Await, call, refuse_async
from lifecycle.errors import ConflictError
from lifecycle.mappers.base import Services
from lifecycle.moments import CHANGE_EVENTS, ChangeEvent, Moment

__all__ = ["Happened", "merged", "tell", "wants"]

_log: Final = logging.getLogger("lifecycle")


class Happened(NamedTuple):
    """What one flush or document write did to an object that has hooks for after the transaction.

    It holds the object, so that it cannot vanish before its hooks have run. ``model`` has its class
    as ``cls`` and its name in the log as ``entity``.
    """

    instance: Any
    model: Any
    changes: ChangeSet
    key: str
    former_key: str | None = None


def wants(services: Services, cls: type) -> bool:
    """Whether a class has hooks for after the transaction."""
    plan = services.dispatcher.plan(cls)
    return Moment.POST_COMMIT in plan or Moment.POST_ROLLBACK in plan


def tell(
    services: Services,
    happened: Iterable[Happened],
    moment: Moment,
    session: Any = None,
    await_: Await = refuse_async,
) -> list[Exception]:
    """Call the hooks of each; they are isolated from each other. Returns their errors, logged."""
    errors = []
    for one in happened:
        event: ChangeEvent = CHANGE_EVENTS[moment](
            one.instance, one.changes, one.model.entity, one.key, session, one.former_key
        )
        for hook in services.dispatcher.plan(one.model.cls).get(moment, ()):
            try:
                call(hook, event, await_)
            except Exception as error:
                _log.exception("the hook %s failed at %s of %s", event.hook, moment, event.subject)
                errors.append(error)
    return errors


def merged(happened: Iterable[Happened]) -> Iterator[Happened]:
    """One for each object, from what it was before the first to what it is after the last."""
    found: dict[tuple[str, str], Happened] = {}
    displaced: list[Happened] = []
    for one in happened:
        before = found.pop((one.model.entity, one.former_key or one.key), None)
        if before is not None:
            try:
                one = _after(before, one)
            except ConflictError:  # something between the two went past all hooks
                displaced.append(before)
        if (one.model.entity, one.key) in found:  # deleted, and another has moved to its key
            displaced.append(found.pop((one.model.entity, one.key)))
        found[one.model.entity, one.key] = one
    for one in (*displaced, *found.values()):
        if net := one.changes.net().freeze():
            yield one._replace(changes=net)


def _after(before: Happened, one: Happened) -> Happened:
    """Both as one, with the key it had before both, if it had another one."""
    changes = before.changes.then(one.changes)
    former = before.former_key or one.former_key
    if changes.operation is Operation.INSERT or former == one.key:
        former = None
    return one._replace(changes=changes, former_key=former)
