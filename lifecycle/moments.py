"""The moments of an object's life where hooks run, and what each one promises.

======================  ===============================================  ========================
moment                  a hook may                                       raising
======================  ===============================================  ========================
``pre_flush``           do anything                                      vetoes
``pre_persist``         set fields, add and delete objects, query        vetoes
``pre_update``
``pre_remove``
the same, but late      set this object's own columns                    rolls back
``on_flush``            do anything; no hook is called again for it      vetoes
``post_persist``        run SQL; what it assigns to objects would be     rolls back
``post_update``         lost, and gives a warning
``post_remove``
``post_flush``          the same                                         rolls back
``post_commit``         start new transactions                           is logged
``post_rollback``       start new transactions                           is logged
``pre_load``            replace the data the object is filled with       aborts the query
``post_load``           read; what it assigns is saved by the next       aborts the query
                        flush
``load_class_metadata`` subscribe more hooks                             goes to who configures
======================  ===============================================  ========================

*Vetoes* means that nothing has been written, the session stays usable and its objects stay dirty.
*Rolls back* means that the error leaves the flush and takes the transaction with it. *Is logged*
means that the change stands, the other hooks still run, and `Lifecycle(after_commit="raise")` gets
an ``ExceptionGroup`` at the end.

One flush goes through ``pre_flush``, the pre moments of its objects, ``on_flush``, the writing (and
late moments), the record, the post moments of its objects, and last ``post_flush``. The pre moments
are repeated until no hook is left that has not seen the changes of its object as they are; what a
hook did itself it has seen. When the flush itself changes more fields of an object, its update
hooks are called once more, late. Update moments come only for a real change: a value set and set
back is none. When keys of a many-to-many collection come or go, both of its ends have changed; the
end that only the database or the flush changes has no pre moment. When an object is deleted and
another one added under its key, the one is removed and the other persisted before, and as the
database sees a single UPDATE, one update comes after.

Rows that only the database touches, through ``ON DELETE`` and ``ON UPDATE`` of its foreign keys,
have no moments at all: they are recorded, but no hook runs for them. Nor does one for rows that
statements change past the flush.

A save or a delete of a document is a flush of its own, with the same moments in the same order; its
``event.session`` is ``None``. Pre hooks run before ``clean()`` and validation. What ``clean()`` or
mongoengine's own signals change after that is shown once more, late, right before the write; what
a late hook sets is saved, and no longer validated. A veto keeps the document from being written.
The document is in the database before its post hooks run, and outside of a transaction nothing can
roll it back: an error of a post hook goes on to the caller, and the write is recorded all the same.
What a post hook assigns to the document is not lost, but left for its next save. ``post_commit``
comes right after the write, or with the commit when the write belongs to a transaction, that of a
session that ``session.bind()`` has bound. ``post_rollback`` comes only with a transaction.
``Document.update`` and ``modify`` are such flushes too; what only the server can work out is
``UNKNOWN`` to their pre hooks, and what these set is set by the update. So is each document of a
``QuerySet.insert``. No hook runs for what other methods of querysets and collections write, nor for
what delete rules do to other documents by them.

Order: hooks of base classes first, then as they were defined, then subscribers, then signals; a
higher ``priority`` comes before all that.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar, Final, NoReturn

from lifecycle.changes import ChangeSet, Operation
from lifecycle.context import Context, current
from lifecycle.errors import HookDefinitionError, Veto
from lifecycle.stored import Stored

__all__ = [
    "CHANGE_EVENTS",
    "EVENTS",
    "POST",
    "PRE",
    "ChangeEvent",
    "Event",
    "FlushEvent",
    "LoadClassMetadata",
    "LoadEvent",
    "Moment",
    "ObjectEvent",
    "OnFlush",
    "PostCommit",
    "PostFlush",
    "PostLoad",
    "PostPersist",
    "PostRemove",
    "PostRollback",
    "PostUpdate",
    "PreEvent",
    "PreFlush",
    "PreLoad",
    "PrePersist",
    "PreRemove",
    "PreUpdate",
]


class Moment(StrEnum):
    """A point in an object's life where hooks run."""

    PRE_FLUSH = "pre_flush"
    PRE_PERSIST = "pre_persist"
    PRE_UPDATE = "pre_update"
    PRE_REMOVE = "pre_remove"
    ON_FLUSH = "on_flush"
    POST_PERSIST = "post_persist"
    POST_UPDATE = "post_update"
    POST_REMOVE = "post_remove"
    POST_FLUSH = "post_flush"
    POST_COMMIT = "post_commit"
    POST_ROLLBACK = "post_rollback"
    PRE_LOAD = "pre_load"
    POST_LOAD = "post_load"
    LOAD_CLASS_METADATA = "load_class_metadata"


class Event:
    """What a hook is told; each moment has a class of its own.

    ``moment`` names it, ``context`` is who acts and why, ``session`` the SQLAlchemy session (for
    documents ``None``), and ``hook`` the name of the hook that is running.
    """

    __slots__ = ("hook", "session")

    moment: ClassVar[Moment]

    def __init__(self, session: Any = None) -> None:
        self.session = session
        self.hook: str | None = None

    @property
    def context(self) -> Context:
        """Who acts, and why."""
        return current()

    @property
    def subject(self) -> str:
        """What the event is about, in words."""
        return "the session"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.subject}>"


