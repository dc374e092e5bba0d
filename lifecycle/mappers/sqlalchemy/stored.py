"""A row past what load hooks have made of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, column, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from lifecycle.mappers.sqlalchemy.fetching import connection_of
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import NOTED, State, Values
from lifecycle.markers import ABSENT

__all__ = ["StoredRow"]


class StoredRow:
    """The row of one object.

    ``fetched`` holds what a flush has read of it; without a flush ``tell`` is ``None``, else it is
    called when the flush is to bring more.
    """

    def __init__(
        self,
        session: Session,
        model: Model,
        state: State,
        fetched: Values = {},  # noqa: B006  (nobody writes to it)
        tell: Callable[[], None] | None = None,
    ) -> None:
        self._session = session
        self._model = model
        self._state = state
        self._fetched = fetched
        self._tell = tell

    @property
    def noted(self) -> Any:
        return self._state.dict.get(NOTED)

    @noted.setter
    def noted(self, note: Any) -> None:
        if note is None:
            self._state.dict.pop(NOTED, None)
        else:
            self._state.dict[NOTED] = note

    def named(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return dict(data)

    def unnamed(self, name: str) -> str:
        return name

    def read(self, also: Collection[str] = ()) -> dict[str, Any] | None:
        others = [name for name in also if name not in self._model.fields]
        row = self._ask([*self._model.fields, *others])
        return row

    def rewrite(
        self, values: Mapping[str, Any], gone: Collection[str], *, field: str, was: Any
    ) -> bool:
        instance = self._state.obj()
        assert instance is not None  # its hook is running
        if self._tell is None:  # the next flush will come to the rest
            flag_modified(instance, field)
            return True
        now = self._fetched.get(field, ABSENT)
        if now is ABSENT:
            now = (self._ask([field], lock=True) or {}).get(field, ABSENT)
        if now != was:
            return False
        for name, value in {**dict.fromkeys(gone), **values}.items():
            if name in self._state.dict:
                flag_modified(instance, name)
            elif name in self._model.fields:
                setattr(instance, name, value)
        self._tell()
        return True

    def _ask(self, names: list[str], *, lock: bool = False) -> dict[str, Any] | None:
        model = self._model
        query: Select[Any] = select(*map(self._column, names)).where(*self._criteria())
        if lock:
            query = query.with_for_update(of=list(model.mapper.tables))
        row = connection_of(self._session, model).execute(query).first()
        return None if row is None else dict(zip(names, row, strict=True))

    def _column(self, name: str) -> Any:
        model = self._model
        if name in model.fields:
            return getattr(model.cls, name)
        for table in model.mapper.tables:
            if name in table.columns:
                return table.columns[name]
        return column(name)

    def _criteria(self) -> list[ColumnElement[bool]]:
        key = self._state.key
        assert key is not None  # it has been loaded
        identity = (getattr(self._model.cls, name) for name in self._model.identity)
        return [one == value for one, value in zip(identity, key[1], strict=True)]
