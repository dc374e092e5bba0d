"""Any two versions of an object compared, and every version within reach."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from lifecycle.audit.records import Record
from tests.ui.conftest import Log, delete, insert, update
from tests.ui.test_pages import see, words

Browse = Callable[..., TestClient]


@pytest.fixture
def versions(log: Log) -> list[Record]:
    """An order that is placed, paid, renamed and paid again."""
    return [
        *log.write(
            insert("shop.Order", "1", total=5, status="draft"), insert("shop.Line", "1", n=1)
        ),
        *log.write(update("shop.Order", "1", status=("draft", "paid"))),
        *log.write(update("shop.Order", "1", total=(5, 6))),
        *log.write(update("shop.Order", "1", status=("paid", "draft"))),
    ]


def differences(text: str) -> str:
    return text.partition("Compared with")[2].partition("Permanent address")[0]


def test_a_version_is_compared_with_the_present(
    log: Log, versions: list[Record], browse: Browse
) -> None:
    """Only what is different today, from then to now, however often it changed meanwhile."""
    text = differences(see(browse(log), f"/o/shop.Order/1?v={versions[0].id}&against=now"))
    assert "From 2026-03-01 09:07:00 to 2026-03-01 09:28:00" in text
    assert "total removed 5 added 6" in text
    assert "status" not in text


def test_any_two_versions_are_compared_the_older_one_first(
    log: Log, versions: list[Record], browse: Browse
) -> None:
    """Whichever of the two is selected; a version with itself differs in nothing."""
    first, _, paid, _, last = versions
    client = browse(log)
    for one, other in ((first, paid), (paid, first)):
        text = differences(see(client, f"/o/shop.Order/1?v={one.id}&against={other.id}"))
        assert "status removed draft added paid" in text
    text = differences(see(client, f"/o/shop.Order/1?v={last.id}&against=now"))
    assert "nothing is different" in text


def test_a_deleted_object_is_compared_as_gone(log: Log, browse: Browse) -> None:
    """From a version to now, all values went."""
    [first] = log.write(insert("shop.Order", "1", total=5))
    log.write(delete("shop.Order", "1", total=5))
    text = differences(see(browse(log), f"/o/shop.Order/1?v={first.id}&against=now"))
    assert "when it was deleted" in text
    assert "Field Before total 5" in text


def test_what_was_not_recorded_is_not_known_in_a_comparison(log: Log, browse: Browse) -> None:
    """A value first seen later is not shown as new."""
    [first] = log.write(update("shop.Order", "1", total=(1, 2)))
    log.write(update("shop.Order", "1", status=("a", "b")))
    text = differences(see(browse(log), f"/o/shop.Order/1?v={first.id}&against=now"))
    assert "status not known added b" in text


def test_versions_out_of_reach_are_refused(
    log: Log, versions: list[Record], browse: Browse
) -> None:
    """Of another object, or of none."""
    client = browse(log)
    for other in (versions[1].id, "x"):
        text = see(client, f"/o/shop.Order/1?v={versions[0].id}&against={other}", 404)
        assert "cannot be compared here" in text


def test_a_time_in_the_address_selects_the_version_then(
    log: Log, versions: list[Record], browse: Browse
) -> None:
    """The moment itself included; before the first there is none."""
    client = browse(log)
    state = see(client, "/o/shop.Order/1?at=2026-03-01T09:14").partition("The object after")[2]
    assert "total 5 status paid" in state
    assert "Newest" in see(client, "/o/shop.Order/1?at=2026-03-01T09:14")
    assert "not recorded at" in see(client, "/o/shop.Order/1?at=2026-02-01", 404)
    assert "is no time" in see(client, "/o/shop.Order/1?at=soon", 400)


def test_the_slider_leads_to_the_address_of_a_version(
    log: Log, versions: list[Record], browse: Browse
) -> None:
    """Counted from the oldest, on every page that shows one, without a script."""
    client = browse(log)
    page = client.get("/o/shop.Order/1").text
    assert 'type="range" name="nth" min="1" max="4" value="4"' in page
    form = re.search(r'name="older_than" value="([^"]+)"', page)
    assert form is not None
    log.write(update("shop.Order", "1", total=(6, 7)))  # moves no version
    address = f"/o/shop.Order/1?older_than={form[1]}&of=4"
    response = client.get(f"{address}&nth=2", follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"] == f"../../o/shop.Order/1?v={versions[2].id}"
    then = client.get("/o/shop.Order/1?at=2026-03-01T09:14").text
    assert 'max="2" value="2"' in then
    for wrong in ("0", "5", "x", "9" * 400):
        assert client.get(f"{address}&nth={wrong}").status_code == 404
    for wrong in ("0", "6", "x", "9" * 400):
        assert client.get(f"/o/shop.Order/1?nth=1&of={wrong}").status_code == 404


def test_what_was_changed_together_is_shown(
    log: Log, versions: list[Record], browse: Browse
) -> None:
    """The other records of the selected version's transaction."""
    client = browse(log)
    first = client.get(f"/o/shop.Order/1?v={versions[0].id}").text
    assert "created shop.Line 1" in words(first).partition("Changed together with it")[2]
    assert "Changed together" not in client.get("/o/shop.Order/1").text
