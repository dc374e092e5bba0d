"""`lifecycle export` and `lifecycle export-subject`: records as files that other programs read."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from tempfile import mkstemp
from typing import Any, Final

import click

from lifecycle import codec
from lifecycle.audit.format import dump
from lifecycle.audit.privacy import export_subject as everything_about
from lifecycle.audit.privacy import keys_of
from lifecycle.audit.records import Record
from lifecycle.cli.reaching import FromLog, Log, from_log
from lifecycle.cli.selecting import filters
from lifecycle.cli.showing import as_json
from lifecycle.cli.streaming import counted

__all__ = ["export", "export_subject"]

_COLUMNS: Final = (
    "id",
    "at",
    "actor",
    "actor_label",
    "reason",
    "source",
    "request_id",
    "entity",
    "key",
    "former_key",
    "operation",
    "label",
    "error",
    "cause",
    "context",
    "changes",
)
_CHUNK: Final = 10_000  # rows of a Parquet file's row group


_format = click.option(
    "--format",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="By default as the file's name ends, else jsonl.",
)


@click.command(
    cls=FromLog,
    short_help="Write records to a file: JSON Lines, CSV or Parquet.",
    epilog="""\b
Examples:
  lifecycle export sqlite:///app.db orders.jsonl --entity shop.Order
  lifecycle export sqlite:///app.db november.csv --since 2026-11-01 --until 2026-12-01
  lifecycle export sqlite:///app.db - --actor ann | gzip > ann.jsonl.gz

Parquet needs pyarrow: pip install 'lifecycle-audit[parquet]'.""",
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--entity", metavar="NAME", help="Only records of this model.")
@_format
@filters
@from_log
def export(log: Log, file: str, entity: str | None, format: str | None, **wanted: Any) -> None:
    """Write the records that match to FILE, oldest first; - is the standard output.

    FILE is there, or replaced, when all of it is written. It needs as much memory for a large log
    as for a small one.
    """
    _save(file, format, log.history.find(entity, newest_first=False, **wanted))


@click.command(
    "export-subject",
    cls=FromLog,
    short_help="Write all there is about one person to a file.",
    epilog="""\b
Examples:
  lifecycle export-subject sqlite:///app.db eve.jsonl --object shop.User 17 --actor eve
  lifecycle export-subject sqlite:///app.db eve.csv --object shop.User 17 --object shop.Order 3""",
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--object",
    "objects",
    nargs=2,
    multiple=True,
    metavar="ENTITY KEY",
    help="An object that is about them; more than once for several.",
)
@click.option("--actor", metavar="ID", help="What they did as this actor.")
@_format
@from_log
def export_subject(
    log: Log,
    file: str,
    objects: tuple[tuple[str, str], ...],
    actor: str | None,
    format: str | None,
) -> None:
    """Write what one person did, and what happened to objects that are about them, to FILE.

    Oldest first, each record once; objects under every key they had. - is the standard output.
    """
    for entity, _ in objects:
        log.history.refuse_unknown(entity)
    subjects = [
        (entity, each) for entity, key in objects for each in keys_of(log.store, entity, key)
    ]
    _save(file, format, everything_about(log.store, actor=actor, objects=subjects))


def _save(file: str, format: str | None, records: Iterable[Record]) -> None:
    kind = format or file.rpartition(".")[2]
    write = _WRITERS.get(kind, _write_jsonl)
    try:
        with _whole(file) as place:
            count = write(place, counted(records, "exported"))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
    click.echo(f"{count} records are in {'the output' if file == '-' else file}.", err=True)


@contextmanager
def _whole(file: str) -> Iterator[str]:
    """A file to write to that takes the name of another one when it is whole, and goes when not."""
    if file == "-" or (os.path.exists(file) and not os.path.isfile(file)):  # a device, or a pipe
        yield file
        return
    target = os.path.realpath(file)
    folder, name = os.path.split(target)
    try:
        handle, part = mkstemp(prefix=f".{name}.", dir=folder)
    except OSError as error:
        raise click.FileError(file, str(error.strerror)) from error
    os.close(handle)
    try:
        yield part
        is_there = os.path.exists(target)
        os.chmod(part, os.stat(target).st_mode if is_there else 0o666 & ~_umask())
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise


def _umask() -> int:
    found = os.umask(0o77)
    os.umask(found)
    return found


def _write_jsonl(file: str, records: Iterable[Record]) -> int:
    count = 0
    with click.open_file(file, "w", encoding="utf-8") as stream:
        for record in records:
            count += 1
            stream.write(as_json(record) + "\n")
    return count


def _write_csv(file: str, records: Iterable[Record]) -> int:
    count = 0
    with click.open_file(file, "w", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for record in records:
            count += 1
            writer.writerow([_harmless(value) for value in _row(record)])
    return count


def _write_parquet(file: str, records: Iterable[Record]) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise click.ClickException(
            "Parquet needs pyarrow; run: pip install 'lifecycle-audit[parquet]'"
        ) from None
    if file == "-":
        raise click.UsageError("a Parquet file cannot be written to the standard output")
    text, moment = pyarrow.string(), pyarrow.timestamp("us", "UTC")
    schema = pyarrow.schema([(name, moment if name == "at" else text) for name in _COLUMNS])
    count, rows = 0, map(_row, records)
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while chunk := list(islice(rows, _CHUNK)):
            count += len(chunk)
            columns = dict(zip(_COLUMNS, zip(*chunk, strict=True), strict=True))
            columns["at"] = tuple(map(datetime.fromisoformat, columns["at"]))
            writer.write_table(pyarrow.table(columns, schema))
    return count


def _row(record: Record) -> Iterator[str | None]:
    revision = record.revision
    values = (
        record.id,
        revision.at.isoformat(),
        revision.actor,
        revision.actor_label,
        revision.reason,
        revision.source,
        revision.request_id,
        record.entity,
        record.key,
        record.former_key,
        record.operation.value,
        record.label,
        record.error,
        record.cause,
        codec.dumps(dict(revision.context)),
        dump(record.changes),
    )
    return (
        value if value is None or codec.is_text(value) else ascii(value)[1:-1] for value in values
    )


def _harmless(value: str | None) -> str:
    """A cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


_WRITERS: Final[dict[str, Callable[[str, Iterable[Record]], int]]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "parquet": _write_parquet,
}
