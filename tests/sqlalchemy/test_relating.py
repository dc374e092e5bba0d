"""Following relationships through the log."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from lifecycle import Lifecycle
from lifecycle.errors import HistoryError
from tests.sqlalchemy.conftest import Start


@pytest.fixture
def shop(base: type[DeclarativeBase]) -> Any:
    """Orders with lines, which hold their key, and tags, over an association table."""
    tagged = Table(
        "related_tagged",
        base.metadata,
        Column("order_id", ForeignKey("related_order.id"), primary_key=True),
        Column("tag_id", ForeignKey("related_tag.id"), primary_key=True),
    )

    class RelatedOrder(base):
        __tablename__ = "related_order"
        id: Mapped[int] = mapped_column(primary_key=True)
        lines: Mapped[list[Any]] = relationship(
            "RelatedLine", back_populates="order", cascade="all, delete-orphan"
        )
        tags: Mapped[set[Any]] = relationship("RelatedTag", secondary=tagged)
        large: Mapped[list[Any]] = relationship(
            "RelatedLine",
            primaryjoin="and_(RelatedOrder.id == RelatedLine.order_id, RelatedLine.qty > 9)",
            viewonly=True,
        )

    class RelatedLine(base):
        __tablename__ = "related_line"
        id: Mapped[int] = mapped_column(primary_key=True)
        qty: Mapped[int]
        order_id: Mapped[int] = mapped_column(ForeignKey("related_order.id"))
        order: Mapped[Any] = relationship("RelatedOrder", back_populates="lines")

    class RelatedTag(base):
        __tablename__ = "related_tag"
        id: Mapped[int] = mapped_column(primary_key=True)
        word: Mapped[str] = mapped_column(String(20))

    class Shop:
        order, line, tag = RelatedOrder, RelatedLine, RelatedTag

    return Shop


def test_an_order_is_told_with_its_lines_and_tags_as_they_were(
    shop: Any, start: Start, lifecycle: Lifecycle
) -> None:
    """All of them have changed since, and the order is gone."""
    factory = start()
    with factory.begin() as session:
        order = shop.order(id=1, lines=[shop.line(id=1, qty=1), shop.line(id=2, qty=2)])
        order.tags = {shop.tag(id=7, word="new")}
        session.add_all([order, shop.order(id=2, lines=[shop.line(id=3, qty=3)])])
    then = next(lifecycle.history.find()).revision
    with factory.begin() as session:
        order = session.get_one(shop.order, 1)
        order.lines[0].qty = 10
        order.lines.pop()
        order.tags = set()
        session.get_one(shop.tag, 7).word = "old"
    with factory.begin() as session:
        session.delete(session.get_one(shop.order, 1))

    state = lifecycle.history.as_of(shop.order, 1, then)
    assert state is not None
    assert [(line["id"], line["qty"]) for line in state.related("lines")] == [(1, 1), (2, 2)]
    assert [tag["word"] for tag in state.related("tags")] == ["new"]
    (line, _) = state.related("lines")
    assert [order.key for order in line.related("order")] == ["1"]
    assert len(line.related("order")[0].related("lines")) == 2


def test_what_cannot_be_followed_is_an_error(shop: Any, start: Start, lifecycle: Lifecycle) -> None:
    """A relationship the model does not have, and one whose join is not just equal columns."""
    factory = start()
    with factory.begin() as session:
        session.add(shop.order(id=1))
    then = next(lifecycle.history.find()).revision
    state = lifecycle.history.as_of(shop.order, 1, then)
    assert state is not None
    with pytest.raises(HistoryError, match="RelatedOrder has no relationship 'line'; it has large"):
        state.related("line")
    with pytest.raises(HistoryError, match="its join goes by more than equal columns"):
        state.related("large")
