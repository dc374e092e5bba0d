"""`MongoStore` fulfils the contract of an audit store."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from lifecycle.audit.stores.mongo import MongoStore
from lifecycle.testing import AuditStoreContract


class TestMongoStore(AuditStoreContract):
    @pytest.fixture
    def store(self, mongo: Database[Any]) -> MongoStore:
        store = MongoStore(mongo)
        store.create_tables()
        return store
