"""`lifecycle export`: records as files that other programs read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

import click

from lifecycle import codec
from lifecycle.audit.format import dump
from lifecycle.audit.records import Record
from lifecycle.cli.reaching import FromLog, Log, from_log
from lifecycle.cli.reading import counted, filters
from lifecycle.cli.showing import as_json

__all__ = ["export"]

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
@click.option(
    "--format",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="By default as the file's name ends, else jsonl.",
)
@filters
@from_log
def export(log: Log, file: str, entity: str | None, format: str | None, **wanted: Any) -> None:
    """Write the records that match to FILE, oldest first; - is the standard output.

    It needs as much memory for a large log as for a small one.
    """
    kind = format or file.rpartition(".")[2]
    write = _WRITERS.get(kind, _write_jsonl)
    records = log.history.find(entity, newest_first=False, **wanted)
    count = write(file, counted(records, "exported"))
    click.echo(f"{count} records are in {'the output' if file == '-' else file}.", err=True)


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
    schema = pyarrow.schema([(name, pyarrow.string()) for name in _COLUMNS])
    count, rows = 0, map(_row, records)
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while chunk := list(islice(rows, _CHUNK)):
            count += len(chunk)
            columns = [list(column) for column in zip(*chunk, strict=True)]
            writer.write_table(pyarrow.table(dict(zip(_COLUMNS, columns, strict=True)), schema))
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
