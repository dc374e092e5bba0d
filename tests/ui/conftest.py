"""A store to show, and clients that look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from starlette.testclient import TestClient

import audit_ui
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import Query
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.changes import ABSENT, Change, ChangeSet, Delta, Operation

START = datetime(2026, 3, 1, 9, 0, 0, tzinfo=UTC)


_QUESTIONS = frozenset(
    ("page", "glimpses", "scan", "count_at_most", "counts_at_most", "revision", "revision_at")
) | {"entities"}


class AskedStore(MemoryStore):
    """A store that notes which questions it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.counted: list[int] = []
        """Of how many queries at once."""

    def __getattribute__(self, name: str) -> Any:
        if name in _QUESTIONS:
            self.asked.append(name)
        return super().__getattribute__(name)

    def counts_at_most(self, queries: Sequence[Query], n: int) -> list[int]:
        self.counted.append(len(queries))
        return super().counts_at_most(queries, n)


class Log:
    """Writes revisions into a store, one after the other, some minutes apart."""

    def __init__(self) -> None:
        self.store = AskedStore()
        self._count = 0

    def write(self, *records: dict[str, Any], **revision: Any) -> list[Record]:
        """Append one revision; records as `insert`, `update` and `delete` make them."""
        self._count += 1
        whole = Revision(
            id=UUID(int=(0x01936D5E << 96) | (7 << 76) | (2 << 62) | self._count),
            at=START + timedelta(minutes=7 * self._count),
            **{"actor": "ann", **revision},
        )
        made = [Record(revision=whole, n=n, **record) for n, record in enumerate(records)]
        stored = self.store.append(whole, made)
        return [Record(revision=stored, n=n, **record) for n, record in enumerate(records)]


def insert(entity: str, key: str, *, label: str | None = None, **values: Any) -> dict[str, Any]:
    """An object's insert with its values."""
    changes = {name: Change(ABSENT, value) for name, value in values.items()}
    return _record(entity, key, changes, Operation.INSERT, label)


def update(
    entity: str,
    key: str,
    changes: dict[str, Delta] | None = None,
    *,
    label: str | None = None,
    former_key: str | None = None,
    **values: tuple[Any, Any],
) -> dict[str, Any]:
    """An object's update; values as pairs of old and new."""
    found: dict[str, Delta] = {name: Change(*pair) for name, pair in values.items()}
    record = _record(entity, key, {**found, **(changes or {})}, Operation.UPDATE, label)
    return {**record, "former_key": former_key}


def delete(
    entity: str, key: str, *, label: str | None = None, cause: str | None = None, **values: Any
) -> dict[str, Any]:
    """An object's delete with its last values."""
    changes = {name: Change(value, ABSENT) for name, value in values.items()}
    return {**_record(entity, key, changes, Operation.DELETE, label), "cause": cause}


def _record(
    entity: str, key: str, changes: dict[str, Delta], operation: Operation, label: str | None
) -> dict[str, Any]:
    return {
        "entity": entity,
        "key": key,
        "operation": operation,
        "changes": ChangeSet(changes, operation),
        "label": label,
    }


def everyone(user: Any, action: str, subject: audit_ui.Subject) -> bool:
    return True


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def browse() -> Iterator[Callable[..., TestClient]]:
    """Opens a client on the pages of a log, mounted at the root."""
    clients: list[TestClient] = []

    def open_client(log: Log, **options: Any) -> TestClient:
        app = audit_ui.create_app(log.store, **{"access": everyone, **options})
        clients.append(TestClient(app, base_url="http://testserver"))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()
