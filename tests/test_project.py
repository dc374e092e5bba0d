"""The project around the code: its versions, its documents, and the databases tests run on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from pymongo.database import Database
from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, Table, inspect
from sqlalchemy.exc import IntegrityError

import lifecycle
from tests.servers import MongoServer, Unavailable, mongodb, sql_database

ROOT = Path(__file__).parent.parent


def tracked_texts() -> dict[str, str]:
    """The text files that are, or are about to be, part of the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    binary = {".ico", ".png", ".woff2"}
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in paths
        if path.is_file() and path.suffix not in binary
    }


def make_targets() -> set[str]:
    """The targets that the Makefile documents."""
    return set(re.findall(r"^(\w+):.*?## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


class TestProject:
    def test_the_newest_version_in_the_changelog_is_the_version_of_the_package(self) -> None:
        versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        assert versions[0] == lifecycle.__version__

    def test_constraints_hold_only_names_and_exact_versions(self) -> None:
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        assert lines
        assert [line for line in lines if not re.fullmatch(r"[\w.-]+==\d[\w.]*", line)] == []

    def test_the_makefile_and_the_constraints_pin_the_same_newest_sqlalchemy(self) -> None:
        makefile, constraints = (ROOT / name for name in ("Makefile", "constraints.txt"))
        pinned = re.findall(r"^SQLALCHEMY_2\.1 := (.+)$", makefile.read_text(), re.MULTILINE)
        assert pinned == re.findall(r"^sqlalchemy==(.+)$", constraints.read_text(), re.MULTILINE)

    def test_the_readme_names_only_make_targets_that_exist_and_all_a_newcomer_needs(self) -> None:
        readme = (ROOT / "README.md").read_text()
        named = set(re.findall(r"(?:^|`)make (\w+)", readme, re.MULTILINE))
        assert {"demo", "test", "check"} <= named <= make_targets()

    def test_no_file_names_a_place_on_the_machine_of_its_author(self) -> None:
        place = re.compile(r"(?<![\w.~*])/(?:root|home|work|tmp|opt)/\w")
        found = {name: place.findall(text) for name, text in tracked_texts().items()}
        assert {name: places for name, places in found.items() if places} == {}

    def test_no_file_names_a_package_index(self) -> None:
        index = re.compile(r"pypi\.|pythonhosted\.|index-url|find-links", re.IGNORECASE)
        texts = tracked_texts()
        del texts[str(Path(__file__).relative_to(ROOT))]
        assert [name for name, text in texts.items() if index.search(text)] == []


class TestSqlDatabases:
    metadata = MetaData()
    parent = Table("parent", metadata, Column("id", Integer, primary_key=True))
    child = Table("child", metadata, Column("parent_id", ForeignKey("parent.id"), primary_key=True))

    @pytest.mark.parametrize("turn", ["first", "second"])
    def test_each_test_gets_an_empty_database(self, engine: Engine, turn: str) -> None:
        assert inspect(engine).get_table_names() == []
        self.metadata.create_all(engine)
        assert set(inspect(engine).get_table_names()) == {"parent", "child"}

    def test_foreign_keys_are_enforced(self, engine: Engine) -> None:
        self.metadata.create_all(engine)
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(self.child.insert(), {"parent_id": 1})

    def test_the_engine_speaks_the_dialect_of_its_name(
        self, engine: Engine, request: pytest.FixtureRequest
    ) -> None:
        assert request.node.callspec.params["engine"] == engine.dialect.name

    def test_an_unreachable_server_is_named_with_what_to_do_and_without_its_password(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = "postgresql+psycopg://ann:secret@127.0.0.1:1/postgres"
        monkeypatch.setenv("LIFECYCLE_TEST_POSTGRESQL_URL", url)
        with (
            pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/.*LIFECYCLE_TEST_") as caught,
            sql_database("postgresql"),
        ):
            pass
        assert "secret" not in str(caught.value)


class Note(mongoengine.Document):
    """A document for the tests below."""

    text = mongoengine.StringField()


class TestMongoDB:
    @pytest.mark.parametrize("turn", ["first", "second"])
    def test_each_test_gets_an_empty_database_on_the_default_connection(
        self, mongo: Database[Any], turn: str
    ) -> None:
        assert mongo.list_collection_names() == []
        Note(text=turn).save()
        assert [note["text"] for note in mongo["note"].find()] == [turn]

    def test_an_unreachable_server_that_was_asked_for_is_no_reason_to_start_another(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("LIFECYCLE_TEST_MONGODB_URI", "mongodb://127.0.0.1:1/")
        with (
            pytest.raises(Unavailable, match="unset LIFECYCLE_TEST_MONGODB_URI"),
            mongodb(tmp_path),
        ):
            pass
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.real_mongodb("a replica set")
    def test_a_marked_test_runs_only_on_a_real_server(
        self, mongo: Database[Any], mongo_server: MongoServer
    ) -> None:
        assert mongo_server.real
        assert "setName" in mongo.client.admin.command("hello")
