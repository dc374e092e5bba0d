"""Many texts at once are the texts that the codec makes one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle import codec
from lifecycle.audit.format import dump, dump_plain
from lifecycle.changes import Change, ChangeSet, Operation, SetEdit
from lifecycle.forms import Form
from lifecycle.written import Plain, Written
from tests.strategies import laws, values

NAMES = ("id", "größe", "_", "class")


class Shape:
    """What rows of these names have in common."""

    entity = "Order"
    conversions: ClassVar[dict[int, Any]] = {}
    conceals = False

    def __init__(self, operation: Operation, names: tuple[str, ...] = NAMES) -> None:
        self.operation = operation
        self.form = Form(names)

    def written(self, one: Plain) -> Written:
        raise AssertionError(one)


def one_by_one(operation: Operation, rows: list[tuple[Any, ...]]) -> list[str]:
    """The texts of their changesets."""
    if operation is Operation.UPDATE:
        return [dump(one) for one in compacted(rows)]
    states = [dict(zip(NAMES, row, strict=True)) for row in rows]
    return [dump(ChangeSet.of_state(state, operation)) for state in states]


def kinds(of: list[tuple[Any, ...]]) -> set[type]:
    return {type(value) for row in of for value in row}


@laws
@given(st.sampled_from([*Operation][:3]), st.data())
def test_each_text_is_that_of_its_changeset(operation: Operation, data: st.DataObject) -> None:
    """Or none is made, and never where all text is text."""
    width = len(NAMES) * (2 if operation is Operation.UPDATE else 1)
    # A column of values of any kind, or of a few values.
    few = st.lists(values, min_size=1, max_size=2).map(st.sampled_from)
    columns = [data.draw(st.just(values) | few) for _ in range(width)]
    rows = data.draw(st.lists(st.tuples(*columns), min_size=1, max_size=5))
    if operation is Operation.UPDATE:
        changes = [tuple(map(Change, row[::2], row[1::2])) for row in rows]
        found, expected = dump_plain(Shape(operation), changes), one_by_one(operation, changes)
    else:
        found, expected = dump_plain(Shape(operation), rows), one_by_one(operation, rows)
    if found is not None:
        assert found == expected
    else:
        texts = [value for row in rows for value in row if isinstance(value, str)]
        assert not codec.is_text("".join(texts))


class Word(StrEnum):
    """Text to Python, and not to the log."""

    A = "a"


class Odd(tzinfo):
    """A zone that knows nothing."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        raise RuntimeError("no idea")


ONE, TEXT = Change(1, 2), Change("a", "b")
NOON = datetime(2026, 11, 21, 12)


@pytest.mark.parametrize(
    "column",
    [
        [1, 2**63 - 1],
        [1, -(2**63)],
        [1, 2**63],
        [1, None, -(2**63) - 1],
        [1, 2**70],
        [True, 1],
        [1, 1.0],
        [0.1, float("nan")],
        [None, float("inf")],
        [-0.0, None, 1e300],
        [Decimal("1.10"), Decimal("sNaN")],
        [Decimal("1E+5"), None],
        [NOON, NOON.replace(microsecond=5)],
        [NOON, NOON.replace(tzinfo=UTC), None],
        [NOON.replace(fold=1), NOON.replace(tzinfo=UTC, fold=1)],
        [NOON.replace(tzinfo=timezone(timedelta(hours=1))), NOON.replace(year=1, tzinfo=UTC)],
        [None, None],
        ["a\nb\r\u2028", '\x00\x7f\\"'],
    ],
    ids=repr,
)
def test_columns_that_need_a_closer_look(column: list[Any]) -> None:
    """Numbers JSON readers do not take, and times of all kinds."""
    rows = [(value, "a", 1, None) for value in column]
    assert dump_plain(Shape(Operation.INSERT), rows) == one_by_one(Operation.INSERT, rows)
    changes = [(Change(value, 0), Change(0, value), ONE, ONE) for value in column]
    assert dump_plain(Shape(Operation.UPDATE), changes) == one_by_one(Operation.UPDATE, changes)


@pytest.mark.parametrize("value", [Word.A, [1], {"a": 1}, {1: {2}}, frozenset("a")], ids=repr)
def test_what_is_not_plain_is_encoded_by_itself(value: Any) -> None:
    """And what has an inside is taken apart as in a changeset."""
    rows = [("a",) * 4, ("a", "\\", "a", value)]
    assert dump_plain(Shape(Operation.DELETE), rows) == one_by_one(Operation.DELETE, rows)
    for one in Change(value, "a"), Change("a", value), Change({"a": [1] * 9, "b": 2}, {"a": 1}):
        for at in range(4):
            changes = [(TEXT,) * 4, (*(TEXT,) * at, one, *(ONE,) * (3 - at)), (one,) * 4]
            found = dump_plain(Shape(Operation.UPDATE), changes)
            assert found == [dump(one) for one in compacted(changes)]


def compacted(rows: list[tuple[Any, ...]]) -> list[ChangeSet]:
    made = [ChangeSet(dict(zip(NAMES, row, strict=True)), Operation.UPDATE) for row in rows]
    return [one.compacted() for one in made]


@pytest.mark.parametrize(
    "value", ["\ud800", object(), NOON.replace(tzinfo=Odd())], ids=["text", "kind", "zone"]
)
def test_what_needs_a_closer_look_is_left_to_others(value: Any) -> None:
    """One such value is enough."""
    assert dump_plain(Shape(Operation.DELETE), [("a",) * 4, ("a", "a", "a", value)]) is None
    for one in Change(value, "a"), Change("a", value), SetEdit(frozenset({"1"}), frozenset()):
        assert dump_plain(Shape(Operation.UPDATE), [(TEXT,) * 4, (TEXT, one, TEXT, TEXT)]) is None


def test_what_may_have_to_be_hidden_inside_is_left_to_others() -> None:
    """Whatever it holds."""
    shape = Shape(Operation.INSERT)
    shape.conceals = True
    assert dump_plain(shape, [(1, "a", None, 2.5)]) is not None
    assert dump_plain(shape, [(1, "a", None, [])]) is None


@pytest.mark.parametrize("name", ['a"b', "a b", "", "a\\", "\ud800"])
def test_names_that_would_have_to_be_escaped_are_left_to_others(name: str) -> None:
    """The attribute of a class may have any."""
    assert Form((name,)).texts([[1]]) is None
    assert Form((name,)).texts_of_pairs([([1], [2])]) is None
