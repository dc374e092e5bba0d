"""The shop's databases, opened and closed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mongoengine
from sqlalchemy.orm import Session, sessionmaker

from examples.git_history.workspace import documents_at, engine_at
from examples.shop.models import Base
from lifecycle import Lifecycle


@dataclass(frozen=True, slots=True)
class Shop:
    """Sessions for the rows, and the log of both mappers; documents need no session."""

    lifecycle: Lifecycle
    sessions: sessionmaker[Session]


@contextmanager
def open_shop(database: str, mongodb: str) -> Iterator[Shop]:
    """The shop in these databases, its tables created, both mappers installed.

    The log is beside the rows. Raises ``DatabaseError`` for a database that cannot be reached.
    """
    with engine_at(database, Base.metadata) as engine, documents_at(mongodb, "shop"):
        lifecycle = Lifecycle(store=engine, origin="shop")
        sessions = sessionmaker(engine)
        lifecycle.create_tables(engine)
        lifecycle.install(sessions)
        lifecycle.install(mongoengine)
        try:
            yield Shop(lifecycle, sessions)
        finally:
            lifecycle.uninstall(mongoengine)
            lifecycle.uninstall(sessions)
