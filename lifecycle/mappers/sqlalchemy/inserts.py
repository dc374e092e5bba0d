"""INSERT statements: the rows that came, and those an upsert changed instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Insert,
    PrimaryKeyConstraint,
    UniqueConstraint,
    select,
)
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.images import TOGETHER, found, rows_by_identity, rows_of
from lifecycle.mappers.sqlalchemy.rows import Identity, Images, Pair, RowValues
from lifecycle.mappers.sqlalchemy.tables import ReadTable
from lifecycle.spooling import chunks

__all__ = ["Insertion", "Upsert", "insertion_of", "is_upsert"]


def insertion_of(
    connection: Connection,
    recorded: ReadTable,
    statement: Insert,
    parameters: Sequence[Mapping[str, Any]],
) -> Insertion | Upsert:
    """How the rows of an INSERT can be known."""
    kind = Upsert if is_upsert(statement) else Insertion
    return kind(connection, recorded, statement, parameters)


def is_upsert(statement: Insert) -> bool:
    """Whether an INSERT may do something else to rows that are there, by a clause or a prefix."""
    return statement._post_values_clause is not None or bool(statement._prefixes)


class Insertion:
    """An INSERT of new rows. Their keys are those given, or else those the database tells."""

    def __init__(
        self,
        connection: Connection,
        recorded: ReadTable,
        statement: Insert,
        parameters: Sequence[Mapping[str, Any]],
    ) -> None:
        self._connection = connection
        self._recorded = recorded
        self._given: Final = _given_rows(statement, parameters)
        self._asks = False
        self._missed = 0
        self.statement: Final = self._asking(statement, parameters)

    def _asking(self, statement: Insert, parameters: Sequence[Mapping[str, Any]]) -> Insert:
        """The statement, made to tell the keys it gives out where it would not."""
        dialect = self._connection.dialect
        if statement._returning or statement._return_defaults or self._keys_are_given():
            return statement
        if statement._multi_values or statement._select_names:
            if dialect.insert_returning:
                self._asks = True
                return statement.returning(*self._recorded.identity)
        elif len(parameters) > 1 and dialect.insert_executemany_returning:
            return statement.return_defaults(*self._recorded.identity)
        return statement

    def _keys_are_given(self) -> bool:
        return self._given is not None and all(
            _is_known(row.get(column.key)) or _has_default_in_python(column)
            for row in self._given
            for column in self._recorded.identity
        )

    def portions(self, result: CursorResult[Any]) -> Iterator[Iterable[Pair]]:
        """The new rows, once the statement has run, in portions."""
        told = 0
        for some in chunks(dict.fromkeys(self._identities(result)), TOGETHER):
            them = found(self._connection, self._recorded, [*zip(*some, strict=True)])
            after = them.in_order()
            if after is not None:
                told += len(after)
                yield Images(None, after)
            else:
                now = them.by_identity()
                told += len(now)
                every = dict.fromkeys((*some, *now))
                yield [(None, now[identity]) for identity in every if identity in now]
        self._missed = max(0, self._count(result) - told)

    def missed(self, result: CursorResult[Any]) -> int:
        """How many rows came that cannot be told from others, when all that can have been told."""
        return self._missed

    def _count(self, result: CursorResult[Any]) -> int:
        if self._given is not None:
            return len(self._given)
        return max(0, result.rowcount)

    def _identities(self, result: CursorResult[Any]) -> list[Identity]:
        if not hasattr(self, "_known"):
            self._known = list(self._work_out(result))
        return self._known

    def _work_out(self, result: CursorResult[Any]) -> Iterator[Identity]:
        if self._keys_are_given():
            yield from self._given_identities(result)
        elif self.statement._returning:
            yield from _returned(result, self._recorded.identity, consume=self._asks)
        elif self._has_primary_key and (
            self.statement._return_defaults or not result.context.executemany
        ):
            for row in result.inserted_primary_key_rows or ():
                if row is not None and None not in row:
                    yield self._in_own_order(row)

    def _in_own_order(self, primary_key: Sequence[Any]) -> Identity:
        by_column = dict(zip(self._recorded.table.primary_key, primary_key, strict=True))
        return tuple(by_column[column] for column in self._recorded.identity)

    @property
    def _has_primary_key(self) -> bool:
        """Whether the table itself has for a key what the mapping takes for one."""
        return {*self._recorded.identity} <= {*self._recorded.table.primary_key}

    def _given_identities(self, result: CursorResult[Any]) -> Iterator[Identity]:
        """With what defaults in Python made of the keys that were not given."""
        compiled = result.context.compiled_parameters
        assert self._given is not None
        many = len(compiled) == 1 and len(self._given) > 1
        for number, row in enumerate(self._given):
            used = compiled[0 if many else number]
            identity = tuple(
                _first(
                    row.get(column.key),
                    used.get(f"{column.key}_m{number}") if many else None,
                    used.get(column.key),
                )
                for column in self._recorded.identity
            )
            if None not in identity:
                yield identity


def _first(*values: Any) -> Any:
    return next(filter(_is_known, values), None)


def _is_known(value: Any) -> bool:
    return value is not None and not isinstance(value, ColumnElement)


def _has_default_in_python(column: Column[Any]) -> bool:
    default = column.default
    return default is not None and (default.is_scalar or default.is_callable)


class Upsert:
    """An INSERT that may change, replace or leave rows that are there already.

    Which rows may be hit follows from the unique keys of the table, not from the clause, which
    every dialect has in its own words: those that share one with a row to be inserted.
    """

    def __init__(
        self,
        connection: Connection,
        recorded: ReadTable,
        statement: Insert,
        parameters: Sequence[Mapping[str, Any]],
    ) -> None:
        self._connection = connection
        self._recorded = recorded
        self.statement: Final = statement
        self._hits = self._given = 0
        self._is_certain = all(
            isinstance(one, Column)
            for index in recorded.table.indexes
            if index.unique
            for one in index.expressions
        )
        """Whether every unique key of the rows is known; not those of expressions."""
        self._probes: Final = list(self._work_out(statement, parameters))
        self._before: Final = self._probe()

    def _work_out(
        self, statement: Insert, parameters: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[tuple[Column[Any], ...], list[Identity]]]:
        given = _given_rows(statement, parameters) or self._selected(statement)
        self._given = len(given)
        for columns in _unique_keys(self._recorded):
            values = [tuple(row.get(column.key) for column in columns) for row in given]
            if any(isinstance(part, ColumnElement) for value in values for part in value):
                self._is_certain = False
            known = [value for value in values if all(map(_is_known, value))]
            if known:
                yield columns, list(dict.fromkeys(known))

    def _selected(self, statement: Insert) -> list[dict[str, Any]]:
        """What an INSERT from a SELECT is going to insert."""
        source: Any = statement.select
        assert statement._select_names is not None
        names = [_column_key(self._recorded, name) for name in statement._select_names]
        rows = self._connection.execute(select(source.subquery()))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _probe(self) -> dict[Identity, RowValues]:
        found = {}
        for columns, values in self._probes:
            for some in chunks(values):
                query = select(*self._recorded.columns).where(is_one_of(columns, some))
                for row in rows_of(self._connection, query.with_for_update()):
                    found[self._identity(row)] = row
        return found

    def _identity(self, row: RowValues) -> Identity:
        return tuple(row[column.key] for column in self._recorded.identity)

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        """The columns that are read."""
        return self._recorded.columns

    @property
    def found(self) -> Iterator[RowValues]:
        """The rows that it may change or replace, as they are before it."""
        return iter(self._before.values())

    def portions(self, result: CursorResult[Any]) -> Iterator[Iterable[Pair]]:
        """The rows that share a unique key with what was inserted, before and after."""
        yield self._pairs()

    def _pairs(self) -> Iterator[Pair]:
        after = self._probe()
        for some in chunks(identity for identity in self._before if identity not in after):
            after |= rows_by_identity(self._connection, self._recorded, some)
        self._hits = 0
        of_mysql = self._connection.dialect.name in ("mysql", "mariadb")
        for identity in {**self._before, **after}:
            old, new = self._before.get(identity), after.get(identity)
            if old != new:  # MySQL counts a row that is changed twice
                self._hits += 2 if of_mysql and old is not None else 1
            yield old, new

    def missed(self, result: CursorResult[Any]) -> int:
        """How many rows it hit by unique keys that are not known before it runs.

        All, if the statement gives no values for any unique key of the table.
        """
        if not self._probes:
            return max(1, result.rowcount)
        if self._is_certain:
            return 0
        count = result.rowcount
        if count < 0 and hasattr(self.statement._post_values_clause, "update_values_to_set"):
            count = self._given  # psycopg does not tell; each updates a row, or comes as one
        return max(0, count - self._hits)


_UNIQUE: Final = (PrimaryKeyConstraint, UniqueConstraint)


def _unique_keys(recorded: ReadTable) -> Iterator[tuple[Column[Any], ...]]:
    for constraint in recorded.table.constraints:
        columns = tuple(constraint.columns) if isinstance(constraint, _UNIQUE) else ()
        if columns:
            yield columns
    for index in recorded.table.indexes:
        columns = tuple(one for one in index.expressions if isinstance(one, Column))
        if index.unique and len(columns) == len(index.expressions):
            yield columns


def _given_rows(
    statement: Insert, parameters: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]] | None:
    """The values given for each row by column key, as far as they are; none for a SELECT."""
    if statement._select_names:
        return None
    if statement._multi_values:
        columns = statement.table.columns
        return [
            _values(row if isinstance(row, Mapping) else dict(zip(columns, row, strict=False)))
            for some in statement._multi_values
            for row in some
        ]
    fixed = _values(statement._values or {})
    return [fixed | dict(one) for one in parameters or ({},)]


def _values(assigned: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        name if isinstance(name, str) else name.key: value.value
        if isinstance(value, BindParameter)
        else value
        for name, value in assigned.items()
    }


def _column_key(recorded: ReadTable, name: Any) -> str:
    return name if isinstance(name, str) else name.key


def _returned(
    result: CursorResult[Any], columns: Sequence[Column[Any]], *, consume: bool
) -> Iterator[Identity]:
    """The keys among the rows that RETURNING gives, which whoever asked for them still gets."""
    compiled: Any = result.context.compiled
    entries = compiled._result_columns
    places = [
        next((n for n, entry in enumerate(entries) if column in entry.objects), None)
        for column in columns
    ]
    if None in places:
        return
    rows, description = _raw_rows(result, consume)
    read = [
        (place, _reader(column, result, description[place][1] if description else None))
        for column, place in zip(columns, places, strict=True)
        if place is not None
    ]
    for row in rows:
        yield tuple(get(row[place]) for place, get in read)


def _raw_rows(result: CursorResult[Any], consume: bool) -> tuple[list[Any], Any]:
    """The rows as the driver gives them, kept for whoever asked for them, and its description."""
    cursor, strategy = result.context.cursor, result.cursor_strategy
    if isinstance(strategy, FullyBufferedCursorFetchStrategy):  # there were many parameter sets
        return list(strategy._rowbuffer), cursor.description
    rows, description = list(cursor.fetchall()), cursor.description
    result.cursor_strategy = FullyBufferedCursorFetchStrategy(
        cursor, description, initial_buffer=[] if consume else rows
    )
    return rows, description


def _reader(column: Column[Any], result: CursorResult[Any], kind: Any) -> Callable[[Any], Any]:
    dialect = result.dialect
    processor = column.type.dialect_impl(dialect).result_processor(dialect, kind)
    return processor or (lambda value: value)
