"""Whatever address is asked for, the answer is a page, a redirect or a refusal; never a failure."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import audit_ui
from tests.ui.conftest import Log, delete, everyone, insert, update

WORDS = st.sampled_from(
    ["shop.Order", "1", "ann", "total", "json", "feed.json", "x.json", "~1", "~9", "~u0000", "..",
     "prev", "now", "net", "0.0", "1.0", "7d", "all", "insert", "-", '"', "=", "total=5"]
)  # fmt: skip
TEXTS = WORDS | st.text(max_size=12)
PARAMS = st.sampled_from(
    ["q", "entity", "key", "actor", "operation", "field", "text", "no", "since", "until", "at", "v",
     "-actor", "-field", "against", "nth", "of", "full", "view", "older_than", "newer_than",
     "revision", "group", "request_id", "source", "reason", "-no", "-revision"]
)  # fmt: skip
PATHS = st.one_of(
    st.sampled_from(["/", "/feed.json", "/feed.atom", "/export.csv", "/export.jsonl", "/-/help",
                     "/-/coverage", "/-/health", "/-/activity.svg", "/views", "/views.json"]),
    st.builds("/{}/{}{}".format, st.sampled_from("oratgx"), TEXTS.map(quote), st.sampled_from(
        ["", "/", ".json"])),
    st.builds("/o/{}/{}{}".format, TEXTS.map(quote), TEXTS.map(quote), st.sampled_from(
        ["", "/", ".json", "/f/total", "/f/total.json", "/f/", "/restore", "/related"])),
    st.builds("/{}/{}/undo{}".format, st.sampled_from("rt"), TEXTS.map(quote), st.sampled_from(
        ["", "/", ".json"])),
)  # fmt: skip


@pytest.fixture(scope="module")
def client() -> TestClient:
    """Pages over a few changes, of which an id or two are known."""
    log = Log()
    log.write(insert("shop.Order", "1", total=5), insert("x.json", "..", total=1))
    log.write(update("shop.Order", "1", total=(5, 6)), request_id="7d")
    log.write(delete("shop.Order", "1", total=6), actor=None)
    app = audit_ui.create_app(log.store, access=everyone, record_exports=False)
    return TestClient(app, base_url="http://testserver", follow_redirects=False)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=PATHS, params=st.lists(st.tuples(PARAMS, TEXTS), max_size=4))
def test_no_address_makes_the_pages_fail(
    client: TestClient, path: str, params: list[tuple[str, str]]
) -> None:
    """The client raises what the application raises; and every answer is strict and worded."""
    query = urlencode(params, errors="replace")
    response = client.get(f"{path}?{query}" if query else path)
    assert response.status_code in (200, 303, 307, 400, 404, 409)
    assert response.headers["x-content-type-options"] == "nosniff"
    if response.status_code in (400, 404, 409) and response.text.startswith("<"):
        assert "Go to all changes" in response.text
