"""References as one Lifecycle carries them out: the hooks around them, and their checking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final
from weakref import ref

from lifecycle.behaviours.references.checking import Dangling, Repair, check
from lifecycle.behaviours.references.declaring import (
    Reference,
    declared,
    references_of,
    when_declared,
)
from lifecycle.behaviours.references.deleting import carry_out, look_before
from lifecycle.behaviours.references.one import ReferenceOne, check_nullable
from lifecycle.behaviours.references.pending import refuse_unresolved, resolve
from lifecycle.behaviours.references.reading import know
from lifecycle.changes import Operation
from lifecycle.dispatch import Dispatcher
from lifecycle.errors import ConfigurationError
from lifecycle.hooks import Hook, Mark
from lifecycle.markers import is_hidden
from lifecycle.moments import Moment, OnFlush, PreRemove
from lifecycle.objects import Reaching, objects_or_none
from lifecycle.relations import Pointer, Values

__all__ = ["References"]


class References:
    """The references of every model, to be checked: ``lifecycle.references``."""

    def __init__(self, adapters: Iterable[Reaching], dispatcher: Dispatcher) -> None:
        self.adapters: Final = adapters
        self._dispatcher: Final = dispatcher
        self._all: list[Reference[Any]] | None = None
        dispatcher.add_source(_source(ref(self)))
        know(self)
        when_declared(self)

    def declared(self) -> None:
        """A class has declared a reference: plans of hooks may be different now."""
        self._all = None
        self._dispatcher.forget_plans()

    def check(
        self,
        model: type | None = None,
        *,
        repair: Repair | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Dangling]:
        """Every reference to what is not there, of one model or of all.

        Objects are read some at a time, in the order of their keys, so any number takes as much
        memory. ``repair`` says what to do with each: ``"nullify"`` it, ``"delete"`` the object, or
        ``"declared"``, which does what its ``on_delete`` says and leaves the others; that goes
        through the mapper and its hooks, and is recorded. ``progress`` is told how many objects
        have been looked at since the last time. Raises ``ConfigurationError`` at the end when
        nothing reached the objects of some class.
        """
        return check(self._ones(), model, repair=repair, progress=progress)

    def _ones(self) -> list[Reference[Any]]:
        if self._all is None:
            found = {id(one): one for cls in declared() for one in references_of(cls).values()}
            self._all = list(found.values())
        return self._all

    def pointers(
        self,
        entity: str | None,
        source: str | None,
        entity_of: Callable[[type], str | None],
        key: Callable[[type, Any], str],
    ) -> Iterator[Pointer]:
        """How references lead to objects, in the terms of the log, each once.

        To those of an entity, from those of a source, or any. ``entity_of`` tells the name of a
        class, ``None`` for one that is not mapped, and ``key`` the text of an identity.
        """
        told: set[tuple[str, tuple[str, ...]]] = set()
        for cls in (one for owner in declared() for one in _with_heirs(owner)):
            own = entity_of(cls) if _is_current(cls) else None
            if own is None or source not in (None, own):
                continue
            for one in references_of(cls).values():
                if not isinstance(one, ReferenceOne) or not _is_known(one):
                    continue
                target = entity_of(one.target) if _is_current(one.target) else None
                if target is None or entity not in (None, target) or (own, one.fields) in told:
                    continue
                told.add((own, one.fields))
                keys = partial(_keys, one.target, one.fields, key)
                yield Pointer(source=own, target=target, fields=one.fields, keys=keys)

    def hooks_for(self, cls: type) -> list[Hook]:
        """What is to run at the moments of a class, or of whole flushes for ``object``."""
        ones = [one for one in self._ones() if isinstance(one, ReferenceOne)]
        if not ones:
            return []
        watched = [one for one in ones if one.on_delete != "nothing"]
        for reference in references_of(cls).values():
            check_nullable(reference, cls)
        if cls is object:
            found = [
                _hook(Moment.PRE_FLUSH, "resolve", resolve),
                _hook(Moment.ON_FLUSH, "refuse_unresolved", refuse_unresolved),
            ]
            if watched:
                found.append(_hook(Moment.ON_FLUSH, "look_before", partial(_looked, watched)))
            return found
        mine = [one for one in watched if _leads_to(one, cls)]
        if not mine:
            return []
        return [
            _hook(Moment.PRE_REMOVE, "look_before", partial(_looked_late, mine)),
            _hook(Moment.POST_COMMIT, "carry_out", partial(carry_out, mine)),
        ]


def _is_current(cls: type) -> bool:
    """Whether a class is mapped, and none that was defined later has taken its place."""
    objects = objects_or_none(cls)
    return objects is not None and objects.is_current(cls)


def _with_heirs(cls: type) -> Iterator[type]:
    yield cls
    heir: type
    for heir in cls.__subclasses__():
        yield from _with_heirs(heir)


def _keys(
    target: type, fields: tuple[str, ...], key: Callable[[type, Any], str], values: Values
) -> list[str]:
    parts = tuple(values.get(name) for name in fields)
    if any(part is None or is_hidden(part) for part in parts):
        return []
    return [key(target, parts if len(parts) > 1 else parts[0])]


def _hook(moment: Moment, name: str, call: Callable[[Any], Any]) -> Hook:
    return Hook(f"references.{name}", Mark(moment), call)


def _looked(watched: list[ReferenceOne[Any]], event: OnFlush) -> None:
    if any(one.operation is Operation.DELETE for one in event.changesets):
        usable = [one for one in watched if _is_known(one)]
        look_before(usable, event.changesets, event.session)


def _looked_late(mine: list[ReferenceOne[Any]], event: PreRemove) -> None:
    """Look at what only the flush itself deletes, of which it does not tell before."""
    if event.late:
        look_before(mine, (event,), event.session)


def _leads_to(reference: ReferenceOne[Any], cls: type) -> bool:
    return _is_known(reference) and issubclass(cls, reference.target)


def _is_known(reference: ReferenceOne[Any]) -> bool:
    """Whether the class it leads to has been declared; if not, none of its objects is deleted."""
    try:
        return reference.target is not None
    except ConfigurationError:
        return False


def _source(references: ref[References]) -> Callable[[type], list[Hook]]:
    def hooks_for(cls: type) -> list[Hook]:
        alive = references()
        return [] if alive is None else alive.hooks_for(cls)

    return hooks_for
