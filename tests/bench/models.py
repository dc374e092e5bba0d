"""What the benchmark writes: a model of ten columns."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import (
    Connection,
    DateTime,
    Integer,
    Numeric,
    String,
    cast,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["change", "declare", "fill", "items"]

_MADE = datetime(2026, 11, 21, 10, tzinfo=UTC)
_WORDS = "some words about it"


def declare(base: type[DeclarativeBase]) -> type[Any]:
    """The model, declared anew on a base: ten columns, of the kinds that applications have."""

    class Item(base):
        __tablename__ = "bench_item"
        __versioned__: ClassVar[dict[str, Any]] = {}  # how the peers know what to record
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(80))
        code: Mapped[str] = mapped_column(String(20))
        text: Mapped[str | None]
        price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
        amount: Mapped[int]
        weight: Mapped[float]
        active: Mapped[bool]
        made: Mapped[datetime] = mapped_column(DateTime(timezone=True))
        group: Mapped[str] = mapped_column(String(20))

    return Item


def items(model: type[Any], count: int) -> list[Any]:
    """New objects."""
    return [
        model(
            name=f"item {number}",
            code=f"C-{number:06}",
            text=_WORDS,
            price=Decimal(number) / 100,
            amount=number,
            weight=number / 3,
            active=True,
            made=_MADE,
            group=f"group {number % 7}",
        )
        for number in range(count)
    ]


def change(item: Any) -> None:
    """Change three columns."""
    item.name += "!"
    item.amount += 1
    item.price += 1


def fill(connection: Connection, model: type[Any], count: int) -> None:
    """Write rows that no log sees, in one statement."""
    number = select(literal(1).label("n")).cte("number", recursive=True)
    number = number.union_all(select(number.c.n + 1).where(number.c.n < count))
    n, table = number.c.n, model.__table__
    row = {
        "id": n,
        "name": literal("item ") + cast(n, String),
        "code": literal("C-") + cast(n, String),
        "text": literal(_WORDS),
        "price": cast(n, Numeric(10, 2)),
        "amount": n,
        "weight": cast(n, Integer) / 3.0,
        "active": literal(True),
        "made": literal(_MADE, table.c.made.type),
        "group": literal("group"),
    }
    triggers = connection.dialect.name == "postgresql"
    if triggers:
        connection.execute(text(f"ALTER TABLE {table.name} DISABLE TRIGGER USER"))
    connection.execute(insert(table).from_select([*row], select(*row.values())))
    if triggers:
        connection.execute(text(f"ALTER TABLE {table.name} ENABLE TRIGGER USER"))
