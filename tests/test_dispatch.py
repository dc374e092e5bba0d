"""From a moment to the hooks that run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.changes import Change, ChangeSet, Delta, Operation, same
from lifecycle.conditions import Becomes, Changed, Condition
from lifecycle.dispatch import Dispatcher, Seen, run, settle
from lifecycle.errors import HookDefinitionError, Veto
from lifecycle.hooks import Hook, post_update, pre_persist, pre_remove, pre_update
from lifecycle.markers import ABSENT
from lifecycle.moments import Event, Moment, PrePersist, PreRemove, PreUpdate
from tests.strategies import laws


class Order:
    """A model with hooks of its own."""

    @pre_update
    def own(self) -> None: ...


class Invoice(Order):
    """A model that inherits them."""


class Other:
    """A model without hooks."""


class Row:
    """An object's values, as live changes read and write them."""

    def __init__(self, old: dict[str, Any], **new: Any) -> None:
        self.old = old
        self.values = {**old, **new}

    def read(self) -> dict[str, Delta]:
        return {
            name: Change(self.old.get(name, ABSENT), value)
            for name, value in self.values.items()
            if not same(self.old.get(name, ABSENT), value)
        }

    def write(self, field: str, value: Any) -> None:
        self.values[field] = value


def names(hooks: tuple[Hook, ...] | list[Hook]) -> list[str]:
    return [hook.name.rpartition(".")[2] for hook in hooks]


OPERATIONS = {
    PrePersist: Operation.INSERT,
    PreUpdate: Operation.UPDATE,
    PreRemove: Operation.DELETE,
}


def event_of(row: Row, kind: Any = PreUpdate) -> Any:
    return kind(row, ChangeSet(operation=OPERATIONS[kind], live=row), "Order", "1")


def hooks_of(*functions: Callable[[Any], Any]) -> tuple[Hook, ...]:
    """Hooks of pre_update and pre_persist that call these, in this order."""
    dispatcher = Dispatcher()
    for function in functions:
        dispatcher.subscribe(function)
    plan = dispatcher.plan(Other)
    return plan.get(Moment.PRE_UPDATE, ()) or plan.get(Moment.PRE_PERSIST, ())


# --- plans ---


def test_a_plan_holds_the_hooks_of_a_class_by_moment() -> None:
    """The model's own and inherited ones, then those subscribed; no moment without any."""
    dispatcher = Dispatcher()

    @pre_update
    def outside(event: Any) -> None: ...

    @post_update(Invoice)
    def of_invoices(event: Any) -> None: ...

    dispatcher.subscribe(outside)
    dispatcher.subscribe(of_invoices)
    plans = {cls: dispatcher.plan(cls) for cls in (Order, Invoice, Other)}
    assert {
        cls: {moment: names(hooks) for moment, hooks in plan.items()} for cls, plan in plans.items()
    } == {
        Order: {Moment.PRE_UPDATE: ["own", "outside"]},
        Invoice: {Moment.PRE_UPDATE: ["own", "outside"], Moment.POST_UPDATE: ["of_invoices"]},
        Other: {Moment.PRE_UPDATE: ["outside"]},
    }


def test_a_plan_is_compiled_once_and_cannot_be_changed() -> None:
    """Until the next subscription, which shows in every class."""
    dispatcher = Dispatcher()
    plan = dispatcher.plan(Order)
    assert dispatcher.plan(Order) is plan
    with pytest.raises(TypeError):
        plan[Moment.PRE_UPDATE] = ()  # type: ignore[index]
    dispatcher.subscribe(pre_remove(lambda event: None))
    assert set(dispatcher.plan(Order)) == {Moment.PRE_UPDATE, Moment.PRE_REMOVE}
    assert set(plan) == {Moment.PRE_UPDATE}


def test_a_higher_priority_runs_first_else_the_order_of_subscription() -> None:
    """Negative ones run last; 0 is what a hook has that says nothing."""

    @pre_update(priority=-1)
    def last(event: Any) -> None: ...
    @pre_update
    def one(event: Any) -> None: ...
    @pre_update(priority=2)
    def first(event: Any) -> None: ...
    @pre_update
    def two(event: Any) -> None: ...

    assert names(hooks_of(last, one, first, two)) == ["first", "one", "two", "last"]


