"""Addresses survive browsers, servers and proxies, whatever they name and wherever they stand."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit_ui.links import Links, locate, page_path, segment, unsegment

LINKS = Links("../", {"pages.css": "abc"})

TEXTS = st.text(st.characters(codec=None), max_size=40)  # lone surrogates included


@given(TEXTS)
@example("")
@example(".")
@example("..")
@example("a/b\\c%2F~1~")
@example("?x=1#y;z")
@example("\x00\r\n\ud800")
@example("🎉 ünï")
def test_a_segment_gives_back_its_text_and_nothing_rewrites_it(text: str) -> None:
    """Any text comes back from its segment, and a browser resolves the link as it is."""
    link = segment(text)
    assert unsegment(unquote(link)) == text
    assert link.isascii()
    assert not set(link) & set("/\\?#")
    resolved = urlsplit(urljoin("http://host/audit/r/5", f"../o/E/{link}")).path
    assert resolved == f"/audit/o/E/{link}"
    assert unquote(unquote(link)) == unquote(link), "a proxy may decode it twice"


@pytest.mark.parametrize("text", ["~", "~9", "a~x", "~u12", "~u00zz"])
def test_an_unknown_escape_is_refused(text: str) -> None:
    """A segment this module cannot have written is an error, not a guess."""
    with pytest.raises(ValueError, match="no escape"):
        unsegment(text)


def test_links_name_the_pages_below_the_mount() -> None:
    """Each kind of page has its address, all relative to the page they stand on."""
    revision = UUID(int=7)
    assert LINKS.feed() == "../"
    assert LINKS.feed(actor="a&b", key="") == "../?actor=a%26b"
    assert LINKS.entity("shop.Order") == "../o/shop.Order/"
    assert LINKS.object("shop.Order", "a/b", v="x.1") == "../o/shop.Order/a~1b?v=x.1"
    assert LINKS.record("x.1") == "../r/x.1"
    assert LINKS.revision(revision) == f"../t/{revision}"
    assert LINKS.actor("") == "../a/~3"
    assert LINKS.asset("pages.css") == "../-/assets/abc/pages.css"


def scope(path: str, root: str = "", raw: str | None = None, **more: Any) -> dict[str, Any]:
    found = {"type": "http", "path": path, "root_path": root, **more}
    return found if raw is None else {**found, "raw_path": raw.encode()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(scope("/r/5"), "/r/5", id="alone"),
        pytest.param(scope("/audit/r/5", "/audit"), "/r/5", id="mounted"),
        pytest.param(
            scope("/audit/r/5", "/api/audit", app_root_path="/api"), "/r/5", id="proxy strips"
        ),
        pytest.param(
            scope("/api/audit/r/5", "/api/audit", app_root_path="/api"), "/r/5", id="proxy keeps"
        ),
        pytest.param(scope("/r/5/", ""), "/r/5/", id="host strips and adds a slash"),
        pytest.param(scope("/r/5", "/audit"), "/r/5", id="host strips the path only"),
        pytest.param(scope("/audit", "/audit"), "", id="bare mount"),
        pytest.param(scope("/auditor/r/5", "/audit"), "/auditor/r/5", id="prefix of a name only"),
    ],
)
def test_the_page_path_is_what_lies_below_the_mount(given: dict[str, Any], expected: str) -> None:
    """Every way hosts and proxies report the mount leads to the same page path."""
    assert page_path(given) == expected


@pytest.mark.parametrize(
    ("given", "path", "root", "moved"),
    [
        pytest.param(scope("/audit/", "/audit", "/audit/"), "/", "./", None, id="feed"),
        pytest.param(scope("/audit/r/5", "/audit", "/audit/r/5"), "/r/5", "../", None, id="record"),
        pytest.param(
            scope("/audit/o/E/", "/audit", "/audit/o/E/"), "/o/E/", "../../", None, id="entity"
        ),
        pytest.param(
            scope("/audit/o/E/k", "/audit", "/audit/o/E/k"), "/o/E/k", "../../", None, id="object"
        ),
        pytest.param(scope("/audit", "/audit", "/audit"), "/", "./", "./audit/", id="bare mount"),
        pytest.param(scope("/o/E", "", "/o/E"), "/o/E/", "../", "./E/", id="entity without slash"),
        pytest.param(scope("/r/5/", "", "/r/5/"), "/r/5", "../../", "../5", id="record with slash"),
        pytest.param(
            scope("/r/5/", "", "/audit/r/5"), "/r/5", "../", None, id="slash added by the host"
        ),
        pytest.param(scope("/", "", "/audit"), "/", "./", "./audit/", id="bare mount, stripped"),
        pytest.param(
            scope("/o/E/a/b", "", "/o/E/a%2Fb"), "/o/E/a/b", "../../", None, id="quoted slash"
        ),
        pytest.param(scope("/r/5"), "/r/5", "../", None, id="no raw path"),
    ],
)
def test_links_count_from_where_the_browser_is(
    given: dict[str, Any], path: str, root: str, moved: str | None
) -> None:
    """The way to the feed, and to a page's one address, fits what the browser asked for."""
    place = locate(given)
    assert (place.path, place.root, place.moved) == (path, root, moved)
