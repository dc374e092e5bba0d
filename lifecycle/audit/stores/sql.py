"""The audit store in a SQL database, beside the data or in a database of its own.

Two tables, written with SQLAlchemy Core. `SqlStore.insert_revision` and `insert_records` write
through a connection of the caller's, so that a record commits with its change or not at all; the
methods of the `AuditStore` protocol use the store's own engine. Tested on SQLite, PostgreSQL and
MariaDB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Identity,
    Index,
    Integer,
    MetaData,
    Row,
    Select,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    and_,
    cast,
    create_engine,
    false,
    func,
    insert,
    literal,
    literal_column,
    make_url,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.types import TypeEngine

from lifecycle import codec
from lifecycle.audit import format
from lifecycle.audit.records import Position, Record, Revision
from lifecycle.audit.store import Page, Query
from lifecycle.changes import Operation
from lifecycle.errors import (
    ConfigurationError,
    HistoryError,
    StoreError,
    StoreUnreachable,
    TablesMissing,
)

__all__ = ["AuditTables", "SqlStore", "audit_tables"]

_LENGTH: Final = 255  # of an indexed text: four such, at four bytes each, fit MySQL's index limit
_LAST_N: Final = 2**31 - 1
_SCAN: Final = 500  # records fetched at a time; between two fetches nothing is held or locked
_MYSQL: Final = ("mysql", "mariadb")


# --- column types ---------------------------------------------------------------------------


class ExactText(TypeDecorator[str]):
    """Text that compares, and comes back, exactly as it was given, on every database.

    MySQL and MariaDB are told to respect case and trailing spaces. NUL, which PostgreSQL cannot
    hold, and lone surrogates, which no driver can send, are stored as U+E000 and their four
    hexadecimal digits; so is U+E000 itself.
    """

    impl = String
    cache_ok = True

    _ESCAPED: Final = re.compile("[\x00\ud800-\udfff\ue000]")
    _ESCAPE: Final = re.compile("\ue000([0-9a-f]{4})")

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name not in _MYSQL:
            return dialect.type_descriptor(String(self.length) if self.length else Text())
        exact: dict[str, Any] = {
            "charset": "utf8mb4",
            "collation": "utf8mb4_nopad_bin"
            if getattr(dialect, "is_mariadb", False)
            else "utf8mb4_0900_bin",
        }
        if self.length:
            return dialect.type_descriptor(mysql.VARCHAR(self.length, **exact))
        return dialect.type_descriptor(mysql.LONGTEXT(**exact))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or value.isprintable():  # the common case; what is escaped is not
            return value
        return self._ESCAPED.sub(lambda found: f"\ue000{ord(found[0]):04x}", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or "\ue000" not in value:
            return value
        return self._ESCAPE.sub(lambda found: chr(int(found[1], 16)), value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, kept in UTC to the microsecond on every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; the log takes aware datetimes only")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers no other type

# JSON as text, not as the database's JSON type: PostgreSQL's jsonb and MySQL's JSON sort keys,
# drop duplicates and rewrite numbers, and the log must give back exactly what was recorded.
_JSON: Final = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), *_MYSQL)


# --- tables ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditTables:
    """The two tables of the log, and the ``MetaData`` that holds just these."""

    metadata: MetaData
    revision: Table
    change: Table


@lru_cache
def audit_tables(schema: str | None = None) -> AuditTables:
    """The tables of the log in a schema, the same objects at every call."""
    metadata = MetaData(schema=schema)
    return AuditTables(metadata, _revision_table(metadata), _change_table(metadata))


_BY_ENTITY: Final = "ix_lifecycle_change_entity"
_BY_KEY: Final = "ix_lifecycle_change_key"
_BY_FORMER_KEY: Final = "ix_lifecycle_change_former_key"

_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in _MYSQL
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4"}.items()
}


def _revision_table(metadata: MetaData) -> Table:
    return Table(
        "lifecycle_revision",
        metadata,
        Column("seq", _NUMBER, Identity(), primary_key=True),
        Column("id", Uuid(), nullable=False, unique=True),
        Column("at", UtcDateTime(), nullable=False),
        Column("actor", ExactText(_LENGTH)),
        Column("actor_label", ExactText()),
        Column("reason", ExactText()),
        Column("source", ExactText()),
        Column("request_id", ExactText(_LENGTH)),
        Column("context", _JSON, nullable=False),
        Column("origin", ExactText()),
        Column("group", Uuid()),
        # PostgreSQL: the transaction's id. Below the oldest running one no record can still appear.
        Column("horizon", BigInteger()),
        Index("ix_lifecycle_revision_at", "at", "seq"),
        Index("ix_lifecycle_revision_actor", "actor", "seq"),
        Index("ix_lifecycle_revision_request", "request_id"),
        Index("ix_lifecycle_revision_group", "group"),
        sqlite_autoincrement=True,  # else SQLite gives the number of a pruned revision again
        **_OPTIONS,
    )


def _change_table(metadata: MetaData) -> Table:
    moved = literal_column("former_key").isnot(None)
    return Table(
        "lifecycle_change",
        metadata,
        # No foreign key to the revision: the one writer of both rows writes them in one
        # transaction, a check for every row would tax every flush, and pruning stays two range
        # deletes instead of a cascade that locks row by row.
        Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        Column("n", Integer(), primary_key=True, autoincrement=False),
        Column("entity", ExactText(_LENGTH), nullable=False),
        Column("key", ExactText(_LENGTH), nullable=False),
        Column("former_key", ExactText(_LENGTH)),
        Column("operation", String(6), nullable=False),
        Column("label", ExactText()),
        Column("changes", _JSON, nullable=False),
        Column("format", SmallInteger(), nullable=False),
        Index(_BY_ENTITY, "entity", "seq", "n"),
        Index(_BY_KEY, "entity", "key", "seq", "n"),
        Index(
            _BY_FORMER_KEY,
            "entity",
            "former_key",
            "seq",
            "n",
            postgresql_where=moved,
            sqlite_where=moved,
        ),
        **_OPTIONS,
    )


# --- the store ------------------------------------------------------------------------------


class SqlStore:
    """An `AuditStore` in a SQL database, given by its engine or its URL.

    ``schema`` names the schema the tables are in. Raises ``ConfigurationError`` for a URL that
    cannot be read, names an asynchronous driver or needs a driver that is not installed. The first
    connection is made when the first question is asked.
    """

    def __init__(self, engine_or_url: Engine | URL | str, *, schema: str | None = None) -> None:
        is_engine = isinstance(engine_or_url, Engine)
        self.engine = engine_or_url if is_engine else _engine(engine_or_url)
        self.tables = audit_tables(schema)
        self._change_columns = [
            column for column in self.tables.change.c if column.name not in ("seq", "n")
        ]
        self._insert_revision = insert(self.tables.revision)
        self._insert_with_horizon = self._insert_revision.values(
            horizon=cast(cast(func.pg_current_xact_id(), Text), BigInteger)
        )
        self._insert_change = insert(self.tables.change)

    def __repr__(self) -> str:
        return f"SqlStore({self.url!r})"

    @property
    def url(self) -> str:
        """Where the store is, without the password."""
        return _printable(self.engine.url)

    def is_beside(self, connection: Connection) -> bool:
        """Whether the store is in the database a connection goes to, so both commit as one."""
        theirs, own = connection.engine, self.engine
        if theirs.pool is own.pool:
            return True
        in_memory = own.dialect.name == "sqlite" and own.url.database in (None, "", ":memory:")
        return theirs.url == own.url and not in_memory

    @property
    def metadata(self) -> MetaData:
        """Just the tables of the log, for Alembic's ``target_metadata``."""
        return self.tables.metadata

    def create_tables(self) -> None:
        """Create the tables that are not there yet; a schema must exist already."""
        with self._transaction() as connection:
            self.metadata.create_all(connection)

    # writing

    def insert_revision(self, connection: Connection, revision: Revision) -> Revision:
        """Write a revision in the connection's transaction; return it with its ``seq``.

        One statement. Raises ``TablesMissing``; every other error of the database is raised as it
        is, so that the application can treat it as one of its own.
        """
        at_postgresql = connection.dialect.name == "postgresql"
        statement = self._insert_with_horizon if at_postgresql else self._insert_revision
        with self._naming_missing_tables():
            result = connection.execute(statement, _revision_row(revision))
        return replace(revision, seq=result.inserted_primary_key[0])

    def insert_records(
        self, connection: Connection, revision: Revision, records: Sequence[Record]
    ) -> None:
        """Write a stored revision's records in the connection's transaction, in one statement.

        Raises as `insert_revision` does.
        """
        if not records:
            return
        rows = [_change_row(revision.seq, record) for record in records]
        with self._naming_missing_tables():
            connection.execute(self._insert_change, rows)

    def append(self, revision: Revision, records: Sequence[Record]) -> Revision:
        try:
            with self._transaction() as connection:
                stored = self.insert_revision(connection, revision)
                self.insert_records(connection, stored, records)
        except IntegrityError as error:
            found = self.revision(revision.id)
            if found is not None:
                return found
            raise StoreError(
                f"revision {revision.id} was not stored in {self.url}: {_cause(error)}; "
                "number its records 0, 1, 2, … and give each an entity and a key"
            ) from error
        return stored

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
        statement = self._page(query, after, limit + 1, newest_first)
        with self._transaction() as connection:
            found = _records(connection.execute(statement).all())
        more = len(found) > limit
        return Page(found[:limit], found[limit - 1].position if more else None)

    def scan(self, query: Query) -> Iterator[Record]:
        after: Position | None = None
        while True:
            page = self.page(query, after=after, limit=_SCAN, newest_first=False)
            yield from page
            if page.next is None:
                return
            after = page.next

    def count_at_most(self, query: Query, n: int) -> int:
        if n < 1:
            return 0
        arms = [arm.limit(n).subquery() for arm in self._arms(query)]
        matching = union_all(*(select(arm) for arm in arms)).limit(n).subquery()
        with self._transaction() as connection:
            return connection.execute(select(func.count()).select_from(matching)).scalar_one()

    def revision(self, id: UUID) -> Revision | None:
        revision = self.tables.revision
        return self._one_revision(select(revision).where(revision.c.id == id))

    def revision_at(self, moment: datetime) -> Revision | None:
        revision = self.tables.revision
        return self._one_revision(
            select(revision)
            .where(revision.c.at <= moment)
            .order_by(revision.c.at.desc(), revision.c.seq.desc())
            .limit(1)
        )

    def _one_revision(self, statement: Select[Any]) -> Revision | None:
        with self._transaction() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else _revision(row)

    def entities(self) -> list[str]:
        # From one name to the next through the index, instead of past every record.
        entity = self.tables.change.c.entity
        name = select(func.min(entity).label("name")).cte("name", recursive=True)
        following = select(func.min(entity)).where(entity > name.c.name).scalar_subquery()
        name = name.union_all(select(following).where(name.c.name.isnot(None)))
        with self._transaction() as connection:
            found = connection.scalars(select(name.c.name).where(name.c.name.isnot(None)))
            return sorted(found)

    def check(self) -> None:
        file = self.engine.url.database
        if self.engine.dialect.name == "sqlite" and file and not file.startswith((":", "file:")):
            # SQLite would make an empty database, and leave it there.
            if not Path(file).exists():
                raise StoreUnreachable(
                    f"there is no audit store at {self.url}: no file {file}; correct the URL, or "
                    f"create the store with `lifecycle create-tables {self.url}`"
                )
        with self._transaction() as connection:
            for table in (self.tables.revision, self.tables.change):
                connection.execute(select(table).where(false()))

    # statements

    def _page(
        self, query: Query, after: Position | None, limit: int, newest_first: bool
    ) -> Select[Any]:
        """One statement: each arm finds its records by its own index, then revisions are joined.

        Only few records are ever joined and sorted, whatever the database's planner makes of it.
        """
        arms = [
            _ordered(arm.add_columns(*self._change_columns), newest_first).limit(limit).subquery()
            for arm in self._arms(query, after, newest_first)
        ]
        found = union_all(*(select(arm) for arm in arms)).subquery()
        revision = self.tables.revision
        joined = found.join(revision, found.c.seq == revision.c.seq)
        columns = [*revision.c, *(column for column in found.c if column.name != "seq")]
        return _ordered(select(*columns).select_from(joined), newest_first).limit(limit)

    def _arms(
        self, query: Query, after: Position | None = None, newest_first: bool = True
    ) -> list[Select[Any]]:
        """What finds the records; two where a key is wanted, which may be the former one."""
        revision, change = self.tables.revision, self.tables.change
        named, timed = self._named(query), self._timed(query)
        # The planner follows the order, and the bounds, of the table that is better entered first.
        seq = revision.c.seq if named else change.c.seq
        arm = select(seq, change.c.n).where(*self._of_change(query))
        if named or timed:
            arm = arm.join_from(change, revision, change.c.seq == revision.c.seq)
            arm = arm.where(*named, *timed)
        if query.upto is not None:
            arm = arm.where(self._beyond(seq, _next(query.upto), newest_first=True))
        if after is not None:
            arm = arm.where(self._beyond(seq, after, newest_first))
        indexed = {"PRIMARY" if query.entity is None else _BY_ENTITY: arm}
        if query.key is not None:
            key, former_key = change.c.key, change.c.former_key
            indexed = {
                _BY_KEY: arm.where(key == query.key),
                _BY_FORMER_KEY: arm.where(former_key == query.key, key != query.key),
            }
        return [arm if named else self._forced(arm, index) for index, arm in indexed.items()]

    def _forced(self, arm: Select[Any], index: str) -> Select[Any]:
        """Through which index, on MySQL and MariaDB, which else read and sort every candidate."""
        for dialect in _MYSQL:
            arm = arm.prefix_with("STRAIGHT_JOIN", dialect=dialect)
            arm = arm.with_hint(self.tables.change, f"FORCE INDEX ({index})", dialect)
        return arm

    def _of_change(self, query: Query) -> list[ColumnElement[bool]]:
        change = self.tables.change.c
        conditions = []
        if query.entity is not None:
            conditions.append(change.entity == query.entity)
        if query.operation is not None:
            conditions.append(change.operation == Operation(query.operation).value)
        return conditions

    def _named(self, query: Query) -> list[ColumnElement[bool]]:
        """The conditions that only few revisions fulfil."""
        revision = self.tables.revision.c
        wanted = {
            revision.actor: query.actor,
            revision.id: query.revision,
            revision.request_id: query.request_id,
            revision.group: query.group,
        }
        return [column == value for column, value in wanted.items() if value is not None]

    def _timed(self, query: Query) -> list[ColumnElement[bool]]:
        at = self.tables.revision.c.at
        conditions = []
        if query.since is not None:
            conditions.append(at >= query.since)
        if query.until is not None:
            conditions.append(at < query.until)
        return conditions

    def _beyond(
        self, seq: Column[int], position: Position, newest_first: bool
    ) -> ColumnElement[bool]:
        """That a record comes after a position in that order, in words an index understands."""
        n = self.tables.change.c.n
        if seq.table is self.tables.change and self.engine.dialect.name not in _MYSQL:
            there = tuple_(literal(position.seq, BigInteger), literal(position.n, BigInteger))
            return tuple_(seq, n) < there if newest_first else tuple_(seq, n) > there
        if newest_first:
            return and_(seq <= position.seq, or_(seq < position.seq, n < position.n))
        return and_(seq >= position.seq, or_(seq > position.seq, n > position.n))

    # connections and errors

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            connection = self.engine.connect()
        except SQLAlchemyError as error:
            raise StoreUnreachable(
                f"the audit store {self.url} cannot be reached: {_cause(error)}; "
                "check that it runs, and the URL's host, port, database, user and password"
            ) from error
        with connection, self._explained(), connection.begin():
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with self._naming_missing_tables():
                yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            kind = StoreUnreachable if error.connection_invalidated else StoreError
            raise kind(f"the audit store {self.url} failed: {_cause(error)}") from error

    @contextmanager
    def _naming_missing_tables(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if not _is_missing_table(error):
                raise
            names = " and ".join(table.fullname for table in self.metadata.sorted_tables)
            raise TablesMissing(
                f"the audit tables {names} are not in {self.url}: {_cause(error)}; create them "
                f"with `lifecycle create-tables {self.url}` or Lifecycle.create_tables(engine)"
            ) from error


def _engine(given: URL | str) -> Engine:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError) as error:
        hidden = re.sub(r"(//[^/:@]*):.*@", r"\1:***@", str(given))
        raise ConfigurationError(
            f"the store URL {hidden!r} cannot be read; write it as SQLAlchemy does: "
            "dialect+driver://user:password@host:port/database"
        ) from error
    try:
        engine = create_engine(url)
    except (NoSuchModuleError, ImportError, ArgumentError) as error:
        raise ConfigurationError(
            f"there is no driver for the store URL {_printable(url)}: {error}; "
            "install it, or name another one in the URL"
        ) from error
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"the store URL {_printable(url)} names an asynchronous driver and the store is read "
            "synchronously; name a synchronous one, for example postgresql+psycopg"
        )
    return engine


