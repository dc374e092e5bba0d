"""The pages work wherever a host mounts them and however a proxy rewrites the way there."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import urljoin

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

import audit_ui
from tests.ui.conftest import Log, delete, everyone, insert, update

HOST = "http://testserver"

KEYS = [
    "42",
    "",
    ".",
    "..",
    "src/app/main.py",
    "100% of ~1/2 ~ a\\b",
    "with space & query?x=1#frag;p",
    "ünï 🎉",
    "a\x00b\n",
    "javascript:alert(1)",
    "//elsewhere.example/",
    "%2e%2e%2f",
]


@pytest.fixture
def app(log: Log) -> ASGIApp:
    """Pages over objects with awkward keys, one of them moved and one deleted."""
    for key in KEYS:
        log.write(insert("repo.File", key, size=1), reason="made")
        log.write(update("repo.File", key, size=(1, 2)), actor="../bob", request_id="a/b?c")
    log.write(update("repo.File", "moved/x.py", former_key="src/app/main.py", size=(2, 3)))
    log.write(delete("repo.File", "42", size=2), actor=None)
    return audit_ui.create_app(log.store, access=everyone, record_exports=False)


def proxy(app: ASGIApp, prefix: str, *, keep: bool, root: str) -> ASGIApp:
    """A proxy in front of an application: under a prefix, which it keeps or strips."""

    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(prefix), scope["path"]
            cut = 0 if keep else len(prefix)
            scope = {
                **scope,
                "path": scope["path"][cut:],
                "raw_path": scope["raw_path"][cut:],
                "root_path": root,
            }
        await app(scope, receive, send)

    return forward


def slashing(app: ASGIApp, prefix: str) -> ASGIApp:
    """A host that strips its prefix, tells nobody, and adds a slash to every path."""

    async def host(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"].removeprefix(prefix).rstrip("/") + "/"
            scope = {**scope, "path": path, "root_path": ""}
        await app(scope, receive, send)

    return host


def mounted(app: ASGIApp, path: str) -> ASGIApp:
    return Starlette(routes=[Mount(path, app)])


HOSTS: dict[str, tuple[str, Callable[[ASGIApp], ASGIApp]]] = {
    "alone": ("", lambda app: app),
    "mounted": ("/audit", lambda app: mounted(app, "/audit")),
    "mounted twice": ("/api/audit", lambda app: mounted(mounted(app, "/audit"), "/api")),
    "proxy that strips and tells": (
        "/p/audit",
        lambda app: proxy(mounted(app, "/audit"), "/p", keep=False, root="/p"),
    ),
    "proxy that strips in silence": (
        "/p/audit",
        lambda app: proxy(mounted(app, "/audit"), "/p", keep=False, root=""),
    ),
    "proxy that keeps": (
        "/p/audit",
        lambda app: proxy(mounted(app, "/audit"), "/p", keep=True, root="/p"),
    ),
    "host that strips and adds a slash": ("/audit", lambda app: slashing(app, "/audit")),
}


@pytest.fixture(params=HOSTS)
def hosted(request: pytest.FixtureRequest, app: ASGIApp) -> Iterator[tuple[str, TestClient]]:
    """The prefix the browser sees, and a browser that follows no redirect."""
    prefix, host = HOSTS[request.param]
    with TestClient(host(app), base_url=HOST, follow_redirects=False) as client:
        yield prefix, client


def test_every_link_leads_to_a_page_under_the_same_mount(hosted: tuple[str, TestClient]) -> None:
    """Following all links from the feed finds every page, and never leaves the mount."""
    prefix, client = hosted
    start = f"{HOST}{prefix}/"
    seen: set[str] = set()
    enough: set[str] = set()
    waiting = [start]
    while waiting:
        address = waiting.pop()
        if address in seen or kind(address) in enough:
            continue
        seen.add(address)
        response = client.get(address)
        assert response.status_code == 200, (address, response.headers.get("location"))
        if response.headers["content-type"].startswith("text/html"):
            waiting += linked(address, response.text)
        if kind(address) and sum(kind(one) == kind(address) for one in seen) == 10:
            enough.add(kind(address))
    assert all(address.startswith(start) for address in seen)
    kinds = {address.removeprefix(start).partition("/")[0].partition("?")[0] for address in seen}
    files = {"feed.json", "feed.atom", "export.csv", "export.jsonl"}
    assert kinds == {"", "a", "o", "r", "t", "-", "views", *files}
    objects = {address.partition("?")[0] for address in seen if "/o/repo.File/" in address}
    objects = {address for address in objects if not address.endswith(".json")}
    pages = len(KEYS) + 1
    assert len(objects) == 2 * pages + 1, "of every key, the moved one's too, and of its field; all"


def kind(address: str) -> str:
    """What kind of file an address without a page of its own gives; empty for pages."""
    found = re.search(r"\.(json|jsonl|csv|atom)(?:\?|$)", address)
    return found[1] if found else ""


def linked(address: str, text: str) -> list[str]:
    found = re.findall(r'\b(?:href|src|action)="([^"]*)"', text)
    links = [urljoin(address, html.unescape(link)).partition("#")[0] for link in found]
    assert all(link.startswith(HOST) for link in links), found
    return links


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("/o/repo.File", "/o/repo.File/"),
        ("/a/ann/", "/a/ann"),
        ("/o/repo.File/42/?full=1", "/o/repo.File/42?full=1"),
    ],
)
def test_other_spellings_lead_to_the_one_address_of_a_page(
    hosted: tuple[str, TestClient], asked: str, target: str
) -> None:
    """A missing or superfluous last slash is put right, the query kept."""
    prefix, client = hosted
    response = client.get(f"{HOST}{prefix}{asked}")
    assert response.status_code == 307
    location = urljoin(f"{HOST}{prefix}{asked}", response.headers["location"])
    assert location == f"{HOST}{prefix}{target}"


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(lambda app: slashing(app, "/audit"), id="path stripped"),
        pytest.param(lambda app: proxy(app, "/audit", keep=True, root="/audit"), id="path kept"),
    ],
)
def test_the_mount_itself_leads_to_the_feed(
    app: ASGIApp, host: Callable[[ASGIApp], ASGIApp]
) -> None:
    """Without its slash the mount would have links count from above it; so it redirects.

    Starlette and FastAPI answer this themselves, before the pages are asked.
    """
    with TestClient(host(app), base_url=HOST, follow_redirects=False) as client:
        response = client.get("/audit?actor=x")
    assert response.status_code == 307
    assert response.headers["location"] == "./audit/?actor=x"


def test_the_host_keeps_the_path_it_knows(app: ASGIApp) -> None:
    """What the pages do to find their way leaves the host's own scope as it was."""
    scopes: list[Scope] = []

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scopes.append(scope)
        await mounted(app, "/audit")(scope, receive, send)

    with TestClient(watching, base_url=HOST) as client:
        client.get("/audit/o/repo.File/")
    assert scopes[0]["path"] == "/audit/o/repo.File/"
    assert scopes[0]["root_path"] == "/audit"
