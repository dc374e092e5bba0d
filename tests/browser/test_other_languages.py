"""The pages in German and Chinese in a real browser: long words fit, and the script speaks too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Open, Shop
from tests.browser.test_every_page import AXE, address, flaws, sticking_out

READERS = {
    "de-AT": ("de", "Ortszeit", "Zeit seither", "Farben: dunkel", "Tasten aus"),
    "zh-CN": ("zh-Hans", "本地时间", "相对时间", "主题：深色", "快捷键关"),  # noqa: RUF001
}


@pytest.mark.parametrize("kind", ["feed", "object", "record", "undo", "coverage", "help"])
@pytest.mark.parametrize("reader", READERS)
def test_it_fits_in_another_language(
    look: Open, shop: Shop, artifacts: Path, reader: str, kind: str
) -> None:
    """On a telephone and on a desk, and axe finds nothing wrong."""
    page = look(address(shop, kind), locale=reader)
    assert page.locator("html").get_attribute("lang") == READERS[reader][0]
    for width in (320, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=artifacts / f"{kind}-{reader}-{width}.png", full_page=True)
        assert sticking_out(page, width) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert flaws(page, AXE) == []


@pytest.mark.parametrize("reader", READERS)
def test_the_script_speaks_the_language_of_the_page(look: Open, reader: str) -> None:
    """What it writes onto buttons, and how it tells times."""
    _lang, local, ago, dark, off = READERS[reader]
    page = look(locale=reader)
    zone, theme, keys = (
        page.locator(f"[data-toggle={name}]") for name in ("zone", "theme", "keys")
    )
    assert zone.text_content() == local
    zone.click()
    zone.click()
    assert zone.text_content() == ago
    times = page.locator("main time").first.text_content() or ""
    assert "ago" not in times
    assert ("vor" if reader == "de-AT" else "前") in times
    theme.click()
    theme.click()
    assert theme.get_attribute("title") == dark
    keys.click()
    assert keys.text_content() == off
