"""The commands that put objects back, each after showing what it would do."""

from __future__ import annotations

from typing import Any

import click

from lifecycle.audit.restore import Preview
from lifecycle.cli.logs import agreed
from lifecycle.cli.reaching import FromLog, Log, from_log
from lifecycle.cli.showing import preview_as_json, print_preview
from lifecycle.context import acting

__all__ = ["restoring"]


def _options(command: Any) -> Any:
    options = (
        click.option("--field", "fields", multiple=True, metavar="NAME", help="Only this field."),
        click.option("--dry-run", is_flag=True, help="Show what it would do, and no more."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--actor", metavar="ID", help="Who does it, for the log."),
        click.option("--reason", metavar="TEXT", help="Why, for the log."),
        click.option("--json", is_flag=True, help="Answer with one JSON object."),
    )
    for decorate in reversed(options):  # help names them in this order
        command = decorate(command)
    return command


@click.command(
    cls=FromLog,
    short_help="Undo a change, or all a revision changed.",
    epilog="""\b
Examples:
  lifecycle undo --app shop:lifecycle 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175 --dry-run
  lifecycle undo --app shop:lifecycle 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175.0 --field total --yes

It exits with 1 when something is in the way, and with 0 when there is nothing to do.""",
)
@click.argument("id")
@click.option("--force", is_flag=True, help="Also put back fields that were changed again since.")
@_options
@from_log
def undo(log: Log, id: str, force: bool, fields: tuple[str, ...], **how: Any) -> None:
    """Invert the change of a record, or those of a revision; ID says which.

    What was changed besides stays. It is itself recorded, and can itself be undone.
    """
    what = log.revision_or_record(id)
    preview = log.application().restore.preview(undo=what, fields=fields or None, force=force)
    _carry_out(log, preview, **how)


@click.command(
    cls=FromLog,
    short_help="Make an object what it was, deleted ones included.",
    epilog="""\b
Examples:
  lifecycle restore --app shop:lifecycle 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175.0
  lifecycle restore --app shop:lifecycle shop.Order 17 --dry-run""",
)
@click.argument("what")
@click.argument("key", required=False)
@_options
@from_log
def restore(log: Log, what: str, key: str | None, fields: tuple[str, ...], **how: Any) -> None:
    """Make an object what it was right after a record, or bring a deleted one back.

    WHAT is a record's id; or, with KEY, the entity of a deleted object.
    """
    verbs = log.application().restore
    if key is not None:
        if fields:
            raise click.UsageError("a deleted object comes back with all its fields")
        preview = verbs.preview(undelete=(what, key))
    else:
        preview = verbs.preview(to=log.record(what), fields=fields or None)
    _carry_out(log, preview, **how)


def _carry_out(
    log: Log,
    preview: Preview,
    *,
    dry_run: bool,
    yes: bool,
    actor: str | None,
    reason: str | None,
    json: bool,
) -> None:
    if not json:
        print_preview(preview)
    made: list[str] = []
    if preview.steps and not preview.conflicts and not dry_run:
        agreed("Do it?", yes)
        with acting(actor, reason=reason, source="lifecycle command"):
            restored = log.application().restore.apply(preview)
        found = log.history.find(group=restored.group)
        made = sorted({str(record.revision.id) for record in found})
    if json:
        click.echo(preview_as_json(preview, made))
    elif made:
        click.echo(f"Done, as revision {', '.join(made)}.")
    elif preview.conflicts:
        click.echo("Nothing was written: something is in the way.", err=True)
    if preview.conflicts:
        click.get_current_context().exit(1)


restoring = (undo, restore)
"""The commands here."""
