"""An example's two databases with one log of both, opened and closed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mongoengine
from pymongo.errors import ConfigurationError, PyMongoError
from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from examples.common.errors import DatabaseError
from lifecycle import Lifecycle

_MONGODB_ANSWERS_WITHIN = 5_000  # milliseconds


@dataclass(frozen=True, slots=True)
class Databases:
    """Sessions for the rows, and the log of both mappers.

    Documents need no session: mongoengine's default connection is theirs.
    """

    lifecycle: Lifecycle
    sessions: sessionmaker[Session]


@contextmanager
def recorded(database: str, mongodb: str, tables: MetaData, name: str) -> Iterator[Databases]:
    """The databases at these two URLs, with these tables, both mappers installed.

    The log is beside the rows, and its revisions come from ``name``; so is the documents'
    database called, unless the URI names one. Raises ``DatabaseError`` for a database that cannot
    be reached.
    """
    with _engine_at(database, tables) as engine, _documents_at(mongodb, name):
        lifecycle = Lifecycle(store=engine, origin=name)
        sessions = sessionmaker(engine)
        lifecycle.create_tables(engine)
        lifecycle.install(sessions)
        lifecycle.install(mongoengine)
        try:
            yield Databases(lifecycle, sessions)
        finally:
            lifecycle.uninstall(mongoengine)
            lifecycle.uninstall(sessions)


@contextmanager
def _engine_at(url: str, tables: MetaData) -> Iterator[Engine]:
    try:
        engine = create_engine(url)
        tables.create_all(engine)
    except ArgumentError as error:
        raise DatabaseError(f"--database {url!r} is no database URL: {error}") from error
    except (SQLAlchemyError, ImportError) as error:
        cause = str(getattr(error, "orig", error)).strip()
        raise DatabaseError(f"the --database cannot be used: {cause}; see that it runs") from error
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _documents_at(uri: str, name: str) -> Iterator[None]:
    try:
        client = mongoengine.connect(
            name,
            host=uri,
            tz_aware=True,
            uuidRepresentation="standard",
            serverSelectionTimeoutMS=_MONGODB_ANSWERS_WITHIN,
        )
        client.admin.command("ping")
    except ConfigurationError as error:
        raise DatabaseError(f"the MongoDB URI cannot be used: {error}") from error
    except PyMongoError as error:
        mongoengine.disconnect()
        raise DatabaseError(f"no MongoDB answers: {error}; see that it runs") from error
    try:
        yield
    finally:
        mongoengine.disconnect()
