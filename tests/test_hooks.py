"""Declaring hooks, and finding them."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, partialmethod, wraps
from types import ModuleType
from typing import Any

import pytest

from lifecycle.changes import Change, ChangeSet
from lifecycle.conditions import Becomes, Changed
from lifecycle.errors import HookDefinitionError
from lifecycle.hooks import (
    Hook,
    Mark,
    load_class_metadata,
    marks_of,
    model_hooks,
    on_flush,
    post_flush,
    post_load,
    post_persist,
    post_remove,
    post_update,
    pre_flush,
    pre_load,
    pre_persist,
    pre_remove,
    pre_update,
    subscribed_hooks,
)
from lifecycle.moments import Moment, PreUpdate


class Order:
    """A class to name as a target."""


class Invoice(Order):
    """A class that inherits from it."""


class Other:
    """A class that does not."""


def event_of(instance: Any) -> PreUpdate:
    return PreUpdate(instance, ChangeSet({"a": Change(1, 2)}), "Order", "1")


def names(hooks: list[Hook]) -> list[str]:
    return [hook.name.rpartition("<locals>.")[2] for hook in hooks]


# --- marking ---


@pytest.mark.parametrize(
    ("decorator", "moment"),
    [
        (pre_persist, "pre_persist"),
        (post_persist, "post_persist"),
        (pre_update, "pre_update"),
        (post_update, "post_update"),
        (pre_remove, "pre_remove"),
        (post_remove, "post_remove"),
    ],
)
def test_a_decorator_marks_a_function_and_returns_it(decorator: Any, moment: str) -> None:
    """With or without brackets; the function can still be called by itself."""

    def check(event: Any) -> str:
        return "called"

    assert decorator(check) is check
    assert marks_of(check) == (Mark(Moment(moment)),)
    assert check(None) == "called"
    assert marks_of(decorator()(lambda event: None)) == (Mark(Moment(moment)),)
    assert moment in decorator.__doc__


def test_a_mark_holds_all_that_was_said() -> None:
    """Targets, condition and priority."""

    @pre_update(Order, Other, when="a", becomes=2, priority=-3)
    def check(event: Any) -> None: ...

    (mark,) = marks_of(check)
    assert mark == Mark(Moment.PRE_UPDATE, (Order, Other), Becomes("a", 2), -3)


def test_a_function_given_directly_may_be_given_with_keywords() -> None:
    """They are not dropped."""

    def check(event: Any) -> None: ...

    pre_update(check, when="a", priority=5)  # type: ignore[call-overload]
    assert marks_of(check) == (Mark(Moment.PRE_UPDATE, (), Changed("a"), 5),)


def test_a_function_may_be_marked_several_times() -> None:
    """For several moments, or for one with several conditions; each mark is a hook of its own."""

    class Model:
        @post_update
        @pre_update(when="b")
        @pre_update(when="a", priority=1)
        def check(self) -> None: ...

    hooks = model_hooks(Model)
    assert [(hook.mark.moment, hook.mark.condition) for hook in hooks] == [
        (Moment.PRE_UPDATE, Changed("a")),
        (Moment.PRE_UPDATE, Changed("b")),
        (Moment.POST_UPDATE, None),
    ]


def test_a_decorator_that_copies_attributes_keeps_the_marks() -> None:
    """Wrapping a hook with functools.wraps, or in a cache, is fine."""

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*args: Any) -> Any:
            return ["logged", function(*args)]

        return wrapper

    class Model:
        @logged
        @pre_update
        def check(self) -> str:
            return "called"

        @lru_cache  # noqa: B019 - only to see that it is found
        @pre_update
        def cached(self, event: Any) -> str:
            return "cached"

    check, cached = model_hooks(Model)
    assert check.call(event_of(Model())) == ["logged", "called"]
    assert cached.call(event_of(Model())) == "cached"


@pytest.mark.parametrize(
    ("what", "named"),
    [
        (staticmethod(lambda: None), "cannot mark staticmethod .*below @staticmethod"),
        (classmethod(lambda cls: None), "cannot mark classmethod .*below @staticmethod"),
        (print, "cannot mark builtin_function_or_method print: put it on a plain function"),
        (property(lambda self: None), "neither a function nor a class"),
        (partial(lambda event: None), "neither a function nor a class"),
        ("Order", r"@pre_update\('Order'\): that is neither a function nor a class"),
        (None, r"@pre_update\(None\): that is neither"),
    ],
)
def test_what_cannot_be_marked_is_refused_at_once(what: Any, named: str) -> None:
    """The error says what it is and what to do."""
    with pytest.raises(HookDefinitionError, match=named):
        pre_update(what)


def test_a_bound_method_cannot_be_marked() -> None:
    """The mark belongs on the function it is made of."""
    with pytest.raises(HookDefinitionError, match=r"cannot mark method .*append_all"):
        pre_update(Appending([]).append_all)


def test_a_class_cannot_be_marked() -> None:
    """Brackets make it a target; what follows must be a function."""
    with pytest.raises(HookDefinitionError, match="cannot mark the class Other"):
        pre_update(Order)(Other)


@pytest.mark.parametrize(
    "use",
    [
        lambda order: order(),
        lambda order: order(name="x"),
        lambda order: order("x"),
        lambda order: order(1, 2),
        subscribed_hooks,
    ],
    ids=["no arguments", "keywords", "one argument", "two arguments", "subscribed"],
)
def test_a_class_under_a_bare_decorator_is_named_at_its_first_use(
    use: Callable[[Any], Any],
) -> None:
    """The decorator takes the class for a target, which only using it as a class can tell."""
    with pytest.raises(HookDefinitionError, match=r"bare @pre_update on the class Order .*method"):
        use(pre_update(Order))


def test_a_model_under_a_bare_decorator_is_refused_before_its_first_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its name in its module holds the decorator."""
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    exec("class Order: pass\nModel = Order", vars(module))
    model = vars(module)["Model"]
    assert model_hooks(model) == []
    vars(module)["for_orders"] = pre_update(model)
    assert model_hooks(model) == []
    vars(module)["Order"] = pre_update(model)
    with pytest.raises(HookDefinitionError, match=r"bare @pre_update on the class Order .*method"):
        model_hooks(model)


