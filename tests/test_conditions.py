"""When a hook runs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn

import pytest

from lifecycle.changes import Change, ChangeSet, ListEdit, SetEdit, Splice
from lifecycle.conditions import (
    NOT_GIVEN,
    AnyOf,
    Becomes,
    Changed,
    Condition,
    Was,
    any_of,
    condition_of,
)
from lifecycle.errors import HookDefinitionError
from lifecycle.markers import ABSENT, MASKED, UNKNOWN


class Array:
    """A value that compares like a numpy array: element by element, with no truth of its own."""

    def __eq__(self, other: object) -> Any:
        return Array()

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> NoReturn:
        raise ValueError("the truth value of an array is ambiguous")


class Counting(Condition):
    """A condition with a fixed answer that counts how often it is asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked = 0

    def holds(self, changes: ChangeSet) -> bool:
        self.asked += 1
        return self.answer

    def fields(self) -> frozenset[str]:
        return frozenset({f"counted {self.answer}"})


def changes(**values: tuple[Any, Any]) -> ChangeSet:
    return ChangeSet({field: Change(*pair) for field, pair in values.items()})


# --- fields ---


@pytest.mark.parametrize(
    ("field", "holds"),
    [("status", True), ("name", False), ("stat", False), ("status.x", False)],
)
def test_changed_holds_for_a_field_that_changes(field: str, holds: bool) -> None:
    """Other fields, and names that merely begin alike, do not count."""
    assert Changed(field).holds(changes(status=(1, 2))) is holds


@pytest.mark.parametrize(
    ("deltas", "path", "holds"),
    [
        (
            {"address": Change({"zip": 1, "town": "x"}, {"zip": 2, "town": "x"})},
            "address.zip",
            True,
        ),
        (
            {"address": Change({"zip": 1, "town": "x"}, {"zip": 2, "town": "x"})},
            "address.town",
            False,
        ),
        ({"address.zip": Change(1, 2)}, "address", True),
        ({"address.zip": Change(1, 2)}, "address.zip", True),
        ({"address.zip": Change(1, 2)}, "address.town", False),
        ({"items": ListEdit((Splice(0, (), ("a",)),))}, "items", True),
        ({"items": ListEdit((Splice(0, (), ("a",)),))}, "items.0", True),
    ],
)
def test_changed_looks_inside_values(deltas: Any, path: str, holds: bool) -> None:
    """A path may lie inside a field that was replaced, and a field may change only inside."""
    assert Changed(path).holds(ChangeSet(deltas)) is holds


def test_was_and_becomes_look_inside_values() -> None:
    """A path may lie inside a field that was replaced as a whole."""
    moved = changes(address=({"zip": "1"}, {"zip": "2", "town": "x"}))
    assert Was("address.zip", "1").holds(moved)
    assert Becomes("address.zip", "2").holds(moved)
    assert Was("address.town", ABSENT).holds(moved)
    assert not Was("address.zip", "2").holds(moved)


INSIDE = pytest.mark.parametrize(
    "deltas",
    [
        {"a.zip": Change(1, 2)},
        {"a": ListEdit((Splice(0, (), ("x",)),))},
        {"a": SetEdit(frozenset({1}), frozenset())},
    ],
    ids=["path", "list", "set"],
)


@INSIDE
@pytest.mark.parametrize("kind", [Was, Becomes])
def test_a_field_that_changed_only_inside_is_no_single_value(kind: Any, deltas: Any) -> None:
    """Its whole value is not known, but it is a map, a list or a set, before and after."""
    changed = ChangeSet(deltas)
    assert Changed("a").holds(changed)
    for value in (None, "", "x", b"x", 1, ABSENT, any_of(1, "x")):
        assert not kind("a", value).holds(changed)
    assert kind("a", UNKNOWN).holds(changed)
    assert kind("a", any_of([], UNKNOWN)).holds(changed)


