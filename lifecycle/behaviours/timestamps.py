"""`timestamps`: when an object was made, when it was changed, and when something became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from lifecycle.behaviours.stamping import On, stamped
from lifecycle.errors import ConfigurationError, LifecycleError

__all__ = ["timestamps"]

C = TypeVar("C", bound=type)


def _now() -> datetime:
    return datetime.now(UTC)


@overload
def timestamps(cls: C, /) -> C: ...
@overload
def timestamps(
    *,
    created: str | None = None,
    updated: str | None = None,
    clock: Callable[[], datetime] = _now,
    **changed: On,
) -> Callable[[C], C]: ...
def timestamps(
    cls: Any = None,
    /,
    *,
    created: str | None = None,
    updated: str | None = None,
    clock: Callable[[], datetime] = _now,
    **changed: On,
) -> Any:
    """Set fields of a model to the time at which something happens to its objects.

    ``created`` names the field for the time of the insert, ``updated`` the one for that of the last
    change, the insert included. Bare, ``@timestamps`` is about ``created_at`` and ``updated_at``.
    Any other keyword is a field, with what has to change for it: a field or path, a tuple of
    them, or a condition, such as ``published_at=Becomes("status", "published")`` from
    `lifecycle.conditions`. A new object's fields all count as changed.

    The time is taken once for all fields of an object, right before it is written and after its
    other hooks, so an object that does not really change keeps its times. It is aware and in UTC;
    a column without time zone gets it without one, and a document as it would be loaded. ``clock``
    gives another one. A value set by hand stays.

    Statements that pass hooks by are given the times too: ORM and Core ``insert`` and ``update``
    of one table through an installed session or engine, and ``update`` and ``modify`` of querysets
    and collections of documents. They do not tell what a row had before, so every row they hit
    counts as changed in what they assign, and a condition with ``was=`` never holds. They cannot
    be given to SQL text, to an ``INSERT`` from a ``SELECT``, to the update half of an upsert, and
    to what ``bulk_write``, ``replace_one`` and inserts of raw documents do.

    Raises ``ConfigurationError`` for a field the model does not have.
    """
    if cls is not None:
        return timestamps(created="created_at", updated="updated_at")(cls)
    if not callable(clock):
        raise ConfigurationError(
            f"@timestamps(clock={clock!r}): give a function that returns an aware datetime"
        )

    def now() -> datetime:
        time = clock()
        if not isinstance(time, datetime) or time.utcoffset() is None:
            raise LifecycleError(
                f"the clock of @timestamps gave {time!r}, which is no aware datetime: let it "
                "return datetime.now(UTC)"
            )
        return time.astimezone(UTC)

    return stamped("timestamps", created, updated, changed, now)
