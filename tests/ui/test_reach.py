"""What a page may ask of its database, however large the log is: little, and nothing that grows."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import URL, Engine, create_engine

import audit_ui
from lifecycle import Lifecycle
from tests.bench.made_up import fill
from tests.bench.pages import ask, everyone, made_up_shop, pages
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


@dataclass(frozen=True)
class Filled:
    """A log, its application, and the addresses of its pages by name."""

    engine: Engine
    lifecycle: Lifecycle
    pages: dict[str, str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest) -> Iterator[Filled]:
    engine: Engine = request.getfixturevalue(f"{request.param}_log")
    with made_up_shop(engine, RECORDS) as (lifecycle, addresses):
        yield Filled(engine, lifecycle, addresses)


def questions(filled: Filled, address: str) -> list[str]:
    """What the log is asked for a page, without what sets its patience."""
    app = audit_ui.create_app(filled.lifecycle, access=everyone)
    with statements(filled.engine) as seen:
        asyncio.run(ask(app, address))
    # Of SQLite SQLAlchemy never asks for a limit without an offset, which is 0.
    asked = [one.replace("LIMIT ? OFFSET ?", "LIMIT ?") for one in seen]
    return [one for one in asked if "lifecycle_" in one]


@pytest.mark.parametrize("page", [name for name in PAGES if "days" not in name])
def test_a_page_asks_at_most_three_questions_and_none_that_grows(filled: Filled, page: str) -> None:
    """No count, no offset, no distinct; each answer is limited or is that of given keys."""
    asked = questions(filled, filled.pages[page])
    # A version is put together from its object's records and from statements over many rows.
    assert len(asked) <= (4 if page == "preview of a version" else 3)
    if page == "feed, counted":  # on demand, and so far
        asked.remove(next(one for one in asked if "count(*)" in one and "LIMIT" in one))
    assert [one for one in asked if GROWING.search(one)] == []
    bounds = ("LIMIT", "RECURSIVE", "json")
    assert [one for one in asked if not any(bound in one for bound in bounds)] == []


def test_the_strip_of_days_counts_no_day_further_than_it_shows(filled: Filled) -> None:
    """It counts, by its own address, all days at once, and only as far as its bars tell apart."""
    [asked] = questions(filled, filled.pages["days, counted"])
    counts = asked.split("SELECT count(*)")[1:]
    assert len(counts) == 30
    assert [one for one in counts if "LIMIT" not in one] == []


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_asks_once_for_some_hundred_records(filled: Filled, form: str) -> None:
    """And once for where it ends; nothing in it grows with the log."""
    app = audit_ui.create_app(filled.lifecycle, access=everyone, record_exports=False)
    with statements(filled.engine) as seen:
        asyncio.run(ask(app, f"/export.{form}"))
    asked = [one.replace("LIMIT ? OFFSET ?", "LIMIT ?") for one in seen]
    asked = [one for one in asked if not one.startswith("SET LOCAL statement_timeout")]
    assert len(asked) == 1 + math.ceil((RECORDS + 1) / 500)
    assert [one for one in asked if GROWING.search(one) or "LIMIT" not in one] == []
