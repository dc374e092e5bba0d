"""The examples of docs/mounting.md, as printed: each host alone and behind a proxy."""

from __future__ import annotations

import asyncio
import html
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any, Final
from urllib.parse import urljoin

import a2wsgi
import httpx2
import pytest
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.testclient import TestClient

from audit_ui import Subject
from audit_ui.witness import actor_of
from lifecycle.errors import ConfigurationError
from tests.conftest import without
from tests.ui.test_restore import Desk, DeskBuyer, desk

__all__ = ["desk"]

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "mounting.md"
EXAMPLES: Final = dict(
    re.findall(r"^## (.+?)$.*?^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
)
HOST: Final = "http://testserver"
WSGI: Final = ("Django under WSGI", "Flask")


# --- signing in at each host ----------------------------------------------------------------


class ByHeader(AuthenticationBackend):
    """Starlette's authentication: whom a header names."""

    async def authenticate(self, conn: Any) -> Any:
        name = conn.headers.get("x-name")
        return (AuthCredentials(), SimpleUser(name)) if name else None


def of_litestar() -> Any:
    from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

    class Authentication(AbstractAuthenticationMiddleware):
        async def authenticate_request(self, connection: Any) -> AuthenticationResult:
            name = connection.headers.get("x-name")
            return AuthenticationResult(user=name and SimpleUser(name), auth=None)

    return Authentication


class People:
    """A backend of Django's authentication that needs no table."""

    def get_user(self, id: int) -> Any:
        return SimpleNamespace(pk=id, username="ann", is_authenticated=True)


def of_django() -> dict[str, str]:
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            SECRET_KEY="tests",
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=(),
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
            AUTHENTICATION_BACKENDS=[f"{__name__}.People"],
            LOGGING_CONFIG=None,
        )
    from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.signed_cookies import SessionStore

    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = "1", f"{__name__}.People"
    session.save()
    return {"cookie": f"sessionid={session.session_key}"}


def signed_in(name: str, application: Any) -> dict[str, str]:
    """The headers of a request of Ann's at that host."""
    if name.startswith("Django"):
        return of_django()
    if name == "Flask":
        serializer = application.session_interface.get_signing_serializer(application)
        return {"cookie": f"session={serializer.dumps({'user': 'ann'})}"}
    return {"x-name": "ann", "x-remote-user": "ann"}


# --- hosts and proxies ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop of a2wsgi, which would leave its own running."""
    found = asyncio.new_event_loop()
    thread = Thread(target=found.run_forever, daemon=True)
    thread.start()
    yield found
    found.call_soon_threadsafe(found.stop)
    thread.join(timeout=10)
    found.run_until_complete(found.shutdown_default_executor())
    found.close()


class Hosted:
    """A host, how a browser reaches its pages, and whom they took it for."""

    def __init__(self, client: Any, start: str, headers: dict[str, str], users: list[Any]) -> None:
        self.client, self.start, self.headers, self.users = client, start, headers, users

    def get(self, address: str, **headers: str) -> Any:
        return self.client.get(urljoin(self.start, address), headers={**self.headers, **headers})

    def post(self, address: str, data: dict[str, Any], **headers: str) -> Any:
        address = urljoin(self.start, address)
        sent = {**self.headers, **{name.replace("_", "-"): v for name, v in headers.items()}}
        return self.client.post(address, data=data, headers=sent)


