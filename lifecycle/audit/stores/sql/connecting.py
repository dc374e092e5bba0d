"""Engines from URLs, and what a database's errors mean."""

from __future__ import annotations

import re

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from lifecycle.errors import ConfigurationError

__all__ = ["cause", "is_missing_table", "opened", "printable"]


def opened(store: Engine | URL | str) -> Engine:
    """The engine that was given, or one for a URL; it connects when it is first used.

    Raises ``ConfigurationError`` for a URL that cannot be read, that names a MongoDB, an
    asynchronous driver or one that is not installed, and for anything that is neither.
    """
    if isinstance(store, Engine):
        return store
    if not isinstance(store, URL | str):
        raise ConfigurationError(f"{store!r} is no audit store; give a database URL or an Engine")
    url = _parsed(store)
    if url.get_backend_name().startswith("mongodb"):
        raise ConfigurationError(
            f"{printable(url)} is a MongoDB: give the URL as text, or use "
            "lifecycle.audit.stores.mongo.MongoStore"
        )
    try:
        engine = create_engine(url)
    except (NoSuchModuleError, ImportError, ArgumentError) as error:
        raise ConfigurationError(
            f"there is no driver for the store URL {printable(url)}: {error}; "
            "install it, or name another one in the URL"
        ) from error
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"the store URL {printable(url)} names an asynchronous driver, and the store is read "
            "synchronously; name a synchronous one, as in postgresql+psycopg://…"
        )
    return engine


def _parsed(url: URL | str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        hidden = re.sub(r"(//[^/:@]*):.*@", r"\1:***@", str(url))
        raise ConfigurationError(
            f"the store URL {hidden!r} cannot be read; write it as SQLAlchemy does: "
            "dialect+driver://user:password@host:port/database"
        ) from None  # its message would show the password


def printable(url: URL) -> str:
    """The URL without any password."""
    hidden = {name: "hidden" for name in url.query if "pass" in name or name == "pwd"}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def cause(error: SQLAlchemyError) -> str:
    """What the driver said, on one line."""
    driver = error.orig if isinstance(error, DBAPIError) else None
    said = driver.args[-1] if driver is not None and driver.args else error
    return " ".join(str(said).split())


def is_missing_table(error: DBAPIError) -> bool:
    """Whether a statement failed for want of a table or a column of one.

    As PostgreSQL, MySQL and MariaDB, and SQLite say it.
    """
    driver = error.orig
    code = getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
    number = driver.args[0] if driver is not None and driver.args else None
    said = str(driver)
    return (
        code in ("42P01", "42703")
        or number in (1146, 1054)
        or "no such table" in said
        or "no such column" in said
        or "has no column named" in said
    )
