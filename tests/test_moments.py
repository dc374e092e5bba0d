"""What a hook is told."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle import hooks, moments
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.context import acting
from lifecycle.errors import Veto
from lifecycle.moments import (
    CHANGE_EVENTS,
    EVENTS,
    Moment,
    PostCommit,
    PostUpdate,
    PreFlush,
    PreLoad,
    PreUpdate,
)


def event(kind: Any = PreUpdate, key: str | None = "1", **more: Any) -> Any:
    return kind("an order", ChangeSet({"a": Change(1, 2)}), "Order", key, **more)


def test_every_moment_has_an_event_class_and_a_decorator_of_its_name() -> None:
    """None is left out, and each class belongs to one moment."""
    assert set(EVENTS) == set(Moment)
    for moment, kind in EVENTS.items():
        assert kind.moment is moment
        assert kind.__name__ == str(moment).title().replace("_", "")
        assert kind.__name__ in moments.__all__
        assert kind.__doc__
        assert getattr(hooks, moment).__name__ == str(moment)


def test_an_event_is_of_the_operation_of_its_changes() -> None:
    """Those after a commit are of any."""
    told = PostCommit("an order", ChangeSet({}, Operation.DELETE), "Order", "1")
    assert told.operation is Operation.DELETE


def test_an_event_tells_of_one_object_at_one_moment() -> None:
    """What it is made with can be read, and the rest has defaults."""
    told = event()
    assert (told.instance, told.entity, told.key) == ("an order", "Order", "1")
    assert (told.former_key, told.session, told.late, told.hook) == (None, None, False, None)
    told = event(session="s", former_key="0", late=True)
    assert (told.former_key, told.session, told.late) == ("0", "s", True)


def test_an_event_has_no_place_for_anything_else() -> None:
    """A mistyped attribute is an error, not a note nobody reads."""
    for kind in CHANGE_EVENTS.values():
        with pytest.raises(AttributeError):
            event(kind).chagnes = 1
    for told in (PreFlush("session"), PreLoad("an order", {}, "Order", "1")):
        with pytest.raises(AttributeError):
            told.dta = 1  # type: ignore[union-attr]


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
