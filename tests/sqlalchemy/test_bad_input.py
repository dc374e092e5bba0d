"""What becomes of changes that the log cannot hold: recorded truthfully, told, or refused.

Every case goes through a flush, a Core statement and an ORM-enabled bulk statement.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import (
    Column,
    Engine,
    LargeBinary,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, PendingRollbackError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from lifecycle import UNKNOWN, Lifecycle, audited, pre_persist
from lifecycle.audit.records import Record
from lifecycle.changes import ABSENT, MASKED, Change, Operation
from lifecycle.coverage import Unrecorded
from lifecycle.errors import (
    ConfigurationError,
    RecordingError,
    TablesMissing,
    UnrecordedWriteWarning,
)
from lifecycle.faults import OnError
from tests.sqlalchemy.conftest import Start

SECRET = "s3cret"


class Strange:
    """What only its application knows; its texts cannot be had, and would tell a secret."""

    def __init__(self, value: str = SECRET) -> None:
        self.value = value

    def __str__(self) -> str:
        raise ValueError(self.value)

    __repr__ = __str__


class Stored(TypeDecorator[Any]):
    """Values of any kind, stored by a function of its own and recorded as they are."""

    impl = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    cache_ok = True

    def __init__(self, dump: Callable[[Any], str], load: Callable[[str], Any]) -> None:
        super().__init__()
        self.dump, self.load = dump, load

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any]:
        return lambda value: None if value is None else self.dump(value)

    def result_processor(self, dialect: Any, coltype: object) -> Callable[[Any], Any]:
        return lambda value: None if value is None else self.load(value)


class Fickle(Stored):
    """A type that stores its values, and raises when it is asked again for the log."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        raise ValueError(SECRET)


