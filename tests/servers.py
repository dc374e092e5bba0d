"""The database servers the tests run against: found where they run, or started.

Each context manager here gives one clean place that nobody else uses, so that workers and whole
test runs can share a server, and removes it at the end.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

SQL_SERVERS: Final = {
    "postgresql": (
        "LIFECYCLE_TEST_POSTGRESQL_URL",
        "postgresql+psycopg://postgres@127.0.0.1:5432/postgres?connect_timeout=5",
    ),
    "mysql": (
        "LIFECYCLE_TEST_MYSQL_URL",
        "mysql+pymysql://root@127.0.0.1:3306/mysql?connect_timeout=5",
    ),
}
MONGODB_VARIABLE: Final = "LIFECYCLE_TEST_MONGODB_URI"
MONGODB_DEFAULT: Final = "mongodb://localhost:27017/"


class Unavailable(Exception):
    """A server cannot be used; the text says which one, why, and what to do."""


def unique_name() -> str:
    """A database name that no other test, worker or run uses."""
    return f"lifecycle_test_{uuid4().hex[:12]}"


@contextmanager
def sql_database(dialect: str) -> Iterator[URL]:
    """A new, empty database on the server for that dialect; raises `Unavailable`."""
    variable, default = SQL_SERVERS[dialect]
    server = make_url(os.environ.get(variable) or default)
    name = unique_name()
    try:
        _execute(server, f"CREATE DATABASE {name}")
    except DBAPIError as error:
        cause = str(error.orig).splitlines()[0]
        raise Unavailable(
            f"{dialect} at {server.render_as_string()} cannot be used: {cause}. "
            f"Start it (tests/compose.yaml does) or point {variable} at one."
        ) from error
    except KeyboardInterrupt:
        _execute(server, f"DROP DATABASE IF EXISTS {name}")  # the server may have made it
        raise
    try:
        yield server.set(database=name)
    finally:
        _execute(server, f"DROP DATABASE {name}")


def empty(url: URL) -> None:
    """Drop all that a test has left in its database; fails if a transaction still holds it."""
    if url.get_backend_name() == "mysql":
        _execute(
            url,
            "SET SESSION lock_wait_timeout = 10",
            f"DROP DATABASE {url.database}",
            f"CREATE DATABASE {url.database}",
        )
    else:
        _execute(
            url,
            "SET lock_timeout = '10s'",
            *(f'DROP SCHEMA "{schema}" CASCADE' for schema in _schemas(url)),
            "CREATE SCHEMA public",
        )


def _schemas(url: URL) -> list[str]:
    with _connected(url) as connection:
        return list(
            connection.scalars(
                text(
                    "SELECT nspname FROM pg_namespace"
                    " WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
                )
            )
        )


def _execute(url: URL, *statements: str) -> None:
    with _connected(url) as connection:
        for statement in statements:
            connection.execute(text(statement))


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@dataclass(frozen=True)
class MongoServer:
    """A MongoDB server that answers, and whether it is a real one or nx-27017."""

    uri: str
    real: bool


@contextmanager
def mongodb(folder: Path) -> Iterator[MongoServer]:
    """The MongoDB to test against, else an nx-27017 run in ``folder``; raises `Unavailable`."""
    given = os.environ.get(MONGODB_VARIABLE)
    try:
        found = _look_at(given or MONGODB_DEFAULT)
    except PyMongoError as error:
        if given:
            raise Unavailable(
                f"MongoDB at {MONGODB_VARIABLE} cannot be used: {error}. "
                f"Start it, or unset {MONGODB_VARIABLE} to let the tests start nx-27017."
            ) from error
        found = None
    if found and (given or found.real):
        yield found
    else:
        with _nx_27017(folder) as uri:
            yield _look_at(uri)


def _look_at(uri: str) -> MongoServer:
    client: MongoClient = MongoClient(uri, serverSelectionTimeoutMS=500)
    try:
        build = client.admin.command("buildInfo")
    finally:
        client.close()
    return MongoServer(uri, real=build.get("process") != "nx_27017")


@contextmanager
def _nx_27017(folder: Path) -> Iterator[str]:
    port = _free_port()
    log = folder / "nx.log"
    command = [sys.executable, "-m", "nx_27017.nx_27017", f"--port={port}"]
    command += [f"--data-dir={folder / 'data'}"]
    command += [f"--log-file={folder / 'daemon.log'}", f"--pid-file={folder / 'nx.pid'}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the tests, which need the server until they have cleaned up.
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(process, port, log)
        yield f"mongodb://127.0.0.1:{port}/"
    finally:
        # Its data goes with the folder, so there is nothing to wait for.
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Unavailable(
        f"nx-27017 does not listen on port {port} (exit code {process.returncode}); "
        f"its last words: {log.read_text(errors='replace')[-500:]!r}"
    )
