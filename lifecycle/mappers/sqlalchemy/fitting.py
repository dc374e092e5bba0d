"""Instants and identifiers, in the form that a column has them in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["fitted"]


def fitted(type_: TypeEngine[Any], value: Any) -> Any:
    """An aware time, or an identifier as text, as a column of that type takes it.

    A type of the application's own takes the value as it is. Raises ``ValueError`` for text that
    is no identifier of that type.
    """
    if isinstance(type_, TypeDecorator):
        return value
    try:
        kind = type_.python_type
    except NotImplementedError:
        return value
    if isinstance(value, datetime):
        return _time(type_, kind, value)
    if isinstance(value, str) and kind in (int, UUID):
        return kind(value)
    return value


def _time(type_: Any, kind: type, value: datetime) -> Any:
    if kind is datetime and not getattr(type_, "timezone", True):
        return value.astimezone(UTC).replace(tzinfo=None)  # else the server would take its own zone
    if kind is date:
        return value.astimezone(UTC).date()
    return int(value.timestamp()) if kind is int else value