class Refusing(TypeDecorator[Any]):
    """A type that stores nothing."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value is None:
            return None
        raise ValueError(SECRET)


def unreadable(value: str) -> Any:
    """Read nothing back."""
    raise ValueError(value)


def nested(levels: int) -> Any:
    """Lists in lists."""
    value: Any = SECRET
    for _ in range(levels):
        value = [value]
    return value


AS_STRANGE = Stored(lambda value: value.value, Strange)
AS_JSON = Stored(json.dumps, json.loads)
LENIENT_JSON = Stored(lambda value: json.dumps(value, default=lambda one: "?"), json.loads)
LONG_TEXT = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
LONG_BYTES = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


# --- ways to write --------------------------------------------------------------------------


def by_flush(session: Session, thing: Any, **values: Any) -> None:
    session.add(thing(**values))
    session.flush()


def by_core(session: Session, thing: Any, **values: Any) -> None:
    session.execute(insert(thing.__table__), values)


def by_bulk(session: Session, thing: Any, **values: Any) -> None:
    session.execute(insert(thing), [values])


WAYS = {"flush": by_flush, "core": by_core, "bulk": by_bulk}
STATEMENTS = {"core": by_core, "bulk": by_bulk}

Write = Callable[..., None]


@pytest.fixture(params=WAYS)
def write(request: pytest.FixtureRequest) -> Write:
    """Each way to write one row."""
    return WAYS[request.param]


@pytest.fixture(params=["fail", "report"])
def on_error(request: pytest.FixtureRequest) -> OnError:
    """Each policy."""
    policy: OnError = request.param
    return policy


@pytest.fixture
def lifecycle(on_error: OnError) -> Lifecycle:
    """A Lifecycle with that policy."""
    return Lifecycle(on_error=on_error)


@pytest.fixture
def records(lifecycle: Lifecycle) -> Callable[[], list[Record]]:
    """Everything recorded, oldest first."""
    return lambda: list(lifecycle.history.find(newest_first=False))


Records = Callable[[], list[Record]]


def thing_model(base: type[DeclarativeBase], type_: Any) -> Any:
    """A model with one column of that type, which allows no value, and one of text."""

    class Thing(base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(50))
        value = mapped_column(type_)

    return Thing


def refuses_to_commit(session: Session) -> None:
    """Whoever goes on after the error cannot commit, only roll back."""
    with pytest.raises((RecordingError, PendingRollbackError)):
        session.commit()
    session.rollback()


def count(session: Session, model: Any) -> int:
    return session.scalars(select(func.count()).select_from(model.__table__)).one()


# --- values ---------------------------------------------------------------------------------


class Bad(NamedTuple):
    """A type and a value of it that cannot be recorded, and what there is to say of it."""

    type: Any
    value: Any
    why: str
    ways: tuple[str, ...] = tuple(WAYS)


BAD = {
    "unknown type": Bad(AS_STRANGE, Strange(), "Strange has no exact form in the log"),
    "inside": Bad(LENIENT_JSON, {"a": [Strange()]}, "Strange has no exact form", ("flush",)),
    "too deep": Bad(AS_JSON, nested(150), "nested more than 100 levels deep"),
    "refused for the log": Bad(
        Fickle(str, str), "x", "turning its value into what is stored raised ValueError"
    ),
}


@pytest.mark.parametrize(
    ("bad", "way"),
    [pytest.param(bad, way, id=f"{name}-{way}") for name, bad in BAD.items() for way in bad.ways],
)
def test_a_value_that_cannot_be_recorded(
    bad: Bad,
    way: str,
    on_error: OnError,
    base: type[DeclarativeBase],
    start: Start,
    lifecycle: Lifecycle,
    records: Records,
) -> None:
    """The change fails with entity, key, field and cause, or passes with a record of them."""
    thing = thing_model(base, bad.type)
    values = {"id": 1, "name": "Ann", "value": bad.value}
    with start()() as session:
        if on_error == "fail":
            with pytest.raises(RecordingError, match=bad.why) as raised:
                WAYS[way](session, thing, **values)
            assert str(raised.value).startswith("Thing 1: field 'value' cannot be recorded: ")
            assert SECRET not in str(raised.value)
            refuses_to_commit(session)
            assert count(session, thing) == 0
            assert records() == []
            return
        with pytest.warns(UnrecordedWriteWarning, match=bad.why) as warned:
            WAYS[way](session, thing, **values)
        session.commit()
        assert count(session, thing) == 1
    [record] = records()
    assert dict(record.changes) == {
        "id": Change(ABSENT, 1),
        "name": Change(ABSENT, "Ann"),
        "value": Change(ABSENT, UNKNOWN),
    }
    assert record.error is not None
    assert record.error.startswith("field 'value' cannot be recorded: ")
    assert bad.why in record.error
    assert "Thing 1 is recorded, but field 'value' is not" in str(warned[0].message)
    assert SECRET not in record.error + str(warned[0].message)
    assert [(one.what, one.times) for one in lifecycle.coverage().unrecorded] == [
        ("field 'value'", 1)
    ]


GOOD: dict[str, tuple[Any, Any]] = {
    "lone surrogate": (AS_JSON, "\ud800 alone"),
    "nan": (AS_JSON, [math.nan, math.inf]),
    "huge int": (AS_JSON, -(10**400)),
    "megabytes of text": (LONG_TEXT, "é\n" * 2**20),
    "megabytes of bytes": (LONG_BYTES, b"\x00\xff" * 2**20),
    "megabytes of json": (AS_JSON, {"many": ["x" * 100] * 20_000}),
    "just not too deep": (AS_JSON, nested(90)),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("on_error", ["fail"])
def test_a_strange_value_is_recorded_exactly(
    name: str, write: Write, base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """What the database takes and the log can hold is recorded as it is."""
    type_, value = GOOD[name]
    thing = thing_model(base, type_)
    with start().begin() as session:
        write(session, thing, id=1, value=value)
    [record] = records()
    assert record.changes["value"] == Change(ABSENT, value)
    assert record.error is None


def test_a_value_that_its_type_refuses_fails_as_it_would_without_a_log(
    write: Write, base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """The write never reaches the database, so there is nothing to record."""
    thing = thing_model(base, Refusing())
    with start()() as session:
        with pytest.raises(StatementError, match="ValueError"):
            write(session, thing, id=1, value="x")
        session.rollback()
        assert count(session, thing) == 0
    assert records() == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [({"exclude": {"value"}}, None), ({"mask": {"value"}}, Change(ABSENT, MASKED))],
)
@pytest.mark.parametrize("bad", ["unknown type", "too deep", "refused for the log"])
def test_nothing_is_wrong_with_a_value_that_is_not_recorded(
    bad: str,
    policy: dict[str, Any],
    expected: Change | None,
    write: Write,
    base: type[DeclarativeBase],
    start: Start,
    records: Records,
) -> None:
    """A field that is left out or masked cannot make a change fail, nor is it told of."""
    thing = audited(**policy)(thing_model(base, BAD[bad].type))
    with start().begin() as session:
        write(session, thing, id=1, value=BAD[bad].value)
    [record] = records()
    assert record.changes.get("value") == expected
    assert record.error is None


@pytest.mark.parametrize("on_error", ["report"])
def test_of_a_hidden_field_nothing_is_told_when_another_fails(
    write: Write, base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """The error names the field that failed, and the hidden one stays hidden."""
    thing = audited(mask={"name"})(thing_model(base, AS_STRANGE))
    with start().begin() as session, pytest.warns(UnrecordedWriteWarning) as warned:
        write(session, thing, id=1, name=SECRET, value=Strange())
    [record] = records()
    assert record.changes["name"] == Change(ABSENT, MASKED)
    assert SECRET not in f"{record.error} {warned[0].message}"
    assert "name" not in str(record.error)


@pytest.mark.parametrize("on_error", ["report"])
def test_every_update_with_a_fault_is_recorded_and_counted_but_told_once(
    base: type[DeclarativeBase], start: Start, lifecycle: Lifecycle, records: Records
) -> None:
    """What is known of the other fields, and that the object went, is recorded all the same."""
    thing = thing_model(base, AS_STRANGE)
    with start()() as session:
        one = thing(id=1, name="Ann", value=Strange())
        session.add(one)
        with pytest.warns(UnrecordedWriteWarning):
            session.commit()
        one.name, one.value = "Eve", Strange()
        session.commit()
        session.execute(update(thing).values(value=Strange("other")))
        session.execute(delete(thing))
        session.commit()
    assert [str(record.operation) for record in records()] == [
        "insert",
        "update",
        "update",
        "delete",
    ]
    assert dict(records()[1].changes) == {
        "name": Change("Ann", "Eve"),
        "value": Change(UNKNOWN, UNKNOWN),
    }
    assert records()[3].changes["value"] == Change(UNKNOWN, ABSENT)
    assert all(record.error for record in records())
    [counted] = lifecycle.coverage().unrecorded
    assert isinstance(counted, Unrecorded)
    assert counted.times == 4


def test_a_bad_value_that_a_hook_puts(
    on_error: OnError, base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """It is treated as if the application had put it."""
    thing = thing_model(base, AS_STRANGE)

    @pre_persist
    def put(self: Any, event: Any) -> None:
        self.value = Strange()

    thing.put = put
    with start()() as session:
        session.add(thing(id=1))
        if on_error == "fail":
            with pytest.raises(RecordingError, match=r"^Thing 1: field 'value' "):
                session.commit()
            session.rollback()
            assert count(session, thing) == 0
        else:
            with pytest.warns(UnrecordedWriteWarning, match="field 'value'"):
                session.commit()
            assert records()[0].changes["value"] == Change(ABSENT, UNKNOWN)


# --- equality -------------------------------------------------------------------------------


class Undecided:
    """What comparing arrays gives."""

    def __bool__(self) -> bool:
        raise ValueError(SECRET)


class ArrayLike(str):
    """Compares like an array, element by element."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> Any:
        return Undecided()


