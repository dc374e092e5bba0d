"""How much happened on each of the last days: counted once a day, up to a limit, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from threading import Lock
from typing import Final

from audit_ui.languages import gettext as _
from lifecycle.audit.store import AuditStore, Query

__all__ = ["Activity", "Day", "drawn"]

DAYS: Final = 30
MOST: Final = 500
"""How far the changes of a day are counted."""

_FRESH: Final = timedelta(seconds=60)
_LATE: Final = timedelta(hours=1)  # a transaction may commit after the day it began in


@dataclass(frozen=True, slots=True)
class Day:
    """A day, in UTC, and how many changes were recorded in it, ``MOST`` if there were more."""

    day: date
    count: int


class Activity:
    """The counts of the last days, kept so that a day that is over is counted once."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._counted: dict[date, tuple[Day, datetime]] = {}

    def days(self, store: AuditStore, now: datetime) -> list[Day]:
        """The last days, oldest first. One question, for those that are not counted yet."""
        today = now.astimezone(UTC).date()
        days = [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]
        with self._lock:
            known = {day: self._counted[day] for day in days if day in self._counted}
        missing = [day for day in days if not self._is_known(known.get(day), now)]
        counts = store.counts_at_most(list(map(_of_day, missing)), MOST) if missing else []
        for day, count in zip(missing, counts, strict=True):
            known[day] = Day(day, count), now
        with self._lock:
            self._counted = known
        return [known[day][0] for day in days]

    def _is_known(self, counted: tuple[Day, datetime] | None, now: datetime) -> bool:
        """Whether a day need not be counted again: it was over by then, or that was just now."""
        if counted is None:
            return False
        day, at = counted
        over = datetime.combine(day.day, time.min, UTC) + timedelta(days=1) + _LATE
        return at > over or now - at < _FRESH


def _of_day(day: date) -> Query:
    begin = datetime.combine(day, time.min, UTC)
    return Query(since=begin, until=begin + timedelta(days=1))


_WIDTH: Final = 12
_HEIGHT: Final = 40


def drawn(days: Sequence[Day]) -> str:
    """The days as bars of an SVG image, which needs no style and no script."""
    highest = max((day.count for day in days), default=0) or 1
    bars = [_bar(index, day, highest) for index, day in enumerate(days)]
    words = (
        _("Changes per day, %(first)s to %(last)s", first=days[0].day, last=days[-1].day)
        if days
        else _("No days")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH * len(days)}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH * len(days)} {_HEIGHT}">'
        f"<title>{words}</title>{''.join(bars)}</svg>"
    )


def _bar(index: int, day: Day, highest: int) -> str:
    height = max(1, round((_HEIGHT - 2) * day.count / highest))
    colour = "#8a949e" if not day.count else "#4b86b8"
    more = "+" if day.count >= MOST else ""
    return (
        f'<rect x="{index * _WIDTH + 1}" y="{_HEIGHT - height}" width="{_WIDTH - 2}" '
        f'height="{height}" fill="{colour}"><title>{day.day}: {day.count}{more}</title></rect>'
    )
