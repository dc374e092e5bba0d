"""Who may look: nobody, unless the host says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

import audit_ui
from audit_ui import Subject
from audit_ui.reader import actor_of
from audit_ui.site import Site
from audit_ui.witness import Viewings
from lifecycle.audit.store import Query
from lifecycle.changes import ABSENT, Change
from lifecycle.errors import ConfigurationError, StoreUnreachable
from tests.ui.conftest import START, Log, everyone, insert

Browse = Callable[..., TestClient]


def test_without_a_policy_there_is_no_application(log: Log) -> None:
    """Forgetting to say who may look is an error at set-up, with the way out."""
    with pytest.raises(ConfigurationError, match=r"access=function.*local_only=True"):
        audit_ui.create_app(log.store)


def test_a_policy_must_be_a_function(log: Log) -> None:
    """A policy that cannot be called is found at set-up."""
    with pytest.raises(ConfigurationError, match="access='admin' cannot be called"):
        audit_ui.create_app(log.store, access="admin")  # type: ignore[arg-type]


def test_what_has_no_store_is_refused() -> None:
    """Only an audit store, or something that owns one, has pages."""
    with pytest.raises(ConfigurationError, match="is no audit store and has none"):
        audit_ui.create_app(object(), access=everyone)  # type: ignore[arg-type]


def test_whatever_owns_a_store_has_pages(log: Log) -> None:
    """A Lifecycle is accepted for its store."""

    class Owner:
        store = log.store

    log.write(insert("shop.Order", "1", total=5))
    with TestClient(audit_ui.create_app(Owner(), access=everyone)) as client:
        assert "shop.Order" in client.get("/").text


def test_the_policy_is_asked_before_anything_is_read(log: Log, browse: Browse) -> None:
    """It hears the page and what the address names, and a no ends there."""
    log.write(insert("shop.Order", "a/b", total=5))
    asked: list[Any] = []

    def nobody(user: Any, action: str, subject: Subject) -> bool:
        asked.append((user, action, subject))
        return False

    client = browse(log, access=nobody)
    pages = {
        "/": Subject(page="feed"),
        "/?entity=shop.Order": Subject(page="feed", entity="shop.Order"),
        "/o/shop.Order/?entity=other": Subject(page="feed", entity="shop.Order"),
        "/o/shop.Order/a~1b": Subject(page="object", entity="shop.Order", key="a/b"),
        "/r/x.0": Subject(page="record", record="x.0"),
        "/t/x": Subject(page="revision", revision="x"),
        "/a/ann": Subject(page="actor", actor="ann"),
        "/-/help": Subject(page="help"),
    }
    for address in pages:
        response = client.get(address)
        assert response.status_code == 403
        assert "You may not see this page" in response.text
        assert "a/b" not in response.text
    assert asked == [(None, "view", subject) for subject in pages.values()]
    assert log.store.asked == []


def test_a_policy_may_be_async_and_knows_the_hosts_user(log: Log) -> None:
    """The user is the one the host's own middleware found."""

    async def only_ann(user: Any, action: str, subject: Subject) -> bool:
        return user == "ann"

    pages = audit_ui.create_app(log.store, access=only_ann)

    async def host(scope: Any, receive: Any, send: Any) -> None:
        user = dict(scope["headers"]).get(b"x-user", b"").decode()
        await pages({**scope, "user": user}, receive, send)

    client = TestClient(host)
    assert client.get("/", headers={"x-user": "ann"}).status_code == 200
    assert client.get("/", headers={"x-user": "eve"}).status_code == 403


@pytest.mark.parametrize("answer", ["no", 1, None, object()])
def test_only_true_lets_in(log: Log, answer: Any) -> None:
    """An answer that is neither True nor False shows nothing and is reported as a fault."""
    app = audit_ui.create_app(log.store, access=lambda user, action, subject: answer)
    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert response.status_code == 500
    with pytest.raises(ConfigurationError, match="must return True or False"):
        TestClient(app).get("/")
    assert log.store.asked == []


@pytest.mark.parametrize(
    ("client", "host", "headers", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8000", {}, 200),
        ("127.0.0.1", "localhost:8000", {}, 200),
        ("::1", "[::1]:8000", {}, 200),
        ("::ffff:127.0.0.1", "LOCALHOST", {}, 200),
        ("192.168.0.9", "127.0.0.1:8000", {}, 403),
        ("127.0.0.1", "attacker.example", {}, 403),
        ("127.0.0.1", "127.0.0.1.attacker.example", {}, 403),
        ("127.0.0.1", "192.168.0.9:8000", {}, 403),
        ("127.0.0.1", "", {}, 403),
        ("127.0.0.1", "127.0.0.1", {"x-forwarded-for": "203.0.113.7"}, 403),
        ("127.0.0.1", "127.0.0.1", {"forwarded": "for=203.0.113.7"}, 403),
    ],
)
def test_local_only_answers_this_machine_alone(
    log: Log, client: str, host: str, headers: dict[str, str], status: int
) -> None:
    """The client and the name it used must both be this machine, and no proxy between them."""
    browser = TestClient(audit_ui.create_app(log.store, local_only=True), client=(client, 50_000))
    response = browser.get("/", headers={"host": host, **headers})
    assert response.status_code == status
    health = browser.get("/-/health", headers={"host": host, **headers})
    assert health.status_code == status
    if status == 403:
        assert "These pages answer this machine only" in response.text