class ObjectEvent(Event):
    """A moment of one object.

    ``instance`` is the object, ``entity`` its model's registered name, and ``key`` its identity as
    text, ``None`` while the database has not given one.
    """

    __slots__ = ("entity", "instance", "keeper", "key")

    def __init__(self, instance: Any, entity: str, key: str | None, session: Any = None) -> None:
        super().__init__(session)
        self.instance = instance
        self.entity = entity
        self.key = key
        self.keeper: Callable[[ObjectEvent], Stored] | None = None  # set by those who have one

    @property
    def stored(self) -> Stored:
        """The object as its database holds it; see `Stored`.

        At ``pre_load``, ``post_load`` and ``pre_update``; at others ``HookDefinitionError``.
        """
        if self.keeper is None:
            raise HookDefinitionError(
                f"{self.hook or 'a hook'} asks at {self.moment} how the object is stored: "
                "that can be asked at pre_load, post_load and pre_update"
            )
        return self.keeper(self)

    @property
    def subject(self) -> str:
        """The object in words: its entity and key."""
        return f"{self.entity} {'(new)' if self.key is None else self.key}"


class ChangeEvent(ObjectEvent):
    """A moment of an object that is written.

    ``changes`` is its `ChangeSet`. ``former_key`` is its identity before this write, when the write
    moved it. ``late`` says that the flush itself decided about the object, or about more of its
    fields, so that only its own columns can still be set. Of a document it says that ``clean()`` or
    a handler of mongoengine's signals has changed more; raising still keeps it from being written.
    """

    __slots__ = ("changes", "former_key", "late")

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
        super().__init__(instance, entity, key, session)
        self.changes = changes
        self.former_key = former_key
        self.late = late

    @property
    def operation(self) -> Operation:
        """What happens to the object as a whole."""
        return self.changes.operation

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.subject}: {self.changes}>"


class PreEvent(ChangeEvent):
    """A moment of an object that is about to be written, and can still be refused."""

    __slots__ = ()

    def veto(self, why: str) -> NoReturn:
        """Refuse the write: raises ``Veto`` with the reason, the hook and the object."""
        raise Veto(f"{self.hook or 'a hook'} refused to {self.operation} {self.subject}: {why}")


class PrePersist(PreEvent):
    """A new object is about to be inserted.

    Every field that has a value shows as changed from ``ABSENT``. A database-generated key is not
    known yet. Setting fields, adding and deleting objects and querying are all fine. Raising
    vetoes.

    For documents it comes before ``clean()`` and validation. A document that brings its own key
    counts as new; when the database then has that key already, `PostUpdate` comes after the write.
    """

    __slots__ = ()
    moment = Moment.PRE_PERSIST


class PreUpdate(PreEvent):
    """An object with a real change is about to be updated.

    ``changes`` shows what is about to be written, old and new; ``changes.set`` or plain assignment
    changes that, for any mapped field. Raising vetoes; when ``late``, it rolls back.
    """

    __slots__ = ()
    moment = Moment.PRE_UPDATE


class PreRemove(PreEvent):
    """An object is about to be deleted; ``changes`` shows its fields going to ``ABSENT``.

    Raising vetoes; when ``late``, as for an orphan that the flush itself deletes, it rolls back.
    """

    __slots__ = ()
    moment = Moment.PRE_REMOVE


class PostPersist(ChangeEvent):
    """A new object has been inserted: its key and all database-generated values are known.

    Its transaction is still open: SQL is fine, raising rolls back. Assigning to it would be lost;
    on a document it is left for the next save, and raising undoes nothing.
    """

    __slots__ = ()
    moment = Moment.POST_PERSIST


class PostUpdate(ChangeEvent):
    """An object has been updated; ``changes`` is what was written, frozen.

    Its transaction is still open: SQL is fine, raising rolls back. Assigning to it would be lost;
    on a document it is left for the next save, and raising undoes nothing.
    """

    __slots__ = ()
    moment = Moment.POST_UPDATE


class PostRemove(ChangeEvent):
    """An object has been deleted; its transaction is still open. Raising rolls back."""

    __slots__ = ()
    moment = Moment.POST_REMOVE


class PostCommit(ChangeEvent):
    """The transaction that wrote the object has been committed.

    One event for each object, however often it was flushed: ``changes`` goes from what it was
    before the transaction to what it is now, and an object that came and went has none. A document
    written outside of a transaction is committed with each write. Read these
    rather than ``instance``, whose attributes SQLAlchemy has expired by now. New
    transactions are fine, best in a session of their own: SQLAlchemy bars a session whose
    ``with session.begin():`` block has committed until the block ends. Nothing can be undone by
    raising: the error is logged, and other hooks still run. Delivered at most once: a crash after
    the commit loses it.
    """

    __slots__ = ()
    moment = Moment.POST_COMMIT


