"""What can be installed: all of mongoengine, a document class, or a connection by its alias."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mongoengine
from mongoengine import Document
from mongoengine.connection import DEFAULT_CONNECTION_NAME, _connection_settings

from lifecycle.errors import InstallError
from lifecycle.mappers.mongoengine.documents import document_classes

__all__ = ["accepts", "check_known", "covered", "covers", "overlap"]


def accepts(target: object) -> bool:
    """Whether the target is ``mongoengine``, a ``Document`` class, or may be an alias."""
    if isinstance(target, type):
        return issubclass(target, Document)
    return target is mongoengine or isinstance(target, str)


def covers(target: Any, cls: Any) -> bool:
    """Whether a document class belongs to a target: to an alias, when its ``meta`` names that."""
    if target is mongoengine:
        return True
    if isinstance(target, str):
        return bool(cls._meta.get("db_alias", DEFAULT_CONNECTION_NAME) == target)
    return issubclass(cls, target)


def covered(target: Any) -> Iterator[type]:
    """The document classes with documents that belong to a target, of those there are."""
    return (one for one in document_classes() if covers(target, one))


def overlap(one: Any, other: Any) -> bool:
    """Whether two targets are the same, or share document classes."""
    if one == other or mongoengine in (one, other):
        return True
    if isinstance(one, type) and isinstance(other, type):
        return issubclass(one, other) or issubclass(other, one)
    return any(covers(other, cls) for cls in covered(one))


def check_known(target: Any) -> None:
    """Raises ``InstallError`` for an alias that neither a connection nor a document class has."""
    if not isinstance(target, str) or target in _connection_settings or any(covered(target)):
        return
    known = ", ".join(sorted(map(repr, _connection_settings))) or "none yet"
    raise InstallError(
        f"{target!r} is no connection alias (there are: {known}): connect or register it first, or "
        "give the mongoengine module or a Document class"
    )
