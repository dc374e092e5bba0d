"""The German and the Chinese pages: every text there, and nothing left in English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import ForeignKey, String, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from starlette.testclient import TestClient

import audit_ui
from audit_ui.embedding import Embedded
from audit_ui.languages import catalogues, ngettext, number, speaking
from audit_ui.text import long_day, span
from lifecycle import Lifecycle, acting, audited
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.changes import ABSENT, MASKED, UNKNOWN, Change
from tests.ui.conftest import Log, everyone, update
from tests.ui.texts import messages

LANGUAGES: Final = ("de", "zh")
PLACES: Final = re.compile(r"%\(\w+\)s|%s")
MARKUP: Final = re.compile(r"</?\w+>|<code>.*?</code>")

ENGLISH: Final = re.compile(
    r"\b(?:[Tt]he|[Aa]nd|[Tt]his|[Tt]hat|[Ww]ith|[Oo]f|is|are|[Nn]ot|[Bb]y|[Ff]rom|which|it|its"
    r"|[Rr]ecorded|[Cc]hanged?|[Cc]hanges|[Cc]reated|[Uu]pdated|[Dd]eleted|[Nn]othing|[Ss]how"
    r"|[Vv]alues?|[Uu]ndo|[Rr]estore|removed|added|more|ago|March)\b"
)
"""Words that are English, and neither German nor part of what the test writes."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_every_text_and_no_other(language: str) -> None:
    """In all the forms that its rule for plurals asks for."""
    texts = catalogues()[language].texts
    assert sorted(set(messages()) - set(texts)) == []
    assert sorted(set(texts) - set(messages())) == []
    forms = {catalogues()[language].plural(n) for n in range(200)}
    for message, source in messages().items():
        told = texts[message]
        assert all(told), message
        assert len(told) == (len(forms) if len(source) > 1 else 1), message


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_have_the_places_and_the_markup_of_their_text(language: str) -> None:
    """A place that is missing would lose a value, another one would break the page."""
    for message, told in catalogues()[language].texts.items():
        for one in told:
            assert set(PLACES.findall(one)) == set(PLACES.findall(message)), one
            assert sorted(MARKUP.findall(one)) == sorted(MARKUP.findall(message)), one


def test_numbers_days_and_spans_are_written_as_the_language_does() -> None:
    day = date(2026, 3, 1)
    forms = ("%(number)s change", "%(number)s changes")
    with speaking("de"):
        assert number(1234567) == "1.234.567"
        assert [ngettext(*forms, n) for n in (0, 1, 2)] == [
            "0 Änderungen",
            "1 Änderung",
            "2 Änderungen",
        ]
        assert long_day(day) == "So, 1. März 2026"
        assert span(timedelta(days=2, hours=3)) == "2 Tg. 3 Std."
    with speaking("zh"):
        assert [ngettext(*forms, n) for n in (0, 1, 2000)] == [
            "0 项更改",
            "1 项更改",
            "2,000 项更改",
        ]
        assert long_day(day) == "2026年3月1日 周日"
        assert span(timedelta(minutes=5)) == "5 分钟"
    assert long_day(day) == "Sun 1 Mar 2026"


# --- pages ----------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


@audited(entity="zunge.Kunde", label="titel")
class ZungeKunde(Base):
    __tablename__ = "zunge_kunden"
    id: Mapped[int] = mapped_column(primary_key=True)
    titel: Mapped[str] = mapped_column(String(80))
    ort: Mapped[str | None] = mapped_column(String(80))


@audited(entity="zunge.Posten")
class ZungePosten(Base):
    __tablename__ = "zunge_posten"
    id: Mapped[int] = mapped_column(primary_key=True)
    kunde_id: Mapped[int] = mapped_column(ForeignKey("zunge_kunden.id"))


