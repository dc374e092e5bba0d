"""Putting things back from the pages: looked at first, chosen from, then done and recorded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from html import unescape
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import pytest
from a2wsgi import ASGIMiddleware
from flask import Flask
from sqlalchemy import Engine, ForeignKey, String, create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker, validates
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import audit_ui
from lifecycle import Lifecycle, acting, audited, pre_update
from lifecycle.audit.planning import _shown
from lifecycle.audit.records import Record
from lifecycle.changes import ABSENT
from lifecycle.errors import ConfigurationError
from tests.ui.conftest import Log, everyone, insert
from tests.ui.test_pages import see

SAME = {"sec-fetch-site": "same-origin"}
Open = Callable[..., TestClient]


class Base(DeclarativeBase):
    pass


@audited(entity="desk.Buyer", label="name")
class DeskBuyer(Base):
    __tablename__ = "desk_buyers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    nick: Mapped[str | None] = mapped_column(String(50))
    email: Mapped[str | None] = mapped_column(String(50), unique=True)

    @validates("nick")
    def _short(self, name: str, value: str | None) -> str | None:
        if value == "forbidden":
            raise ValueError("SECRET rule")
        return value

    @pre_update(when="email")
    def _no_reply(self, event: Any) -> None:
        if event.changes.new("email") == "vetoed@x":
            event.veto("mail to nobody")


@audited(entity="desk.Bill")
class DeskBill(Base):
    __tablename__ = "desk_bills"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
    buyer_id: Mapped[int | None] = mapped_column(ForeignKey("desk_buyers.id"))


class Desk:
    """A small application: its sessions, its Lifecycle, and what was done so far."""

    def __init__(self, engine: Engine) -> None:
        Base.metadata.create_all(engine)
        self.session = sessionmaker(engine)
        self.lifecycle = Lifecycle()
        self.lifecycle.install(self.session)
        self.lifecycle.create_tables(engine)

    def add(self, *objects: Any, by: str = "ann") -> None:
        with acting(by), self.session.begin() as session:
            session.add_all(objects)

    def change(self, model: type, id: int, by: str = "ann", **values: Any) -> Record:
        with acting(by), self.session.begin() as session:
            found = session.get(model, id)
            for name, value in values.items():
                setattr(found, name, value)
        return self.last()

    def delete(self, model: type, id: int, by: str = "ann") -> Record:
        with acting(by), self.session.begin() as session:
            session.delete(session.get(model, id))
        return self.last()

    def last(self) -> Record:
        return next(self.lifecycle.history.find())

    def value(self, model: type, id: int, name: str) -> Any:
        with self.session() as session:
            found = session.get(model, id)
            return None if found is None else getattr(found, name)

    def count(self) -> int:
        return sum(1 for _ in self.lifecycle.history.find())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    engine = create_engine(f"sqlite:///{tmp_path}/desk.db")
    desk = Desk(engine)
    desk.add(DeskBuyer(id=1, name="Ada", nick="a", email="ada@x"))
    yield desk
    desk.lifecycle.uninstall(desk.session)
    engine.dispose()


@pytest.fixture
def pages() -> Iterator[Open]:
    """Opens the pages of a desk to a user."""
    clients: list[TestClient] = []

    def open_client(desk: Desk, user: Any = "carl", **options: Any) -> TestClient:
        app = audit_ui.create_app(desk.lifecycle, **{"access": everyone, **options})

        async def host(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "user": user}, receive, send)

        client = TestClient(host, base_url="http://testserver", follow_redirects=False)
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        client.close()


def form(text: str) -> dict[str, Any]:
    """What a browser would send from a preview as it comes."""
    token = re.search(r'name="shown" value="([0-9a-f]+)"', text)
    assert token is not None
    boxes = re.findall(r'name="take" value="([0-9.]+)"[^>]* checked>', text)
    hidden = re.findall(r'type="hidden" name="take" value="([0-9]+)"', text)
    return {"shown": token[1], "take": [*hidden, *boxes], "reason": ""}


def confirm(client: TestClient, path: str, **changed: Any) -> Any:
    """Look at a preview, and send its form."""
    page = client.get(path)
    assert page.status_code == 200
    return client.post(path, data={**form(page.text), **changed}, headers=SAME)


def read(response: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.text.replace("<wbr>", ""))).split())


# --- the three verbs ------------------------------------------------------------------------


def test_a_change_is_undone_after_a_look(desk: Desk, pages: Open) -> None:
    """From the record to the preview, to the new revision, which says what it reverts, and back."""
    record = desk.change(DeskBuyer, 1, name="Eve", nick="e")
    client = pages(desk)
    assert f'href="../r/{record.id}/undo"' in client.get(f"/r/{record.id}").text
    preview = see(client, f"/r/{record.id}/undo")
    assert "Undo this change" in preview
    assert "name removed Eve added Ada" in preview
    assert desk.value(DeskBuyer, 1, "name") == "Eve", "looking does nothing"
    done = confirm(client, f"/r/{record.id}/undo", reason="a mistake")
    assert done.status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    last = desk.last()
    assert (last.actor, last.reason, last.revision.source) == ("carl", "a mistake", "history pages")
    assert last.revision.context["restores"]["records"] == [record.id]
    path = f"/t/{last.revision.id}?restored=1"
    assert done.headers["location"] == f"../..{path}"
    result = see(client, path)
    assert "Done." in result
    assert f"It put things back: what was changed by {record.id}" in result
    assert "Undo this" in result
    assert confirm(client, f"/t/{last.revision.id}/undo").status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Eve"


def test_without_a_reason_the_restore_gives_its_own(desk: Desk, pages: Open) -> None:
    """Which record it undid."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    confirm(pages(desk), f"/r/{record.id}/undo")
    assert desk.last().reason == f"undo record {record.id} of desk.Buyer 1"


