"""`lifecycle erase`, `lifecycle prune` and `lifecycle hold`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click
import msgspec

from lifecycle.audit.holding import hold as hold_records
from lifecycle.audit.holding import release as release_hold
from lifecycle.audit.ledger import Hold, ledger_of
from lifecycle.audit.privacy import erase as erase_values
from lifecycle.audit.privacy import keys_of
from lifecycle.audit.privacy import prune as prune_log
from lifecycle.cli.logs import a_log, agreed, as_lines, counting, the_store, told
from lifecycle.cli.proving import key_in, signing_key
from lifecycle.cli.reaching import Log
from lifecycle.context import acting

__all__ = ["erase", "hold", "prune"]

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class _Age(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """An age: 12h, 90d, 52w or 7y."""

    name = "AGE"

    def convert(self, value: Any, parameter: Any, context: Any) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d+)([hdwy])", value)
        if found is None:
            self.fail(f"{value!r} is no age: write 12h, 90d, 52w or 7y", parameter, context)
        number, unit = int(found[1]), found[2]
        try:
            if unit == "y":
                return timedelta(days=366 * number)
            return timedelta(**{_UNITS[unit]: number})
        except OverflowError:
            self.fail(f"{value!r} is too long ago", parameter, context)


def _acts(command: Any) -> Any:
    """What a command that removes for good asks for."""
    options = (
        click.option("--dry-run", is_flag=True, help="Say what it would do, and change nothing."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--by", help="Who does it, for the chain of seals."),
        click.option("--reason", help="Why, for the chain of seals."),
        signing_key,
        a_log,
    )
    for decorate in reversed(options):  # help names them in this order
        command = decorate(command)
    return command


@click.command(
    short_help="Erase recorded values for good.",
    epilog="""\b
Examples:
  lifecycle erase sqlite:///app.db --entity shop.User --key 17 --dry-run
  lifecycle erase sqlite:///app.db --entity shop.User --key 17 --yes --reason "request 12"
  lifecycle erase sqlite:///app.db --entity shop.User --field phone
  lifecycle erase sqlite:///app.db --actor ann

An object whose key was changed is erased under the keys it had before, too.""",
)
@click.option("--actor", help="Erase who did it, and why, of all that this actor did.")
@click.option("--entity", help="The model whose values are erased.")
@click.option("--key", "keys", multiple=True, help="Only of the object with this key.")
@click.option("--field", "fields", multiple=True, help="Only of this field.")
@click.option("--with-keys", is_flag=True, help="The keys themselves, too.")
@_acts
def erase(
    store: Any,
    app: Any,
    json: bool,
    key_file: Any,
    dry_run: bool,
    yes: bool,
    by: str | None,
    reason: str | None,
    actor: str | None,
    entity: str | None,
    keys: tuple[str, ...],
    fields: tuple[str, ...],
    with_keys: bool,
) -> None:
    """Put a keyed digest in place of recorded values, so that the log still verifies.

    The values cannot be had back, nor guessed from what is left. The application's own tables are
    not touched.
    """
    agreed("The values will be gone from the log for good. Erase them?", yes or dry_run)
    with told():
        log = the_store(store, app)
        if entity is not None:
            Log(log, app).history.refuse_unknown(entity)
            keys = tuple({each for one in keys for each in keys_of(log, entity, one)})
        with counting("erased") as progress, acting(by, reason=reason):
            done = erase_values(
                log,
                actor=actor,
                entity=entity,
                keys=keys or None,
                fields=fields or None,
                known_fields=() if app is None or entity is None else app.models.fields(entity),
                with_keys=with_keys,
                dry_run=dry_run,
                key=key_in(key_file),
                progress=progress,
            )
    if dry_run:
        words = f"{done.matched} rows of the log would be erased."
    else:
        words = f"{done.values} values of {done.rows} rows of the log were erased."
    as_lines(done, json, words)
    if done.pending:
        click.echo(
            f"{done.pending} writes of documents that have such values are announced and not "
            "recorded yet: run `lifecycle reconcile`, and erase again.",
            err=True,
        )


@click.command(
    short_help="Remove old records.",
    epilog="""\b
