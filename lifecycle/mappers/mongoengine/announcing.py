"""Telling the log of the portions of a bulk write before they are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from lifecycle.mappers.base import Recorder, Writer
from lifecycle.mappers.mongoengine.asking import Pair
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.mappers.mongoengine.sending import sent_of
from lifecycle.mappers.mongoengine.tracing import trace_of
from lifecycle.markers import UNKNOWN
from lifecycle.written import Written

__all__ = ["Announced", "traces"]

_NOT_READ: Final = "the process ended before it could read what the server had made of it"


class Portion(NamedTuple):
    """What the log was told of a portion, and the writer that has told it."""

    writer: Writer
    pairs: Sequence[Pair] | None
    written: Sequence[Written]


class Announced:
    """The writers of a bulk write: those that have told the log of a portion to come, in order.

    Each portion is a revision of its own, and all are of one group.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._waiting: Final[deque[Portion]] = deque()
        self._last: Writer | None = None

    @property
    def wanted(self) -> bool:
        """Whether the log is to be told before something is written."""
        if self._recorder.durability != "intent":
            return False
        if self._last is None:
            self._last = self._recorder.open()
        return self._last.intends

    def add(self, pairs: Sequence[Pair], written: Sequence[Written], traces: Sequence[str]) -> None:
        """Tell of a portion. Raises as the store does."""
        writer = self._writer()
        writer.intend(written, traces)
        self._waiting.append(Portion(writer, pairs, written))

    def _writer(self) -> Writer:
        """A writer for the next portion, in the group of the others."""
        if self._last is None or self._waiting:
            group = None if self._last is None else self._last.group
            self._last = self._recorder.open(group)
        return self._last

    def next(self) -> Portion:
        """The portion that was made now, without pairs if the log was not told of it."""
        return self._waiting.popleft() if self._waiting else Portion(self._writer(), None, ())

    def withdraw(self) -> None:
        """What is left of the portions has not been made."""
        while self._waiting:
            self._waiting.popleft().writer.withdraw()


def traces(
    pairs: Iterable[tuple[Pair, DocumentModel, Written]], collection: Any
) -> tuple[list[Written], list[str]]:
    """What is to be recorded of each document, and by what to tell whether it was written."""
    found: list[Written] = []
    told: list[str] = []
    for pair, model, written in pairs:
        expected = sent_of(pair)
        if any(change.new is UNKNOWN for change in expected.changes.values()):
            written.error = _NOT_READ
        found.append(written)
        names = model.cls._reverse_db_field_map
        told.append(trace_of(expected, collection, model.policy, names))
    return found, told
