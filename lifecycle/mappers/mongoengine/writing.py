"""One write of one document: the hooks before it, the hooks after it, and the record of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

from lifecycle.changes import ChangeSet, Operation
from lifecycle.errors import HookLoopError, RecordingError, StoreError
from lifecycle.faults import attempted_label
from lifecycle.mappers.base import Services, Writer
from lifecycle.mappers.mongoengine.asking import leaves_doubt
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.hooking import Hooking
from lifecycle.mappers.mongoengine.sending import Announce, Sent
from lifecycle.mappers.mongoengine.tracing import trace_of
from lifecycle.written import Written

__all__ = ["Writing", "afterwards", "carried_out", "prepared", "settled"]

PASSES: Final = 100
"""How often the hooks of one write may be gone over before they count as a loop."""


class Listening(Protocol):
    """What listens to the collection: afterwards it holds what was sent."""

    sent: list[Sent]
    announce: Announce | None
    written: Callable[[], None] | None


class Writing:
    """A document's save or delete, as one Lifecycle sees it.

    ``cause`` is why it is written, when nobody asked for it. ``records`` says that this makes the
    records, and nobody else.
    """

    def __init__(
        self,
        model: DocumentModel,
        document: Any,
        operation: Operation,
        hooking: Hooking,
        services: Services,
    ) -> None:
        self.hooking: Final = hooking
        self._model = model
        self._document = document
        self._services = services
        self.cause: str | None = None
        self.records = True
        self._writer: Writer | None = None
        self._intended: list[tuple[Sent, Written]] = []
        self._told = 0
        self._failure: Exception | None = None
        self._label: tuple[str | None, str | None] = (None, None)
        if operation is Operation.DELETE:  # afterwards it may be too late to ask
            self._label = self._labelled(model.key_of(document) or "")

    def subject(self) -> str:
        """The document in words: its entity and key."""
        return f"{self._model.entity} {self._model.key_of(self._document)}"

    @property
    def strict(self) -> bool:
        """Whether old values have to come from the write itself."""
        return self._services.strict and self._recorded

    @property
    def intends(self) -> bool:
        """Whether the log is to be told before the write."""
        return self._recorded and self._services.recorder.durability == "intent"

    @property
    def _recorded(self) -> bool:
        if not self.records or self._services.suppression.audit:
            return False
        return self._services.recorder.wants(self._model.policy)

    def intend(self, sent: Sent, collection: Any) -> None:
        """Tell the log what is about to be written.

        Raises ``RecordingError``, or ``StoreError``, and then nothing is written.
        """
        model = self._model
        if self._writer is None:
            self._writer = self._services.recorder.open()
        try:
            written = self._written(sent)
            names = model.cls._reverse_db_field_map
            trace = trace_of(sent.physical or sent, collection, model.policy, names)
            self._writer.intend([written], [trace])
        except Exception as error:
            kind = type(error) if isinstance(error, StoreError) else RecordingError
            raise kind(
                f"{model.entity} {model.stored_key(sent.id)} has not been written "
                f"({sent.operation}), for it could not be recorded: {error}"
            ) from error
        self._intended.append((sent, written))

    def record(self, sent: Sequence[Sent]) -> None:
        """Record what has been written since this was last called.

        What goes wrong `close` raises, once mongoengine has ended the save too: for it is written.
        """
        new, self._told = sent[self._told :], len(sent)
        if not new or not self._recorded:
            return
        try:
            self._record(new)
        except Exception as error:
            self._failure = self._failure or error

    def _record(self, sent: Sequence[Sent]) -> None:
        writer = self._writer or self._services.recorder.open()
        try:
            writer.write([self._written(one) for one in sent])
        except Exception as error:
            kind = StoreError if isinstance(error, StoreError) else RecordingError
            keys = ", ".join(self._model.stored_key(one.id) for one in sent)
            left = (
                "`lifecycle reconcile` will record it"
                if self.intends
                else "The log lacks this change: put the cause right, then note the change by hand "
                "or write the document again"
            )
            raise kind(
                f"{self._model.entity} {keys} has been written ({sent[-1].operation}), but not "
                f"recorded: {error}. {left}"
            ) from error

    def close(self, sent: Sequence[Sent], error: BaseException | None = None) -> None:
        """The write is over; ``error`` is what it raised.

        Raises ``RecordingError``, or ``StoreError``, saying that the document has been written.
        """
        self.record(sent)
        if self._writer is not None and not sent and not leaves_doubt(error):
            self._writer.withdraw()
        if self._failure is not None:
            raise self._failure

    def _written(self, one: Sent) -> Written:
        model = self._model
        for sent, written in self._intended:
            if sent is one or (sent.operation, sent.id, sent.changes) == (
                one.operation,
                one.id,
                one.changes,
            ):
                return written
        key = model.stored_key(one.id)
        label, error = self._label
        if one.operation is not Operation.DELETE and model.policy.label is not None:
            with _identified(self._document, one.id):
                label, error = self._labelled(key)
        return Written(
            entity=model.entity,
            key=key,
            changes=ChangeSet(model.logged(one.changes, one.after), one.operation),
            policy=model.policy,
            label=label,
            error=error,
            cause=self.cause,
        )

    def _labelled(self, key: str) -> tuple[str | None, str | None]:
        """The document's label, and what went wrong with it."""
        found: dict[str, str] = {}
        label = attempted_label(found, self._model.policy, self._document)
        return label, self._services.faults.settle(self._model.entity, key, found)


