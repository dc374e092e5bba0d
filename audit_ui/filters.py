"""What the reader asked for, as written in the address, and as a question to the store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from audit_ui.errors import Mistake
from lifecycle.audit.records import Position
from lifecycle.audit.store import Query
from lifecycle.changes import Operation

__all__ = ["PRESETS", "VERBS", "Cursor", "Filters", "read_record_id", "read_uuid"]

PRESETS: Final = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
"""Ready values of ``since``, and how the page words them."""

VERBS: Final = {
    Operation.INSERT: "created",
    Operation.UPDATE: "updated",
    Operation.DELETE: "deleted",
    Operation.BULK: "changed in bulk",
}
"""How the pages call the operations."""

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of the feed, each as it was written; empty means not given."""

    entity: str = ""
    key: str = ""
    actor: str = ""
    operation: str = ""
    request_id: str = ""
    since: str = ""
    until: str = ""

    @classmethod
    def of(cls, params: Mapping[str, str], **fixed: str) -> Filters:
        """The filters in an address; ``fixed`` ones are given by the page itself."""
        given = {field.name: params.get(field.name, "") for field in fields(cls)}
        given |= {name: given[name].strip() for name in ("operation", "since", "until")}
        return cls(**{**given, **fixed})

    def items(self) -> Iterator[tuple[str, str]]:
        """The filters that are given."""
        for field in fields(self):
            value: str = getattr(self, field.name)
            if value:
                yield field.name, value

    def with_(self, **values: str) -> dict[str, str]:
        """The filters given after a change, as parameters of a link."""
        return dict(replace(self, **values).items())

    def query(self, now: datetime) -> Query:
        """The question to the store. Raises `Mistake` for a filter that cannot be understood."""
        if self.key and not self.entity:
            raise Mistake(
                400,
                "A key needs its entity",
                f"Keys are unique within one entity only. Choose the entity {self.key!r} "
                "belongs to, or leave the key out.",
            )
        return Query(
            entity=self.entity or None,
            key=self.key or None,
            actor=self.actor or None,
            operation=_operation(self.operation) if self.operation else None,
            request_id=self.request_id or None,
            since=_moment("since", self.since, now) if self.since else None,
            until=_moment("until", self.until, now) if self.until else None,
        )


def _operation(text: str) -> Operation:
    for operation, verb in VERBS.items():
        if text in (operation.value, verb):
            return operation
    raise Mistake(
        400, f"No operation is called {text!r}", "Use insert, update or delete, or leave it out."
    )


def _moment(name: str, text: str, now: datetime) -> datetime:
    """A moment before now, or an ISO date with or without time, in UTC unless it says otherwise.

    A date alone means all of that day, so ``until`` a date ends with the day.
    """
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if len(text) == 10:
            day = datetime.combine(date.fromisoformat(text), time.min, UTC)
            return day + timedelta(days=1) if name == "until" else day
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Mistake(
            400,
            f"{text!r} is no time",
            f"Write {name} as 30m, 24h, 7d or 4w for that long ago, or as a date "
            "such as 2026-03-01 or 2026-03-01T14:30; times are in UTC.",
        ) from None


# --- places in the log ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: with what is older than a position, or newer; else at the newest."""

    older_than: Position | None = None
    newer_than: Position | None = None

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Cursor:
        """The cursor in an address. Raises `Mistake` when it is damaged."""
        return cls(
            *(
                _position(params[name]) if params.get(name) else None
                for name in ("older_than", "newer_than")
            )
        )

    def __bool__(self) -> bool:
        return self.older_than is not None or self.newer_than is not None


def _position(text: str) -> Position:
    match = re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,9})", text)
    if match is None:
        raise Mistake(
            400,
            f"{text!r} is no place in the history",
            "The address was damaged on its way. Start again at the newest records.",
        )
    return Position(int(match[1]), int(match[2]))


_RECORD_ID: Final = re.compile(r"([0-9a-fA-F-]{32,36})\.([0-9]{1,9})")


def read_uuid(text: str) -> UUID:
    """A revision's id. Raises `Mistake` when it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise _no_id(text, "revision", "01936d5e-7c4a-7b61-9d43-0c5f2f6a8e11") from None


def read_record_id(text: str) -> tuple[UUID, int]:
    """A record's revision and its number there. Raises `Mistake` when it is no record's id."""
    match = _RECORD_ID.fullmatch(text)
    try:
        if match is not None:
            return UUID(match[1]), int(match[2])
    except ValueError:
        pass  # told below, as for a text of any other form
    raise _no_id(text, "record", "01936d5e-7c4a-7b61-9d43-0c5f2f6a8e11.0")


def _no_id(text: str, what: str, example: str) -> Mistake:
    return Mistake(
        404,
        f"{text!r} is no {what} id",
        f"A {what} id looks like {example}. Check the address, or look for the {what} in the feed.",
    )
