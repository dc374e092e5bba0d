"""The newest records of many objects in one statement, which is of one shape however many they are.

What is asked for goes in as one JSON text, so that nothing is built, compiled or planned for each
object. MySQL and MariaDB compare texts out of JSON by another collation than the index has, and so
are not asked like this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from lifecycle.audit.store import Asked, Query
from lifecycle.audit.stores.sql.tables import AuditTables
from lifecycle.audit.stores.texts import escaped

__all__ = ["ASKED", "Newest"]

ASKED: Final = "asked"
"""The parameter that `Newest.parameter` is the value of."""

_LAST_N: Final = 2**31 - 1
_UNBOUNDED: Final = 2**63 - 1
_TYPES: Final = (Integer, Text, Text, BigInteger)


class Newest:
    """What finds the newest record of each of some objects, up to a revision."""

    def __init__(self, tables: AuditTables, dialect: str) -> None:
        self._change: Final = tables.change
        self._items: Final = _ITEMS.get(dialect)

    @property
    def is_known(self) -> bool:
        """Whether there is such a way on this database."""
        return self._items is not None

    def finds(self, one: Asked) -> bool:
        """Whether this is the way to what is asked for."""
        query = one.query
        bare = replace(query, entity=None, key=None, upto=None)
        upto = query.upto
        return (
            self.is_known
            and one.newest_first
            and one.after is None
            and query.key is not None
            and (upto is None or upto.n >= _LAST_N)
            and bare == _ANYTHING
        )

    @staticmethod
    def parameter(asked: Iterable[tuple[int, Asked]]) -> str:
        """What is asked for, each with its number."""
        return json.dumps(
            [
                (
                    number,
                    escaped(one.query.entity or ""),
                    escaped(one.query.key or ""),
                    _UNBOUNDED if one.query.upto is None else one.query.upto.seq,
                )
                for number, one in asked
            ]
        )

    def arms(self, columns: list[Column[Any]]) -> list[Select[Any]]:
        """Number, place and columns of each: one by the key it had, and one by the key before."""
        change = self._change.c
        return [self._arm(match, columns) for match in (change.key, change.former_key)]

    def _arm(self, match: Column[Any], columns: list[Column[Any]]) -> Select[Any]:
        """One step of the index to the revision, and one to the last record in it."""
        assert self._items is not None
        change, asked = self._change, self._items()
        its = and_(change.c.entity == asked.c.entity, match == asked.c.key)
        seq = select(func.max(change.c.seq)).where(its, change.c.seq <= asked.c.seq)
        placed = select(asked, seq.correlate(asked).scalar_subquery().label("found")).cte()
        placed = placed.prefix_with("MATERIALIZED", dialect="postgresql")
        its = and_(change.c.entity == placed.c.entity, match == placed.c.key)
        n = select(func.max(change.c.n)).where(its, change.c.seq == placed.c.found)
        here = and_(
            change.c.seq == placed.c.found,
            change.c.n == n.correlate(placed).scalar_subquery(),
        )
        return select(placed.c.number, change.c.seq, change.c.n, *columns).join_from(
            placed, change, here
        )


_ANYTHING: Final = Query()


def _of_sqlite() -> Subquery:
    value = func.json_each(bindparam(ASKED, type_=Text)).table_valued("value").c.value
    return _named([func.json_extract(value, f"$[{i}]", type_=t) for i, t in enumerate(_TYPES)])


def _of_postgresql() -> Subquery:
    given = cast(bindparam(ASKED, type_=Text), JSONB)
    value = func.jsonb_array_elements(given).table_valued("value").c.value
    return _named([cast(value.op("->>")(i), t) for i, t in enumerate(_TYPES)])


def _named(items: list[Any]) -> Subquery:
    names = ("number", "entity", "key", "seq")
    return select(*(one.label(name) for one, name in zip(items, names, strict=True))).subquery()


_ITEMS: Final[dict[str, Callable[[], Subquery]]] = {
    "sqlite": _of_sqlite,
    "postgresql": _of_postgresql,
}
