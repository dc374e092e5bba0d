"""`versioned`: an object is written only if nobody else has written it since it was loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from lifecycle.bundles import Behaviour, declare
from lifecycle.errors import ConfigurationError
from lifecycle.versioning import versioned_by

__all__ = ["versioned"]

C = TypeVar("C", bound=type)


@overload
def versioned(cls: C, /) -> C: ...
@overload
def versioned(*, field: str = "version") -> Callable[[C], C]: ...
def versioned(cls: Any = None, /, *, field: str = "version") -> Any:
    """Count the versions of an object in a number field, and refuse to write over another's.

    A new object has version 1, and each change adds one. A flush or save of an object that somebody
    else has changed or deleted since it was loaded raises ``StaleVersion`` and writes nothing of
    it: load it again. For SQLAlchemy this is its own ``version_id_col``, set on the mapper when the
    model is first looked at (one that the mapping has already stays), and the error is its
    ``StaleDataError`` as well; a DELETE of a stale object is refused too. A document is saved under
    the condition that its version is the one it was loaded with; to delete it asks for none.
    Neither costs a query.

    Statements count as well: ``update`` of a mapped class or its table through an installed session
    or engine, and ``update``, ``modify`` and the like of documents, querysets and collections, each
    unless it sets the version itself. So who holds what they change is stale, and so are objects of
    the same session if ``synchronize_session=False`` or an update of the table left them as they
    were. Not counted are SQL text, the update half of an upsert, ``replace_one`` and ``bulk_write``
    of collections; nor can an update of a subclass's own table where the version is in another one,
    or one of versions that the application makes, which gives an ``UncountedVersionWarning``.

    Raises ``ConfigurationError`` for a field the model does not have.
    """
    if cls is not None:
        return versioned()(cls)
    if not isinstance(field, str) or not field:
        raise ConfigurationError(f"@versioned(field={field!r}): give the name of a field")

    def decorator(decorated: C) -> C:
        declare(decorated, Behaviour("versioned", "", {"field": field}, frozenset({field})))
        versioned_by(decorated, field)
        return decorated

    return decorator
