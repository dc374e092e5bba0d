"""An admin's job in a real browser: who changed this, when, what was it before."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lifecycle import acting
from tests.browser.conftest import Open, Shop, follow
from tests.browser.shop import ORDER, ShopOrder, ShopSource

if TYPE_CHECKING:
    from playwright.sync_api import Page

WRONG = "typed field:total=1790.00 actor:ann since:7d"
"""What finds the total that somebody typed into the wrong order."""


def heading(page: Page) -> str:
    return page.locator("h1").inner_text()


def path_of(page: Page, shop: Shop) -> str:
    assert page.url.startswith(shop.url), page.url
    return page.url.removeprefix(shop.url)


def test_from_a_search_to_what_it_was_before(look: Open, shop: Shop) -> None:
    """A search, the record it finds, the object, how it differs from now, all of that hour."""
    page = look()
    page.get_by_role("searchbox").fill(WRONG)
    follow(page.get_by_role("button", name="Search"))
    assert path_of(page, shop) == "?actor=ann&field=total%3D1790.00&text=typed&since=7d"
    rows = page.locator(".record")
    assert rows.count() == 1
    assert "typed into the wrong order" in page.locator(".feed").inner_text()

    follow(rows.get_by_role("link", name="Details of this change to Order 2026-1001"))
    assert heading(page).startswith("updated Order 2026-1001")
    assert cells(page)["total"] == ["17.90", "1790.00"]

    follow(page.get_by_role("link", name="Previous change"))
    assert cells(page)["status"] == ["paid", "shipped"]
    follow(page.get_by_role("link", name="Next change"))
    follow(page.get_by_role("heading", level=1).get_by_role("link"))
    assert path_of(page, shop) == f"o/{ORDER}/1"

    follow(page.locator(".timeline").get_by_role("link", name="created"))
    follow(page.get_by_role("navigation", name="Compare with").get_by_role("link", name="now"))
    assert cells(page)["total"] == ["17.90", "1790.00"]

    follow(page.locator("main").get_by_role("link", name="Ann Keller").first)
    assert heading(page).startswith("Ann Keller")
    follow(page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link").first)
    assert heading(page) == "All changes"


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])
def test_what_was_wrong_is_put_back(look: Open, shop: Shop, script: bool) -> None:
    """Looked at first, given a reason, done, recorded by name; and that is undone the same way."""
    page = look(f"{shop.url}?reason=typed", java_script_enabled=script)
    follow(page.locator(".record .details").first)
    follow(page.get_by_role("link", name="Undo this change"))
    row = page.get_by_role("row", name="total")
    assert row.get_by_role("checkbox").is_checked()
    assert "1790.00" in row.inner_text()
    assert total(shop) == "1790.00", "looking changes nothing"
    page.get_by_label("Reason").fill("it was meant for another order")
    follow(page.get_by_role("button", name="Undo this change"))
    page.get_by_role("status").wait_for()
    assert total(shop) == "17.90"
    assert "it was meant for another order" in page.locator("main").inner_text()
    done = shop.lifecycle.history.of(ShopOrder, 1)
    assert next(iter(done)).actor == "ann"

    follow(page.get_by_role("link", name="Undo this", exact=True))
    follow(page.get_by_role("button", name="Undo"))
    page.get_by_role("status").wait_for()
    assert total(shop) == "1790.00"


def total(shop: Shop) -> str:
    with shop.sessions() as session:
        return str(session.get_one(ShopOrder, 1).total)


def test_a_form_of_another_site_puts_nothing_back(
    look: Open, shop: Shop, complaints: list[str]
) -> None:
    """The browser says where a form comes from, and the pages listen."""
    page = look(f"{shop.url}?reason=typed")
    deed = page.locator(".record .details").first.evaluate("(link) => link.href") + "/undo"
    elsewhere = look()
    elsewhere.route(
        "http://elsewhere.test/",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f"<form method=post action='{deed}'><button name=shown>Win</button></form>",
        ),
    )
    elsewhere.goto("http://elsewhere.test/")
    with elsewhere.expect_navigation() as caught:
        elsewhere.get_by_role("button").click()
    assert caught.value.status == 403
    assert heading(elsewhere) == "This was not asked for on these pages"
    assert "status of 403" in complaints.pop()
    assert total(shop) == "1790.00"


def cells(page: Page) -> dict[str, list[str]]:
    """The first comparison on the page: the cells of each row by its field."""
    found: dict[str, list[str]] = page.evaluate(
        """() => Object.fromEntries(
        [...document.querySelector("table.comparison").tBodies[0].rows].map((row) =>
          [row.cells[0].innerText, [...row.cells].slice(1).map((cell) => {
            const copy = cell.cloneNode(true);
            for (const hidden of copy.querySelectorAll(".sr")) hidden.remove();
            return copy.textContent.trim();
          })]))"""
    )
    return found


def test_without_javascript_it_is_the_same_job(look: Open, shop: Shop) -> None:
    """Search, form, details, slider, comparison and paging are plain links and forms."""
    page = look(java_script_enabled=False)
    assert page.get_by_text("Times in UTC").is_visible()
    assert page.locator("button[data-toggle]:visible").count() == 0
    page.get_by_role("searchbox").fill(WRONG)
    with page.expect_navigation():
        page.get_by_role("searchbox").press("Enter")
    assert page.locator(".record").count() == 1
    assert page.get_by_label("Field").input_value() == "total=1790.00"

    page.get_by_label("Field").fill("status")
    page.get_by_label("Actor").fill("")
    page.get_by_label("Words").fill("")
    follow(page.get_by_role("button", name="Filter", exact=True))
    assert page.locator(".record").count() > 1
    follow(page.locator(".record .object").first)
    assert "Order 2026-" in heading(page)

    page.goto(f"{shop.url}o/{ORDER}/2")
    page.get_by_label("Version 4 of 4").fill("1")
    follow(page.get_by_role("button", name="Show"))
    assert page.get_by_label("Version 1 of 4").is_visible()
    page.get_by_label("Another version").select_option(index=0)
    follow(page.get_by_role("button", name="Compare"))
    assert "against=" in page.url
    assert page.get_by_text(re.compile("^From .* to ")).is_visible()

    page.goto(f"{shop.url}o/repo.File/shop~1pricing~1rules.py")
    assert page.locator(".lines .added ins").inner_text().split() == ["added", "net_total"]
    page.goto(shop.url)
    page.locator(".record summary").first.click()
    assert page.locator(".record details[open] dt").count() > 0


def test_with_the_keyboard_alone(look: Open, shop: Shop) -> None:
    """From the search to an older version and back, no pointer touched; ? tells how."""
    page = look()
    press = page.keyboard.press
    press("/")
    page.keyboard.type(WRONG)
    press("Enter")
    page.wait_for_url(re.compile("field=total"))
    press("j")
    press("Enter")
    page.wait_for_url(re.compile(r"/r/"))
    newest = page.url
    press("p")
    page.wait_for_url(lambda url: url != newest)
    press("n")
    page.wait_for_url(newest)

    page.goto(f"{shop.url}o/{ORDER}/2")
    for key, version in (("[", 3), ("[", 2), ("]", 3)):
        press(key)
        page.get_by_label(f"Version {version} of 4").wait_for()
    press("?")
    page.wait_for_url(re.compile(r"/-/help$"))


def test_tab_goes_everywhere_and_shows_where_it_is(look: Open, shop: Shop) -> None:
    """First past the frame to the content, then through everything, each with a visible outline."""
    page = look(f"{shop.url}o/{ORDER}/2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.reload()
    reached = 0
    for _ in range(200):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
            const at = document.activeElement;
            if (at === document.body) return "";
            const box = at.getBoundingClientRect();
            const seen = box.width > 0 && box.top < innerHeight && box.bottom > 0;
            return `${getComputedStyle(at).outlineStyle}${seen ? "" : ", out of sight"}`;
            }"""
        )
        if not outline:
            break
        assert outline == "solid", page.evaluate("document.activeElement.outerHTML")
        reached += 1
    everything = "main :is(a, button, input:not([type=hidden]), select, summary):not([hidden])"
    assert reached >= page.locator(everything).count() > 20


