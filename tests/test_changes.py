"""Changesets obey their laws, say what changed, and never guess."""

from __future__ import annotations

import copy
import pickle
import time
from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lifecycle.changes import (
    ABSENT,
    MASKED,
    UNKNOWN,
    Change,
    ChangeSet,
    Delta,
    ListEdit,
    Operation,
    SetEdit,
    Splice,
    Within,
    diff,
    join_path,
    same,
    split_path,
    value_at,
)
from lifecycle.codec import canonical
from lifecycle.differences import weight
from lifecycle.errors import ConflictError, FrozenChangesError
from tests.strategies import Size, Word, hashables, laws, values

NAN = float("nan")

# --- states, and states that follow from them -----------------------------------------------

atoms = st.sampled_from([None, 0, 1, 1.0, True, "", "a", "a long text", NAN, -0.0, UNKNOWN, MASKED])
keys = st.sampled_from(["", "a", "0", "1", "01", "a.b", "~", "~1", "$x"])
members = atoms | st.tuples(atoms)
trees = st.recursive(
    atoms | st.sets(members, max_size=4) | st.frozensets(members, max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)
states = st.dictionaries(st.sampled_from(["a", "b", "c.d", "~"]), trees, max_size=4)


@st.composite
def followers(draw: st.DrawFn, value: Any) -> Any:
    """A value that could follow another: most of it the same, or something else."""
    if not value or not isinstance(value, dict | list | set) or draw(st.integers(0, 5)) == 0:
        return draw(trees)
    if isinstance(value, set):
        return (value - {draw(members)}) | {draw(members)}
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        verb = draw(st.sampled_from(["insert", "remove", "replace"]))
        middle = [] if verb == "remove" else [draw(followers(value[at]))]
        return value[:at] + middle + value[at + (verb != "insert") :]
    key = draw(st.sampled_from(sorted(value)))
    changed = {**value, key: draw(followers(value[key]))}
    return changed if draw(st.booleans()) else {k: v for k, v in changed.items() if k != key}


@st.composite
def histories(draw: st.DrawFn, length: int) -> list[dict[str, Any] | None]:
    """States of one object one after the other; ``None`` where there is none."""
    found: list[dict[str, Any] | None] = [draw(st.none() | states)]
    for _ in range(length):
        last = found[-1]
        found.append(draw(states if last is None else st.none() | state_followers(last)))
    return found


@st.composite
def state_followers(draw: st.DrawFn, state: dict[str, Any]) -> dict[str, Any]:
    """A state that could follow another."""
    found = draw(st.dictionaries(st.sampled_from(["a", "b"]), trees, max_size=1))
    return {**{name: draw(followers(value)) for name, value in state.items()}, **found}


def step(a: dict[str, Any] | None, b: dict[str, Any] | None, how: str) -> ChangeSet:
    """The changeset between two states, in the smallest form or with whole values."""
    if how == "small":
        return diff(a or {}, b or {}, operation=operation(a, b))
    before, after = a or {}, b or {}
    deltas: dict[str, Delta] = {
        join_path(name): Change(before.get(name, ABSENT), after.get(name, ABSENT))
        for name in dict.fromkeys((*before, *after))
        if how == "all" or not same(before.get(name, ABSENT), after.get(name, ABSENT))
    }
    return ChangeSet(deltas, operation(a, b))


def operation(a: object, b: object) -> Operation:
    if a is None and b is not None:
        return Operation.INSERT
    return Operation.DELETE if b is None and a is not None else Operation.UPDATE


hows = st.sampled_from(["small", "whole", "all"])


@st.composite
def chains(draw: st.DrawFn, length: int) -> tuple[list[dict[str, Any]], list[ChangeSet]]:
    """States of one object, and the changesets between them."""
    found = draw(histories(length))
    steps = [step(a, b, draw(hows)) for a, b in pairwise(found)]
    return [state or {} for state in found], steps


PADDING = "a text so long that recording it again would take more room than an edit"
rows = st.integers().map(lambda n: {"n": n, "text": PADDING})
elements = st.sampled_from([1, 1.0, True, "a", "b", (1,), (True,)])


@st.composite
def edited_chains(draw: st.DrawFn, length: int) -> tuple[list[dict[str, Any]], list[ChangeSet]]:
    """The same of one object whose list and set change so little that only edits are recorded."""
    state: dict[str, Any] = {
        "l": draw(st.lists(rows, min_size=3, max_size=4)),
        "s": draw(st.sets(elements)) | {PADDING, PADDING + "!"},
    }
    found = [state]
    for _ in range(length):
        listed, element = found[-1]["l"], draw(elements)
        verb = draw(st.sampled_from(["replace", "replace", "insert", "remove"]))
        at = draw(st.integers(0, max(len(listed) - 1, 0)))
        middle = [] if verb == "remove" else [draw(rows)]
        members = found[-1]["s"] - {element}
        found.append(
            {
                "l": listed[:at] + middle + listed[at + (verb != "insert") :],
                "s": members | {element} if draw(st.booleans()) else members,
            }
        )
    return found, [diff(a, b) for a, b in pairwise(found)]


# --- the laws -------------------------------------------------------------------------------


@given(chains(1))
@laws
def test_a_difference_leads_from_one_state_to_the_other(chain: Any) -> None:
    """Applying a changeset to the state before gives the state after."""
    (a, b), (change,) = chain
    assert same(change.applied_to(a), b)


@given(chains(1))
@laws
def test_an_inverted_changeset_leads_back(chain: Any) -> None:
    """It undoes exactly, and inverting again gives the first one."""
    (a, b), (change,) = chain
    assert same(change.inverted().applied_to(b), a)
    assert change.inverted().inverted() == change


@given(st.dictionaries(st.just("a"), values), st.dictionaries(st.just("a"), values))
@laws
def test_differences_work_for_values_of_every_kind(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Whatever a field holds, its change leads there and back."""
    change = diff(a, b)
    assert same(change.applied_to(a), b)
    assert same(change.inverted().applied_to(b), a)
    assert bool(change) is not same(a, b)


@given(chains(3) | edited_chains(3))
@laws
def test_then_is_associative(chain: Any) -> None:
    """How changesets are grouped while they are merged does not show."""
    _, (first, second, third) = chain
    assert first.then(second).then(third) == first.then(second.then(third))


@given(chains(3) | edited_chains(4))
@laws
def test_then_has_the_effect_of_all_its_parts(chain: Any) -> None:
    """A chain merged into one changeset leads from its first state to its last, and back."""
    (start, *_, end), (first, *others) = chain
    merged = first
    for change in others:
        merged = merged.then(change)
    assert same(merged.applied_to(start), end)
    assert same(merged.inverted().applied_to(end), start)
    assert same(merged.net().applied_to(start), end)
    assert same(merged.compacted().applied_to(start), end)


@given(chains(1))
@laws
def test_nothing_before_or_after_changes_nothing(chain: Any) -> None:
    """An empty update is the neutral element of `then`."""
    _, (change,) = chain
    assert ChangeSet().then(change) == change.then(ChangeSet()) == change


@given(chains(1))
@laws
def test_no_changeset_conflicts_with_the_state_it_was_made_from(chain: Any) -> None:
    """Nor with that state and more fields, nor backwards with the state after."""
    (a, b), (change,) = chain
    if not _holds_marker(a):
        assert change.conflicts_with({**a, "other": 1}) == {}
    if not _holds_marker(b):
        assert change.inverted().conflicts_with(b) == {}


@given(chains(1), st.data())
@laws
def test_without_conflicts_a_changeset_can_be_undone(chain: Any, data: st.DataObject) -> None:
    """A state is free of conflicts only when it holds what the changeset takes away."""
    (a, _), (change,) = chain
    state = data.draw(state_followers(a))
    unknowable = any(map(_holds_marker, (a, state)))
    empty_set = any(
        type(change[path]) is SetEdit and value_at(state, path) in (None, ABSENT) for path in change
    )
    if unknowable or empty_set:
        return
    if change.conflicts_with(state):
        assert not all(same(value_at(state, path), value_at(a, path)) for path in change)
    else:
        assert same(change.inverted().applied_to(change.applied_to(state)), state)


def _holds_marker(value: Any) -> bool:
    text = canonical(value)
    return b'{"$marker":"unknown"}' in text or b'{"$marker":"masked"}' in text


@given(chains(1))
@laws
def test_compacting_keeps_the_effect_and_never_grows(chain: Any) -> None:
    """Whole values are taken apart only where that is smaller."""
    (a, b), (change,) = chain
    compact = change.compacted()
    assert same(compact.applied_to(a), b)
    assert weight(compact) <= weight(change)
    assert compact.compacted() == compact
    assert compact.operation == change.operation


@given(histories(2), st.tuples(hows, hows))
@laws
def test_nothing_changes_its_inputs(found: list[Any], how: tuple[str, str]) -> None:
    """States and changesets are as they were after any calculation."""
    a, b, c = found
    states_before = copy.deepcopy(found)
    first, second = step(a, b, how[0]), step(b, c, how[1])
    deltas_before = copy.deepcopy((dict(first), dict(second)))
    first.then(second).net().compacted().inverted().applied_to(c or {})
    first.applied_to(a or {})
    first.conflicts_with(c or {})
    assert same(found, states_before)
    assert (dict(first), dict(second)) == deltas_before


@given(values, values)
@laws
def test_values_are_the_same_exactly_when_recorded_the_same(one: Any, other: Any) -> None:
    """`same` agrees with the log about type and value."""
    assert same(one, other) == (canonical(one) == canonical(other))
    assert same(one, copy.deepcopy(one))


@given(st.lists(hashables, max_size=6), st.lists(hashables, max_size=6))
@laws
def test_values_of_a_narrow_kind_are_compared_exactly_too(one: Any, other: Any) -> None:
    """Also for tuples and sets, whose elements may be equal and yet differ."""
    assert same(tuple(one), tuple(other)) == (canonical(tuple(one)) == canonical(tuple(other)))


@given(st.lists(st.text(), min_size=1))
@example(["", ""])
@example(["a.b", "~0", "~1", "2"])
@laws
def test_paths_come_apart_as_they_were_joined(segments: list[str]) -> None:
    """Whatever the segments hold, dots and tildes included."""
    assert split_path(join_path(*segments)) == segments


# --- sameness -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        (Decimal("1.0"), Decimal("1.00")),
        (Size.SMALL, 1),
        (Word.A, "a"),
        ([1], (1,)),
        ([1], [True]),
        ({1}, {True}),
        ({1: "x"}, {True: "x"}),
        ({"a": 1}, {Word.A: 1}),
        ({Word.A: 1}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        (datetime(2026, 1, 2), datetime(2026, 1, 2, fold=1)),
        (datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=ZoneInfo("Etc/UTC"))),
        (datetime(2026, 1, 2, 1, tzinfo=UTC), datetime(2026, 1, 2, 2, tzinfo=ZoneInfo("CET"))),
        (None, ABSENT),
        (UNKNOWN, MASKED),
    ],
)
def test_equal_values_that_differ_in_the_log_are_not_the_same(a: Any, b: Any) -> None:
    """Equality is exact, at every depth."""
    assert not same(a, b)
    assert not same([{"k": a}], [{"k": b}])
    assert Change(a, 0) != Change(b, 0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (NAN, float("nan")),
        ([NAN], [float("nan")]),
        ({NAN}, {float("nan")}),
        ({NAN: 1}, {float("nan"): 1}),
        (Decimal("sNaN"), Decimal("sNaN")),
        (OrderedDict(a=1, b=2), {"b": 2, "a": 1}),
        (type("Text", (str,), {})("x"), "x"),
        (type("Items", (list,), {})([1]), [1]),
        (bytearray(b"x"), b"x"),
    ],
)
def test_values_recorded_alike_are_the_same(a: Any, b: Any) -> None:
    """NaN is itself, and a subclass is what it is recorded as."""
    assert same(a, b)
    assert same(b, a)


class Foreign:
    """A type the codec does not know, whose equality may fail."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return bool(self.value == other.value)  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]


def test_values_the_codec_does_not_know_are_compared_by_their_own_equality() -> None:
    """They may pass through hooks, and are replaced as a whole."""
    assert same([Foreign(1)], [Foreign(1)])
    assert not same(Foreign(1), Foreign(2))
    broken = Foreign(1)
    del broken.value
    assert not same(Foreign(1), broken)

    old, new = {"a": [Foreign(1), 2]}, {"a": [Foreign(1), 3]}
    assert diff({"f": old}, {"f": new}) == {"f": Change(old, new)}
    assert diff({"f": {Foreign}}, {"f": {int}}) == {"f": Change({Foreign}, {int})}


# --- what a difference looks like -----------------------------------------------------------


def test_fields_inside_maps_are_named_by_their_path() -> None:
    """Only what changed is recorded."""
    a = {"address": {"street": "High Street 5", "zip": "1000", "city": {"name": "Bern"}}}
    b = {"address": {"street": "High Street 5", "zip": "2000", "city": {"name": "Bern", "n": 1}}}
    assert diff(a, b) == {
        "address.zip": Change("1000", "2000"),
        "address.city.n": Change(ABSENT, 1),
    }


def test_elements_changed_inside_are_named_by_their_index() -> None:
    """A list of the same length is compared element by element."""
    lines = [{"sku": f"article {n}", "qty": n} for n in range(4)]
    changed = [*lines[:2], {"sku": "article 2", "qty": 7}, lines[3]]
    assert diff({"lines": lines}, {"lines": changed}) == {"lines.2.qty": Change(2, 7)}


@pytest.mark.parametrize("at", [0, 500, 1000])
def test_an_element_inserted_into_a_long_list_is_one_splice(at: int) -> None:
    """Wherever it is inserted."""
    old = [{"n": n, "text": "of some length"} for n in range(1000)]
    new = [*old[:at], {"n": -1}, *old[at:]]
    assert diff({"a": old}, {"a": new}) == {
        "a": ListEdit((Splice(at, (), ({"n": -1},)),)),
    }


def test_several_edits_of_a_list_are_steps_from_its_end() -> None:
    """So that each index counts in the old list."""
    old = [f"element {n}" for n in range(10)]
    new = ["first", *old[:4], *old[5:8], "other", old[9]]
    edit = diff({"a": old}, {"a": new})["a"]
    assert edit == ListEdit(
        (
            Splice(8, ("element 8",), ("other",)),
            Splice(4, ("element 4",), ()),
            Splice(0, (), ("first",)),
        )
    )


def test_a_list_that_is_all_new_is_replaced() -> None:
    """Edits that would take more room than the two lists are not used."""
    assert diff({"a": [1, 2]}, {"a": [3]}) == {"a": Change([1, 2], [3])}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (list(range(20_000)), list(range(20_000, 40_001))),
        ([n % 2 for n in range(20_000)], [n // 3 % 2 for n in range(20_001)]),
        ([(n, n % 2) for n in range(20_000)], [(n, n % 2 * n) for n in range(1, 20_002)]),
    ],
    ids=["unlike", "repetitive", "interleaved"],
)
def test_huge_unlike_lists_are_compared_in_bounded_time(old: list[Any], new: list[Any]) -> None:
    """The search for matches gives up; left alone it takes minutes here. The result is right."""
    start = time.process_time()
    change = diff({"a": old}, {"a": new})
    assert time.process_time() - start < 5
    assert same(change.applied_to({"a": old}), {"a": new})


def test_sets_are_compared_by_element() -> None:
    """Elements equal to others of another type count as different ones."""
    old = {"a long element", "another long element", 1}
    change = diff({"a": old}, {"a": (old - {1}) | {True}})
    assert change == {"a": SetEdit(added=frozenset({True}), removed=frozenset({1}))}
    assert same(change.applied_to({"a": old})["a"], (old - {1}) | {True})
    assert change.conflicts_with({"a": (old - {1}) | {True}}) == {"a": (old - {1}) | {True}}


def test_a_map_in_the_place_of_a_list_replaces_it() -> None:
    """Paths with indices and with keys that look like them are not mixed up."""
    a, b = {"a": ["x", "y"]}, {"a": {"0": "x", "1": "z"}}
    assert diff(a, b) == {"a": Change(["x", "y"], {"0": "x", "1": "z"})}
    assert diff(b, {"a": {"0": "x", "1": "a longer text"}}) == {
        "a.1": Change("z", "a longer text"),
    }


@pytest.mark.parametrize("key", [1, None, Word.A, "\ud800"])
def test_maps_whose_keys_cannot_be_in_a_path_are_replaced(key: Any) -> None:
    """Rather than named wrongly."""
    text = "a long text that stays"
    a, b = {"a": {key: 1, "b": text}}, {"a": {key: 2, "b": text}}
    assert diff(a, b) == {"a": Change(a["a"], b["a"])}


def test_deep_values_are_compared_inside() -> None:
    """Down to the depth the log can hold."""
    a: Any = {"text": "the same", "n": 1}
    b: Any = {"text": "the same", "n": 2}
    for _ in range(98):
        a, b = {"k": a}, {"k": b}
    change = diff(a, b)
    assert list(change) == [join_path(*["k"] * 98, "n")]
    assert same(change.applied_to(a), b)


def test_subclasses_of_containers_are_compared_inside() -> None:
    """As the documents of mongoengine hold them."""
    old = type("BaseDict", (dict,), {})(text="a long text that stays", n=1)
    assert diff({"a": old}, {"a": {**old, "n": 2}}) == {"a.n": Change(1, 2)}


# --- paths ----------------------------------------------------------------------------------


def test_a_value_is_found_by_its_path() -> None:
    """Through maps and lists; what is not there is absent."""
    state = {"a": {"b.c": [{"0": "x"}, None]}, "u": UNKNOWN}
    assert value_at(state, "a.b~1c.0.0") == "x"
    assert value_at(state, "a.b~1c.1") is None
    assert value_at(state, "u.anything") is UNKNOWN
    for path in ("b", "a.b.c", "a.b~1c.2", "a.b~1c.-1", "a.b~1c.00", "a.b~1c.²", "a.b~1c.1.x"):
        assert value_at(state, path) is ABSENT


def test_overlapping_paths_are_refused() -> None:
    """A changeset by hand cannot say two things about one value."""
    for paths in (("a", "a.b"), ("a.b", "a"), ("a.b.c", "a.b")):
        change = ChangeSet(dict.fromkeys(paths, Change(1, 2)))
        with pytest.raises(ConflictError, match="two changes overlap at 'a"):
            change.applied_to({})


# --- conflicts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "value"),
    [
        (Change(1, 2), 3),
        (Change(1, 2), True),
        (Change(1, 2), UNKNOWN),
        (SetEdit(frozenset({1}), frozenset()), {1}),
        (SetEdit(frozenset({1}), frozenset()), {True}),
        (SetEdit(frozenset(), frozenset({1})), {True}),
        (SetEdit(frozenset(), frozenset({1})), None),
        (SetEdit(frozenset(), frozenset({1})), [1]),
        (SetEdit(frozenset(), frozenset({1})), MASKED),
        (ListEdit((Splice(1, ("b",), ()),)), ["a", "c"]),
        (ListEdit((Splice(3, (), ("b",)),)), ["a", "c"]),
        (ListEdit((Splice(0, (), ("b",)),)), {"a"}),
        (ListEdit((Within({"1.n": Change(1, 2)}),)), [0, {"n": 5}]),
        (ListEdit((Within({"1.n": Change(1, 2)}),)), [0]),
    ],
)
def test_a_value_that_is_not_what_it_was_is_a_conflict(delta: Delta, value: Any) -> None:
    """It is reported with what is there, and an edit refuses to be applied to it."""
    change = ChangeSet({"f": delta})
    assert same(change.conflicts_with({"f": value}), {"f": value})
    if not isinstance(delta, Change) and value is not MASKED:
        with pytest.raises(ConflictError, match=r"changed since|replaced since"):
            change.applied_to({"f": value})


@pytest.mark.parametrize("state", [{}, {"a": None}, {"a": 5}, {"a": ["x"]}])
def test_a_key_cannot_be_added_where_there_is_no_map(state: dict[str, Any]) -> None:
    """The path is absent as it was before, and still nothing can be put there."""
    change = ChangeSet({"a.k": Change(ABSENT, 1)})
    assert change.conflicts_with(state) == {"a.k": ABSENT}
    with pytest.raises(ConflictError):
        change.applied_to(state)


def test_what_was_unknown_or_masked_conflicts_with_nothing() -> None:
    """It cannot be compared."""
    change = ChangeSet({"a": Change(UNKNOWN, 1), "b": Change(MASKED, MASKED)})
    assert change.conflicts_with({"a": 5, "b": 6}) == {}


def test_edits_of_what_is_unknown_leave_it_unknown() -> None:
    """A replay never invents a value."""
    change = ChangeSet(
        {
            "a.b": Change(1, 2),
            "l": ListEdit((Splice(0, (), (1,)),)),
            "s": SetEdit(frozenset({1}), frozenset()),
        }
    )
    state = {"a": UNKNOWN, "l": MASKED, "s": UNKNOWN}
    assert same(change.applied_to(state), state)


def test_messages_about_conflicts_show_no_values() -> None:
    """They may be secrets."""
    change = ChangeSet({"l": ListEdit((Splice(0, ("hunter2",), ()),))})
    for value in (["hunter3"], "hunter4"):
        with pytest.raises(ConflictError) as caught:
            change.applied_to({"l": value})
        assert "hunter" not in str(caught.value)


# --- merging --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("insert", "update", "insert"),
        ("insert", "delete", "update"),
        ("update", "update", "update"),
        ("update", "delete", "delete"),
        ("delete", "insert", "update"),
    ],
)
def test_operations_merge_into_one(first: str, second: str, merged: str) -> None:
    """What happened to the object as a whole, from before the first to after the second."""
    one = ChangeSet({"a": Change(0, 1)}, Operation(first))
    other = ChangeSet({"a": Change(1, 2)}, Operation(second))
    assert one.then(other) == ChangeSet({"a": Change(0, 2)}, Operation(merged))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("insert", "insert"),
        ("update", "insert"),
        ("delete", "delete"),
        ("delete", "update"),
    ],
)
def test_operations_that_cannot_follow_one_another_are_refused(first: str, second: str) -> None:
    """Something between them is missing."""
    one = ChangeSet({"a": Change(0, 1)}, Operation(first))
    other = ChangeSet({"a": Change(1, 2)}, Operation(second))
    with pytest.raises(ConflictError, match=f"{second} cannot follow its {first}: a change betw"):
        one.then(other)