class Truthy(ArrayLike):
    """Equal to nothing, but what it answers counts as true."""

    __slots__ = ()

    def __eq__(self, other: object) -> Any:
        return [other]


@pytest.mark.parametrize("kind", [ArrayLike, Truthy])
@pytest.mark.parametrize("on_error", ["fail"])
def test_an_equality_without_an_answer_hides_no_change(
    kind: type[str], base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """What SQLAlchemy writes is recorded, whatever the values say when they are compared."""
    thing = thing_model(base, Stored(str, kind))
    with start()() as session:
        one = thing(id=1, value=kind("a"))
        session.add(one)
        session.commit()
        one.value = kind("b")
        session.commit()
        session.execute(update(thing).values(value=kind("c")))
        session.execute(update(thing).values(value=kind("c")))  # changes nothing
        session.commit()
    found = [record.changes["value"] for record in records()]
    assert [(str(one.old), str(one.new)) for one in found[1:]] == [("a", "b"), ("b", "c")]


# --- rows that cannot be read ---------------------------------------------------------------


@pytest.mark.parametrize("way", STATEMENTS)
def test_rows_that_cannot_be_read_back(
    way: str,
    on_error: OnError,
    base: type[DeclarativeBase],
    start: Start,
    engine: Engine,
    lifecycle: Lifecycle,
    records: Records,
) -> None:
    """The statement fails, or is recorded as a whole with its error."""
    thing = thing_model(base, Stored(str, unreadable))
    with start()() as session:
        if on_error == "fail":
            with pytest.raises(
                RecordingError, match=r"insert of things .*cannot be read"
            ) as raised:
                STATEMENTS[way](session, thing, id=1, value=SECRET)
            assert SECRET not in str(raised.value)
            refuses_to_commit(session)
            assert count(session, thing) == 0
            return
        with pytest.warns(UnrecordedWriteWarning, match="rows is not: they cannot be read"):
            STATEMENTS[way](session, thing, id=1, value=SECRET)
        session.execute(update(thing).values(name="Eve", value="x"))
        session.commit()
    inserted, updated = records()
    assert (inserted.operation, inserted.changes["$rows"]) == (
        Operation.BULK,
        Change(ABSENT, 1 if engine.dialect.name != "postgresql" else UNKNOWN),
    )
    assert updated.changes["name"] == Change(UNKNOWN, "Eve")
    assert inserted.error == "rows cannot be recorded: they cannot be read: ValueError was raised"
    assert updated.error == inserted.error
    assert lifecycle.coverage().unrecorded[0].times == 2


# --- labels ---------------------------------------------------------------------------------


def label_of_megabytes(instance: Any) -> str:
    return "é" * 2**20


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (lambda one: 7, "7"),
        (lambda one: "\ud800", "\ud800"),
        (lambda one: "", ""),
        (label_of_megabytes, "é" * 999 + "…"),
    ],
)
@pytest.mark.parametrize("on_error", ["fail"])
def test_a_strange_label_is_made_fit(
    label: Any,
    expected: str,
    write: Write,
    base: type[DeclarativeBase],
    start: Start,
    records: Records,
) -> None:
    """It is turned into text, and cut."""
    thing = audited(label=label)(thing_model(base, Text()))
    with start().begin() as session:
        write(session, thing, id=1)
    assert records()[0].label == expected


