"""What of a model is recorded, and under which name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from lifecycle.errors import ConfigurationError
from lifecycle.policy import Policy, audited, check_fields, entity_of, not_audited, policy_of


def test_a_class_nobody_decorated_has_no_policy() -> None:
    """Whether it is recorded is for the Lifecycle to say."""

    class Order:
        pass

    assert policy_of(Order) == Policy()
    assert policy_of(Order).recorded is None


def test_audited_works_with_and_without_brackets() -> None:
    """The decorated class is returned as it was."""

    class Order:
        pass

    assert audited(Order) is Order
    assert policy_of(Order) == Policy(recorded=True)

    class Line:
        pass

    assert audited(exclude={"a"}, mask=["b", "c"], label="name")(Line) is Line
    assert policy_of(Line) == Policy(
        recorded=True, exclude=frozenset("a"), mask=frozenset("bc"), label="name"
    )


def test_a_decorator_may_be_used_for_several_classes() -> None:
    """Names given by a generator are not used up by the first."""
    decorator = audited(mask=(name for name in ("a", "b")))

    @decorator
    class One:
        pass

    @decorator
    class Two:
        pass

    assert policy_of(One).mask == policy_of(Two).mask == {"a", "b"}


def test_decorators_of_one_class_add_up() -> None:
    """The upper one counts where both say something."""

    @audited(mask={"a"}, label="upper")
    @audited(exclude={"b"}, mask={"c"}, label="lower")
    class Order:
        pass

    assert policy_of(Order) == Policy(
        recorded=True, exclude=frozenset("b"), mask=frozenset("ac"), label="upper"
    )


def test_a_subclass_inherits_and_adds() -> None:
    """What is hidden in a base stays hidden; the base does not change."""

    @audited(mask={"a"}, label="name")
    class Base:
        pass

    class Plain(Base):
        pass

    @audited(exclude={"b"}, label="title")
    class Special(Base):
        pass

    assert (
        policy_of(Plain)
        == policy_of(Base)
        == Policy(recorded=True, mask=frozenset("a"), label="name")
    )
    assert policy_of(Special) == Policy(
        recorded=True, exclude=frozenset("b"), mask=frozenset("a"), label="title"
    )


@pytest.mark.parametrize("decorated", [True, False])
def test_what_any_base_hides_stays_hidden(decorated: bool) -> None:
    """Of several bases each one counts, not only the first."""

    @audited(mask={"card"})
    class Payment:
        pass

    @audited(mask={"password"}, exclude={"seen"}, label="login")
    class Login:
        pass

    class Both(Payment, Login):
        pass

    if decorated:
        audited(mask={"own"})(Both)
    own = {"own"} if decorated else set()
    assert policy_of(Both) == Policy(
        recorded=True,
        exclude=frozenset({"seen"}),
        mask=frozenset({"card", "password", *own}),
        label="login",
    )


def test_the_nearest_class_decides_whether_it_is_recorded() -> None:
    """A model can be kept out of the log, and a subclass of it taken in again."""

    @audited
    class Base:
        pass

    @not_audited
    class Cache(Base):
        pass

    class Session(Cache):
        pass

    @audited
    class Login(Session):
        pass

    recorded = [policy_of(cls).recorded for cls in (Base, Cache, Session, Login)]
    assert recorded == [True, False, False, True]


def test_a_dataclass_with_slots_keeps_its_policy() -> None:
    """Though it is another class than the one that was decorated."""

    @dataclass(slots=True)
    @audited(mask={"a"}, entity="x.Order")
    class Order:
        a: int

    assert policy_of(Order).mask == {"a"}
    assert entity_of(Order) == "x.Order"


# --- names ---


def test_a_model_is_named_by_its_decorator_or_its_class() -> None:
    """A name is not inherited: two models must not share one history."""

    @audited(entity="shop.Order")
    class Order:
        pass

    class Special(Order):
        pass

    assert (entity_of(Order), entity_of(Special)) == ("shop.Order", "Special")


@pytest.mark.parametrize("entity", ["", 5, "x" * 256])
def test_a_name_the_log_cannot_hold_is_refused(entity: Any) -> None:
    """The error says how long it may be."""
    with pytest.raises(ConfigurationError, match=r"entity=.*give a name of 1 to 255 characters"):
        audited(entity=entity)


# --- mistakes ---


@pytest.mark.parametrize("keyword", ["exclude", "mask"])
def test_one_text_is_no_set_of_fields(keyword: str) -> None:
    """It would be taken for its letters; the error shows what was meant."""
    with pytest.raises(ConfigurationError, match=rf"write {keyword}=\{{'password'\}}"):
        audited(**{keyword: "password"})  # type: ignore[call-overload]


@pytest.mark.parametrize("names", [{5}, ["a", None], [""], 5, None])
@pytest.mark.parametrize("keyword", ["exclude", "mask"])
def test_fields_are_named_as_text(keyword: str, names: Any) -> None:
    """The error comes from the decorator and names the keyword."""
    with pytest.raises(ConfigurationError, match=f"audited.{keyword}=....* is no field name"):
        audited(**{keyword: names})  # type: ignore[call-overload]


@pytest.mark.parametrize("label", ["", 5, ["name"]])
def test_a_label_is_a_field_or_a_function(label: Any) -> None:
    """Anything else is refused by the decorator."""
    with pytest.raises(
        ConfigurationError, match=r"label=.*give the name of a field, or a function"
    ):
        audited(label=label)


def test_only_classes_can_be_decorated() -> None:
    """A function, or an instance, is named in the error."""
    with pytest.raises(ConfigurationError, match="audited decorates model classes, not <function"):
        audited(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="audited decorates model classes, not 'Order'"):
        audited("Order")  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="not_audited decorates model classes, not 5"):
        not_audited(5)  # type: ignore[type-var]


class Order:
    """A model for the checks."""


@pytest.mark.parametrize("keyword", ["exclude", "mask"])
def test_a_field_the_model_does_not_have_is_refused(keyword: str) -> None:
    """The error names model, keyword, the unknown fields and the known ones."""
    policy = Policy(**{keyword: frozenset({"a", "x", "y"})})
    with pytest.raises(
        ConfigurationError,
        match=rf"audited\({keyword}=...\) of Order names x, y, which .*; its fields are a, b",
    ):
        check_fields(Order, policy, ["b", "a"])


@pytest.mark.parametrize("keyword", ["exclude", "mask"])
def test_a_label_that_would_show_what_is_hidden_is_refused(keyword: str) -> None:
    """Labels are stored as they are."""
    policy = Policy(label="a", **{keyword: frozenset({"a"})})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"label='a'.* of Order would store the values"):
        check_fields(Order, policy, ["a"])


def test_a_policy_that_fits_its_model_passes() -> None:
    """A label may also be an attribute that is no field."""

    class Person:
        @property
        def full_name(self) -> str:
            return "Ann"

    policy = Policy(exclude=frozenset("a"), mask=frozenset("b"), label="full_name")
    check_fields(Person, policy, {"a": 1, "b": 2})
    check_fields(Person, Policy(), [])


def test_a_label_that_names_nothing_is_refused() -> None:
    """The error says which fields there are."""
    with pytest.raises(ConfigurationError, match=r"label=.c.* of Order .*fields are a, b"):
        check_fields(Order, Policy(label="c"), ["a", "b"])
