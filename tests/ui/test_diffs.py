"""Changes as rows: what people need to see to know what happened."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from audit_ui.briefs import brief
from audit_ui.diffs import ROWS, Row, Side, state_table, table
from audit_ui.values import shown
from audit_ui.wording import Fragment, Line, compared_lines, compared_words, folded
from lifecycle.changes import (
    ABSENT,
    MASKED,
    UNKNOWN,
    Change,
    ChangeSet,
    Delta,
    ListEdit,
    Operation,
    SetEdit,
    Splice,
    Within,
    diff,
)
from lifecycle.codec import Opaque


class Colour(Enum):
    RED = "#f00"


def rows(deltas: dict[str, Delta], operation: Operation = Operation.UPDATE) -> tuple[Row, ...]:
    return table(ChangeSet(deltas, operation)).rows


def row(old: Any, new: Any) -> Row:
    return rows({"field": Change(old, new)})[0]


def text(side: Side | None) -> str:
    assert side is not None
    return "".join(fragment.text for fragment in side.fragments)


def marked(fragments: tuple[Fragment, ...], mark: str) -> list[str]:
    return [fragment.text for fragment in fragments if fragment.mark == mark]


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, "null", "NULL"),
        ("", "empty", "empty text"),
        (ABSENT, "absent", "no value"),
        (UNKNOWN, "unknown", "not known"),
        (MASKED, "masked", "hidden"),
        ("NULL", "text", "NULL"),
        (True, "plain", "true"),
        (12, "plain", "12"),
        pytest.param(10**5000, "plain", hex(10**5000), id="5,000 digits"),
        (float("nan"), "plain", "nan"),
        (Decimal("1.10"), "plain", "1.10"),
        (datetime(2026, 3, 1, 9, 5, tzinfo=UTC), "plain", "2026-03-01 09:05:00+00:00"),
        (date(2026, 3, 1), "plain", "2026-03-01"),
        (Colour.RED, "plain", "RED"),
        (b"abc", "binary", "3 bytes, sha256 ba7816bf8f01cfea…"),
        ({"a": [1, None, "x"]}, "structure", '{"a": [1, null, "x"]}'),
        ({3, 1}, "structure", "{1, 3}"),
        ((1,), "structure", "(1)"),
        (Opaque("$money", {"CHF": 5}), "plain", 'money {"CHF":5}'),
    ],
)
def test_values_read_as_people_write_them(value: Any, kind: str, words: str) -> None:
    """Each kind of value has its text, and no two kinds of nothing look the same."""
    found = shown(value)
    assert (found.kind, found.text) == (kind, words)


def test_long_structures_stand_on_several_lines() -> None:
    """A map too wide for a line shows one entry per line, indented."""
    assert shown({"a": "x" * 60, "b": ["y" * 30]}).text.split("\n") == [
        "{",
        f'  "a": "{"x" * 60}",',
        f'  "b": ["{"y" * 30}"]',
        "}",
    ]


def test_nesting_without_end_is_not_followed() -> None:
    """Deeper than the log itself goes, a structure is cut instead of failing."""
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    assert "…" in shown(deep).text


# --- one row --------------------------------------------------------------------------------


def test_an_insert_shows_only_after_and_a_delete_only_before() -> None:
    """There is no empty column to compare with where nothing was, or is."""
    inserted = table(ChangeSet({"a": Change(ABSENT, 1)}, Operation.INSERT))
    assert (inserted.has_before, inserted.has_after) == (False, True)
    assert inserted.rows[0].before is None
    deleted = table(ChangeSet({"a": Change(1, ABSENT)}, Operation.DELETE))
    assert (deleted.has_before, deleted.has_after) == (True, False)
    assert deleted.rows[0].after is None


@pytest.mark.parametrize(
    ("old", "new"),
    [(None, ""), ("", ABSENT), (None, ABSENT), (UNKNOWN, None), (UNKNOWN, ABSENT)],
)
def test_kinds_of_nothing_are_told_apart(old: Any, new: Any) -> None:
    """NULL, empty, absent and unknown are four different words."""
    found = row(old, new)
    assert found.before is not None
    assert found.after is not None
    assert found.before.kind != found.after.kind
    assert text(found.before) != text(found.after)


def test_a_masked_change_says_so_once() -> None:
    """A secret that changed is one row that says hidden, not two that look the same."""
    assert row(MASKED, MASKED).hidden
    first = row(None, MASKED)
    assert not first.hidden
    assert text(first.after) == "hidden"


def test_equal_texts_of_different_types_carry_a_note() -> None:
    """The text 1 and the number 1 look the same, so their types are told."""
    found = row("1", 1)
    assert found.before is not None
    assert found.after is not None
    assert (found.before.note, found.after.note) == ("str", "int")


def test_words_that_changed_are_marked_inside_a_text() -> None:
    """Only the words that differ are marked, each on its own side."""
    found = row("the quick brown fox", "the quick red fox")
    assert found.before is not None
    assert found.after is not None
    assert marked(found.before.fragments, "removed") == ["brown"]
    assert marked(found.after.fragments, "added") == ["red"]
    assert text(found.before) == "the quick brown fox"


def test_white_space_is_visible_where_it_is_the_change() -> None:
    """A doubled space, a tab, a line break: shown as signs, while other spaces stay spaces."""
    found = row("a  b c", "a\tb c")
    assert found.before is not None
    assert found.after is not None
    assert marked(found.before.fragments, "removed") == ["··"]
    assert marked(found.after.fragments, "added") == ["→"]
    assert text(found.before).endswith("b c")


def test_changed_words_beside_each_other_are_one_change() -> None:
    """Equal spaces between changed words are no islands of their own."""
    found = row("a quick brown fox", "a slow red fox")
    assert found.before is not None
    assert found.after is not None
    assert marked(found.before.fragments, "removed") == ["quick brown"]
    assert marked(found.after.fragments, "added") == ["slow red"]


def test_chinese_is_compared_by_character() -> None:
    """Text without spaces is not one single word."""
    found = row("付款期限为三十天", "付款期限为二十天")
    assert found.after is not None
    assert marked(found.after.fragments, "added") == ["二"]


def test_long_texts_are_compared_by_line_first() -> None:
    """Lines that stayed are context, lines that changed are pairs with their words marked."""
    lines = [f"line {i} stays the same" for i in range(40)]
    changed = [*lines[:20], "line 20 stays the name", *lines[21:]]
    found = row("\n".join(lines), "\n".join(changed))
    assert found.before is None
    marks = [line.mark for line in found.lines]
    assert marks == ["gap", *["same"] * 3, "removed", "added", *["same"] * 3, "gap"]
    assert marked(found.lines[5].fragments, "added") == ["name"]
    assert found.lines[0].fragments[0].text == "… 17 unchanged lines …"


def test_all_lines_are_shown_when_asked_for() -> None:
    """In full, no unchanged line is left out."""
    lines = [f"line {i}" for i in range(40)]
    found = compared_lines("\n".join(lines), "\n".join([*lines, "new"]), full=True)
    assert [line.mark for line in found] == ["same"] * 40 + ["added"]


def test_only_lines_that_are_alike_are_compared_inside() -> None:
    """Unlike lines stand one after the other without marks, and so do many in a row."""
    unlike = compared_lines("context\nabc def", "context\nuvw xyz")
    assert [line.mark for line in unlike] == ["same", "removed", "added"]
    assert not marked(unlike[1].fragments, "removed")
    old, new = ([f"the line {i} {end}" for i in range(12)] for end in ("old", "new"))
    many = compared_lines("\n".join(old), "\n".join(new))
    assert [line.mark for line in many] == ["removed"] * 12 + ["added"] * 12


def test_texts_with_nothing_in_common_are_shown_one_after_the_other() -> None:
    """A comparison that explains nothing is not attempted."""
    old = "\n".join(f"old {i}" for i in range(500))
    new = "\n".join(f"new {i}" for i in range(500))
    marks = [line.mark for line in compared_lines(old, new)]
    assert marks == ["removed"] * 500 + ["added"] * 500
    assert compared_words(old.replace("old", "x"), " ".join(str(-i) for i in range(900))) is None


def test_texts_of_one_line_with_nothing_in_common_are_marked_as_a_whole() -> None:
    """What cannot be compared word by word is removed and added as it is."""
    found = row(" ".join(f"x{i}" for i in range(500)), " ".join(f"y{i}" for i in range(500)))
    assert found.before is not None
    assert [fragment.mark for fragment in found.before.fragments] == ["removed"]


def test_long_unchanged_stretches_are_folded() -> None:
    """A word changed in a long line is shown with its neighbourhood and what was left out."""
    words = " ".join(["same"] * 500)
    marks = compared_words(f"{words} old {words}", f"{words} new {words}")
    assert marks is not None
    short = folded(marks[0])
    assert [fragment.mark for fragment in short] == ["gap", "same", "removed", "same", "gap"]
    assert short[0].text == "… 2,410 characters …"


# --- paths, lists and sets ------------------------------------------------------------------


def test_paths_inside_a_field_are_rows_of_their_own() -> None:
    """A change deep inside names every step of the way, dots in keys included."""
    assert rows({"meta.og~1title.de": Change(ABSENT, "Über uns")})[0].path == (
        "meta",
        "og.title",
        "de",
    )


def test_list_edits_are_shown_by_element_from_the_first_to_the_last() -> None:
    """Inserted, removed and replaced elements each have a row with their index."""
    found = table(diff({"tags": list("abcdefgh")}, {"tags": list("aXcdefg")})).rows
    assert [(r.path, r.before and text(r.before), r.after and text(r.after)) for r in found] == [
        (("tags", "1"), "b", "X"),
        (("tags", "7"), "h", "no value"),
    ]


def test_changes_within_list_elements_are_shown_by_path() -> None:
    """A step that changes an element inside leads to a row for the path below it."""
    edit = ListEdit((Within({"0.qty": Change(1, 2)}), Splice(3, (), ("new",))))
    assert [r.path for r in rows({"lines": edit})] == [("lines", "0", "qty"), ("lines", "3")]


def test_set_edits_list_what_was_removed_and_added() -> None:
    """A set is one row: the elements gone on one side, the elements new on the other."""
    found = rows({"roles": SetEdit(frozenset({"b", "a"}), frozenset({"c"}))})[0]
    assert found.before is not None
    assert found.after is not None
    assert [text(element) for element in found.before.elements] == ["c"]
    assert [text(element) for element in found.after.elements] == ["a", "b"]
    added_only = rows({"roles": SetEdit(frozenset({"a"}), frozenset())})[0]
    assert added_only.before is None


# --- cutting --------------------------------------------------------------------------------


def test_tables_are_cut_and_can_be_shown_whole() -> None:
    """Many rows and long values are cut with what is missing said; full shows everything."""
    changes = ChangeSet({f"f{i}": Change(i, i + 1) for i in range(ROWS + 7)})
    assert table(changes).rows_left_out == 7
    assert len(table(changes, full=True).rows) == ROWS + 7
    state = {"long": "x" * 10_000}
    cut = state_table(state)
    assert cut.cut
    assert cut.rows[0].after is not None
    assert text(cut.rows[0].after).endswith("… 7,000 more characters")
    whole = state_table(state, full=True)
    assert not whole.cut
    assert text(whole.rows[0].after) == "x" * 10_000


def test_long_comparisons_and_large_sets_are_cut_too() -> None:
    """Lines and elements have their own limits."""
    many = table(ChangeSet({"s": SetEdit(frozenset(range(100)), frozenset())}))
    assert many.cut
    assert many.rows[0].after is not None
    assert text(many.rows[0].after.elements[-1]) == "… 40 more"
    old = "\n".join(f"old {i}" for i in range(500))
    lines = table(ChangeSet({"t": Change(old, old.replace("old", "new"))})).rows[0].lines
    assert lines[-1] == Line("gap", (Fragment("gap", "… 880 more lines"),))


def test_huge_texts_are_compared_only_where_they_begin_to_differ() -> None:
    """A megabyte is not searched for words unless all is asked for."""
    base = "word " * 100_000
    found = row(f"{base}old", f"{base}new")
    assert found.before is not None
    assert found.before.fragments[0].mark == "gap"
    assert marked(found.before.fragments, "removed") == ["old"]


# --- in brief -------------------------------------------------------------------------------


def test_the_brief_shows_the_fields_that_say_something_first() -> None:
    """Three fields with values, the rest to unfold, and a count of what is in neither."""
    values = {"empty": None, **{f"f{i}": i for i in range(30)}}
    found = brief(diff({}, values, operation=Operation.INSERT))
    assert [field.path for field in found.first] == [("f0",), ("f1",), ("f2",)]
    assert len(found.rest) == 20
    assert found.left_out == 8


def test_the_brief_of_a_long_text_shows_where_it_changed() -> None:
    """The cut is around the first difference, not at the beginning."""
    words = "the same words again and again " * 20
    field = brief(ChangeSet({"body": Change(f"{words} old end", f"{words} new end")})).first[0]
    assert [fragment.mark for fragment in field.fragments] == ["removed", "added"]
    assert "old end" in field.fragments[0].text
    assert field.fragments[0].text.startswith("…")


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (Change(MASKED, MASKED), ["changed (hidden)"]),
        (Change("1", 1), ["1 (str)", "1 (int)"]),
        (SetEdit(frozenset({"a"}), frozenset({"b"})), ["b", "a"]),
        (SetEdit(frozenset(range(9)), frozenset()), ["0", "1", "2", "6 more"]),
        (ListEdit((Splice(1, ("x",), ("y", "z")),)), ["1 added, 1 changed"]),
    ],
)
def test_the_brief_has_words_for_every_kind_of_change(delta: Delta, words: list[str]) -> None:
    """Secrets, types, sets and lists each fit in a line."""
    field = brief(ChangeSet({"f": delta})).first[0]
    assert [fragment.text for fragment in field.fragments] == words


def test_texts_of_twenty_thousand_words_are_compared_word_by_word() -> None:
    """A whole book chapter with a word changed here and there shows which."""
    words = [f"{'word' * (number % 3)}{number % 997}" for number in range(20_000)]
    other = [f"other{word}" if number % 100 == 0 else word for number, word in enumerate(words)]
    (row,) = rows({"text": Change(" ".join(words), " ".join(other))})
    assert row.after is not None
    added = [part.text for part in row.after.fragments if part.mark == "added"]
    assert added[:2] == ["other0", "otherword100"]
