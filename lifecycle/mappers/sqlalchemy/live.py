"""Tables as they are now, for comparing them with the log."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine, Select, Table, inspect, select, tuple_
from sqlalchemy.orm import configure_mappers

from lifecycle.mappers.base import Live, LiveRows
from lifecycle.mappers.sqlalchemy.models import configured_mappers
from lifecycle.mappers.sqlalchemy.removing import marked_elsewhere
from lifecycle.mappers.sqlalchemy.rows import Pair
from lifecycle.mappers.sqlalchemy.tables import RecordedTable, Tables
from lifecycle.written import Written

__all__ = ["live_tables"]

_CHUNK: Final = 2_000


def live_tables(tables: Tables, engine: Engine) -> Iterator[Live]:
    """Every table with recorded rows, with its rows in the order of what tells them apart."""
    configure_mappers()
    there: dict[Table, None] = {}
    for mapper in configured_mappers():
        own = [mapper.local_table, *(one.secondary for one in mapper.relationships)]
        there.update(dict.fromkeys(table for table in own if isinstance(table, Table)))
    known = inspect(engine)
    for table in there:
        for recorded in tables.of(table):
            is_here = known.has_table(table.name, schema=table.schema)
            yield Live(
                entity=recorded.models[0].entity,
                place=table.fullname,
                is_whole=recorded.is_whole,
                has_all=False,
                rows=_rows(recorded, engine) if is_here else None,
                collections=recorded.collections,
            )


def _rows(recorded: RecordedTable, engine: Engine) -> Iterator[LiveRows]:
    identity = list(recorded.identity)
    query = select(*recorded.columns).order_by(*identity)
    after: tuple[Any, ...] | None = None
    while True:
        page = query if after is None else query.where(tuple_(*identity) > after)
        rows = _read(page.limit(_CHUNK), engine)
        if not rows:
            return
        last = tuple(rows[-1][column.key] for column in identity)
        upto = page.where(tuple_(*identity) <= last)
        written = _written(recorded, rows, engine)
        yield LiveRows(written, partial(_again, recorded, upto, engine))
        if len(rows) < _CHUNK:
            return
        after = last


def _again(recorded: RecordedTable, query: Select[Any], engine: Engine) -> list[Written]:
    return _written(recorded, _read(query, engine), engine)


def _read(query: Select[Any], engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        result = connection.execute(query)
        keys = tuple(result.keys())
        return [dict(zip(keys, row, strict=True)) for row in result.all()]


def _written(recorded: RecordedTable, rows: list[dict[str, Any]], engine: Engine) -> list[Written]:
    pairs: Iterator[Pair] = ((None, row) for row in rows)
    gone = marked_elsewhere(recorded, engine)
    written = recorded.written(pairs, engine.dialect)
    return [one for one in written if (one.entity, one.key) not in gone]
