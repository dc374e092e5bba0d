"""The record format is exact, compact and stable."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.audit.format import dump, kept, load
from lifecycle.changes import (
    Change,
    ChangeSet,
    Delta,
    ListEdit,
    Operation,
    SetEdit,
    Splice,
    Within,
    diff,
)
from lifecycle.errors import HistoryError
from lifecycle.markers import ABSENT, MASKED, UNKNOWN

any_text = st.text(st.characters(), max_size=6)  # lone surrogates and NUL included
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    any_text,
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=4),
    st.sampled_from([UNKNOWN, MASKED]),
)
hashable = st.one_of(st.none(), st.booleans(), st.integers(), any_text, st.dates())
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(any_text | st.integers(), inner, max_size=3),
        st.frozensets(hashable, max_size=3),
    ),
    max_leaves=6,
)
paths = any_text | st.sampled_from(["$delta", "$set", "name", "address.zip", "a~1b.c~0d", "0"])
sides = values | st.just(ABSENT)  # which is what a value may lack, never a part of one
changes = st.builds(Change, sides, sides)
sets = st.frozensets(hashable, max_size=3)
set_edits = st.builds(SetEdit, sets, sets)
splices = st.builds(
    Splice,
    st.integers(0, 10**6),
    st.lists(values, max_size=2).map(tuple),
    st.lists(values, max_size=2).map(tuple),
)


def edits(deltas: st.SearchStrategy[Delta]) -> st.SearchStrategy[Delta]:
    """List edits whose steps hold such deltas."""
    within = st.builds(Within, st.dictionaries(paths, deltas, max_size=2))
    return st.lists(splices | within, max_size=3).map(lambda steps: ListEdit(tuple(steps)))


deltas: st.SearchStrategy[Delta] = st.recursive(changes | set_edits, edits, max_leaves=4)


@given(st.builds(ChangeSet, st.dictionaries(paths, deltas, max_size=4), st.sampled_from(Operation)))
def test_every_changeset_comes_back(changeset: ChangeSet) -> None:
    """Loading what was dumped gives an equal changeset, whatever its operation and deltas."""
    text = dump(changeset)

    found = load(text, changeset.operation, 1)

    assert found == changeset
    assert list(found) == list(changeset)


@given(
    st.dictionaries(paths, values, max_size=4),
    st.sampled_from([Operation.INSERT, Operation.DELETE]),
)
def test_inserts_and_deletes_come_back(state: dict[str, Any], operation: Operation) -> None:
    """The usual insert or delete, a value for each field, comes back equal."""
    inserted = operation is Operation.INSERT
    changeset = ChangeSet(
        {
            path: Change(ABSENT, value) if inserted else Change(value, ABSENT)
            for path, value in state.items()
        },
        operation,
    )

    assert load(dump(changeset), operation, 1) == changeset


@given(st.lists(values, max_size=5), st.lists(values, max_size=5))
def test_differences_of_lists_come_back(old: list[Any], new: list[Any]) -> None:
    """A real difference of two lists comes back, and leads from the one to the other."""
    changeset = diff({"items": old}, {"items": new})

    found = load(dump(changeset), Operation.UPDATE, 1)

    assert found == changeset
    assert ChangeSet({"items": Change(found.applied_to({"items": old})["items"], None)}) == {
        "items": Change(new, None)
    }


ORDER = {"number": 7, "price": Decimal("1.10"), "due": date(2026, 11, 21), "note": None}


@pytest.mark.parametrize(
    ("changeset", "text"),
    [
        (
            ChangeSet({f: Change(ABSENT, v) for f, v in ORDER.items()}, Operation.INSERT),
            '{"number":7,"price":{"$decimal":"1.10"},"due":{"$day":"2026-11-21"},"note":null}',
        ),
        (
            ChangeSet({f: Change(v, ABSENT) for f, v in ORDER.items()}, Operation.DELETE),
            '{"number":7,"price":{"$decimal":"1.10"},"due":{"$day":"2026-11-21"},"note":null}',
        ),
        (
            ChangeSet({"name": Change("Ann", "Eve"), "address.zip": Change(ABSENT, "1010")}),
            '{"name":["Ann","Eve"],"address.zip":[{"$marker":"absent"},"1010"]}',
        ),
        (
            ChangeSet({"tags": SetEdit(frozenset("ba"), frozenset({1}))}),
            '{"tags":{"added":["a","b"],"removed":[1]}}',
        ),
        (
            ChangeSet(
                {
                    "items": ListEdit(
                        (Splice(2, ("x",), ()), Within({"0.qty": Change(1, 2)})),
                    )
                }
            ),
            '{"items":{"steps":[{"index":2,"removed":["x"],"inserted":[]},'
            '{"within":{"0.qty":[1,2]}}]}}',
        ),
        (
            ChangeSet({"tags": SetEdit(frozenset("a"), frozenset())}, Operation.INSERT),
            '{"tags":{"$delta":{"added":["a"],"removed":[]}}}',
        ),
        (
            ChangeSet({"name": Change("Ann", UNKNOWN)}, Operation.DELETE),
            '{"name":{"$delta":["Ann",{"$marker":"unknown"}]}}',
        ),
        (ChangeSet({"\ud800": Change(1, 2)}), '[[{"$text":"7aCA"},[1,2]]]'),
        (ChangeSet({}, Operation.DELETE), "{}"),
    ],
)
def test_format_1_stays_as_it_is(changeset: ChangeSet, text: str) -> None:
    """What older releases wrote is written and read the same way for ever."""
    assert dump(changeset) == text
    assert load(text, changeset.operation, 1) == changeset


def test_values_that_look_like_the_format_are_values() -> None:
    """A recorded map with the format's own words comes back as that map."""
    value = {"$delta": [1, 2], "steps": [], "added": []}
    for operation, old, new in (
        (Operation.INSERT, ABSENT, value),
        (Operation.DELETE, value, ABSENT),
        (Operation.UPDATE, value, [value]),
    ):
        changeset = ChangeSet({"$delta": Change(old, new)}, operation)
        assert load(dump(changeset), operation, 1) == changeset


def test_a_newer_format_names_what_can_read_it() -> None:
    """A record of a format this release does not know is refused, not guessed at."""
    with pytest.raises(HistoryError, match=r"format 2 .* release that wrote it.* is needed"):
        load("{}", Operation.UPDATE, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "1",
        '"x"',
        "null",
        '{"a":1}',
        '{"a":[1]}',
        '{"a":{"steps":[{}]}}',
        '{"a":{}}',
        "[1]",
    ],
)
def test_a_damaged_text_is_an_error(text: str) -> None:
    """A text that is no changeset raises an error that says so, never a wrong changeset."""
    with pytest.raises(HistoryError, match="altered"):
        load(text, Operation.UPDATE, 1)


def test_a_text_that_is_kept_is_not_made_again() -> None:
    """It is the same as without keeping it."""
    changeset = ChangeSet({"name": Change("a", "b")})
    text = dump(changeset)

    assert kept(changeset) is changeset
    assert dump(changeset) == text
    assert dump(changeset) is dump(changeset)


def test_the_text_is_plain_json() -> None:
    """Any JSON reader can read a record's changes."""
    changeset = ChangeSet({"name": Change("a\x00é🙂", float("nan"))})

    assert json.loads(dump(changeset)) == {"name": ["a\x00é🙂", {"$float": "nan"}]}
