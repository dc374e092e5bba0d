"""Keys that the database holds in another form than the one they were given in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    Column,
    Date,
    DateTime,
    Engine,
    Integer,
    Numeric,
    String,
    Table,
    TypeDecorator,
    bindparam,
    delete,
    func,
    insert,
    literal,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from lifecycle import ABSENT, Change, Lifecycle
from lifecycle.errors import UnrecordedWriteWarning
from tests.replaying import replayed, state_of
from tests.sqlalchemy.conftest import Recorded, Start

Factory = sessionmaker[Session]


class Lower(TypeDecorator[str]):
    """Text that is stored in lower case."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.lower()


KEYS: dict[str, tuple[Any, Any, Any]] = {
    "numbers as text": (Integer, "5", "6"),
    "text that is padded": (CHAR(10), "ab", "cd"),
    "text that a type makes another of": (Lower, "Ab", "CD"),
    "instants": (DateTime, datetime(2020, 1, 1), datetime(2021, 1, 1)),
}


@pytest.fixture
def keyed(base: type[DeclarativeBase]) -> Callable[[Any], Any]:
    def declare(type_: Any) -> Any:
        class Keyed(base):
            __tablename__ = "keyed"
            id: Mapped[Any] = mapped_column(type_, primary_key=True, autoincrement=False)
            name: Mapped[str | None] = mapped_column(String(20))

        return Keyed

    return declare


