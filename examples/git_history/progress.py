"""Shows how far a long piece of work has come."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TypeVar

T = TypeVar("T")

_SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Hand on the items, showing the progress: a bar on a terminal, else a line now and then.

    The bar is rich's; without it there are lines.
    """
    if total and sys.stdout.isatty() and find_spec("rich"):
        return _bar(items, what, total)
    return _lines(items, what, total)


def _bar(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    from rich.progress import track as bar

    return iter(bar(items, description=what, total=total))


def _lines(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    shown = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - shown > _SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"{what} {count:,} of {total:,}", flush=True)