def _printable(url: URL) -> str:
    hidden = {name: "***" for name in url.query if "pass" in name or name == "pwd"}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _cause(error: SQLAlchemyError) -> str:
    """What the driver said, on one line."""
    driver = error.orig if isinstance(error, DBAPIError) else None
    said = driver.args[-1] if driver is not None and driver.args else error
    return " ".join(str(said).split())


def _is_missing_table(error: DBAPIError) -> bool:
    driver = error.orig
    code = getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
    number = driver.args[0] if driver is not None and driver.args else None
    return code == "42P01" or number == 1146 or "no such table" in str(driver)


# --- rows -----------------------------------------------------------------------------------


def _ordered(statement: Select[Any], newest_first: bool) -> Select[Any]:
    columns = statement.selected_columns
    if newest_first:
        return statement.order_by(columns.seq.desc(), columns.n.desc())
    return statement.order_by(columns.seq, columns.n)


def _next(position: Position) -> Position:
    """The smallest position after this one."""
    if position.n < _LAST_N:
        return Position(position.seq, position.n + 1)
    return Position(position.seq + 1, -1)


def _revision_row(revision: Revision) -> dict[str, Any]:
    return {
        "id": revision.id,
        "at": revision.at,
        "actor": revision.actor,
        "actor_label": revision.actor_label,
        "reason": revision.reason,
        "source": revision.source,
        "request_id": revision.request_id,
        "context": codec.to_text(dict(revision.context)),
        "origin": revision.origin,
        "group": revision.group,
    }


