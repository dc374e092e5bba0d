"""The commands that read the history of objects and revisions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click

from lifecycle import codec
from lifecycle.audit.format import dump
from lifecycle.audit.records import Record
from lifecycle.audit.replaying import State
from lifecycle.changes import Operation, split_path
from lifecycle.cli.logs import FOUND
from lifecycle.cli.reaching import FromLog, Log, from_log
from lifecycle.cli.selecting import filters, json_lines
from lifecycle.cli.showing import as_json, print_records, print_values, shown

__all__ = ["reading"]


@click.command(
    cls=FromLog,
    short_help="Show changes, newest first.",
    epilog="""\b
Examples:
  lifecycle history sqlite:///app.db shop.Order 17
  lifecycle history sqlite:///app.db shop.Order --field total --since 2026-11-01
  lifecycle history sqlite:///app.db --actor ann --operation delete
  lifecycle history --app shop:lifecycle shop.Order 17 --json | jq .changes

ENTITY is the model's registered name; without KEY it is all of its objects, without ENTITY all
there are. A key of several parts is written with commas: 17,3.""",
)
@click.argument("entity", required=False)
@click.argument("key", required=False)
@filters
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many."
)
@json_lines
@from_log
def history(
    log: Log, entity: str | None, key: str | None, limit: int, json: bool, **wanted: Any
) -> None:
    """Show the changes of an object, of a model or of everything, newest first."""
    records = list(islice(_records(log, entity, key, **wanted), limit + 1))
    if not records:
        raise click.ClickException(log.nothing_found(entity, key))
    if json:
        for record in records[:limit]:
            click.echo(as_json(record))
    else:
        print_records(records[:limit], with_object=key is None)
    if len(records) > limit:
        click.echo(f"There are more than these {limit}; --limit shows them.", err=True)


def _records(
    log: Log, entity: str | None, key: str | None, revision: str | None = None, **wanted: Any
) -> Iterator[Record]:
    if entity is not None and entity not in log.store.entities():
        return iter(())
    if entity is not None and key is not None:
        found = log.history.of(entity, key, **wanted)
        if revision is None:
            return found
        return (record for record in found if str(record.revision.id) == revision)
    return log.history.find(entity, revision=revision, **wanted)


@click.command(
    cls=FromLog,
    short_help="Show a revision, or one record, by its id.",
    epilog="""\b
Examples:
  lifecycle show sqlite:///app.db 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175
  lifecycle show sqlite:///app.db 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175.0 --json
  lifecycle show sqlite:///app.db 01a1ff2a-7b1f-7f1a-93c3-5f87e34c9175 --net""",
)
@click.argument("id")
@click.option("--net", is_flag=True, help="What it came to for each object, not flush by flush.")
@json_lines
@from_log
def show(log: Log, id: str, net: bool, json: bool) -> None:
    """Show who did what, when and why, in one transaction.

    ID is a revision's, or a record's, which is that of its revision with a number after a dot.
    """
    if "." in id:
        records = [log.record(id)]
    else:
        log.history.revision(id)
        records = list(log.history.find(revision=id, newest_first=False))
    if net:
        rows = [
            (f"{one.operation} {one.entity} {one.key}", path, *shown(one.changes, path))
            for one in log.history.net(records[0].revision)
            for path in one.changes
        ]
        print_values(rows, ("What", "Field", "Before", "After"), json)
    elif json:
        for record in records:
            click.echo(as_json(record))
    else:
        print_records(records, with_object=True)


@click.command(
    cls=FromLog,
    short_help="Compare two versions of an object, or one with now.",
    epilog="""\b
Examples:
  lifecycle diff sqlite:///app.db shop.Order 17 2026-11-01
  lifecycle diff sqlite:///app.db shop.Order 17 2026-11-01 2026-11-21T14:30
  lifecycle diff sqlite:///app.db shop.Order 17 REVISION --exit-code && echo unchanged

A version is a time, the id of a revision, or that of a record.""",
)
@click.argument("entity")
@click.argument("key")
@click.argument("old")
@click.argument("new", required=False)
@click.option("--exit-code", is_flag=True, help="Exit with 3 when there are differences.")
@json_lines
@from_log
def diff(
    log: Log, entity: str, key: str, old: str, new: str | None, exit_code: bool, json: bool
) -> None:
    """Show what changed of an object between OLD and NEW, or since OLD."""
    changes = log.history.compare(
        entity, key, old=log.when(old), new=None if new is None else log.when(new)
    )
    if json:
        click.echo(codec.to_text(codec.from_text(dump(changes))))
    elif not changes:
        click.echo("Nothing differs.")
    else:
        print_values(
            [(path, *shown(changes, path)) for path in changes], ("Field", "Old", "New"), False
        )
    if exit_code and changes:
        click.get_current_context().exit(FOUND)


