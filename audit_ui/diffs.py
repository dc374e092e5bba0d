"""A changeset as rows to look at: one per field or path, its value before and after.

Pure functions over `lifecycle.changes`; no markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Any, Final, TypeAlias

from audit_ui.languages import gettext as _
from audit_ui.languages import number
from audit_ui.myers import common_head
from audit_ui.referring import NOWHERE, Leading, Leads, Target
from audit_ui.text import shortened
from audit_ui.values import Kind, Shown, shown, worded
from audit_ui.wording import (
    Fragment,
    Line,
    Mark,
    compared_lines,
    compared_words,
    folded,
)
from lifecycle.changes import (
    ABSENT,
    MASKED,
    Change,
    ChangeSet,
    Delta,
    ListEdit,
    Operation,
    SetEdit,
    Splice,
    split_path,
)

__all__ = ["Row", "Side", "Table", "cell", "edits_of", "notes", "state_table", "table"]

ROWS: Final = 200
"""How many rows a table shows before it offers to show all."""

CHARACTERS: Final = 3_000
"""How much of one value is shown before the table offers to show all."""

LINES: Final = 120
"""How many lines of one comparison are shown before the table offers to show all."""

ELEMENTS: Final = 60
"""How many elements of a set are shown before the table offers to show all."""

_VALUES: Final[set[Kind]] = {"text", "plain", "structure", "binary"}
_COMPARED: Final = 400_000  # characters of both; beyond, they are compared when all is asked for
_SHORT: Final = 400  # characters; longer texts of several lines are compared by line


@dataclass(frozen=True, slots=True)
class Side:
    """One cell: a value in fragments, or a set's elements; ``note`` tells equal texts apart."""

    kind: Kind
    fragments: tuple[Fragment, ...]
    note: str = ""
    elements: tuple[Side, ...] = ()
    target: Target | None = None
    """What the value refers to."""


@dataclass(frozen=True, slots=True)
class Row:
    """What happened at one path: two sides, or ``lines`` that hold both.

    A side is ``None`` where there is nothing to compare with, as beside an inserted element.
    """

    path: tuple[str, ...]
    before: Side | None = None
    after: Side | None = None
    lines: tuple[Line, ...] = ()
    hidden: bool = False
    """Whether the value changed and was masked on both sides."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a comparison, which columns they have, and whether anything was left out."""

    rows: tuple[Row, ...]
    has_before: bool
    has_after: bool
    rows_left_out: int = 0
    cut: bool = False

    def targets(self) -> Iterator[Target]:
        """What its values refer to."""
        for row in self.rows:
            for side in (row.before, row.after):
                for one in (side, *side.elements) if side is not None else ():
                    if one.target is not None:
                        yield one.target


_Edit: TypeAlias = "tuple[tuple[str, ...], Change | SetEdit]"


def table(changes: ChangeSet, *, full: bool = False, leading: Leading | None = None) -> Table:
    """Every change of a changeset as rows; the first of them, and of long values, unless full."""
    leads = NOWHERE if leading is None else leading(changes)
    edits = chain.from_iterable(
        edits_of(tuple(split_path(path)), delta) for path, delta in changes.items()
    )
    chosen = list(edits if full else islice(edits, ROWS))
    left_out = sum(1 for _ in edits)
    rows = [_led(_row(path, edit, changes.operation, full), edit, leads) for path, edit in chosen]
    return Table(
        rows=tuple(rows if full else map(_cut, rows)),
        has_before=changes.operation is not Operation.INSERT,
        has_after=changes.operation is not Operation.DELETE,
        rows_left_out=left_out,
        cut=not full and (left_out > 0 or any(_is_long(row) for row in rows)),
    )


