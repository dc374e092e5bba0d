"""The pages under WSGI, as Flask and Django-WSGI mount them: through a2wsgi."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from threading import Thread
from urllib.parse import urljoin

import pytest
from a2wsgi import ASGIMiddleware
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import audit_ui
from tests.ui.conftest import Log, everyone, insert, update
from tests.ui.test_mounting import KEYS, linked

HOST = "http://testserver"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of its own that the requests run in, as under any WSGI server."""
    found = asyncio.new_event_loop()
    thread = Thread(target=found.run_forever, daemon=True)
    thread.start()
    yield found
    found.call_soon_threadsafe(found.stop)
    thread.join(timeout=10)
    found.run_until_complete(found.shutdown_default_executor())
    found.close()


Open = Callable[..., Client]


@pytest.fixture
def opened(log: Log, loop: asyncio.AbstractEventLoop) -> Open:
    """A client of a Flask application that has the pages at an address."""

    def client(at: str) -> Client:
        pages = ASGIMiddleware(audit_ui.create_app(log.store, access=everyone), loop=loop)
        host = Flask(__name__)
        host.wsgi_app = DispatcherMiddleware(host.wsgi_app, {at: pages})  # type: ignore[method-assign]
        return Client(host.wsgi_app)

    return client


@pytest.mark.parametrize("at", ["/audit", "/admin/audit"])
def test_every_page_is_reached_by_its_links(log: Log, opened: Open, at: str) -> None:
    """Whatever the keys hold; no link leaves the mount."""
    for key in KEYS[:6]:
        log.write(insert("repo.File", key, size=1))
        log.write(update("repo.File", key, size=(1, 2)), actor="../bob")
    client, start = opened(at), f"{HOST}{at}/"
    first = linked(start, client.get(f"{at}/", buffered=True).text)
    objects = [link for link in first if "/o/repo.File/" in link and "/f/" not in link]
    kinds = {link.removeprefix(start)[:2]: link for link in first}
    for link in {*objects, *kinds.values()}:
        assert link.startswith(start)
        response = client.get(link.removeprefix(HOST), buffered=True)
        assert response.status_code == 200, link
    page = client.get(objects[0].removeprefix(HOST), buffered=True)
    assert "content-security-policy" in page.headers
    assert all(link.startswith(start) for link in linked(objects[0], page.text))


def test_the_mount_without_its_slash_leads_to_the_feed(opened: Open) -> None:
    """There the path below the mount is empty, and links would count from above it."""
    response = opened("/audit").get("/audit?actor=ann", buffered=True)
    assert response.status_code == 307
    assert urljoin(f"{HOST}/audit", response.headers["location"]) == f"{HOST}/audit/?actor=ann"


def test_the_hosts_own_pages_stay_the_hosts(opened: Open) -> None:
    """What is not below the mount is not the pages' affair."""
    response = opened("/audit").get("/other", buffered=True)
    assert response.status_code == 404
    assert "content-security-policy" not in response.headers


def test_an_export_is_streamed_whole(log: Log, opened: Open) -> None:
    """Through WSGI too."""
    for i in range(1200):
        log.write(insert("shop.Order", str(i), total=i))
    response = opened("/audit").get("/audit/export.jsonl", buffered=True)
    assert len(response.text.splitlines()) == 1200
