"""Every text of the pages goes through a catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.texts import TEMPLATES, unmarked, unmarked_mistakes

AS_IT_IS = {
    # What is typed into the search is the same in every language.
    "actor:ann entity:shop.Order field:price -operation:update since:7d",
    # An Atom feed's own ids.
    "urn:lifecycle:feed:",
    "urn:lifecycle:record:",
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_text_of_a_template_is_left_unmarked(template: Path) -> None:
    """Neither between tags, nor in what is read out, nor in a template's expressions."""
    assert [text for text in unmarked(template.read_text()) if text not in AS_IT_IS] == []


def test_an_unmarked_text_would_be_found() -> None:
    """In each of the three places, and not where it is marked or code."""
    assert unmarked("<p>Hello</p>") == ["Hello"]
    assert unmarked('<a title="To the start" href="x">{{ _("Start") }}</a>') == ["To the start"]
    assert unmarked('{{ name or "no name" }}') == ["no name"]
    assert unmarked('<p>{{ _("Hello") }} <code>lifecycle seal</code></p>') == []


def test_no_error_is_left_unmarked() -> None:
    """Every page that says what is wrong says it in the reader's language."""
    assert list(unmarked_mistakes()) == []