def cell(
    value: Any, *, path: tuple[str, ...] = (), full: bool = False, leading: Leading | None = None
) -> Side:
    """One value by itself, of a field or path; a long one is cut unless full."""
    side = _side(shown(value), "same")
    if leading is not None and not isinstance(value, frozenset):
        leads = leading(ChangeSet({path[0]: Change(ABSENT, value)}))
        side = _meaning(side, leads, path, value, after=True)
    return side if full else replace(side, fragments=_cut_fragments(side.fragments))


def state_table(
    state: Mapping[str, Any], *, full: bool = False, leading: Leading | None = None
) -> Table:
    """A state as rows of one column."""
    changes = {name: Change(ABSENT, value) for name, value in state.items()}
    return table(ChangeSet(changes, Operation.INSERT), full=full, leading=leading)


# --- edits: every delta as changes at paths -------------------------------------------------


def edits_of(path: tuple[str, ...], delta: Delta) -> Iterator[_Edit]:
    """A delta as changes of single values, and of sets as a whole."""
    if not isinstance(delta, ListEdit):
        yield path, delta
        return
    for step in _in_reading_order(delta):
        if isinstance(step, Splice):
            yield from _spliced(path, step)
        else:
            for below, inner in step.deltas.items():
                yield from edits_of((*path, *split_path(below)), inner)


def _in_reading_order(edit: ListEdit) -> Sequence[Any]:
    """From the beginning of the list on, where the steps say it from the end as `diff` does."""
    indices = [step.index for step in edit.steps if isinstance(step, Splice)]
    from_the_end = len(indices) == len(edit.steps) and indices == sorted(indices, reverse=True)
    return edit.steps[::-1] if from_the_end else edit.steps


def _spliced(path: tuple[str, ...], step: Splice) -> Iterator[_Edit]:
    pairs = zip_longest(step.removed, step.inserted, fillvalue=ABSENT)
    for index, (old, new) in enumerate(pairs, step.index):
        yield (*path, str(index)), Change(old, new)


# --- rows -----------------------------------------------------------------------------------


def _row(path: tuple[str, ...], edit: Change | SetEdit, operation: Operation, full: bool) -> Row:
    if isinstance(edit, SetEdit):
        return Row(path, _elements(edit.removed, "removed"), _elements(edit.added, "added"))
    if operation is Operation.INSERT:
        return Row(path, after=_side(shown(edit.new), "same"))
    if operation is Operation.DELETE:
        return Row(path, before=_side(shown(edit.old), "same"))
    if edit.old is MASKED and edit.new is MASKED:
        return Row(path, hidden=True)
    return _compared(path, edit, full)


def _elements(elements: Iterable[Any], mark: Mark) -> Side | None:
    sides = [_side(shown(element), mark) for element in _sorted(elements)]
    return Side("structure", (), elements=tuple(sides)) if sides else None


def _sorted(elements: Iterable[Any]) -> list[Any]:
    return sorted(elements, key=lambda element: worded(shown(element)))


def _led(row: Row, edit: Change | SetEdit, leads: Leads) -> Row:
    """A row with what its values refer to."""
    if isinstance(edit, SetEdit):
        return replace(
            row,
            before=_led_elements(row, row.before, edit.removed, leads, later=False),
            after=_led_elements(row, row.after, edit.added, leads, later=True),
        )
    before, after = row.before, row.after
    if before is not None:
        before = _meaning(before, leads, row.path, edit.old, after=False)
    if after is not None:
        after = _meaning(after, leads, row.path, edit.new, after=True)
    return replace(row, before=before, after=after)


def _led_elements(
    row: Row, side: Side | None, elements: Iterable[Any], leads: Leads, *, later: bool
) -> Side | None:
    if side is None:
        return None
    pairs = zip(side.elements, _sorted(elements), strict=True)
    return replace(
        side,
        elements=tuple(_meaning(one, leads, row.path, value, after=later) for one, value in pairs),
    )


def _meaning(side: Side, leads: Leads, path: tuple[str, ...], value: Any, *, after: bool) -> Side:
    target, word = leads.target(path, value, after=after), leads.word(path, value)
    return replace(side, target=target, note=", ".join(filter(None, (side.note, word))))


