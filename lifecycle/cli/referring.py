"""`lifecycle check-references`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from lifecycle import codec
from lifecycle.cli.logs import FOUND, agreed, an_application, as_lines, counting, told
from lifecycle.context import acting

__all__ = ["check_references"]


@click.command(
    "check-references",
    short_help="Find references to what is not there, and repair them.",
    epilog="""\b
Examples:
  lifecycle check-references --app shop.main:lifecycle
  lifecycle check-references --app shop.main:lifecycle --repair declared --dry-run
  lifecycle check-references --app shop.main:lifecycle --repair nullify --yes --actor ann

Exits with 0 when nothing was found, or all of it was repaired; with 3 when something dangles.""",
)
@an_application
@click.option("--json", "json", is_flag=True, help="One JSON object for each, in a line.")
@click.option(
    "--repair",
    type=click.Choice(["nullify", "delete", "declared"]),
    help="Set them to None, delete the objects that have them, or do as their on_delete says.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be repaired.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--actor", metavar="ID", help="Who does it, for the log.")
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
def check_references(
    app: Any,
    json: bool,
    repair: Any,
    dry_run: bool,
    yes: bool,
    actor: str | None,
    reason: str | None,
) -> None:
    """Look at every reference between an application's databases for what it leads to.

    With --repair it says first what it found, and asks. A repair goes through the models with
    their hooks, and is recorded. References within embedded documents are only reported.
    """
    if app is None:
        raise click.UsageError("whose references? give --app module:lifecycle")
    if (dry_run or yes) and repair is None:
        raise click.UsageError("--dry-run and --yes are about a repair: give --repair too")
    with told():
        found = _told(app, json, silent=repair is not None and yes and not dry_run)
    if not found:
        _say(json, "Nothing dangles.")
        return
    if repair is None or dry_run:
        _say(json, f"{found} dangling{'; nothing was changed' if repair else ''}.")
        raise click.exceptions.Exit(FOUND)
    agreed(f"Repair these ({repair})?", yes)
    with told(), acting(actor, reason=reason, source="lifecycle command"):
        left, repaired = _repaired(app, json, repair)
    _say(json, f"{repaired} repaired{f', {left} left' if left else ''}.")
    if left:
        raise click.exceptions.Exit(FOUND)


def _told(app: Any, json: bool, *, silent: bool) -> int:
    """Print what dangles; returns how much does."""
    found = 0
    with counting("checked") as progress:
        for one in app.references.check(progress=progress):
            found += 1
            if not silent:
                _print(one, json)
    return found


def _repaired(app: Any, json: bool, repair: Any) -> tuple[int, int]:
    """Repair what dangles, and print it; returns how much was left, and how much was repaired."""
    left = repaired = 0
    with counting("checked") as progress:
        for one in app.references.check(repair=repair, progress=progress):
            _print(one, json)
            if one.repaired is None:
                left += 1
            else:
                repaired += 1
    return left, repaired


def _print(one: Any, json: bool) -> None:
    if json:
        click.echo(codec.to_text({name: codec.encode(it) for name, it in asdict(one).items()}))
    else:
        as_lines(None, False, str(one))


def _say(json: bool, text: str) -> None:
    click.echo(text, err=json)
