"""`lifecycle watch`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from lifecycle.audit.records import Record
from lifecycle.cli.logs import an_application, told
from lifecycle.cli.showing import as_json, print_records
from lifecycle.plugin import Lifecycle

__all__ = ["watch"]


@click.command(
    short_help="Record what other programs write to documents.",
    epilog="""\b
Examples:
  lifecycle watch watch.json --app shop:lifecycle
  lifecycle watch /var/lib/shop/watch.json --app shop:lifecycle --json | jq -c .key
  lifecycle watch watch.json --app shop:lifecycle --until-idle     as from cron
  lifecycle watch stock.json --app shop:lifecycle --alias stock    a second connection
  for alias in default stock                                       several at once
  do lifecycle watch "$alias.json" --app shop:lifecycle --alias "$alias" & done; wait

\b
What it takes:
  MongoDB as a replica set (of one server will do: --replSet, rs.initiate()).
  For old values MongoDB 6, and for each collection, once:
    db.runCommand({collMod: "order", changeStreamPreAndPostImages: {enabled: true}})
  An oplog that goes back as far as this may be stopped.""",
)
@click.argument("progress", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@an_application
@click.option(
    "--alias",
    default="default",
    show_default=True,
    metavar="NAME",
    help="The mongoengine connection whose documents to watch.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for Lifecycle's own record of a write.",
)
@click.option("--until-idle", is_flag=True, help="End when there is nothing more.")
@click.option("--json", "json", is_flag=True, help="One JSON object per change and line.")
def watch(
    progress: Path,
    app: Lifecycle | None,
    alias: str,
    patience: float,
    until_idle: bool,
    json: bool,
) -> None:
    """Record what other programs write to your documents, until Ctrl-C.

    It listens to MongoDB's change stream. A write that the application's Lifecycle has recorded, or
    announced, is passed over; any other is recorded, with the source "change stream" and, where the
    server keeps images of the document before a change, with its old values; else they are UNKNOWN.

    FILE keeps how far it has come. Without one it begins now, and makes it. However it ends, it
    goes on from there the next time, and loses and doubles nothing.

    One run watches one connection, for each has a stream of its own: when one cannot be read any
    more, the others go on. Where documents have several aliases, run it for each, with a FILE of
    its own.
    """
    if app is None:
        raise click.UsageError(
            "whose documents? name your application's Lifecycle with --app module:lifecycle, or in "
            "LIFECYCLE_APP: it knows them, and what of them to hide"
        )
    with told(), _until_stopped():
        blind = app.without_images(alias)
        if blind:
            click.echo(
                f"Old values will be UNKNOWN in {', '.join(blind)}, which keep no pre-images: "
                "`lifecycle watch --help` tells how to have them.",
                err=True,
            )
        records = app.watch(
            progress, alias=alias, patience=timedelta(seconds=patience), until_idle=until_idle
        )
        with closing(records):  # type: ignore[type-var]
            for record in records:
                _say(record, json)
    if not json:
        click.echo("Ended.")


def _say(record: Record, json: bool) -> None:
    if json:
        click.echo(as_json(record))
    else:
        print_records([record], with_object=True, as_table=False)


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Let Ctrl-C, and a supervisor's request to stop, end what is done inside, and no more."""
    before: Any = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
