"""A log that an older release made: what it lacks is named, and made without touching the rest."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Column, Engine, Integer, MetaData, Table, inspect, text

from lifecycle.audit.sealing import seal
from lifecycle.audit.store import Query
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.audit.verifying import verify
from lifecycle.cli.commands import lifecycle as command
from lifecycle.errors import ConfigurationError, TablesMissing
from lifecycle.testing.store_contract import a_revision, append
from tests.settling import settle
from tests.statements import statements


def older(engine: Engine) -> SqlStore:
    """A log with a sealed revision, without a table, two columns and the indexes of later days."""
    store = SqlStore(engine)
    store.create_tables()
    append(store, a_revision(), {})
    settle(store)
    seal(store)
    of = " ON lifecycle_change" if engine.dialect.name == "mysql" else ""
    lost = [
        "DROP TABLE lifecycle_hold",
        f"DROP INDEX ix_lifecycle_change_former_key{of}",
        "ALTER TABLE lifecycle_change DROP COLUMN former_key",
        "ALTER TABLE lifecycle_change DROP COLUMN cause",
    ]
    if engine.dialect.name == "postgresql":
        lost.append("DROP INDEX ix_lifecycle_revision_horizon")
    with engine.begin() as connection:
        for statement in lost:
            connection.execute(text(statement))
    return store


def test_what_an_older_log_lacks_is_named_and_made(engine: Engine) -> None:
    """Then it has all a new one has, and every record, and the seals still hold."""
    store = older(engine)
    lacking = store.lacking()
    assert sorted(lacking) == [
        "column cause of lifecycle_change",
        "column former_key of lifecycle_change",
        "index ix_lifecycle_change_former_key of lifecycle_change",
        *["index ix_lifecycle_revision_horizon of lifecycle_revision"]
        * (engine.dialect.name == "postgresql"),
        "table lifecycle_hold",
    ]
    with pytest.raises(TablesMissing, match="lifecycle create-tables"):
        store.page(Query())

    assert store.create_tables() == lacking

    assert store.lacking() == []
    assert store.create_tables() == []
    assert len(store.page(Query()).records) == 1
    append(store, a_revision(), {"key": "2", "former_key": "1", "cause": "cascade"})
    assert verify(store).findings == []


def test_a_new_log_lacks_nothing(engine: Engine) -> None:
    """Creating it twice changes nothing, and writes nothing the second time."""
    store = SqlStore(engine)
    assert len(store.create_tables()) == 6
    with statements(engine) as seen:
        assert store.create_tables() == []
    assert not [one for one in seen if one.lstrip().upper().startswith(("CREATE", "ALTER"))]


def test_a_table_of_somebody_else_is_refused(engine: Engine) -> None:
    """By a column that no log was ever without; nothing of it is altered."""
    metadata = MetaData()
    Table("lifecycle_change", metadata, Column("id", Integer, primary_key=True))
    metadata.create_all(engine)
    with pytest.raises(ConfigurationError, match="lifecycle_change in this database has no column"):
        SqlStore(engine).create_tables()
    [column] = inspect(engine).get_columns("lifecycle_change")
    assert column["name"] == "id"


def test_the_command_says_what_it_makes(sqlite_engine: Engine) -> None:
    """And with --dry-run only what it would make."""
    url = str(older(sqlite_engine).url)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(command, ["create-tables", url, *arguments])

    dry = run("--dry-run")
    assert (dry.exit_code, "missing: table lifecycle_hold" in dry.output) == (0, True)
    assert "4 to create" in dry.output
    made = run()
    assert "created: column cause of lifecycle_change" in made.output
    assert "nothing to create" in run("--dry-run").output