def test_the_edit_of_a_set_cannot_follow_the_edit_of_a_list() -> None:
    """One of the two is of another field."""
    one = ChangeSet({"a": ListEdit((Splice(0, (), (1,)),))})
    other = ChangeSet({"a": SetEdit(frozenset({1}), frozenset())})
    for first, second in ((one, other), (other, one)):
        with pytest.raises(ConflictError, match="the edit of a set and the edit of a list"):
            first.then(second)


def test_an_object_inserted_and_deleted_leaves_no_net_change() -> None:
    """Nor does a field set and set back; what was unknown or masked may have changed."""
    inserted = diff({}, {"a": 1, "s": {1}}, operation=Operation.INSERT)
    assert len(inserted.then(inserted.inverted())) == 2
    assert inserted.then(inserted.inverted()).net() == ChangeSet()

    added = ChangeSet({"s": SetEdit(frozenset({1}), frozenset())})
    assert added.then(added.inverted()).net() == {}

    kept = {"u": Change(UNKNOWN, UNKNOWN), "m": Change(MASKED, MASKED)}
    assert ChangeSet({**kept, "a": Change(1, 1), "l": ListEdit(())}).net() == kept


def test_compacting_keeps_what_it_cannot_make_smaller() -> None:
    """Masked fields and values set back to what they were stay recorded."""
    deltas = {
        "m": Change(MASKED, MASKED),
        "a": Change([1], [1]),
        "b": Change("x", {"k": 1}),
        "s": SetEdit(frozenset({1}), frozenset()),
    }
    assert ChangeSet(deltas).compacted() == deltas
    whole = ChangeSet({"d.e": Change({"n": 1, "t": "a long text"}, {"n": 2, "t": "a long text"})})
    assert whole.compacted() == {"d.e.n": Change(1, 2)}


