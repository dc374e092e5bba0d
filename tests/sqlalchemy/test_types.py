"""Values of every type that a column can have, written in every way: recorded as they are."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, insert, text, update
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import Session, mapped_column, sessionmaker
from sqlalchemy_utils import (
    ChoiceType,
    EmailType,
    IPAddressType,
    JSONType,
    ScalarListType,
    StringEncryptedType,
    TimezoneType,
    UUIDType,
)

from lifecycle import Change, Lifecycle, audited
from lifecycle.audit.likeness import alike


class Paint(enum.Enum):
    """A plain enum, stored by name."""

    RED = "r"
    BLUE = "b"


class Upper(sa.TypeDecorator[str]):
    """The database keeps something else than the application sees."""

    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.upper()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.lower()


def at(hours: int) -> timezone:
    return timezone(timedelta(hours=hours))


ZONED = datetime(2021, 1, 1, tzinfo=at(2))

ANYWHERE: dict[str, tuple[Any, Any, Any]] = {
    "boolean": (sa.Boolean, True, False),
    "integer": (sa.Integer, -1, 0),
    "big": (sa.BigInteger, 2**62, -(2**62)),
    "numeric": (sa.Numeric(30, 10), Decimal("1.5000000000"), Decimal("-1E-10")),
    "double": (sa.Double, 0.1, 1e300),
    "string": (sa.String(20), "a ", "é\N{GRINNING FACE}"),
    "text": (sa.Text, "a" * 5000, ""),
    "bytes": (sa.LargeBinary, b"\x00\xff", b""),
    "day": (sa.Date, date(1, 1, 1), date(9999, 12, 31)),
    "clock": (sa.Time, time(1, 2, 3), time(23, 59, 59)),
    "moment": (sa.DateTime, datetime(2020, 1, 1, 1, 1, 1), datetime(2021, 1, 1)),
    "interval": (sa.Interval, timedelta(days=1), timedelta(hours=3, microseconds=0)),
    "enum": (sa.Enum(Paint), Paint.RED, Paint.BLUE),
    "json": (sa.JSON, {"a": [1, {"b": None}]}, {"a": [1, {"b": 2}, "c"]}),
    "json as null": (sa.JSON(none_as_null=True), None, [None]),
    "mutable map": (MutableDict.as_mutable(sa.JSON), {"x": 1}, {"x": 1, "y": 2}),
    "mutable list": (MutableList.as_mutable(sa.JSON), [1, 2], [1, 3, 2]),
    "pickle": (sa.PickleType, {1: {2}}, (3,)),
    "uuid": (sa.Uuid, UUID(int=1), UUID(int=2**128 - 1)),
    "decorated": (Upper, "up", "down"),
    "choice": (ChoiceType([("a", "A"), ("b", "B")]), "a", "b"),
    "choice of an enum": (ChoiceType(Paint, impl=sa.String(1)), Paint.RED, Paint.BLUE),
    "email": (EmailType, "a@x.org", "B@x.org"),
    "ip": (IPAddressType, ip_address("10.0.0.1"), ip_address("::1")),
    "scalars": (ScalarListType, ["a", "b"], ["b"]),
    "encrypted": (StringEncryptedType(sa.String, "a secret key", length=200), "open", "sesame"),
    "zone": (TimezoneType(backend="zoneinfo"), "Europe/Berlin", "Asia/Tokyo"),
    "utils uuid": (UUIDType(binary=True), UUID(int=3), UUID(int=4)),
    "utils json": (JSONType, {"a": 1}, [1]),
}

ON_POSTGRESQL: dict[str, tuple[Any, Any, Any]] = {
    "array": (postgresql.ARRAY(sa.Integer), [1, 2], [1, 3, 2]),
    "array of arrays": (postgresql.ARRAY(sa.Text, dimensions=2), [["a"], ["b"]], [["a"], ["c"]]),
    "jsonb": (postgresql.JSONB, {"a": 1}, {"a": {"b": 2}}),
    "hstore": (MutableDict.as_mutable(postgresql.HSTORE), {"a": "1"}, {"a": None, "b": "2"}),
    "own enum": (postgresql.ENUM(Paint, name="paint_enum"), Paint.RED, Paint.BLUE),
    "address": (postgresql.INET, ip_address("10.0.0.1"), ip_address("fe80::1")),
    "address in its network": (postgresql.INET, ip_interface("10.0.0.1/8"), "10.0.0.2/8"),
    "network": (postgresql.CIDR, ip_network("10.0.0.0/8"), ip_network("fe80::/64")),
    "hardware": (postgresql.MACADDR, "08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    "range": (postgresql.INT4RANGE, postgresql.Range(1, 5), postgresql.Range(empty=True)),
    "times": (postgresql.TSTZRANGE, postgresql.Range(datetime(2020, 1, 1, tzinfo=UTC)), None),
    "ranges": (postgresql.INT4MULTIRANGE, [postgresql.Range(1, 2)], [postgresql.Range(5, 7)]),
    "bits": (postgresql.BIT(4), "0101", "1111"),
    "zoned": (sa.DateTime(timezone=True), datetime(2020, 1, 1, tzinfo=UTC), ZONED),
    "zoned clock": (sa.Time(timezone=True), time(1, 2, tzinfo=UTC), time(1, 2, tzinfo=at(5))),
    "not a number": (sa.Double, float("nan"), float("-inf")),
    "words": (postgresql.TSVECTOR, "'a' 'b'", "'c'"),
}  # fmt: skip

ON_MYSQL: dict[str, tuple[Any, Any, Any]] = {
    "set": (mysql.SET("a", "b", "c"), {"a"}, {"a", "b"}),
    "year": (mysql.YEAR, 2020, 2021),
    "bits": (mysql.BIT(8), 5, 7),
    "unsigned": (mysql.BIGINT(unsigned=True), 2**63, 2**64 - 1),
    "fine moment": (mysql.DATETIME(fsp=6), datetime(2020, 1, 1, 1, 1, 1, 5), datetime(2021, 1, 1)),
    "fine clock": (mysql.TIME(fsp=6), time(1, 2, 3, 4), time(5)),
    "small": (mysql.TINYINT(1), 1, 0),
    "exact": (mysql.DOUBLE(asdecimal=False), 1.1, 2.2),
}


@pytest.fixture
def kinds(engine: Engine) -> dict[str, tuple[Any, Any, Any]]:
    """A column type, and two values of it, by name: all that this database has."""
    own = {"postgresql": ON_POSTGRESQL, "mysql": ON_MYSQL, "mariadb": ON_MYSQL}
    return ANYWHERE | own.get(engine.dialect.name, {})


@pytest.fixture
def model(base: Any, engine: Engine, kinds: Any) -> Any:
    """A class with a column of each type."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS hstore"))
    columns = {
        name.replace(" ", "_"): mapped_column(kind, nullable=True)
        for name, (kind, _, _) in kinds.items()
    }
    key = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    return type("Typed", (base,), {"__tablename__": "typed", "id": key, **columns})


