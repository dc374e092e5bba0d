"""Reading what memory does not hold, in one statement for many objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session, lazyload, with_parent
from sqlalchemy.orm.attributes import instance_state

from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.collections import ManyToMany
from lifecycle.mappers.sqlalchemy.criteria import is_one_of
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.reading import State
from lifecycle.removal import WITH_DELETED

__all__ = ["connection_of", "fetch_before", "fetch_columns", "is_sharded", "stored_members"]

_CHUNK: Final = 500


def is_sharded(session: Session) -> bool:
    """Whether the objects of one model may be in several databases, as `ShardedSession` has it.

    Which one an object is in says the token of its identity.
    """
    return hasattr(session, "shard_chooser")


def connection_of(session: Session, model: Model, shard: str | None = None) -> Connection:
    """The connection that the session's open transaction has to a model's database."""
    arguments: dict[str, Any] = {"mapper": model.mapper}
    if shard is not None:
        arguments["shard_id"] = shard
    return session.connection(bind_arguments=arguments)


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
            .where(is_one_of(identity, [state.key[1] for state in states if state.key]))
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
    """The values of some fields of some rows, by the identities that were asked for.

    The database may have made others of these.
    """
    columns = {name: model.mapper.attrs[name].columns[0] for name in (*model.identity, *names)}
    identity = [columns[name] for name in model.identity]
    query = select(*(columns[name] for name in (*model.identity, *names))).select_from(
        model.mapper.persist_selectable
    )

    def read(some: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {
            tuple(row[: len(identity)]): dict(zip(names, row[len(identity) :], strict=True))
            for row in connection.execute(query.where(is_one_of(identity, some)))
        }

    for chunk in _chunks(identities):
        rows = read(chunk)
        for asked in chunk:
            values = rows.get(asked) or next(iter(read([asked]).values()), None)
            if values is not None:
                yield asked, values


def stored_members(session: Session, instance: Any, one: ManyToMany) -> Iterator[str]:
    """The keys of the members that the database has of an object's many-to-many collection."""
    owned = with_parent(instance, getattr(type(instance), one.name))
    query = select(*one.target.primary_key).select_from(one.target).where(owned)
    for row in session.execute(query, execution_options={WITH_DELETED: True}):
        yield key_text(tuple(row))


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