def test_a_decorator_that_waits_for_its_function_says_so() -> None:
    """Whoever gets it instead of a class can show what it is."""
    assert repr(pre_update(Order, Other)) == "@pre_update(Order, Other), on no function yet"
    assert repr(pre_update(when="a")) == "@pre_update(...), on no function yet"


@pytest.mark.parametrize("priority", ["high", None, 1.5])
def test_a_priority_is_a_whole_number(priority: Any) -> None:
    """Anything else is refused by the decorator, not when hooks are sorted."""
    with pytest.raises(HookDefinitionError, match=r"@pre_update\(priority=.*give a whole number"):
        pre_update(priority=priority)


@pytest.mark.parametrize(
    "keywords", [{"when": ()}, {"was": 1}, {"when": ("a", "b"), "becomes": 1}, {"when": 5}]
)
def test_conditions_that_cannot_work_are_refused_by_the_decorator(keywords: Any) -> None:
    """Before anything is decorated."""
    with pytest.raises(HookDefinitionError):
        pre_update(**keywords)


# --- on models ---


def test_a_models_hook_is_called_with_the_object_and_the_event() -> None:
    """Or with the object alone, when it takes no more."""

    class Model:
        @pre_update
        def alone(self) -> Any:
            return self

        @pre_update
        def both(self, event: Any) -> Any:
            return self, event

        @pre_update
        def any_number(self, *args: Any, **kwargs: Any) -> Any:
            return self, *args, kwargs

        @pre_update
        def defaulted(self, event: Any = None, *, flag: bool = False) -> Any:
            return self, event, flag

        @pre_update
        def only_positional(self, event: Any, /) -> Any:
            return self, event

        by_lambda = pre_update(lambda self: self)

    model = Model()
    event = event_of(model)
    assert [hook.call(event) for hook in model_hooks(Model)] == [
        model,
        (model, event),
        (model, event, {}),
        (model, event, False),
        (model, event),
        model,
    ]


def _silent(self: Any) -> None: ...


_silent.__signature__ = "none"  # type: ignore[attr-defined]


async def _async_generator(self: Any) -> AsyncIterator[None]:
    yield


def _generator(self: Any) -> Iterator[None]:
    yield


def _same(member: Any) -> Any:
    return member


@pytest.mark.parametrize(
    ("function", "hidden_in", "message"),
    [
        (lambda: None, _same, r"cannot be called as f\(self\) or f\(self, event\): change"),
        (lambda self, event, more: None, _same, r"cannot be called as"),
        (lambda self, *, event: None, _same, r"cannot be called as"),
        (_generator, _same, "is a generator, and would never run: write it as a plain function"),
        (_async_generator, _same, "is an async generator, and would never run"),
        (_silent, _same, "does not tell its parameters .*: mark a plain function"),
        (lambda self: None, staticmethod, "is a staticmethod: make it a plain method"),
        (lambda self: None, classmethod, "is a classmethod: make it a plain method"),
        (lambda self: None, property, "is a property: make it a plain method"),
        (lambda self: None, cached_property, "is a cached_property: make it a plain method"),
        (lambda self, x: None, lambda f: partialmethod(f, 1), "is a partialmethod: make it"),
    ],
)
def test_a_models_hook_that_cannot_be_called_is_refused(
    function: Any, hidden_in: Any, message: str
) -> None:
    """The error names the hook, its moment, what is wrong and what to do."""
    model = type("Model", (), {"check": hidden_in(pre_update(function))})
    with pytest.raises(HookDefinitionError, match=f"^Model.check.*marked @pre_update.*{message}"):
        model_hooks(model)


