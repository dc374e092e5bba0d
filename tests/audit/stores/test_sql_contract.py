"""`SqlStore` fulfils the contract of an audit store on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from lifecycle.testing import AuditStoreContract


class TestSqlStore(AuditStoreContract):
    """Its fixture ``store`` is that of all tests here."""
