"""Both databases of a replay, opened and closed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mongoengine
from pymongo.errors import ConfigurationError, PyMongoError
from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from examples.git_history.errors import DatabaseError
from examples.git_history.models import Base
from lifecycle import Lifecycle

_MONGODB_ANSWERS_WITHIN = 5_000  # milliseconds


@dataclass(frozen=True, slots=True)
class Workspace:
    """What a replay and a check work with: sessions for the files, and the log of both mappers.

    Documents need no session: mongoengine's default connection is theirs.
    """

    lifecycle: Lifecycle
    sessions: sessionmaker[Session]


@contextmanager
def open_workspace(database: str, mongodb: str) -> Iterator[Workspace]:
    """A workspace on these two URLs, its tables created, both mappers installed.

    Raises ``DatabaseError`` for a database that cannot be reached.
    """
    with engine_at(database, Base.metadata) as engine, documents_at(mongodb, "git_history"):
        lifecycle = Lifecycle(store=engine)
        sessions = sessionmaker(engine)
        lifecycle.create_tables(engine)
        lifecycle.install(sessions)
        lifecycle.install(mongoengine)
        try:
            yield Workspace(lifecycle, sessions)
        finally:
            lifecycle.uninstall(mongoengine)
            lifecycle.uninstall(sessions)


@contextmanager
def engine_at(url: str, tables: MetaData) -> Iterator[Engine]:
    """An engine on a database that has these tables, closed with the block."""
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
def documents_at(uri: str, name: str) -> Iterator[None]:
    """mongoengine's default connection to this server: to the URI's database, or to this one."""
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
