"""Whatever is recorded, the pages show it and nothing else happens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import JSON, ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from starlette.testclient import TestClient

import audit_ui
from audit_ui.links import segment
from audit_ui.text import visible
from lifecycle import Lifecycle, acting, audited
from lifecycle.changes import Change, SetEdit
from tests.ui.conftest import Log, everyone, insert, update
from tests.ui.test_restore import confirm

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


# What a database can hold as a text: half a surrogate pair is none.
STORABLE = [attack for attack in ATTACKS if "\ud800" not in attack]

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


# --- putting back ---------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>\"' {{ 7*7 }}"


class Base(DeclarativeBase):
    pass


@audited(entity=HOSTILE, label="text")
class HostileThing(Base):
    __tablename__ = "hostile_things"
    id: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column(unique=True)
    data: Mapped[Any] = mapped_column(JSON)
    parent: Mapped[str | None] = mapped_column(ForeignKey("hostile_things.id"))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[tuple[Lifecycle, sessionmaker[Session], TestClient]]:
    """An application of hostile names, and its pages."""
    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    Base.metadata.create_all(engine)
    lifecycle = Lifecycle()
    factory = sessionmaker(engine)
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    pages = audit_ui.create_app(lifecycle, access=everyone)
    with TestClient(pages, base_url="http://testserver", follow_redirects=False) as client:
        yield lifecycle, factory, client
    lifecycle.uninstall(factory)
    engine.dispose()


@pytest.mark.parametrize("attack", STORABLE)
def test_attacks_are_put_back_as_the_text_they_are(
    app: tuple[Lifecycle, sessionmaker[Session], TestClient], attack: str
) -> None:
    """Previews, conflicts, reasons and results show them, do nothing else, and restore them."""
    lifecycle, factory, client = app
    with acting(attack, reason=attack, source=attack), factory.begin() as session:
        session.add(HostileThing(id=attack, text=attack, data={attack: [attack]}))
        session.flush()
        session.add(HostileThing(id="child", text="child", data=attack, parent=attack))
    with acting(attack), factory.begin() as session:
        thing = session.get_one(HostileThing, attack)
        thing.text, thing.data = "other", {attack: ["x"], "y": attack}
    changed = next(lifecycle.history.of(HostileThing, attack))
    with acting(attack), factory.begin() as session:
        session.get_one(HostileThing, attack).text = f"{attack}!"
    entity = segment(HOSTILE)
    place = f"/o/{entity}/{segment(lifecycle.models.key(HostileThing, attack))}"
    first = next(lifecycle.history.of(HostileThing, attack, operation="insert"))
    pages = [
        f"/r/{changed.id}/undo",
        f"/r/{first.id}/undo",
        f"/t/{first.revision.id}/undo",
        f"{place}/restore?v={first.id}",
        f"{place}/related",
        f"/g/{first.revision.group}",
        "/-/coverage",
    ]
    for path in pages:
        _is_harmless(client.get(path), path)
    _is_harmless(client.get(f"{place}/restore"), "no deletion", 404)
    sent = {"shown": attack, "take": attack, "reason": attack}
    answer = client.post(pages[0], data=sent, headers={"origin": "http://testserver"})
    _is_harmless(answer, "an old form", 409)
    typed = unescape(answer.text.partition("<textarea")[2].partition(">")[2].partition("<")[0])
    assert typed.split() == visible_less(attack).split()
    done = confirm(client, pages[3], reason=attack)
    assert done.status_code == 303
    _is_harmless(client.get(done.headers["location"].removeprefix("../..")), "the result")
    with factory() as session:
        assert session.get_one(HostileThing, attack).text == attack
        assert session.get_one(HostileThing, attack).data == {attack: [attack]}


def visible_less(text: str) -> str:
    """A text as a form sends it and a page shows it again."""
    return text.replace("\r\n", "\n").strip()


def _is_harmless(response: Any, path: str, status: int = 200) -> None:
    assert response.status_code == status, path
    found = inspect(response.text)
    assert not found.tags & {"img", "svg", "iframe", "object", "style"}, path
    assert response.text.count("<script") == 1, path
    assert response.text.count("<textarea") <= 1, path
    assert not {name for name in found.attributes if name.startswith("on")}, path
    assert all(re.match(r"\.|#main$", link) for link in found.links), found.links
    shown = re.sub(r"(?s)<input[^>]*>|<textarea.*?</textarea>", "", response.text)
    assert not UNSEEN.search(shown), path
    assert "set-cookie" not in response.headers


def test_megabytes_and_thousands_of_places_are_previewed_in_small_pages(
    app: tuple[Lifecycle, sessionmaker[Session], TestClient],
) -> None:
    """And put back whole."""
    lifecycle, factory, client = app
    large, wide = "long " * 200_000, {f"k{n}": n for n in range(10_000)}
    with acting("ann"), factory.begin() as session:
        session.add(HostileThing(id="1", text=large, data=wide))
    with acting("ann"), factory.begin() as session:
        thing = session.get_one(HostileThing, "1")
        thing.text = f"{large}!"
        thing.data = {name: -n if n < 400 else n for name, n in wide.items()}
    record = next(lifecycle.history.find())
    page = client.get(f"/r/{record.id}/undo")
    assert len(page.text) < 150_000
    assert "more places inside it" in page.text
    assert confirm(client, f"/r/{record.id}/undo", reason="long " * 100_000).status_code == 400
    assert confirm(client, f"/r/{record.id}/undo").status_code == 303
    with factory() as session:
        assert session.get_one(HostileThing, "1").text == large
        assert session.get_one(HostileThing, "1").data == wide


def test_ten_thousand_changes_of_one_revision_have_pages(log: Log, browse: Browse) -> None:
    """Its own, that of its group, and that of one of them."""
    group = UUID(int=77)
    records = log.write(*(insert("e", str(n), n=n) for n in range(10_000)), group=group)
    client = browse(log)
    for path in (
        f"/t/{records[0].revision.id}",
        f"/t/{records[0].revision.id}?view=net",
        f"/g/{group}",
        f"/r/{records[9_999].id}",
        "/o/e/9999",
    ):
        response = client.get(path)
        assert response.status_code == 200
        assert len(response.text) < 200_000, path