@pytest.fixture
def lifecycle(tmp_path: Path) -> Iterator[Lifecycle]:
    """An object created, changed, joined by another, and one that was deleted."""
    engine = create_engine(f"sqlite:///{tmp_path}/zunge.db")
    Base.metadata.create_all(engine)
    session = sessionmaker(engine)
    lifecycle = Lifecycle()
    lifecycle.install(session)
    lifecycle.create_tables(engine)
    with acting("ann", reason="Anlage"), session.begin() as work:
        work.add_all([ZungeKunde(id=1, titel="Ada"), ZungeKunde(id=2, titel="Bea", ort="Bonn")])
    with acting("ann"), session.begin() as work:
        work.add(ZungePosten(id=1, kunde_id=1))
        work.get_one(ZungeKunde, 1).ort = "Ulm"
    with acting("bob"), session.begin() as work:
        work.get_one(ZungeKunde, 1).titel = "Ada L"
    with session.begin() as work:
        work.delete(work.get_one(ZungeKunde, 2))
    yield lifecycle
    lifecycle.uninstall(session)
    engine.dispose()


def read(html: str) -> str:
    """What the page says and reads out; not code, nor what is typed into a search."""
    told = " ".join(re.findall(r'(?:alt|aria-label|data-label|placeholder|title)="([^"]*)"', html))
    shown = re.sub(r"<(code|pre|kbd)\b.*?</\1>", " ", html, flags=re.S)
    whole = unescape(f"{told} {re.sub('<[^>]*>', ' ', shown)}")
    return re.sub(r"\S+:\S+", " ", whole)


