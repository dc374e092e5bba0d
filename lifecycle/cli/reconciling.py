"""`lifecycle reconcile`."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

import click

from lifecycle import codec
from lifecycle.audit.reconciling import Settled, reconciled
from lifecycle.audit.stores.opening import DatabaseStore
from lifecycle.cli.logs import FOUND, store_at, told
from lifecycle.context import acting
from lifecycle.verdicts import Answer

__all__ = ["reconcile"]

_NAMED = 3

_SAID = {
    Answer.HAPPENED: "was made: recorded now",
    Answer.DID_NOT: "was not made: its intent is removed",
    Answer.RECORDED: "is recorded already: its intent is removed",
    Answer.UNCLEAR: "cannot be told (revision {id})",
    Answer.PENDING: "may be under way",
}


@click.command(
    short_help="Settle what a crash left between documents and their records.",
    epilog="""\b
Examples:
  lifecycle reconcile sqlite:///audit.db --documents mongodb://127.0.0.1/ --dry-run
  lifecycle reconcile postgresql+psycopg://db/audit --documents mongodb://mongo1,mongo2/ --json
  lifecycle reconcile sqlite:///audit.db --documents mongodb://127.0.0.1/ --by ann \\
    --reason "never arrived" --not-made 019dfc1a-7b1f-7f1a-93c3-5f87e34c9175""",
)
@click.argument("store", metavar="URL", callback=store_at)
@click.option("--documents", metavar="URI", required=True, help="The MongoDB of the documents.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--json", "json", is_flag=True, help="One JSON object per change and line.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Leave what is younger, for it may be under way.",
)
@click.option(
    "--made",
    type=click.UUID,
    multiple=True,
    metavar="REVISION",
    help="What cannot be told of this revision was made: record it.",
)
@click.option(
    "--not-made",
    type=click.UUID,
    multiple=True,
    metavar="REVISION",
    help="What cannot be told of this revision was not made: forget it.",
)
@click.option("--by", help="Who says so, for the log.")
@click.option("--reason", help="Why, for the log.")
def reconcile(
    store: DatabaseStore,
    documents: str,
    dry_run: bool,
    json: bool,
    older_than: float,
    made: tuple[UUID, ...],
    not_made: tuple[UUID, ...],
    by: str | None,
    reason: str | None,
) -> None:
    """Settle what a crash left between the writes of documents and their records at URL.

    Each change that was announced and not recorded is looked up at its document: it is recorded if
    it was made, and forgotten if it was not. What cannot be told stays, and makes the exit code 3,
    until you have looked yourself, and say it with --made or --not-made. That is recorded, too, as
    lifecycle.Decision. It counts only where the documents do not tell.
    """
    both = {*made} & {*not_made}
    if both:
        raise click.UsageError(f"made and not made, both? {', '.join(map(str, both))}")
    if (by or reason) and not (made or not_made):
        raise click.UsageError("--by and --reason are about --made and --not-made: give one")
    try:
        from lifecycle.mappers.mongoengine.tracing import given_client, looking_at
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"documents need {error.name}; run: pip install 'lifecycle-audit[mongo]'"
        ) from error
    counts: Counter[Answer] = Counter()
    said = {**dict.fromkeys(made, True), **dict.fromkeys(not_made, False)}
    source = "lifecycle command"
    with told(), given_client(documents) as client, acting(by, reason=reason, source=source):
        store.check()
        settling = reconciled(
            store,
            looking_at(lambda servers: client),
            older_than=timedelta(seconds=older_than),
            dry_run=dry_run,
            said=said,
        )
        for one in settling:
            counts[one.answer] += 1
            click.echo(_as_json(one) if json else _as_text(one, dry_run))
    if not json:
        click.echo(_summary(counts, dry_run))
    if counts[Answer.UNCLEAR]:
        raise click.exceptions.Exit(FOUND)


def _as_text(one: Settled, dry_run: bool) -> str:
    what = ", ".join(
        f"{record.operation} of {record.entity} {record.key}" for record in one.records[:_NAMED]
    )
    if len(one.records) > _NAMED:
        what += f" and {len(one.records) - _NAMED} more"
    said = _SAID[one.answer].format(id=one.id)
    if dry_run:
        said = said.partition(":")[0]
    if one.decided:
        said += f" ({one.decided} by your word)"
    why = "" if one.why is None else f": {one.why}"
    line = f"{one.revision.at:%Y-%m-%d %H:%M:%S} UTC  {what} {said}{why}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _as_json(one: Settled) -> str:
    return codec.to_text(
        {
            "revision": str(one.id),
            "at": one.revision.at.isoformat(),
            "answer": one.answer.value,
            "why": codec.encode(one.why),
            "decided": one.decided,
            "changes": [
                {
                    "entity": codec.encode(record.entity),
                    "key": codec.encode(record.key),
                    "operation": record.operation.value,
                }
                for record in one.records
            ],
        }
    )


def _summary(counts: Counter[Answer], dry_run: bool) -> str:
    if not counts:
        return "Nothing to reconcile."
    said = ", ".join(f"{counts[answer]} {answer.value}" for answer in Answer if counts[answer])
    return f"{said}; nothing was changed." if dry_run else f"{said}."
