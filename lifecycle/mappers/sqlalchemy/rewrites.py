"""UPDATE and DELETE statements: the rows they hit, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    Alias,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Delete,
    Select,
    Table,
    Update,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList

from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.dml import finds_by_chance, target_of
from lifecycle.mappers.sqlalchemy.images import (
    PORTION,
    TOGETHER,
    Found,
    found_in_portions,
    portions_of,
    row_by_identity,
)
from lifecycle.mappers.sqlalchemy.rows import Identity, Images, Pair, Rows, RowValues
from lifecycle.mappers.sqlalchemy.tables import ReadTable
from lifecycle.spooling import Portions, chunks

__all__ = ["Rewrite", "assigned_names", "equalities", "tables_assigned"]

_MOVED: Final = "lifecycle_moved_"
"""Labels what a column of the identity is going to be."""


class Rewrite:
    """One UPDATE or DELETE of a table.

    The rows its criteria find are read before it runs; what they are then is read by their keys
    after it. So an UPDATE may change the columns of its own WHERE, and even its own keys.
    """

    def __init__(
        self,
        connection: Connection,
        recorded: ReadTable,
        statement: Update | Delete,
        parameters: Sequence[Mapping[str, Any]],
    ) -> None:
        self._connection = connection
        self._recorded = recorded
        self.statement = statement
        self._parameters = parameters
        self.columns: Final = (
            recorded.columns
            if isinstance(statement, Delete)
            else recorded.columns_for(assigned_names(statement, parameters, recorded.table))
        )
        """The columns that are read."""
        many = len(parameters) > 1
        self._equal: Final = equalities(statement, parameters, recorded.table) if many else None
        self._moves: Final = self._moved_columns()
        self._given_for: Final = self._given_keys()
        self._by_chance: Final = finds_by_chance(statement)
        self._changed = 0
        self._lost = 0
        self._before: Final = Portions(self._read())

    @property
    def found(self) -> Iterator[RowValues]:
        """The rows as they are before the statement."""
        return chain.from_iterable(self._before)

    def portions(self, result: CursorResult[Any]) -> Iterator[Iterable[Pair]]:
        """The rows before and after, once the statement has run, in portions."""
        self._changed = self._lost = 0
        all_gone = (
            isinstance(self.statement, Delete)
            and result.rowcount == self._before.count
            and not self._by_chance
        )
        if all_gone:
            yield from (Images(before, None) for before in self._before)
            return
        for some in chunks(self._before, TOGETHER // PORTION):
            wanted = [self._identities_after(before) for before in some]
            found = found_in_portions(self._connection, self._recorded, wanted, self.columns)
            for before, identities, one in zip(some, wanted, found, strict=True):
                after = None if self._by_chance else one.in_order()
                if after is not None:
                    yield Images(before, after)
                else:
                    yield self._pairs(before, list(zip(*identities, strict=True)), one)

    def _pairs(self, before: Rows, identities: list[Identity], found: Found) -> Iterator[Pair]:
        now = found.by_identity()
        for row, identity in zip(before, identities, strict=True):
            after = now.get(identity) or self._moved_to(row, identity)
            if after is None and isinstance(self.statement, Update):
                self._lost += 1  # its key is not the one that was expected, or does not find it
                continue
            self._changed += self._by_chance and after != row
            yield row, after

    def missed(self, result: CursorResult[Any]) -> int:
        """How many rows the statement hit beyond those that were found before it.

        Where it finds its rows by chance, or takes those that nobody has locked, these need not be
        the rows it hit: then only those count that are not as they were. Of many parameter sets the
        database counts a row again for every one that hits it, and of several tables (MySQL) the
        rows of each.
        """
        if len(self._parameters) > 1 or tables_assigned(self.statement):
            return self._lost
        known = self._changed if self._by_chance else self._before.count
        return self._lost + max(0, result.rowcount - known)

    def _moved_to(self, row: RowValues, identity: Identity) -> RowValues | None:
        """The row with the key that it was given, which the database may have turned into its own.

        Of one that was not given any there is nothing to look for.
        """
        if identity == tuple(row[column.key] for column in self._recorded.identity):
            return None
        return row_by_identity(self._connection, self._recorded, identity, self.columns)

    def _identities_after(self, rows: Rows) -> list[tuple[Any, ...]]:
        """Where to look for rows after the statement: their identities, in columns."""
        if self._moves or self._given_for[1]:
            return [*zip(*map(self._identity_after, rows), strict=True)]
        return self._identities(rows)

    def _identities(self, rows: Rows) -> list[tuple[Any, ...]]:
        return rows.of(column.key for column in self._recorded.identity)

    def _identity_after(self, row: RowValues) -> Identity:
        by, sets = self._given_for
        given = sets.get(tuple(row[column.key] for column in by), {})
        return tuple(
            row[_MOVED + column.key]
            if column in self._moves
            else given.get(column.key, row[column.key])
            for column in self._recorded.identity
        )

    # --- which rows ---

    def _read(self) -> Iterator[Rows]:
        found = chain.from_iterable(portions_of(self._connection, one) for one in self._queries())
        if len(self._parameters) <= 1:
            yield from found
            return
        met: set[Identity] = set()
        for rows in found:  # more than one of the parameter sets may hit a row
            new: list[int] = []
            for place, identity in enumerate(zip(*self._identities(rows), strict=True)):
                if identity not in met:
                    met.add(identity)
                    new.append(place)
            if new:
                yield rows.picked(new)

    def _queries(self) -> Iterator[Select[Any]]:
        """What finds the rows: one, or a few for a statement of many parameter sets."""
        where = self.statement.whereclause
        if where is None or not self._parameters:
            yield self._query(where)
            return
        equal = self._equal
        if equal is None:
            for one in self._parameters:
                yield self._query(where, dict(one))
            return
        columns, names = tuple(equal), tuple(equal.values())
        for some in chunks(dict.fromkeys(tuple(p[n] for n in names) for p in self._parameters)):
            yield self._query(is_one_of(columns, some))

    def _query(
        self, criteria: ColumnElement[bool] | None, parameters: RowValues | None = None
    ) -> Select[Any]:
        moved = [
            expression.label(_MOVED + column.key) for column, expression in self._moves.items()
        ]
        query = self._found([*self._as_named(self.columns), *moved], criteria, parameters)
        if len(query.get_final_froms()) > 1:  # where a row could be found many times
            identity = self._found(self._as_named(self._recorded.identity), criteria, parameters)
            query = _given(select(*self.columns, *moved), parameters).where(
                _tuple(self._recorded.identity).in_(identity)
            )
        named = self.statement.table
        # Of these alone: PostgreSQL locks no rows that an outer join may lack.
        return query.with_for_update(of=named if isinstance(named, Alias) else self._recorded.table)

    def _as_named(self, columns: Sequence[Column[Any]]) -> list[Any]:
        """These columns of what the statement calls its table, which may be an alias."""
        named = self.statement.table
        return (
            [named.corresponding_column(one) for one in columns]
            if isinstance(named, Alias)
            else [*columns]
        )

    def _found(
        self,
        columns: Sequence[Any],
        criteria: ColumnElement[bool] | None,
        parameters: RowValues | None,
    ) -> Select[Any]:
        """As the ORM would find them, with the criteria it adds of its own, if it is asked to."""
        query = select(*columns)
        if criteria is not None:
            query = query.where(criteria)
        query = _given(query, parameters)
        subject = self.statement._propagate_attrs.get("plugin_subject")
        if subject is None:
            return query
        # The options last: SQLAlchemy 2.0 cannot copy a query with criteria of a loader.
        return query.select_from(subject).options(*self.statement._with_options)

    def _given_keys(
        self,
    ) -> tuple[tuple[Column[Any], ...], Mapping[Identity, Mapping[str, Any]]]:
        """Of many parameter sets that change keys, each by the values that its row is found by."""
        recorded, equal = self._recorded, self._equal
        if equal is None or isinstance(self.statement, Delete):
            return (), {}
        by = recorded.identity if equal.keys() >= {*recorded.identity} else tuple(equal)
        moves = any(column.key in self._parameters[0] for column in recorded.identity)
        if not moves or not {*by} <= {*self.columns}:
            return (), {}
        return by, {tuple(one[equal[column]] for column in by): one for one in self._parameters}

    def _moved_columns(self) -> dict[Column[Any], ColumnElement[Any]]:
        """What the UPDATE sets columns of the identity to."""
        if isinstance(self.statement, Delete) or len(self._parameters) > 1:
            return {}
        given = dict(self._parameters[0]) if self._parameters else {}
        table = self._recorded.table
        assigned = {_name(key): value for key, value in _assignments(self.statement, table)} | given
        return {
            column: type_coerce(value, column.type)
            for column in self._recorded.identity
            for name, value in assigned.items()
            if name == column.key
        }


def _given(query: Select[Any], parameters: RowValues | None) -> Select[Any]:
    return query if parameters is None else query.params(parameters)


def assigned_names(
    statement: Update, parameters: Sequence[Mapping[str, Any]], table: Table
) -> set[str]:
    """The keys of a table's columns that are set; among them may be names of other parameters."""
    return {_name(key) for key, _ in _assignments(statement, table)} | {*(parameters or ({},))[0]}


