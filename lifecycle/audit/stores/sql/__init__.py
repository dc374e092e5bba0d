"""The audit store in a SQL database, beside the data or in a database of its own.

Two tables (`tables`), written with SQLAlchemy Core and asked with one statement a question
(`statements`). Tested on SQLite, PostgreSQL and MariaDB.
"""

from lifecycle.audit.stores.sql.store import SqlStore
from lifecycle.audit.stores.sql.tables import AuditTables, audit_tables

__all__ = ["AuditTables", "SqlStore", "audit_tables"]
