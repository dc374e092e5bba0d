"""What is told of objects by their values alone is what their changesets would tell."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, Numeric, PickleType, String, TypeDecorator
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from lifecycle import UNKNOWN, audited
from lifecycle.audit.format import dump, dump_plain
from lifecycle.audit.masking import recordable
from lifecycle.changes import Change
from lifecycle.faults import Faults
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.telling import Telling
from lifecycle.policy import NO_MASKING, Masking
from lifecycle.written import Plain
from tests.strategies import laws, values


class Base(DeclarativeBase):
    pass


class Shade(enum.Enum):
    """Its names are stored."""

    DARK = 1
    LIGHT = 2


class Backwards(TypeDecorator[str]):
    """Stores another text than it is given, and refuses some."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        if value == "no":
            raise ValueError(value)
        return None if value is None else value[::-1]


class Wrapped(TypeDecorator[Any]):
    """Stores a document of what it is given."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else {"it": value, "and": [1, 2]}


@audited(mask={"password"})
class ToldByValues(Base):
    """Columns of all kinds, plain ones between them."""

    __tablename__ = "told_by_values"
    id: Mapped[int] = mapped_column(primary_key=True)
    shade: Mapped[Shade | None]
    name: Mapped[str | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    password: Mapped[str | None]
    data: Mapped[Any] = mapped_column(JSON)
    day: Mapped[date | None]
    backwards: Mapped[str | None] = mapped_column(Backwards())
    wrapped: Mapped[Any] = mapped_column(Wrapped())
    pickled: Mapped[Any] = mapped_column(PickleType())
    weight: Mapped[float | None]


WORDS: Final = st.none() | st.text(max_size=5) | st.just("no")
DOCUMENTS: Final = (
    values
    | st.just(JSON.NULL)
    | st.dictionaries(st.sampled_from("ab.~$"), st.integers(), max_size=4)
)
OF_FIELDS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "id": st.integers(),
    "shade": st.none() | st.sampled_from(Shade),
    "name": WORDS,
    "price": st.none() | st.decimals(),
    "password": WORDS,
    "data": DOCUMENTS | DOCUMENTS.map(lambda one: MutableDict(a=one)),
    "day": st.none() | st.dates(),
    "backwards": WORDS,
    "wrapped": st.none() | st.lists(st.integers(), max_size=3).map(MutableList),
    "pickled": st.none() | st.integers(),
    "weight": st.none() | st.floats(),
}


def field_values(name: str) -> st.SearchStrategy[Any]:
    return OF_FIELDS[name] | st.just(UNKNOWN)


@pytest.mark.parametrize("masking", [NO_MASKING, Masking(names=("a*",))], ids=["", "hiding"])
@laws
@given(st.data())
def test_the_texts_of_objects_are_those_of_their_changesets(
    masking: Masking, data: st.DataObject
) -> None:
    """Of every column alone is it seen what it takes; where none is made, they are told in full."""
    telling = Telling(Model(ToldByValues.__mapper__, masking), dialect(), Faults("report"))
    names = data.draw(st.lists(st.sampled_from([*OF_FIELDS]), min_size=1, unique=True))
    rows = data.draw(st.integers(1, 4))

    def some() -> list[dict[str, Any]]:
        columns = {
            name: data.draw(st.lists(field_values(name), min_size=rows, max_size=rows))
            for name in names
        }
        return [{name: columns[name][row] for name in names} for row in range(rows)]

    states, others = some(), some()
    changes = [
        {name: Change(one[name], other[name]) for name in names}
        for one, other in zip(states, others, strict=True)
    ]
    for tell, told in (telling.came, states), (telling.went, states), (telling.updated, changes):
        _compare([tell("1", one) for one in told])


def _compare(told: list[Plain]) -> None:
    shape = told[0].shape
    assert all(one.shape is shape for one in told)
    texts = dump_plain(shape, [one.values for one in told])
    if texts is not None:
        expected = [recordable(shape.written(one)) for one in told]
        assert texts == [changes and dump(changes) for changes in expected]


def test_one_column_that_is_not_plain_does_not_hold_the_others_up() -> None:
    """A value that cannot be told, or may have to be hidden, does."""
    telling = Telling(Model(ToldByValues.__mapper__), dialect(), Faults())
    state = {
        "shade": Shade.DARK,
        "password": "secret",
        "data": {"b": {"c": 1}},
        "backwards": "abc",
        "wrapped": [],
    }
    found = telling.came("1", state)
    (text,) = dump_plain(found.shape, [found.values]) or [""]
    assert text == (
        '{"shade":"DARK","password":{"$marker":"masked"},"data":{"b":{"c":1}},"backwards":"cba",'
        '"wrapped":{"it":[],"and":[1,2]}}'
    )
    changed = telling.updated(
        "1",
        {
            "data": Change({"b": 1, "c": [1] * 9}, {"b": 2, "c": [1] * 9}),
            "shade": Change(Shade.DARK, None),
        },
    )
    assert dump_plain(changed.shape, [changed.values]) == ['{"data.b":[1,2],"shade":["DARK",null]}']
    null = telling.came("1", {"id": 1, "data": JSON.NULL})
    assert dump_plain(null.shape, [null.values]) == ['{"id":1,"data":null}']
    wrong = telling.came("1", state | {"backwards": "no"})
    assert dump_plain(wrong.shape, [wrong.values]) is None
    hiding = Telling(Model(ToldByValues.__mapper__, Masking(names=("c",))), dialect(), Faults())
    hidden = hiding.came("1", state)
    assert dump_plain(hidden.shape, [hidden.values]) is None
