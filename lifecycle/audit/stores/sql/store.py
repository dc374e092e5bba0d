"""`SqlStore`: writing revisions, asking for them, and saying what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    MetaData,
    Select,
    Text,
    bindparam,
    cast,
    delete,
    false,
    func,
    insert,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.util.concurrency import in_greenlet

from lifecycle.audit.intents import Intent, dump_intent, load_intent
from lifecycle.audit.records import FeedPosition, Line, Lines, Position, Record, Revision
from lifecycle.audit.store import Asked, Entry, Feed, Glimpse, Page, Query
from lifecycle.audit.stores.sql.connecting import cause, is_missing_table, opened, printable
from lifecycle.audit.stores.sql.feeding import Feeding
from lifecycle.audit.stores.sql.ledger import SqlLedger
from lifecycle.audit.stores.sql.limiting import limited
from lifecycle.audit.stores.sql.rows import (
    change_columns,
    glimpses_of,
    records_of,
    revision_of,
    revision_row,
)
from lifecycle.audit.stores.sql.statements import Statements
from lifecycle.audit.stores.sql.tables import audit_tables
from lifecycle.audit.stores.sql.upgrading import complete, lacking
from lifecycle.audit.stores.sql.writing import insert_columns, sent_ahead
from lifecycle.audit.tracing import pages
from lifecycle.errors import ConfigurationError, StoreError, StoreUnreachable, TablesMissing

__all__ = ["SqlStore"]

# Records fetched at a time; between two fetches nothing is held or locked.
_SCAN: Final = 500
_TRAIL: Final = 2_000


class SqlStore:
    """An `AuditStore` in a SQL database, given by its engine or its URL.

    ``schema`` names the schema the tables are in. Nothing connects before it is needed. Raises
    ``ConfigurationError`` for a URL that cannot be read, that names an asynchronous driver or one
    that is not installed.

    `insert_revision` and `insert_records` write through a connection of the caller's, in its
    transaction, so that a record commits with its change or not at all. Every other method uses
    the store's own engine.
    """

    def __init__(self, engine_or_url: Engine | URL | str, *, schema: str | None = None) -> None:
        self.engine: Final[Engine] = opened(engine_or_url)
        self._owns_engine = self.engine is not engine_or_url
        self._seconds: float | None = None
        self.tables: Final = audit_tables(schema)
        self._statements = Statements(self.tables, self.engine.dialect.name)
        self._feeding = Feeding(self.tables, self.engine)
        self._insert_revision = insert(self.tables.revision)
        intent = self.tables.intent
        self._insert_intent = insert(intent)
        self._delete_intent = delete(intent).where(intent.c.id == bindparam("settled"))
        self._insert_with_horizon = self._insert_revision.values(
            horizon=cast(cast(func.pg_current_xact_id(), Text), BigInteger)
        )

    def __repr__(self) -> str:
        return f"SqlStore({self.url!r})"

    @property
    def url(self) -> str:
        """Where the store is, without the password."""
        return printable(self.engine.url)

    @property
    def in_memory(self) -> bool:
        """Whether the database lives in this process, and only in connections of this engine."""
        url = self.engine.url
        return self.engine.dialect.name == "sqlite" and url.database in (None, "", ":memory:")

    @property
    def metadata(self) -> MetaData:
        """Just the tables of the log, for Alembic's ``target_metadata``."""
        return self.tables.metadata

    def is_beside(self, connection: Connection) -> bool:
        """Whether the store is in the database a connection goes to, so both commit as one."""
        theirs, own = connection.engine, self.engine
        if theirs.pool is own.pool:
            return True
        return _without_driver(theirs.url) == _without_driver(own.url) and not self.in_memory

    def create_tables(self) -> list[str]:
        """Create the tables that are not there yet; a schema must exist already.

        Of tables that an older release made, the columns and indexes that it did not know, too. An
        index of a large log takes a while, in which nothing is written to it. Returns what was
        created, in words.
        """
        with self._transaction() as connection:
            return complete(connection, self.tables)

    def lacking(self) -> list[str]:
        """What `create_tables` would create, in words."""
        self._refuse_missing_file()
        with self._transaction() as connection:
            return lacking(connection, self.tables)

    @property
    def ledger(self) -> SqlLedger:
        """Where the evidence of this log is kept."""
        return SqlLedger(self.tables, self.engine, self._feeding, self._transaction)

    def within(self, seconds: float) -> SqlStore:
        """The same store, where a statement that takes longer raises ``QuestionTooSlow``.

        SQLite gives each question that time as a whole. The store that was asked is not limited,
        and is the one to close.
        """
        found = copy(self)
        found._seconds = seconds
        found._owns_engine = False
        return found

    def close(self) -> None:
        """Close the connections of a store that was given by its URL; it opens them anew."""
        if self._owns_engine:
            self.engine.dispose()

    # writing

    def insert_revision(self, connection: Connection, revision: Revision) -> Revision:
        """Write a revision in the connection's transaction; return it with its ``seq``.

        One statement. Raises ``TablesMissing``; every other error of the database is raised as it
        is, so that the application can treat it as one of its own.
        """
        at_postgresql = connection.dialect.name == "postgresql"
        statement = self._insert_with_horizon if at_postgresql else self._insert_revision
        with self._naming_missing_tables():
            result = connection.execute(statement, revision_row(revision))
        assigned = result.inserted_primary_key
        assert assigned is not None  # one row was inserted
        return replace(revision, seq=assigned[0])

    def insert_records(
        self, connection: Connection, revision: Revision, records: Sequence[Record | Line | Lines]
    ) -> None:
        """Write a stored revision's records in the connection's transaction, in one statement.

        Raises as `insert_revision` does.
        """
        if not records:
            return
        columns = change_columns(revision.seq, records)
        with self._naming_missing_tables():
            insert_columns(connection, self.tables.change, columns)

    def together(self, connection: Connection) -> AbstractContextManager[None] | None:
        """A block in which the database may still be at work on records that were inserted.

        It has them when another statement is executed, or the block ends; both raise what
        `insert_records` would have. ``None`` where they are always there at once.
        """
        return sent_ahead(connection)

    def append(self, revision: Revision, records: Sequence[Record]) -> Revision:
        return self.confirm(revision, records, ())

    def confirm(
        self, revision: Revision, records: Sequence[Record], intents: Sequence[UUID]
    ) -> Revision:
        try:
            with self._transaction() as connection:
                stored = self.insert_revision(connection, revision)
                self.insert_records(connection, stored, records)
                self._withdraw(connection, intents)
        except IntegrityError as error:
            found = self.revision(revision.id)
            if found is not None:
                self.withdraw(intents)
                return found
            raise StoreError(
                f"revision {revision.id} was not stored in {self.url}: {cause(error)}; "
                "number its records 0, 1, 2, … and give each an entity and a key"
            ) from error
        return stored

    def intend(self, intent: Intent) -> None:
        row = {"id": intent.id, "at": intent.revision.at, "body": dump_intent(intent)}
        with self._transaction() as connection:
            connection.execute(self._insert_intent, row)

    def withdraw(self, intents: Sequence[UUID]) -> None:
        if intents:
            with self._transaction() as connection:
                self._withdraw(connection, intents)

    def _withdraw(self, connection: Connection, intents: Sequence[UUID]) -> None:
        if intents:
            connection.execute(self._delete_intent, [{"settled": id} for id in intents])

    def intents(self) -> Iterator[Intent]:
        table = self.tables.intent
        with self._transaction() as connection:
            rows = connection.execute(select(table).order_by(table.c.at, table.c.id)).all()
        return (load_intent(row.id, row.body) for row in rows)

    # reading

    def page(
        self,
        query: Query,
        *,
        after: Position | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Page:
        if limit < 1:
            raise ValueError(f"a page of {limit} records is none; limit must be at least 1")
        asked = (query, after, limit + 1, newest_first)
        near = self._statements.near(*asked)
        with self._transaction() as connection:
            rows = [] if near is None else connection.execute(near).all()
            if len(rows) <= limit:
                rows = connection.execute(self._statements.page(*asked)).all()
        found = records_of(rows[:limit])
        return Page(found, found[-1].position if len(rows) > limit else None)

    @property
    def glimpses_at_once(self) -> int:
        """How many objects `glimpses` names in a few milliseconds."""
        return self._statements.glimpses_at_once

    def glimpses(self, asked: Sequence[Asked]) -> list[Glimpse | None]:
        if not asked:
            return []
        with self._transaction() as connection:
            rows = connection.execute(self._statements.glimpses(asked)).all()
        return glimpses_of(rows, asked)

    def scan(self, query: Query) -> Iterator[Record]:
        return pages(self, query, newest_first=False, size=_SCAN)

    def feed(self, after: FeedPosition | None = None, *, limit: int = 500) -> Feed:
        if limit < 1:
            raise ValueError(f"a feed of {limit} records is none; limit must be at least 1")
        with self._explaining():
            statement = self._feeding.page(after, limit)
        with self._transaction() as connection:
            rows = connection.execute(statement).all()
            if not rows:
                self._feeding.refuse_foreign(connection)
        found = records_of(rows)
        if not found:
            return Feed((), after)
        return Feed(found, FeedPosition(rows[-1].feed_horizon, *found[-1].position))

    def trail(self, query: Query, *, newest_first: bool = False) -> Iterator[Entry]:
        after: Position | None = None
        while True:
            statement = self._statements.trail(query, after, _TRAIL, newest_first)
            with self._transaction() as connection:
                rows = connection.execute(statement).all()
            yield from map(Entry._make, rows)
            if len(rows) < _TRAIL:
                return
            after = Position(rows[-1].seq, rows[-1].n)

    def count_at_most(self, query: Query, n: int) -> int:
        if n < 1:
            return 0
        with self._transaction() as connection:
            counted: int = connection.execute(self._statements.count(query, n)).scalar_one()
            return counted

    def counts_at_most(self, queries: Sequence[Query], n: int) -> list[int]:
        if n < 1 or not queries:
            return [0] * len(queries)
        with self._transaction() as connection:
            return list(connection.execute(self._statements.counts(queries, n)).one())

    def revision(self, id: UUID) -> Revision | None:
        return self._one_revision(self._statements.revision(id))

    def revision_at(self, moment: datetime) -> Revision | None:
        return self._one_revision(self._statements.revision_at(moment))

    def _one_revision(self, statement: Select[Any]) -> Revision | None:
        with self._transaction() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else revision_of(row)

    def entities(self) -> list[str]:
        with self._transaction() as connection:
            return sorted(connection.scalars(self._statements.entities()))

    def check(self) -> None:
        self._refuse_missing_file()
        with self._transaction() as connection:
            for table in (self.tables.revision, self.tables.change):
                connection.execute(select(table).where(false()))

    def _refuse_missing_file(self) -> None:
        """SQLite would make an empty database where a mistyped path points."""
        file = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not file or file.startswith((":", "file:")):
            return
        if Path(file).parent.is_dir() and not Path(file).exists():
            raise TablesMissing(f"there is no file {file}, so no audit tables; {self._next_step}")

    # connections and errors

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self.engine.dialect.is_async and not in_greenlet():
            raise ConfigurationError(
                f"the log in {self.url} cannot be read here, for its driver is async: read it "
                "under `await session.run_sync(...)`, or give a plain engine of the same "
                "database, as in Lifecycle(store=create_engine(...)), which the pages need too"
            )
        try:
            connection = self.engine.connect()
        except SQLAlchemyError as error:
            raise StoreUnreachable(
                f"the audit store {self.url} cannot be reached: {cause(error)}; "
                "check that it runs, and the URL's host, port, database, user and password"
            ) from error
        with self._explaining(), connection, connection.begin():
            if self._seconds is None:
                yield connection
                return
            with limited(connection, self._seconds):
                yield connection

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            with self._naming_missing_tables():
                yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            kind = StoreUnreachable if error.connection_invalidated else StoreError
            raise kind(f"the audit store {self.url} failed: {cause(error)}") from error

    @contextmanager
    def _naming_missing_tables(self) -> Iterator[None]:
        try:
            yield
        except StatementError as error:
            error.hide_parameters = True  # of an INSERT they are what was to be recorded
            if not isinstance(error, DBAPIError) or not is_missing_table(error):
                raise
            names = " and ".join(table.fullname for table in self.metadata.sorted_tables)
            raise TablesMissing(
                f"the audit tables {names} are not all in {self.url}, or lack what they have "
                f"today: {cause(error)}; "
                f"{self._next_step}"
            ) from error

    @property
    def _next_step(self) -> str:
        command = "" if self.in_memory else f"`lifecycle create-tables {self.url}` or "
        return f"create them with {command}Lifecycle.create_tables(engine)"


def _without_driver(url: URL) -> URL:
    return url.set(drivername=url.get_backend_name())
