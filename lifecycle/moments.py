"""The moments of an object's life where hooks run, and what each one promises.

======================  ==========================================  ===============================
moment                  a hook may                                  raising
======================  ==========================================  ===============================
``pre_persist``         set fields, add and delete objects, query   vetoes; nothing was written,
``pre_update``                                                      the session stays usable and
``pre_remove``                                                      its objects stay dirty
``post_persist``        run SQL; assignments would be lost, so      rolls the transaction back
``post_update``         they are refused
``post_remove``
======================  ==========================================  ===============================

``pre_update`` and ``post_update`` run only for a real change: a value set and set back is none.
Pre hooks run again when another hook changed the object after they had seen it, until no object
has changes its hooks have not seen. Hooks of base classes run first, then in the order they were
defined; a higher ``priority`` comes before all that. The record is made last.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Final, NoReturn

from lifecycle.changes import ChangeSet, Operation
from lifecycle.context import Context, current
from lifecycle.errors import Veto

__all__ = [
    "EVENTS",
    "Event",
    "Moment",
    "PostPersist",
    "PostRemove",
    "PostUpdate",
    "PrePersist",
    "PreRemove",
    "PreUpdate",
]


class Moment(StrEnum):
    """A point in an object's life where hooks run."""

    PRE_PERSIST = "pre_persist"
    POST_PERSIST = "post_persist"
    PRE_UPDATE = "pre_update"
    POST_UPDATE = "post_update"
    PRE_REMOVE = "pre_remove"
    POST_REMOVE = "post_remove"


class Event:
    """What a hook is told: one object, at one moment, with its changes.

    ``instance`` is the object, ``changes`` its `ChangeSet`, ``entity`` its model's registered name
    and ``key`` its identity as text (``None`` while the database has not given one).
    ``former_key`` is its identity before this write, when the write moved it. ``session`` is the
    SQLAlchemy session, and ``None`` for documents. ``late`` says that the flush itself decided
    about the object, so that only its own columns can still be set.
    """

    __slots__ = (
        "changes",
        "entity",
        "former_key",
        "hook",
        "instance",
        "key",
        "late",
        "session",
    )

    moment: ClassVar[Moment]
    operation: ClassVar[Operation]

    def __init__(
        self,
        instance: Any,
        changes: ChangeSet,
        entity: str,
        key: str | None,
        session: Any = None,
        former_key: str | None = None,
        late: bool = False,
    ) -> None:
        self.instance = instance
        self.changes = changes
        self.entity = entity
        self.key = key
        self.former_key = former_key
        self.session = session
        self.late = late
        self.hook: str | None = None

    @property
    def context(self) -> Context:
        """Who acts, and why."""
        return current()

    def veto(self, why: str) -> NoReturn:
        """Refuse the write: raises ``Veto`` with the reason, the hook and the object."""
        raise Veto(f"{self.hook or 'a hook'} refused to {self.operation} {self.subject}: {why}")

    @property
    def subject(self) -> str:
        """The object in words: its entity and key."""
        return f"{self.entity} {'(new)' if self.key is None else self.key}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.subject}: {self.changes}>"


class PrePersist(Event):
    """A new object is about to be inserted.

    Every field that has a value shows as changed from ``ABSENT``. A database-generated key is not
    known yet. Setting fields, adding and deleting objects and querying are all fine.
    """

    __slots__ = ()
    moment = Moment.PRE_PERSIST
    operation = Operation.INSERT


class PostPersist(Event):
    """A new object has been inserted: its key and all database-generated values are known.

    Its transaction is still open. SQL is fine; assigning to the object would be lost.
    """

    __slots__ = ()
    moment = Moment.POST_PERSIST
    operation = Operation.INSERT


class PreUpdate(Event):
    """An object with a real change is about to be updated.

    ``changes`` shows what is about to be written, old and new; ``changes.set`` or plain assignment
    changes that, for any mapped field.
    """

    __slots__ = ()
    moment = Moment.PRE_UPDATE
    operation = Operation.UPDATE


class PostUpdate(Event):
    """An object has been updated; ``changes`` is what was written, frozen.

    Its transaction is still open. SQL is fine; assigning to the object would be lost.
    """

    __slots__ = ()
    moment = Moment.POST_UPDATE
    operation = Operation.UPDATE


class PreRemove(Event):
    """An object is about to be deleted; ``changes`` shows its fields going to ``ABSENT``."""

    __slots__ = ()
    moment = Moment.PRE_REMOVE
    operation = Operation.DELETE


class PostRemove(Event):
    """An object has been deleted; its transaction is still open. SQL is fine."""

    __slots__ = ()
    moment = Moment.POST_REMOVE
    operation = Operation.DELETE


EVENTS: Final[dict[Moment, type[Event]]] = {
    event.moment: event
    for event in (PrePersist, PostPersist, PreUpdate, PostUpdate, PreRemove, PostRemove)
}
"""The event class of each moment."""
