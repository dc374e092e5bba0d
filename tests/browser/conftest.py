"""A real browser, and the pages of a shop it looks at.

Pictures of what it saw are kept in ``LIFECYCLE_TEST_ARTIFACTS``, else in ``.ci/artifacts``.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
import uvicorn
from sqlalchemy import create_engine
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

import audit_ui
from lifecycle import Lifecycle
from tests.browser.shop import ShopSession, open_shop
from tests.conftest import without

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request

ROOT: Final = Path(__file__).parent.parent.parent
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
REPORTS: Final = """
window.reports = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.reports.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


# --- what is looked at ----------------------------------------------------------------------


@dataclass(frozen=True)
class Shop:
    """The shop whose history is shown, and where."""

    url: str
    lifecycle: Lifecycle
    sessions: ShopSession


def signed_in(app: ASGIApp) -> ASGIApp:
    """A host that has authenticated its user."""

    async def host(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "user": "ann"} if scope["type"] == "http" else scope, receive, send)

    return host


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application on a free port of this machine, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it began"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


def any_admin(user: Any, action: str, subject: audit_ui.Subject) -> bool:
    return user == "ann"


@pytest.fixture(scope="module")  # while it is there it checks every model that is configured
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop, under the mount and behind the name it would have at a real host."""
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('browser') / 'shop.sqlite'}")
    lifecycle, sessions = open_shop(engine)
    views = {"Deleted": "operation:delete", "Orders by hand": "entity:sales.Order source:web"}
    pages = audit_ui.create_app(lifecycle, access=any_admin, title="Shop history", views=views)
    with served(signed_in(Starlette(routes=[Mount("/admin/audit", pages)]))) as url:
        yield Shop(f"{url}/admin/audit/", lifecycle, sessions)
    lifecycle.uninstall(sessions)
    engine.dispose()


# --- who looks ------------------------------------------------------------------------------


def chromium_path() -> str:
    """The system's Chromium; without one the test ends with the reason."""
    given = os.environ.get("LIFECYCLE_TEST_CHROMIUM")
    names = [given] if given else ["chromium", "chromium-browser", "google-chrome"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        without(
            f"no Chromium is found as {' or '.join(names)}: install it "
            "(apt-get install chromium fonts-dejavu-core) or name it in LIFECYCLE_TEST_CHROMIUM"
        )
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; closed with the last test of a module, since its loop lets no other one run."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        without("playwright is not installed: run pip install -e '.[dev]'")
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


Open: TypeAlias = "Callable[..., Page]"


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of."""
    return []


@pytest.fixture
def look(chromium: Browser, shop: Shop, complaints: list[str]) -> Iterator[Open]:
    """Opens windows of a reader; at the end there must be no complaint of a policy or a script."""
    contexts = []

    def open_window(address: str = "", *, expected: int = 200, **how: Any) -> Page:
        how = {
            "viewport": {"width": 1440, "height": 900},
            "timezone_id": "UTC",
            "reduced_motion": "reduce",
            **how,
        }
        context = chromium.new_context(base_url=shop.url, **how)
        context.set_default_timeout(10_000)
        contexts.append(context)
        if how.get("java_script_enabled", True):
            context.add_init_script(REPORTS)
        page = context.new_page()
        page.on("console", lambda said: _note(complaints, said))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: _note_failed(complaints, request))
        answer = page.goto(address or shop.url)
        assert answer is not None
        assert answer.status == expected
        if expected != 200:
            complaints.clear()  # the browser's own complaint of the status
        return page

    yield open_window
    for context in contexts:
        for page in context.pages:
            if page.evaluate("typeof reports") == "object":
                complaints += page.evaluate("reports")
        context.close()
    assert complaints == []


def follow(link: Locator) -> None:
    """Click, and wait for the whole of what it leads to: a click waits for its beginning only."""
    with link.page.expect_navigation():
        link.click()


def _note(complaints: list[str], said: ConsoleMessage) -> None:
    if said.type in ("error", "warning"):
        complaints.append(f"{said.type}: {said.text}")


def _note_failed(complaints: list[str], request: Request) -> None:
    if request.failure != "net::ERR_ABORTED":  # the reader went elsewhere, or it is a download
        complaints.append(f"{request.failure}: {request.url}")


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where pictures are kept."""
    folder = Path(os.environ.get("LIFECYCLE_TEST_ARTIFACTS") or ROOT / ".ci" / "artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