def tables_assigned(statement: Update | Delete) -> set[Table]:
    """The tables that an UPDATE changes besides its own, as MySQL can."""
    target = target_of(statement)
    if isinstance(statement, Delete) or not isinstance(target, Table):
        return set()
    return {_owner(key, target) for key, _ in _all_assignments(statement)} - {target}


def equalities(
    statement: Update | Delete, parameters: Sequence[Mapping[str, Any]], table: Table
) -> dict[Column[Any], str] | None:
    """The columns that a statement finds its rows by, with the parameters they are to equal."""
    where = statement.whereclause
    if where is None or not parameters:
        return None
    found = _equalities(where, table)
    return found if found is not None and {*found.values()} <= parameters[0].keys() else None


def _assignments(statement: Update, table: Table) -> Iterator[tuple[Any, Any]]:
    target = target_of(statement)
    for key, value in _all_assignments(statement):
        if _owner(key, target) == table:
            yield key, value


def _all_assignments(statement: Update) -> Iterator[tuple[Any, Any]]:
    yield from (statement._values or {}).items()
    yield from getattr(statement, "_ordered_values", None) or ()  # SQLAlchemy 2.0


def _owner(key: Any, target: Table) -> Table:
    """The table whose column it is; what an alias, or nobody, claims is of the statement's own."""
    owner = getattr(key, "table", None)
    return owner if isinstance(owner, Table) else target


def _name(key: Any) -> str:
    while isinstance(key, BinaryExpression):  # an element of an array, or something inside JSON
        key = key.left
    return key if isinstance(key, str) else key.key


def _tuple(columns: Sequence[Column[Any]]) -> Any:
    return columns[0] if len(columns) == 1 else tuple_(*columns)


def _equalities(where: Any, table: Table) -> dict[Column[Any], str] | None:
    """The columns and parameters of criteria that are nothing but equalities of the two."""
    parts = [where]
    if isinstance(where, BooleanClauseList) and where.operator is operators.and_:
        parts = list(where.clauses)
    found: dict[Column[Any], str] = {}
    for part in parts:
        if not (
            isinstance(part, BinaryExpression)
            and part.operator is operators.eq
            and isinstance(part.left, Column)
            and part.left.table is table
            and isinstance(part.right, BindParameter)
            and part.right.callable is None
        ):
            return None
        found[part.left] = part.right.key
    return found
