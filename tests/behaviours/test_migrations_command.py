"""`lifecycle migrations`: what it prints, and how it exits."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from lifecycle import lazy_migration
from lifecycle.behaviours.migrations import Migrations
from lifecycle.cli.commands import lifecycle as command
from tests.behaviours.conftest import SqlWorld
from tests.behaviours.test_lazy_migration import KINDS, Named, store, stored


@pytest.fixture
def world(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlWorld]:
    """An application that is named ``migrated_shop:lifecycle``."""
    with ExitStack() as after:
        world = SqlWorld(sqlite_engine, after)
        module = ModuleType("migrated_shop")
        vars(module)["lifecycle"] = world.lifecycle
        monkeypatch.setitem(sys.modules, "migrated_shop", module)
        yield world


@pytest.fixture
def model(world: SqlWorld) -> Any:
    """A model at version 3, and three objects that are behind."""
    found = world.model("Client", lazy_migration("version"), mixin=Named, **KINDS)
    world.install()
    for name in "Ann Lee", "Bo Mo":
        store(world, found, full=name)
    store(world, found, full="Cy Doe", last="Doe", version=2)
    return found


def run(*arguments: str) -> Result:
    """Runs the command about the model, where it is not told otherwise."""
    if "--entity" not in arguments:
        arguments = (*arguments, "--entity", "Client")
    return CliRunner().invoke(
        command, ["migrations", "--app", "migrated_shop:lifecycle", *arguments]
    )


def test_what_is_elsewhere_is_told(world: SqlWorld, model: Any) -> None:
    """Where no model was named."""
    world.model("Foreign", lazy_migration("version"), mixin=Named, **KINDS)
    result = CliRunner().invoke(command, ["migrations", "--app", "migrated_shop:lifecycle"])
    assert result.exit_code == 3
    assert "is installed: Foreign\n" in result.output


def test_it_counts_objects_by_version(model: Any) -> None:
    """With 3 while some are behind."""
    result = run()
    assert result.exit_code == 3
    assert result.output == "Client: version 3, 3 behind: 2 at version 1, 1 at version 2\n"


def test_it_migrates_them_and_says_so(world: SqlWorld, model: Any) -> None:
    """With 0 when all are current, the next time too."""
    result = run("--run", "--rate", "1000")
    assert result.exit_code == 0
    assert result.output == (
        "3 migrated, 0 failed, 0 left.\nClient: version 3, all current: 3 at version 3\n"
    )
    assert stored(world, model, 1)["last"] == "LEE"
    assert run("--entity", "Client").exit_code == 0


def test_a_dry_run_says_what_it_would_do(world: SqlWorld, model: Any) -> None:
    """And a failing object is named with the step, in either run."""
    store(world, model, note="x")
    result = run("--run", "--dry-run")
    assert result.exit_code == 3
    lines = result.output.splitlines()
    assert lines[0] == "Client 1: would write first, last, version"
    assert lines[3].startswith("Client 4 cannot be migrated by split_the_name (1 to 2), which")
    assert lines[4] == "3 would be migrated; nothing was written, 1 failed, 4 left."
    assert stored(world, model, 1)["version"] is None
    assert run("--run").output.splitlines()[1] == "3 migrated, 1 failed, 1 left."


def test_it_answers_with_json(model: Any) -> None:
    """One object, of the models and of the run."""
    answer = json.loads(run("--run", "--limit", "1", "--json").output)
    assert answer["models"] == [
        {
            "entity": "Client",
            "field": "version",
            "current": 3,
            "steps": ["split_the_name (1 to 2)", "shout_the_last_name (2 to 3)"],
            "counts": {"1": 1, "2": 1, "3": 1},
            "behind": 2,
            "ahead": 0,
        }
    ]
    assert (answer["run"]["migrated"], answer["run"]["left"]) == (1, 2)


def test_an_interrupt_ends_it_cleanly(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was done, the exit code of an interrupt, and no traceback."""
    whole = Migrations.run

    def interrupted(self: Migrations, *models: type, progress: Any, **options: Any) -> Any:
        def stop(done: int) -> None:
            progress(done)
            raise KeyboardInterrupt

        return whole(self, *models, progress=stop, **options)

    monkeypatch.setattr(Migrations, "run", interrupted)
    result = run("--run", "--chunk", "2")
    assert result.exit_code == 130
    assert "Stopped after 2 objects; run it again to go on." in result.stderr
    assert "2 at version 3" in run().output


def test_what_it_is_called_wrongly_with_is_an_error(model: Any) -> None:
    """Without an application, a dry run of nothing, a model that is not there."""
    without = CliRunner().invoke(command, ["migrations"])
    assert (without.exit_code, "give --app" in without.stderr) == (2, True)
    assert run("--dry-run").exit_code == 2
    unknown = run("--entity", "No")
    assert unknown.exit_code == 1
    assert "'No' has no lazy migration: Client" in unknown.stderr
