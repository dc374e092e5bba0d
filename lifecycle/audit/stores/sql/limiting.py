"""A limit on how long a statement may take, as each database sets it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lifecycle.errors import QuestionTooSlow

__all__ = ["limited"]

_STEPS: Final = 10_000  # of SQLite's machine between two looks at the clock: about a millisecond
_CANCELLED: Final = "57014"  # PostgreSQL's SQLSTATE
_TIMED_OUT: Final = (1969, 3024)  # MariaDB's and MySQL's error numbers


@contextmanager
def limited(connection: Connection, seconds: float) -> Iterator[None]:
    """Let no statement in the connection's transaction take longer.

    Raises ``QuestionTooSlow`` when the database stopped one. What was set is set back; a database
    that is none of those tested is not limited.
    """
    try:
        with _LIMITS.get(connection.dialect.name, _unlimited)(connection, seconds):
            yield
    except DBAPIError as error:
        if not _is_timeout(error):
            raise
        raise QuestionTooSlow(
            f"the audit store was asked a question it could not answer within {seconds:g} seconds, "
            "so it was stopped; narrow it, by an entity, a key or a more recent time"
        ) from error


@contextmanager
def _unlimited(connection: Connection, seconds: float) -> Iterator[None]:
    yield


@contextmanager
def _postgresql(connection: Connection, seconds: float) -> Iterator[None]:
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_milliseconds(seconds)}")
    yield  # the setting ends with the transaction


@contextmanager
def _mariadb(connection: Connection, seconds: float) -> Iterator[None]:
    with _session_variable(connection, "max_statement_time", seconds):
        yield


@contextmanager
def _mysql(connection: Connection, seconds: float) -> Iterator[None]:
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    name = "max_statement_time" if is_mariadb else "max_execution_time"
    value = seconds if is_mariadb else _milliseconds(seconds)
    with _session_variable(connection, name, value):
        yield


@contextmanager
def _session_variable(connection: Connection, name: str, value: float) -> Iterator[None]:
    before = connection.exec_driver_sql(f"SELECT @@SESSION.{name}").scalar_one()
    connection.exec_driver_sql(f"SET SESSION {name} = {value}")
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql(f"SET SESSION {name} = {before}")


@contextmanager
def _sqlite(connection: Connection, seconds: float) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    deadline = monotonic() + seconds
    driver.set_progress_handler(lambda: monotonic() > deadline, _STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # to the databases 0 is no limit at all


_LIMITS: Final = {
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mysql,
    "sqlite": _sqlite,
}


def _is_timeout(error: DBAPIError) -> bool:
    cause: Any = error.orig
    number = cause.args[0] if cause.args else None
    return (
        getattr(cause, "sqlstate", None) == _CANCELLED
        or getattr(cause, "sqlite_errorname", None) == "SQLITE_INTERRUPT"
        or number in _TIMED_OUT
    )
