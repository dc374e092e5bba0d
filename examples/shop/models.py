"""What the shop keeps: users and orders as rows, sellers and products as documents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import mongoengine
from mongoengine.fields import ComplexDateTimeField, IntField, ReferenceField, StringField
from sqlalchemy import DateTime, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from lifecycle import (
    ReferenceMany,
    ReferenceOne,
    audited,
    blame,
    lazy_migration,
    migrates,
    pre_persist,
    pre_update,
    soft_delete,
    timestamps,
)
from lifecycle.conditions import Becomes

STATUSES = ("placed", "paid", "shipped", "delivered", "cancelled")


class Base(DeclarativeBase):
    """The tables of the shop."""


class Stamps:
    """When a row was made and changed, and by whom; see `timestamps` and `blame`."""

    created_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_by: Mapped[str | None] = mapped_column(String(60))
    updated_by: Mapped[str | None] = mapped_column(String(60))


@lazy_migration("schema_version")
@timestamps
@blame
@audited(entity="shop.User", label=lambda user: user.name, mask={"password_hash"})
class User(Stamps, Base):
    """Somebody who buys, and may own a seller.

    Until version 2 a user had one name. Its column stays mapped until no user is at version 1,
    which `lifecycle migrations` tells.
    """

    __tablename__ = "shop_users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(100), unique=True)
    full_name: Mapped[str | None] = mapped_column(String(100))
    first_name: Mapped[str | None] = mapped_column(String(50))
    last_name: Mapped[str | None] = mapped_column(String(50))
    password_hash: Mapped[str | None] = mapped_column(String(100))
    schema_version: Mapped[int | None]

    orders: Mapped[list[Order]] = relationship(back_populates="user", order_by="Order.id")
    sellers: ReferenceMany[Seller] = ReferenceMany("Seller", mapped_by="owner")

    @staticmethod
    @migrates(from_=1)
    def split_full_name(data: dict[str, Any]) -> None:
        """The last word is the last name; what is before it is the first one."""
        first, _, last = data.pop("full_name").strip().rpartition(" ")
        data["first_name"], data["last_name"] = first or last, last if first else ""

    @property
    def name(self) -> str:
        """Both names, whatever there is of them."""
        return f"{self.first_name or ''} {self.last_name or ''}".strip() or self.full_name or ""


class TimeField(ComplexDateTimeField):
    """A time, stored as text to the microsecond: nx-27017 makes text of those it updates."""

    def _convert_from_datetime(self, value: datetime) -> str:
        return value.isoformat(" ")

    def _convert_from_string(self, text: str) -> datetime:
        return datetime.fromisoformat(text)


class Stamped:
    """The same for documents, whose fields are of another kind."""

    created_at = TimeField()
    updated_at = TimeField()
    created_by = StringField()
    updated_by = StringField()


@timestamps
@blame
@audited(entity="shop.Seller", label="name")
class Seller(Stamped, mongoengine.Document):
    """Who sells; it belongs to a user, who is a row and cannot go while it is theirs."""

    meta = {"collection": "sellers"}

    name = StringField(required=True, max_length=100)
    city = StringField(max_length=100)
    owner_id = IntField()
    owner: ReferenceOne[User] = ReferenceOne(
        User, "owner_id", inversed_by="sellers", on_delete="restrict"
    )


@soft_delete
@timestamps(created="created_at", updated="updated_at", priced_at="price")
@blame(created="created_by", updated="updated_by", priced_by="price")
@audited(entity="shop.Product", label="name")
class Product(Stamped, mongoengine.Document):
    """Something to buy; prices are in cents."""

    meta = {"collection": "products"}

    name = StringField(required=True, max_length=100)
    price = IntField(required=True, min_value=1)
    stock = IntField(default=0)
    seller = ReferenceField(Seller)
    priced_at = TimeField()
    priced_by = StringField()
    deleted_at = TimeField()
    orders: ReferenceMany[Order] = ReferenceMany("Order", mapped_by="product")

    @pre_persist
    @pre_update(when="name")
    def tidy_name(self, event: Any) -> None:
        """Names have no spaces around them."""
        if self.name:
            event.changes.set("name", self.name.strip())


@soft_delete
@timestamps(created="created_at", updated="updated_at", shipped_at=Becomes("status", "shipped"))
@blame
@audited(entity="shop.Order", label=lambda order: f"Order {order.id}")
class Order(Stamps, Base):
    """So many of one product for one user: a row that refers to a document."""

    __tablename__ = "shop_orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("shop_users.id"))
    product_id: Mapped[str | None] = mapped_column(String(24), index=True)
    quantity: Mapped[int]
    price: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default="placed")
    shipped_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    user: Mapped[User] = relationship(back_populates="orders")
    product: ReferenceOne[Product] = ReferenceOne(
        Product, "product_id", inversed_by="orders", missing="none"
    )

    @pre_update(when="status", was="delivered")
    def what_is_delivered_stays_delivered(self, event: Any) -> None:
        """Nobody takes an order back from the customer by changing a word."""
        event.veto("it has been delivered")