class PostRollback(ChangeEvent):
    """The transaction, or the savepoint, that wrote the object ended without commit.

    ``changes`` is what was undone, merged as for `PostCommit`. Errors are logged.
    """

    __slots__ = ()
    moment = Moment.POST_ROLLBACK


class FlushEvent(Event):
    """A moment of a whole flush; ``changesets`` holds the events of its objects.

    Each save or delete of a document is a flush of its own, of this one ``document``; it has no
    ``session``. Of a session's flush ``document`` is ``None``.
    """

    __slots__ = ("changesets", "document")

    def __init__(
        self, session: Any, changesets: tuple[ChangeEvent, ...] = (), document: Any = None
    ) -> None:
        super().__init__(session)
        self.changesets = changesets
        self.document = document

    @property
    def subject(self) -> str:
        """What is flushed, in words."""
        return "the session" if self.document is None else f"a {type(self.document).__qualname__}"


class PreFlush(FlushEvent):
    """A flush begins, or the save or delete of ``document``; nothing has been looked at.

    Anything is fine, raising vetoes.
    """

    __slots__ = ()
    moment = Moment.PRE_FLUSH


class OnFlush(FlushEvent):
    """All pre hooks have come to rest; ``changesets`` is what is about to be written.

    Anything is fine, but pre hooks are not called again for it. Raising vetoes. A document is
    validated after this. When its save has nothing to write there is no changeset.
    """

    __slots__ = ()
    moment = Moment.ON_FLUSH


class PostFlush(FlushEvent):
    """Everything has been written, and the post hooks have run; ``changesets`` is what was written.

    The transaction is still open: SQL is fine, raising rolls back. A document has been written for
    good, unless it is in a transaction; see the top of this module for what raising does then.
    """

    __slots__ = ()
    moment = Moment.POST_FLUSH


class LoadEvent(ObjectEvent):
    """A moment of an object that comes out of the database."""

    __slots__ = ()


class PreLoad(LoadEvent):
    """An object is being filled, and nobody has seen it yet.

    ``data`` is a dict of what the query brought, by field; what a hook puts there is what the
    object gets, and what it takes away becomes ``None``; the object stays clean. A query that
    brings some fields shows just these; ``partial`` tells, and `covers`. Raising aborts the query.

    For documents ``data`` is the raw SON, by database names, in a copy: what the database holds
    stays the old value of later changes. ``instance`` then is a document of the class without
    fields, which is an error to ask for one. ``reload()`` and ``Document.modify()`` fill a document
    anew, with these hooks and without those of `PostLoad`; copies, pickles and ``from_json()`` are
    no loads.
    """

    __slots__ = ("_covers", "data", "partial")
    moment = Moment.PRE_LOAD

    def __init__(
        self,
        instance: Any,
        data: dict[str, Any],
        entity: str,
        key: str | None,
        session: Any = None,
        *,
        partial: bool = False,
        covers: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(instance, entity, key, session)
        self.data = data
        self.partial = partial
        self._covers = covers

    def covers(self, field: str) -> bool:
        """Whether the query asked for a field, so that ``data`` has what there is of it."""
        return self._covers is None or self._covers(field)


class PostLoad(LoadEvent):
    """An object has been filled; collections may not have been.

    What a hook assigns makes the object dirty, so the next flush, or save, writes it. Raising
    aborts the query.
    """

    __slots__ = ()
    moment = Moment.POST_LOAD


class LoadClassMetadata(Event):
    """A mapped class, or a document class, has become known; it comes once for each class.

    Classes that are there already come when Lifecycle is installed on them, or the hook subscribed;
    later ones of SQLAlchemy when they are configured, of mongoengine when they are first used.
    ``cls`` is the class, ``entity`` its registered name, ``fields`` its mapped fields. Subscribing
    hooks to it is fine.
    """

    __slots__ = ("cls", "entity", "fields")
    moment = Moment.LOAD_CLASS_METADATA

    def __init__(self, cls: type, entity: str, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.cls = cls
        self.entity = entity
        self.fields = fields

    @property
    def subject(self) -> str:
        """The model in words."""
        return self.entity


PRE: Final = {
    Operation.INSERT: Moment.PRE_PERSIST,
    Operation.UPDATE: Moment.PRE_UPDATE,
    Operation.DELETE: Moment.PRE_REMOVE,
}
"""The moment before each operation."""

POST: Final = {
    Operation.INSERT: Moment.POST_PERSIST,
    Operation.UPDATE: Moment.POST_UPDATE,
    Operation.DELETE: Moment.POST_REMOVE,
}
"""The moment after each operation, in its transaction."""

CHANGE_EVENTS: Final[dict[Moment, type[ChangeEvent]]] = {
    event.moment: event
    for event in (
        PrePersist,
        PreUpdate,
        PreRemove,
        PostPersist,
        PostUpdate,
        PostRemove,
        PostCommit,
        PostRollback,
    )
}
"""The event class of each moment that has changes."""

EVENTS: Final[dict[Moment, type[Event]]] = {
    **CHANGE_EVENTS,
    **{
        event.moment: event
        for event in (PreFlush, OnFlush, PostFlush, PreLoad, PostLoad, LoadClassMetadata)
    },
}
"""The event class of each moment."""
