"""What becomes of those that refer to an object when it is deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from lifecycle.behaviours.references.declaring import owners
from lifecycle.behaviours.references.one import ReferenceOne
from lifecycle.behaviours.references.reading import reaching
from lifecycle.changes import Operation
from lifecycle.errors import StillReferenced
from lifecycle.keys import key_text
from lifecycle.moments import ChangeEvent, PostCommit
from lifecycle.objects import Identity, objects_of

__all__ = ["carry_out", "look_before"]

_AT_ONCE: Final = 500

Concerned = Iterable[ReferenceOne[Any]]


def look_before(references: Concerned, changesets: Iterable[ChangeEvent], session: Any) -> None:
    """Look at those that refer to what is about to be deleted, in one query for each reference.

    Raises ``StillReferenced`` when one does that says ``restrict``, and what their database raises
    when it does not answer.
    """
    events = list(changesets)
    deleted = [one for one in events if one.operation is Operation.DELETE]
    if not deleted:
        return
    for reference in references:
        targets = [one for one in deleted if isinstance(one.instance, reference.target)]
        for cls in owners(reference) if targets else ():
            _look(reference, cls, targets, events, session)


def _look(
    reference: ReferenceOne[Any],
    cls: type,
    targets: list[ChangeEvent],
    events: list[ChangeEvent],
    session: Any,
) -> None:
    objects = objects_of(cls)
    restricts = reference.on_delete == "restrict"
    values = [values for one in targets if (values := _values_for(reference, cls, one.instance))]
    settled = {
        objects.identity(one.instance)
        for one in events
        if isinstance(one.instance, cls) and _leaves(reference, one)
    }
    with _reached(cls, session, targets[0].instance) as place:
        limit = len(settled) + 1 if restricts else 1
        found = objects.find(cls, reference.fields, values, place, limit=limit)
        left = [one for one in found if objects.identity(one) not in settled]
        if restricts and left:
            raise _refusal(reference, left[0])
    if restricts:
        for one in events:
            if (
                isinstance(one.instance, cls)
                and one.operation is not Operation.DELETE
                and objects.peek(one.instance, reference.fields) in values
            ):
                raise _refusal(reference, one.instance)


def _leaves(reference: ReferenceOne[Any], event: ChangeEvent) -> bool:
    """Whether an object that may refer to a target does not do so after this flush."""
    if event.operation is Operation.DELETE:
        return True
    return any(name in event.changes for name in reference.fields)


def _refusal(reference: ReferenceOne[Any], one: Any) -> StillReferenced:
    objects, cls = objects_of(type(one)), reference.target
    values = objects.peek(one, reference.fields) or ()
    identity = objects.identity(one)
    return StillReferenced(
        f"{objects_of(cls).entity(cls)} {key_text(values)} cannot be deleted, for "
        f"{objects.entity(type(one))} {'(new)' if identity is None else key_text(identity)} refers "
        f'to it as its {reference.name}, with on_delete="restrict": delete that first, or let it '
        "refer to something else"
    )


@contextmanager
def _reached(cls: type, session: Any, target: Any) -> Iterator[Any]:
    """The session at hand, if it reaches a class; else one of its own, closed with the block."""
    if objects_of(cls).reaches(session, cls):
        yield session
        return
    with reaching(cls, target) as other:
        yield other


def carry_out(references: Concerned, event: PostCommit) -> None:
    """Null or delete what refers to an object whose deletion has been committed.

    That is done in portions, each committed by itself, through the mapper with all hooks; what it
    raises is left to whoever runs the hooks, and `check-references` finds what it leaves undone.
    """
    if event.operation is not Operation.DELETE:
        return
    for reference in references:
        if reference.on_delete in ("nullify", "cascade"):
            for cls in owners(reference):
                values = _values_for(reference, cls, event.instance)
                if values is not None:
                    _change(reference, cls, values, event.instance)


def _change(reference: ReferenceOne[Any], cls: type, values: Identity, target: Any) -> None:
    objects = objects_of(cls)
    after: Identity | None = None
    while True:
        with reaching(cls, target) as session:
            found = objects.find(
                cls, reference.fields, [values], session, after=after, limit=_AT_ONCE
            )
            for one in found:
                after = objects.identity(one)
                if reference.on_delete == "cascade":
                    objects.delete(one, session)
                else:
                    setattr(one, reference.name, None)
                    objects.save(one, session)
            objects.commit(session)
        if len(found) < _AT_ONCE:
            return


def _values_for(reference: ReferenceOne[Any], cls: type, target: Any) -> Identity | None:
    """What the fields of a class hold when it refers to the target; ``None`` if they never can."""
    identity = objects_of(type(target)).identity(target)
    if identity is None:
        return None
    try:
        return objects_of(cls).fitted(cls, reference.fields, identity)
    except ValueError:
        return None
