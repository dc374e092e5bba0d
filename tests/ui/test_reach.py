"""What a page may ask of its database, however large the log is: little, and nothing that grows."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine, create_engine

import audit_ui
from lifecycle.audit.stores.sql import SqlStore
from tests.bench.made_up import fill
from tests.bench.pages import ask, everyone, pages
from tests.conftest import clean_engine
from tests.statements import statements

RECORDS = 1_200
PAGES = pages(RECORDS)
GROWING = re.compile(r"\bcount\s*\(|\boffset\b|\bdistinct\b|\bgroup\s+by\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def sqlite_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('reach') / 'log.sqlite'}")
    fill(engine, RECORDS)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def postgresql_log(postgresql_database: URL) -> Iterator[Engine]:
    for engine in clean_engine(postgresql_database):
        fill(engine, RECORDS)
        yield engine


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(f"{request.param}_log")
    return engine


def questions(engine: Engine, address: str) -> list[str]:
    """What the database is asked for a page, without what sets its patience."""
    app = audit_ui.create_app(SqlStore(engine), access=everyone)
    with statements(engine) as seen:
        asyncio.run(ask(app, address))
    # Of SQLite SQLAlchemy never asks for a limit without an offset, which is 0.
    asked = [one.replace("LIMIT ? OFFSET ?", "LIMIT ?") for one in seen]
    return [one for one in asked if not one.startswith("SET LOCAL statement_timeout")]


@pytest.mark.parametrize("page", [name for name in PAGES if "days" not in name])
def test_a_page_asks_at_most_three_questions_and_none_that_grows(filled: Engine, page: str) -> None:
    """No count, no offset, no distinct; each answer is limited or is the one of a key."""
    asked = questions(filled, PAGES[page])
    assert len(asked) <= 3
    assert [one for one in asked if GROWING.search(one)] == []
    assert [one for one in asked if "LIMIT" not in one and "RECURSIVE" not in one] == []


def test_the_strip_of_days_counts_no_day_further_than_it_shows(filled: Engine) -> None:
    """It counts, by its own address, all days at once, and only as far as its bars tell apart."""
    [asked] = questions(filled, PAGES["days, counted"])
    counts = asked.split("SELECT count(*)")[1:]
    assert len(counts) == 30
    assert [one for one in counts if "LIMIT" not in one] == []


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_asks_once_for_some_hundred_records(filled: Engine, form: str) -> None:
    """And once for where it ends; nothing in it grows with the log."""
    app = audit_ui.create_app(SqlStore(filled), access=everyone, record_exports=False)
    with statements(filled) as seen:
        asyncio.run(ask(app, f"/export.{form}"))
    asked = [one.replace("LIMIT ? OFFSET ?", "LIMIT ?") for one in seen]
    asked = [one for one in asked if not one.startswith("SET LOCAL statement_timeout")]
    assert len(asked) == 1 + math.ceil((RECORDS + 1) / 500)
    assert [one for one in asked if GROWING.search(one) or "LIMIT" not in one] == []
