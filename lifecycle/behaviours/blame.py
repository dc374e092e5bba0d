"""`blame`: who made an object, who changed it last, and who did something to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from lifecycle.behaviours.stamping import On, stamped
from lifecycle.context import current

__all__ = ["blame"]

C = TypeVar("C", bound=type)


@overload
def blame(cls: C, /) -> C: ...
@overload
def blame(
    *,
    created: str | None = None,
    updated: str | None = None,
    nobody: str | None = None,
    **changed: On,
) -> Callable[[C], C]: ...
def blame(
    cls: Any = None,
    /,
    *,
    created: str | None = None,
    updated: str | None = None,
    nobody: str | None = None,
    **changed: On,
) -> Any:
    """Set fields of a model to the one who acts when something happens to its objects.

    Who that is says `acting`. The keywords are those of `timestamps`: ``created``, ``updated``, and
    any other field with what has to change for it. Bare, ``@blame`` is about ``created_by`` and
    ``updated_by``. A field may be text, which gets the actor's id; a number, a ``UUID`` or an
    ``ObjectId``, such as the foreign key of a user, which is made of that id; or a reference field
    of a document.

    With nobody acting the field becomes ``nobody``: the one who is named there would else be
    blamed for what others did. A value set by hand stays. Statements are given the actor as they
    are given times by `timestamps`.

    Raises ``ConfigurationError`` for a field the model does not have; a write of somebody whose id
    does not fit the field is vetoed.
    """
    if cls is not None:
        return blame(created="created_by", updated="updated_by")(cls)

    def actor() -> str | None:
        found = current().actor
        return nobody if found is None else found

    return stamped("blame", created, updated, changed, actor)
