"""The strip of the last days, newer changes, views, and the net of a revision."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

import audit_ui
from audit_ui.activity import DAYS, Activity, drawn
from lifecycle.changes import Change
from lifecycle.errors import ConfigurationError
from tests.ui.conftest import START, Log, delete, everyone, insert, update
from tests.ui.test_pages import see

Browse = Callable[..., TestClient]


def test_each_day_is_counted_once_when_it_is_over(log: Log) -> None:
    """Up to a limit; today is counted again after a minute, and so is a day that just ended."""
    for i in range(5):
        log.write(insert("shop.Order", str(i), total=i))
    activity = Activity()
    tomorrow = START + timedelta(days=1)
    days = activity.days(log.store, tomorrow)
    assert [day.count for day in days[-3:]] == [0, 5, 0]
    assert log.store.counted == [DAYS]
    for later, asked in ((30, []), (70, [1])):
        log.store.counted.clear()
        activity.days(log.store, tomorrow + timedelta(seconds=later))
        assert log.store.counted == asked


def test_the_strip_is_an_image_without_style_or_script(log: Log, browse: Browse) -> None:
    """One bar a day, in SVG that every policy lets through."""
    log.write(insert("shop.Order", "1", total=1))
    response = browse(log).get("/-/activity.svg")
    assert response.headers["content-type"] == "image/svg+xml"
    image = ElementTree.fromstring(response.text)
    assert len(image.findall("{http://www.w3.org/2000/svg}rect")) == DAYS
    assert "style" not in response.text
    assert drawn([])


def test_the_strip_is_seen_by_those_who_see_the_feed(log: Log, browse: Browse) -> None:
    """And by nobody else."""
    assert browse(log, access=lambda *asked: False).get("/-/activity.svg").status_code == 403
    assert 'src="./-/activity.svg"' not in browse(log).get("/?actor=ann").text


def test_newer_changes_are_one_link_away(log: Log, browse: Browse) -> None:
    """Without a script a link looks for them; with one it is asked for as JSON."""
    log.write(insert("shop.Order", "1", total=1))
    client = browse(log)
    page = client.get("/?actor=ann").text
    link = re.search(r'<a href="\./([^"]+)" data-live="\./([^"]+)"', page)
    assert link is not None
    later, asked = (found.replace("&amp;", "&") for found in link.groups())
    assert client.get(f"/{asked}").json()["records"] == []
    assert "nothing further" in see(client, f"/{later}")
    log.write(insert("shop.Order", "2", total=2))
    log.write(insert("shop.Order", "3", total=2), actor="bob")
    assert [record["key"] for record in client.get(f"/{asked}").json()["records"]] == ["2"]


def test_views_of_the_host_have_names(log: Log, browse: Browse) -> None:
    """Searches an admin needs every day, one click away, the present one marked."""
    log.write(insert("shop.Order", "1", total=1))
    client = browse(log, views={"Gone <today>": "operation:delete since:24h"})
    assert 'href="./?operation=delete&amp;since=24h">Gone &lt;today&gt;' in client.get("/").text
    page = client.get("/?operation=delete&since=24h").text
    assert 'aria-current="true">Gone' in page


@pytest.mark.parametrize("line", ["acter:ann", "operation:drop", "since:never", "key:7"])
def test_a_view_that_is_no_search_is_refused_at_set_up(log: Log, line: str) -> None:
    """With its name, not when an admin needs it."""
    with pytest.raises(ConfigurationError, match="'Mine' is no search"):
        audit_ui.create_app(log.store, access=everyone, views={"Mine": line})


def test_a_revision_is_shown_net_too(log: Log, browse: Browse) -> None:
    """One line an object: what it came to, and nothing of what came and went."""
    records = log.write(
        insert("shop.Order", "1", total=1),
        update("shop.Order", "1", total=(1, 2)),
        update("shop.Order", "2", total=(5, 6)),
        update("shop.Order", "2", total=(6, 7)),
        insert("shop.Order", "3", total=1),
        delete("shop.Order", "3", total=1),
    )
    client = browse(log)
    address = f"/t/{records[0].revision.id}"
    assert f'href="../t/{records[0].revision.id}?view=net">net' in client.get(address).text
    text = see(client, f"{address}?view=net")
    assert "created shop.Order 1 total 2" in text
    assert "updated shop.Order 2 total removed 5 → added 7" in text
    assert "shop.Order 3" not in text
    found = client.get(f"{address}.json?view=net").json()["records"]
    assert [record["changes"] for record in found] == [{"total": 2}, {"total": [5, 7]}]


def test_a_net_that_cannot_be_told_is_not(
    log: Log, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many records, records that contradict each other, or nothing left: each is worded."""
    client = browse(log)
    [first, _] = log.write(
        update("shop.Order", "1", total=(1, 2)), update("shop.Order", "1", total=(2, 1))
    )
    assert "nothing was different" in see(client, f"/t/{first.revision.id}?view=net")
    [odd, _] = log.write(
        delete("shop.Order", "1", total=2),
        update("shop.Order", "1", {"total": Change(2, 1)}),
    )
    assert "do not add up" in see(client, f"/t/{odd.revision.id}?view=net", 409)
    monkeypatch.setattr("audit_ui.views.revision.NET", 1)
    assert "too many to sum up" in see(client, f"/t/{first.revision.id}?view=net")
