"""What the benchmark writes: a model of ten columns, and the sessions that write it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import DateTime, Engine, Numeric, String, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from lifecycle import Lifecycle

__all__ = ["VARIANTS", "Base", "Item", "Statements", "change", "counted", "items", "sessions"]


class Base(DeclarativeBase):
    """The base of the benchmark's models."""


class Item(Base):
    """Ten columns, of the kinds that applications have."""

    __tablename__ = "bench_item"
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


def items(count: int) -> list[Item]:
    """New objects."""
    return [
        Item(
            name=f"item {number}",
            code=f"C-{number:06}",
            text="some words about it",
            price=Decimal(number) / 100,
            amount=number,
            weight=number / 3,
            active=True,
            made=datetime(2026, 11, 21, 10, tzinfo=UTC),
            group=f"group {number % 7}",
        )
        for number in range(count)
    ]


def change(item: Item) -> None:
    """Change three columns."""
    item.name += "!"
    item.amount += 1
    item.price += 1


VARIANTS: Final = ("plain", "audit off", "audited")
"""Without Lifecycle; installed for its hooks, of which there are none; and with its log."""


@contextmanager
def sessions(variant: str, engine: Engine) -> Iterator[sessionmaker[Session]]:
    """The sessions of a variant, which is installed inside the block only.

    What listens to the flushes of one Lifecycle is asked by every mapper of the process, so a
    plain run is plain only while nothing is installed.
    """
    factory = sessionmaker(engine, expire_on_commit=False)
    if variant == "plain":
        yield factory
        return
    lifecycle = Lifecycle(audit="all" if variant == "audited" else "marked")
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    yield factory
    lifecycle.uninstall(factory)
    lifecycle.metadata.drop_all(engine)  # every run writes into an empty log


@dataclass(slots=True)
class Statements:
    """The statements an engine has been given."""

    count: int = 0

    def __call__(self, *args: Any) -> None:
        self.count += 1


@contextmanager
def counted(engine: Engine) -> Iterator[Statements]:
    """Count the statements inside the block."""
    statements = Statements()
    event.listen(engine, "before_cursor_execute", statements)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", statements)
