"""`lifecycle.references.check()` and `lifecycle check-references`: what they find and repair."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from lifecycle import Lifecycle, ReferenceOne
from lifecycle.behaviours.references.declaring import declared
from lifecycle.cli.commands import lifecycle as command
from lifecycle.errors import ConfigurationError
from tests.statements import statements

Run = Callable[..., Result]

APPLICATION = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from lifecycle import Lifecycle, ReferenceOne

class Base(DeclarativeBase):
    pass

class CheckedTarget(Base):
    __tablename__ = "checked_target"
    id: Mapped[int] = mapped_column(primary_key=True)

class CheckedSource(Base):
    __tablename__ = "checked_source"
    id: Mapped[int] = mapped_column(primary_key=True)
    target_id: Mapped[int | None]
    other_id: Mapped[int | None]
    target = ReferenceOne(CheckedTarget, "target_id", on_delete="cascade")
    other = ReferenceOne(CheckedTarget, "other_id")

engines = [create_engine(f"sqlite:///{name}.db") for name in ("here", "there")]
CheckedSource.__table__.create(engines[0])
CheckedTarget.__table__.create(engines[1])
factories = [sessionmaker(one) for one in engines]
lifecycle = Lifecycle()
for engine, factory in zip(engines, factories):
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
with factories[1].begin() as session:
    session.add(CheckedTarget(id=1))
with factories[0].begin() as session:
    session.add(CheckedSource(id=1, target_id=1, other_id=1))
    session.add(CheckedSource(id=2, target_id=8))
    session.add(CheckedSource(id=3, target_id=1, other_id=9))
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command on an application with two dangling references."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checked_app.py").write_text(APPLICATION)

    def call(*arguments: str) -> Result:
        full = ["check-references", "--app", "checked_app:lifecycle", *arguments]
        return CliRunner().invoke(command, full)

    yield call
    module = sys.modules.pop("checked_app")
    for factory in module.factories:
        module.lifecycle.uninstall(factory)
    for engine in module.engines:
        engine.dispose()
    module.Base.registry.dispose()


FIRST = "CheckedSource 2: target refers to CheckedTarget 8, which is not there"
SECOND = "CheckedSource 3: other refers to CheckedTarget 9, which is not there"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of other tests, for which nothing is installed, are not looked at."""
    others = set(declared())

    def mine() -> list[type]:
        return [one for one in declared() if one not in others]

    monkeypatch.setattr("lifecycle.behaviours.references.service.declared", mine)


@pytest.mark.usefixtures("alone")
def test_it_says_what_dangles_and_exits_with_3(run: Run) -> None:
    """In words, or as JSON."""
    result = run()
    assert result.exit_code == 3
    assert result.output.splitlines() == [FIRST, SECOND, "2 dangling."]
    result = run("--json")
    assert result.exit_code == 3
    assert [json.loads(line)["identifier"] for line in result.stdout.splitlines()] == ["8", "9"]
    assert json.loads(result.stdout.splitlines()[0]) == {
        "entity": "CheckedSource",
        "key": "2",
        "name": "target",
        "target": "CheckedTarget",
        "identifier": "8",
        "on_delete": "cascade",
        "repaired": None,
    }


@pytest.mark.usefixtures("alone")
def test_a_repair_is_shown_first_and_asked_for(run: Run) -> None:
    """It does nothing with --dry-run, nor where nobody can answer; and then it is recorded."""
    result = run("--repair", "nullify", "--dry-run")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (
        3,
        "2 dangling; nothing was changed.",
    )
    assert run("--repair", "nullify").exit_code == 2
    assert run().exit_code == 3
    result = run("--repair", "nullify", "--actor", "ann", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-3:] == [
        f"{FIRST}: set to None",
        f"{SECOND}: set to None",
        "2 repaired.",
    ]
    result = run()
    assert (result.exit_code, result.stdout) == (0, "Nothing dangles.\n")
    module = sys.modules["checked_app"]
    newest = next(module.lifecycle.history.of("CheckedSource", 2))
    assert (newest.actor, newest.changes["target_id"].new) == ("ann", None)


