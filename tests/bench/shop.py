"""The application whose log is made up: its models, and the rows that previews compare with."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, ForeignKey, String, TypeDecorator, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, sessionmaker

from lifecycle import Lifecycle, audited

__all__ = ["CUSTOMERS", "ENTITIES", "STATES", "open_shop"]

CUSTOMERS: Final = 300_000
"""Below which number the keys of everything are."""

STATES: Final = {
    "draft": "not sent yet",
    "confirmed": "confirmed",
    "paid": "paid",
    "packed": "in the house",
    "shipped": "on its way",
}

ENTITIES: Final = (
    ("store.Order",) * 4
    + ("store.Customer",) * 2
    + tuple(
        f"store.{name}"
        for name in (
            "Invoice",
            "Payment",
            "Product",
            "Price",
            "Stock",
            "Address",
            "Note",
            "Task",
            "Tag",
        )
    )
)
"""What is changed, as often as it is named."""


class Base(DeclarativeBase):
    """The tables of the made-up shop."""


class _State(TypeDecorator[str]):
    """A status, which has a name for people."""

    impl = String
    cache_ok = True
    choices: Final = list(STATES.items())


class Entry:
    """What all of them have; everything is somebody's."""

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return f"pages_{cls.__name__.lower()}"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str | None] = mapped_column(_State(20))
    total: Mapped[int | None]
    note: Mapped[str | None]
    city: Mapped[str | None]

    @declared_attr
    def customer_id(cls) -> Mapped[int | None]:
        customer = ForeignKey("pages_madeupcustomer.id", deferrable=True, initially="DEFERRED")
        return mapped_column(customer, index=True)


def _model(entity: str) -> type[Any]:
    name = f"MadeUp{entity.removeprefix('store.')}"
    made: type[Any] = audited(entity=entity)(type(name, (Entry, Base), {}))
    return made


MODELS: Final = {entity: _model(entity) for entity in dict.fromkeys(ENTITIES)}


def open_shop(engine: Engine, rows: dict[str, list[dict[str, Any]]]) -> tuple[Lifecycle, Any]:
    """A Lifecycle with these models beside the log, and its sessions; the rows are stored."""
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for entity in sorted(rows, key="store.Customer".__ne__):  # what the others refer to
            connection.execute(insert(MODELS[entity]), rows[entity])
    sessions = sessionmaker(engine)
    lifecycle = Lifecycle(store=engine)
    lifecycle.install(sessions)
    return lifecycle, sessions