Examples:
  lifecycle prune sqlite:///app.db --older-than 7y --dry-run
  lifecycle prune sqlite:///app.db --older-than 90d --entity shop.Cart --yes
  lifecycle prune sqlite:///app.db --entity shop.Price --keep 100 --yes""",
)
@click.option("--older-than", type=_Age(), help="Remove what is older: 12h, 90d, 52w, 7y.")
@click.option("--keep", type=click.IntRange(min=1), help="Keep so many records of each object.")
@click.option("--entity", help="Only of this model.")
@_acts
def prune(
    store: Any,
    app: Any,
    json: bool,
    key_file: Any,
    dry_run: bool,
    yes: bool,
    by: str | None,
    reason: str | None,
    older_than: timedelta | None,
    keep: int | None,
    entity: str | None,
) -> None:
    """Remove records by age, by number, or both; what is under a legal hold stays.

    Removed in short transactions. What was sealed leaves its digest, so that the rest verifies.
    """
    agreed("The records will be gone for good. Remove them?", yes or dry_run)
    with told():
        log = the_store(store, app)
        if entity is not None and entity not in log.entities():
            click.echo(Log(log).nothing_found(entity, None), err=True)
        with counting("pruned") as progress, acting(by, reason=reason):
            done = prune_log(
                log,
                older_than=older_than,
                keep=keep,
                entity=entity,
                dry_run=dry_run,
                key=key_in(key_file),
                progress=progress,
            )
    held = f"; {done.held} are held" if done.held else ""
    would = "would be" if dry_run else "were"
    words = f"{done.records} records and {done.revisions} revisions {would} removed{held}."
    as_lines(done, json, words)


@click.command(
    short_help="Set, list and release legal holds.",
    epilog="""\b
Examples:
  lifecycle hold sqlite:///app.db
  lifecycle hold sqlite:///app.db --entity shop.Order --key 17 --reason "case 7"
  lifecycle hold sqlite:///app.db --actor ann
  lifecycle hold sqlite:///app.db --release 3""",
)
@click.option("--entity", help="Hold the records of this model.")
@click.option("--key", help="Only of the object with this key.")
@click.option("--actor", help="Hold what this actor did.")
@click.option("--release", type=int, metavar="NUMBER", help="Take the hold of this number away.")
@click.option("--reason", help="Why, for the chain of seals, too.")
@click.option("--by", help="Who does it, for the chain of seals, too.")
@signing_key
@a_log
def hold(
    store: Any,
    app: Any,
    json: bool,
    key_file: Any,
    entity: str | None,
    key: str | None,
    actor: str | None,
    reason: str | None,
    by: str | None,
    release: int | None,
) -> None:
    """Keep records from being pruned and erased; without options, list what is held.

    Who sets and who releases a hold is in the chain of seals, and `lifecycle verify` finds one that
    was taken away or altered past that.
    """
    with told():
        log, signs = the_store(store, app), {"signing_key": key_in(key_file)}
        if release is not None:
            with acting(by, reason=reason):
                if not release_hold(log, release, **signs):
                    raise click.ClickException(f"there is no hold {release}")
            as_lines({"released": release}, json, f"Hold {release} is released.")
        elif entity or actor or key:
            if entity:
                Log(log, app).history.refuse_unknown(entity)
            with acting(by):
                made = hold_records(
                    log, entity=entity, key=key, actor=actor, reason=reason, **signs
                )
            as_lines(made, json, _words(made))
        else:
            holds = ledger_of(log).holds()
            as_lines(holds, json, *(map(_words, holds) if holds else ("Nothing is held.",)))


def _words(hold: Hold) -> str:
    """A hold on one line, with characters that could steer a terminal escaped."""
    told = msgspec.to_builtins(hold)
    parts = [f"{name} {told[name]!a}" for name in ("entity", "key", "actor") if told[name]]
    who = f" by {hold.set_by!a}" if hold.set_by else ""
    why = f": {hold.reason!a}" if hold.reason else ""
    return f"{hold.number}  {hold.at}  {', '.join(parts)}{who}{why}"
