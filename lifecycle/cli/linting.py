"""`lifecycle lint`."""

from __future__ import annotations

from typing import Any

import click

from lifecycle.cli.logs import FOUND, an_application, as_lines, told

__all__ = ["lint"]


@click.command(
    short_help="Say what the log would miss, or tell too much of.",
    epilog="""\b
Examples:
  lifecycle lint --app shop.main:lifecycle
  LIFECYCLE_APP=shop.main:lifecycle lifecycle lint --ignore entity

Exits with 0 when there is nothing to say, 3 when there is.""",
)
@an_application
@click.option("--json", "json", is_flag=True, help="Answer with one JSON array.")
@click.option("--ignore", multiple=True, metavar="RULE", help="Leave out what this rule says.")
def lint(app: Any, json: bool, ignore: tuple[str, ...]) -> None:
    """Look at an application's models for what the log would miss, or tell too much of.

    The rules: secret (values that look secret and are not masked, in JSON too, of which some rows
    are read), mutable (JSON columns whose
    inner changes SQLAlchemy does not see), entity (a model without a name of its own in the log),
    cascade (rows that foreign keys change unrecorded), install (models nothing is installed for).
    """
    if app is None:
        raise click.UsageError("whose models? give --app module:lifecycle")
    with told():
        found = [one for one in app.lint() if one.rule not in ignore]
    as_lines([one._asdict() for one in found], json, *map(str, found))
    if found:
        raise click.exceptions.Exit(FOUND)