def test_an_object_is_restored_to_a_version(desk: Desk, pages: Open) -> None:
    """Whatever was changed since."""
    first = desk.change(DeskBuyer, 1, name="Eve")
    desk.change(DeskBuyer, 1, name="Mallory", nick="m")
    client = pages(desk)
    path = f"/o/desk.Buyer/1/restore?v={first.id}"
    assert "Restore to this version" in see(client, f"/o/desk.Buyer/1?v={first.id}")
    assert "Mallory added Eve" in see(client, path)
    assert confirm(client, path).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Eve"
    assert desk.value(DeskBuyer, 1, "nick") == "a"


def test_the_newest_version_is_not_offered_to_be_restored(desk: Desk, pages: Open) -> None:
    """It would do nothing; its address says so, and has no button."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    client = pages(desk)
    assert "Restore to this version" not in see(client, "/o/desk.Buyer/1")
    assert "Restore to this version" not in see(client, f"/r/{record.id}")
    page = client.get(f"/o/desk.Buyer/1/restore?v={record.id}")
    assert "Nothing to do: everything is as it should be already" in read(page)
    assert "<button" not in page.text.partition("<main")[2]


def test_a_deleted_object_is_brought_back(desk: Desk, pages: Open) -> None:
    """With its key and its values, from its own page."""
    desk.delete(DeskBuyer, 1)
    client = pages(desk)
    assert 'href="../../o/desk.Buyer/1/restore">Bring it back' in client.get("/o/desk.Buyer/1").text
    preview = see(client, "/o/desk.Buyer/1/restore")
    assert "would come back desk.Buyer" in preview
    assert "email ada@x" in preview
    assert "checkbox" not in client.get("/o/desk.Buyer/1/restore").text, "it comes back whole"
    assert confirm(client, "/o/desk.Buyer/1/restore").status_code == 303
    assert desk.value(DeskBuyer, 1, "email") == "ada@x"
    assert "Bring it back" not in see(client, "/o/desk.Buyer/1")


def test_a_whole_revision_is_undone(desk: Desk, pages: Open) -> None:
    """Or some of its objects: each has a box of its own."""
    with acting("ann"), desk.session.begin() as session:
        session.add(DeskBill(id=1, total=5, buyer_id=1))
        session.add(DeskBill(id=2, total=6, buyer_id=1))
        found = session.get(DeskBuyer, 1)
        assert found is not None
        found.name = "Eve"
    revision = desk.last().revision.id
    client = pages(desk)
    assert "Undo all of it" in see(client, f"/t/{revision}")
    page = client.get(f"/t/{revision}/undo")
    assert read(page).count("would be deleted desk.Bill") == 2
    sent = form(page.text)
    sections = page.text.split('<section class="putting" aria-labelledby="item-')[1:]
    kept = next(one[0] for one in sections if 'o/desk.Bill/2"' in one)
    sent["take"].remove(kept)
    assert client.post(f"/t/{revision}/undo", data=sent, headers=SAME).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    assert desk.value(DeskBill, 1, "total") is None
    assert desk.value(DeskBill, 2, "total") == 6


@pytest.mark.parametrize("database", ["postgresql", "mysql"])
def test_rows_of_a_server_are_put_back_the_same_way(
    request: pytest.FixtureRequest, pages: Open, database: str
) -> None:
    """A field in conflict left out, and a deleted object brought back."""
    desk = Desk(request.getfixturevalue(f"{database}_engine"))
    desk.add(DeskBuyer(id=1, name="Ada", nick="a", email="ada@x"))
    record = desk.change(DeskBuyer, 1, name="Eve", nick="e")
    desk.change(DeskBuyer, 1, by="bob", name="Mallory")
    client = pages(desk)
    assert "was changed again since, by bob" in see(client, f"/r/{record.id}/undo")
    assert confirm(client, f"/r/{record.id}/undo").status_code == 303
    assert desk.value(DeskBuyer, 1, "nick") == "a"
    desk.delete(DeskBuyer, 1)
    assert confirm(client, "/o/desk.Buyer/1/restore").status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Mallory"
    desk.lifecycle.uninstall(desk.session)


# --- choosing -------------------------------------------------------------------------------


def test_fields_are_chosen_one_by_one(desk: Desk, pages: Open) -> None:
    """What is not ticked stays."""
    record = desk.change(DeskBuyer, 1, name="Eve", nick="e")
    client = pages(desk)
    page = client.get(f"/r/{record.id}/undo")
    assert form(page.text)["take"] == ["0", "0.0", "0.1"]
    name = re.search(r'value="(0\.\d)" aria-label="Put back name"', page.text)
    assert name is not None
    assert confirm(client, f"/r/{record.id}/undo", take=["0", name[1]]).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    assert desk.value(DeskBuyer, 1, "nick") == "e"


def test_nothing_chosen_is_nothing_done(desk: Desk, pages: Open) -> None:
    """It says so, and keeps what was written."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    count = desk.count()
    answer = confirm(pages(desk), f"/r/{record.id}/undo", take=["0"], reason="because")
    assert answer.status_code == 400
    assert "Nothing is chosen" in read(answer)
    assert ">because</textarea>" in answer.text
    assert desk.count() == count


