"""The search box says the same as the form, and finds what it says."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from audit_ui.errors import Mistake
from audit_ui.filters import NAMES, Filters, Term
from audit_ui.search import parse, render
from tests.ui.conftest import Log, insert, update

Browse = Callable[..., TestClient]

FILTERS = st.lists(st.builds(Term, st.sampled_from(NAMES), st.text(min_size=1), st.booleans())).map(
    Filters.ordered
)


@given(FILTERS)
def test_what_is_written_is_read_again(filters: Filters) -> None:
    """Every set of filters has a line, and that line means those filters."""
    assert parse(render(filters)) == filters


@given(FILTERS)
def test_an_address_holds_the_filters(filters: Filters) -> None:
    """The parameters of a link read back as the filters they were made of."""
    pairs = [(name, value) for name, values in filters.params().items() for value in values]
    assert Filters.of(pairs) == filters


@given(st.text())
def test_any_line_is_read_or_refused(line: str) -> None:
    """Whatever is typed is a set of filters, or an error of the reader's with advice."""
    try:
        filters = parse(line)
    except Mistake as mistake:
        refused = mistake
    else:
        assert parse(render(filters)) == filters
        return
    assert refused.status == 400
    assert refused.detail


def test_qualifiers_and_words_together() -> None:
    """Names people know from elsewhere, quotes, what is not wanted, and plain words."""
    assert parse('by:ann Model:Invoice -action:update reason:"price fix" since:7d  ACME') == (
        Filters(
            (
                Term("entity", "Invoice"),
                Term("actor", "ann"),
                Term("operation", "update", negated=True),
                Term("text", "ACME"),
                Term("reason", "price fix"),
                Term("since", "7d"),
            )
        )
    )
    assert parse("  ") == Filters()


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("acter:ann", "'acter' is no filter"),
        ("actor:", "'actor:' cannot be understood"),
        ('reason:"open', "'reason:\"open' cannot be understood"),
        ('actor:""', "actor: has no value"),
        ("since:7d since:1d", "since: is given twice"),
        ("-since:7d", "since: cannot be turned round"),
    ],
)
def test_what_is_wrong_in_a_line_is_said(line: str, title: str) -> None:
    """A line that cannot be meant is refused with advice, never half understood."""
    with pytest.raises(Mistake) as caught:
        parse(line)
    assert caught.value.title == title
    assert "Did you mean actor:?" in caught.value.detail or line != "acter:ann"


def test_the_box_leads_to_the_address_of_the_form(log: Log, browse: Browse) -> None:
    """A search has one address, which holds what was asked and fills the box and the form."""
    log.write(insert("shop.Order", "1", total=5))
    client = browse(log)
    response = client.get("/?q=actor:ann+-field:tax", follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"] == "./?actor=ann&-field=tax"
    text = client.get("/?actor=ann&-field=tax").text
    assert 'name="q" value="actor:ann -field:tax"' in text
    assert 'name="actor" value="ann"' in text
    assert '<input type="hidden" name="-field" value="tax">' in text


@pytest.mark.parametrize(
    ("query", "title"),
    [("operation=drop", "operation"), ("no=key", "without"), ("revision=x", "revision id")],
)
def test_filters_that_mean_nothing_are_refused(
    log: Log, browse: Browse, query: str, title: str
) -> None:
    """Also where they are not wanted, or one of several."""
    client = browse(log)
    for form in (query, f"-{query}", f"{query}&{query}2"):
        response = client.get(f"/?{form}")
        assert response.status_code in (400, 404), form
        assert title in response.text


def test_a_search_looks_so_far_and_goes_on_from_there(
    log: Log, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rare its records are, a page costs the same; no match is lost between pages."""
    monkeypatch.setattr("audit_ui.reading.LOOKED_AT", (10, 20))
    monkeypatch.setattr("audit_ui.views.feed.LOOKED_AT", (10, 20))
    for i in range(100):
        field = "rare" if i % 33 == 0 else "often"
        log.write(update("shop.Order", str(i), {}, **{field: (i, i + 1)}), reason=f"no {i}")
    client = browse(log)
    path, seen, pages = "./?field=rare", list[str](), 0
    while path:
        log.store.asked.clear()
        page = client.get(f"/{path.removeprefix('./')}".replace("&amp;", "&")).text
        assert len(log.store.asked) <= 3
        seen += re.findall(r"no (\d+)<", page)
        pages += 1
        next_page = re.search(r'href="([^"]+)" rel="next"', page)
        path = next_page[1] if next_page else ""
    assert seen == ["99", "66", "33", "0"]
    assert pages == 4
    first = client.get("/?field=rare").text
    assert "The search looks at 30 changes at a time" in first
    assert "Nothing of that kind among the 30 changes" in client.get("/?field=none").text


def test_a_search_goes_back_to_what_is_newer(log: Log, browse: Browse) -> None:
    """The page before a page of found records has those, and no other."""
    for i in range(120):
        log.write(update("shop.Order", str(i), {}, **{"ab"[i % 2]: (i, i + 1)}), reason=f"no {i}")
    client = browse(log)
    first = client.get("/?field=a").text
    older = re.search(r'href="\./([^"]+)" rel="next"', first)
    assert older is not None
    second = client.get(f"/{older[1]}".replace("&amp;", "&")).text
    newer = re.search(r'href="\./([^"]+)" rel="prev"', second)
    assert newer is not None
    again = client.get(f"/{newer[1]}".replace("&amp;", "&")).text
    assert re.findall(r"no (\d+)<", again) == re.findall(r"no (\d+)<", first)
    assert re.findall(r"no (\d+)<", second) == [str(i) for i in range(18, -1, -2)]


@pytest.mark.parametrize(
    ("query", "entity"),
    [
        ("entity=a", "a"),
        ("q=entity:a", "a"),
        ("entity=a&entity=b", None),
        ("q=%22", None),
        ("", None),
    ],
)
def test_access_is_asked_for_what_a_search_shows(
    log: Log, browse: Browse, query: str, entity: str | None
) -> None:
    """One entity only where nothing else can be found; else the right to see all is needed."""
    asked: list[str | None] = []

    def access(user: object, action: str, subject: object) -> bool:
        asked.append(subject.entity)  # type: ignore[attr-defined]
        return False

    assert browse(log, access=access).get(f"/?{query}").status_code == 403
    assert asked == [entity]
