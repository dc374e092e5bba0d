"""Stores from what an application names; a driver is imported when its store is named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from lifecycle.audit.store import AuditStore
from lifecycle.errors import ConfigurationError

if TYPE_CHECKING:
    from lifecycle.audit.stores.mongo import MongoStore
    from lifecycle.audit.stores.sql import SqlStore

__all__ = ["DatabaseStore", "opened", "opened_store"]

DatabaseStore: TypeAlias = "SqlStore | MongoStore"


def opened(store: Any) -> AuditStore:
    """The `AuditStore` that was given, or the one in a database, by its URL, ``Engine`` or
    pymongo ``Database``.

    Raises ``ConfigurationError`` for anything else, and when its driver is not installed.
    """
    # A pymongo Database has every attribute there is, which before Python 3.12 makes it a store.
    if isinstance(store, AuditStore) and not _is_mongodb(store):
        return store
    return opened_store(store)


def opened_store(database: Any) -> DatabaseStore:
    """The store in a database. Raises as `opened` does."""
    if not _is_mongodb(database):
        from lifecycle.audit.stores.sql import SqlStore

        return SqlStore(database)
    try:
        from lifecycle.audit.stores.mongo import MongoStore
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"a store in MongoDB needs {error.name}; run: pip install 'lifecycle-audit[mongo]'"
        ) from error
    return MongoStore(database)


def _is_mongodb(database: Any) -> bool:
    if isinstance(database, str):
        return re.match(r"mongodb(\+srv)?:", database, re.IGNORECASE) is not None
    return type(database).__module__.partition(".")[0] == "pymongo"
