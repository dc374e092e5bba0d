"""What a host puts on its own pages, and what its Lifecycle tells the pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from starlette.testclient import TestClient

import audit_ui
from lifecycle import Lifecycle, acting, not_audited
from lifecycle.errors import HistoryError
from tests.ui.conftest import Log, everyone
from tests.ui.test_pages import see


class Base(DeclarativeBase):
    pass


class Voucher(Base):
    __tablename__ = "embedded_invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]


@not_audited
class Sketch(Base):
    __tablename__ = "embedded_drafts"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def lifecycle(tmp_path: Path) -> Iterator[Lifecycle]:
    """An invoice, changed three times by hostile actors."""
    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    Base.metadata.create_all(engine)
    found = Lifecycle()
    session_maker = sessionmaker(engine)
    found.install(session_maker)
    found.create_tables(engine)
    with acting("<b>ann</b>", reason="<script>"), session_maker.begin() as session:
        session.add(Voucher(id=7, note="a & b"))
    for note in ("<img>", "c"):
        with acting("bob"), session_maker.begin() as session:
            invoice = session.get(Voucher, 7)
            assert invoice is not None
            invoice.note = note
    yield found
    found.uninstall(session_maker)
    engine.dispose()


def test_addresses_need_no_request(lifecycle: Lifecycle) -> None:
    """Of an object, a record and an actor, under the address of the mount."""
    embedded = audit_ui.Embedded(lifecycle, at="/audit/")
    entity = lifecycle.models.entity(Voucher)
    record = next(lifecycle.history.of(Voucher, 7))
    assert embedded.url_for_history(Voucher, 7) == f"/audit/o/{entity}/7"
    assert embedded.url_for_record(record) == f"/audit/r/{record.id}"
    assert embedded.url_for_record(record.id) == f"/audit/r/{record.id}"
    assert embedded.url_for_actor("a/b") == "/audit/a/a~1b"
    with pytest.raises(HistoryError):
        embedded.url_for_history(Log())


def test_a_fragment_is_escaped_and_leads_to_the_pages(lifecycle: Lifecycle) -> None:
    """The last changes, each with its address, and the way to all of them."""
    embedded = audit_ui.Embedded(lifecycle, at="https://example.org/audit")
    html = embedded.history_fragment(Voucher, 7, limit=2)
    assert html.count("<li>") == 2
    assert "&lt;img&gt;" in html
    assert "The whole history" in html
    everything = embedded.history_fragment(Voucher, 7)
    assert "&lt;script&gt;" in everything
    assert "<b>ann" not in everything
    links = re.findall(r'href="([^"]*)"', everything)
    assert links
    assert all(link.startswith("https://example.org/audit/") for link in links)
    assert "Nothing is recorded" in embedded.history_fragment(Voucher, 8)
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script", everything)


def test_coverage_tells_what_is_not_in_the_log(lifecycle: Lifecycle) -> None:
    """Which entities are recorded, which are not, and which writes were only counted."""
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        page = see(client, "/-/coverage")
        assert "No write was seen that the log does not have" in page
        there, recorded, missing = re.split(r"\d+ entit(?:y is|ies are) (?:recorded|not)", page)
        assert "Sketch" not in there + recorded
        assert lifecycle.models.entity(Voucher) in recorded
        assert "Sketch" in missing
        assert 'href="./-/coverage">Coverage' in client.get("/").text
        assert client.get("/-/coverage.json").json()["unrecorded"] == []


def test_writes_that_were_only_counted_are_listed(lifecycle: Lifecycle) -> None:
    """Each kind with its entities, how often and why."""
    lifecycle._services.gaps.note(["shop.<b>"], "UPDATE shop_<b>", "raw SQL text")
    lifecycle._services.gaps.note(["shop.<b>"], "UPDATE shop_<b>", "raw SQL text")
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        page = see(client, "/-/coverage")
    assert "2 writes seen that the log does not have in full" in page
    assert "2 UPDATE shop_<b> shop.<b> raw SQL text" in page


def test_pages_of_a_store_say_that_they_know_no_coverage(log: Log) -> None:
    """They still tell of its evidence."""
    with TestClient(audit_ui.create_app(log.store, access=everyone)) as client:
        page = see(client, "/-/coverage")
    assert "These pages know the store only" in page
    assert "no seal is there" in page
    assert "entities are recorded" not in page


def test_how_far_the_log_goes_back_is_told(lifecycle: Lifecycle, log: Log) -> None:
    """By its first record and its last; on the feed where it ends, and of any store."""
    *_, first = records = list(lifecycle.history.find())
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        page = client.get("/-/coverage").text
        told = client.get("/-/coverage.json").json()
        assert "The log begins here" in see(client, "/")
        assert "The log begins here" not in see(client, "/?actor=ann")
    reach = page.partition('id="reach"')[2].partition("</section>")[0]
    assert re.findall(r'href="\.\./r/([^"]+)"', reach) == [first.id, records[0].id]
    assert (told["oldest"], told["newest"]) == (first.at.isoformat(), records[0].at.isoformat())
    with TestClient(audit_ui.create_app(log.store, access=everyone)) as client:
        assert "goes Nothing is recorded." in see(client, "/-/coverage")


def test_the_last_seal_and_the_last_verification_are_told(lifecycle: Lifecycle) -> None:
    """Who sealed and verified when, and with which verdict; unknown is said to be unknown."""
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        page = see(client, "/-/coverage")
        assert "Last seal no seal is there" in page
        assert "Not sealed yet everything, up to" in page
        assert "not known here: none is recorded" in page
        with acting("cron"):
            lifecycle.evidence.seal()
            lifecycle.evidence.verify()
        page = see(client, "/-/coverage")
        assert "number 1, by cron" in page
        assert "nothing was begun since" in page
        assert "not known here" in page, "a verification is recorded when that is asked for"
        with acting("olga"):
            assert lifecycle.evidence.verify(record=True).intact
        page = see(client, "/-/coverage")
        assert "by olga : nothing found" in page
        assert "It read 3 records, 3 revisions, 1 seals" in page
        assert "what was recorded since, up to" in page
        with lifecycle.store.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.exec_driver_sql("UPDATE lifecycle_change SET label = 'x' WHERE n = 0")
        with acting("olga"):
            assert not lifecycle.evidence.verify(record=True).intact
        assert "by olga : not as it was sealed" in see(client, "/-/coverage")
        told = client.get("/-/coverage.json").json()["integrity"]
        assert (told["seal"], told["sealed_by"], told["keeps_evidence"]) == (1, "cron", True)
        assert told["verified"]["label"] == "3 found"
        with lifecycle.store.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.exec_driver_sql("DELETE FROM lifecycle_seal")
        page = see(client, "/-/coverage")
        assert "no seal is there the log was sealed when it was verified" in page


def test_the_last_pruning_is_told(lifecycle: Lifecycle) -> None:
    """When, by whom and why, beside how far the log goes back."""
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        assert "no pruning is noted" in see(client, "/-/coverage")
        for actor, ago in (("eve", 2), ("cron", 0)):
            with acting(actor, reason=f"older than {ago} days"):
                lifecycle.privacy.prune(older_than=timedelta(days=ago))
                lifecycle.evidence.seal()
        page = see(client, "/-/coverage")
        told = client.get("/-/coverage.json").json()["integrity"]
    assert "no pruning is noted" not in page
    assert re.search(r"Last pruned \S+ \S+ ?, by cron older than 0 days", page), page
    assert (told["pruned_by"], told["pruned_why"]) == ("cron", "older than 0 days")
    assert told["pruned_at"].startswith(f"{datetime.now(UTC):%Y-}")


def test_a_log_from_before_the_evidence_says_what_is_missing(lifecycle: Lifecycle) -> None:
    """And how to make it."""
    engine = lifecycle.store.engine  # type: ignore[attr-defined]
    with engine.begin() as connection:
        for name in inspect(engine).get_table_names():
            if name.startswith("lifecycle_") and name not in (
                "lifecycle_change",
                "lifecycle_revision",
            ):
                connection.exec_driver_sql(f"DROP TABLE {name}")
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        assert "lifecycle create-tables" in see(client, "/-/coverage")