def test_a_field_changed_again_is_left_out_unless_chosen(desk: Desk, pages: Open) -> None:
    """The page says by whom, when, and what it is now; ticking it overwrites that."""
    record = desk.change(DeskBuyer, 1, name="Eve", nick="e")
    later = desk.change(DeskBuyer, 1, by="bob", name="Mallory")
    client = pages(desk)
    path = f"/r/{record.id}/undo"
    page = client.get(path)
    told = read(page)
    assert "changed again name was changed again since, by bob at" in told
    assert "it is 'Mallory', not 'Eve'" in told
    assert f'href="../../r/{later.id}">See that change' in page.text
    assert confirm(client, path).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Mallory"
    assert desk.value(DeskBuyer, 1, "nick") == "a"
    boxes = re.findall(r'value="(0\.\d)" aria-label', client.get(path).text)
    assert confirm(client, path, take=["0", *boxes]).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"


def test_a_reference_to_what_is_gone_can_be_left_out(desk: Desk, pages: Open) -> None:
    """The object comes back without it."""
    desk.add(DeskBill(id=1, total=5, buyer_id=1))
    desk.delete(DeskBill, 1)
    desk.delete(DeskBuyer, 1)
    client = pages(desk)
    told = see(client, "/o/desk.Bill/1/restore")
    assert "in the way buyer_id would refer to desk_buyers 1, which is not there" in told
    assert confirm(client, "/o/desk.Bill/1/restore").status_code == 303
    assert desk.value(DeskBill, 1, "total") == 5
    assert desk.value(DeskBill, 1, "buyer_id") is None