def behind(application: Any, prefix: str, *, full: bool) -> Any:
    """An ASGI server behind a proxy that strips its prefix, and is told of it.

    Servers put it before the path again, as uvicorn does; others leave the path as it came.
    """

    async def server(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{prefix}/")
            cut = 0 if full else len(prefix)
            path, raw = scope["path"][cut:], scope["raw_path"][cut:]
            scope = {**scope, "path": path, "raw_path": raw, "root_path": prefix}
        await application(scope, receive, send)

    return server


def behind_wsgi(application: Any, prefix: str) -> Any:
    """A WSGI server behind a proxy that strips its prefix, and is told of it."""

    def server(environ: dict[str, Any], start_response: Any) -> Any:
        assert environ["PATH_INFO"].startswith(f"{prefix}/")
        below = environ["PATH_INFO"][len(prefix) :]
        return application({**environ, "SCRIPT_NAME": prefix, "PATH_INFO": below}, start_response)

    return server


PREFIX = "/behind"  # not "/p": Litestar cuts its root path out wherever it stands, as in /pages.js
PLACES = {"alone": "", "server told of the prefix": PREFIX, "path as the proxy left it": PREFIX}


WAYS = [
    (name, place)
    for name in EXAMPLES
    for place in PLACES
    if name not in WSGI or place != "path as the proxy left it"  # WSGI has one way to say it
]


@pytest.fixture(params=WAYS, ids=", ".join)
def hosted(
    request: pytest.FixtureRequest,
    desk: Desk,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Hosted]:
    """The example of a host, as printed, at each place."""
    name, place = request.param
    users: list[Any] = []

    def only_admins(user: Any, action: str, subject: Subject) -> bool:
        users.append(user)
        return actor_of(user) == "ann"

    framework = name.split()[0].lower()
    if name != "Alone" and find_spec(framework) is None:
        without(f"{framework} is not installed: run pip install -e '.[dev]'")
    if name.startswith("Django"):
        of_django()
    monkeypatch.setattr(a2wsgi, "ASGIMiddleware", partial(a2wsgi.ASGIMiddleware, loop=loop))
    module = ModuleType("mounting")
    monkeypatch.setitem(sys.modules, "mounting", module)
    names = vars(module)
    names |= {
        "lifecycle": desk.lifecycle,
        "only_admins": only_admins,
        "authentication": of_litestar() if name == "Litestar" else ByHeader(),
        "secret_key": "tests",
    }
    exec(compile(EXAMPLES[name], str(PAGE), "exec", dont_inherit=True), names)
    application = names["application"]
    headers = signed_in(name, application)
    prefix = PLACES[place]
    start = f"{HOST}{prefix}{'' if name == 'Alone' else '/audit'}/"
    with ExitStack() as stack:
        if name in WSGI:
            behind_it = behind_wsgi(application, prefix) if prefix else application
            transport = httpx2.WSGITransport(app=behind_it)
            client: Any = httpx2.Client(transport=transport, base_url=HOST)
        else:
            full = place == "server told of the prefix"
            behind_it = behind(application, prefix, full=full) if prefix else application
            client = TestClient(behind_it, base_url=HOST, follow_redirects=False)
        yield Hosted(stack.enter_context(client), start, headers, users)


# --- what holds at each of them -------------------------------------------------------------


def test_every_host_of_the_page_is_tested() -> None:
    assert list(EXAMPLES) == [
        "Starlette", "FastAPI", "Litestar", "Django under ASGI", "Django under WSGI", "Flask",
        "Alone",
    ]  # fmt: skip


def test_links_lead_from_page_to_page_below_the_mount(desk: Desk, hosted: Hosted) -> None:
    """One address of each kind, with the pages' own headers, and access is told who asks."""
    desk.change(DeskBuyer, 1, name="Ada L.")
    waiting, seen = [hosted.start], dict[str, str]()
    while waiting:
        address = waiting.pop()
        kind = re.sub(r"[0-9a-f-]{36}\.[0-9]+|[0-9a-f-]{36}", "id", address.partition("?")[0])
        if kind in seen:
            continue
        seen[kind] = address
        answer = hosted.get(address)
        assert answer.status_code == 200, (address, answer.text[:500])
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        if answer.headers["content-type"].startswith("text/html"):
            found = re.findall(r'\b(?:href|src|action)="([^"]*)"', answer.text)
            waiting += [urljoin(address, html.unescape(one)).partition("#")[0] for one in found]
    below = {kind.removeprefix(hosted.start) for kind in seen if kind.startswith(hosted.start)}
    assert len(below) == len(seen)
    assert {"", "o/desk.Buyer/1", "r/id", "t/id", "a/ann", "r/id/undo", "-/coverage"} <= below
    assert {actor_of(user) for user in hosted.users} == {"ann"}


def test_whoever_is_not_signed_in_sees_nothing(hosted: Hosted) -> None:
    """Without the host's cookie or header the user is nobody."""
    answer = hosted.client.get(hosted.start)
    assert answer.status_code == 403
    assert "desk.Buyer" not in answer.text
    assert [actor_of(user) for user in hosted.users] == [None]


def test_an_export_arrives_whole(desk: Desk, hosted: Hosted) -> None:
    """Through every adapter, piece by piece."""
    with desk.session.begin() as session:
        session.add_all(DeskBuyer(id=id, name=f"{id}") for id in range(2, 1202))
    answer = hosted.get("export.jsonl")
    assert len(answer.text.splitlines()) == 1201


def test_a_form_is_heeded_from_the_same_origin_only(desk: Desk, hosted: Hosted) -> None:
    """What the browser says of the form's origin arrives, and who sent it is recorded."""
    record = desk.change(DeskBuyer, 1, by="bob", name="wrong")
    address = f"r/{record.id}/undo"
    form = {
        found: [html.unescape(value) for value in values]
        for found, values in (
            (one, re.findall(rf'name="{one}" value="([^"]*)"', hosted.get(address).text))
            for one in ("shown", "take")
        )
    }
    for origin in ({}, {"sec_fetch_site": "cross-site"}, {"origin": "http://elsewhere.example"}):
        assert hosted.post(address, form, **origin).status_code == 403
    assert desk.value(DeskBuyer, 1, "name") == "wrong"
    answer = hosted.post(address, form, origin=HOST)
    assert answer.status_code == 303
    assert desk.value(DeskBuyer, 1, "name") == "Ada"
    assert desk.last().actor == "ann"
    assert urljoin(urljoin(hosted.start, address), answer.headers["location"]).startswith(
        hosted.start
    )
    assert hosted.get(urljoin(address, answer.headers["location"])).status_code == 200


# --- the function itself --------------------------------------------------------------------


@pytest.mark.parametrize("user", ["ann", lambda: "ann", lambda scope, more: "ann"])
def test_what_cannot_name_the_user_is_refused_at_set_up(
    browse: Callable[..., TestClient], log: Any, user: Any
) -> None:
    """Before anybody is taken for nobody."""
    with pytest.raises(ConfigurationError, match=r"cannot be called as user\(scope\)"):
        browse(log, user=user)


def test_it_may_be_async_and_when_it_fails_nothing_is_shown(
    browse: Callable[..., TestClient], log: Any
) -> None:
    """An error in it is the host's to see, and no answer to the reader."""

    async def user_of(scope: Any) -> str:
        return {"/-/help": "ann"}[scope["path"]]

    seen: list[Any] = []
    client = browse(log, user=user_of, access=lambda user, *rest: seen.append(user) or True)
    assert client.get("/-/help").status_code == 200
    assert seen == ["ann"]
    with pytest.raises(KeyError):
        client.get("/")
    assert seen == ["ann"]
