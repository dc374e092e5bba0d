"""The values one field had, told from the records of its object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lifecycle.audit.records import Record
from lifecycle.audit.replaying import may_have_changed
from lifecycle.changes import ChangeSet, Operation, same, split_path, value_at
from lifecycle.errors import ConflictError
from lifecycle.markers import ABSENT, UNKNOWN, is_hidden

__all__ = ["FieldValue", "field_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldValue:
    """A value that a field had, since when, by whom, and until when.

    ``until`` is ``None`` for the value it has now. ``record`` is what brought it.
    """

    value: Any
    record: Record
    until: datetime | None = None

    @property
    def since(self) -> datetime:
        """When it came, in UTC."""
        return self.record.at

    @property
    def actor(self) -> str | None:
        """Who brought it, ``None`` when nobody was named."""
        return self.record.actor

    @property
    def lasted(self) -> timedelta:
        """For how long the field had it; of the present value, so far."""
        return (self.until or datetime.now(UTC)) - self.since


def field_values(records: Iterable[Record], name: str) -> list[FieldValue]:
    """Every value a field, or a path inside one, had by some records, newest value first.

    The records are those of one object and of statements that may have changed it, oldest first.
    A value that is hidden or not known is told each time it changed.
    """
    values: list[FieldValue] = []
    at_hand: dict[str, Any] = {}
    for record in records:
        at_hand = _field_after(record, split_path(name)[0], at_hand)
        value = value_at(at_hand, name)
        if not values:
            if value is not ABSENT:
                values.append(FieldValue(value=value, record=record))
        elif not _is_still(values[-1].value, value, record, name):
            values[-1] = replace(values[-1], until=record.at)
            values.append(FieldValue(value=value, record=record))
    return values[::-1]


def _is_still(before: Any, after: Any, record: Record, name: str) -> bool:
    if is_hidden(after):
        touched = record.operation is Operation.BULK or record.changes.touches(name)
        return before is after and not touched
    return same(before, after)


def _field_after(record: Record, field: str, before: dict[str, Any]) -> dict[str, Any]:
    """A state of one field alone, after a record of its object, or of a statement."""
    if record.operation is Operation.DELETE:
        return {}
    if record.operation is Operation.BULK:
        return {field: UNKNOWN} if may_have_changed(record.changes, field) else before
    changes = ChangeSet(
        {path: one for path, one in record.changes.items() if split_path(path)[0] == field}
    )
    before = {} if record.operation is Operation.INSERT else before
    try:
        return changes.applied_to(before)
    except ConflictError:
        return {field: UNKNOWN}
