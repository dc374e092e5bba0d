"""The workload on each database."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import Engine

from tests.workload.database import Database
from tests.workload.limits import OFF


@pytest.fixture
def database(engine: Engine) -> Iterator[Database]:
    """The tables of the workload, and sessions whose writes are recorded."""
    gc.collect()  # listeners of earlier tests
    with closing(Database(engine.url, collections="many-to-many" not in OFF)) as database:
        yield database


@pytest.fixture
def sqlite(sqlite_engine: Engine) -> Iterator[Database]:
    """The same where the kind of database does not matter."""
    with closing(Database(sqlite_engine.url, collections="many-to-many" not in OFF)) as database:
        yield database
