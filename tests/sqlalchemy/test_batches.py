"""What is told of many rows in columns is what looking at each of them tells, byte for byte."""

from __future__ import annotations

import enum
import pickle
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Engine,
    ForeignKey,
    Numeric,
    String,
    bindparam,
    case,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from lifecycle import Lifecycle, audited, spooling
from lifecycle.audit.stores.sql.tables import audit_tables
from lifecycle.mappers.sqlalchemy import images, inserts, rewrites, tables
from lifecycle.mappers.sqlalchemy.rows import Rows as Columns
from lifecycle.written import Batch
from tests.statements import statements

Start = Callable[[], sessionmaker[Session]]
Rows = list[dict[str, Any]]


class Grade(enum.Enum):
    LOW = 1
    HIGH = 2


@pytest.fixture
def models(base: type[DeclarativeBase]) -> Any:
    """Models that can be told in columns, at least at times, and some that cannot."""

    class Parcel(base):
        __tablename__ = "parcels"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        kind: Mapped[str] = mapped_column(String(10), default="parcel")
        name: Mapped[str | None] = mapped_column(String(50))
        price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
        weight: Mapped[float | None]
        count: Mapped[int | None]
        at: Mapped[datetime | None]
        touched: Mapped[int | None] = mapped_column(onupdate=7)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "parcel"}

    class Crate(Parcel):
        lid: Mapped[str | None] = mapped_column(String(50))
        __mapper_args__ = {"polymorphic_identity": "crate"}

    class Barrel(Parcel):
        __tablename__ = "barrels"
        id: Mapped[int] = mapped_column(ForeignKey("parcels.id"), primary_key=True)
        hoops: Mapped[int | None]
        __mapper_args__ = {"polymorphic_identity": "barrel"}

    @audited(mask={"code"}, exclude={"note"})
    class Voucher(base):
        __tablename__ = "vouchers"
        shop: Mapped[str] = mapped_column(String(10), primary_key=True)
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        name: Mapped[str | None] = mapped_column(String(50))
        code: Mapped[str | None] = mapped_column(String(50))
        note: Mapped[str | None] = mapped_column(String(50))
        count: Mapped[int | None]
        grade: Mapped[Grade | None]
        extra: Mapped[Any | None] = mapped_column(JSON)

    @audited(label="name")
    class Depot(base):
        __tablename__ = "depots"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        name: Mapped[str | None] = mapped_column(String(50))
        count: Mapped[int | None]

    return SimpleNamespace(Parcel=Parcel, Crate=Crate, Barrel=Barrel, Voucher=Voucher, Depot=Depot)


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows are many: portions of three, two of which are asked for at a time."""
    monkeypatch.setattr(images, "PORTION", 3)
    monkeypatch.setattr(rewrites, "PORTION", 3)
    monkeypatch.setattr(rewrites, "TOGETHER", 6)
    monkeypatch.setattr(inserts, "TOGETHER", 3)
    monkeypatch.setattr(spooling, "_IN_MEMORY", 4)


@pytest.fixture
def factory(models: Any, start: Start) -> sessionmaker[Session]:
    """Sessions that are recorded, with the tables there."""
    return start()


class Looking:
    """Switches between the two ways to tell, and counts what is told in columns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._make = tables.batch_of
        self.at_each = False
        self.told_in_columns = 0
        monkeypatch.setattr(tables, "batch_of", self.batch_of)

    def batch_of(self, *given: Any) -> Batch | None:
        batch = None if self.at_each else self._make(*given)
        self.told_in_columns += 0 if batch is None else len(batch.keys)
        return batch


@pytest.fixture
def looking(small_portions: None, monkeypatch: pytest.MonkeyPatch) -> Looking:
    """A few rows are many here: enough for several portions, and for a file."""
    return Looking(monkeypatch)


words = st.none() | st.text(st.sampled_from("aß\\\t\n\r\"'\u2028é"), max_size=4)
counts = st.none() | st.integers(-2, 3) | st.integers(-(2**31), 2**31 - 1)


floats = st.none() | st.sampled_from([0.0, -0.0, 1.5]) | st.floats(-9, 9)
exotic = st.sampled_from([float("nan"), float("inf")])


