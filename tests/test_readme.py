"""The code of the README and of the pages it leads to runs as printed and prints what they show."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy.orm import close_all_sessions
from starlette.testclient import TestClient

import audit_ui
from lifecycle import Veto
from lifecycle.cli.commands import lifecycle as command

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    # Hosts are tried one by one, in tests/ui/test_hosts.py.
    *sorted({*(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "mounting.md"}),
]
BLOCKS: list[tuple[str, str]] = [
    block
    for page in PAGES
    for block in re.findall(
        r"^```(\w+)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL
    )
]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6}\+00:00| UTC)")


def code(*contains: str) -> str:
    """The one Python block of the pages that holds all of these."""
    (found,) = [
        block
        for language, block in BLOCKS
        if language == "python" and all(text in block for text in contains)
    ]
    return found


Names = dict[str, Any]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """The names of a new module, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    yield vars(module)
    close_all_sessions()
    vars(module)["engine"].dispose()
    vars(module)["Base"].registry.dispose()
    vars(module).clear()


def run(block: str, names: Names) -> str:
    """Run a block as part of that module; returns what it printed."""
    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(block, "<documentation>", "exec", dont_inherit=True), names)
    return printed.getvalue()


def test_every_link_to_a_file_leads_to_one() -> None:
    """From the README and from the pages beside it."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in LINK.findall(page.read_text())]
    assert len(links) > len(pages)
    assert [(page.name, link) for page, link in links if not (page.parent / link).is_file()] == []


def test_the_first_example_prints_what_the_readme_shows(names: Names) -> None:
    """Only the times differ."""
    printed = run(code("never_alice_only_bob"), names)
    shown = next(block for language, block in BLOCKS if language == "text")
    assert TIME.sub("TIME", printed) == TIME.sub("TIME", shown)
    assert "TIME" in TIME.sub("TIME", printed)


def test_the_command_prints_what_the_readme_shows(names: Names) -> None:
    """From the database of the first example."""
    run(code("never_alice_only_bob"), names)
    blocks = (block for _, block in BLOCKS if block.startswith("lifecycle history "))
    typed = next(blocks).splitlines()[0]
    result = CliRunner().invoke(command, typed.split()[1:])
    shown = next(block for language, block in BLOCKS if language == "text" and " -> " in block)
    assert TIME.sub("TIME", result.output) == TIME.sub("TIME", shown)


def test_the_pages_mount_in_one_line(names: Names) -> None:
    """The mounted pages answer, and only to those the policy lets in."""
    run(code("never_alice_only_bob"), names)
    run(code("audit_ui.create_app"), names)
    with TestClient(names["app"]) as nobody:
        assert nobody.get("/audit/").status_code == 403
    pages = audit_ui.create_app(names["lifecycle"], access=lambda user, action, subject: True)
    with TestClient(pages) as anybody:
        assert "Bob" in anybody.get("/").text


def test_subscribed_hooks_run_as_the_readme_says(names: Names) -> None:
    """The veto vetoes, the announcer announces."""
    run(code("never_alice_only_bob"), names)
    run(code("class Announcer"), names)
    said = run("with Session.begin() as session:\n    session.get(User, 1).name = 'Carl'\n", names)
    assert said == "User 1 changed: name\n"
    with pytest.raises(Veto, match="not_here refused to update User 1: nobody of that name"):
        run("with Session.begin() as session:\n    session.get(User, 1).name = 'Mallory'", names)


def test_behaviours_do_what_the_readme_shows(names: Names) -> None:
    """All of them on one model, printed as shown; it is there again afterwards."""
    run(code("never_alice_only_bob"), names)
    printed = run(code("@soft_delete"), names)
    shown = [block for language, block in BLOCKS if language == "text" and "a-propos" in block]
    assert [printed] == shown
    assert run("with Session() as s: print(s.get(Article, 1).title)", names) == "À propos\n"


def test_signals_are_received_as_the_readme_says(names: Names) -> None:
    """After the commit, by a plain receiver."""
    run(code("never_alice_only_bob"), names)
    run(code("signals.post_commit.connect"), names)
    said = run("with Session.begin() as session:\n    session.add(User(name='Dora'))\n", names)
    assert said == "User 2 is committed: insert\n"


def test_a_statement_is_recorded_as_the_readme_shows(names: Names) -> None:
    """With the row's old and new value."""
    run(code("never_alice_only_bob"), names)
    printed = run(code('acting("cron")'), names)
    shown = [block for language, block in BLOCKS if language == "text" and "Robert" in block]
    assert [printed] == shown