@INSIDE
@pytest.mark.parametrize("kind", [Was, Becomes])
@pytest.mark.parametrize("value", [{"zip": 2}, ["x"], {1}, any_of(None, {"zip": 2})])
def test_a_whole_value_is_not_guessed_from_what_changed_inside(
    kind: Any, deltas: Any, value: Any
) -> None:
    """The error says what is known, and how to ask instead."""
    with pytest.raises(HookDefinitionError, match=r"of 'a', .*changed: a.*: .* when='a' alone"):
        kind("a", value).holds(ChangeSet(deltas))
    assert not kind("b", value).holds(ChangeSet(deltas))


def test_an_element_of_an_edited_list_is_not_guessed() -> None:
    """Which one it was, and is, the edit alone does not tell."""
    edited = ChangeSet({"a": ListEdit((Splice(0, (), ("x",)),))})
    assert Was("a.0", UNKNOWN).holds(edited)
    with pytest.raises(HookDefinitionError, match=r"of 'a\.0', and only edits are known"):
        Becomes("a.0", "x").holds(edited)


# --- values ---


@pytest.mark.parametrize(
    ("value", "wanted", "matches"),
    [
        ("a", "a", True),
        ("a", "b", False),
        (None, None, True),
        (None, ABSENT, False),
        (ABSENT, None, False),
        (ABSENT, ABSENT, True),
        (UNKNOWN, UNKNOWN, True),
        (UNKNOWN, None, False),
        (MASKED, MASKED, True),
        ("*", "*", True),
        ("a", "*", False),
        ("UNKNOWN", UNKNOWN, False),
        (False, None, False),
        (0, "", False),
        (1, Decimal("1.0"), True),
        (float("nan"), float("nan"), True),
        ([1, {"a": 2}], [1, {"a": 2}], True),
        ({1, 2}, {2, 1}, True),
        ("b", any_of("a", "b"), True),
        ("c", any_of("a", "b"), False),
        (None, any_of("a", None), True),
        (UNKNOWN, any_of("a", UNKNOWN), True),
        (["x"], any_of(["x"], {}), True),
        ("b", any_of("a", any_of("b")), True),
        (Array(), 1, False),
        (1, Array(), False),
        (Array(), any_of(1, Array()), False),
    ],
)
def test_a_value_matches_when_it_is_the_same_or_equal(
    value: Any, wanted: Any, matches: bool
) -> None:
    """Every value can be asked for, None and the markers included; a broken == matches nothing."""
    before, after = Was("f", wanted), Becomes("f", wanted)
    assert before.holds(ChangeSet({"f": Change(value, "other")})) is matches
    assert after.holds(ChangeSet({"f": Change("other", value)})) is matches


def test_the_very_same_object_matches_whatever_its_equality_says() -> None:
    """Identity comes first."""
    array = Array()
    assert Becomes("f", array).holds(changes(f=(None, array)))


def test_unknown_is_matched_by_itself_alone() -> None:
    """A value that claims to be equal to everything is not what cannot be known."""

    class Everything:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    assert not Was("f", Everything()).holds(changes(f=(UNKNOWN, 1)))
    assert not Was("f", UNKNOWN).holds(changes(f=(Everything(), 1)))
    assert Was("f", Everything()).holds(changes(f=(5, 1)))


def test_a_value_that_did_not_change_matches_nothing() -> None:
    """was= and becomes= are about changes."""
    assert not Was("f", None).holds(changes(g=(1, 2)))
    assert not Becomes("f", None).holds(changes(g=(1, 2)))


def test_any_of_no_values_is_refused() -> None:
    """A hook with it could never run."""
    with pytest.raises(HookDefinitionError, match=r"any_of.. of no values can never match"):
        any_of()


def test_any_of_compares_by_its_values() -> None:
    """Two of the same values are equal."""
    assert any_of(1, [2]) == AnyOf(1, [2]) != any_of(1)


