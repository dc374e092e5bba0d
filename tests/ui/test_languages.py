"""Which language a page is in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx2
import pytest
from starlette.testclient import TestClient

import audit_ui
from audit_ui.languages import (
    Catalogue,
    catalogues,
    gettext,
    ngettext,
    number,
    read_catalogue,
    speaking,
)
from lifecycle.errors import ConfigurationError
from tests.ui.conftest import Log, everyone, update

SOURCE = """
# A catalogue as msgfmt would take it.
msgid ""
msgstr ""
"Language: cs\\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n>=2 && n<=4 ? 1 : 2);\\n"
"X-Thousands: \\u00a0\\n"

msgid "All "
"changes"
msgstr "Všechny změny"

msgid "%(number)s change"
msgid_plural "%(number)s changes"
msgstr[0] "%(number)s změna"
msgstr[1] "%(number)s změny"
msgstr[2] "%(number)s změn"
"""


@pytest.fixture
def czech(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """One more language."""
    catalogue = read_catalogue(SOURCE)
    found = {**catalogues(), "cs": catalogue}
    monkeypatch.setattr("audit_ui.languages.catalogues", lambda: found)
    return catalogue


def test_a_catalogue_has_its_texts_plurals_and_numbers(czech: Catalogue) -> None:
    """By the file's own rule for plurals; what it lacks stays English."""
    with speaking("cs"):
        assert gettext("All changes") == "Všechny změny"
        told = [ngettext("%(number)s change", "%(number)s changes", n) for n in (1, 3, 5000)]
        assert told == ["1 změna", "3 změny", "5\xa0000 změn"]
        assert gettext("Coverage") == "Coverage"
    assert gettext("All changes") == "All changes"
    assert number(5000) == "5,000"


def test_what_is_no_catalogue_is_refused_by_its_line() -> None:
    with pytest.raises(ValueError, match="line 2 of the catalogue"):
        read_catalogue('msgid ""\nmsgstr oh\n')


@pytest.mark.parametrize(
    ("accepted", "lang"),
    [
        (None, "en"),
        ("cs", "cs"),
        ("CS-cz", "cs"),
        ("fr, cs;q=0.8, en;q=0.7", "cs"),
        ("en-GB, cs;q=0.9", "en"),
        ("cs;q=0, en;q=0.1", "en"),
        ("cs;q=0.3,en;q=0.5", "en"),
        ("fr", "en"),
        ("*", "en"),
        (";;;,,q=,cs-", "cs"),
        ("\xe9;q=9", "en"),
    ],
)
def test_the_reader_gets_the_language_they_like_best(
    log: Log,
    browse: Callable[..., TestClient],
    czech: Catalogue,
    accepted: str | None,
    lang: str,
) -> None:
    """Of those there are; the page says which, and that another reader may get another."""
    log.write(update("shop.Order", "1", status=("new", "paid")))
    headers = {} if accepted is None else {"accept-language": accepted.encode("latin-1")}
    page = browse(log).get("/", headers=headers)
    assert f'<html lang="{lang}"' in page.text
    assert ("Všechny změny" in page.text) == (lang == "cs")
    assert page.headers["vary"] == "Accept-Language"


def test_the_host_can_decide(log: Log, browse: Callable[..., TestClient], czech: Catalogue) -> None:
    """Then nothing the browser says matters, and nothing varies."""
    page = browse(log, locale="cs").get("/-/help", headers={"accept-language": "en"})
    assert '<html lang="cs"' in page.text
    assert "vary" not in page.headers


def test_an_asset_is_in_no_language(log: Log, browse: Callable[..., TestClient]) -> None:
    client = browse(log)
    address = client.get("/-/help").text.partition('<script src="')[2].partition('"')[0]
    asset = client.get(f"/-/{address}")
    assert asset.status_code == 200
    assert "vary" not in asset.headers


def test_a_language_that_is_not_there_is_refused(log: Log) -> None:
    with pytest.raises(ConfigurationError, match=r"locale='xx' is none .* there are en"):
        audit_ui.create_app(log.store, access=everyone, locale="xx")


@pytest.mark.asyncio
async def test_requests_at_once_keep_their_languages(log: Log, czech: Catalogue) -> None:
    """Forty pages at a time, rendered by threads, every other one in another language."""
    log.write(update("shop.Order", "1", status=("new", "paid")))
    transport = httpx2.ASGITransport(audit_ui.create_app(log.store, access=everyone))
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        wanted = ["cs", "en"] * 20
        pages = await asyncio.gather(
            *(client.get("/", headers={"accept-language": lang}) for lang in wanted)
        )
    assert [("Všechny změny" in page.text) for page in pages] == [one == "cs" for one in wanted]


def test_values_put_into_a_translated_text_stay_escaped(
    log: Log, browse: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup is escaped, what cannot be seen is shown, and a percent sign is only that."""
    texts = {
        "%(field)s of %(object)s": ("<b>%(object)s</b>: %(field)s",),
        "Nothing is recorded of an actor %(actor)s": ("Nic o %(actor)s",),
    }
    found = {**catalogues(), "cs": Catalogue("cs", " ", texts)}
    monkeypatch.setattr("audit_ui.languages.catalogues", lambda: found)
    key = "<script>%(field)s\u202e&"
    log.write(update("shop.Order", key, status=("new", "paid"), label=key))
    client = browse(log, locale="cs")
    address = "/o/shop.Order/" + httpx2.URL("/").copy_with(path="/" + key).raw_path[1:].decode()
    page = client.get(f"{address}/f/status").text
    assert "<title><b>&lt;script&gt;%(field)s⟨U+202E⟩&amp;</b>: status" in page
    assert "<script>%" not in page
    assert "Nic o &#39;&lt;b&gt;&#39;" in client.get("/a/%3Cb%3E").text
