"""The tables of the log and of its evidence; column types that are exact on every database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    func,
    literal_column,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from lifecycle.audit.stores.texts import escaped, unescaped

__all__ = [
    "BY_ENTITY",
    "BY_FORMER_KEY",
    "BY_KEY",
    "MYSQL",
    "AuditTables",
    "ExactText",
    "UtcDateTime",
    "audit_tables",
]

_LENGTH: Final = 255  # of an indexed text: four such, at four bytes each, fit MySQL's index limit
MYSQL: Final = ("mysql", "mariadb")
"""The names SQLAlchemy has for dialects of MySQL."""


# --- column types ---------------------------------------------------------------------------


class ExactText(TypeDecorator[str]):
    """Text that compares, and comes back, exactly as it was given, on every database.

    MySQL and MariaDB are told to respect case and trailing spaces. NUL, which PostgreSQL cannot
    hold, and lone surrogates, which no driver can send, are stored escaped.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name not in MYSQL:
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
        return value if value is None else escaped(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else unescaped(value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, kept in UTC to the microsecond on every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
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
_JSON: Final = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), *MYSQL)


# --- tables ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditTables:
    """The tables of the log, of its intents and of its evidence, and their ``MetaData``."""

    metadata: MetaData
    revision: Table
    change: Table
    intent: Table
    seal: Table
    leaf: Table
    hold: Table


def audit_tables(schema: str | None = None) -> AuditTables:
    """The tables of the log in a schema, the same objects at every call."""
    return _audit_tables(schema)


@cache
def _audit_tables(schema: str | None) -> AuditTables:
    metadata = MetaData(schema=schema)
    return AuditTables(
        metadata,
        _revision_table(metadata),
        _change_table(metadata),
        _intent_table(metadata),
        _seal_table(metadata),
        _leaf_table(metadata),
        _hold_table(metadata),
    )


BY_ENTITY: Final = "ix_lifecycle_change_entity"
BY_KEY: Final = "ix_lifecycle_change_key"
BY_HORIZON: Final = "ix_lifecycle_revision_horizon"
BY_FORMER_KEY: Final = "ix_lifecycle_change_former_key"

_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in MYSQL
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
        Index(BY_HORIZON, func.coalesce(literal_column("horizon"), 0), "seq").ddl_if("postgresql"),
        sqlite_autoincrement=True,  # else SQLite gives the number of a pruned revision again
        **_OPTIONS,
    )


def _change_table(metadata: MetaData) -> Table:
    moved = literal_column("former_key").isnot(None)
    return Table(
        "lifecycle_change",
        metadata,
        # No foreign key to the revision. The one writer of both writes them in one transaction, so
        # there is nothing to catch, and PostgreSQL's check of every row makes writing the log a
        # fifth slower. Pruning is a range of seq in either table, not a cascade row by row.
        Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        Column("n", Integer(), primary_key=True, autoincrement=False),
        Column("entity", ExactText(_LENGTH), nullable=False),
        Column("key", ExactText(_LENGTH), nullable=False),
        Column("former_key", ExactText(_LENGTH)),
        Column("operation", String(6), nullable=False),
        Column("label", ExactText()),
        Column("error", ExactText()),
        Column("cause", ExactText(_LENGTH)),
        Column("changes", _JSON, nullable=False),
        Column("format", SmallInteger(), nullable=False),
        Index(BY_ENTITY, "entity", "seq", "n"),
        Index(BY_KEY, "entity", "key", "seq", "n"),
        Index(
            BY_FORMER_KEY,
            "entity",
            "former_key",
            "seq",
            "n",
            postgresql_where=moved,
            sqlite_where=moved,
        ),
        **_OPTIONS,
    )


def _intent_table(metadata: MetaData) -> Table:
    """What is about to be written elsewhere, until it is recorded."""
    return Table(
        "lifecycle_intent",
        metadata,
        Column("id", Uuid(), primary_key=True),
        Column("at", UtcDateTime(), nullable=False),
        Column("body", _JSON, nullable=False),
        **_OPTIONS,
    )


def _seal_table(metadata: MetaData) -> Table:
    """The chain of seals, and of what was pruned and erased since."""
    return Table(
        "lifecycle_seal",
        metadata,
        Column("number", Integer(), primary_key=True, autoincrement=False),
        Column("kind", String(8), nullable=False),
        Column("at", String(40), nullable=False),
        Column("actor", ExactText()),
        Column("reason", ExactText()),
        Column("horizon", BigInteger(), nullable=False),
        Column("seq", BigInteger(), nullable=False),
        Column("n", Integer(), nullable=False),
        Column("count", Integer(), nullable=False),
        Column("root", String(64), nullable=False),
        Column("previous", String(64), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("signer", String(64)),
        Column("signature", String(128)),
        **_OPTIONS,
    )


def _leaf_table(metadata: MetaData) -> Table:
    """The digests of what was sealed; they stay when it is pruned or erased."""
    return Table(
        "lifecycle_leaf",
        metadata,
        Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        Column("n", Integer(), primary_key=True, autoincrement=False),
        Column("seal", Integer(), nullable=False),
        Column("place", Integer(), nullable=False),
        Column("parts", LargeBinary().with_variant(mysql.LONGBLOB(), *MYSQL), nullable=False),
        Column("kept", _JSON),
        Index("ix_lifecycle_leaf_place", "seal", "place", unique=True),
        **_OPTIONS,
    )


def _hold_table(metadata: MetaData) -> Table:
    """The legal holds."""
    return Table(
        "lifecycle_hold",
        metadata,
        Column("number", Integer(), Identity(), primary_key=True),
        Column("at", String(40), nullable=False),
        Column("entity", ExactText(_LENGTH)),
        Column("key", ExactText(_LENGTH)),
        Column("actor", ExactText(_LENGTH)),
        Column("reason", ExactText()),
        Column("set_by", ExactText()),
        Column("salt", String(32)),
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