def test_keys_do_nothing_while_typing_or_switched_off(look: Open, shop: Shop) -> None:
    """A letter typed into a field stays there; the button switches the keys off for good."""
    page = look()
    page.get_by_role("searchbox").click()
    page.keyboard.type("t?")
    assert page.get_by_role("searchbox").input_value() == "t?"
    assert page.get_by_role("button", name="Theme: auto").is_visible()
    page.get_by_role("button", name="Keys on").click()
    page.goto(shop.url)
    assert page.get_by_role("button", name="Keys off").is_visible()
    page.keyboard.press("t")
    assert page.get_by_role("button", name="Theme: auto").is_visible()


def test_times_are_those_of_the_reader_or_utc(look: Open, shop: Shop) -> None:
    """In the browser's own zone, exact to the microsecond in the title; one button for UTC."""
    page = look(f"{shop.url}o/{ORDER}/2", timezone_id="Asia/Kathmandu")
    time = page.locator(".facts time").first
    local, exact = time.inner_text(), time.get_attribute("title")
    assert exact is not None
    assert re.fullmatch(r"[-0-9]{10} [:0-9]{8}\.345678\+00:00", exact)
    ahead = datetime.fromisoformat(local) - datetime.fromisoformat(exact[:19])
    assert ahead == timedelta(hours=5, minutes=45)
    page.get_by_role("button", name="Local time").click()
    assert time.inner_text() == exact[:19]