WAYS: dict[str, Callable[[Session, Any, Any, Any], Any]] = {
    "orm insert": lambda s, m, one, two: s.execute(insert(m), [{"id": two, "name": "x"}]),
    "core insert": lambda s, m, one, two: s.execute(insert(m.__table__).values(id=two)),
    "core insert of many": lambda s, m, one, two: s.connection().execute(
        insert(m.__table__), [{"id": two, "name": "x"}]
    ),
    "update by it": lambda s, m, one, two: s.execute(
        update(m.__table__).where(m.__table__.c.id == literal(one, m.__table__.c.id.type)),
        {"name": "x"},
    ),
    "update of it to what it is": lambda s, m, one, two: s.execute(
        update(m.__table__).values(id=one, name="x")
    ),
    "update of it": lambda s, m, one, two: s.execute(update(m.__table__).values(id=two)),
    "update of many": lambda s, m, one, two: s.execute(
        update(m.__table__).where(
            m.__table__.c.id == bindparam("key", type_=m.__table__.c.id.type)
        ),
        [{"key": one, "name": "x"}, {"key": two, "name": "y"}],
    ),
    "delete": lambda s, m, one, two: s.execute(
        delete(m.__table__).where(m.__table__.c.id == literal(one, m.__table__.c.id.type))
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KEYS)
def test_statements_are_recorded_under_the_key_that_the_row_has(
    kind: str, way: str, keyed: Any, start: Start, lifecycle: Lifecycle
) -> None:
    type_, one, two = KEYS[kind]
    model = keyed(type_)
    factory = start()
    with factory.begin() as session:
        session.execute(insert(model.__table__).values(id=one, name="a"))
    with factory.begin() as session:
        WAYS[way](session, model, one, two)
    with factory() as session:
        after = state_of(session, [model])
    assert replayed({}, lifecycle.history.find(newest_first=False)) == after
    assert lifecycle.coverage().unrecorded == ()


def test_objects_with_numbers_as_text_for_keys_are_changed_and_deleted(
    keyed: Any, start: Start, recorded: Recorded
) -> None:
    """PostgreSQL compares no number with text."""
    model = keyed(Integer)
    factory = start()
    with factory() as session:
        one = model(id="5", name="a")
        session.add(one)
        session.commit()
        one.id, one.name = "5", "b"
        session.commit()
        session.delete(one)
        session.commit()
    assert [found[:3] for found in recorded()] == [
        (operation, "Keyed", "5") for operation in ("insert", "update", "delete")
    ]


def test_an_object_that_is_given_the_key_it_has_does_not_move(
    keyed: Any, start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """SQLAlchemy leaves what is equal out, of which the text may be another."""
    model = keyed(Integer)
    factory = start()
    with factory() as session:
        one = model(id=1, name="a")
        session.add(one)
        session.commit()
        one.id, one.name = (1.0 if engine.dialect.name == "postgresql" else True), "b"
        session.commit()
        after = state_of(session, [model])
    assert replayed({}, lifecycle.history.find(newest_first=False)) == after


ALTERED: dict[str, tuple[Any, Any, set[str], str]] = {
    "padded": (CHAR(10), "ab", {"postgresql"}, "fills CHAR up"),
    "in lower case": (Lower, "Ab", {"sqlite", "postgresql", "mysql"}, "Lower makes another"),
    "a date of a time": (
        Date,
        datetime(2020, 1, 1, 3),
        {"sqlite", "postgresql", "mysql"},
        "a date has no time",
    ),
    "in a zone": (
        DateTime(timezone=True),
        datetime(2020, 1, 1, tzinfo=UTC),
        {"sqlite", "mysql"},
        "keeps no time zone",
    ),
    "to the microsecond": (DateTime, datetime(2020, 1, 1, 1, 1, 1, 5), {"mysql"}, "no fractions"),
    "with too many digits": (
        Numeric(10, 2),
        Decimal("1.005"),
        {"sqlite", "postgresql", "mysql"},
        "more digits",
    ),
    "of full length": (CHAR(2), "ab", set(), ""),
    "in lower case already": (Lower, "ab", set(), ""),
    "with digits enough": (Numeric(10, 2), Decimal("1.500"), set(), ""),
    "an instant": (DateTime, datetime(2020, 1, 1), set(), ""),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_objects_whose_keys_the_database_alters_are_told_of(
    kind: str, keyed: Any, start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """They are recorded under one key now, and under another when they have been read again."""
    type_, given, where, why = ALTERED[kind]
    model = keyed(type_)
    factory = start()
    with factory.begin() as session:
        session.add(model(id=given))
        if engine.dialect.name in where:
            with pytest.warns(UnrecordedWriteWarning, match=why):
                session.flush()
    gaps = lifecycle.coverage().unrecorded
    assert [(one.entities, one.what) for one in gaps] == [
        (("Keyed",), "key 'id' as it was given") for _ in range(engine.dialect.name in where)
    ]


def test_objects_that_are_given_another_key_which_the_database_alters(
    keyed: Any, start: Start
) -> None:
    model = keyed(Lower)
    factory = start()
    with factory.begin() as session:
        one = model(id="a")
        session.add(one)
        session.flush()
        one.id = "B"
        with pytest.warns(UnrecordedWriteWarning, match="Lower makes another value of it"):
            session.flush()


def test_a_new_row_that_its_key_does_not_find_is_told_of(
    keyed: Any, start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """Where it is rounded; SQLite keeps all digits, and has it recorded by those that are read."""
    model = keyed(Numeric(10, 2))
    factory, is_rounded = start(), engine.dialect.name != "sqlite"
    with factory.begin() as session:
        rows = [{"id": Decimal(id)} for id in ("1.005", "2")]
        if is_rounded:
            with pytest.warns(UnrecordedWriteWarning, match="1 of its rows cannot be told"):
                session.execute(insert(model), rows)
        else:
            session.execute(insert(model), rows)
    with factory() as session:
        after = state_of(session, [model])
    found = replayed({}, lifecycle.history.find(newest_first=False))
    assert after.keys() - found.keys() == ({("Keyed", "1.01")} if is_rounded else set())
    assert found == {key: after[key] for key in found}
    gaps = lifecycle.coverage().unrecorded
    assert [one.entities for one in gaps] == [("Keyed",) for _ in range(is_rounded)]


@pytest.mark.parametrize("way", ["one", "many"])
def test_updated_rows_that_their_own_keys_do_not_find_are_told_of(
    way: str, keyed: Any, start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """SQLite keeps all digits of a number, of which some are read: such a row is not gone."""
    model = keyed(Numeric(10, 2))
    factory, table = start(), model.__table__
    with engine.begin() as connection:  # where nobody listens
        connection.execute(insert(table), [{"id": Decimal(id), "name": "a"} for id in ("1.005", 2)])
    found = update(table).where(table.c.name == bindparam("old"))
    sets = [{"old": "a", "name": "b"}, {"old": "c", "name": "b"}][: 1 if way == "one" else 2]
    with factory.begin() as session:
        if engine.dialect.name == "sqlite":
            with pytest.warns(UnrecordedWriteWarning, match="1 of its rows cannot be told"):
                session.connection().execute(found, sets)
        else:
            session.connection().execute(found, sets)
    records = {(str(one.operation), one.key) for one in lifecycle.history.find()}
    others = set() if engine.dialect.name == "sqlite" else {("update", "1.01")}
    assert records == {("update", "2")} | others


def test_a_key_that_only_the_mapping_has(
    base: type[DeclarativeBase], start: Start, lifecycle: Lifecycle, recorded: Recorded
) -> None:
    """The table has none, so nothing tells the one that an expression has made."""
    plain = Table("keyless", base.metadata, Column("code", Integer), Column("name", String(20)))

    class Keyless(base):
        __table__ = plain
        __mapper_args__ = {"primary_key": [plain.c.code]}

    factory = start()
    with factory.begin() as session:
        session.execute(insert(plain).values(code=1))
        with pytest.warns(UnrecordedWriteWarning, match="cannot be told from others"):
            session.execute(insert(plain).values(code=literal(1) + 1))
    assert [one[:3] for one in recorded()] == [("insert", "Keyless", "1")]


def test_what_the_database_works_out_for_an_object_with_such_a_key(
    keyed: Any, start: Start, recorded: Recorded
) -> None:
    model = keyed(Integer)
    factory = start()
    with factory.begin() as session:
        session.add(model(id="5", name=func.lower("A")))
    assert recorded()[-1][3]["name"] == Change(ABSENT, "a")


def test_an_upsert_that_meets_a_row_by_a_key_that_is_worked_out(
    base: type[DeclarativeBase], start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """Nobody knows it before, so the row is told of; one that is met by another key is recorded."""

    class Coded(base):
        __tablename__ = "coded"
        id: Mapped[int] = mapped_column(primary_key=True)
        code: Mapped[str] = mapped_column(String(20), unique=True)
        name: Mapped[str | None] = mapped_column(String(20))

    def put(session: Session, **values: Any) -> None:
        dialect = {"postgresql": postgresql, "sqlite": sqlite}.get(engine.dialect.name)
        if dialect is None:
            changed = mysql.insert(Coded).values(**values)
            session.execute(changed.on_duplicate_key_update(name="x"))
        else:
            made = dialect.insert(Coded).values(**values)
            key = "id" if values["id"] == 1 else "code"
            session.execute(made.on_conflict_do_update(index_elements=[key], set_={"name": "x"}))

    factory = start()
    with factory.begin() as session:
        session.add_all([Coded(id=1, code="a"), Coded(id=2, code="b")])
    with factory.begin() as session:
        put(session, id=1, code=func.lower("C"))
    assert [one.key for one in lifecycle.history.find(operation="update")] == ["1"]
    assert lifecycle.coverage().unrecorded == ()
    with factory.begin() as session, pytest.warns(UnrecordedWriteWarning, match="cannot be told"):
        put(session, id=99, code=func.lower("B"))
