"""A statement recorded as a whole, when its rows are not asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import ClauseElement, CursorResult, Dialect, Insert, Update
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.changes import Change, ChangeSet, Delta, Operation
from lifecycle.faults import Faults
from lifecycle.mappers.sqlalchemy.inserts import is_upsert
from lifecycle.mappers.sqlalchemy.tables import RecordedTable
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.written import ROWS, STATEMENT, VERB, Written

__all__ = ["Whole"]

_LONGEST: Final = 10_000


class Whole:
    """One record of a statement: its text without values, how many rows it hit, and what it set.

    No old value is known, and no new one that the database works out. ``unread`` is why its rows
    could not be read, when they were asked for. With a ``cause`` it is about rows of another table
    than the statement's, of which not even the number is known.
    """

    def __init__(
        self,
        recorded: RecordedTable,
        statement: UpdateBase,
        dialect: Dialect,
        faults: Faults,
        unread: str | None = None,
        cause: str | None = None,
    ) -> None:
        self._recorded = recorded
        self._faults = faults
        self._unread = unread
        self._statement = statement
        self._dialect = dialect
        self._cause = cause

    def written(self, result: CursorResult[Any]) -> Iterator[Written]:
        """One record for each model whose rows, or collections, are in the table."""
        text = str(self._statement.compile(dialect=self._dialect))[:_LONGEST]
        counted = self._cause is None and result.rowcount >= 0
        for model in dict.fromkeys(self._recorded.models):
            if model.cls is not model.root and len(self._recorded.models) > 1:
                continue  # the base of the hierarchy tells it
            changes: dict[str, Delta] = {
                VERB: Change(ABSENT, self._verb()),
                STATEMENT: Change(ABSENT, text),
                ROWS: Change(ABSENT, result.rowcount if counted else UNKNOWN),
            }
            found = {} if self._unread is None else {"rows": self._unread}
            for name, value in self._assigned().items():
                if name in model.fields:
                    new = UNKNOWN if isinstance(value, ClauseElement) else value
                    new = model.logged_or_unknown(found, name, new, self._dialect)
                    changes[name] = Change(UNKNOWN, new)
            yield Written(
                model.entity,
                "",
                ChangeSet(changes, Operation.BULK),
                model.policy,
                error=self._faults.settle(model.entity, f"({self._verb()})", found),
                cause=self._cause,
            )

    def missed(self, result: CursorResult[Any]) -> int:
        """None: what is not told was not asked for."""
        return 0

    def _verb(self) -> str:
        upserts = isinstance(self._statement, Insert) and is_upsert(self._statement)
        return "upsert" if upserts else self._statement.__visit_name__

    def _assigned(self) -> Mapping[str, Any]:
        if self._cause is not None or not isinstance(self._statement, Update):
            return {}
        values: Mapping[Any, Any] = self._statement._values or {}
        return {
            key if isinstance(key, str) else key.key: getattr(value, "value", value)
            for key, value in values.items()
        }
