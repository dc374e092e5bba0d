"""Objects that refer to what has no identifier yet: written with their flush, or refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Final
from weakref import WeakValueDictionary

from lifecycle.behaviours.references.declaring import references_of
from lifecycle.behaviours.references.held import Entry, held
from lifecycle.changes import Operation
from lifecycle.errors import UnsavedReference
from lifecycle.moments import OnFlush, PreFlush
from lifecycle.objects import objects_of

__all__ = ["await_identity", "is_pending", "refuse_unresolved", "resolve"]

_lock: Final = Lock()
_waiting: Final[WeakValueDictionary[int, Any]] = WeakValueDictionary()


def await_identity(instance: Any) -> None:
    """Look at this object when it is flushed next, which it will be though nothing has changed."""
    with _lock:
        _waiting[id(instance)] = instance
    objects_of(type(instance)).touch(instance)


def resolve(event: PreFlush) -> None:
    """Write the identifiers that are known by now, for the objects of a flush that wait for one."""
    for instance in _concerned(event):
        for reference, entry in _pending(instance):
            identity = objects_of(type(entry.target)).identity(entry.target)
            if identity is not None:
                setattr(instance, reference.name, entry.target)
        _forget_settled(instance)


def refuse_unresolved(event: OnFlush) -> None:
    """The same once more; raises ``UnsavedReference`` for what has no identifier even now.

    What is being deleted needs none.
    """
    if not _waiting:
        return
    resolve(event)  # type: ignore[arg-type]  # it only asks whose flush it is
    deleted = {id(one.instance) for one in event.changesets if one.operation is Operation.DELETE}
    for instance in _concerned(event):
        for reference, entry in _pending(instance):
            if id(instance) in deleted:
                continue
            raise UnsavedReference(
                f"{reference} of a {type(instance).__qualname__} refers to a "
                f"{type(entry.target).__qualname__} that was never saved, so it has no identifier "
                f"to keep: save or flush that one first, or set {reference.name} to None"
            )


def _concerned(event: PreFlush | OnFlush) -> Iterator[Any]:
    """The waiting objects of a session, or the document that is saved."""
    if not _waiting:
        return
    with _lock:
        waiting = list(_waiting.values())
    for instance in waiting:
        if event.document is instance or (
            event.document is None and objects_of(type(instance)).is_in(instance, event.session)
        ):
            yield instance


def _pending(instance: Any) -> list[tuple[Any, Entry]]:
    """The references of an object that wait, and still count."""
    entries = held(instance)
    return [
        (reference, entry)
        for name, reference in references_of(type(instance)).items()
        if (entry := entries.get(name)) is not None
        and hasattr(reference, "fields")
        and is_pending(instance, reference.fields, entry)
    ]


def is_pending(instance: Any, fields: Sequence[str], entry: Entry) -> bool:
    """Whether what was assigned to a reference had no identifier, and nothing was assigned since.

    ``fields`` are those that wait for it.
    """
    if entry.values is not None:
        return False
    objects = objects_of(type(instance))
    values = objects.peek(instance, fields)
    return (
        (values is None or None in values)  # else it was read anew
        and objects.stands(instance, entry.stamp)
        and objects.awaits_assignment(instance, fields)
    )


def _forget_settled(instance: Any) -> None:
    if not _pending(instance):
        with _lock:
            _waiting.pop(id(instance), None)
