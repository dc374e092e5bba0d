"""What every response tells the browser: run nothing but our own files, keep nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

import audit_ui
from audit_ui.assets import ASSETS
from lifecycle.errors import ConfigurationError
from tests.ui.conftest import Log, everyone, insert

Browse = Callable[..., TestClient]

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/-/help", 200),
        ("GET", "/-/health", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/o/E", 307),
        ("GET", "/?since=never", 400),
        ("POST", "/", 405),
    ],
)
def test_every_response_is_strict(
    log: Log, browse: Browse, method: str, path: str, status: int
) -> None:
    """Pages, redirects and errors all carry the same headers."""
    log.write(insert("shop.Order", "1", total=5))
    response = browse(log).request(method, path, follow_redirects=False)
    assert response.status_code == status
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"


def test_a_page_that_fails_is_strict_too(log: Log) -> None:
    """Even a fault of the application leaves no page without protection."""

    def broken(*asked: object) -> bool:
        raise RuntimeError("the policy is broken")

    app = audit_ui.create_app(log.store, access=broken)
    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert response.status_code == 500
    assert "This page failed" in response.text
    assert "the policy is broken" not in response.text
    assert response.headers["content-security-policy"] == POLICY


def test_assets_are_kept_for_a_year_under_their_content(log: Log, browse: Browse) -> None:
    """The address of a file changes with its content, so it need never be asked for again."""
    client = browse(log)
    for name, asset in ASSETS.items():
        response = client.get(f"/-/assets/{asset.digest}/{name}")
        assert response.content == asset.content
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert client.get(f"/-/assets/0000/{name}").status_code == 404
    assert client.get("/-/assets/0000/secrets.txt").status_code == 404


def test_style_and_script_stay_small() -> None:
    """The whole look and behaviour is 40 KB at most."""
    assert sum(len(asset.content) for asset in ASSETS.values()) <= 40_000


def test_pages_hold_no_inline_style_or_script(log: Log, browse: Browse) -> None:
    """The policy would block it; so there is none to block, and nothing from elsewhere."""
    record = log.write(insert("shop.Order", "1", total=5))[0]
    client = browse(log)
    for path in ("/", "/o/shop.Order/1", f"/r/{record.id}", f"/t/{record.revision.id}", "/a/ann"):
        text = client.get(path).text
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", text)
        assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) == [""]
        assert not re.search(r'(?:href|src|action)="(?:\w+:)?//', text)


def test_frames_are_allowed_where_the_host_says_so(log: Log, browse: Browse) -> None:
    """A host may show the pages inside its own."""
    client = browse(log, frame_ancestors="'self' https://intranet.example")
    policy = client.get("/").headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' https://intranet.example")


@pytest.mark.parametrize("sources", ["", "*; script-src *", "*\r\nx: y"])
def test_frame_ancestors_cannot_carry_another_directive(log: Log, sources: str) -> None:
    """A malformed list is refused at set-up."""
    with pytest.raises(ConfigurationError, match="frame_ancestors"):
        audit_ui.create_app(log.store, access=everyone, frame_ancestors=sources)
