"""`SqlStore` fulfils the contract of an audit store on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from lifecycle.audit.stores.sql import SqlStore
from lifecycle.testing import AuditStoreContract


class TestSqlStore(AuditStoreContract):
    @pytest.fixture
    def store(self, engine: Engine) -> SqlStore:
        store = SqlStore(engine)
        store.create_tables()
        return store
