"""Paging by position: every record exactly once, in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from tests.ui.conftest import Log, insert, update

Browse = Callable[..., TestClient]

RECORD = re.compile(r'class="details" href="[^"]*r/([^"]+)"')
OLDER = re.compile(r'href="([^"]*)" rel="next"')
NEWER = re.compile(r'href="([^"]*)" rel="prev"')


def pages(client: TestClient, path: str, link: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """The pages from an address on, as address and text, following one kind of link."""
    while True:
        text = client.get(path).text
        yield path, text
        found = link.search(text)
        if found is None:
            return
        path = urljoin(path, unescape(found[1]))


@pytest.fixture
def written(log: Log) -> tuple[Log, list[str]]:
    """Revisions of many sizes, some larger than a page, and the ids of their records."""
    ids = []
    for size in (1, 120, 3, 49, 1, 50, 51, 7):
        records = log.write(*(insert("bulk.Row", f"{size}/{n}", n=n) for n in range(size)))
        ids += [record.id for record in records]
    return log, ids


@pytest.mark.parametrize("start", ["/", "/?entity=bulk.Row", "/?actor=ann&since=2026-01-01"])
def test_older_walks_every_record_once_from_the_newest(
    written: tuple[Log, list[str]], browse: Browse, start: str
) -> None:
    """No record is missing or shown twice, and filters stay in the links."""
    log, ids = written
    walked = list(pages(browse(log), start, OLDER))
    seen = [record for _, text in walked for record in RECORD.findall(text)]
    assert seen == ids[::-1]
    assert [len(RECORD.findall(text)) for _, text in walked] == [50] * 5 + [32]


def test_newer_walks_the_same_way_back(written: tuple[Log, list[str]], browse: Browse) -> None:
    """From the oldest page, every record comes once until the newest."""
    log, ids = written
    client = browse(log)
    last, text = list(pages(client, "/", OLDER))[-1]
    seen = RECORD.findall(text)[::-1]
    back = list(pages(client, last, NEWER))[1:]
    for _, text in back:
        seen += RECORD.findall(text)[::-1]
    assert seen == ids
    assert "Newest" in back[-1][1]


def test_a_revision_larger_than_a_page_goes_on(
    written: tuple[Log, list[str]], browse: Browse
) -> None:
    """On its own page it is read in the order written; in the feed it is marked as continued."""
    log, ids = written
    client = browse(log)
    revision = ids[1].partition(".")[0]
    seen = [
        record
        for _, text in pages(client, f"/t/{revision}", OLDER)
        for record in RECORD.findall(text)
    ]
    assert seen == ids[1:121]
    assert any("continued" in text for _, text in pages(client, "/", OLDER))


def test_an_actor_is_paged_too(written: tuple[Log, list[str]], browse: Browse) -> None:
    """Fifty a page, every record once."""
    log, ids = written
    seen = [
        record for _, text in pages(browse(log), "/a/ann", OLDER) for record in RECORD.findall(text)
    ]
    assert seen == ids[::-1]


def test_a_long_timeline_is_paged_over_renames(log: Log, browse: Browse) -> None:
    """Every version of an object appears once, its former keys included."""
    ids = [log.write(insert("repo.File", "a", size=0))[0].id]
    ids += [log.write(update("repo.File", "a", size=(i, i + 1)))[0].id for i in range(70)]
    ids += [log.write(update("repo.File", "b", former_key="a"))[0].id]
    ids += [log.write(update("repo.File", "b", size=(i, i + 1)))[0].id for i in range(70)]
    walked = pages(browse(log), "/o/repo.File/b", OLDER)
    seen: list[str] = []
    for _, text in walked:
        timeline = text.partition('class="timeline"')[2].partition("</section>")[0]
        seen += re.findall(r"\?v=([0-9a-f-]+\.\d+)", timeline)
    assert seen == ids[::-1]


def test_every_version_can_be_selected_wherever_it_stands(log: Log, browse: Browse) -> None:
    """A link to an old version shows it, its state then, and the way back to newer ones."""
    first = log.write(insert("shop.Order", "1", total=0, note="kept"))[0]
    versions = [log.write(update("shop.Order", "1", total=(i, i + 1)))[0] for i in range(120)]
    client = browse(log)
    for version, total in ((first, 0), (versions[9], 10), (versions[119], 120)):
        text = client.get(f"/o/shop.Order/1?v={version.id}").text
        timeline = text.partition('class="timeline"')[2].partition("</section>")[0]
        assert re.search(rf'v={re.escape(version.id)}" aria-current="true"', timeline)
        state = re.sub(r"<[^>]*>|\s+", " ", text.partition("The object after")[2])
        assert re.search(rf"total +{total} ", state)
        assert "kept" in state
    assert NEWER.search(client.get(f"/o/shop.Order/1?v={first.id}").text)