def test_what_cannot_be_put_back_has_no_button(desk: Desk, pages: Open) -> None:
    """An object that is gone, one others refer to, and one that is there again."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    created = next(desk.lifecycle.history.of(DeskBuyer, 1, operation="insert"))
    desk.add(DeskBill(id=1, total=5, buyer_id=1))
    client = pages(desk)
    page = client.get(f"/r/{created.id}/undo")
    assert "in the way desk.Bill 1 refers to it" in read(page)
    assert "<button" not in page.text.partition("<main")[2]
    desk.delete(DeskBill, 1)
    desk.delete(DeskBuyer, 1)
    page = client.get(f"/r/{record.id}/undo")
    assert "it is not there any more, by ann at" in read(page)
    assert "As things stand nothing of it can be put back" in read(page)


def test_one_value_is_put_back_from_the_page_of_its_field(desk: Desk, pages: Open) -> None:
    """It leads to the version that brought it, with that field chosen and no other."""
    desk.change(DeskBuyer, 1, name="Eve", nick="e")
    desk.change(DeskBuyer, 1, name="Mallory", nick="m")
    client = pages(desk)
    links = re.findall(
        r'href="([^"]*restore[^"]*)">Put it back', client.get("/o/desk.Buyer/1/f/name").text
    )
    assert len(links) == 2, "not for the value it has"
    first = "/" + unescape(links[1]).replace("../", "")
    assert confirm(client, first).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    assert desk.value(DeskBuyer, 1, "nick") == "m"
    nobody = pages(desk, access=lambda user, action, subject: action == "view")
    assert "Put it back" not in nobody.get("/o/desk.Buyer/1/f/name").text


def test_a_preview_is_there_as_json(desk: Desk, pages: Open) -> None:
    """What would be done, what is in the way, and what it would change."""
    record = desk.change(DeskBuyer, 1, name="Eve", nick="e")
    desk.change(DeskBuyer, 1, by="bob", name="Mallory")
    found = pages(desk).get(f"/r/{record.id}/undo.json").json()
    assert (found["verb"], found["possible"], found["already_so"]) == ("undo", True, 0)
    [one] = found["objects"]
    assert (one["entity"], one["key"], one["operation"]) == ("desk.Buyer", "1", "update")
    name, nick = one["fields"]
    assert (name["names"], name["conflicts"][0]["kind"]) == (["name"], "changed")
    assert nick == {
        "names": ["nick"],
        "changes": {"nick": ["e", "a"]},
        "possible": True,
        "conflicts": [],
    }


# --- between looking and doing --------------------------------------------------------------


def test_what_changed_while_one_looked_is_shown_again(desk: Desk, pages: Open) -> None:
    """Nothing is done; the new preview keeps the reason."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    client = pages(desk)
    sent = form(client.get(f"/r/{record.id}/undo").text)
    desk.change(DeskBuyer, 1, by="bob", name="Mallory")
    count = desk.count()
    answer = client.post(f"/r/{record.id}/undo", data={**sent, "reason": "why"}, headers=SAME)
    assert answer.status_code == 409
    assert "This is no longer as it was shown" in read(answer)
    assert "by bob at" in read(answer)
    assert ">why</textarea>" in answer.text
    assert desk.count() == count
    assert desk.value(DeskBuyer, 1, "name") == "Mallory"