def _change_row(seq: int | None, record: Record) -> dict[str, Any]:
    return {
        "seq": seq,
        "n": record.n,
        "entity": record.entity,
        "key": record.key,
        "former_key": record.former_key,
        "operation": record.operation.value,
        "label": record.label,
        "changes": format.dump(record.changes),
        "format": record.format,
    }


def _revision(row: Row[Any]) -> Revision:
    return Revision(
        seq=row.seq,
        id=row.id,
        at=row.at,
        actor=row.actor,
        actor_label=row.actor_label,
        reason=row.reason,
        source=row.source,
        request_id=row.request_id,
        context=codec.from_text(row.context),
        origin=row.origin,
        group=row.group,
    )


def _records(rows: Sequence[Row[Any]]) -> tuple[Record, ...]:
    """The records of joined rows; the records of one revision share it."""
    revisions: dict[int, Revision] = {}
    records = []
    for row in rows:
        revision = revisions.get(row.seq) or revisions.setdefault(row.seq, _revision(row))
        records.append(_record(revision, row))
    return tuple(records)


def _record(revision: Revision, row: Row[Any]) -> Record:
    operation = Operation(row.operation)
    try:
        changes = format.load(row.changes, operation, row.format)
    except HistoryError as error:
        raise HistoryError(
            f"record {revision.id}.{row.n} of {row.entity} {row.key} cannot be read: {error}"
        ) from error
    return Record(
        revision=revision,
        n=row.n,
        entity=row.entity,
        key=row.key,
        former_key=row.former_key,
        operation=operation,
        label=row.label,
        changes=changes,
        format=row.format,
    )
