"""Options that say which records are wanted, and how they are answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lifecycle.changes import Operation
from lifecycle.cli.reaching import moment

__all__ = ["filters", "json_lines", "moment_of"]

F = TypeVar("F", bound=Callable[..., Any])


def filters(command: F) -> F:
    """Options that say which records are wanted; all that are given must hold."""
    options = (
        click.option("--field", metavar="NAME", help="Only those that changed this field."),
        click.option("--actor", metavar="ID", help="Only those of this actor."),
        click.option(
            "--operation", type=click.Choice([one.value for one in Operation]), help="Only these."
        ),
        click.option("--request", "request_id", metavar="ID", help="Only those of this request."),
        click.option("--revision", metavar="ID", help="Only those of this revision."),
        click.option("--since", metavar="TIME", callback=moment_of, help="From this time on."),
        click.option("--until", metavar="TIME", callback=moment_of, help="Before this time."),
    )
    for decorate in reversed(options):  # help names them in this order
        command = decorate(command)
    return command


def moment_of(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """The time an option gives, if it was given."""
    return None if text is None else moment(text)


json_lines = click.option("--json", "json", is_flag=True, help="JSON, one object in a line.")