# SQLAlchemy's own types of MySQL lack what SQLAlchemy 2.1 asks of types.
@pytest.mark.filterwarnings("ignore:Type object <class 'sqlalchemy.dialects.mysql")
def test_values_of_every_type_are_recorded_as_they_are(
    model: Any, start: Callable[[], sessionmaker[Session]], kinds: Any, lifecycle: Lifecycle
) -> None:
    """Each record takes up what the one before it left, and all of them make the table."""
    factory = start()
    first = {name.replace(" ", "_"): value for name, (_, value, _) in kinds.items()}
    then = {name.replace(" ", "_"): value for name, (_, _, value) in kinds.items()}

    def changed(session: Session) -> None:
        row = session.get_one(model, 1)
        for name, value in then.items():
            setattr(row, name, value)

    steps: dict[str, Callable[[Session], Any]] = {
        "objects": lambda session: session.add_all([model(id=1, **first), model(id=2)]),
        "their change": changed,
        "a statement": lambda session: session.execute(update(model).values(first)),
        "a Core statement": lambda session: session.execute(
            insert(model.__table__), [{"id": 3, **then}]
        ),
        "back to nothing": lambda session: session.execute(
            update(model).where(model.id == 2).values(dict.fromkeys(first))
        ),
        "the end": lambda session: session.delete(session.get_one(model, 3)),
    }
    for name, step in steps.items():
        with factory.begin() as session:
            step(session)
        verdict = lifecycle.evidence.compare()
        assert not verdict.differences, f"{name}: {verdict.differences}"
    states: dict[str, dict[str, Any]] = {}
    for record in lifecycle.history.find(newest_first=False):
        state = states.get(record.key, {})
        for path, there in record.changes.conflicts_with(state).items():
            assert alike(there, record.changes.old(path)), (name, path)
        states[record.key] = record.changes.applied_to(state)
    assert lifecycle.coverage().unrecorded == ()