def test_a_form_sent_twice_does_nothing_the_second_time(desk: Desk, pages: Open) -> None:
    """There is nothing left to do, and it says so."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    client = pages(desk)
    sent = form(client.get(f"/r/{record.id}/undo").text)
    assert client.post(f"/r/{record.id}/undo", data=sent, headers=SAME).status_code == 303
    count = desk.count()
    again = client.post(f"/r/{record.id}/undo", data=sent, headers=SAME)
    assert again.status_code == 409
    assert "Nothing to do" in read(again)
    assert desk.count() == count


def test_what_changes_in_the_last_moment_is_not_overwritten(desk: Desk) -> None:
    """Between the check of what was shown and the writing; the page shows how it stands then."""
    record = desk.change(DeskBuyer, 1, name="Eve")

    class Late:
        store, models = desk.lifecycle.store, desk.lifecycle.models

        class restore:
            preview = desk.lifecycle.restore.preview
            previews = desk.lifecycle.restore.previews

            @staticmethod
            def apply(preview: Any) -> Any:
                desk.change(DeskBuyer, 1, by="bob", name="Mallory")
                return desk.lifecycle.restore.apply(preview)

    app = audit_ui.create_app(Late(), access=everyone)
    with TestClient(app, base_url="http://testserver") as client:
        answer = confirm(client, f"/r/{record.id}/undo")
    assert answer.status_code == 409
    assert "This is no longer as it was shown" in read(answer)
    assert "by bob at" in read(answer)
    assert desk.value(DeskBuyer, 1, "name") == "Mallory"


def test_a_hooks_veto_is_shown_in_its_words(desk: Desk, pages: Open) -> None:
    """And nothing was written."""
    with desk.lifecycle.suppressed(hooks=True, audit=False):
        desk.change(DeskBuyer, 1, email="vetoed@x")
    record = desk.change(DeskBuyer, 1, email="ok@x")
    answer = confirm(pages(desk), f"/r/{record.id}/undo")
    assert answer.status_code == 409
    assert "It was refused" in read(answer)
    assert "mail to nobody" in read(answer)
    assert desk.value(DeskBuyer, 1, "email") == "ok@x"


def test_a_models_own_error_keeps_its_words_to_the_log(
    desk: Desk, pages: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """What an application's exception says may be secret."""
    with desk.session.begin() as session:
        session.execute(DeskBuyer.__table__.update().values(nick="forbidden"))  # type: ignore[attr-defined]
    record = desk.change(DeskBuyer, 1, nick="fine")
    answer = confirm(pages(desk), f"/r/{record.id}/undo")
    assert answer.status_code == 409
    assert "The application refused it (ValueError)" in read(answer)
    assert "SECRET" not in answer.text
    assert "SECRET" in caplog.text
    assert desk.value(DeskBuyer, 1, "nick") == "fine"


# --- who may, and from where ----------------------------------------------------------------


