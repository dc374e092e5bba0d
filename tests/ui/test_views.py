"""Searches with a name: the application's, and the reader's own, kept by their browser."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from markupsafe import escape
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.testclient import TestClient

import audit_ui
from audit_ui.kept import COOKIE, MOST, kept
from tests.ui.conftest import Log, everyone, insert
from tests.ui.test_pages import see

Browse = Callable[..., TestClient]

OWN = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def client(log: Log, browse: Browse) -> TestClient:
    log.write(insert("shop.Order", "1", total=1))
    return browse(log, views={"Gone": "operation:delete"})


def send(client: TestClient, headers: dict[str, str] | None = None, **form: str) -> Response:
    sent: Any = client.post(
        "/views", data=form, headers=OWN if headers is None else headers, follow_redirects=False
    )
    answer: Response = sent
    return answer


def test_what_is_filtered_can_be_kept_and_forgotten(client: TestClient) -> None:
    """By the form beside the filters; it leads back to them, and is there on the next visit."""
    page = client.get("/?actor=ann&-field=total").text
    form = re.search(r'<form class="keep" method="post" action="\./views">.*?</form>', page, re.S)
    assert form is not None
    search = re.search(r'name="search" value="([^"]+)"', form[0])
    assert search is not None
    name = "Ann's, <b>but</b> totals 安"
    kept = send(client, name=f"  {name} ", search=search[1].replace("&amp;", "&"))
    assert (kept.status_code, kept.headers["location"]) == (303, "./?actor=ann&-field=total")
    link = f'href="./?actor=ann&amp;-field=total">{escape(name)}</a>'
    assert link in client.get("/").text
    marked = client.get("/?actor=ann&-field=total").text
    assert f'aria-current="true">{escape(name)}' in marked
    assert 'class="keep"' not in marked, "it is kept already"
    shown = client.get("/views").text
    assert f"<bdi>{escape(name)}</bdi></a>" in shown
    assert "actor:ann -field:total" in shown
    assert client.get("/views.json").json() == {
        "application": {"Gone": "operation:delete"},
        "own": {name: "actor:ann -field:total"},
    }
    gone = send(client, forget=name)
    assert (gone.status_code, gone.headers["location"]) == (303, "./views")
    assert client.get("/views.json").json()["own"] == {}
    assert COOKIE not in client.cookies


def test_the_same_name_is_another_search_from_then_on(client: TestClient) -> None:
    """A view is changed by keeping one of its name."""
    send(client, name="Mine", search="actor=ann")
    send(client, name="Mine", search="actor=bob")
    assert client.get("/views.json").json()["own"] == {"Mine": "actor:bob"}


def test_the_cookie_is_for_the_pages_alone(log: Log) -> None:
    """For where they are mounted, whatever that is called outside; no script can read it."""
    pages = audit_ui.create_app(log.store, access=everyone)
    host = Starlette(routes=[Mount("/admin/audit", pages)])
    with TestClient(host, base_url="https://shop.example") as client:
        sent = client.post(
            "/admin/audit/views", data={"name": "Mine", "search": "actor=ann"}, headers=OWN
        )
        cookie = sent.history[0].headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax", "Secure"} <= set(cookie.split("; "))
        assert "path" not in cookie.lower()
        assert [one.path for one in client.cookies.jar] == ["/admin/audit"]
        assert "Mine" in client.get("/admin/audit/o/shop.Order/").text
    with TestClient(host) as client:
        sent = client.post(
            "/admin/audit/views", data={"name": "Mine", "search": "actor=ann"}, headers=OWN
        )
        assert "Secure" not in sent.history[0].headers["set-cookie"]


@pytest.mark.parametrize(
    ("form", "status", "told"),
    [
        ({"name": " ", "search": "actor=ann"}, 400, "needs a name"),
        ({"name": "x" * 61, "search": "actor=ann"}, 400, "needs a name"),
        ({"search": "actor=ann"}, 400, "needs a name"),
        ({"name": "Mine"}, 400, "no search to keep"),
        ({"name": "Mine", "search": "colour=red"}, 400, "no search to keep"),
        ({"name": "Mine", "search": "since=never"}, 400, "is no time"),
        ({"name": "Mine", "search": "key=7"}, 400, "needs its entity"),
        ({"name": "Mine", "search": f"text={'y' * 4_000}"}, 409, "no room"),
    ],
)
def test_what_is_no_view_is_not_kept(
    client: TestClient, form: dict[str, str], status: int, told: str
) -> None:
    """And the page says why."""
    answer: Any = send(client, **form)
    assert answer.status_code == status
    assert told in answer.text
    assert "set-cookie" not in answer.headers


def test_a_browser_keeps_so_many_and_no_more(client: TestClient) -> None:
    """One more is refused, and those that are there stay."""
    for number in range(MOST):
        assert send(client, name=str(number), search="actor=ann").status_code == 303
    assert send(client, name="more", search="actor=ann").status_code == 409
    assert send(client, name="3", search="actor=bob").status_code == 303
    assert len(client.get("/views.json").json()["own"]) == MOST


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "cross-site"}])
def test_another_site_keeps_and_forgets_nothing(
    client: TestClient, headers: dict[str, str]
) -> None:
    """As with everything that a form does here."""
    send(client, name="Mine", search="actor=ann")
    assert send(client, headers, name="Theirs", search="actor=eve").status_code == 403
    assert send(client, headers, forget="Mine").status_code == 403
    assert list(client.get("/views.json").json()["own"]) == ["Mine"]


def test_views_are_for_who_may_see_their_page(log: Log, browse: Browse) -> None:
    """Access is asked about the page; without it nothing is offered and nothing kept."""
    asked = []

    def access(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        asked.append((action, subject.page))
        return subject.page != "views"

    log.write(insert("shop.Order", "1", total=1))
    client = browse(log, access=access)
    assert 'class="keep"' not in client.get("/?actor=ann").text
    see(client, "/views", 403)
    assert send(client, name="Mine", search="actor=ann").status_code == 403
    assert asked[-1] == ("view", "views")


@pytest.mark.parametrize(
    "written",
    [
        "x",
        "%%%",
        "[]",
        '"text"',
        '{"a": 5, "": "actor=ann", "' + "n" * 61 + '": "actor=ann", "b": "colour=red"}',
        "[" * 50_000,
    ],
)
def test_a_cookie_may_hold_anything(client: TestClient, written: str) -> None:
    """What is no view in it is left out, and the page is there."""
    for value in (written[:2_000], urlsafe_b64encode(written.encode()).decode()):
        assert kept({COOKIE: value}) == {}
    assert client.get("/", headers={"cookie": f"{COOKIE}={written[:50]}"}).status_code == 200


def test_a_cookie_of_somebody_elses_making_runs_nothing(client: TestClient) -> None:
    """Names and searches are text, and lead nowhere but to the feed."""
    views = {"<script>alert(1)</script>": "actor=%22%3E%3Cscript%3E", "j": "javascript:alert(1)"}
    value = urlsafe_b64encode(json.dumps(views).encode()).decode()
    for address in ("/", "/views"):
        page = client.get(address, headers={"cookie": f"{COOKIE}={value}"}).text
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "javascript:" not in page
