"""What several records come to, object by object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lifecycle.audit.records import Record
from lifecycle.changes import ChangeSet, Operation
from lifecycle.errors import ConflictError, HistoryError

__all__ = ["Net", "netted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """What some records, as those of one revision, come to for one object.

    ``key`` and ``former_key`` are as in a `Record`; ``records`` are those it was made of, oldest
    first.
    """

    entity: str
    key: str
    former_key: str | None
    operation: Operation
    changes: ChangeSet
    label: str | None
    records: tuple[Record, ...]


def netted(records: Iterable[Record]) -> list[Net]:
    """One `Net` for each object that some records, given oldest first, have changed.

    In the order in which the objects were first touched; one that came and went is left out. The
    record of a statement that did not tell its rows apart stays as it is. Raises ``HistoryError``
    where one record cannot follow another.
    """
    found: dict[tuple[str, str], Net] = {}
    alone: list[Net] = []
    for record in records:
        first = _alone(record)
        if record.operation is Operation.BULK:
            alone.append(first)
            continue
        before = found.pop((record.entity, record.former_key or record.key), None)
        found[record.entity, record.key] = first if before is None else _joined(before, record)
    every = sorted((*found.values(), *alone), key=lambda one: one.records[0].n)
    return [one for one in map(_without_nothing, every) if not _is_nothing(one)]


def _alone(record: Record) -> Net:
    return Net(
        entity=record.entity,
        key=record.key,
        former_key=record.former_key,
        operation=record.operation,
        changes=record.changes,
        label=record.label,
        records=(record,),
    )


def _joined(before: Net, record: Record) -> Net:
    try:
        changes = before.changes.then(record.changes)
    except ConflictError as error:
        raise HistoryError(
            f"record {record.id} of {record.entity} {record.key} cannot follow "
            f"{before.records[-1].id}: {error}"
        ) from error
    origin = before.former_key or before.key
    moved = origin != record.key and changes.operation is not Operation.INSERT
    return Net(
        entity=record.entity,
        key=record.key,
        former_key=origin if moved else None,
        operation=changes.operation,
        changes=changes,
        label=record.label or before.label,
        records=(*before.records, record),
    )


def _without_nothing(one: Net) -> Net:
    return one if len(one.records) == 1 else replace(one, changes=one.changes.net())


def _is_nothing(one: Net) -> bool:
    return (
        one.operation is Operation.UPDATE
        and not one.changes
        and one.former_key is None
        and len(one.records) > 1
    )