# --- the changeset as a mapping -------------------------------------------------------------


def test_a_changeset_prints_as_the_mapping_it_is() -> None:
    """Its text shows old and new; its repr the operation too."""
    change = diff({"name": "Eve"}, {"name": "Bob"})
    assert str(change) == "{'name': Change(old='Eve', new='Bob')}"
    assert repr(change) == "ChangeSet({'name': Change(old='Eve', new='Bob')}, 'update')"


def test_a_changeset_is_equal_to_a_plain_dict_of_the_same_changes() -> None:
    """And to another changeset of the same operation."""
    change = diff({"a": 1}, {"a": 2})
    assert change == {"a": Change(1, 2)}
    assert change == ChangeSet({"a": Change(1, 2)})
    assert change != ChangeSet({"a": Change(1, 2)}, Operation.INSERT)
    assert change != {"a": Change(1, 2.0)}
    assert change != 5
    assert Change(1, 2) != (1, 2)


def test_changesets_can_be_copied_and_pickled() -> None:
    """They are plain data."""
    change = diff({"a": [1, 2, 3, "a long text"]}, {"a": [2, 3, "a long text"], "b": {UNKNOWN}})
    assert pickle.loads(pickle.dumps(change)) == copy.deepcopy(change) == change


@pytest.mark.parametrize("value", [ChangeSet(), Change(1, 2), ListEdit(()), Within({})])
def test_changes_are_not_hashable(value: object) -> None:
    """They hold values that are not."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)


def test_old_and_new_values_are_found_by_field_and_by_path() -> None:
    """Also inside a field that was replaced as a whole."""
    change = ChangeSet({"name": Change("Eve", "Bob"), "a": Change({"zip": "1", "n": 1}, {"n": 1})})
    assert (change.old("name"), change.new("name")) == ("Eve", "Bob")
    assert change["a.zip"] == Change("1", ABSENT)
    assert "a.zip" in change
    assert "a.n" not in change
    assert list(change) == ["name", "a"]


def test_a_field_that_did_not_change_is_a_key_error_that_says_what_did() -> None:
    """For reading in every way."""
    change = ChangeSet({"name": Change("Eve", "Bob"), "age": Change(1, 2)})
    for read in (change.__getitem__, change.old, change.new):
        with pytest.raises(KeyError, match="'size' did not change; changed: name, age"):
            read("size")
    with pytest.raises(KeyError, match="'size' did not change; changed: nothing"):
        ChangeSet()["size"]
    assert change.get("size") is None


def test_where_only_edits_are_known_the_whole_value_is_not_made_up() -> None:
    """The error says where the whole value is to be found."""
    change = ChangeSet({"l": ListEdit((Splice(0, (), (1,)),)), "a.b": Change(1, 2)})
    for path in ("l", "l.0", "a"):
        with pytest.raises(ConflictError, match=f"of '{path}' only edits are known.*as_of"):
            change.old(path)
    with pytest.raises(KeyError, match=r"'a' changed only inside; changed: l, a\.b"):
        change["a"]


def test_a_changeset_tells_what_it_touches() -> None:
    """A value as a whole, inside, or as a part of what was edited."""
    change = ChangeSet(
        {
            "a.b": Change(1, 2),
            "l": ListEdit((Splice(0, (), (1,)),)),
            "w": Change({"x": 1, "y": 1}, {"x": 2, "y": 1}),
        }
    )
    assert all(map(change.touches, ["a", "a.b", "l", "l.0", "w", "w.x"]))
    assert not any(map(change.touches, ["a.c", "b", "ab", "w.y", "other"]))


# --- the live changeset ---------------------------------------------------------------------


class Row:
    """A live object: its fields as loaded, and as they are now."""

    def __init__(self, **fields: Any) -> None:
        self.loaded = dict(fields)
        self.now = dict(fields)

    def read(self) -> dict[str, Delta]:
        return {
            name: Change(self.loaded[name], value)
            for name, value in self.now.items()
            if not same(self.loaded[name], value)
        }

    def write(self, field: str, value: Any) -> None:
        if field not in self.loaded:
            raise LookupError(f"{field!r} is not mapped")
        self.now[field] = value


def test_setting_a_live_field_changes_the_object() -> None:
    """Changed or not before, also back to what it was."""
    row = Row(name="Eve", age=5)
    change = ChangeSet(live=row)
    assert not change
    change.set("name", "Bob")
    change.set("age", 6)
    assert change == {"name": Change("Eve", "Bob"), "age": Change(5, 6)}
    change.set("name", "Eve")
    assert change == {"age": Change(5, 6)}
    assert row.now == {"name": "Eve", "age": 6}


def test_a_live_changeset_sees_assignments_once_refreshed() -> None:
    """Between two hooks, say."""
    row = Row(name="Eve")
    change = ChangeSet(live=row)
    row.now["name"] = "Bob"
    change.refresh()
    assert change.new("name") == "Bob"


def test_setting_a_field_that_is_not_mapped_is_refused() -> None:
    """By the object, which knows its fields."""
    with pytest.raises(LookupError, match="'size' is not mapped"):
        ChangeSet(live=Row(name="Eve")).set("size", 1)


def test_a_frozen_changeset_cannot_be_set_and_no_longer_follows_its_object() -> None:
    """What was written stays what was written."""
    row = Row(name="Eve")
    change = ChangeSet(live=row)
    change.set("name", "Bob")
    assert change.freeze() is change
    row.now["name"] = "Ann"
    change.refresh()
    assert change.new("name") == "Bob"
    with pytest.raises(FrozenChangesError, match=r"'name' cannot be set: .* pre_persist or pre_up"):
        change.set("name", "Ann")