def test_a_models_hook_names_no_target() -> None:
    """It is for its own class."""

    class Model:
        @pre_update(Order)
        def check(self) -> None: ...

    with pytest.raises(HookDefinitionError, match=r"Model\.check is a method of the model .*Model"):
        model_hooks(Model)


def test_hooks_of_base_classes_come_first_then_in_order_of_definition() -> None:
    """Of a diamond, every class counts once."""

    class Base:
        @pre_update
        def z(self) -> None: ...

    class Left(Base):
        @pre_update
        def y(self) -> None: ...

    class Right(Base):
        @pre_update
        def x(self) -> None: ...

    class Model(Left, Right):
        @pre_update
        def b(self) -> None: ...
        @pre_update
        def a(self) -> None: ...

    assert names(model_hooks(Model)) == ["Base.z", "Right.x", "Left.y", "Model.b", "Model.a"]


def test_an_override_without_the_decorator_disables_a_hook() -> None:
    """Whatever takes the name: a method, a value, or None."""

    class Base:
        @pre_update
        def one(self) -> None: ...
        @pre_update
        def two(self) -> None: ...
        @pre_update
        def three(self) -> None: ...

    class Model(Base):
        def one(self) -> None: ...

        two = None  # type: ignore[assignment]

    assert names(model_hooks(Model)) == ["Base.three"]
    assert names(model_hooks(Base)) == ["Base.one", "Base.two", "Base.three"]


def test_an_override_with_the_decorator_takes_the_hooks_place() -> None:
    """It runs once, as the subclass has it, and may call the one it replaced."""

    class Base:
        @pre_update
        def check(self) -> list[str]:
            return ["base"]

    class Model(Base):
        @pre_update(when="a")
        def check(self) -> list[str]:
            return [*super().check(), "model"]

    (hook,) = model_hooks(Model)
    assert hook.mark.condition == Changed("a")
    assert hook.call(event_of(Model())) == ["base", "model"]


def test_of_two_bases_with_a_hook_of_one_name_the_first_counts() -> None:
    """As Python itself resolves the name."""

    class Left:
        @pre_update
        def check(self) -> str:
            return "left"

    class Right:
        @pre_update
        def check(self) -> str:
            return "right"

    class Model(Left, Right):
        pass

    (hook,) = model_hooks(Model)
    assert hook.call(event_of(Model())) == "left"


def test_hooks_are_found_on_any_kind_of_class() -> None:
    """Mixins, abstract bases, dataclasses and classes with slots."""

    class Abstract(ABC):
        @pre_update
        @abstractmethod
        def must(self) -> None: ...
        @pre_update
        def may(self) -> str:
            return "may"

    @dataclass(slots=True)
    class Model(Abstract):
        a: int = 1

        def must(self) -> None: ...
        @pre_update
        def own(self) -> int:
            return self.a

    may, own = model_hooks(Model)
    assert names([may, own]) == ["Abstract.may", "Model.own"]
    assert own.call(event_of(Model(5))) == 5


# --- subscribed ---


