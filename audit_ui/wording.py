"""How one text became another: words marked on both sides, or lines with their context."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from audit_ui.languages import gettext as _
from audit_ui.languages import number
from audit_ui.myers import Run, runs
from audit_ui.referring import Target
from audit_ui.text import spaces_shown

__all__ = ["Fragment", "Line", "Mark", "compared_lines", "compared_words", "folded", "plain_lines"]

Mark: TypeAlias = Literal["same", "removed", "added", "gap"]


@dataclass(frozen=True, slots=True)
class Fragment:
    """Part of a text; a ``gap`` says in words what was left out there.

    ``target`` is what it refers to, where it is all of a value.
    """

    mark: Mark
    text: str
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison, in fragments."""

    mark: Mark
    fragments: tuple[Fragment, ...]


_TOKEN: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"  # Chinese and Japanese: each character is a word
    r"|\w+|\n|[^\S\n]+|[^\w\s]"
)
_KEPT: Final = 90  # characters of unchanged text kept on each side of a change
_CONTEXT: Final = 3  # unchanged lines kept on each side of a change
_PAIRED: Final = 8  # the most lines in a row whose words are compared one by one
_ALIKE: Final = 0.4  # the least part two lines must share for their words to be compared


# --- words ----------------------------------------------------------------------------------


def compared_words(old: str, new: str) -> tuple[tuple[Fragment, ...], tuple[Fragment, ...]] | None:
    """Both texts with the words that changed marked; ``None`` when too little is shared."""
    a, b = _TOKEN.findall(old), _TOKEN.findall(new)
    found = runs(a, b)
    if found is None:
        return None
    before: list[Fragment] = []
    after: list[Fragment] = []
    for run in _without_islands(found, a):
        removed = "".join(a[run.a_start : run.a_end])
        added = "".join(b[run.b_start : run.b_end])
        if run.equal:
            before.append(Fragment("same", removed))
            after.append(Fragment("same", added))
            continue
        before += _changed("removed", removed)
        after += _changed("added", added)
    return tuple(before), tuple(after)


def _changed(mark: Mark, text: str) -> list[Fragment]:
    """One fragment, or none for no text; white space that is all there is becomes visible."""
    if not text:
        return []
    return [Fragment(mark, text if text.strip() else spaces_shown(text))]


def _without_islands(found: Sequence[Run], a: Sequence[str]) -> Iterator[Run]:
    """Changes with nothing but white space between them become one: it reads better."""
    held: Run | None = None
    for index, run in enumerate(found):
        between = 0 < index < len(found) - 1 and run.equal
        if between and not "".join(a[run.a_start : run.a_end]).strip(" "):
            run = run._replace(equal=False)
        if held is not None and held.equal == run.equal:
            held = held._replace(a_end=run.a_end, b_end=run.b_end)
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held


def folded(fragments: Iterable[Fragment], kept: int = _KEPT) -> tuple[Fragment, ...]:
    """The same with long unchanged stretches left out, each saying how much."""
    whole = tuple(fragments)
    out: list[Fragment] = []
    for index, fragment in enumerate(whole):
        head = kept if index else 0
        tail = kept if index < len(whole) - 1 else 0
        left_out = len(fragment.text) - head - tail
        if fragment.mark != "same" or left_out < kept:
            out.append(fragment)
            continue
        out += [
            Fragment("same", fragment.text[:head]),
            Fragment("gap", _("… %(number)s characters …", number=number(left_out))),
            Fragment("same", fragment.text[len(fragment.text) - tail :]),
        ]
    return tuple(fragment for fragment in out if fragment.text)


# --- lines ----------------------------------------------------------------------------------


def compared_lines(old: str, new: str, *, full: bool = False) -> tuple[Line, ...]:
    """Both texts line by line, the words of lines that changed a little marked inside.

    Unchanged lines far from a change are left out unless ``full``. Texts with little in common
    are shown one after the other.
    """
    a, b = old.split("\n"), new.split("\n")
    found = runs(a, b)
    if found is None:
        return (*plain_lines(a, "removed"), *plain_lines(b, "added"))
    out: list[Line] = []
    for index, run in enumerate(found):
        removed, added = a[run.a_start : run.a_end], b[run.b_start : run.b_end]
        if not run.equal:
            out += _changed_lines(removed, added)
        elif full:
            out += plain_lines(removed, "same")
        else:
            out += _context(removed, index > 0, index < len(found) - 1)
    return tuple(out)


def plain_lines(lines: Iterable[str], mark: Mark) -> Iterator[Line]:
    """Lines that carry one mark as a whole."""
    return (Line(mark, (Fragment("same", line),)) for line in lines)


def _context(lines: Sequence[str], follows: bool, precedes: bool) -> Iterator[Line]:
    head = _CONTEXT if follows else 0
    tail = _CONTEXT if precedes else 0
    left_out = len(lines) - head - tail
    if left_out < 2:
        yield from plain_lines(lines, "same")
        return
    yield from plain_lines(lines[:head], "same")
    yield Line(
        "gap", (Fragment("gap", _("… %(number)s unchanged lines …", number=number(left_out))),)
    )
    yield from plain_lines(lines[len(lines) - tail :], "same")


def _changed_lines(removed: Sequence[str], added: Sequence[str]) -> Iterator[Line]:
    """Few lines in pairs, their words compared; many, or what has no partner, as they are."""
    paired = min(len(removed), len(added))
    if paired > _PAIRED:
        paired = 0
    for old, new in zip(removed[:paired], added[:paired], strict=True):
        before, after = _changed_line(old, new)
        yield Line("removed", before)
        yield Line("added", after)
    yield from plain_lines(removed[paired:], "removed")
    yield from plain_lines(added[paired:], "added")


def _changed_line(old: str, new: str) -> tuple[tuple[Fragment, ...], tuple[Fragment, ...]]:
    marked = compared_words(old, new)
    if marked is not None:
        shared = sum(len(fragment.text) for fragment in marked[0] if fragment.mark == "same")
        if shared >= _ALIKE * max(len(old), len(new)):
            return folded(marked[0]), folded(marked[1])
    return (Fragment("same", old),), (Fragment("same", new),)