def raising(instance: Any) -> Any:
    raise LookupError(SECRET)


@pytest.mark.parametrize(
    ("label", "why"), [(raising, "LookupError"), (lambda one: Strange(), "ValueError")]
)
def test_a_label_that_cannot_be_made(
    label: Any,
    why: str,
    write: Write,
    on_error: OnError,
    base: type[DeclarativeBase],
    start: Start,
    records: Records,
) -> None:
    """A flush fails or is recorded without it; rows have no object whose label could be asked."""
    thing = audited(label=label)(thing_model(base, Text()))
    expected = f"label cannot be recorded: making it raised {why}; correct @audited(label=...)"
    with start()() as session:
        if write is not by_flush:
            write(session, thing, id=1)
            session.commit()
            assert (records()[0].label, records()[0].error) == (None, None)
        elif on_error == "fail":
            with pytest.raises(RecordingError) as raised:
                write(session, thing, id=1)
            assert str(raised.value).startswith(f"Thing 1: {expected}. To let such changes pass")
            refuses_to_commit(session)
            assert records() == []
        else:
            with pytest.warns(UnrecordedWriteWarning, match=why):
                write(session, thing, id=1)
            session.commit()
            assert (records()[0].label, records()[0].error) == (None, expected)
            assert records()[0].changes["id"] == Change(ABSENT, 1)


# --- names and keys -------------------------------------------------------------------------

