"""The hooks around one write of one document, in the order of a flush: a write is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lifecycle.changes import ChangeSet, Live, Operation
from lifecycle.dispatch import Seen, run, settle
from lifecycle.hooks import Hook
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


class Hooking:
    """The hooks one Lifecycle runs around a document's save or delete.

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
        aftermath: Aftermath,
        stored: Callable[[], StoredDocument],
    ) -> None:
        self._model = model
        self._document = document
        self._operation = operation
        self._image = image
        self._dispatcher = services.dispatcher
        self._runs = not services.suppression.hooks
        self._aftermath = aftermath
        self._stored = stored
        self._seen: Seen = {}
        self._live: Callable[[DocumentModel, Image | None], Live] = self._of_document

    def _of_document(self, model: DocumentModel, image: Image | None) -> Live:
        return LiveDocument(model, self._document, self._operation, image)

    def see(self, live: Callable[[DocumentModel, Image | None], Live]) -> None:
        """Let pre hooks see through this what is about to be written, not through the document."""
        self._live = live

    @property
    def wanted(self) -> bool:
        """Whether there may be a hook to run."""
        return self._runs and bool(self._dispatcher.plan(self._model.cls))

    # --- before ---

    def begin(self) -> None:
        """Run the hooks of a flush that begins."""
        if hooks := self._hooks(Moment.PRE_FLUSH, object):
            run(hooks, PreFlush(None, document=self._document))

    def settle(self, *, late: bool = False) -> list[str]:
        """Run the pre hooks that have not seen the changes as they are; returns which ran."""
        hooks = self._hooks(PRE[self._operation])
        if not hooks:
            return []
        event = self._pre_event(late=late)
        if late:
            self._excuse_generated(event.changes)
        return [f"{hook.name} of {event.subject}" for hook in settle(hooks, event, self._seen)]

    def at_rest(self) -> None:
        """Run the hooks of a flush that is about to write; no other hook is called for theirs."""
        hooks = self._hooks(Moment.ON_FLUSH, object)
        if not hooks:
            return
        event = self._pre_event()
        is_write = event.changes or self._operation is not Operation.UPDATE
        changesets = (event,) if is_write else ()
        run(hooks, OnFlush(None, changesets, document=self._document))
        self._seen.update(dict.fromkeys(self._seen, event.changes.refresh()))

    def _hooks(self, moment: Moment, cls: type | None = None) -> tuple[Hook, ...]:
        return self._dispatcher.plan(cls or self._model.cls).get(moment, ()) if self._runs else ()

    def _pre_event(self, *, late: bool = False) -> ChangeEvent:
        live = self._live(self._model, self._image())
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
            hooks = self._hooks(POST[one.operation])
            if hooks and (event := self._post_event(one)):
                run(hooks, event)
        if hooks := self._hooks(Moment.POST_FLUSH, object):
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