@pytest.mark.usefixtures("alone")
def test_a_repair_as_declared_leaves_what_says_nothing(run: Run) -> None:
    """The exit code says that something is left."""
    result = run("--repair", "declared", "--yes")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [f"{FIRST}: deleted", SECOND, "1 repaired, 1 left."]


@pytest.mark.usefixtures("alone")
def test_wrong_calls_say_what_is_missing(run: Run) -> None:
    """With the exit code of wrong calls."""
    result = run("--dry-run")
    assert result.exit_code == 2
    assert "give --repair too" in result.output
    assert CliRunner().invoke(command, ["check-references"], env={}).exit_code == 2


KILLED = """
import os
import checked_app as app
from lifecycle import post_commit

@app.lifecycle.subscribe
@post_commit(app.CheckedTarget, priority=1)
def die(event):
    os._exit(9)

with app.factories[1].begin() as session:
    session.delete(session.get(app.CheckedTarget, 1))
"""


@pytest.mark.usefixtures("alone")
def test_what_a_killed_process_leaves_is_repaired(run: Run, tmp_path: Path) -> None:
    """One killed between the commit of a deletion and what that was to do in the other database."""
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, check=False
    )
    assert killed.returncode == 9
    declarations = APPLICATION.partition("CheckedSource.__table__")[0]
    (tmp_path / "checked_app.py").write_text(declarations + AGAIN)
    result = run("--repair", "declared", "--yes", "--json")
    assert result.exit_code == 0
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["key"], one["repaired"]) for one in found] == [(key, "delete") for key in "123"]


AGAIN = """
factories = [sessionmaker(one) for one in engines]
lifecycle = Lifecycle()
for factory in factories:
    lifecycle.install(factory)
"""


def test_any_number_is_read_in_portions_by_keys(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each asks both databases once; progress is told; nothing is asked for twice."""
    monkeypatch.setattr("lifecycle.behaviours.references.checking._AT_ONCE", 10)
    elsewhere = create_engine(f"sqlite:///{tmp_path / 'elsewhere.sqlite'}")

    class Base(DeclarativeBase):
        pass

    class Target(Base):
        __tablename__ = "targets"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Source(Base):
        __tablename__ = "sources"
        id: Mapped[int] = mapped_column(primary_key=True)
        target_id: Mapped[int | None]
        target = ReferenceOne(Target, "target_id")

    Target.__table__.create(elsewhere)  # type: ignore[attr-defined]
    Source.__table__.create(sqlite_engine)  # type: ignore[attr-defined]
    here, there = sessionmaker(sqlite_engine), sessionmaker(elsewhere)
    lifecycle = Lifecycle()
    for factory, engine in ((here, sqlite_engine), (there, elsewhere)):
        lifecycle.install(factory)
        lifecycle.create_tables(engine)
    with there.begin() as session:
        session.add_all([Target(id=n) for n in range(1, 26)])
    with here.begin() as session:
        session.add_all([Source(target_id=n) for n in range(1, 36)])
        session.add_all([Source() for _ in range(5)])
    done: list[int] = []
    with statements(sqlite_engine) as asked, statements(elsewhere) as asked_there:
        found = list(lifecycle.references.check(Source, progress=done.append))
    assert [one.identifier for one in found] == [str(n) for n in range(26, 36)]
    assert done == [10, 10, 10, 5]
    assert len([one for one in asked if "FROM sources" in one]) == 4
    assert len([one for one in asked_there if "FROM targets" in one]) == 4
    with pytest.raises(ConfigurationError, match="use one of nullify, delete, declared"):
        list(lifecycle.references.check(Source, repair="mend"))  # type: ignore[arg-type]
    lifecycle.uninstall(there)
    with pytest.raises(ConfigurationError, match="some references could not be checked: none of"):
        list(lifecycle.references.check(Source))
    lifecycle.uninstall(here)
    Base.registry.dispose()
    elsewhere.dispose()