def carried_out(writings: Sequence[Writing], listening: Listening, write: Callable[[], Any]) -> Any:
    """Make a write with its hooks before and after, and record it; returns what it returned.

    Once something has been written it is recorded, even if a hook or mongoengine then raises, and
    then those hooks are called that are for what can no longer be undone.
    """
    prepared(writings)
    try:
        result = _recorded(writings, listening, write)
    except BaseException:
        afterwards(writings, listening.sent, failed=True)
        raise
    afterwards(writings, listening.sent, failed=False)
    return result


def prepared(writings: Sequence[Writing]) -> None:
    """Run the hooks before a write, which may be of several documents."""
    for writing in writings:
        writing.hooking.begin()
    settled(writings)
    for writing in writings:
        writing.hooking.at_rest()


def _recorded(writings: Sequence[Writing], listening: Listening, write: Callable[[], Any]) -> Any:
    intending = [writing for writing in writings if writing.intends]
    if intending:
        listening.announce = partial(_intend, intending)
    # At once: what hooks and signals write after it has to come after it in the log, too.
    listening.written = partial(_record, writings, listening.sent)
    try:
        result = write()
        for writing in writings:
            writing.hooking.tell(listening.sent)
    except BaseException as error:
        _close(writings, listening.sent, error)
        raise
    _close(writings, listening.sent, None)
    return result


def _intend(writings: Sequence[Writing], sent: Sent, collection: Any) -> None:
    for writing in writings:
        writing.intend(sent, collection)


def _record(writings: Sequence[Writing], sent: Sequence[Sent]) -> None:
    for writing in writings:
        writing.record(sent)


def _close(writings: Sequence[Writing], sent: Sequence[Sent], error: BaseException | None) -> None:
    """End it with each Lifecycle, also when another one's store fails."""
    if writings:
        try:
            writings[0].close(sent, error)
        finally:
            _close(writings[1:], sent, error)


@contextmanager
def _identified(document: Any, id: Any) -> Iterator[None]:
    """Let a document have the key it is inserted with, which mongoengine gives it afterwards."""
    name, data = document._meta["id_field"], document._data
    if data.get(name) is not None:
        yield
        return
    data[name] = document._fields[name].to_python(id)
    try:
        yield
    finally:
        data[name] = None


def afterwards(writings: Sequence[Writing], sent: Sequence[Sent], *, failed: bool) -> None:
    """Tell each Lifecycle's hooks, also when those of another one raise."""
    if writings:
        try:
            writings[0].hooking.afterwards(sent, failed=failed)
        finally:
            afterwards(writings[1:], sent, failed=failed)


def settled(writings: Sequence[Writing], *, late: bool = False) -> bool:
    """Run pre hooks until none is left with changes it has not seen; returns whether any ran."""
    for count in range(PASSES):
        ran = [hook for writing in writings for hook in writing.hooking.settle(late=late)]
        if not ran:
            return count > 0
    raise HookLoopError(
        f"after {PASSES} passes these hooks still change what others have seen: "
        f"{'; '.join(sorted(set(ran)))}. Make them come to the same result when called again"
    )
