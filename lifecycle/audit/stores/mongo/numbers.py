"""How revisions get their numbers: each takes the next one by being written with it.

A unique index lets one writer have a number; the others look again and take the next. So whoever
sees a number sees all below it, and the feed can be read up to the newest.

In a transaction that would make all others wait. There the number is taken outside of it, by a
placeholder, which is closed when the transaction is over. While it is open the feed ends before it,
for as long as a transaction may live. It stays, so that nobody takes its number again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import RLock
from typing import Any, Final

from pymongo import DESCENDING
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from lifecycle.errors import StoreError

__all__ = ["OPEN_SINCE", "TAKEN", "Numbers", "is_duplicate"]

TAKEN: Final = "taken"
"""The field that gives a number to one document only."""

OPEN_SINCE: Final = "open_since"
"""The field of a placeholder whose transaction is not known to be over."""

_ATTEMPTS: Final = 100
_LONGEST_WAIT: Final = 0.02  # seconds
_FRESH: Final = 10  # seconds for which a number counts as the newest without another look
_DUPLICATE: Final = 11000


def is_duplicate(error: Exception) -> bool:
    """Whether a write failed for nothing but an ``_id`` or a number that is there already."""
    if isinstance(error, BulkWriteError):
        codes = {one.get("code") for one in error.details.get("writeErrors", ())}
        return codes == {_DUPLICATE}
    return isinstance(error, DuplicateKeyError)


class Numbers:
    """The numbers of one log, as this process knows them."""

    def __init__(self, log: Collection[Any]) -> None:
        self._log = log
        self._lock: Final = RLock()
        self._last: int | None = None  # None: look before the next one is taken
        self._known_at = 0.0

    def take(self, write: Callable[[int], bool]) -> int | None:
        """Have something written with the next number, and return that.

        ``write`` is called with a number until it does not raise that a document of its is there
        already. It returns whether it has written; if not, there is no number.
        """
        with self._lock:  # threads of one process would only take numbers from each other
            for attempt in range(_ATTEMPTS):
                stale = self._last is None or time.monotonic() - self._known_at > _FRESH
                number = (self.newest() if stale else self._last or 0) + 1
                try:
                    written = write(number)
                except (DuplicateKeyError, BulkWriteError) as error:
                    self._last = None
                    if not is_duplicate(error):
                        raise
                    time.sleep(random.random() * min(_LONGEST_WAIT, 0.001 * attempt))
                else:
                    self._last = number if written else None
                    self._known_at = time.monotonic()
                    return number if written else None
        raise StoreError(
            f"no number was free for a revision in {_ATTEMPTS} attempts, so many write at the "
            "same time: try again"
        )

    def newest(self) -> int:
        """The highest number taken, 0 when there is none."""
        wanted = {TAKEN: {"$gt": 0}}
        found = self._log.find_one(wanted, {TAKEN: 1}, sort=[(TAKEN, DESCENDING)])
        return 0 if found is None else int(found[TAKEN])