def test_two_dispatchers_share_nothing() -> None:
    """What is subscribed to one is not called by the other."""
    one, other = Dispatcher(), Dispatcher()
    one.subscribe(pre_update(lambda event: None))
    assert one.plan(Other)
    assert not other.plan(Other)


def test_a_listener_of_which_one_hook_cannot_work_is_not_added_at_all() -> None:
    """Nothing is half subscribed."""
    dispatcher = Dispatcher()

    class Listener:
        @pre_update
        def fine(self, event: Any) -> None: ...
        @pre_update
        def wrong(self) -> None: ...

    with pytest.raises(HookDefinitionError, match=r"Listener\.wrong"):
        dispatcher.subscribe(Listener)
    assert not dispatcher.plan(Other)


# --- fields ---


def test_a_source_may_lead_to_another_class_that_becomes_known() -> None:
    """As one that looks up what a reference leads to, which may not have been mapped until then."""
    dispatcher = Dispatcher()

    def source(cls: type) -> list[Hook]:
        if cls is Order:
            dispatcher.known(Other, ["total"])
        return []

    dispatcher.add_source(source)
    thread = threading.Thread(target=dispatcher.known, args=(Order, ["total"]), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_condition_on_an_unknown_field_is_refused_when_the_class_becomes_known() -> None:
    """The error names hook, field, class and the fields there are; paths count by their field."""

    class Model:
        @pre_update(when=("a.b", "c"))
        def check(self) -> None: ...

    dispatcher = Dispatcher()
    with pytest.raises(
        HookDefinitionError,
        match=r"Model\.check, marked @pre_update, asks about 'c', but .*Model has no such field: "
        "it has a, b$",
    ):
        dispatcher.known(Model, ["b", "a"])
    assert names(dispatcher.known(Model, ["a", "c"])[Moment.PRE_UPDATE]) == ["check"]


@pytest.mark.parametrize("subscribed_first", [True, False])
def test_a_listener_for_a_class_may_ask_only_about_its_fields(subscribed_first: bool) -> None:
    """Whichever of the two is known first; nothing is subscribed when it is refused."""
    dispatcher = Dispatcher()
    check = pre_update(Order, when="a")(lambda event: None)
    if subscribed_first:
        dispatcher.subscribe(check)
        with pytest.raises(HookDefinitionError, match="asks about 'a', but Invoice has no such"):
            dispatcher.known(Invoice, ["b"])
    else:
        dispatcher.known(Invoice, ["b"])
        with pytest.raises(HookDefinitionError, match="asks about 'a', but Invoice has no such"):
            dispatcher.subscribe(check)
        assert names(dispatcher.plan(Invoice)[Moment.PRE_UPDATE]) == ["own"]


def test_a_listener_for_every_class_may_ask_about_fields_some_have() -> None:
    """For the others its condition never holds."""
    dispatcher = Dispatcher()
    dispatcher.known(Order, ["a"])
    dispatcher.subscribe(pre_update(when="a")(lambda event: None))
    assert len(dispatcher.known(Other, ["b"])[Moment.PRE_UPDATE]) == 1


# --- running ---


def test_hooks_run_in_order_and_see_what_earlier_ones_did() -> None:
    """A condition is asked just before its hook."""
    seen: list[str] = []

    @pre_update
    def first(event: Any) -> None:
        seen.append(f"first as {event.hook.rpartition('.')[2]}")
        event.changes.set("b", 2)

    @pre_update(when="b", becomes=2)
    def second(event: Any) -> None:
        seen.append("second")

    @pre_update(when="c")
    def third(event: Any) -> None:
        seen.append("third")

    run(hooks_of(first, second, third), event_of(Row({"a": 1}, a=2)))
    assert seen == ["first as first", "second"]


def test_an_error_stops_the_rest_and_goes_on_with_a_note() -> None:
    """The note names hook, moment and object."""

    @pre_update
    def broken(event: Any) -> None:
        raise ZeroDivisionError

    @pre_update
    def never(event: Any) -> None:
        raise AssertionError

    hooks = hooks_of(broken, never)
    for dispatch in (run, lambda hooks, event: settle(hooks, event, {})):
        with pytest.raises(ZeroDivisionError) as caught:
            dispatch(hooks, event_of(Row({"a": 1}, a=2)))
        (note,) = caught.value.__notes__
        assert note.startswith("raised by the hook test_an_error")
        assert note.endswith("broken at pre_update of Order 1")


def test_an_error_of_a_condition_names_its_hook_too() -> None:
    """A broken condition is as easy to find as a broken hook."""

    class Broken(Condition):
        def holds(self, changes: ChangeSet) -> bool:
            raise ZeroDivisionError

        def fields(self) -> frozenset[str]:
            return frozenset()

    hooks = hooks_of(pre_update(when=Broken())(lambda event: None))
    with pytest.raises(ZeroDivisionError) as caught:
        run(hooks, event_of(Row({"a": 1}, a=2)))
    assert "raised by the hook" in caught.value.__notes__[0]


def test_a_veto_names_the_hook_that_is_running() -> None:
    """Of several hooks it is the one that refused."""
    hooks = hooks_of(pre_update(lambda event: None), pre_update(refuse))
    with pytest.raises(Veto, match=r"^refuse refused to update Order 1: no\n"):
        run(hooks, event_of(Row({"a": 1}, a=2)))


def refuse(event: Any) -> None:
    event.veto("no")


# --- settling ---


def settled(hooks: tuple[Hook, ...], event: Event) -> list[str]:
    """The hooks that ran, pass after pass, until none did."""
    seen: Seen = {}
    ran: list[str] = []
    for _ in range(10):
        found = settle(hooks, event, seen)
        if not found:
            return ran
        ran += names(found)
    raise AssertionError(f"no rest after {ran}")


def test_hooks_that_only_look_run_once() -> None:
    """The second pass finds nothing new."""

    @pre_update
    def look(event: Any) -> None: ...

    assert settled(hooks_of(look), event_of(Row({"a": 1}, a=2))) == ["look"]


def test_a_hook_runs_again_for_what_another_one_set() -> None:
    """But not for what it set itself."""

    @pre_update
    def counts(event: Any) -> None:
        event.changes.set("n", event.instance.values.get("n", 0) + 1)

    @pre_update
    def names_it(event: Any) -> None:
        event.changes.set("name", "x")

    row = Row({"a": 1}, a=2)
    assert settled(hooks_of(counts, names_it), event_of(row)) == [
        "counts",
        "names_it",
        "counts",
        "names_it",
    ]
    assert row.values == {"a": 2, "n": 2, "name": "x"}


def test_plain_assignment_is_seen_like_set() -> None:
    """The changes are read again after every hook."""

    @pre_update
    def assigns(event: Any) -> None:
        event.instance.values["b"] = 1

    @pre_update(when="b")
    def sees(event: Any) -> None:
        assert event.changes.new("b") == 1

    event = event_of(Row({"a": 1}, a=2))
    assert settled(hooks_of(assigns, sees), event) == ["assigns", "sees"]


def test_a_value_changed_in_place_is_a_change_to_those_who_saw_it_before() -> None:
    """A list that another hook appends to is looked at again."""
    seen: list[Any] = []

    @pre_update(when="tags")
    def checks(event: Any) -> None:
        seen.append(list(event.changes.new("tags")))

    @pre_update
    def appends(event: Any) -> None:
        if "b" not in event.instance.values["tags"]:
            event.instance.values["tags"].append("b")

    ran = settled(hooks_of(checks, appends), event_of(Row({"tags": []}, tags=["a"])))
    assert ran == ["checks", "appends", "checks"]
    assert seen == [["a"], ["a", "b"]]


def test_a_hook_whose_condition_did_not_hold_is_asked_again_after_a_change() -> None:
    """Not before: its answer would be the same."""
    asked: list[Any] = []

    class Asking(Condition):
        def holds(self, changes: ChangeSet) -> bool:
            asked.append(dict(changes))
            return "b" in changes

        def fields(self) -> frozenset[str]:
            return frozenset({"b"})

    @pre_update(when=Asking())
    def late(event: Any) -> None: ...

    @pre_update
    def sets(event: Any) -> None:
        event.changes.set("b", 1)

    row = Row({"a": 1}, a=2)
    assert settled(hooks_of(late, sets), event_of(row)) == ["sets", "late"]
    a, b = Change(1, 2), Change(ABSENT, 1)
    assert asked == [{"a": a}, {"a": a, "b": b}]


def test_an_update_that_a_hook_took_back_is_no_update_for_the_rest() -> None:
    """The hooks after it have nothing to look at."""

    @pre_update
    def takes_back(event: Any) -> None:
        event.changes.set("a", 1)

    @pre_update
    def never(event: Any) -> None:
        raise AssertionError

    event = event_of(Row({"a": 1}, a=2))
    assert settled(hooks_of(takes_back, never), event) == ["takes_back"]
    assert not event.changes


@pytest.mark.parametrize("kind", [PrePersist, PreRemove])
def test_an_insert_or_a_delete_needs_no_changes(kind: type[Event]) -> None:
    """An object without values comes and goes like any other."""
    decorator = pre_persist if kind is PrePersist else pre_remove

    @decorator
    def look(event: Any) -> None: ...

    dispatcher = Dispatcher()
    dispatcher.subscribe(look)
    (hooks,) = dispatcher.plan(Other).values()
    assert settled(hooks, event_of(Row({}), kind)) == ["look"]


# --- settling, as a law ---


class Caching(Row):
    """A row that tells, as objects of SQLAlchemy do, that nothing was assigned."""

    found: dict[str, Delta] | None = None

    def read(self) -> dict[str, Delta]:
        found = super().read()
        if self.found != found or any(isinstance(one, list) for one in self.values.values()):
            self.found = found
        return self.found


def settled_plainly(hooks: tuple[Hook, ...], event: Any, seen: dict[Hook, Any]) -> list[Hook]:
    """What `settle` does, said without any thrift."""
    row, ran = event.instance, []
    for hook in hooks:
        if event.operation is Operation.UPDATE and not row.read():
            break
        if hook in seen and seen[hook] == row.read():
            continue
        event.changes.refresh()
        if hook.mark.condition is None or hook.mark.condition.holds(event.changes):
            hook.call(event)
            ran.append(hook)
        seen[hook] = deepcopy(row.read())
    return ran


FIELDS: Final = ("a", "b")
ROWS: Final = st.fixed_dictionaries(
    {"a": st.integers(0, 1), "b": st.integers(0, 1), "tags": st.none() | st.just([])}
)


def _assign(field: str, value: Any) -> Callable[[Any], None]:
    return lambda event: event.instance.values.update({field: deepcopy(value)})


def _set(field: str, value: Any) -> Callable[[Any], None]:
    return lambda event: event.changes.set(field, deepcopy(value))


def _append(value: int) -> Callable[[Any], None]:
    def append(event: Any) -> None:
        tags = event.instance.values["tags"]
        if tags is not None and len(tags) < 3:
            tags.append(value)

    return append


def _look(event: Any) -> None: ...


STEPS: Final = (
    st.builds(_assign, st.sampled_from(FIELDS), st.integers(0, 1) | st.booleans())
    | st.builds(_set, st.sampled_from(FIELDS), st.integers(0, 1))
    | st.builds(_assign, st.just("tags"), st.none() | st.lists(st.integers(0, 1), max_size=1))
    | st.builds(_append, st.integers(0, 1))
    | st.just(_look)
)
CONDITIONS: Final = (
    st.none()
    | st.builds(Changed, st.sampled_from((*FIELDS, "tags")))
    | st.builds(Becomes, st.sampled_from(FIELDS), st.integers(0, 1))
)
HOOKS: Final = st.lists(
    st.tuples(CONDITIONS, st.lists(st.tuples(st.integers(0, 1), STEPS), max_size=2)),
    min_size=1,
    max_size=5,
)


def _hooks(given: list[Any], notes: list[Any]) -> tuple[Hook, ...]:
    """Hooks that note what they are shown, and then take those steps that fit what ``a`` is."""

    def hook(number: int, condition: Condition | None, steps: list[Any]) -> Any:
        @pre_update(when=condition)
        def stepping(event: Any) -> None:
            notes.append((number, deepcopy(dict(event.changes))))
            for wanted, step in steps:
                if event.instance.values["a"] != wanted:
                    step(event)

        return stepping

    return hooks_of(*(hook(number, *one) for number, one in enumerate(given)))


@laws
@given(st.sampled_from([Row, Caching]), st.sampled_from([PreUpdate, PrePersist]), ROWS, ROWS, HOOKS)
def test_hooks_settle_as_if_every_one_of_them_compared_everything(
    kind: type[Row], moment: Any, old: dict[str, Any], new: dict[str, Any], given: list[Any]
) -> None:
    """The same hooks run in the same passes, shown the same, and leave the same values."""
    outcomes = []
    for settling, row in ((settle, kind), (settled_plainly, Row)):
        notes: list[Any] = []
        hooks = _hooks(given, notes)
        instance = row(deepcopy(old), **deepcopy(new))
        seen: dict[Hook, Any] = {}
        passes = [
            [hooks.index(hook) for hook in settling(hooks, event_of(instance, moment), seen)]
            for _ in range(4)
        ]
        left = {hooks.index(hook): changes for hook, changes in seen.items()}
        outcomes.append((notes, passes, instance.read(), left))
    assert outcomes[0] == outcomes[1]


# --- threads ---


class Interrupting(type):
    """The type of a target that does something else first when it is asked who inherits from it."""

    meanwhile: Callable[[], None] | None = None

    def __subclasscheck__(cls, subclass: type) -> bool:
        meanwhile, cls.meanwhile = cls.meanwhile, None
        if meanwhile is not None:
            other = threading.Thread(target=meanwhile)
            other.start()
            other.join(timeout=10)
        return True


def test_a_hook_subscribed_while_a_plan_is_compiled_is_in_the_next_one() -> None:
    """The plan that was being made without it is not kept."""

    class Target(metaclass=Interrupting):
        pass

    @pre_update(Target)
    def before(event: Any) -> None: ...

    @pre_update
    def meanwhile(event: Any) -> None: ...

    dispatcher = Dispatcher()
    dispatcher.subscribe(before)
    Target.meanwhile = lambda: dispatcher.subscribe(meanwhile)
    plans = [names(dispatcher.plan(Other)[Moment.PRE_UPDATE]) for _ in range(2)]
    assert plans == [["before"], ["before", "meanwhile"]]


@pytest.fixture
def impatient() -> Iterator[None]:
    """Let threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient")
def test_subscribing_while_other_threads_run_plans_loses_no_call() -> None:
    """A hook is called for every event after its subscription, and nothing raises."""
    dispatcher = Dispatcher()
    classes = [type(f"Model{n}", (), {}) for n in range(4)]
    subscribed = 0
    over = threading.Event()
    errors: list[BaseException] = []

    def flush() -> None:
        try:
            while not over.is_set():
                for cls in classes:
                    expected = subscribed
                    event = PreUpdate(counter := [], ChangeSet(), "Model", "1")
                    run(dispatcher.plan(cls).get(Moment.PRE_UPDATE, ()), event)
                    assert len(counter) >= expected
                    dispatcher.known(cls, ["a"])
        except BaseException as error:
            errors.append(error)

    def subscribe(count: int) -> None:
        nonlocal subscribed
        try:
            for _ in range(count):
                dispatcher.subscribe(pre_update(lambda event: event.instance.append(1)))
                with lock:
                    subscribed += 1
        except BaseException as error:
            errors.append(error)

    lock = threading.Lock()
    flushing = [threading.Thread(target=flush) for _ in range(3)]
    subscribing = [threading.Thread(target=subscribe, args=(100,)) for _ in range(3)]
    for thread in (*flushing, *subscribing):
        thread.start()
    for thread in subscribing:
        thread.join()
    over.set()
    for thread in flushing:
        thread.join()
    assert errors == []
    assert all(len(dispatcher.plan(cls)[Moment.PRE_UPDATE]) == 300 for cls in classes)
