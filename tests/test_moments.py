"""What a hook is told."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle import hooks, moments
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.context import acting
from lifecycle.errors import Veto
from lifecycle.moments import EVENTS, Event, Moment, PostUpdate, PreUpdate


def event(kind: type[Event] = PreUpdate, key: str | None = "1", **more: Any) -> Event:
    return kind("an order", ChangeSet({"a": Change(1, 2)}, kind.operation), "Order", key, **more)


def test_every_moment_has_an_event_class_and_a_decorator_of_its_name() -> None:
    """None is left out, and each class belongs to one moment."""
    assert set(EVENTS) == set(Moment)
    for moment, kind in EVENTS.items():
        assert kind.moment is moment
        assert kind.__name__ == str(moment).title().replace("_", "")
        assert kind.__name__ in moments.__all__
        assert kind.__doc__
        assert getattr(hooks, moment).__name__ == str(moment)


@pytest.mark.parametrize(
    ("word", "operation"),
    [
        ("persist", Operation.INSERT),
        ("update", Operation.UPDATE),
        ("remove", Operation.DELETE),
    ],
)
def test_a_moment_belongs_to_an_operation(word: str, operation: Operation) -> None:
    """Before and after are of the same operation."""
    assert EVENTS[Moment(f"pre_{word}")].operation is operation
    assert EVENTS[Moment(f"post_{word}")].operation is operation


def test_an_event_tells_of_one_object_at_one_moment() -> None:
    """What it is made with can be read, and the rest has defaults."""
    told = event()
    assert (told.instance, told.entity, told.key) == ("an order", "Order", "1")
    assert (told.former_key, told.session, told.late, told.hook) == (None, None, False, None)
    told = event(session="s", former_key="0", late=True)
    assert (told.former_key, told.session, told.late) == ("0", "s", True)


def test_an_event_has_no_place_for_anything_else() -> None:
    """A mistyped attribute is an error, not a note nobody reads."""
    for kind in EVENTS.values():
        with pytest.raises(AttributeError):
            event(kind).chagnes = 1  # type: ignore[attr-defined]


def test_an_event_shows_who_acts_while_its_hook_runs() -> None:
    """The context is the one in force when it is asked for."""
    told = event()
    with acting("ann"):
        assert told.context.actor == "ann"
    assert told.context.actor is None


@pytest.mark.parametrize(
    ("hook", "key", "message"),
    [
        ("Order.check", "1", "Order.check refused to update Order 1: too late"),
        ("Order.check", None, "Order.check refused to update Order (new): too late"),
        (None, "1", "a hook refused to update Order 1: too late"),
    ],
)
def test_a_veto_names_hook_operation_object_and_reason(
    hook: str | None, key: str | None, message: str
) -> None:
    """The error alone tells what happened."""
    told = event(key=key)
    told.hook = hook
    with pytest.raises(Veto) as caught:
        told.veto("too late")
    assert str(caught.value) == message


def test_an_event_prints_its_moment_its_object_and_its_changes() -> None:
    """What a developer sees in a debugger."""
    assert repr(event(PostUpdate)) == "<PostUpdate of Order 1: {'a': Change(old=1, new=2)}>"


def test_the_page_of_guarantees_names_every_moment() -> None:
    """The module's docstring leaves none out."""
    assert all(f"``{moment}``" in (moments.__doc__ or "") for moment in Moment)
