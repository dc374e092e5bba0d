"""Reading what memory does not hold, in one statement for many objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.orm import Session, lazyload, with_parent
from sqlalchemy.orm.attributes import instance_state

from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.collections import ManyToMany
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import State
from lifecycle.removal import WITH_DELETED

__all__ = ["connection_of", "fetch_before", "fetch_columns", "stored_members"]

_CHUNK: Final = 500


def connection_of(session: Session, model: Model) -> Connection:
    """The connection that the session's open transaction has to a model's database."""
    return session.connection(bind_arguments={"mapper": model.mapper})


def fetch_before(
    session: Session, model: Model, missing: dict[State, Collection[str]], *, lock: bool = False
) -> Iterator[tuple[State, dict[str, Any]]]:
    """The database's values of fields that memory lacks, before a flush.

    With ``lock`` nobody else can change them until the transaction ends; SQLite has no such lock.
    Selects the objects together with the columns. That refreshes expired ones (what is pending
    on them stays), which SQLAlchemy would otherwise do during the flush with a SELECT for each.
    """
    names = sorted(set().union(*missing.values()))
    columns = [getattr(model.cls, name) for name in names]
    identity = [getattr(model.cls, name) for name in model.identity]
    for states in _chunks(missing):
        query = (
            select(model.cls, *columns)
            .where(_is_one_of(identity, [state.key[1] for state in states if state.key]))
            .options(lazyload("*"))
            .execution_options(**{WITH_DELETED: True})
        )
        if lock:  # in order, so that two of these wait for each other on one row only
            query = query.with_for_update(of=list(model.mapper.tables)).order_by(*identity)
        for instance, *values in session.execute(query):
            state = instance_state(instance)
            if state in missing:
                yield state, dict(zip(names, values, strict=True))


def fetch_columns(
    connection: Connection,
    model: Model,
    names: Sequence[str],
    identities: Iterable[tuple[Any, ...]],
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The values of some fields of some rows, by identity."""
    columns = {name: model.mapper.attrs[name].columns[0] for name in (*model.identity, *names)}
    identity = [columns[name] for name in model.identity]
    for chunk in _chunks(identities):
        query = (
            select(*(columns[name] for name in (*model.identity, *names)))
            .select_from(model.mapper.persist_selectable)
            .where(_is_one_of(identity, chunk))
        )
        for row in connection.execute(query):
            key = tuple(row[: len(identity)])
            yield key, dict(zip(names, row[len(identity) :], strict=True))


def stored_members(session: Session, instance: Any, one: ManyToMany) -> Iterator[str]:
    """The keys of the members that the database has of an object's many-to-many collection."""
    owned = with_parent(instance, getattr(type(instance), one.name))
    query = select(*one.target.primary_key).select_from(one.target).where(owned)
    for row in session.execute(query, execution_options={WITH_DELETED: True}):
        yield key_text(tuple(row))


def _is_one_of(identity: list[Any], keys: list[Any]) -> Any:
    if len(identity) == 1:
        return identity[0].in_([key[0] for key in keys])
    return tuple_(*identity).in_(keys)


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
