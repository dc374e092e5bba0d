"""Databases from URLs, and what the driver's errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar

from bson import CodecOptions
from pymongo import MongoClient, ReadPreference, WriteConcern, timeout
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
)

from lifecycle.errors import ConfigurationError, QuestionTooSlow, StoreError, StoreUnreachable

__all__ = ["apart", "explaining", "limited", "log_of", "opened", "printable", "servers"]

T = TypeVar("T")

_NOT_ALLOWED = frozenset({13, 18})  # Unauthorized, AuthenticationFailed


def opened(store: Database[Any] | str) -> Database[Any]:
    """The database that was given, or the one a URL names; it connects when it is first used.

    Raises ``ConfigurationError`` for a URL that cannot be read or names no database, and for
    anything that is neither.
    """
    if isinstance(store, Database):
        return store
    if not isinstance(store, str):
        raise ConfigurationError(
            f"{store!r} is no audit store; give a pymongo Database or its URL, as in "
            "mongodb://host/audit"
        )
    try:
        client: MongoClient[Any] = MongoClient(store, connect=False)
    except (PyMongoError, ValueError) as error:
        raise ConfigurationError(
            f"the store URL {_hidden(store)!r} cannot be read ({type(error).__name__}): write it "
            "as pymongo does, mongodb://user:password@host:port/database"
        ) from None  # its message may show the password
    try:
        return client.get_default_database()
    except DriverConfigurationError:
        client.close()
        raise ConfigurationError(
            f"the store URL {_hidden(store)!r} names no database: write it after the host, as in "
            "mongodb://host/audit"
        ) from None


def _hidden(url: str) -> str:
    hidden = re.sub(r"(//[^/:@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][^=&]*(?:pass|token|secret)[^=&]*=)[^&]*", r"\1***", hidden)


def printable(database: Database[Any]) -> str:
    """Where a database is, without user or password."""
    hosts = ",".join(sorted(f"{host}:{port}" for host, port in servers(database.client)))
    return f"mongodb://{hosts}/{database.name}"


def servers(client: MongoClient[Any]) -> Set[tuple[str, int | None]]:
    """The addresses of a client's servers, as far as it knows them by now."""
    return client.topology_description.server_descriptions().keys()


def log_of(database: Database[Any], name: str) -> Collection[Any]:
    """The collection of the log, which no option of the application's makes less than exact."""
    concern = database.write_concern
    return database.get_collection(
        name,
        codec_options=CodecOptions(),
        read_preference=ReadPreference.PRIMARY,
        write_concern=concern if concern.acknowledged else WriteConcern(w=1),
    )


def apart(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Do it outside of the session, and of its transaction, that the running code is bound to."""
    return Context().run(work, *args, **kwargs)


def limited(seconds: float | None, work: Callable[[], T]) -> T:
    """Do it in so many seconds, which the server is told too, or as long as it takes.

    Raises ``QuestionTooSlow`` when it was stopped.
    """
    if seconds is None:
        return work()
    try:
        with timeout(seconds):
            return work()
    except (ExecutionTimeout, NetworkTimeout) as error:
        raise QuestionTooSlow(
            f"the audit store was asked a question it could not answer within {seconds:g} seconds, "
            "so it was stopped; narrow it, by an entity, a key or a more recent time"
        ) from error


@contextmanager
def explaining(database: Database[Any]) -> Iterator[None]:
    """Say of the driver's errors which store failed, and what to do."""
    try:
        yield
    except DuplicateKeyError:
        raise
    except ConnectionFailure as error:
        raise StoreUnreachable(
            f"the audit store {printable(database)} cannot be reached: {_cause(error)}; "
            "check that it runs, and the URL's host, port, user and password"
        ) from error
    except OperationFailure as error:
        kind = StoreUnreachable if error.code in _NOT_ALLOWED else StoreError
        raise kind(f"the audit store {printable(database)} failed: {_cause(error)}") from error
    except InvalidOperation as error:
        raise StoreError(f"the audit store {printable(database)} failed: {error}") from error
    except PyMongoError as error:
        raise StoreError(
            f"the audit store {printable(database)} failed: {_cause(error)}"
        ) from error


def _cause(error: PyMongoError) -> str:
    """What the driver said, on one line, without what was to be recorded."""
    said = (
        error.details.get("errmsg") if isinstance(error, OperationFailure) and error.details else ""
    )
    return " ".join(str(said or error).split()).partition(", full error")[0][:300]
