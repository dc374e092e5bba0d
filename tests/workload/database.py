"""A database with the tables of the workload, sessions on it, and the judge beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.orm import sessionmaker

from lifecycle import Lifecycle
from lifecycle.audit.store import Query
from tests.workload.judging import Verdict, judge
from tests.workload.models import Base
from tests.workload.truth import Rows, Truth

__all__ = ["Database"]


class Database:
    """Sessions with or without a Lifecycle, and a connection that sees what is committed."""

    def __init__(self, url: URL | str, *, recorded: bool = True, collections: bool = True) -> None:
        self.engine: Final = create_engine(url)
        self._aside: Final = create_engine(url, isolation_level="AUTOCOMMIT")
        dialect = self.engine.dialect
        for engine in (self.engine, self._aside):
            _say_on_connecting(engine, _ALWAYS[dialect.name])
        if dialect.name == "sqlite":
            _let_sqlalchemy_begin(self.engine)
        self.connection: Final = self._aside.connect()
        if dialect.name == "mysql":
            self.connection.exec_driver_sql("ALTER DATABASE CHARACTER SET utf8mb4")
        Base.metadata.create_all(self.connection)
        self.sessions: Final = sessionmaker(self.engine)
        self.lifecycle: Final = Lifecycle()
        self.lifecycle.create_tables(self._aside)
        self._recorded = False
        if recorded:
            self._record()
        self._truth: Final = Truth(dialect, collections)

    def close(self) -> None:
        """Let go of the database."""
        if self._recorded:
            self._leave_alone()
        self.connection.close()
        self._aside.dispose()
        self.engine.dispose()

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Sessions without a Lifecycle, for as long as this lasts."""
        self._leave_alone()
        try:
            yield
        finally:
            self._record()

    def _record(self) -> None:
        self.lifecycle.install(self.sessions)
        self._recorded = True

    def _leave_alone(self) -> None:
        self.lifecycle.uninstall(self.sessions)
        self._recorded = False

    def empty(self) -> None:
        """Empty every table."""
        with _without_foreign_keys(self.connection):
            for metadata in (Base.metadata, self.lifecycle.metadata):
                for table in metadata.tables.values():
                    self.connection.execute(table.delete())

    def rows(self) -> Rows:
        """What the tables hold."""
        return self._truth.read(self.connection)

    def judge(self, committed: set[str]) -> Verdict:
        """What the judge says of the log, given the actors of the committed transactions."""
        return judge(self.lifecycle.store.scan(Query()), self.rows(), committed)


# All sessions run in one thread, so that waiting for a lock would be waiting for ever.
_ALWAYS: Final = {
    "sqlite": (
        "PRAGMA foreign_keys = ON",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = OFF",
        "PRAGMA busy_timeout = 0",
    ),
    "postgresql": ("SET lock_timeout = '30ms'",),
    "mysql": (
        "SET innodb_lock_wait_timeout = 0",
        "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",  # else 0 is no key
    ),
}


def _say_on_connecting(engine: Engine, statements: tuple[str, ...]) -> None:
    @event.listens_for(engine, "connect")
    def say(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        connection.commit()


def _let_sqlalchemy_begin(engine: Engine) -> None:
    """Keep Python's driver from beginning too late, which breaks savepoints."""

    @event.listens_for(engine, "connect")
    def leave_it(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


_FOREIGN_KEYS: Final = {
    "sqlite": ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"),
    "postgresql": (
        "SET session_replication_role = replica",
        "SET session_replication_role = origin",
    ),
    "mysql": ("SET foreign_key_checks = 0", "SET foreign_key_checks = 1"),
}


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    off, on = _FOREIGN_KEYS[connection.dialect.name]
    connection.exec_driver_sql(off)
    yield
    connection.exec_driver_sql(on)
