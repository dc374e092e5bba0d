"""Keys that a database keeps in another form than they are given in.

What is recorded of an object goes under the key it was given until the object is read again, and
after that under the one it has: as if it were two. Nobody can tell without asking the database for
each new object, but types and values say where that is bound to happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import CHAR, ColumnElement, Date, DateTime, Dialect, Numeric, Time, TypeDecorator
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from lifecycle.coverage import Gaps
from lifecycle.errors import UnrecordedWriteWarning, warn
from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.values import from_log, to_log

__all__ = ["keys_in_doubt", "tell_altered"]

_IN_DOUBT: Final = (CHAR, Date, DateTime, Numeric, Time, TypeDecorator)


def keys_in_doubt(mapper: Mapper[Any]) -> dict[str, ColumnElement[Any]]:
    """The columns of a primary key whose type may make another value of one, by attribute."""
    return {
        mapper.get_property_by_column(column).key: column
        for column in mapper.primary_key
        if isinstance(column.type, _IN_DOUBT)
    }


def tell_altered(
    entity: str,
    columns: dict[str, ColumnElement[Any]],
    values: Iterable[dict[str, Any]],
    dialect: Dialect,
    gaps: Gaps,
) -> None:
    """Count objects written with keys that the database alters, and warn of each kind once."""
    for given in values:
        for name, column in columns.items():
            why = _alters(column.type, given.get(name), dialect)
            if why is not None and gaps.note([entity], f"key {name!r} as it was given", why):
                warn(
                    f"{entity} is recorded under the key {name!r} that it was given, and {why}: "
                    "what is recorded of it once it is read again goes under another key. Give "
                    "keys as the database keeps them. lifecycle.coverage() counts such objects; "
                    "each kind is told once",
                    UnrecordedWriteWarning,
                )


def _alters(type_: TypeEngine[Any], value: Any, dialect: Dialect) -> str | None:
    """Why a value does not come back as it is; ``None`` where nothing says so."""
    on_mysql = dialect.name in ("mysql", "mariadb")
    if isinstance(type_, TypeDecorator) and to_log(type_) is not None:
        return _turned(type_, value, dialect)
    if isinstance(type_, TypeDecorator):
        return _alters(type_.impl_instance, value, dialect)
    if isinstance(type_, CHAR) and isinstance(value, str):
        if dialect.name == "postgresql" and len(value) < (type_.length or 1):
            return "PostgreSQL fills CHAR up with blanks"
        if on_mysql and value.endswith(" "):
            return "blanks at the end of CHAR are left out"
    elif isinstance(type_, Date) and isinstance(value, datetime):
        return "a date has no time"
    elif isinstance(type_, Numeric) and isinstance(value, Decimal) and type_.scale is not None:
        digits = value.normalize().as_tuple().exponent
        if isinstance(digits, int) and -digits > type_.scale:
            return "it has more digits than the column"
    elif isinstance(type_, DateTime | Time):
        if getattr(value, "tzinfo", None) and not (type_.timezone and dialect.name == "postgresql"):
            return "the column keeps no time zone"
        if on_mysql and getattr(value, "microsecond", None) and not getattr(type_, "fsp", False):
            return "the column keeps no fractions of a second"
    return None


def _turned(type_: TypeDecorator[Any], value: Any, dialect: Dialect) -> str | None:
    there, back = to_log(type_), from_log(type_)
    try:
        stored = value if there is None else there(value, dialect)
        found = stored if back is None else back(stored, dialect)
        is_same = key_text((found,)) == key_text((value,))
    except Exception:  # a foreign type may do anything; the database has taken its value
        return None
    return None if is_same else f"{type(type_).__name__} makes another value of it"
