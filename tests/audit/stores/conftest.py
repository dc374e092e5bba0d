"""An empty audit store on each database."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from lifecycle.audit.stores.sql import SqlStore


@pytest.fixture
def store(engine: Engine) -> SqlStore:
    """A store with its tables, on each of the databases in turn."""
    store = SqlStore(engine)
    store.create_tables()
    return store