def _compared(path: tuple[str, ...], change: Change, full: bool) -> Row:
    before, after = shown(change.old), shown(change.new)
    if before.kind == after.kind and before.kind in ("text", "structure"):
        if not full and len(before.text) + len(after.text) > _COMPARED:
            return Row(path, *_around_first_difference(before, after))
        if _is_for_lines(before.text) or _is_for_lines(after.text):
            return Row(path, lines=compared_lines(before.text, after.text, full=full))
        return Row(path, *_worded(before, after, full))
    note_before, note_after = notes(change, before, after)
    return Row(
        path,
        _side(before, "removed", note_before),
        _side(after, "added", note_after),
    )


def _is_for_lines(text: str) -> bool:
    return "\n" in text and (len(text) > _SHORT or text.count("\n") > 2)


def _worded(before: Shown, after: Shown, full: bool) -> tuple[Side, Side]:
    marked = compared_words(before.text, after.text)
    if marked is None:
        return _side(before, "removed"), _side(after, "added")
    if not full:
        marked = folded(marked[0]), folded(marked[1])
    return Side(before.kind, marked[0]), Side(after.kind, marked[1])


def _around_first_difference(before: Shown, after: Shown) -> tuple[Side, Side]:
    shared = common_head(before.text, after.text)
    start = max(0, shared - 200)
    context = Fragment("same", before.text[start:shared])
    gap = [Fragment("gap", _("… %(number)s characters …", number=number(start)))] if start else []
    return (
        Side(before.kind, (*gap, context, Fragment("removed", before.text[shared:]))),
        Side(after.kind, (*gap, context, Fragment("added", after.text[shared:]))),
    )


def notes(change: Change, before: Shown, after: Shown) -> tuple[str, str]:
    """What tells two values apart whose texts are the same."""
    if before.text != after.text or not {before.kind, after.kind} <= _VALUES:
        return "", ""
    if before.type != after.type:
        return before.type, after.type
    return shortened(repr(change.old), 80), shortened(repr(change.new), 80)


def _side(value: Shown, mark: Mark, note: str = "") -> Side:
    fragment = Fragment(mark if value.kind in _VALUES else "same", worded(value))
    return Side(value.kind, (fragment,), note)


# --- cutting --------------------------------------------------------------------------------


def _is_long(row: Row) -> bool:
    return row != _cut(row)


def _cut(row: Row) -> Row:
    lines = tuple(Line(line.mark, _cut_fragments(line.fragments)) for line in row.lines[:LINES])
    if len(row.lines) > LINES:
        more = Fragment("gap", _("… %(number)s more lines", number=number(len(row.lines) - LINES)))
        lines = (*lines, Line("gap", (more,)))
    return Row(row.path, _cut_side(row.before), _cut_side(row.after), lines, row.hidden)


def _cut_side(side: Side | None) -> Side | None:
    if side is None:
        return None
    elements = side.elements
    if len(elements) > ELEMENTS:
        more = Fragment("gap", _("… %(number)s more", number=number(len(elements) - ELEMENTS)))
        elements = (*elements[:ELEMENTS], Side("plain", (more,)))
    return replace(side, fragments=_cut_fragments(side.fragments), elements=elements)


def _cut_fragments(fragments: tuple[Fragment, ...]) -> tuple[Fragment, ...]:
    room = CHARACTERS
    out: list[Fragment] = []
    for fragment in fragments:
        if len(fragment.text) > room:
            left_out = sum(len(f.text) for f in fragments) - CHARACTERS
            kept = Fragment(fragment.mark, fragment.text[:room])
            return (
                *out,
                kept,
                Fragment("gap", _("… %(number)s more characters", number=number(left_out))),
            )
        out.append(fragment)
        room -= len(fragment.text)
    return tuple(out)
