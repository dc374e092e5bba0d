"""The commands: what each takes, does and answers.

They exit with 0 when it was done, 1 when it failed or nothing was found, 2 when they were called
in a wrong way, and 3 when `verify`, `lint` or `check-references` found something, or `diff
--exit-code` differences; after Ctrl-C with 130, and with 141 when the output is not read to its
end.
"""

from __future__ import annotations

from typing import Any

import click

import lifecycle as package
from lifecycle.audit.stores.opening import DatabaseStore
from lifecycle.cli.describing import describe
from lifecycle.cli.ending import Ending
from lifecycle.cli.exporting import export, export_subject
from lifecycle.cli.keeping import erase, hold, prune
from lifecycle.cli.linting import lint
from lifecycle.cli.logs import an_application, store_at, the_store, told, url
from lifecycle.cli.migrating import migrations
from lifecycle.cli.proving import seal, verify
from lifecycle.cli.reading import reading
from lifecycle.cli.reconciling import reconcile
from lifecycle.cli.referring import check_references
from lifecycle.cli.restoring import restoring
from lifecycle.cli.serving import is_loopback, listener, pages, serve
from lifecycle.cli.streaming import streaming
from lifecycle.cli.watching import watch

__all__ = ["lifecycle"]


@click.group(
    cls=Ending,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  lifecycle create-tables sqlite:///app.db
  lifecycle history sqlite:///app.db shop.Order 17
  lifecycle undo --app shop:lifecycle 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175 --dry-run
  lifecycle ui postgresql+psycopg://reader@db/audit
  lifecycle seal sqlite:///app.db
  lifecycle verify sqlite:///app.db

\b
Exit codes:
  0    done
  1    failed, or nothing was found
  2    called in a wrong way
  3    verify, lint, reconcile or diff --exit-code found something
  130  interrupted by Ctrl-C
  141  the output was not read to its end, as by head

A URL is written as SQLAlchemy does: dialect+driver://user:password@host:port/database, or as
MongoDB does: mongodb://user:password@host:port/database.""",
)
@click.version_option(package.__version__, message="lifecycle %(version)s")
def lifecycle() -> None:
    """The history of an application's objects, in the database where it is recorded."""


@lifecycle.command(
    "create-tables",
    short_help="Create what is missing of the audit tables.",
    epilog="""\b
Examples:
  lifecycle create-tables sqlite:///app.db
  lifecycle create-tables sqlite:///app.db --dry-run
  lifecycle create-tables mysql+pymysql://root@127.0.0.1/shop
  lifecycle create-tables mongodb://127.0.0.1/shop""",
)
@click.argument("store", metavar="URL", callback=store_at)
@click.option("--dry-run", is_flag=True, help="Say what it would create, and no more.")
def create_tables(store: DatabaseStore, dry_run: bool) -> None:
    """Create the audit tables that are missing in the database at URL; in MongoDB the indexes.

    Tables that an older release made get the columns and indexes that it did not know; what is in
    them stays as it is. An index of a large log takes a while, in which nothing is written to it.
    An application that uses Alembic lets it create them instead, from Lifecycle.metadata.
    """
    with told():
        missing = store.lacking() if dry_run else store.create_tables()
    for one in missing:
        click.echo(f"{'missing' if dry_run else 'created'}: {one}")
    if dry_run:
        click.echo(f"{len(missing) or 'nothing'} to create in {store.url}")
    else:
        click.echo(f"The audit tables are in {store.url}.")


@lifecycle.command(
    short_help="Serve the history pages until Ctrl-C.",
    epilog="""\b
Examples:
  lifecycle ui sqlite:///app.db
  lifecycle ui postgresql+psycopg://reader@db/audit --port 9000
  lifecycle ui --app shop.main:lifecycle --restore""",
)
@click.argument("store", metavar="[URL]", required=False, callback=url)
@an_application
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen at; 0 for any that is free.",
)
@click.option(
    "--restore",
    is_flag=True,
    help="Let whoever uses this machine put things back from the pages; needs --app.",
)
def ui(store: Any, app: Any, host: str, port: int, restore: bool) -> None:
    """Serve the history pages of a log, by its URL or its application, until Ctrl-C.

    At the default host only this machine is answered. At any other, everyone who can reach it
    sees the whole history: to let only some people in, mount audit_ui.create_app(…, access=…) in
    your application instead.
    """
    local_only = is_loopback(host)
    if restore and (app is None or store is not None or not local_only):
        raise click.UsageError(
            "--restore needs the application's models and this machine alone: give --app without "
            "a URL, and leave --host as it is"
        )
    with told():
        log = the_store(store, app)
    site = pages(app if store is None else log, local_only=local_only, restore=restore)
    with listener(host, port) as socket:
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"The history is at http://{shown}:{socket.getsockname()[1]}/ (Ctrl-C ends it)")
        if not local_only:
            click.echo(f"Everyone who can reach {host} sees the whole history.", err=True)
        serve(site, socket)
    click.echo("Ended.")


_ALL = (
    *reading,
    *streaming,
    *restoring,
    check_references,
    describe,
    export,
    export_subject,
    erase,
    hold,
    lint,
    migrations,
    prune,
    reconcile,
    seal,
    verify,
    watch,
)

for _command in _ALL:
    lifecycle.add_command(_command)
