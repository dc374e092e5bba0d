"""What cannot be answered is said in words, with the way on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from starlette.testclient import TestClient

import audit_ui
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import QuestionTooSlow, StoreError, StoreUnreachable, TablesMissing
from tests.ui.conftest import Log, insert

Browse = Callable[..., TestClient]

NONE = UUID(int=9)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/nowhere", 404, "There is no such page"),
        ("/o/E/k/more", 404, "There is no such page"),
        ("/r/nonsense", 404, "is no record id"),
        (f"/r/{NONE}.0", 404, "This record is not in the store"),
        ("/t/nonsense", 404, "is no revision id"),
        (f"/t/{NONE}", 404, "This revision is not in the store"),
        ("/a/nobody", 404, "Nothing is recorded of an actor"),
        ("/o/shop.Order/2", 404, "Nothing is recorded for shop.Order"),
        (f"/o/shop.Order/1?v={NONE}.0", 404, "has no version"),
        ("/o/shop.Order/1?v=x", 404, "is no record id"),
        ("/o/shop.Order/~9", 404, "This address is damaged"),
        ("/o/~3/", 404, "No entity has an empty name"),
        ("/?since=never", 400, "is no time"),
        ("/?operation=drop", 400, "No operation is called"),
        ("/?key=1", 400, "A key needs its entity"),
        ("/?older_than=x", 400, "is no place in the history"),
    ],
)
def test_a_question_without_an_answer_is_a_page_with_words(
    log: Log, browse: Browse, path: str, status: int, said: str
) -> None:
    """Status, what is wrong, and a way back that works."""
    log.write(insert("shop.Order", "1", total=5))
    response = browse(log).get(path)
    assert response.status_code == status
    assert said in response.text
    assert "Go to all changes" in response.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/o/shop.Order/1", "/r/x.0", "/-/help"])
def test_pages_can_only_be_read(log: Log, browse: Browse, method: str, path: str) -> None:
    """Anything but reading is refused."""
    response = browse(log).request(method, path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert "This page can only be read" in response.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreUnreachable("no route to secret-host"), "The audit store cannot be reached"),
        (TablesMissing("no such table"), "lifecycle.create_tables(engine)"),
        (StoreError("something else"), "The audit store could not answer"),
    ],
)
def test_a_store_that_fails_is_a_503_in_words(
    log: Log,
    browse: Browse,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: StoreError,
    said: str,
) -> None:
    """The reader learns what to do, the log what happened; the reader sees no internals."""

    def fail(*asked: Any, **options: Any) -> None:
        raise error

    client = browse(log)
    monkeypatch.setattr(MemoryStore, "page", fail)
    monkeypatch.setattr(MemoryStore, "check", fail)
    with caplog.at_level(logging.ERROR, logger="audit_ui"):
        for path in ("/", "/o/E/k", f"/r/{NONE}.0", f"/t/{NONE}", "/a/x"):
            response = client.get(path)
            assert response.status_code == 503
            assert said in response.text
            assert str(error) not in response.text
        assert client.get("/-/health").status_code == 503
    assert len(caplog.records) == 6
    assert all(record.exc_info for record in caplog.records)


class SlowStore(MemoryStore):
    """A store whose questions take long, unless nobody gave them a time."""

    def within(self, seconds: float) -> MemoryStore:
        limited = MemoryStore()

        def page(*asked: Any, **more: Any) -> Any:
            raise QuestionTooSlow(f"not within {seconds:g} seconds")

        limited.page = page  # type: ignore[method-assign]
        return limited


def test_a_page_that_takes_too_long_is_stopped_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With how to narrow it; the host says how long is too long."""
    app = audit_ui.create_app(SlowStore(), access=lambda *asked: True, patience=0.25)
    with TestClient(app) as client, caplog.at_level(logging.ERROR, "audit_ui"):
        response = client.get("/?since=2001-01-01&actor=ann")
        assert 'href="./?actor=ann&amp;since=24h">last 24 hours' in response.text
        assert "last 24 hours" not in client.get("/o/shop.Order/1").text
    assert response.status_code == 503
    assert "This question takes too long" in response.text
    assert "a more recent time" in response.text
    assert "not within 0.25 seconds" in str(caplog.records[0].exc_info)