def rows_of(dialect: str) -> st.SearchStrategy[Rows]:
    """Rows with the values of any of the models."""
    one = st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["parcel"] * 8 + ["crate"]),
            "name": words,
            "price": st.none() | st.decimals(-9, 9, places=2),
            "weight": floats | exotic if dialect == "postgresql" else floats,
            "count": counts,
            "at": st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
            "grade": st.none() | st.sampled_from(Grade),
            "extra": st.sampled_from([{"a": 1}, [1, "b"], "c"]),
        }
    )
    return st.lists(one, min_size=1, max_size=11)


def of_model(model: Any, rows: Rows, first: int = 0) -> Rows:
    """The values that a model has columns for, under keys of which some follow each other."""
    names = model.__table__.columns.keys()
    found = []
    for n, row in enumerate(rows):
        keys = {"id": first + (n if n < 7 else 3 * n), "shop": "ab"[n % 2]}
        more = {"code": row["name"], "note": row["name"], "lid": row["name"]}
        found.append({name: one for name, one in {**row, **more, **keys}.items() if name in names})
    return found


def fill(session: Session, m: Any, rows: Rows) -> None:
    """Write what the log is not told of."""
    for model in (m.Parcel, m.Voucher, m.Depot):
        session.execute(insert(model.__table__), of_model(model, rows))
    numbers = range(300, 300 + len(rows))
    barrels = [{"id": number, "kind": "barrel"} for number in numbers]
    session.execute(insert(m.Parcel.__table__), barrels)
    hoops = [{"id": id, "hoops": row["count"]} for id, row in zip(numbers, rows, strict=True)]
    session.execute(insert(m.Barrel.__table__), hoops)


def set_by_parameters(session: Session, m: Any) -> None:
    """An UPDATE of many parameter sets, two of which hit the same row."""
    table = m.Voucher.__table__
    statement = update(table).where(table.c.shop == bindparam("s"), table.c.id == bindparam("i"))
    given = [{"s": "ab"[n % 2], "i": n, "c": n + 7} for n in (0, 1, 2, 3, 1)]
    session.connection().execute(statement.values(count=bindparam("c")), given)


WAYS: dict[str, Callable[[Session, Any, Rows], Any]] = {
    "set to the same": lambda s, m, r: s.execute(
        update(m.Parcel).values({name: r[0][name] for name in ("name", "price", "weight", "at")})
    ),
    "set from what it was": lambda s, m, r: s.execute(
        update(m.Parcel).values(
            count=case((m.Parcel.count > 0, 1), else_=m.Parcel.count), name=m.Parcel.name + "x"
        )
    ),
    "change what it is found by": lambda s, m, r: s.execute(
        update(m.Parcel).where(m.Parcel.count == r[0]["count"]).values(count=5)
    ),
    "change keys": lambda s, m, r: s.execute(
        update(m.Voucher).values(id=m.Voucher.id + 50, count=1)
    ),
    "of plain fields of a model that has others": lambda s, m, r: s.execute(
        update(m.Voucher).values(name=r[0]["name"], count=r[0]["count"])
    ),
    "of masked and left out fields": lambda s, m, r: s.execute(
        update(m.Voucher).values(name="x", code=r[0]["name"], note="y")
    ),
    "of fields of other types": lambda s, m, r: s.execute(
        update(m.Voucher).values(name="x", grade=r[0]["grade"], extra=r[0]["extra"])
    ),
    "with labels": lambda s, m, r: s.execute(update(m.Depot).values(count=r[0]["count"])),
    "of a part": lambda s, m, r: s.execute(update(m.Barrel.__table__).values(hoops=2)),
    "of a base": lambda s, m, r: s.execute(
        update(m.Parcel.__table__).values(name="x", kind="crate")
    ),
    "by parameters": lambda s, m, r: set_by_parameters(s, m),
    "bulk update": lambda s, m, r: s.bulk_update_mappings(
        m.Parcel, [{"id": n, "name": row["name"], "count": n} for n, row in enumerate(r) if n < 7]
    ),
    "delete": lambda s, m, r: s.execute(delete(m.Parcel).where(m.Parcel.kind != "barrel")),
    "delete some": lambda s, m, r: s.execute(delete(m.Voucher).where(m.Voucher.id > 2)),
    "insert": lambda s, m, r: s.execute(insert(m.Parcel), of_model(m.Parcel, r, 50)),
    "insert into the table": lambda s, m, r: s.execute(
        insert(m.Voucher.__table__), of_model(m.Voucher, r, 50)
    ),
    "insert from a select": lambda s, m, r: s.execute(
        insert(m.Depot.__table__).from_select(
            ["id", "name"],
            select(m.Parcel.__table__.c.id + 200, m.Parcel.__table__.c.name),
        )
    ),
}


