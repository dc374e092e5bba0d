"""Records of documents in the transaction that the documents are written in.

When the log is in the same MongoDB the records are written in the transaction, too. When it is
elsewhere they wait for the commit. Either way a transaction is one revision.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from lifecycle.mappers.base import Recorder, Writer
from lifecycle.mappers.mongoengine.transactions import Outcome, Transaction, current
from lifecycle.policy import Policy
from lifecycle.written import Told, Written

__all__ = ["JoiningRecorder"]

_log: Final = logging.getLogger("lifecycle")


class JoiningRecorder:
    """The `Recorder` of one Lifecycle, for what may be written in transactions."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._writers: WeakKeyDictionary[Transaction, Writer] = WeakKeyDictionary()

    @property
    def durability(self) -> str:
        """As the Lifecycle has it."""
        return self._recorder.durability

    def wants(self, policy: Policy) -> bool:
        """Whether models of this policy are recorded at all."""
        return self._recorder.wants(policy)

    def joins(self, connection: Any) -> bool:
        """Whether records can be written in the transaction of a session."""
        return self._recorder.joins(connection)

    def open(self, group: UUID | None = None) -> Writer:
        """A writer for what is written now: that of the transaction, if it belongs to one."""
        transaction = current()
        if transaction is None:
            return self._recorder.open(group)
        writer = self._writers.get(transaction)
        if writer is None:
            inner = self._recorder.open(group)
            kind = _Joined if self._recorder.joins(transaction.session) else _Waiting
            writer = self._writers[transaction] = kind(inner, transaction)
        return writer


class _InTransaction:
    """The `Writer` of a transaction."""

    def __init__(self, inner: Writer, transaction: Transaction) -> None:
        self._inner = inner
        transaction.when_over(self._over)

    @property
    def stored(self) -> bool:
        return self._inner.stored

    @property
    def group(self) -> UUID | None:
        return self._inner.group

    def together(self, connection: Any) -> AbstractContextManager[None]:
        """Whatever is written in this block is written at once, or waits for the commit."""
        return nullcontext()

    def withdraw(self) -> None:
        """The transaction decides what has been written."""

    def undone(self) -> None:
        """A transaction of MongoDB has no savepoints."""

    def over(self, connection: Any) -> None:
        """It hears of that itself."""

    def _over(self, outcome: Outcome) -> None:
        raise NotImplementedError


class _Joined(_InTransaction):
    """Writes in the transaction."""

    def __init__(self, inner: Writer, transaction: Transaction) -> None:
        super().__init__(inner, transaction)
        self._session = transaction.session

    @property
    def intends(self) -> bool:
        return False

    def intend(self, written: Sequence[Written], traces: Sequence[str]) -> None:
        """What commits as one needs no intent."""

    def write(self, written: Sequence[Told], *, connection: Any = None) -> None:
        self._inner.write(written, connection=self._session)

    def _over(self, outcome: Outcome) -> None:
        try:
            self._inner.over(self._session)
        except Exception as error:  # the commit stands all the same
            _log.warning(
                "the log was not told that a transaction is over (%s): its feed waits a few "
                "minutes before it goes on",
                error,
            )


class _Waiting(_InTransaction):
    """Records once the transaction has been committed."""

    def __init__(self, inner: Writer, transaction: Transaction) -> None:
        super().__init__(inner, transaction)
        self._written: list[Told] = []

    @property
    def intends(self) -> bool:
        return self._inner.intends

    def intend(self, written: Sequence[Written], traces: Sequence[str]) -> None:
        self._inner.intend(written, traces)

    def write(self, written: Sequence[Told], *, connection: Any = None) -> None:
        self._written += written

    def _over(self, outcome: Outcome) -> None:
        if outcome is Outcome.COMMITTED and self._written:
            self._inner.write(self._written)
        elif outcome is not Outcome.UNKNOWN:
            self._inner.withdraw()
