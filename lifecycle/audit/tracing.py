"""Following one object through the log, back over the keys it has had."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from lifecycle.audit.records import Position, Record
from lifecycle.audit.store import AuditStore, Entry, Query
from lifecycle.changes import Operation

__all__ = ["entries_of", "pages", "records_of", "statements", "whole_history"]


def pages(
    store: AuditStore, query: Query, *, newest_first: bool = True, size: int = 200
) -> Iterator[Record]:
    """Every record that a query finds, read page by page."""
    after = None
    while True:
        page = store.page(query, after=after, limit=size, newest_first=newest_first)
        yield from page
        if page.next is None:
            return
        after = page.next


def entries_of(store: AuditStore, entity: str, key: str, upto: Position | None) -> Iterator[Entry]:
    """An object's entries, newest first, back to its insert, over changes of its key.

    None when it was not there, or had moved on to another key.
    """
    following = True
    while following:
        following = False
        query = Query(entity=entity, key=key, upto=upto)
        for entry in store.trail(query, newest_first=True):
            if entry.operation == Operation.DELETE or entry.key != key:
                return  # from here back the key was another object's
            yield entry
            if entry.operation == Operation.INSERT:
                return
            if entry.former_key not in (None, key):
                key, upto = entry.former_key, Position(entry.seq, entry.n - 1)
                following = True
                break


def records_of(
    store: AuditStore, entity: str, key: str, upto: Position | None = None
) -> Iterator[Record]:
    """An object's records, newest first, on to the key it had before when it was moved."""
    while True:
        query = Query(entity=entity, key=key, upto=upto)
        for record in pages(store, query):
            yield record
            if record.key == key and record.former_key not in (None, key):
                break
        else:
            return
        assert record.former_key is not None
        key, upto = record.former_key, _just_before(record.position)


def whole_history(store: AuditStore, entity: str, key: str) -> list[Record]:
    """An object's records, and those of statements that may have changed it, oldest first."""
    records = list(records_of(store, entity, key))
    if not records:
        return []
    began = records[-1].position
    bulk = pages(store, statements(entity, None))
    records += takewhile(lambda record: record.position > began, bulk)
    return sorted(records, key=lambda record: record.position)


def statements(entity: str, upto: Position | None) -> Query:
    """Statements that changed rows of a model without telling them apart."""
    return Query(entity=entity, key="", operation=Operation.BULK, upto=upto)


def _just_before(position: Position) -> Position:
    """The last position before another; there need not be a record at it."""
    return Position(position.seq, position.n - 1)
