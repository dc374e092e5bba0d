"""The hooks around one write of one document, in the order of a flush: a write is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, Final

from lifecycle.changes import ChangeSet, Live, Operation
from lifecycle.dispatch import Plan, Seen, run, settle
from lifecycle.mappers.base import Services
from lifecycle.mappers.mongoengine.aftermath import Aftermath
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.images import Image
from lifecycle.mappers.mongoengine.reading import LiveDocument
from lifecycle.mappers.mongoengine.sending import Sent
from lifecycle.mappers.mongoengine.stored import StoredDocument
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

__all__ = ["Hooking"]

_NO_HOOKS: Final[Plan] = MappingProxyType({})


class Hooking:
    """The hooks one Lifecycle runs around a document's save or delete.

    ``operation`` is what it looks like beforehand. Only the database decides: a save of a document
    with a key of its own may turn out to be an update, and one of a document that someone else
    has deleted an insert. It is the hooks that there are when it begins.
    """

    def __init__(
        self,
        model: DocumentModel,
        document: Any,
        operation: Operation,
        image: Callable[[], Image | None],
        services: Services,
        aftermath: Aftermath,
        stored: Callable[[], StoredDocument],
    ) -> None:
        self._model = model
        self._document = document
        self._operation = operation
        self._image = image
        plan = services.dispatcher.plan
        self._runs = not services.suppression.hooks
        self._plan = plan(model.cls) if self._runs else _NO_HOOKS
        self._flush_plan = plan(object) if self._runs else _NO_HOOKS
        self._aftermath = aftermath
        self._stored = stored
        self._seen: Seen = {}
        self._see: Callable[[DocumentModel, Image | None], Live] | None = None

    def see(self, live: Callable[[DocumentModel, Image | None], Live]) -> None:
        """Let pre hooks see through this what is about to be written, not through the document."""
        self._see = live

    @property
    def wanted(self) -> bool:
        """Whether there may be a hook to run."""
        return bool(self._plan)

    # --- before ---

    def begin(self) -> None:
        """Run the hooks of a flush that begins."""
        if hooks := self._flush_plan.get(Moment.PRE_FLUSH):
            run(hooks, PreFlush(None, document=self._document))

    def settle(self, *, late: bool = False) -> list[str]:
        """Run the pre hooks that have not seen the changes as they are; returns which ran."""
        hooks = self._plan.get(PRE[self._operation])
        if not hooks:
            return []
        event = self._pre_event(late=late)
        if late:
            self._excuse_generated(event.changes)
        return [f"{hook.name} of {event.subject}" for hook in settle(hooks, event, self._seen)]

    def at_rest(self) -> None:
        """Run the hooks of a flush that is about to write; no other hook is called for theirs."""
        hooks = self._flush_plan.get(Moment.ON_FLUSH)
        if not hooks:
            return
        event = self._pre_event()
        is_write = event.changes or self._operation is not Operation.UPDATE
        changesets = (event,) if is_write else ()
        run(hooks, OnFlush(None, changesets, document=self._document))
        self._seen.update(dict.fromkeys(self._seen, event.changes.refresh()))

    def _pre_event(self, *, late: bool = False) -> ChangeEvent:
        model, image = self._model, self._image()
        live: Live = (
            LiveDocument(model, self._document, self._operation, image)
            if self._see is None
            else self._see(model, image)
        )
        event = CHANGE_EVENTS[PRE[self._operation]](
            self._document,
            ChangeSet(operation=self._operation, live=live),
            self._model.entity,
            self._model.key_of(self._document),
            late=late,
        )
        if self._operation is Operation.UPDATE:
            event.keeper = lambda _: self._stored()
        return event

    def _excuse_generated(self, changes: ChangeSet) -> None:
        """What mongoengine generates by itself meanwhile is no reason to call a hook again."""
        generated = {name: changes[name] for name in self._model.generated if name in changes}
        if generated:
            for hook, seen in self._seen.items():
                self._seen[hook] = {**seen, **generated}

    # --- after ---

    def tell(self, sent: Sequence[Sent]) -> None:
        """Run the post hooks for what was written."""
        for one in sent:
            hooks = self._plan.get(POST[one.operation])
            if hooks and (event := self._post_event(one)):
                run(hooks, event)
        if hooks := self._flush_plan.get(Moment.POST_FLUSH):
            changesets = tuple(self._post_events(sent))
            run(hooks, PostFlush(None, changesets, document=self._document))

    def _post_events(self, sent: Sequence[Sent]) -> Iterator[ChangeEvent]:
        for one in sent:
            if event := self._post_event(one):
                yield event

    def _post_event(self, one: Sent) -> ChangeEvent | None:
        changes = self._model.python(one.whole(), one.after, one.operation)
        if not changes:
            return None
        return CHANGE_EVENTS[POST[one.operation]](
            self._document, changes, self._model.entity, self._model.stored_key(one.id)
        )

    def afterwards(self, sent: Sequence[Sent], *, failed: bool) -> None:
        """Run the hooks for after the transaction, when it is over."""
        if self._runs:
            self._aftermath.written(self._model, self._document, sent, failed=failed)