class Passed(sa.TypeDecorator[float]):
    """Stores what it is given."""

    impl = sa.Float
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> float | None:
        return value


@pytest.mark.parametrize("label", [None, "id"])
@pytest.mark.parametrize("many", [1, 4])
def test_what_is_no_number_is_null_where_the_database_has_it_as_null(
    label: str | None,
    many: int,
    base: Any,
    start: Callable[[], sessionmaker[Session]],
    lifecycle: Lifecycle,
    engine: Engine,
) -> None:
    """SQLite has, also as an old value; PostgreSQL keeps it, and MariaDB does not take it."""

    @audited(label=label)
    class Measured(base):
        __tablename__ = "measured"
        id: sa.orm.Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        weight: sa.orm.Mapped[float | None]
        price: sa.orm.Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
        passed: sa.orm.Mapped[float | None] = mapped_column(Passed)

    if engine.dialect.name == "mysql":
        nothing: dict[str, Any] = {"weight": None, "price": None, "passed": None}
    else:
        nan = float("nan")
        nothing = {"weight": nan, "price": Decimal("NaN"), "passed": nan}

    def change(session: Session, rows: list[Any], values: dict[str, Any]) -> None:
        for row in rows:
            for name, value in values.items():
                setattr(row, name, value)
        session.flush()

    numbers = {"weight": 1.5, "price": Decimal("2.50"), "passed": 0.5}
    with start().begin() as session:
        rows = [Measured(id=n, **nothing) for n in range(many)]
        session.add_all(rows)
        session.flush()
        change(session, rows, numbers)
        change(session, rows, nothing)
        session.execute(insert(Measured), [{"id": n + 10, **nothing} for n in range(many)])
        session.execute(update(Measured).values(numbers))
        session.execute(update(Measured).values(nothing))
        session.delete(rows.pop())
        session.add(Measured(id=20, **numbers))
    verdict = lifecycle.evidence.compare()
    assert not verdict.differences
    states: dict[str, dict[str, Any]] = {}
    for record in lifecycle.history.find(newest_first=False):
        state = states.get(record.key, {})
        assert not record.changes.conflicts_with(state)
        states[record.key] = record.changes.applied_to(state)


def test_null_as_json_has_it_is_null(
    base: Any, start: Callable[[], sessionmaker[Session]], recorded: Callable[[], list[Any]]
) -> None:
    """SQLAlchemy has a symbol for it, which is a number to Python."""

    class Noted(base):
        __tablename__ = "noted"
        id: sa.orm.Mapped[int] = mapped_column(primary_key=True)
        note: sa.orm.Mapped[Any] = mapped_column(sa.JSON(none_as_null=True))

    factory = start()
    with factory.begin() as session:
        session.add(Noted(id=1, note={"a": 1}))
    with factory.begin() as session:
        session.get_one(Noted, 1).note = sa.JSON.NULL
    assert recorded()[-1] == ("update", "Noted", "1", {"note": Change({"a": 1}, None)})