@pytest.mark.parametrize("way", WAYS)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_columns_tell_what_a_look_at_each_row_tells(
    way: str,
    models: Any,
    factory: sessionmaker[Session],
    lifecycle: Lifecycle,
    engine: Engine,
    looking: Looking,
    data: st.DataObject,
) -> None:
    """The rows of the log are the same, in the same order."""
    rows = data.draw(rows_of(engine.dialect.name))
    # Written once, for the order in which a database finds rows that were written again is its own.
    with lifecycle.suppressed(), factory.begin() as session:
        fill(session, models, rows)
    found = []
    for at_each in (False, True):
        looking.at_each = at_each
        with factory() as session:
            WAYS[way](session, models, rows)
            found.append(logged(session))
    with lifecycle.suppressed(), factory.begin() as session:
        for model in (models.Barrel, models.Parcel, models.Voucher, models.Depot):
            session.execute(delete(model.__table__))
    assert found[0] == found[1]


FOUND = {
    "every row": (range(1, 14), 3),
    "rows that follow each other, and then some that do not": ([1, 2, 3, 4, 6, 8], 1),
    "every other row": (range(1, 14, 2), 2),
    "rows far from each other": ([1, 50, 60, 61, 62, 70, 99], 2),
}


@pytest.mark.parametrize("found", FOUND)
@pytest.mark.usefixtures("small_portions")
def test_rows_of_several_portions_are_asked_for_together(
    found: str, models: Any, factory: sessionmaker[Session], lifecycle: Lifecycle, engine: Engine
) -> None:
    """However they lie among others, each is told once, as it was and as it is."""
    numbers, queries = FOUND[found]
    with factory() as session:
        with lifecycle.suppressed():
            rows = [{"id": n, "kind": "parcel", "count": int(n in numbers)} for n in range(1, 100)]
            session.execute(insert(models.Parcel.__table__), rows)
        with statements(engine) as seen:
            session.execute(
                update(models.Parcel).where(models.Parcel.count == 1).values(count=7),
                execution_options={"synchronize_session": False},
            )
        told = [(record.key, record.changes) for record in logged(session)]
    assert told == [(str(n), '{"count":[1,7],"touched":[null,7]}') for n in numbers]
    assert sum(one.startswith("SELECT") for one in seen) == 1 + queries


def test_rows_come_back_from_a_file_as_they_were() -> None:
    """Decimals, which are kept as texts there, to the last digit."""
    decimals = tuple(map(Decimal, ("1.50", "-0", "1E+7", "0.000", "NaN", "-Infinity")))
    columns = {"a": decimals, "b": (*decimals[1:], None), "c": tuple("a\nbcd\n")}
    found = pickle.loads(pickle.dumps(Columns(columns))).columns
    assert repr(found) == repr(columns)


def logged(session: Session) -> list[Any]:
    """The records of the open transaction, as they are stored."""
    change = audit_tables().change
    columns = [column for column in change.columns if column.key != "seq"]
    return [*session.execute(select(*columns).order_by(change.c.seq, change.c.n))]


IN_COLUMNS = {
    "set to the same",
    "set from what it was",
    "of plain fields of a model that has others",
    "of a part",
    "by parameters",
    "delete",
    "insert",
}


@pytest.mark.parametrize("way", sorted(IN_COLUMNS))
def test_what_is_plain_is_told_in_columns(
    way: str, models: Any, factory: sessionmaker[Session], lifecycle: Lifecycle, looking: Looking
) -> None:
    """Else the comparison above would compare one way with itself."""
    rows = [
        {
            "kind": "parcel",
            "name": f"n{n}",
            "price": Decimal(n),
            "weight": n / 2,
            "count": n,
            "at": datetime(2026, 11, 21, n),
            "grade": None,
            "extra": None,
        }
        for n in range(9)
    ]
    with factory() as session:
        with lifecycle.suppressed():
            fill(session, models, rows)
        WAYS[way](session, models, rows)
        assert 0 < len(logged(session)) == looking.told_in_columns
