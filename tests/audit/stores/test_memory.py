"""`MemoryStore` fulfils the contract of an audit store."""

from __future__ import annotations

import pytest

from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.testing import AuditStoreContract


class TestMemoryStore(AuditStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
