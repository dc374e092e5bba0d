"""Whether a database gave back what it was given, as far as its column can hold it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isclose
from typing import Any, Final

from lifecycle.changes import same

__all__ = ["alike"]

_NUMBERS: Final = (int, float, Decimal)
_SECOND: Final = timedelta(seconds=1)


def alike(given: Any, read: Any) -> bool:
    """Whether a value that was recorded is the one that was read.

    The log has what the application gave. A column may round it to its decimals or its seconds,
    drop its zone or trailing spaces, take what it holds as text, and give a tuple back as a list:
    none of that is a change.
    """
    if same(given, read):
        return True
    if isinstance(given, _NUMBERS) and isinstance(read, _NUMBERS):
        return _are_equal_numbers(given, read)
    if isinstance(given, datetime) and isinstance(read, datetime):
        return _are_equal_times(given, read)
    if isinstance(given, str) and isinstance(read, str):
        return given.rstrip(" ") == read.rstrip(" ")
    if isinstance(given, str) is not isinstance(read, str):
        return str(given) == str(read)
    if isinstance(given, list | tuple | dict) and isinstance(read, list | tuple | dict):
        return bool(_plain(given) == _plain(read))
    return type(given) is type(read) and bool(given == read)  # a range of times in another zone


def _are_equal_numbers(given: Any, read: Any) -> bool:
    if given == read:
        return True
    if isinstance(read, Decimal) and read.is_finite():
        try:
            return bool(
                abs(Decimal(str(given)) - read)
                <= Decimal(1).scaleb(int(read.as_tuple().exponent)) / 2
            )
        except InvalidOperation:
            return False
    return isinstance(read, float) and isclose(given, read, rel_tol=1e-6)


def _are_equal_times(given: datetime, read: datetime) -> bool:
    if (given.tzinfo is None) is not (read.tzinfo is None):
        aware = given if given.tzinfo is not None else read
        naive = read if aware is given else given
        wanted = (aware.replace(tzinfo=None), aware.astimezone(UTC).replace(tzinfo=None))
        return any(_are_close(one, naive, read) for one in wanted)
    return _are_close(given, read, read)


def _are_close(one: datetime, other: datetime, read: datetime) -> bool:
    return one == other or (read.microsecond == 0 and abs(one - other) < _SECOND)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value
