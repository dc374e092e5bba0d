"""Two versions of an object, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.reading import state_at
from lifecycle.audit.records import Record
from lifecycle.changes import ChangeSet, Operation, diff
from lifecycle.markers import UNKNOWN

__all__ = ["Comparison", "compared"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from the older of two versions to the newer one."""

    older: Record
    newer: Record
    changes: ChangeSet


def compared(records: Sequence[Record], selected: Record, against: str) -> Comparison:
    """A version compared with another of an object's records, newest first, or with ``"now"``.

    Raises `Mistake` when the other one is not among them.
    """
    other = 0 if against == "now" else _index(records, against)
    newer, older = sorted((other, records.index(selected)))
    before, complete = _standing(records[older:])
    after, _ = _standing(records[newer:])
    if not complete:
        before = {**dict.fromkeys(after, UNKNOWN), **before}
    deleted = records[newer].operation is Operation.DELETE
    operation = Operation.DELETE if deleted and newer != older else Operation.UPDATE
    return Comparison(records[older], records[newer], diff(before, after, operation=operation))


def _index(records: Sequence[Record], id: str) -> int:
    for index, record in enumerate(records):
        if record.id == id:
            return index
    raise Mistake(
        404,
        _("These versions cannot be compared here"),
        _(
            "The other version is not of this object, or too many changes lie between "
            "the two. Choose one from the timeline."
        ),
    )


def _standing(records: Sequence[Record]) -> tuple[Mapping[str, Any], bool]:
    """The values after the first of some records, newest first, and whether they are all of them.

    A deleted object has none.
    """
    if records[0].operation is Operation.DELETE:
        return {}, True
    state = state_at(records)
    return state.values, state.inserted is not None
