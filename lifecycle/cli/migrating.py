"""`lifecycle migrations`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any, Final

import click

from lifecycle.behaviours.migrations import Ran, Versions
from lifecycle.cli.logs import FOUND, an_application, as_lines, counting, told

__all__ = ["migrations"]

_INTERRUPTED: Final = 130  # what a shell expects after Ctrl-C


@click.command(
    short_help="Count objects by version, and migrate those that are behind.",
    epilog="""\b
Examples:
  lifecycle migrations --app shop.main:lifecycle
  lifecycle migrations --app shop.main:lifecycle --run --dry-run
  lifecycle migrations --app shop.main:lifecycle --run --rate 200 --entity shop.User

Exits with 0 when every object is current, 3 when some are behind or ahead of the code, 1 when it
could not be told, 130 after Ctrl-C, which loses nothing: run it again to go on.""",
)
@an_application
@click.option("--run", "run", is_flag=True, help="Migrate the objects that are behind.")
@click.option("--dry-run", is_flag=True, help="With --run: take the steps, and write nothing.")
@click.option(
    "--entity", "entities", multiple=True, metavar="NAME", help="Only this model; may be repeated."
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Objects a second at most.")
@click.option("--limit", type=click.IntRange(1), help="Objects in all at most.")
@click.option(
    "--chunk",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Objects in one transaction at most.",
)
@click.option("--json", "json", is_flag=True, help="Answer with one JSON object.")
def migrations(
    app: Any,
    run: bool,
    dry_run: bool,
    entities: tuple[str, ...],
    rate: float | None,
    limit: int | None,
    chunk: int,
    json: bool,
) -> None:
    """Count the objects of each model with a lazy migration by the version they are stored at.

    With --run those that are behind are migrated, in short transactions, while the application
    goes on. It may be stopped and run again, and several may run at once. An object that cannot be
    migrated is named and left untouched.
    """
    if app is None:
        raise click.UsageError("whose models? give --app module:lifecycle")
    if dry_run and not run:
        raise click.UsageError("--dry-run is for --run: give both")
    ran = None
    with told():
        found = app.migrations.versions(*_models(app, entities))
        if run:
            behind = sum(one.behind for one in found)
            total = behind if limit is None else min(behind, limit)
            ran = _run(app, entities, total, limit=limit, rate=rate, chunk=chunk, dry_run=dry_run)
            found = app.migrations.versions(*_models(app, entities))
    answer: dict[str, Any] = {"models": [_as_dict(one) for one in found]}
    if ran is not None:
        answer["run"] = asdict(ran)
    answer["elsewhere"] = [] if entities else app.migrations.elsewhere()
    lines = [] if ran is None else _ran(ran)
    lines += [
        f"not in this database, or no sessionmaker is installed: {entity}"
        for entity in answer["elsewhere"]
    ]
    as_lines(answer, json, *lines, *map(_line, found))
    if any(one.behind or one.ahead for one in found):
        raise click.exceptions.Exit(FOUND)


def _models(app: Any, entities: tuple[str, ...]) -> list[type]:
    return [app.migrations.model(entity) for entity in entities]


def _run(app: Any, entities: tuple[str, ...], total: int, **options: Any) -> Ran:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(more)

    try:
        with counting("migrated", total) as progress:
            ran: Ran = app.migrations.run(*_models(app, entities), progress=count, **options)
    except KeyboardInterrupt:
        click.echo(f"\nStopped after {done:,} objects; run it again to go on.", err=True)
        sys.exit(_INTERRUPTED)
    return ran


def _ran(ran: Ran) -> list[str]:
    lines = [
        f"{one.entity} {one.key}: would write {', '.join(one.writes)}"
        + (f" and take away {', '.join(one.drops)}" if one.drops else "")
        for one in ran.examples
    ]
    lines += [one.why for one in ran.failures]
    done = "would be migrated; nothing was written" if ran.dry_run else "migrated"
    return [*lines, f"{ran.migrated:,} {done}, {ran.failed:,} failed, {ran.left:,} left."]


def _as_dict(one: Versions) -> dict[str, Any]:
    counts = {str(version): count for version, count in one.counts.items()}
    return {**asdict(one), "counts": counts, "behind": one.behind, "ahead": one.ahead}


def _line(one: Versions) -> str:
    counts = ", ".join(f"{count:,} at version {version}" for version, count in one.counts.items())
    state = f"{one.behind:,} behind" if one.behind else "all current"
    if one.ahead:
        state += f", {one.ahead:,} ahead of this code"
    return f"{one.entity}: version {one.current}, {state}: {counts or 'no objects'}"