def test_who_may_not_restore_sees_no_button_and_gets_no_page(desk: Desk, pages: Open) -> None:
    """Looking stays allowed; the address of a preview is refused, and the sending of its form."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    desk.delete(DeskBuyer, 1)
    client = pages(desk, access=lambda user, action, subject: action == "view")
    for path in (f"/r/{record.id}", "/o/desk.Buyer/1", f"/t/{record.revision.id}"):
        page = client.get(path)
        assert page.status_code == 200
        assert "/undo" not in page.text
        assert "/restore" not in page.text
    for path in (
        f"/r/{record.id}/undo",
        "/o/desk.Buyer/1/restore",
        f"/t/{record.revision.id}/undo",
    ):
        assert client.get(path).status_code == 403
        assert client.get(f"{path}.json").status_code == 403
        assert client.post(path, data={"shown": "x"}, headers=SAME).status_code == 403


def test_access_is_asked_about_every_object(desk: Desk, pages: Open) -> None:
    """Of a revision, what somebody has no right to is shown, and stays."""
    with acting("ann"), desk.session.begin() as session:
        session.add(DeskBill(id=1, total=5))
        found = session.get(DeskBuyer, 1)
        assert found is not None
        found.name = "Eve"
    asked: list[tuple[str | None, str | None]] = []

    def access(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        if action == "restore" and subject.page == "undo":
            asked.append((subject.entity, subject.key))
            return subject.entity != "desk.Bill"
        return True

    client = pages(desk, access=access)
    path = f"/t/{desk.last().revision.id}/undo"
    assert "You have no right to put this back" in see(client, path)
    assert set(asked) == {(None, None), ("desk.Bill", "1"), ("desk.Buyer", "1")}
    boxes = {"take": ["0", "1", "0.0", "1.0"]}
    assert confirm(client, path, **boxes).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    assert desk.value(DeskBill, 1, "total") == 5


@pytest.mark.parametrize(
    ("headers", "done"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://testserver"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://evil.testserver"}, False),
        ({"origin": "http://testserver"}, True),
        ({"origin": "http://testserver:81"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "https://intranet.example", "sec-fetch-site": "cross-site"}, True),
        ({}, False),
    ],
)
def test_only_a_form_of_the_same_origin_is_obeyed(
    desk: Desk, pages: Open, headers: dict[str, str], done: bool
) -> None:
    """By Sec-Fetch-Site, else by Origin and Host; with neither nothing is done."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    client = pages(desk, trusted_origins=["https://intranet.example"])
    sent = form(client.get(f"/r/{record.id}/undo").text)
    answer = client.post(f"/r/{record.id}/undo", data=sent, headers=headers)
    assert answer.status_code == (303 if done else 403)
    assert desk.value(DeskBuyer, 1, "name") == ("Ada" if done else "Eve")
    if not done:
        assert "This was not asked for on these pages" in read(answer)


def test_trusted_origins_are_checked_at_set_up(desk: Desk) -> None:
    """A host without scheme, or an address with a path, would never match."""
    for wrong in ("intranet.example", "https://intranet.example/audit"):
        with pytest.raises(ConfigurationError, match="is no origin"):
            audit_ui.create_app(desk.lifecycle, access=everyone, trusted_origins=[wrong])


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"shown=x", "text/plain", 415),
        (b"a=" + b"x" * 1_100_000, "application/x-www-form-urlencoded", 413),
        (b"a&" * 60_000, "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 409),
        (b"shown=%00&take=%ff&take=0.99&reason=%F0", "application/x-www-form-urlencoded", 409),
    ],
)
def test_what_is_no_form_of_these_pages_does_nothing(
    desk: Desk, pages: Open, body: bytes, kind: str, status: int
) -> None:
    """It is refused in words; a form without the right preview gets a new one."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    headers = {"content-type": kind, **SAME}
    answer = pages(desk).post(f"/r/{record.id}/undo", content=body, headers=headers)
    assert answer.status_code == status
    assert desk.value(DeskBuyer, 1, "name") == "Eve"


# --- what the host decides ------------------------------------------------------------------


def test_a_store_alone_puts_nothing_back(log: Log) -> None:
    """Nothing leads there, and the address says why."""
    record = log.write(insert("shop.Order", "1", total=5))[0]
    with TestClient(audit_ui.create_app(log.store, access=everyone)) as client:
        assert "/undo" not in client.get(f"/r/{record.id}").text
        assert "These pages put nothing back" in see(client, f"/r/{record.id}/undo", 404)


def test_restoring_can_be_switched_off(desk: Desk, pages: Open) -> None:
    """For everybody, whatever access says."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    client = pages(desk, restore=False)
    assert "/undo" not in client.get(f"/r/{record.id}").text
    assert client.get(f"/r/{record.id}/undo").status_code == 404
    answer = client.post(f"/r/{record.id}/undo", data={"shown": "x"}, headers=SAME)
    assert answer.status_code == 404


