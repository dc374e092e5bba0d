"""A Lifecycle on mongoengine, with its records in memory, and documents to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mongoengine
import pytest

from lifecycle import Lifecycle
from lifecycle.audit.records import Record
from lifecycle.audit.stores.memory import MemoryStore

Records = Callable[[], list[Record]]


@pytest.fixture
def lifecycle(mongo: object) -> Iterator[Lifecycle]:
    """A Lifecycle installed on all of mongoengine for the time of the test."""
    lifecycle = Lifecycle(store=MemoryStore())
    lifecycle.install(mongoengine)
    yield lifecycle
    lifecycle.uninstall(mongoengine)


@pytest.fixture
def records(lifecycle: Lifecycle) -> Records:
    """Gives the records made since it was last asked, oldest first."""
    told: set[str] = set()

    def new() -> list[Record]:
        found = [
            record for record in lifecycle.history.find(newest_first=False) if record.id not in told
        ]
        told.update(record.id for record in found)
        return found

    return new