def test_newer_changes_are_announced_as_they_come(look: Open, shop: Shop) -> None:
    """The page that is open learns of a change, says so politely, and shows it when asked."""
    page = look(f"{shop.url}?entity=repo.File")
    page.clock.install()
    page.reload()
    shown = page.locator(".record").count()
    with acting("bob", label="Bob Osei"), shop.sessions.begin() as session:
        session.get_one(ShopSource, "docs/README.md").text = "# The shop\n"
    page.clock.run_for(10_500)
    follow(page.get_by_role("link", name="1 newer change: show"))
    page.wait_for_function(f"document.querySelectorAll('.record').length === {shown + 1}")
    with shop.sessions.begin() as session:
        session.get_one(ShopSource, "docs/README.md").text = "# Shop\n"


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])
def test_a_view_of_ones_own_is_kept_and_forgotten(look: Open, shop: Shop, script: bool) -> None:
    """A search gets a name, is there on the next visit, and goes when it is not wanted."""
    page = look(f"{shop.url}?actor=ann&field=total", java_script_enabled=script)
    page.get_by_role("textbox", name="A name for this view").fill("<b>Ann's totals</b>")
    follow(page.get_by_role("button", name="Keep this view"))
    assert path_of(page, shop) == "?actor=ann&field=total"
    page.goto(f"{shop.url}o/{ORDER}/")
    follow(page.get_by_role("link", name="<b>Ann's totals</b>"))
    assert path_of(page, shop) == "?actor=ann&field=total"
    follow(page.get_by_role("navigation", name="Site").get_by_role("link", name="Views"))
    follow(page.get_by_role("button", name="Forget the view <b>Ann's totals</b>"))
    assert path_of(page, shop) == "views"
    page.goto(shop.url)
    assert page.get_by_role("link", name="Ann's totals").count() == 0


def test_the_slider_moves_through_the_versions(look: Open, shop: Shop) -> None:
    """Letting go of it is enough; the arrow keys do."""
    page = look(f"{shop.url}o/{ORDER}/2")
    page.get_by_label("Version 4 of 4").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_label("Version 3 of 4").wait_for()


@pytest.mark.parametrize("form", ["CSV", "JSON Lines"])
def test_what_is_shown_can_be_taken_away(look: Open, shop: Shop, form: str) -> None:
    """An export is a file with a name and holds what the filter finds."""
    page = look(f"{shop.url}?actor=ann&field=total")
    with page.expect_download() as caught:
        page.get_by_role("link", name=form, exact=True).click()
    download = caught.value
    assert re.fullmatch(r"history-\w+\.(csv|jsonl)", download.suggested_filename)
    content = download.path().read_text()
    assert "1790.00" in content
    assert ShopOrder.__name__ not in content
