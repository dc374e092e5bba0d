"""A changeset in a few words: its first fields, one line each, for lists of changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from audit_ui.diffs import edits_of, notes
from audit_ui.languages import gettext as _
from audit_ui.languages import number
from audit_ui.myers import common_head
from audit_ui.referring import NOWHERE, Leading, Leads, Target
from audit_ui.text import shortened
from audit_ui.values import shown, worded
from audit_ui.wording import Fragment, Mark
from lifecycle.changes import (
    ABSENT,
    MASKED,
    Change,
    ChangeSet,
    Delta,
    ListEdit,
    Operation,
    SetEdit,
    split_path,
)

__all__ = ["Brief", "BriefField", "brief"]


@dataclass(frozen=True, slots=True)
class BriefField:
    """One field's change in one line."""

    path: tuple[str, ...]
    fragments: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class Brief:
    """The first fields of a changeset, some more to unfold, and how many are left out of both."""

    first: tuple[BriefField, ...]
    rest: tuple[BriefField, ...]
    left_out: int

    def targets(self) -> Iterator[Target]:
        """What its values refer to."""
        for field in (*self.first, *self.rest):
            yield from (one.target for one in field.fragments if one.target is not None)


_FIRST: Final = 3
_REST: Final = 20
_BRIEF: Final = 56  # characters of one value


def brief(changes: ChangeSet, leading: Leading | None = None) -> Brief:
    """The first fields in one line each; those that say something first."""
    leads = NOWHERE if leading is None else leading(changes)
    deltas = list(changes.items())
    deltas.sort(key=lambda item: _says_nothing(item[1]))
    fields = [
        _field(tuple(split_path(path)), delta, changes.operation, leads)
        for path, delta in deltas[: _FIRST + _REST]
    ]
    return Brief(tuple(fields[:_FIRST]), tuple(fields[_FIRST:]), len(deltas) - len(fields))


def _field(path: tuple[str, ...], delta: Delta, operation: Operation, leads: Leads) -> BriefField:
    fragments = _in_brief(delta, operation)
    if isinstance(delta, Change):  # of any other the fragments are no whole values
        values = {"removed": (delta.old, False), "added": (delta.new, True)}
        values["same"] = values["added"]
        fragments = tuple(
            _meaning(one, leads, path, *values[one.mark]) if one.mark in values else one
            for one in fragments
        )
    return BriefField(path, fragments)


def _meaning(
    one: Fragment, leads: Leads, path: tuple[str, ...], value: Any, after: bool
) -> Fragment:
    word = leads.word(path, value)
    text = f"{one.text} ({shortened(word, _BRIEF)})" if word else one.text
    return replace(one, text=text, target=leads.target(path, value, after=after))


def _says_nothing(delta: Delta) -> bool:
    return isinstance(delta, Change) and _is_nothing(delta.old) and _is_nothing(delta.new)


def _is_nothing(value: Any) -> bool:
    return shown(value).kind in ("null", "empty", "absent")


def _in_brief(delta: Delta, operation: Operation) -> tuple[Fragment, ...]:
    if isinstance(delta, SetEdit):
        return (*_named(delta.removed, "removed"), *_named(delta.added, "added"))
    if isinstance(delta, ListEdit):
        return _counted(delta)
    if operation is Operation.INSERT:
        return (Fragment("same", shortened(worded(shown(delta.new)), _BRIEF)),)
    if operation is Operation.DELETE:
        return (Fragment("removed", shortened(worded(shown(delta.old)), _BRIEF)),)
    if delta.old is MASKED and delta.new is MASKED:
        return (Fragment("gap", _("changed (hidden)")),)
    return _both(delta)


def _both(change: Change) -> tuple[Fragment, ...]:
    """Both values; of long texts the part where they begin to differ."""
    before, after = shown(change.old), shown(change.new)
    shared = 0
    if before.kind == after.kind and max(len(before.text), len(after.text)) > _BRIEF:
        shared = common_head(before.text, after.text)
    start = shared - 16 if shared > 24 else 0
    beside = notes(change, before, after)
    return (
        Fragment("removed", _window(worded(before), start, beside[0])),
        Fragment("added", _window(worded(after), start, beside[1])),
    )


def _window(text: str, start: int, note: str) -> str:
    part = shortened(text[start : start + _BRIEF + 1], _BRIEF)
    return f"{'…' if start else ''}{part}{f' ({note})' if note else ''}"


def _named(elements: frozenset[Any], mark: Mark) -> Iterator[Fragment]:
    texts = sorted(shown(element).text for element in elements)
    for text in texts[:3]:
        yield Fragment(mark, shortened(text, 24))
    if len(texts) > 3:
        yield Fragment(mark, _("%(number)s more", number=number(len(texts) - 3)))


def _counted(edit: ListEdit) -> tuple[Fragment, ...]:
    changes = [change for _path, change in edits_of((), edit) if isinstance(change, Change)]
    added = sum(1 for change in changes if change.old is ABSENT)
    removed = sum(1 for change in changes if change.new is ABSENT)
    changed = len(changes) - added - removed
    told = (
        (removed, _("%(number)s removed", number=number(removed))),
        (added, _("%(number)s added", number=number(added))),
        (changed, _("%(number)s changed", number=number(changed))),
    )
    return (Fragment("gap", ", ".join(text for count, text in told if count)),)
