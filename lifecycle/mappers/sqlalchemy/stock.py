"""The rows of one class, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Select, Table, func, inspect, or_, select, tuple_
from sqlalchemy.orm import Session, lazyload
from sqlalchemy.orm.attributes import instance_state

from lifecycle.errors import InstallError
from lifecycle.mappers.sqlalchemy.fetching import connection_of
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.stored import StoredRow
from lifecycle.removal import WITH_DELETED
from lifecycle.stored import Held

__all__ = ["RowStock"]


class RowStock:
    """The rows of a mapped class, in sessions that ``open_`` gives."""

    def __init__(self, model: Model, open_: Callable[[], Session]) -> None:
        self._model: Final = model
        self._open: Final = open_

    def is_here(self) -> bool:
        tables = [one for one in self._model.mapper.tables if isinstance(one, Table)]
        try:
            session = self._open()
        except InstallError:
            return False
        with session:
            known = inspect(connection_of(session, self._model))
            return all(known.has_table(one.name, schema=one.schema) for one in tables)

    def counts(self, field: str) -> dict[Any, int]:
        column = getattr(self._model.cls, field)
        with self._open() as session:
            query = _whole(select(column, func.count()).group_by(column))
            return {row[0]: row[1] for row in session.execute(query)}

    @contextmanager
    def below(
        self, field: str, limit: Any, *, after: Any, count: int, keep: bool
    ) -> Iterator[Sequence[Held]]:
        model = self._model
        version = getattr(model.cls, field)
        identity = [getattr(model.cls, name) for name in model.identity]
        query: Select[Any] = (
            select(model.cls)
            .where(or_(version.is_(None), version < limit))
            .order_by(*identity)
            .limit(count)
            .options(lazyload("*"))
        )
        query = _whole(query)
        if after is not None:
            query = query.where(tuple_(*identity) > after)
        if keep:
            query = query.with_for_update(of=list(model.mapper.tables))
        with self._open() as session:
            yield [self._held(session, instance) for instance in session.scalars(query)]
            if keep:
                session.commit()

    def _held(self, session: Session, instance: Any) -> Held:
        state = instance_state(instance)
        assert state.key is not None  # it has been loaded
        key = self._model.key_text(state.key[1])
        return Held(instance, key, StoredRow(session, self._model, state), state.key[1])


def _whole(query: Select[Any]) -> Select[Any]:
    """The query with what is marked as deleted, which may be brought back."""
    return query.execution_options(**{WITH_DELETED: True})