class Appending:
    """A listener that keeps what it is told."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    @pre_update(Order)
    def append(self, event: Any) -> None:
        self.seen.append(event)

    @staticmethod
    @pre_update
    def static(event: Any) -> str:
        return "static"

    @classmethod
    @post_update
    def of_class(cls, event: Any) -> str:
        return cls.__name__

    def append_all(self, event: Any) -> None:
        """Not marked."""


def test_a_function_is_subscribed_with_each_of_its_marks() -> None:
    """It is called with the event."""

    @pre_update(Order)
    @post_update
    def check(event: Any) -> Any:
        return event

    event = event_of(None)
    hooks = subscribed_hooks(check)
    assert [hook.mark.targets for hook in hooks] == [(), (Order,)]
    assert [hook.call(event) for hook in hooks] == [event, event]
    assert names(hooks) == ["check", "check"]


def test_an_object_is_subscribed_with_its_marked_methods() -> None:
    """Plain, static and class methods alike; those that are not marked do not count."""
    seen: list[Any] = []
    hooks = subscribed_hooks(Appending(seen))
    assert names(hooks) == ["Appending.append", "Appending.static", "Appending.of_class"]
    event = event_of(None)
    assert [hook.call(event) for hook in hooks] == [None, "static", "Appending"]
    assert seen == [event]


def test_a_bound_method_is_subscribed_alone() -> None:
    """Of its object nothing else is."""
    seen: list[Any] = []
    (hook,) = subscribed_hooks(Appending(seen).append)
    hook.call(event_of(None))
    assert len(seen) == 1
    assert names([hook]) == ["Appending.append"]


def test_a_class_is_subscribed_as_an_instance_of_it() -> None:
    """It is made without arguments, once."""
    made: list[Any] = []

    class Listener:
        def __init__(self) -> None:
            made.append(self)

        @pre_update
        def one(self, event: Any) -> Any:
            return self

        @pre_update
        def two(self, event: Any) -> Any:
            return self

    one, two = subscribed_hooks(Listener)
    assert made == [one.call(event_of(None))] == [two.call(event_of(None))]


def test_a_class_that_needs_arguments_is_refused() -> None:
    """An instance of it can be subscribed instead."""
    with pytest.raises(HookDefinitionError, match=r"class Appending cannot be made.*an instance"):
        subscribed_hooks(Appending)


@pytest.mark.parametrize("listener", [object(), Other, Other(), print, None, lambda event: None])
def test_what_has_nothing_marked_is_refused(listener: Any) -> None:
    """Subscribing it would do nothing."""
    with pytest.raises(HookDefinitionError, match="has nothing to subscribe: mark a function"):
        subscribed_hooks(listener)


def test_a_class_with_nothing_marked_is_not_made() -> None:
    """Nothing happens before it is known to be a listener."""

    class Costly:
        def __init__(self) -> None:
            raise AssertionError

    with pytest.raises(HookDefinitionError, match=r"the class .*Costly has nothing to subscribe"):
        subscribed_hooks(Costly)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: None, r"\(\), marked @pre_update, cannot be called as f\(event\)"),
        (lambda self, event: None, r"\(self, event\), .*cannot be called as f\(event\)"),
        (lambda *, event: None, r"cannot be called as f\(event\): change its parameters"),
    ],
)
def test_a_listener_that_cannot_be_called_is_refused(function: Any, message: str) -> None:
    """The error shows the parameters and what is wanted."""
    with pytest.raises(HookDefinitionError, match=message):
        subscribed_hooks(pre_update(function))


def test_listeners_whose_body_would_not_run_are_refused() -> None:
    """Generators, async or not, as functions and as methods."""

    @pre_update
    async def awaited(event: Any) -> AsyncIterator[None]:
        yield

    class Listener:
        @pre_update
        def generator(self, event: Any) -> Iterator[None]:
            yield

    with pytest.raises(HookDefinitionError, match="awaited, marked @pre_update, is an async gen"):
        subscribed_hooks(awaited)
    with pytest.raises(HookDefinitionError, match=r"Listener\.generator, .* is a generator"):
        subscribed_hooks(Listener())


def test_a_listeners_property_is_refused_and_not_read() -> None:
    """Reading it would run it once, at subscription."""

    class Listener:
        @property
        @pre_update
        def check(self) -> None:
            raise AssertionError

    with pytest.raises(HookDefinitionError, match=r"Listener\.check, .* is a property: make it a"):
        subscribed_hooks(Listener())


def test_a_hook_concerns_its_targets_and_what_inherits_from_them() -> None:
    """Without targets it concerns every class."""
    (bound,) = subscribed_hooks(pre_update(Order)(lambda event: None))
    (free,) = subscribed_hooks(pre_update(lambda event: None))
    assert [bound.concerns(cls) for cls in (Order, Invoice, Other)] == [True, True, False]
    assert [free.concerns(cls) for cls in (Order, Invoice, Other)] == [True, True, True]


def test_an_async_function_is_an_async_hook() -> None:
    """As a function and as a method; whoever runs it has to await it."""

    @pre_update
    async def listener(event: Any) -> None: ...

    class Model:
        @pre_update
        async def method(self) -> None: ...

    (subscribed,) = subscribed_hooks(listener)
    (own,) = model_hooks(Model)
    assert subscribed.is_async
    assert own.is_async


@pytest.mark.parametrize("decorator", [pre_flush, on_flush, post_flush, load_class_metadata])
def test_a_models_method_cannot_have_a_moment_without_an_object(decorator: Any) -> None:
    """The error says to subscribe instead."""

    class Model:
        @decorator
        def method(self) -> None: ...

    with pytest.raises(HookDefinitionError, match="no object has that moment: subscribe"):
        model_hooks(Model)


@pytest.mark.parametrize("decorator", [pre_flush, on_flush, post_flush])
def test_a_hook_of_whole_flushes_takes_no_target(decorator: Any) -> None:
    """The error says where to look instead."""
    with pytest.raises(HookDefinitionError, match=r"look at event\.changesets"):
        decorator(int)


@pytest.mark.parametrize("decorator", [pre_flush, pre_load, post_load, load_class_metadata])
def test_a_moment_without_changes_takes_no_condition(decorator: Any) -> None:
    """It could never be answered."""
    with pytest.raises(HookDefinitionError, match="takes no condition"):
        decorator(when="name")
