"""Showing what was measured: a table, and how far the measuring has come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench.measuring import Figure

__all__ = ["print_tables", "progress"]

WIDTH: Final = 140
"""Of the table where there is no terminal to fit it to."""

ROOM_FOR_ALL: Final = 120
"""On a narrower terminal the last column is left out."""

HEADS: Final = ("median", "±", "x plain", "x CPU", "sent", "recorded")


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], object]]:
    """How to tell on stderr what is done next: a bar on a terminal, else a line for what is new."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[of]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, completed=-1, of="")
        yield lambda text: bar.update(task, advance=1, of=text)


class _Lines:
    """A line for each part, when it begins."""

    def __init__(self) -> None:
        self._part = ""

    def __call__(self, text: str) -> None:
        part = text.split(":")[0]
        if part != self._part:
            self._part = part
            print(part, file=sys.stderr, flush=True)


def print_tables(figures: Iterable[Figure]) -> None:
    """A table for each section."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for section, lines in groupby(figures, lambda one: one.section):
        table = Table(
            title=section, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column("what")
        table.add_column("who", no_wrap=True)
        for head in HEADS:
            table.add_column(head, justify="right", no_wrap=True)
        if console.width >= ROOM_FOR_ALL:
            table.add_column("to reach")
        for what, same in groupby(lines, lambda one: one.what):
            for number, one in enumerate(same):
                row = ("" if number else what, one.contestant, *_cells(one), one.reach)
                table.add_row(*row[: len(table.columns)])
        console.print(table)


def _cells(one: Figure) -> Iterator[str]:
    yield f"{one.value:,.1f} {one.unit}"
    yield f"{one.spread:,.1f}"
    yield "" if one.ratio is None else f"{one.ratio:.2f}"
    yield "" if one.cpu_ratio is None else f"{one.cpu_ratio:.2f}"
    yield "" if one.statements is None else f"{one.statements:,g}"
    yield "" if one.records is None else f"{one.records:,}" if one.records else "nothing"
