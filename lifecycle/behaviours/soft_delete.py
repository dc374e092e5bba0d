"""`soft_delete`: what is deleted is marked, and hidden, and can be brought back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from lifecycle.bundles import Behaviour, declare
from lifecycle.errors import ConfigurationError, ConflictError
from lifecycle.keys import key_text
from lifecycle.objects import objects_of
from lifecycle.removal import WITH_DELETED, Removal, hard, marked_by, removal_of

__all__ = ["hard", "soft_delete", "undelete", "with_deleted"]

C = TypeVar("C", bound=type)
T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


@overload
def soft_delete(cls: C, /) -> C: ...
@overload
def soft_delete(
    *, field: str = "deleted_at", clock: Callable[[], datetime] = _now
) -> Callable[[C], C]: ...
def soft_delete(
    cls: Any = None, /, *, field: str = "deleted_at", clock: Callable[[], datetime] = _now
) -> Any:
    """Mark objects of a model as deleted instead of deleting them.

    ``session.delete(object)`` and ``document.delete()`` set ``field``, which may be empty, to the
    time of ``clock``; so do ``delete(Model)`` executed by a session, and ``delete()`` and
    ``modify(remove=True)`` of querysets.
    Delete hooks run, what they change is saved with the mark, and the log has a removal with all
    values, as of a real one. Conditions of `timestamps` and `blame` see the field change, so
    ``@blame(deleted_by="deleted_at")`` tells by whom. What an ORM cascade deletes too is marked if
    its model says so, and deleted if not; foreign keys and many-to-many rows stay. Delete rules of
    documents are followed the same way: ``CASCADE`` and ``DENY`` hold, others would lose what an
    undelete needs, and wait for a real delete. A marked object leaves its session with the flush,
    as a deleted one: a rollback puts it back, and ``session.add`` does not take it any more.

    Queries do not find what is marked: those of mapped classes through an installed session,
    ``session.get`` and relationships included, and all querysets. `with_deleted` makes one that
    does. Selects of a ``Table``, SQL text, raw collections, dereferencing of a reference and the
    refresh or reload of an object at hand are not filtered, nor with SQLAlchemy 2.0 is an
    ``EXISTS`` without an entity other than that of ``any()`` and ``has()``, nor those two within a
    subquery that columns are selected from: ask ``exists(select(Order.id).where(...))``, or use
    2.1. `hard` really deletes. `undelete` brings back, as does `Lifecycle.restore`; the log then
    has the object inserted again, whole. While an object is marked it is not there for the log, so
    what changes of it meanwhile is not recorded, nor is it when it is deleted for good.

    A unique column would still be taken by what is marked. Make it unique among what is not, as in
    ``Index("by_email", "email", unique=True, sqlite_where=deleted_at.is_(None),
    postgresql_where=deleted_at.is_(None))``, or in MongoDB with a ``partialFilterExpression``.
    MariaDB and MySQL have no such index; there make a column unique that is computed as
    ``if(deleted_at is null, email, null)``.

    A real delete takes along what is marked below an object, as far as its cascades and delete
    rules go. That of an object whose model is no soft one marks below it what can be marked, with
    keys that lead nowhere then, which a database with foreign keys refuses: make it `hard`. Orphans
    that a flush deletes by itself are deleted, and so is what the database deletes by foreign keys.
    Where a statement takes a mark away, the log does not tell of rows in tables beside the one that
    has it, subclasses' and many-to-many ones: bring objects back one by one.

    Raises ``ConfigurationError`` for a field the model does not have.
    """
    if cls is not None:
        return soft_delete()(cls)
    if not isinstance(field, str) or not field:
        raise ConfigurationError(f"@soft_delete(field={field!r}): give the name of a field")
    if not callable(clock):
        raise ConfigurationError(
            f"@soft_delete(clock={clock!r}): give a function that returns an aware datetime"
        )

    def decorator(decorated: C) -> C:
        behaviour = Behaviour("soft_delete", "", {"field": field}, frozenset({field}))
        declare(decorated, behaviour)
        marked_by(decorated, Removal(field, clock))
        return decorated

    return decorator


def undelete(instance: T) -> T:
    """Take the mark from an object, which the next flush or save then brings back.

    Find it with `with_deleted`, in the session that is to save it. Raises ``ConfigurationError``
    when its model has no `soft_delete`, and ``ConflictError`` when nothing would come of it: for an
    object that was never saved, is in no session, is being deleted by it, or is not marked, as far
    as memory has it.
    """
    removal = removal_of(type(instance))
    if removal is None:
        raise ConfigurationError(
            f"{type(instance).__qualname__} has no @soft_delete, so there is nothing to take back: "
            "use lifecycle.restore.undelete for what was really deleted"
        )
    cls = type(instance)
    objects = objects_of(cls)
    why = objects.unsaved(instance)
    if why is None and getattr(instance, removal.field) is None:
        why = (
            "is not marked as deleted, as it was loaded: if somebody has deleted it since, refresh "
            "or reload it first"
        )
    if why is not None:
        identity = objects.identity(instance)
        named = f"{objects.entity(cls)} {'(new)' if identity is None else key_text(identity)}"
        raise ConflictError(f"{named} cannot be brought back, for it {why}")
    setattr(instance, removal.field, None)
    return instance


def with_deleted(query: Any) -> Any:
    """A query, ``select()`` or queryset that finds what is marked as deleted, too.

    It is for the statement that is executed: one that becomes a subquery, as where Flask-SQLAlchemy
    counts the pages of a ``select()``, leaves it behind, so ask it of the one around it.

    Raises ``ConfigurationError`` for anything else, and for a queryset while no Lifecycle is
    installed on mongoengine, which hides nothing then.
    """
    if hasattr(query, "execution_options"):
        return query.execution_options(**{WITH_DELETED: True})
    if not hasattr(query, "with_deleted"):
        raise ConfigurationError(
            f"with_deleted() got a {type(query).__qualname__}: give a select(), a Query, or a "
            "queryset while a Lifecycle is installed on mongoengine"
        )
    return query.with_deleted()
