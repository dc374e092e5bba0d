"""The commands that go through the whole log: its newest end, and its count."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final, TypeVar

import click

from lifecycle.audit.records import FeedPosition, Record
from lifecycle.audit.store import AuditStore, Query
from lifecycle.cli.logs import counting
from lifecycle.cli.reaching import FromLog, Log, from_log
from lifecycle.cli.selecting import json_lines, moment_of
from lifecycle.cli.showing import as_json, print_records, print_values

__all__ = ["counted", "streaming"]

T = TypeVar("T")

_WAIT: Final = 1.0  # seconds between two looks at the feed


@click.command(
    cls=FromLog,
    short_help="Show the newest changes, and go on as they come.",
    epilog="""\b
Examples:
  lifecycle tail sqlite:///app.db
  lifecycle tail postgresql+psycopg://reader@db/audit --follow --json | jq -c .entity""",
)
@click.option("-n", "count", type=click.IntRange(min=0), default=10, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Wait for more, until Ctrl-C.")
@json_lines
@from_log
def tail(log: Log, count: int, follow: bool, json: bool) -> None:
    """Show the newest changes, oldest first, and with --follow all that come."""

    def say(records: Iterable[Record]) -> None:
        for record in records:
            if json:
                click.echo(as_json(record))
            else:
                print_records([record], with_object=True, as_table=False)

    at = _end(log.store) if follow else None
    say(list(islice(log.history.find(), count))[::-1])
    with suppress(KeyboardInterrupt):  # that is how it is ended
        while follow:
            feed = log.store.feed(at)
            say(feed)
            at = feed.position
            if not feed.records:
                time.sleep(_WAIT)


def _end(store: AuditStore) -> FeedPosition | None:
    """Where the feed ends now."""
    at: FeedPosition | None = None
    while (feed := store.feed(at, limit=5_000)).records:
        at = feed.position
    return at


@click.command(
    cls=FromLog,
    short_help="Count changes by model, operation and actor.",
    epilog="""\b
Examples:
  lifecycle stats sqlite:///app.db
  lifecycle stats sqlite:///app.db --since 2026-11-01 --json""",
)
@click.option("--since", metavar="TIME", callback=moment_of, help="From this time on.")
@click.option("--until", metavar="TIME", callback=moment_of, help="Before this time.")
@json_lines
@from_log
def stats(log: Log, since: Any, until: Any, json: bool) -> None:
    """Count the records by entity, operation and actor. It reads all of them."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for record in counted(log.store.scan(Query(since=since, until=until)), "counted"):
        counts[record.entity, record.operation.value, record.actor or ""] += 1
    if not counts:
        raise click.ClickException(log.nothing_found(None, None))
    rows = [(*names, count) for names, count in sorted(counts.items())]
    print_values(rows, ("Entity", "Operation", "Actor", "Records"), json)


def counted(items: Iterable[T], what: str) -> Iterator[T]:
    """The items, while a terminal is shown how many there have been."""
    with counting(what) as progress:
        for item in items:
            progress(1)
            yield item


streaming = (tail, stats)
"""The commands here."""
