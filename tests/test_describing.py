"""Everything an application has declared can be read, as text and as data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import mongoengine
import pytest
from click.testing import CliRunner, Result
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from lifecycle import (
    Lifecycle,
    audited,
    lazy_migration,
    migrates,
    not_audited,
    post_update,
    pre_flush,
    pre_update,
    timestamps,
)
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.cli.commands import lifecycle as command


class Named:
    """Hooks of a mixin come first."""

    @pre_update(when="name", becomes="Bob")
    def of_the_mixin(self) -> None:
        pass


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lifecycle]:
    """An application with a model of each mapper, to be named ``described:lifecycle``."""

    class Base(DeclarativeBase):
        pass

    @lazy_migration("version")
    @timestamps(created="made")
    @audited(mask={"secret"}, exclude={"made"}, label="name", entity="told.Person", bulk="forbid")
    class ToldPerson(Named, Base):
        __tablename__ = "told_people"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None]
        secret: Mapped[str | None]
        zip_code: Mapped[str | None]
        made: Mapped[str | None]
        version: Mapped[int | None]

        @pre_update(when="name", was="Eve")
        def own(self, event: Any) -> None:
            pass

        @pre_update(priority=5)
        def first(self) -> None:
            pass

        @migrates(from_=1)
        def step(self, data: dict[str, Any]) -> None:
            pass

    @not_audited
    class ToldLetter(mongoengine.Document):
        text = mongoengine.StringField()

    @pre_flush
    def before_all(event: Any) -> None:
        pass

    @post_update(ToldPerson)
    def announce(event: Any) -> None:
        pass

    lifecycle = Lifecycle(store=MemoryStore(), mask_names={"*code"})
    lifecycle.install(mongoengine)
    lifecycle.subscribe(before_all)
    lifecycle.subscribe(announce)
    lifecycle.signals.post_update.connect(after_all)
    module = ModuleType("described")
    vars(module)["lifecycle"] = lifecycle
    monkeypatch.setitem(sys.modules, "described", module)
    yield lifecycle
    lifecycle.uninstall(mongoengine)
    Base.registry.dispose()


def after_all(sender: Any, event: Any) -> None:
    """A receiver of a signal."""


def run(*arguments: str) -> Result:
    """Runs the command about the application."""
    return CliRunner().invoke(command, ["describe", "--app", "described:lifecycle", *arguments])


def test_a_model_tells_its_policy_behaviours_and_hooks_in_order(app: Lifecycle) -> None:
    """Hooks in the order in which they run, each with its condition and where it is defined."""
    (person,) = (one for one in app.describe().models if one.entity == "told.Person")
    assert (person.mapper, person.recorded, person.stable) == ("sqlalchemy", True, True)
    assert person.model.endswith("ToldPerson")
    assert (person.mask, person.exclude) == (("secret", "zip_code"), ("made",))
    assert (person.label, person.bulk) == ("name", "forbid")
    assert [one.partition("(")[0] for one in person.behaviours] == ["timestamps", "lazy_migration"]
    updates = person.hooks["pre_update"]
    names = [one.name.rpartition("ToldPerson.")[2] for one in updates]
    assert names == [
        "lazy_migration(version).save_migration",
        "first",
        "Named.of_the_mixin",
        "own",
        "timestamps(made).stamp",
    ]
    conditions = ["", "", "name becomes 'Bob'", "name was 'Eve'"]
    assert [one.condition for one in updates[:4]] == conditions
    assert [one.priority for one in updates[:4]] == [1000, 5, 0, 0]
    assert updates[1].where.startswith(f"{__name__}:")
    posts = [one.name.rpartition("<locals>.")[2] for one in person.hooks["post_update"]]
    assert posts == ["announce", "signals.post_update"]
    assert [one.priority for one in person.hooks["post_update"]] == [0, 0]
    assert "pre_flush" not in person.hooks
    before = [one.name.rpartition(".")[2] for one in app.describe().hooks["pre_flush"]]
    assert before[0] == "before_all"  # those of references that other tests declare come after it


def test_a_document_is_told_too(app: Lifecycle) -> None:
    """One that is not recorded says so."""
    (letter,) = (one for one in app.describe().models if one.entity == "ToldLetter")
    assert (letter.mapper, letter.recorded, letter.stable) == ("mongoengine", False, False)
    assert letter.behaviours == ()


def test_the_command_prints_it_for_people(app: Lifecycle) -> None:
    """One model in a block of lines."""
    result = run("--entity", "told.Person")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("told.Person  (sqlalchemy, ")
    assert lines[1] == (
        "  recorded, masks secret and zip_code, leaves out made, labelled by name, "
        "bulk writes forbid"
    )
    assert "when name becomes 'Bob'" in result.output
    assert lines[-1] == "1 model."
    assert "before_all" in run().output


def test_the_command_gives_it_as_json(app: Lifecycle) -> None:
    """All of it."""
    answer = json.loads(run("--json").output)
    told = {one["entity"]: one for one in answer["models"]}
    assert told["told.Person"]["hooks"]["pre_update"][2]["condition"] == "name becomes 'Bob'"
    assert told["ToldLetter"]["recorded"] is False
    assert answer["hooks"]["pre_flush"][0]["where"].startswith(f"{__name__}:")


def test_a_model_that_is_not_there_is_an_error(app: Lifecycle) -> None:
    """With those that are."""
    result = run("--entity", "No")
    assert result.exit_code == 1
    assert "no model is called 'No'; there are:" in result.output
    assert "told.Person" in result.output
    assert "give --app" in CliRunner().invoke(command, ["describe"]).output


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (lambda: pre_update(when="a"), "a changes"),
        (lambda: pre_update(when=("a", "b")), "(a changes or b changes)"),
        (lambda: pre_update(when="a", was=1, becomes=2), "(a was 1 and a becomes 2)"),
    ],
)
def test_conditions_tell_themselves_in_words(condition: Any, text: str) -> None:
    """As a person would say them."""
    assert str(condition().mark.condition) == text
