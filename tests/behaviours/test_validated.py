"""Validation: what is wrong with an object keeps it from being written, all of it told at once."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle import Veto
from lifecycle.behaviours import validated
from lifecycle.errors import ConfigurationError, Invalid
from tests.behaviours.conftest import World


def required(value: Any) -> str | None:
    return None if value else "is missing"


def positive(value: Any) -> bool:
    return value is None or value > 0


def even(value: Any) -> None:
    if value and value % 2:
        raise ValueError("has to be even")


def in_order(event: Any) -> str | None:
    return "the end comes before the start" if (event.start or 0) > (event.end or 0) else None


def booking(world: World) -> Any:
    model = world.model(
        "CheckedBooking",
        validated(in_order, name=required, start=(positive, even)),
        name="text",
        start="number",
        end="number",
    )
    world.install()
    return model


def test_all_faults_are_told_at_once(mapper: World) -> None:
    """By field, and of the object as a whole; nothing is written, and no value is told."""
    model = booking(mapper)
    with pytest.raises(Invalid) as caught:
        mapper.new(model, start=-777)
    assert caught.value.failures == {
        "name": ["is missing"],
        "start": ["fails positive", "has to be even"],
    }
    assert isinstance(caught.value, Veto)
    assert "CheckedBooking (new) is not valid: name: is missing; start: fails" in str(caught.value)
    assert "777" not in str(caught.value)
    assert mapper.find(model) == []
    with pytest.raises(Invalid, match="is not valid: the end comes before the start"):
        mapper.new(model, name="a", start=4, end=2)


def test_an_update_is_checked_for_what_it_changes(mapper: World) -> None:
    """And for the object as a whole; what was wrong before is nobody's fault."""
    model = booking(mapper)
    with mapper.lifecycle.suppressed(audit=False):
        one = mapper.new(model, start=2, end=4)
    mapper.edit(model, one, end=6)
    with pytest.raises(Invalid) as caught:
        mapper.edit(model, one, start=8)
    assert caught.value.failures == {"": ["the end comes before the start"]}
    with pytest.raises(Invalid, match="start: has to be even"):
        mapper.edit(model, one, start=3)
    assert mapper.read(model, one, "start", "end") == (2, 6)


def test_what_cannot_work_is_an_error(mapper: World) -> None:
    """Before anything is installed."""
    with pytest.raises(ConfigurationError, match="'x' for name, which is no function"):
        validated(name="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="checks nothing"):
        validated()
    with pytest.raises(ConfigurationError, match="'names', which is no field of it"):
        mapper.model("CheckedNothing", validated(names=required), name="text")
