"""Records on a terminal, as plain text and as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import click

from lifecycle import codec
from lifecycle.audit.format import dump
from lifecycle.audit.records import Record
from lifecycle.audit.restore import Preview
from lifecycle.changes import Change, ChangeSet, Delta, ListEdit, Operation, SetEdit, Within
from lifecycle.markers import ABSENT

__all__ = ["as_json", "preview_as_json", "print_preview", "print_records", "print_values", "shown"]

_WIDEST: Final = 200  # characters of one value


class Line(NamedTuple):
    """What happened to one value: where, what went, and what came; no text stands for no value."""

    path: str
    old: str
    new: str

    def told(self, operation: Operation) -> str:
        """As text; where the object itself came or went, so did every value."""
        if self.old and self.new:
            return f"{self.path}: {self.old} -> {self.new}"
        what = "" if operation is not Operation.UPDATE else "removed " if self.old else "added "
        return f"{self.path}: {what}{self.old or self.new}"


def as_json(record: Record) -> str:
    """A record as one JSON object in one line; values as the log encodes them."""
    revision = record.revision
    return codec.to_text(
        {
            "id": record.id,
            "at": revision.at.isoformat(),
            "actor": codec.encode(revision.actor),
            "actor_label": codec.encode(revision.actor_label),
            "reason": codec.encode(revision.reason),
            "source": codec.encode(revision.source),
            "request_id": codec.encode(revision.request_id),
            "context": codec.encode(dict(revision.context)),
            "entity": codec.encode(record.entity),
            "key": codec.encode(record.key),
            "former_key": codec.encode(record.former_key),
            "operation": record.operation.value,
            "label": codec.encode(record.label),
            "error": codec.encode(record.error),
            "cause": codec.encode(record.cause),
            "changes": codec.from_text(dump(record.changes)),
        }
    )


def print_records(
    records: Iterable[Record], *, with_object: bool = False, as_table: bool = True
) -> None:
    """Print records: as a table on a terminal where rich is installed, else as plain text.

    ``with_object`` names the object of each, where they are not all of one.
    """
    if as_table and _is_rich():
        _print_table(records, with_object)
        return
    for record in records:
        click.echo(_as_text(record, with_object))


def print_rows(rows: Iterable[tuple[str, ...]], columns: tuple[str, ...]) -> None:
    """Print a table: with colours on a terminal where rich is installed, else by tabs."""
    if not _is_rich():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(
            *(Text(text, _COLOURS.get(name, "")) for name, text in zip(columns, row, strict=True))
        )
    Console().print(table)


def print_values(rows: list[tuple[Any, ...]], columns: tuple[str, ...], json: bool) -> None:
    """Print values in columns: as a table, or each row as a JSON object in one line."""
    if json:
        names = [name.lower() for name in columns]
        for row in rows:
            values = {name: codec.encode(value) for name, value in zip(names, row, strict=True)}
            click.echo(codec.to_text(values))
        return
    print_rows([tuple(printed(value) for value in row) for row in rows], columns)


_COLOURS: Final = {"Before": "red", "Old": "red", "After": "green", "New": "green"}


def print_preview(preview: Preview) -> None:
    """Print what a restore would do, and what is in its way."""
    click.echo(_printable(preview.described) + ":")
    rows = [
        (f"{step.operation} {step.entity} {step.key}", path, *shown(step.changes, path))
        for step in preview.steps
        for path in step.changes
    ]
    print_rows([tuple(map(_printable, row)) for row in rows], ("What", "Field", "Before", "After"))
    if not preview.steps and not preview.conflicts:
        known = "" if preview.notes else ": everything is as it should be already"
        click.echo(f"Nothing to do{known}.")
    for conflict in preview.conflicts:
        colour = None if os.environ.get("NO_COLOR") else "red"
        click.secho(_printable(f"in the way: {conflict}"), fg=colour, err=True)
    for note in preview.notes:
        click.echo(_printable(note), err=True)


def preview_as_json(preview: Preview, revisions: list[str]) -> str:
    """What a restore would do as one JSON object in one line, and the revisions if it did it."""
    return codec.to_text(
        {
            "what": codec.encode(preview.described),
            "steps": [
                {
                    "operation": step.operation.value,
                    "entity": codec.encode(step.entity),
                    "key": codec.encode(step.key),
                    "new_key": codec.encode(step.new_key),
                    "changes": codec.from_text(dump(step.changes)),
                }
                for step in preview.steps
            ],
            "conflicts": [
                {
                    "kind": one.kind,
                    "entity": codec.encode(one.entity),
                    "key": codec.encode(one.key),
                    "field": codec.encode(one.field),
                    "message": codec.encode(str(one.message)),
                }
                for one in preview.conflicts
            ],
            "notes": [codec.encode(str(note)) for note in preview.notes],
            "revisions": revisions,
        }
    )


def shown(changes: ChangeSet, path: str) -> tuple[str, str]:
    """What a value was and is, or of edits what went and came."""
    lines = list(_delta_lines("", changes[path]))
    return ", ".join(filter(None, (line.old for line in lines))), ", ".join(
        filter(None, (line.new for line in lines))
    )


def printed(value: Any) -> str:
    """A text as it is, and any other value as Python writes it, on one line."""
    return _printable(value) if isinstance(value, str) else _value(value)


def _is_rich() -> bool:
    """Whether tables in colour can be printed."""
    if not sys.stdout.isatty():
        return False
    try:
        import rich  # noqa: F401  (asked here, before anything is printed)
    except ModuleNotFoundError:
        return False
    return True


def _as_text(record: Record, with_object: bool) -> str:
    lines = [f"    {line.told(record.operation)}" for line in _lines(record.changes)]
    if record.error is not None:
        lines.insert(0, f"    {_error(record.error)}")
    heading = _heading(record, with_object)
    return "\n".join(["  ".join(part for part in heading if part), *lines])


def _print_table(records: Iterable[Record], with_object: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("When", "Who", "What", "Field", "Before", "After", show_lines=False)
    for record in records:
        at, operation, who, why = _heading(record, with_object)
        lines = list(_lines(record.changes)) or [Line("", "", "")]
        why = "\n".join(filter(None, (why, record.error and _error(record.error))))
        for n, line in enumerate(lines):
            first = (at, "\n".join(filter(None, (who, why))), operation) if n == 0 else ("",) * 3
            table.add_row(
                *map(Text, first),
                Text(line.path),
                Text(line.old, "red"),
                Text(line.new, "green"),
                end_section=n == len(lines) - 1,
            )
    Console().print(table)


def _heading(record: Record, with_object: bool) -> tuple[str, str, str, str]:
    revision = record.revision
    who = revision.actor or ""
    if revision.actor_label and revision.actor_label != who:
        who = f"{revision.actor_label} ({who})" if who else revision.actor_label
    operation = record.operation.value
    if with_object:
        operation += f" {record.entity} {record.key}"
    if record.former_key is not None:
        operation += f" (key {record.former_key} -> {record.key})"
    if record.cause is not None:
        operation += f" ({record.cause})"
    at = f"{revision.at:%Y-%m-%d %H:%M:%S} UTC"
    return at, _printable(operation), _printable(who), _printable(revision.reason or "")


def _error(error: str) -> str:
    return _printable(f"not recorded in full: {error}")


def _lines(changes: ChangeSet) -> Iterator[Line]:
    for path, delta in changes.items():
        yield from _delta_lines(_printable(path), delta)


def _delta_lines(path: str, delta: Delta) -> Iterator[Line]:
    if isinstance(delta, Change):
        yield Line(path, _value(delta.old), _value(delta.new))
    elif isinstance(delta, SetEdit):
        if delta.removed:
            yield Line(path, _values(delta.removed), "")
        if delta.added:
            yield Line(path, "", _values(delta.added))
    else:
        yield from _step_lines(path, delta)


def _step_lines(path: str, edit: ListEdit) -> Iterator[Line]:
    for step in edit.steps:
        if isinstance(step, Within):
            for inside, delta in step.deltas.items():
                yield from _delta_lines(f"{path}.{_printable(inside)}", delta)
        else:
            yield Line(f"{path}[{step.index}]", _values(step.removed), _values(step.inserted))


def _values(values: Iterable[Any]) -> str:
    texts = list(map(_value, values))
    return ", ".join(sorted(texts) if isinstance(values, frozenset) else texts)


def _value(value: Any) -> str:
    if value is ABSENT:
        return ""
    text = _printable(repr(value))
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}… ({len(text)} characters)"


def _printable(text: str) -> str:
    """The text on one line, with characters that could steer a terminal escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