def test_a_reason_can_be_insisted_on(desk: Desk, pages: Open) -> None:
    """The browser asks for it, and the server too."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    client = pages(desk, require_reason=True)
    answer = confirm(client, f"/r/{record.id}/undo", reason="  ")
    assert answer.status_code == 400
    assert "Say why" in read(answer)
    assert confirm(client, f"/r/{record.id}/undo", reason="said").status_code == 303


def test_the_actor_is_whom_the_host_names(desk: Desk, pages: Open) -> None:
    """By a function of its own; without one by name or id; else nobody."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    user = SimpleNamespace(id=7, username="carla")
    confirm(pages(desk, user), f"/r/{record.id}/undo")
    assert desk.last().actor == "carla"
    confirm(
        pages(desk, user, actor=lambda user: f"staff:{user.id}"),
        f"/t/{desk.last().revision.id}/undo",
    )
    assert desk.last().actor == "staff:7"
    confirm(pages(desk, None), f"/t/{desk.last().revision.id}/undo")
    assert desk.last().actor is None


def test_hidden_fields_stay_hidden_and_as_they_are(desk: Desk, pages: Open) -> None:
    """No value in the preview, its conflicts, its token or its JSON; no box to tick."""
    record = desk.change(DeskBuyer, 1, name="Eve", nick="SECRET1")
    desk.change(DeskBuyer, 1, by="bob", nick="SECRET2")

    def access(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        return action != "view_field" or subject.field != "nick"

    client = pages(desk, access=access, field_rights=True)
    path = f"/r/{record.id}/undo"
    for address in (path, f"{path}.json"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "SECRET" not in answer.text
    assert "nick: it was changed again since" in see(client, path)
    assert confirm(client, path, take=["0", "0.0", "0.1", "0.2"]).status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    assert desk.value(DeskBuyer, 1, "nick") == "SECRET2"


def test_a_deleted_object_comes_back_with_what_its_rescuer_may_not_see(
    desk: Desk, pages: Open
) -> None:
    """Its value is shown to nobody, and is there again."""
    desk.change(DeskBuyer, 1, nick="SECRET1")
    desk.delete(DeskBuyer, 1)

    def access(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        return action != "view_field" or subject.field != "nick"

    client = pages(desk, access=access, field_rights=True)
    assert "SECRET" not in client.get("/o/desk.Buyer/1/restore").text
    assert confirm(client, "/o/desk.Buyer/1/restore").status_code == 303
    assert desk.value(DeskBuyer, 1, "nick") == "SECRET1"


def test_the_log_is_asked_once_about_an_object_with_many_conflicts(
    desk: Desk, pages: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for each of its fields."""
    record = desk.change(DeskBuyer, 1, name="Eve", nick="e", email="e@x")
    desk.change(DeskBuyer, 1, by="bob", name="M", nick="m", email="m@x")
    asked: list[Any] = []
    asking = desk.lifecycle.history.page

    def noting(*subject: Any, **rest: Any) -> Any:
        asked.append(subject)
        return asking(*subject, **rest)

    monkeypatch.setattr(desk.lifecycle.history, "page", noting)
    page = read(pages(desk).get(f"/r/{record.id}/undo"))
    assert page.count("was changed again since, by bob") == 3
    assert asked == [("desk.Buyer", "1")]


# --- limits ---------------------------------------------------------------------------------


def test_large_revisions_are_for_the_command(desk: Desk, pages: Open) -> None:
    """The page names it; up to a thousand changes are worked out, the first with their fields."""
    desk.add(*(DeskBill(id=id, total=id) for id in range(1, 41)))
    client = pages(desk)
    path = f"/t/{desk.last().revision.id}/undo"
    assert read(client.get(path)).count("would be deleted desk.Bill") == 40
    assert confirm(client, path).status_code == 303
    assert desk.value(DeskBill, 40, "total") is None
    path = f"/t/{desk.last().revision.id}/undo"
    page = client.get(path)
    assert read(page).count("would come back desk.Bill") == 40
    assert "3 fields" in read(page)
    assert confirm(client, path).status_code == 303
    assert desk.value(DeskBill, 40, "total") == 40
    desk.add(*(DeskBill(id=id, total=id) for id in range(100, 1_200)))
    path = f"/t/{desk.last().revision.id}/undo"
    assert f"lifecycle undo {desk.last().revision.id}" in see(client, path, 409)


def test_an_address_of_nothing_says_so(desk: Desk, pages: Open) -> None:
    """A record that is not there, a version of another object, an object never deleted."""
    client = pages(desk)
    nothing = "01936d5e-7c4a-7b61-9d43-0c5f2f6a8e11"
    see(client, f"/r/{nothing}.0/undo", 404)
    see(client, f"/t/{nothing}/undo", 404)
    see(client, f"/o/desk.Buyer/1/restore?v={nothing}.0", 404)
    assert "No deletion of desk.Buyer '1' is recorded" in see(
        client, "/o/desk.Buyer/1/restore", 404
    )
    gone = desk.delete(DeskBuyer, 1)
    assert "no version to restore to" in see(client, f"/o/desk.Buyer/1/restore?v={gone.id}", 409)


@pytest.mark.asyncio
async def test_an_async_application_installs_a_plain_session_beside(tmp_path: Path) -> None:
    """Without one the page names what is missing; with one it puts rows back, off the loop."""
    url = f"sqlite:///{tmp_path}/async.db"
    plain = create_engine(url)
    Base.metadata.create_all(plain)
    engine = create_async_engine(url.replace("sqlite", "sqlite+aiosqlite"))
    lifecycle = Lifecycle(store=plain)
    lifecycle.create_tables()
    factory = async_sessionmaker(engine)
    lifecycle.install(factory)
    async with factory.begin() as session:
        session.add(DeskBill(id=1, total=5))
    async with factory.begin() as session:
        found = await session.get(DeskBill, 1)
        assert found is not None
        found.total = 6
    record = next(lifecycle.history.find())
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        client.follow_redirects = False
        told = see(client, f"/r/{record.id}/undo", 409)
        assert "no session for this" in told
        beside = sessionmaker(plain)
        lifecycle.install(beside)
        assert confirm(client, f"/r/{record.id}/undo").status_code == 303
    async with factory() as session:
        found = await session.get(DeskBill, 1)
        assert found is not None
        assert found.total == 5
    lifecycle.uninstall(beside)
    lifecycle.uninstall(factory)
    await engine.dispose()
    plain.dispose()


def test_it_works_under_wsgi_below_a_prefix(desk: Desk) -> None:
    """Through a2wsgi, as Flask mounts it: the form, the check of its origin, the way on."""
    record = desk.change(DeskBuyer, 1, name="Eve")
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    pages = ASGIMiddleware(audit_ui.create_app(desk.lifecycle, access=everyone), loop=loop)
    client = Client(DispatcherMiddleware(Flask(__name__).wsgi_app, {"/admin/audit": pages}))
    path = f"/admin/audit/r/{record.id}/undo"
    sent = form(client.get(path, buffered=True).text)
    refused = client.post(path, data=sent, headers={"Origin": "http://evil"}, buffered=True)
    assert refused.status_code == 403
    assert desk.value(DeskBuyer, 1, "name") == "Eve"
    done = client.post(path, data=sent, headers={"Origin": "http://localhost"}, buffered=True)
    assert done.status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    address = urljoin(f"http://localhost{path}", done.headers["location"])
    assert address == f"http://localhost/admin/audit/t/{desk.last().revision.id}?restored=1"
    assert "Done." in client.get(address.removeprefix("http://localhost"), buffered=True).text
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=10)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Decimal("13.00"), "13.00"),
        (date(2026, 3, 1), "2026-03-01"),
        ("13.00", "'13.00'"),
        (["a", 1], "['a', 1]"),
        ("x" * 80, f"'{'x' * 59}…"),
        (ABSENT, "no value"),
    ],
)
def test_values_in_conflicts_read_as_people_write_them(value: object, told: str) -> None:
    """Not as Python does; a text stays apart from a number all the same."""
    assert _shown(value) == told
