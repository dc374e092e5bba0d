"""The commands: what each takes, does and answers.

They exit with 0 when it was done, 1 when it failed or nothing was found, 2 when they were called
in a wrong way, and 3 when `verify` or `lint` found something, or `diff --exit-code` differences.
"""

from __future__ import annotations

import click

import lifecycle as package
from lifecycle.audit.stores.opening import DatabaseStore
from lifecycle.cli.exporting import export
from lifecycle.cli.keeping import erase, hold, prune
from lifecycle.cli.linting import lint
from lifecycle.cli.logs import store_at, told
from lifecycle.cli.proving import seal, verify
from lifecycle.cli.reading import reading
from lifecycle.cli.reconciling import reconcile
from lifecycle.cli.restoring import restoring
from lifecycle.cli.serving import is_loopback, listener, pages, serve

__all__ = ["lifecycle"]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  lifecycle create-tables sqlite:///app.db
  lifecycle history sqlite:///app.db shop.Order 17
  lifecycle undo --app shop:lifecycle 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175 --dry-run
  lifecycle ui postgresql+psycopg://reader@db/audit
  lifecycle seal sqlite:///app.db
  lifecycle verify sqlite:///app.db

A URL is written as SQLAlchemy does: dialect+driver://user:password@host:port/database, or as
MongoDB does: mongodb://user:password@host:port/database.""",
)
@click.version_option(package.__version__, message="lifecycle %(version)s")
def lifecycle() -> None:
    """The history of an application's objects, in the database where it is recorded."""


@lifecycle.command(
    "create-tables",
    short_help="Create the audit tables that are missing.",
    epilog="""\b
Examples:
  lifecycle create-tables sqlite:///app.db
  lifecycle create-tables mysql+pymysql://root@127.0.0.1/shop
  lifecycle create-tables mongodb://127.0.0.1/shop""",
)
@click.argument("store", metavar="URL", callback=store_at)
def create_tables(store: DatabaseStore) -> None:
    """Create the audit tables that are missing in the database at URL; in MongoDB the indexes.

    Tables that are there stay as they are. An application that uses Alembic lets it create them
    instead, from Lifecycle.metadata.
    """
    with told():
        store.create_tables()
    click.echo(f"The audit tables are in {store.url}.")


@lifecycle.command(
    short_help="Serve the history pages until Ctrl-C.",
    epilog="""\b
Examples:
  lifecycle ui sqlite:///app.db
  lifecycle ui postgresql+psycopg://reader@db/audit --port 9000""",
)
@click.argument("store", metavar="URL", callback=store_at)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen at; 0 for any that is free.",
)
def ui(store: DatabaseStore, host: str, port: int) -> None:
    """Serve the history pages of the log at URL until Ctrl-C.

    At the default host only this machine is answered. At any other, everyone who can reach it
    sees the whole history: to let only some people in, mount audit_ui.create_app(…, access=…) in
    your application instead.
    """
    with told():
        store.check()
    local_only = is_loopback(host)
    app = pages(store, local_only=local_only)
    with listener(host, port) as socket:
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"The history is at http://{shown}:{socket.getsockname()[1]}/ (Ctrl-C ends it)")
        if not local_only:
            click.echo(f"Everyone who can reach {host} sees the whole history.", err=True)
        serve(app, socket)
    click.echo("Ended.")


_ALL = (*reading, *restoring, export, erase, hold, lint, prune, reconcile, seal, verify)

for _command in _ALL:
    lifecycle.add_command(_command)
