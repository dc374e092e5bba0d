"""What the filters of the feed offer to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from lifecycle.audit.store import AuditStore

__all__ = ["Entities"]

_FRESH: Final = timedelta(seconds=60)


class Entities:
    """The names of the entities that have records, asked for once a minute."""

    def __init__(self) -> None:
        self._found: tuple[datetime, Sequence[str]] | None = None

    def fresh(self, now: datetime) -> bool:
        """Whether they are known without a question."""
        return self._found is not None and now - self._found[0] < _FRESH

    def names(self, store: AuditStore, now: datetime) -> Sequence[str]:
        """One question, or none."""
        found = self._found
        if found is None or not now - found[0] < _FRESH:
            found = self._found = (now, tuple(store.entities()))
        return found[1]