HOSTILE_NAMES = ['quo"te', "quo'te", "do.t", "spa ce", "per%cent", "per%(c)s", "ünïcode", "select"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("on_error", ["fail"])
def test_strange_names_of_tables_and_columns(
    name: str, write: Write, base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """Rows of a table with such names are recorded, by the names of their attributes."""

    class Thing(base):
        __tablename__ = name
        number: Mapped[int] = mapped_column(f"{name} id", primary_key=True)
        text: Mapped[str | None] = mapped_column(name, String(50))

    column = Thing.__table__.c[name]
    given: dict[str, Any] = {"number": 1, "text": "a"}
    if write is by_core:
        given = {f"{name} id": 1, name: "a"}
    with start()() as session:
        write(session, Thing, **given)
        session.execute(update(Thing.__table__).values({column: "b"}).where(column == "a"))
        session.execute(update(Thing).values(number=2).where(Thing.number == 1))
        session.execute(delete(Thing))
        session.commit()
    assert [
        (str(one.operation), one.former_key, one.key, dict(one.changes)) for one in records()
    ] == [
        ("insert", None, "1", {"number": Change(ABSENT, 1), "text": Change(ABSENT, "a")}),
        ("update", None, "1", {"text": Change("a", "b")}),
        ("update", "1", "2", {"number": Change(1, 2)}),
        ("delete", None, "2", {"number": Change(2, ABSENT), "text": Change("b", ABSENT)}),
    ]


@pytest.mark.parametrize("on_error", ["fail"])
def test_a_table_without_a_primary_key(
    write: Write, base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """A class can be mapped to it by naming one, which is the key in the log."""
    table = Table("loose", base.metadata, Column("code", String(20)), Column("name", String(20)))

    class Loose(base):
        __table__ = table
        __mapper_args__ = {"primary_key": [table.c.code]}

    with start()() as session:
        write(session, Loose, code="a", name="Ann")
        session.execute(update(Loose).values(name="Eve"))
        session.execute(insert(table).values([{"code": "b"}, {"code": "c"}]))
        session.execute(delete(table).where(table.c.code == "a"))
        session.commit()
    assert [(str(one.operation), one.key) for one in records()] == [
        ("insert", "a"),
        ("update", "a"),
        ("insert", "b"),
        ("insert", "c"),
        ("delete", "a"),
    ]


@pytest.fixture
def lenient(engine: Engine) -> Iterator[None]:
    """MariaDB and MySQL cut what is too long without an error, where they are told to."""
    if engine.dialect.name != "mysql":
        yield
        return

    def relax(connection: Any, record: object) -> None:
        connection.cursor().execute("SET SESSION sql_mode = ''")

    event.listen(engine, "connect", relax)
    yield
    event.remove(engine, "connect", relax)


@pytest.mark.parametrize("unit", ["long ", "é\n", "\x00", "\ue000", "🙂"], ids=ascii)
@pytest.mark.parametrize("on_error", ["fail"])
def test_a_key_longer_than_its_column_is_found_again(
    unit: str,
    lenient: None,
    engine: Engine,
    write: Write,
    base: type[DeclarativeBase],
    start: Start,
    lifecycle: Lifecycle,
) -> None:
    """Two keys that only differ at their ends are never cut to the same one."""
    if unit == "\x00" and engine.dialect.name == "postgresql":
        pytest.skip("PostgreSQL has no NUL in text")

    class Place(base):
        __tablename__ = "places"
        x: Mapped[str] = mapped_column(String(200), primary_key=True)
        y: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)

    x = (unit * 200)[:200]
    with start().begin() as session:
        for y in (10**9, 10**9 + 1):
            write(session, Place, x=x, y=y)
    for y in (10**9, 10**9 + 1):
        [record] = lifecycle.history.of(Place, (x, y))
        assert record.changes["y"] == Change(ABSENT, y)


def test_a_name_that_the_log_has_no_room_for(base: type[DeclarativeBase], start: Start) -> None:
    """It is told before anything is written, so nothing is ever cut."""
    attributes = {"__tablename__": "t", "id": mapped_column(String(5), primary_key=True)}
    model = type("T" * 256, (base,), attributes)
    with start()() as session:
        session.add(model(id="a"))
        with pytest.raises(ConfigurationError, match=r"T… in the log has 256 characters.*entity="):
            session.commit()


class Code:
    """A key that has no text."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and other.value == self.value

    def __str__(self) -> str:
        raise ValueError(SECRET)


class CodeType(Stored):
    """Stores them."""

    impl = String(20)
    cache_ok = True


def test_a_key_without_a_text_always_fails(
    write: Write, base: type[DeclarativeBase], start: Start, records: Records
) -> None:
    """Nobody could find its records: both policies refuse the change."""

    class Coded(base):
        __tablename__ = "coded"
        code = mapped_column(CodeType(lambda code: code.value, Code), primary_key=True)

    with start()() as session:
        with pytest.raises(
            RecordingError, match=r"a Coded cannot be recorded, .*__str__ of .*Code"
        ) as raised:
            write(session, Coded, code=Code("a"))
        assert SECRET not in str(raised.value)
        refuses_to_commit(session)
        assert count(session, Coded) == 0
    assert records() == []


# --- what must not be committed -------------------------------------------------------------


@pytest.fixture
def thing(base: type[DeclarativeBase]) -> Any:
    """A model with a value that cannot be recorded."""
    return thing_model(base, AS_STRANGE)


BAD_VALUES = {"id": 1, "value": Strange()}
GOOD_VALUES = {"id": 2, "name": "Ann"}

fails = pytest.mark.parametrize("on_error", ["fail"])


@fails
def test_a_transaction_with_an_unrecorded_statement_cannot_commit(
    thing: Any, start: Start, records: Records
) -> None:
    """The error can be caught, but what is not recorded is not committed; a rollback ends that."""
    with start()() as session:
        with pytest.raises(RecordingError):
            session.execute(insert(thing), [BAD_VALUES])
        session.add(thing(**GOOD_VALUES))
        with pytest.raises(
            RecordingError, match=r"cannot commit, for insert of things .*Thing 1: "
        ):
            session.commit()
        session.rollback()
        session.add(thing(**GOOD_VALUES))
        session.commit()
        assert count(session, thing) == 1
    assert [record.key for record in records()] == ["2"]


@fails
@pytest.mark.parametrize("write", [by_flush, by_core], ids=["flush", "core"])
def test_a_savepoint_from_before_the_write_takes_it_back(
    write: Write, thing: Any, start: Start, records: Records
) -> None:
    """Rolled back to a savepoint from before it, the transaction can commit the rest."""
    with start()() as session:
        session.add(thing(**GOOD_VALUES))
        with pytest.raises(RecordingError), session.begin_nested():
            write(session, thing, **BAD_VALUES)
        session.commit()
        assert count(session, thing) == 1
    assert [record.key for record in records()] == ["2"]


@fails
def test_a_savepoint_that_is_released_takes_nothing_back(thing: Any, start: Start) -> None:
    """Nor does one that began after the statement."""
    with start()() as session:
        session.execute(delete(thing))  # else a savepoint of SQLite, once released, is committed
        with session.begin_nested() as outer:
            with session.begin_nested(), pytest.raises(RecordingError):
                session.execute(insert(thing), [BAD_VALUES])
            session.begin_nested().rollback()
            assert outer.is_active
        with pytest.raises(RecordingError, match="cannot commit"):
            session.commit()
        session.rollback()
        assert count(session, thing) == 0


@fails
def test_the_outer_savepoint_takes_back_what_the_inner_one_left(thing: Any, start: Start) -> None:
    """A released savepoint's statement belongs to the one around it."""
    with start()() as session:
        outer = session.begin_nested()
        with session.begin_nested(), pytest.raises(RecordingError):
            session.execute(insert(thing), [BAD_VALUES])
        outer.rollback()
        session.commit()
        assert count(session, thing) == 0


@fails
def test_a_connection_of_an_installed_engine_cannot_commit(
    thing: Any, base: type[DeclarativeBase], engine: Engine, lifecycle: Lifecycle
) -> None:
    """Outside of sessions the connection itself refuses."""
    base.metadata.create_all(engine)
    lifecycle.create_tables(engine)
    lifecycle.install(engine)
    with engine.connect() as connection:
        with pytest.raises(RecordingError):
            connection.execute(insert(thing.__table__), BAD_VALUES)
        with pytest.raises(RecordingError, match="rolled back instead of being committed"):
            connection.commit()
        connection.rollback()
        connection.execute(insert(thing.__table__), GOOD_VALUES)
        connection.commit()
        assert connection.execute(select(thing.id)).all() == [(2,)]
    lifecycle.uninstall(engine)


@fails
def test_an_outer_transaction_cannot_commit_what_its_session_left(
    thing: Any, start: Start, engine: Engine
) -> None:
    """A session that joined a transaction may be gone, the transaction remembers."""
    factory = start()
    with engine.connect() as connection:
        with connection.begin() as outer:
            with factory(bind=connection) as session, pytest.raises(RecordingError):
                session.execute(insert(thing), [BAD_VALUES])
            with pytest.raises(RecordingError, match="rolled back instead of being committed"):
                outer.commit()
            outer.rollback()
        assert connection.execute(select(thing.id)).all() == []


@fails
def test_no_database_of_a_session_commits_when_one_must_not(
    thing: Any, start: Start, engine: Engine, base: type[DeclarativeBase], tmp_path: Any
) -> None:
    """They are asked before the first of them commits."""

    class Other(base):
        __tablename__ = "others"
        id: Mapped[int] = mapped_column(primary_key=True)

    elsewhere = create_engine(f"sqlite:///{tmp_path / 'other.sqlite'}")
    base.metadata.create_all(elsewhere)
    factory = start()
    Lifecycle().create_tables(elsewhere)
    with factory(binds={Other: elsewhere}) as session:
        session.add(Other(id=1))
        session.flush()
        with pytest.raises(RecordingError):
            session.execute(insert(thing), [BAD_VALUES])
        with pytest.raises(RecordingError, match="cannot commit"):
            session.commit()
        session.rollback()
        assert session.scalars(select(Other.id)).all() == []
    elsewhere.dispose()


@fails
def test_a_two_phase_transaction_is_not_even_prepared(
    thing: Any, base: type[DeclarativeBase], postgresql_engine: Engine, lifecycle: Lifecycle
) -> None:
    """Once prepared it could be committed by anybody."""
    base.metadata.create_all(postgresql_engine)
    lifecycle.create_tables(postgresql_engine)
    lifecycle.install(postgresql_engine)
    with postgresql_engine.connect() as connection:
        transaction = connection.begin_twophase()
        with pytest.raises(RecordingError):
            connection.execute(insert(thing.__table__), BAD_VALUES)
        with pytest.raises(RecordingError, match="cannot commit"):
            transaction.prepare()
        transaction.rollback()
        assert connection.execute(select(thing.id)).all() == []
    lifecycle.uninstall(postgresql_engine)


@fails
@pytest.mark.parametrize("way", WAYS)
def test_in_autocommit_the_error_says_that_the_change_is_committed(
    way: str, thing: Any, start: Start, engine: Engine, records: Records
) -> None:
    """Nothing can be undone there, and the message does not pretend otherwise."""
    factory = start()
    with factory(bind=engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        with pytest.raises(RecordingError, match=r"done and committed.*Thing 1: field 'value'"):
            WAYS[way](session, thing, **BAD_VALUES)
        session.rollback()
        session.execute(insert(thing), [GOOD_VALUES])
        session.commit()
        assert count(session, thing) == 2
    assert [record.key for record in records()] == ["2"]


class Interrupt(BaseException):
    """As a KeyboardInterrupt, or a task that is cancelled."""


@fails
def test_an_interrupted_recording_cannot_be_committed(
    base: type[DeclarativeBase], start: Start
) -> None:
    """Whatever ends it before the record is there."""

    def interrupted(instance: Any) -> str:
        raise Interrupt

    thing = audited(label=interrupted)(thing_model(base, Text()))
    with start()() as session:
        with pytest.raises(Interrupt):
            session.execute(insert(thing), [{"id": 1}])
        with pytest.raises(RecordingError, match=r"cannot commit.*Interrupt was raised"):
            session.commit()
        session.rollback()
        assert count(session, thing) == 0


def test_records_that_the_database_refuses_always_fail(
    write: Write, thing: Any, start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """A record that cannot be written cannot tell of itself: both policies refuse the change."""
    factory = start()
    lifecycle.metadata.drop_all(engine)
    with factory() as session:
        with pytest.raises(TablesMissing):
            write(session, thing, **GOOD_VALUES)
        refuses_to_commit(session)
        assert count(session, thing) == 0


def test_an_error_of_the_database_shows_no_recorded_values(
    write: Write, thing: Any, start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """Of the parameters of an INSERT into the log nothing is shown."""
    factory = start()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE lifecycle_change RENAME COLUMN changes TO chances"))
    with factory() as session:
        with pytest.raises(TablesMissing, match="lack what they have today") as raised:
            write(session, thing, id=1, name=SECRET)
        assert SECRET not in str(raised.value)
        assert isinstance(raised.value.__cause__, DBAPIError)
        assert "hide_parameters" in str(raised.value.__cause__)
        assert SECRET not in str(raised.value.__cause__)
        refuses_to_commit(session)
