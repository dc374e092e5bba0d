"""One write of one document: the hooks before it, the hooks after it, and the record of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from lifecycle.changes import ChangeSet, Operation
from lifecycle.dispatch import Seen, run, settle
from lifecycle.errors import HookLoopError, RecordingError, StoreError
from lifecycle.faults import attempted_label
from lifecycle.mappers.base import Services
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.images import Image
from lifecycle.mappers.mongoengine.reading import LiveDocument
from lifecycle.mappers.mongoengine.sending import Sent
from lifecycle.moments import CHANGE_EVENTS, POST, PRE
from lifecycle.written import Written

__all__ = ["Writing", "carried_out"]

PASSES: Final = 100
"""How often the hooks of one write may be gone over before they count as a loop."""


class Listening(Protocol):
    """What listens to the collection: afterwards it holds what was sent."""

    sent: list[Sent]


class Writing:
    """A document's save or delete, as one Lifecycle sees it.

    ``operation`` is what it looks like beforehand. Only the database decides: a save of a document
    with a key of its own may turn out to be an update, and one of a document that someone else
    has deleted an insert.
    """

    def __init__(
        self,
        model: DocumentModel,
        document: Any,
        operation: Operation,
        image: Callable[[], Image | None],
        services: Services,
    ) -> None:
        self._model = model
        self._document = document
        self._operation = operation
        self._image = image
        self._services = services
        self._seen: Seen = {}
        self._label: tuple[str | None, str | None] = (None, None)
        if operation is Operation.DELETE:  # afterwards it may be too late to ask
            self._label = self._labelled(model.key_of(document) or "")

    def settle(self) -> list[str]:
        """Run the pre hooks that have not seen the changes as they are; returns which ran."""
        hooks = self._services.dispatcher.plan(self._model.cls).get(PRE[self._operation])
        if not hooks:
            return []
        live = LiveDocument(self._model, self._document, self._operation, self._image())
        event = CHANGE_EVENTS[PRE[self._operation]](
            self._document,
            ChangeSet(operation=self._operation, live=live),
            self._model.entity,
            self._model.key_of(self._document),
        )
        return [f"{hook.name} of {event.subject}" for hook in settle(hooks, event, self._seen)]

    def tell(self, sent: Sequence[Sent]) -> None:
        """Run the post hooks for what was written."""
        plan = self._services.dispatcher.plan(self._model.cls)
        for one in sent:
            hooks = plan.get(POST[one.operation])
            changes = self._model.python(one.whole(), one.after, one.operation) if hooks else None
            if hooks and changes:
                key = self._model.stored_key(one.id)
                event = CHANGE_EVENTS[POST[one.operation]]
                run(hooks, event(self._document, changes, self._model.entity, key))

    def record(self, sent: Sequence[Sent]) -> None:
        """Record what was written.

        Raises ``RecordingError``, or ``StoreError``, saying that the document has been written.
        """
        if not sent or not self._services.recorder.wants(self._model.policy):
            return
        try:
            self._services.recorder.open().write([self._written(one) for one in sent])
        except Exception as error:
            kind = StoreError if isinstance(error, StoreError) else RecordingError
            keys = ", ".join(self._model.stored_key(one.id) for one in sent)
            raise kind(
                f"{self._model.entity} {keys} has been written ({sent[-1].operation}), but not "
                f"recorded: {error}. The log lacks this change: put the cause right, then note "
                "the change by hand or write the document again"
            ) from error

    def _written(self, one: Sent) -> Written:
        model = self._model
        key = model.stored_key(one.id)
        label, error = self._label
        if one.operation is not Operation.DELETE:
            label, error = self._labelled(key)
        return Written(
            entity=model.entity,
            key=key,
            changes=ChangeSet(model.logged(one.changes, one.after), one.operation),
            policy=model.policy,
            label=label,
            error=error,
        )

    def _labelled(self, key: str) -> tuple[str | None, str | None]:
        """The document's label, and what went wrong with it."""
        found: dict[str, str] = {}
        label = attempted_label(found, self._model.policy, self._document)
        return label, self._services.faults.settle(self._model.entity, key, found)


def carried_out(writings: Sequence[Writing], listening: Listening, write: Callable[[], Any]) -> Any:
    """Make a write with its hooks before and after, and record it; returns what it returned.

    Once something has been written it is recorded, even if a hook or mongoengine then raises.
    """
    _settle(writings)
    try:
        result = write()
        for writing in writings:
            writing.tell(listening.sent)
        return result
    finally:
        _record(writings, listening.sent)


def _record(writings: Sequence[Writing], sent: Sequence[Sent]) -> None:
    """Record it with each Lifecycle, also when another one's store fails."""
    if writings:
        try:
            writings[0].record(sent)
        finally:
            _record(writings[1:], sent)


def _settle(writings: Sequence[Writing]) -> None:
    for _ in range(PASSES):
        ran = [hook for writing in writings for hook in writing.settle()]
        if not ran:
            return
    raise HookLoopError(
        f"after {PASSES} passes these hooks still change what others have seen: "
        f"{'; '.join(sorted(set(ran)))}. Make them come to the same result when called again"
    )
