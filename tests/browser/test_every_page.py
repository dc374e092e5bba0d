"""Every page in a real browser: for all readers, narrow and wide, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from audit_ui.links import segment
from lifecycle.audit.records import Record
from tests.browser.conftest import Open, Shop
from tests.browser.shop import LONG_PATH, ORDER, ORDERS, RULES, SOURCE, ShopOrder, ShopSource

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
AXE_OF_LOOKS = {"type": "rule", "values": ["color-contrast", "link-in-text-block", "target-size"]}
"""What another width or other colours may break."""

LOOKS: list[tuple[Literal["light", "dark"], int, dict[str, Any]]] = [
    ("light", 1440, AXE),
    ("dark", 320, AXE_OF_LOOKS),
]

PAGES = (
    "feed",
    "filtered",
    "nothing",
    "entity",
    "object",
    "compared",
    "long",
    "deleted",
    "field",
    "record",
    "revision",
    "actor",
    "undo",
    "restore",
    "undelete",
    "undo-all",
    "views",
    "coverage",
    "help",
    "missing",
)


def newest(shop: Shop, model: type, key: object, operation: str = "update") -> Record:
    """The newest record of an object, of that operation."""
    records = shop.lifecycle.history.of(model, key)
    return next(record for record in records if record.operation == operation)


def address(shop: Shop, page: str) -> str:
    """Where a page of each kind is."""
    prices = newest(shop, ShopSource, RULES)
    order = newest(shop, ShopOrder, 2)
    return (
        shop.url
        + {
            "feed": "",
            "filtered": f"?entity={ORDER}&field=status&-operation=insert&actor=mei&since=30d",
            "nothing": "?actor=nobody",
            "entity": "o/sales.Customer/",
            "object": f"o/{ORDER}/1",
            "compared": f"o/{ORDER}/2?v={newest(shop, ShopOrder, 2, 'insert').id}&against=now",
            "long": f"o/{SOURCE}/{segment(LONG_PATH)}",
            "deleted": f"o/{ORDER}/{ORDERS}",
            "field": f"o/{ORDER}/1/f/status",
            "record": f"r/{prices.id}",
            "revision": f"t/{order.revision.id}",
            "actor": "a/mei",
            "undo": f"r/{newest(shop, ShopOrder, 1).id}/undo",
            "restore": f"o/{ORDER}/2/restore?v={newest(shop, ShopOrder, 2, 'insert').id}",
            "undelete": f"o/{ORDER}/{ORDERS}/restore",
            "undo-all": f"t/{prices.revision.id}/undo",
            "views": "views",
            "coverage": "-/coverage",
            "help": "-/help",
            "missing": f"o/{ORDER}/999",
        }[page]
    )


@pytest.mark.parametrize("kind", PAGES)
def test_it_fits_and_everybody_can_read_it(
    look: Open, shop: Shop, artifacts: Path, kind: str
) -> None:
    """Nothing is wider than the window, and axe finds nothing wrong, colours included."""
    page = look(address(shop, kind), expected=404 if kind == "missing" else 200)
    for scheme, width, rules in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=artifacts / f"{kind}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert sticking_out(page, width) == []
        assert flaws(page, rules) == []


def sticking_out(page: Page, width: int) -> list[str]:
    """The elements that reach beyond the window, unless they scroll by themselves."""
    found: list[str] = page.evaluate(
        """(width) => [...document.querySelectorAll("main *, header *")]
        .filter((e) => e.getBoundingClientRect().right > width + 0.5 && !e.closest("pre"))
        .map((e) => e.outerHTML.slice(0, 120))""",
        width,
    )
    return found


def flaws(page: Page, rules: dict[str, Any]) -> list[dict[str, Any]]:
    """What axe-core finds, as its rule and where."""
    from axe_playwright_python.sync_playwright import Axe

    report = Axe().run(page, options={"runOnly": rules})
    return [
        {"rule": one["id"], "where": [node["html"][:150] for node in one["nodes"]]}
        for one in report.response["violations"]
    ]


def test_a_theme_that_was_chosen_stays(look: Open, shop: Shop) -> None:
    """Whatever the system prefers, on every page and after a reload."""
    background = "getComputedStyle(document.body).backgroundColor"
    page = look(color_scheme="dark")
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) != dark
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    page.goto(address(shop, "help"))
    assert page.get_by_role("button", name="Theme: dark").is_visible()
    assert page.evaluate(background) == dark


def test_a_policy_breach_would_be_noticed(look: Open, complaints: list[str]) -> None:
    """These tests hear of what the pages' own policy forbids, which shows that they listen."""
    page = look()
    page.evaluate("document.body.setAttribute('onclick', 'window.breached = 1')")
    page.evaluate("document.body.click()")
    page.wait_for_function("reports.length > 0")
    assert page.evaluate("[reports.pop(), window.breached]") == ["script-src-attr: inline ", None]
    assert len(complaints) == 1
    assert "violates the following Content Security Policy" in complaints.pop()


def test_on_paper_there_is_the_history_and_nothing_to_press(look: Open, shop: Shop) -> None:
    """Printing leaves the buttons, filters and links between pages out."""
    page = look(address(shop, "object"))
    page.emulate_media(media="print")
    assert page.locator("h1").is_visible()
    assert page.locator(".comparison").first.is_visible()
    assert [one for one in (".top", ".skip", ".crumbs") if page.locator(one).is_visible()] == []


def test_a_page_is_light_to_fetch(look: Open, shop: Shop) -> None:
    """Styles and scripts of all pages are at most 40 KB, and nothing comes from elsewhere."""
    page = look()
    assets = page.evaluate(
        """() => performance.getEntriesByType("resource")
        .map((one) => [one.name, one.encodedBodySize])"""
    )
    assert all(name.startswith(shop.url) for name, _ in assets)
    own = {name.rpartition("/")[2]: size for name, size in assets if "/-/assets/" in name}
    assert {"pages.css", "pages.js"} <= set(own)
    assert sum(own.values()) <= 40_960
