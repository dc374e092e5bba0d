"""A shop with some weeks of history, as real models write it: what the browser is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from sqlalchemy import JSON, Engine, ForeignKey, Numeric, String, Text, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from lifecycle import Lifecycle, acting, audited

__all__ = [
    "LONG_PATH",
    "ORDER",
    "ORDERS",
    "RULES",
    "SOURCE",
    "ShopOrder",
    "ShopSession",
    "ShopSource",
    "open_shop",
]

ORDER = "sales.Order"
SOURCE = "repo.File"
RULES = "shop/pricing/rules.py"
LONG_PATH = f"shop/a module whose name is long/{'and_has_no_place_to_break_a_line' * 4}.py"
STATES = ("draft", "confirmed", "paid", "shipped")
ORDERS = 8


class ShopBase(DeclarativeBase):
    """The tables of the shop."""


@audited(entity="sales.Customer", label="name", mask={"password_hash"})
class ShopCustomer(ShopBase):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(String(80))


@audited(entity=ORDER, label=lambda order: f"Order {order.number}")
class ShopOrder(ShopBase):
    __tablename__ = "order"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(20))
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    status: Mapped[str] = mapped_column(String(20))
    total: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    note: Mapped[str | None] = mapped_column(Text)
    address: Mapped[dict[str, str]] = mapped_column(JSON)
    tags: Mapped[list[str]] = mapped_column(JSON)


@audited(entity=SOURCE, label="path")
class ShopSource(ShopBase):
    __tablename__ = "source"
    path: Mapped[str] = mapped_column(String(200), primary_key=True)
    mode: Mapped[str] = mapped_column(String(6))
    text: Mapped[str] = mapped_column(Text)


ShopSession: TypeAlias = "sessionmaker[Session]"

PEOPLE = {
    "ann": "Ann Keller",
    "bob": "Bob Osei",
    "mei": "Mei Lindström",
}
SOURCES = {
    "README.md": "# Shop\n\nTakes orders and ships them.\n",
    RULES: "".join(
        f"def rule_{n}(order):\n    return order.total * {n} // 100\n\n\n" for n in range(12)
    ),
    LONG_PATH: "LONG = 1\n",
    "shop/übersicht.py": "TITLE = 'Übersicht'\n",
}


def open_shop(engine: Engine) -> tuple[Lifecycle, ShopSession]:
    """The shop after some weeks: its Lifecycle, and sessions that are recorded."""
    ShopBase.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    lifecycle = Lifecycle()
    lifecycle.install(sessions)
    lifecycle.create_tables(engine)
    _trade(sessions)
    _spread(lifecycle, engine)
    return lifecycle, sessions


def _trade(sessions: ShopSession) -> None:
    with acting("import", reason="first import", source="job"), sessions.begin() as session:
        for path, content in SOURCES.items():
            session.add(ShopSource(path=path, mode="100644", text=content))
        names = ("Ada Lovelace", "Grace Hopper", "Μαρία Καλλέργη", "أمينة", "Ines O'Brien")
        for id, name in enumerate(names, 1):
            email = f"{name.split()[0].lower()}@example.org" if name.isascii() else None
            session.add(ShopCustomer(id=id, name=name, email=email, password_hash="$2b$12$…"))
    for id in range(1, ORDERS + 1):
        who = list(PEOPLE)[id % 3]
        with acting(who, label=PEOPLE[who], source="web"), sessions.begin() as session:
            session.add(
                ShopOrder(
                    id=id,
                    number=f"2026-{1000 + id}",
                    customer_id=id % 5 + 1,
                    status=STATES[0],
                    total=Decimal(f"{id * 17}.90"),
                    note=None if id % 2 else "Please ring twice. The door is at the back.",
                    address={"street": f"Lime Street {id}", "city": "Bern", "zip": f"30{id:02}"},
                    tags=["new", "web"],
                )
            )
    for step, status in enumerate(STATES[1:], 1):
        for id in range(1, ORDERS + 1 - 2 * step):
            who = list(PEOPLE)[(id + step) % 3]
            reason = f"order {status}" if id % 3 else None
            context = {"request_id": f"req-{step}{id:03}", "source": "web"}
            by = acting(who, label=PEOPLE[who], reason=reason, **context)
            with by, sessions.begin() as session:
                order = session.get_one(ShopOrder, id)
                order.status = status
                if step == 2:
                    order.note = "Please ring once. The door is at the back, by the garden."
                    order.tags = ["web", "paid"]
                    order.address = {**order.address, "city": "Basel"}
    with acting("mei", label=PEOPLE["mei"], reason="prices checked"), sessions.begin() as session:
        rules = session.get_one(ShopSource, RULES)
        rules.text = rules.text.replace("order.total * 7", "order.net_total * 7")
        rules.mode = "100755"
        session.get_one(ShopOrder, 3).total = Decimal("15.30")
    with acting("bob", label=PEOPLE["bob"], reason="moved"), sessions.begin() as session:
        session.get_one(ShopSource, "README.md").path = "docs/README.md"
    by = acting("ann", label=PEOPLE["ann"], reason="cancelled")
    with by, sessions.begin() as session:
        session.delete(session.get_one(ShopOrder, ORDERS))
        session.get_one(ShopCustomer, 2).password_hash = "$2b$12$other"
    by = acting("ann", label=PEOPLE["ann"], reason="typed into the wrong order", source="web")
    with by, sessions.begin() as session:
        session.get_one(ShopOrder, 1).total = Decimal("1790.00")


def _spread(lifecycle: Lifecycle, engine: Engine) -> None:
    """Make the revisions a few hours apart each, up to an hour ago: they were made in a second."""
    revision = lifecycle.metadata.tables["lifecycle_revision"]
    now = datetime.now(UTC).replace(minute=0, second=12, microsecond=345_678)
    with engine.begin() as connection:
        seqs = connection.scalars(select(revision.c.seq).order_by(revision.c.seq.desc())).all()
        for back, seq in enumerate(seqs):
            at = now - timedelta(hours=1, minutes=back * 457 + back % 7)
            connection.execute(update(revision).where(revision.c.seq == seq).values(at=at))