def test_objects_are_migrated_as_the_readme_shows(names: Names) -> None:
    """When they are loaded, and in the background."""
    run(code("never_alice_only_bob"), names)
    printed = run(code("split_full_name"), names)
    assert printed in [block for language, block in BLOCKS if language == "text"]
    (last,) = lifecycle_records(names, "Member")[:1]
    assert (last.cause, last.changes["last_name"].new) == ("migration", "Lee")


def lifecycle_records(names: Names, entity: str) -> list[Any]:
    """What the log has of a model, newest first."""
    return list(names["lifecycle"].history.find(entity))


def test_every_question_to_the_history_has_an_answer(names: Names) -> None:
    """Each line of the history section runs."""
    run(code("never_alice_only_bob"), names)
    run(
        "record = next(lifecycle.history.of(User, 1))\n"
        "when, id, at = record, record.revision.id, record.at\n"
        "session = Session()\n"
        "user = session.get(User, 1)\n",
        names,
    )
    run(code("history.snapshot"), names)
    run("assert list(history.of(user)) == list(history.of(User, 1)) != []", names)


def test_changes_are_put_back_as_the_readme_shows(names: Names) -> None:
    """A preview, what it prints, and each verb."""
    run(code("never_alice_only_bob"), names)
    printed = run(code("restore.preview"), names)
    assert printed in [block for language, block in BLOCKS if language == "text"]
    run(
        "with Session.begin() as session:\n"
        "    session.add(User(id=2, name='Dora'))\n"
        "with Session.begin() as session:\n"
        "    session.delete(session.get(User, 2))\n"
        "version = list(lifecycle.history.of(User, 1))[-1]\n",
        names,
    )
    run(code("restore.undelete"), names)
    with names["Session"]() as session:
        found = {user.id: user.name for user in session.query(names["User"])}
    assert found == {1: "Eve", 2: "Dora"}


def test_documents_install_as_the_readme_says(names: Names) -> None:
    """A store makes room for the records of documents."""
    run(code("never_alice_only_bob"), names)
    run(code("lifecycle.install(mongoengine)"), names)
    run("lifecycle.uninstall(mongoengine)", names)


def test_a_log_is_written_ahead_as_the_page_of_documents_says(names: Names) -> None:
    """From the next connection on."""
    run(code("never_alice_only_bob"), names)
    run(code("journal_mode"), names)
    names["engine"].dispose()
    with names["engine"].connect() as connection:
        told = [connection.exec_driver_sql(f"PRAGMA {one}").scalar() for one in _WRITE_AHEAD]
    assert told == ["wal", 1]


_WRITE_AHEAD = ("journal_mode", "synchronous")


def test_references_lead_where_the_readme_says(names: Names, mongo: object) -> None:
    """Both ways, and a product with orders stays."""
    run(code("never_alice_only_bob"), names)
    run(code("lifecycle.install(mongoengine)"), names)
    printed = run(code("ReferenceOne(Product"), names)
    assert printed in [block for language, block in BLOCKS if language == "text"]
    with pytest.raises(Veto, match="Order 1 refers to it as its product"):
        run("lamp.delete()", names)
    run("lifecycle.uninstall(mongoengine)", names)


def test_what_was_forged_is_found_as_the_readme_shows(names: Names) -> None:
    """In the log and in the table, each where it is."""
    run(code("never_alice_only_bob"), names)
    printed = run(code("evidence.seal()"), names)
    shown = [block for language, block in BLOCKS if language == "text" and "past the log" in block]
    assert [printed] == shown


def test_privacy_does_what_the_readme_says(names: Names) -> None:
    """Each line runs, and the log verifies afterwards."""
    run(code("never_alice_only_bob"), names)
    names["lifecycle"].evidence.seal()
    run("from datetime import timedelta\nfrom sqlalchemy import LargeBinary\n", names)
    names["lifecycle"].uninstall(names["Session"])
    block = code("privacy.erase").replace(
        "privacy = lifecycle.privacy",
        "lifecycle.install(Session)\nprivacy = lifecycle.privacy",
    )
    run(block, names)
    assert names["lifecycle"].evidence.verify().intact
