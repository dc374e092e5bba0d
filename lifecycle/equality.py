"""When two values are the same: exactly when the log would record them the same way."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import eq
from typing import Any, Final
from uuid import UUID

from lifecycle import codec
from lifecycle.errors import EncodingError

__all__ = ["same"]


def same(a: object, b: object) -> bool:
    """Whether two values are exactly the same: same type, same value, at every depth.

    Stricter than ``==`` (``1``, ``1.0`` and ``True`` differ, and so do ``Decimal("1.0")`` and
    ``Decimal("1.00")``, and one instant in two zones), but NaN is the same as NaN, and a subclass
    of str, dict and the like counts as the plain type it is recorded as. Values of types the codec
    does not know are compared with ``==``.
    """
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b) or kind not in _SAME:
        kind = codec.kind_of(a)
        if kind is not codec.kind_of(b):
            return False
    return _SAME.get(kind, _same_record)(a, b)


def _same_record(a: object, b: object) -> bool:
    try:
        return codec.canonical(a) == codec.canonical(b)
    except EncodingError:
        pass
    try:
        return bool(a == b)
    except Exception:  # a foreign type's __eq__ may do anything; unequal is the safe answer
        return False


def _same_float(a: float, b: float) -> bool:
    if a != a:
        return b != b
    return a == b and math.copysign(1.0, a) == math.copysign(1.0, b)


def _same_sequence(a: list[Any] | tuple[Any, ...], b: list[Any] | tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


def _same_dict(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    if len(a) != len(b):
        return False
    if not (_TEXT.issuperset(map(type, a)) and _TEXT.issuperset(map(type, b))):
        return _same_record(a, b)
    return all(key in b and same(value, b[key]) for key, value in a.items())


def _same_moment(a: datetime | time, b: datetime | time) -> bool:
    if a.tzinfo is b.tzinfo:  # then == compares the clocks on the wall
        return a == b and a.fold == b.fold
    return _same_record(a, b)


_TEXT: Final = frozenset({str})

_SAME: Final[dict[type, Callable[[Any, Any], bool]]] = {
    str: eq,
    int: eq,
    bool: eq,
    bytes: eq,
    date: eq,
    timedelta: eq,
    UUID: eq,
    float: _same_float,
    Decimal: lambda a, b: str(a) == str(b),  # their text keeps exponent, sign and kind of NaN
    list: _same_sequence,
    tuple: _same_sequence,
    dict: _same_dict,
    datetime: _same_moment,
    time: _same_moment,
}