def in_english(html: str) -> list[str]:
    text = " ".join(read(html).split())
    return [text[max(0, m.start() - 30) : m.end() + 30] for m in ENGLISH.finditer(text)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_says_anything_in_english(lifecycle: Lifecycle, language: str) -> None:
    """Every page, those of the restore and of failures too."""
    app = audit_ui.create_app(lifecycle, access=everyone, title="Chronik")
    records = list(lifecycle.history.find())
    changed = next(one for one in records if one.key == "1" and "titel" in one.changes)
    kinds = {(one.entity, one.key, one.operation.value): one for one in records}
    first = kinds["zunge.Kunde", "1", "insert"]
    feed = ["/", "/?actor=ann&since=7d&count=1", "/?actor=nobody", "/?text=Ada", "/o/zunge.Kunde/"]
    pages = [
        *("/o/zunge.Kunde/1", f"/o/zunge.Kunde/1?v={first.id}", "/o/zunge.Kunde/2"),
        *("/o/zunge.Kunde/1?against=now", "/o/zunge.Kunde/1/related", "/o/zunge.Kunde/1/f/titel"),
        *(f"/r/{one.id}" for one in records),
        *(f"/t/{one.revision.id}" for one in records),
        *(f"/t/{changed.revision.id}?view=net", "/a/ann", "/-/help", "/-/coverage", "/views"),
    ]
    deeds = [f"/r/{changed.id}/undo", f"/t/{changed.revision.id}/undo", "/o/zunge.Kunde/2/restore"]
    failures = {
        "/o/zunge.Kunde/99": 404,
        "/r/x": 404,
        "/t/y": 404,
        "/nichts": 404,
        "/?since=x": 400,
    }
    failures |= {"/?since=x": 400, "/?q=prize:1": 400, "/?key=1": 400, "/a/x": 404}
    failures["/?q=since:1d since:2d"] = 400
    failures |= {"/o/zunge.Kunde/~9": 404, "/?older_than=x": 400, "/?no=x": 400, "/g/x": 404}
    failures |= {
        f"/o/zunge.Kunde/1?v={first.id[:-1]}99": 404,
        "/o/zunge.Kunde/1?at=1999-01-01": 404,
    }
    failures |= {"/o/zunge.Kunde/1/restore": 404, "/o/zunge.Kunde/1/f/nichts": 404}
    with TestClient(app, headers={"accept-language": language}) as client:
        lang = catalogues()[language].lang
        for address in [*feed, *pages, *deeds, *failures]:
            answer = client.get(address)
            assert answer.status_code == failures.get(address, 200), address
            assert f'<html lang="{lang}"' in answer.text
            assert in_english(answer.text) == [], address
        sent = client.post(deeds[2], data={"shown": "x"}, headers={"sec-fetch-site": "same-origin"})
        assert sent.status_code == 409
        assert in_english(sent.text) == []
        assert in_english(client.post("/").text) == []


def test_a_refusal_names_the_right_in_the_language(lifecycle: Lifecycle) -> None:
    """What was to be seen, exported or put back, and not the word that access is asked with."""

    def nobody(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        return False

    addresses = {"/": "ansehen", "/export.csv": "exportieren", "/r/x/undo": "zurücksetzen"}
    with TestClient(audit_ui.create_app(lifecycle, access=nobody, locale="de")) as client:
        for address, right in addresses.items():
            answer = client.get(address)
            assert answer.status_code == 403
            assert f"nicht gegeben ({right})" in read(answer.text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_in_the_way_is_said_in_the_language(lifecycle: Lifecycle, language: str) -> None:
    """Conflicts and notes of previews, which the library words in English, with their values."""
    assert isinstance(lifecycle.store, SqlStore)
    engine = lifecycle.store.engine
    session = sessionmaker(engine)
    lifecycle.install(session)
    [*_, first] = lifecycle.history.of(ZungeKunde, 2)
    with acting("eva"), session.begin() as work:
        work.get_one(ZungeKunde, 1).titel = "Ada M"
        work.add(ZungeKunde(id=2, titel="Cleo"))
    with acting("eva"), session.begin() as work:
        work.add(ZungePosten(id=2, kunde_id=2))
    with acting("eva"), session.begin() as work:
        work.delete(work.get_one(ZungePosten, 1))
        work.delete(work.get_one(ZungeKunde, 1))
    with engine.begin() as connection:
        connection.execute(text("UPDATE zunge_kunden SET ort = 'Rom' WHERE id = 2"))
    seen: set[str] = set()
    with TestClient(
        audit_ui.create_app(lifecycle, access=everyone, title="Chronik"),
        headers={"accept-language": language},
    ) as client:
        for address in (
            *(f"/r/{one.id}/undo" for one in lifecycle.history.find()),
            *(f"/t/{one.revision.id}/undo" for one in lifecycle.history.find()),
            *("/o/zunge.Kunde/2/restore", f"/o/zunge.Kunde/2/restore?v={first.id}"),
        ):
            page = client.get(address)
            assert page.status_code == 200, address
            assert in_english(page.text) == [], address
            told = client.get(address.replace("/undo", "/undo.json")).text
            seen |= set(re.findall(r'"kind": "(\w+)"', told))
    lifecycle.uninstall(session)
    assert {"changed", "gone", "exists", "reference", "referenced"} <= seen


def test_the_words_for_values_are_in_the_language_and_the_values_are_not(log: Log) -> None:
    """A text that reads like one of ours is the data's own."""
    values: dict[str, Any] = {"a": UNKNOWN, "b": None, "c": "", "d": ABSENT}
    changes = {name: Change(value, "hidden") for name, value in values.items()}
    log.write(update("shop.Order", "1", {**changes, "e": Change(MASKED, MASKED)}))
    with TestClient(audit_ui.create_app(log.store, access=everyone, locale="de")) as client:
        page = client.get("/").text
        record = re.search(r'href="\./(r/[^"]+)"', page)
        assert record is not None
        page += client.get(f"/{record[1]}").text
    for words in ("nicht bekannt", "NULL", "leerer Text", "kein Wert", "geändert (verborgen)"):
        assert words in page
    assert '<bdi class="value text"><ins><span class="sr">hinzugefügt </span>hidden</ins>' in page


def test_the_script_has_its_texts_in_the_language(log: Log) -> None:
    """As data in the page, which the policy for scripts allows; an English page needs none."""
    app = audit_ui.create_app(log.store, access=everyone)
    with TestClient(app) as client:
        german = client.get("/-/help", headers={"accept-language": "de-CH"}).text
        assert re.search(r"<html lang=\"de\" data-texts='\{[^'<>]*Ortszeit", german)
        assert "data-texts" not in client.get("/-/help").text


def test_a_fragment_on_the_hosts_page_is_in_the_hosts_language(lifecycle: Lifecycle) -> None:
    """It has no request to learn a language from."""
    for language in LANGUAGES:
        history = Embedded(lifecycle, at="/audit", locale=language)
        assert in_english(str(history.history_fragment(ZungeKunde, 1))) == []
    assert "created by" in read(str(Embedded(lifecycle, at="/a").history_fragment(ZungeKunde, 1)))


def test_what_is_english_would_be_found() -> None:
    """The words looked for do stand on the English pages."""
    assert in_english("<p>Nothing is recorded.</p>")
    assert in_english('<img alt="Changes on each day">')
    assert not in_english("<code>show of the</code>")
