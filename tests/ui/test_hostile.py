"""Whatever is recorded, the pages show it and nothing else happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from audit_ui.links import segment
from audit_ui.text import visible
from lifecycle.changes import Change, SetEdit
from tests.ui.conftest import Log, insert, update

Browse = Callable[..., TestClient]

ATTACKS = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</textarea></pre></details><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}${7*7}#{7*7}",
    "'; DROP TABLE lifecycle_change; --",
    "../../../../etc/passwd",
    "javascript:alert(1)",
    "=cmd|' /C calc'!A0",
    "null\x00byte\x1b[31m",
    "right\u202eto left\u2066",
    "zero\u200bwidth\ufeff",
    "half \ud800 pair",
    "🏳️‍🌈 e\u0301 \U000e0041",
    "line\r\nSet-Cookie: a=b",
    "%s %d {0} \\ %00 %2e%2e",
]

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200b\u202e\u2066\ufeff\ud800-\udfff]")


OUR_IMAGE = '<img src="./-/activity.svg"'


class Inspector(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def inspect(text: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(text)
    return inspector


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_in_every_field_stay_text(log: Log, browse: Browse, attack: str) -> None:
    """Entity, key, label, field, value, actor, reason and context: shown, never obeyed."""
    record = log.write(
        insert(
            attack, attack, label=f"label {attack}", **{attack: attack, "deep": {attack: [attack]}}
        ),
        update(attack, "other", {"s": SetEdit(frozenset({attack}), frozenset())}, v=(attack, "x")),
        update(
            attack, f"{attack}2", former_key=attack, v=(f"a\nb\nc\nd{attack}", f"a\nb\nc\n{attack}")
        ),
        actor=attack,
        actor_label=f"{attack} label",
        reason=attack,
        source=attack,
        request_id=attack,
        origin=attack,
        context={attack: attack},
    )[0]
    client = browse(log)
    entity, key, actor = segment(attack), segment(attack), segment(attack)
    for path in (
        "/",
        f"/o/{entity}/",
        f"/o/{entity}/{key}",
        f"/r/{record.id}",
        f"/t/{record.revision.id}",
        f"/a/{actor}",
        f"/?entity={entity}&actor={actor}",
    ):
        response = client.get(path)
        assert response.status_code == 200, path
        found = inspect(response.text.replace(OUR_IMAGE, ""))
        assert not found.tags & {"img", "svg", "iframe", "object", "style", "textarea"}, path
        assert response.text.count("<script") == 1
        assert not {name for name in found.attributes if name.startswith("on")}
        assert all(re.match(r"\.|#main$", link) for link in found.links), found.links
        shown = re.sub("<input[^>]*>", "", response.text)  # a filter is sent back as it came
        assert not UNSEEN.search(shown)
        assert "set-cookie" not in response.headers
    assert visible(attack) in unescape(client.get(f"/r/{record.id}").text), "shown as it is"


def test_what_cannot_be_seen_is_shown() -> None:
    """Control characters become pictures, others their number; text people write stays."""
    assert visible("a\x00b\x7f\u202e\ud800") == "a␀b␡⟨U+202E⟩⟨U+D800⟩"
    assert visible("tab\tline\nnaïve 李 👩‍👩‍👧 עברית") == "tab\tline\nnaïve 李 👩‍👩‍👧 עברית"


def test_megabytes_are_cut(log: Log, browse: Browse) -> None:
    """A page stays small however large the values, the reason and the key are."""
    large = "long " * 200_000
    record = log.write(
        insert("shop.Doc", "1", label=large, body=large, data={"list": [large]}),
        update("shop.Doc", "2", body=(large, f"{large}!"), tags=(None, large)),
        update("shop.Doc", "3", {large: Change(1, 2)}),
        actor_label=large,
        reason=large,
        context={"trace": large},
    )[0]
    client = browse(log)
    for path in (
        "/",
        "/o/shop.Doc/1",
        "/o/shop.Doc/2",
        f"/r/{record.id}",
        f"/t/{record.revision.id}",
    ):
        response = client.get(path)
        assert response.status_code == 200
        assert len(response.text) < 150_000, path


def test_ten_thousand_fields_are_cut_and_can_be_shown(log: Log, browse: Browse) -> None:
    """A record of any width has a page that says how much of it is not shown."""
    record = log.write(insert("shop.Wide", "1", **{f"f{i}": i for i in range(10_000)}))[0]
    client = browse(log)
    assert "9,800 more rows are not shown" in client.get(f"/r/{record.id}").text
    assert "f9999" in client.get(f"/r/{record.id}?full=1").text