# --- joining ---


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (True, True, True, True),
        (True, False, False, True),
        (False, True, False, True),
        (False, False, False, False),
    ],
)
def test_conditions_are_joined(left: bool, right: bool, both: bool, either: bool) -> None:
    """& asks for both, | for one of them, ~ for the opposite."""
    one, other, nothing = Counting(left), Counting(right), ChangeSet()
    assert (one & other).holds(nothing) is both
    assert (one | other).holds(nothing) is either
    assert (~one).holds(nothing) is (not left)


def test_the_second_is_not_asked_when_the_first_decides() -> None:
    """Conditions evaluate no more of themselves than they need."""
    yes, no, second = Counting(True), Counting(False), Counting(True)
    assert (yes | second).holds(ChangeSet())
    assert not (no & second).holds(ChangeSet())
    assert second.asked == 0


def test_a_joined_condition_tells_every_field_it_asks_about() -> None:
    """Fields of what is not asked at run time are checked all the same."""
    joined = ~(Changed("a") | Was("b.c", 1)) & Becomes("d", 2)
    assert joined.fields() == {"a", "b.c", "d"}


@pytest.mark.parametrize("other", ["status", None, True])
def test_a_condition_is_joined_only_with_conditions(other: Any) -> None:
    """The mistake shows where it is made."""
    for join in ("__and__", "__or__"):
        assert getattr(Changed("a"), join)(other) is NotImplemented
    with pytest.raises(TypeError, match="unsupported operand"):
        Changed("a") & other


def test_and_or_and_not_are_refused() -> None:
    """Python would silently drop one of the two."""
    with pytest.raises(TypeError, match=r"Changed\(field='a'\) is neither.*with &, \| and ~"):
        Changed("a") and Changed("b")
    with pytest.raises(TypeError, match="instead of and, or and not"):
        not Changed("a")


# --- what a decorator's keywords stand for ---


@pytest.mark.parametrize(
    ("when", "was", "becomes", "condition"),
    [
        (None, NOT_GIVEN, NOT_GIVEN, None),
        ("a", NOT_GIVEN, NOT_GIVEN, Changed("a")),
        (("a",), NOT_GIVEN, NOT_GIVEN, Changed("a")),
        (("a", "b", "c"), NOT_GIVEN, NOT_GIVEN, Changed("a") | Changed("b") | Changed("c")),
        (["a", "b"], NOT_GIVEN, NOT_GIVEN, Changed("a") | Changed("b")),
        (~Changed("a"), NOT_GIVEN, NOT_GIVEN, ~Changed("a")),
        ("a", None, NOT_GIVEN, Was("a", None)),
        ("a", NOT_GIVEN, None, Becomes("a", None)),
        ("a", 1, any_of(2, 3), Was("a", 1) & Becomes("a", any_of(2, 3))),
    ],
)
def test_keywords_stand_for_a_condition(when: Any, was: Any, becomes: Any, condition: Any) -> None:
    """None is a value like any other for was= and becomes=."""
    assert condition_of(when, was, becomes) == condition


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ((), r"when=\(\) is no condition"),
        (5, "when=5 is no condition: give a field name"),
        ({"a"}, r"when=\{'a'\} is no condition"),
        ("", "holds '', which is no field name"),
        (("a", 5), "holds 5, which is no field name"),
    ],
)
def test_what_is_no_condition_is_refused(when: Any, message: str) -> None:
    """The error repeats what was given."""
    with pytest.raises(HookDefinitionError, match=message):
        condition_of(when, NOT_GIVEN, NOT_GIVEN)


@pytest.mark.parametrize("when", [None, ("a", "b"), ("a",), Changed("a")])
def test_values_need_one_field(when: Any) -> None:
    """was= and becomes= without when='field' say how to put it."""
    for was, becomes in ((1, NOT_GIVEN), (NOT_GIVEN, 1)):
        with pytest.raises(HookDefinitionError, match="does not name one: give when='field'"):
            condition_of(when, was, becomes)


def test_a_condition_of_ones_own_works_like_the_others() -> None:
    """Subclasses of Condition join with the given ones."""
    assert (Counting(True) & Changed("a")).holds(changes(a=(1, 2)))
    assert (Changed("b") | Counting(False)).fields() == {"b", "counted False"}