def test_local_only_does_not_replace_a_policy(log: Log) -> None:
    """With both, both must agree."""
    app = audit_ui.create_app(log.store, local_only=True, access=lambda *asked: False)
    browser = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))
    assert "You may not see this page" in browser.get("/").text


def test_who_looked_at_what_is_told_to_a_logger(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """Each page somebody was let in to see, on one line; nothing of those who were not."""
    app = audit_ui.create_app(
        log.store, access=lambda user, action, subject: subject.page == "feed"
    )
    with TestClient(app) as client, caplog.at_level(logging.INFO, "audit_ui.access"):
        assert client.get("/?entity=a%0Ab").status_code == 200
        assert client.get("/-/help").status_code == 403
    [line] = [record.getMessage() for record in caplog.records if record.name == "audit_ui.access"]
    assert line.startswith("None: view Subject(page='feed', entity='a\\nb'")


@pytest.mark.parametrize(
    ("user", "id"),
    [
        (None, None),
        ("ann", "ann"),
        (SimpleNamespace(is_authenticated=False, username="nobody"), None),
        (SimpleNamespace(username="ann", id=5), "ann"),
        (SimpleNamespace(pk=5), "5"),
        ("x" * 300, "x" * 255),
    ],
)
def test_users_are_named_as_their_framework_names_them(user: object, id: str | None) -> None:
    """A user name, else an id; nobody for one who is not signed in."""
    assert actor_of(user) == id


def test_views_are_recorded_where_that_is_wanted(log: Log) -> None:
    """Who saw what, before it is shown; once an hour, and refused when it cannot be recorded."""
    log.write(insert("shop.Order", "1", total=5))
    options = {"access": everyone, "actor": lambda user: "staff:7"}
    with TestClient(audit_ui.create_app(log.store, **options)) as client:
        client.get("/o/shop.Order/1")
    assert not log.store.page(Query(entity="audit_ui.View")).records
    app = audit_ui.create_app(log.store, record_views=True, **options)
    with TestClient(app) as client:
        for path in ("/o/shop.Order/1", "/o/shop.Order/1?full=1", "/-/help", "/", "/feed.json"):
            assert client.get(path).status_code == 200
        found = log.store.page(Query(entity="audit_ui.View"), newest_first=False).records
        assert [record.changes.get("page") for record in found] == [
            Change(ABSENT, "object"),
            Change(ABSENT, "feed"),
        ]
        assert (found[0].actor, found[0].changes.get("key")) == ("staff:7", Change(ABSENT, "1"))


def test_a_view_that_cannot_be_recorded_is_refused(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not be known."""
    log.write(insert("shop.Order", "1", total=5))

    def refuse(*asked: Any) -> Any:
        raise StoreUnreachable("gone")

    with TestClient(audit_ui.create_app(log.store, access=everyone, record_views=True)) as client:
        monkeypatch.setattr(log.store, "append", refuse)
        response = client.get("/o/shop.Order/1")
        assert response.status_code == 503
        assert "total" not in response.text


def test_a_view_is_recorded_again_after_an_hour(log: Log) -> None:
    """What was seen long ago is not what is seen now."""
    times = [START, START + timedelta(minutes=59), START + timedelta(minutes=61)]
    viewings = Viewings()
    for time in times:
        site = Site(log.store, log.store, "", now=lambda time=time: time)  # type: ignore[misc]
        viewings.note(site, "ann", Subject(page="object", entity="e", key="1"))
    found = log.store.page(Query(entity="audit_ui.View"), newest_first=False).records
    assert [record.at for record in found] == [times[0], times[2]]


def test_exports_are_recorded_as_whom_the_host_names(log: Log) -> None:
    """The same function names who restores."""
    log.write(insert("shop.Order", "1", total=5))
    app = audit_ui.create_app(log.store, access=everyone, actor=lambda user: "staff:7")
    with TestClient(app) as client:
        assert client.get("/export.csv").status_code == 200
    [record] = log.store.page(Query(entity="audit_ui.Export")).records
    assert record.actor == "staff:7"
