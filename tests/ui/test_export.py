"""What the pages give to programs: exports, JSON, Atom."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from audit_ui.views.export import TITLES, _lines, _table, harmless
from lifecycle.audit.records import Record
from lifecycle.audit.store import Query
from lifecycle.changes import ABSENT, MASKED, Change, SetEdit
from lifecycle.errors import StoreUnreachable
from tests.ui.conftest import Log, delete, insert, update

Browse = Callable[..., TestClient]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


@pytest.fixture
def shop(log: Log) -> Log:
    log.write(insert("shop.Order", "1", total=5, status="draft", note=None), reason="began")
    log.write(update("shop.Order", "1", total=(5, -6), secret=(MASKED, MASKED)), actor="bob")
    log.write(delete("shop.Order", "1", total=-6, status="paid"), actor=None)
    return log


def test_lines_hold_every_record_that_matches(shop: Log, browse: Browse) -> None:
    """Whole records with their changes, oldest first, by the filters of the feed."""
    client = browse(shop)
    response = client.get("/export.jsonl?-operation=delete")
    assert response.headers["content-type"] == "application/x-ndjson"
    assert 'filename="history-' in response.headers["content-disposition"]
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [line["operation"] for line in lines] == ["insert", "update"]
    assert lines[0]["changes"] == {"total": 5, "status": "draft", "note": None}
    assert lines[0]["revision"]["reason"] == "began"


def test_csv_has_a_line_for_every_changed_value(shop: Log, browse: Browse) -> None:
    """Nothing, NULL and the empty text are told apart; secrets stay hidden."""
    text = browse(shop).get("/export.csv").text
    assert text.splitlines()[0] == ",".join(TITLES)
    found = [(row["operation"], row["field"], row["old"], row["new"]) for row in rows(text)]
    assert found == [
        ("insert", "total", "", "5"),
        ("insert", "status", "", "draft"),
        ("insert", "note", "", "NULL"),
        ("update", "total", "5", "-6"),
        ("update", "secret", "hidden", "hidden"),
        ("delete", "total", "-6", ""),
        ("delete", "status", "paid", ""),
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_no_cell_is_a_formula(log: Log, browse: Browse, start: str) -> None:
    """Wherever an attacker's text may stand, a spreadsheet takes it for text."""
    attack = f"{start}cmd|' /C calc'!A0"
    log.write(
        {
            **update(
                "shop.Order",
                attack,
                {attack: Change(attack, ABSENT), "tags": SetEdit(frozenset({attack}), frozenset())},
                label=attack,
                former_key=attack + "2",
            ),
            "entity": attack,
        },
        actor=attack,
        actor_label=attack,
        reason=attack,
        source=attack,
        request_id=attack,
    )
    text = browse(log).get("/export.csv").content.decode()
    cells = [cell for row in csv.reader(StringIO(text, newline="")) for cell in row]
    assert sum(attack in cell for cell in cells) >= 15
    assert not any(cell.startswith(start) for cell in cells)
    assert harmless("5-3") == "5-3"


def test_an_export_is_recorded_and_not_in_itself(shop: Log, browse: Browse) -> None:
    """Who took what is part of the history; the file ends where it was asked for."""

    class User:
        username = "eve"
        is_authenticated = True

    app = browse(shop)
    inner = app.app

    async def signed_in(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "user": User()}, receive, send)

    with TestClient(signed_in) as client:
        text = client.get("/export.jsonl?actor=bob").text
    assert len(text.splitlines()) == 1
    [record] = shop.store.page(Query(), limit=1)
    assert (record.entity, record.actor) == ("audit_ui.Export", "eve")
    assert record.changes.new("filters") == "actor:bob"
    assert "audit_ui.Export" not in app.get("/export.jsonl?-entity=audit_ui.Export").text


def test_an_export_that_cannot_be_recorded_is_refused(
    shop: Log, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the host says that the store is only read."""

    def fails(*given: object) -> None:
        raise StoreUnreachable("read-only")

    monkeypatch.setattr(shop.store, "append", fails)
    assert browse(shop).get("/export.csv").status_code == 503
    assert browse(shop, record_exports=False).get("/export.csv").status_code == 200


def test_exporting_is_a_right_of_its_own(shop: Log, browse: Browse) -> None:
    """Whoever may view may not therefore export; refused, nothing is read or recorded."""
    asked: list[tuple[str, str, str | None]] = []

    def access(user: Any, action: str, subject: Any) -> bool:
        asked.append((action, subject.page, subject.entity))
        return action == "view"

    client = browse(shop, access=access)
    shop.store.asked.clear()
    for form in ("csv", "jsonl"):
        assert client.get(f"/export.{form}?entity=shop.Order").status_code == 403
    assert shop.store.asked == []
    assert asked == [("export", "export", "shop.Order")] * 2


@pytest.mark.parametrize("written", [_lines, _table])
def test_an_export_holds_some_records_only(
    shop: Log, written: Callable[[Iterator[Record]], Iterator[str]]
) -> None:
    """However many there are, each piece is written before the records of the next are read."""
    (record,) = shop.store.page(Query(), limit=1)
    read = 0

    def endless() -> Iterator[Record]:
        nonlocal read
        while True:
            read += 1
            yield record

    pieces = written(endless())
    for number in range(1, 4):
        assert next(pieces).count("\n") >= 500
        assert read == 500 * number


def test_every_page_has_its_json(shop: Log, browse: Browse) -> None:
    """What a page shows, for programs; errors too."""
    client = browse(shop)
    feed = client.get("/feed.json?actor=bob").json()
    [found] = feed["records"]
    assert feed["filters"] == {"actor": ["bob"]}
    revision = found["revision"]["id"]
    assert client.get(f"/r/{found['id']}.json").json()["record"] == found
    assert client.get(f"/t/{revision}.json").json()["records"] == [found]
    assert client.get("/a/bob.json").json()["records"] == [found]
    entity = client.get("/o/shop.Order/1.json").json()
    assert (entity["key"], len(entity["versions"])) == ("1", 3)
    values = client.get("/o/shop.Order/1/f/total.json").json()["values"]
    assert [value["value"] for value in values][1:] == [-6, 5]
    missing = client.get("/a/nobody.json")
    assert missing.status_code == 404
    assert missing.json()["title"] == "Nothing is recorded of an actor 'nobody'"


def test_a_key_that_ends_like_a_page_of_json_has_a_page(log: Log, browse: Browse) -> None:
    """The links lead to it, and to its JSON."""
    log.write(insert("repo.File", "package.json", size=1))
    client = browse(log)
    assert 'href="./o/repo.File/package~2json"' in client.get("/").text
    assert "<h1" in client.get("/o/repo.File/package~2json").text
    assert client.get("/o/repo.File/package~2json.json").json()["key"] == "package.json"


def test_atom_tells_feed_readers_of_what_matches(shop: Log, browse: Browse) -> None:
    """Valid XML with one entry a record, whatever the texts hold."""
    shop.write(insert("a<b>&\x00\ud800\uffff", "k", name="]]>"), reason="\x0b\ufffe <x>")
    response = browse(shop).get("/feed.atom?-actor=bob")
    assert response.headers["content-type"] == "application/atom+xml; charset=utf-8"
    feed = ElementTree.fromstring(response.content)
    atom = "{http://www.w3.org/2005/Atom}"
    titles = [entry.findtext(f"{atom}title") for entry in feed.iter(f"{atom}entry")]
    assert titles == [
        "created a<b>&␀⟨U+D800⟩⟨U+FFFF⟩ k",
        "deleted shop.Order 1",
        "created shop.Order 1",
    ]
