"""Rows and documents in portions, so that never all of many are held in memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from os import SEEK_END
from tempfile import TemporaryFile
from typing import IO, Any, Final
from weakref import finalize

__all__ = ["CHUNK", "Spool", "chunks"]

CHUNK: Final = 500
"""How many are asked for, or kept in memory to be compared, at a time."""

_IN_MEMORY: Final = 20 * CHUNK


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """Lists of at most so many items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Spool:
    """Rows kept for later: the first in memory, what goes beyond that in a temporary file."""

    def __init__(self, rows: Iterable[Any] = ()) -> None:
        self._first: Final[list[Any]] = []
        self._file: IO[bytes] | None = None
        self.count = 0
        self.add(rows)

    def add(self, rows: Iterable[Any]) -> None:
        """Keep more of them."""
        iterator = iter(rows)
        some = list(islice(iterator, max(0, _IN_MEMORY - self.count)))
        self._first.extend(some)
        self.count += len(some)
        for chunk in chunks(iterator):
            if self._file is None:
                self._file = TemporaryFile()  # noqa: SIM115  # closed with the spool
                finalize(self, self._file.close)
            self._file.seek(0, SEEK_END)
            pickle.dump(chunk, self._file, pickle.HIGHEST_PROTOCOL)
            self.count += len(chunk)

    def chunks(self) -> Iterator[list[Any]]:
        """All of them, in lists."""
        yield from chunks(self._first)
        if self._file is not None:
            self._file.seek(0)
            while True:
                try:
                    chunk = pickle.load(self._file)  # written above, by nobody else
                except EOFError:
                    return
                yield chunk
