"""Rows and documents in portions, so that never all of many are held in memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from os import SEEK_END
from tempfile import TemporaryFile
from typing import IO, Any, Final
from weakref import finalize

__all__ = ["CHUNK", "Portions", "Spool", "chunks"]

CHUNK: Final = 500
"""How many are asked for, or kept in memory to be compared, at a time."""

_IN_MEMORY: Final = 20 * CHUNK


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """Lists of at most so many items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Portions:
    """Portions of rows kept for later: the first in memory, what goes beyond that in a file."""

    def __init__(self, portions: Iterable[Any] = ()) -> None:
        self._first: Final[list[Any]] = []
        self._file: IO[bytes] | None = None
        self.count = 0
        """How many rows there are in all of them."""
        for one in portions:
            self.add(one)

    def add(self, portion: Any) -> None:
        """Keep one more, which has a length."""
        if self.count < _IN_MEMORY:
            self._first.append(portion)
        else:
            if self._file is None:
                self._file = TemporaryFile()  # noqa: SIM115  # closed with these
                finalize(self, self._file.close)
            self._file.seek(0, SEEK_END)
            pickle.dump(portion, self._file, pickle.HIGHEST_PROTOCOL)
        self.count += len(portion)

    def __iter__(self) -> Iterator[Any]:
        yield from self._first
        if self._file is not None:
            self._file.seek(0)
            while True:
                try:
                    portion = pickle.load(self._file)  # written above, by nobody else
                except EOFError:
                    return
                yield portion


class Spool:
    """Rows kept for later, one by one, and given back in portions."""

    def __init__(self, rows: Iterable[Any] = ()) -> None:
        self._full: Final = Portions()
        self._last: list[Any] = []
        self.add(rows)

    def add(self, rows: Iterable[Any]) -> None:
        """Keep more of them."""
        iterator = iter(rows)
        while some := list(islice(iterator, CHUNK - len(self._last))):
            self._last += some
            if len(self._last) == CHUNK:
                self._full.add(self._last)
                self._last = []

    @property
    def count(self) -> int:
        """How many there are."""
        return self._full.count + len(self._last)

    def chunks(self) -> Iterator[list[Any]]:
        """All of them, in lists."""
        yield from self._full
        if self._last:
            yield self._last
