"""Reading an object's changes again and again while hooks assign to it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, ForeignKey
from sqlalchemy import Enum as EnumType
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    make_transient,
    make_transient_to_detached,
    mapped_column,
    relationship,
)
from sqlalchemy.orm.attributes import flag_modified, instance_state, set_committed_value

from lifecycle.changes import Change, Delta, Operation
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import LiveObject
from lifecycle.markers import ABSENT, UNKNOWN
from tests.strategies import laws


class Base(DeclarativeBase):
    """A base of these tests' own."""


class State(Enum):
    """What an order is in."""

    OPEN = "open"
    SHUT = "shut"


class Patron(Base):
    """The target of a foreign key."""

    __tablename__ = "reading_customers"
    id: Mapped[int | None] = mapped_column(primary_key=True)


class Order(Base):
    """A model with values that can be changed in place, and ones that cannot."""

    __tablename__ = "reading_orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal | None]
    code: Mapped[str | None]
    state: Mapped[State | None] = mapped_column(EnumType(State))
    tags: Mapped[list[int] | None] = mapped_column(JSON)
    notes: Mapped[dict[str, int] | None] = mapped_column(MutableDict.as_mutable(JSON))
    customer_id: Mapped[int | None] = mapped_column(ForeignKey(Patron.id))
    customer: Mapped[Patron | None] = relationship()


MODEL: Final = Model(Order.__mapper__)
FIELDS: Final = {
    "price": (None, Decimal("1.0"), Decimal("1.00"), 1, True),
    "code": (None, "a", "b"),
    "state": (None, *State),
    "tags": (None, (), (1,)),
    "notes": (None, {}, {"a": 1}),
    "customer_id": (None, 1, 2),
}
"""By field, values it may get; some are equal and still not the same."""


def live(order: Order, operation: Operation) -> LiveObject:
    return LiveObject(MODEL, instance_state(order), operation, {})


def stored(**values: Any) -> Order:
    """An object as if it had been loaded with these values."""
    order = Order(id=1)
    make_transient_to_detached(order)
    for name in (*FIELDS, "customer"):
        set_committed_value(order, name, values.get(name))
    set_committed_value(order, "id", 1)
    return order


def _fresh(value: Any) -> Any:
    """The value, in a container of its own."""
    return list(value) if isinstance(value, tuple) else copy(value)


Step = Callable[[Order, list[Patron]], None]


def _assign(field: str, value: Any) -> Step:
    return lambda order, customers: setattr(order, field, _fresh(value))


def _delete(field: str) -> Step:
    def delete(order: Order, customers: list[Patron]) -> None:
        if field in vars(order):
            delattr(order, field)

    return delete


def _flag(field: str) -> Step:
    """Say that a value was changed in place; of one already assigned its old value is kept."""

    def flag(order: Order, customers: list[Patron]) -> None:
        if field in vars(order) and field not in instance_state(order).committed_state:
            flag_modified(order, field)

    return flag


def _append(value: int) -> Step:
    def append(order: Order, customers: list[Patron]) -> None:
        if order.tags is not None:
            order.tags.append(value)

    return append


def _note(value: int) -> Step:
    def note(order: Order, customers: list[Patron]) -> None:
        if order.notes is not None:
            order.notes["n"] = value

    return note


def _give_to(index: int | None) -> Step:
    def give(order: Order, customers: list[Patron]) -> None:
        order.customer = None if index is None else customers[index]

    return give


def _number(index: int, key: int | None) -> Step:
    return lambda order, customers: setattr(customers[index], "id", key)


ASSIGNING: Final = st.sampled_from(
    [_assign(field, value) for field, values in FIELDS.items() for value in values]
)
STEPS: Final = st.one_of(
    ASSIGNING,
    st.builds(_delete, st.sampled_from([*FIELDS])),
    st.builds(_flag, st.sampled_from([*FIELDS])),
    st.builds(_append, st.integers(0, 1)),
    st.builds(_note, st.integers(0, 1)),
    st.builds(_give_to, st.none() | st.integers(0, 1)),
    st.builds(_number, st.integers(0, 1), st.none() | st.integers(1, 3)),
)


@laws
@given(
    st.sampled_from([Operation.INSERT, Operation.UPDATE, Operation.DELETE]),
    st.booleans(),
    st.fixed_dictionaries({field: st.sampled_from(values) for field, values in FIELDS.items()}),
    st.lists(st.lists(STEPS, max_size=3), max_size=6),
)
def test_what_is_read_again_is_what_a_first_look_would_find(
    operation: Operation, again: bool, values: dict[str, Any], steps: list[list[Step]]
) -> None:
    """Whatever was assigned, deleted or changed in place since, which gives another dict.

    ``again`` inserts an object that was stored before.
    """
    values = {name: _fresh(value) for name, value in values.items()}
    order = stored(**values) if again or operation is not Operation.INSERT else Order(**values)
    if operation is Operation.INSERT:
        make_transient(order)
    customers, looking = [Patron(), Patron(id=2)], live(order, operation)
    found = looking.read()
    assert found == live(order, operation).read()
    for some in steps:
        before, kept = found, deepcopy(found)
        for step in some:
            step(order, customers)
        found = looking.read()
        assert found == live(order, operation).read()
        assert found is not before or found == kept


def _new() -> Order:
    return Order(price=Decimal(1), state=State.OPEN, customer=Patron(id=1))


def _changed() -> Order:
    order = stored(price=Decimal(1), state=State.OPEN, tags=[1])
    order.price, order.state, order.customer = Decimal(2), State.SHUT, Patron(id=1)
    return order


def _deleted() -> Order:
    return stored(price=Decimal(1), state=State.OPEN)


@pytest.mark.parametrize(
    ("made", "operation"),
    [(_new, Operation.INSERT), (_changed, Operation.UPDATE), (_deleted, Operation.DELETE)],
)
def test_what_nobody_assigned_to_is_not_worked_out_again(
    made: Callable[[], Order], operation: Operation
) -> None:
    """The very same dict each time; a list of a field that is not written does not matter."""
    order = made()
    looking = live(order, operation)
    found = looking.read()
    assert looking.read() is found
    order.code = "c"
    assert looking.read() is not found


PARIS: Final = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.5"), Decimal("1.50")),
        (True, 1),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=PARIS)),
    ],
)
def test_an_equal_value_that_is_not_the_same_is_seen(one: Any, other: Any) -> None:
    """As when a hook gives a decimal its scale, or a time its zone."""
    order = stored()
    order.price = one
    looking = live(order, Operation.UPDATE)
    assert looking.read() == {"price": Change(None, one)}
    order.price = other
    assert looking.read() == {"price": Change(None, other)}


def test_another_target_of_a_relationship_is_seen_and_a_key_given_to_it() -> None:
    """As when a hook gives keys to new objects that others are going to refer to."""
    order = stored()
    order.customer = Patron()
    looking = live(order, Operation.UPDATE)
    assert looking.read() == {"customer_id": Change(None, UNKNOWN)}
    order.customer.id = 7
    assert looking.read() == {"customer_id": Change(None, 7)}
    order.customer = Patron(id=8)
    assert looking.read() == {"customer_id": Change(None, 8)}


def test_a_value_taken_away_is_seen_even_if_it_was_none() -> None:
    """To have no value is not to have the value None."""
    order = Order(code=None)
    looking = live(order, Operation.INSERT)
    expected: dict[str, Delta] = {"code": Change(ABSENT, None)}
    assert looking.read() == expected
    del order.code
    assert looking.read() == {}