@click.command(
    cls=FromLog,
    short_help="Tell of each field who gave it its present value.",
    epilog="""\b
Examples:
  lifecycle blame sqlite:///app.db shop.Order 17
  lifecycle blame sqlite:///app.db shop.Order 17 total""",
)
@click.argument("entity")
@click.argument("key")
@click.argument("field", required=False)
@json_lines
@from_log
def blame(log: Log, entity: str, key: str, field: str | None, json: bool) -> None:
    """Show each field's value, and who set it when; of a FIELD every value it ever had."""
    rows: list[tuple[Any, ...]] = []
    columns: tuple[str, ...] = ("Field", "Value", "Who", "When", "Record")
    if field is not None:
        for one in log.history.field(entity, key, field):
            rows.append((field, one.value, *_who(one.record), str(one.lasted).split(".")[0]))
        columns += ("For",)
    else:
        state: State | None = None
        found: dict[str, Record] = {}
        for record in log.history.of(entity, key):
            if state is None:
                state = log.history.as_of(entity, record.key, record)
            for path in record.changes:
                found.setdefault(split_path(path)[0], record)
            if record.operation is Operation.INSERT:
                break
        values = {} if state is None else state.values
        rows = [(name, value, *_who(found[name])) for name, value in values.items()]
    if not rows:
        of_object = None if field is None else next(log.history.of(entity, key), None)
        raise click.ClickException(
            log.nothing_found(entity, key)
            if of_object is None
            else f"no record of {entity} {key} tells of a field {field!r} in {log.name}"
        )
    print_values(rows, columns, json)


def _who(record: Record) -> tuple[str, str, str]:
    revision = record.revision
    at = f"{revision.at:%Y-%m-%d %H:%M:%S} UTC"
    return revision.actor_label or revision.actor or "", at, record.id


@click.command(
    "as-of",
    cls=FromLog,
    short_help="Show an object as it was at some time.",
    epilog="""\b
Examples:
  lifecycle as-of sqlite:///app.db shop.Order 17 2026-11-01
  lifecycle as-of --app shop:lifecycle shop.Order 17 2026-11-01 --related lines --related tags

A time may be the id of a revision, or of a record. --related needs --app, for only the models tell
where a relationship leads.""",
)
@click.argument("entity")
@click.argument("key")
@click.argument("when")
@click.option("--related", multiple=True, metavar="NAME", help="With the objects this led to.")
@json_lines
@from_log
def as_of(log: Log, entity: str, key: str, when: str, related: tuple[str, ...], json: bool) -> None:
    """Show an object's values right after WHEN, also of one that is gone by now."""
    state = log.history.as_of(entity, key, log.when(when))
    if state is None:
        raise click.ClickException(f"there was no {entity} {key} at {when}")
    states = [("", state)]
    for name in related:
        states += [(name, one) for one in state.related(name)]
    if json:
        for name, one in states:
            told = {"entity": one.entity, "key": codec.encode(one.key), "related": name or None}
            click.echo(codec.to_text({**told, "values": codec.encode(dict(one.values))}))
        return
    rows = [
        (f"{name}: {one.entity} {one.key}" if name else f"{one.entity} {one.key}", field, value)
        for name, one in states
        for field, value in one.values.items()
    ]
    print_values(rows, ("Object", "Field", "Value"), False)
    if not state.complete:
        click.echo("The log does not reach back to its insert: fields may be missing.", err=True)


reading = (history, show, diff, blame, as_of)
"""The commands here."""
