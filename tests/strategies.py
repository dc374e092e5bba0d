"""Hypothesis strategies for every kind of value the log can hold."""

from __future__ import annotations

import os
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from ipaddress import ip_interface, ip_network
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from lifecycle.markers import MASKED, UNKNOWN

laws = settings(max_examples=1000 if os.environ.get("LIFECYCLE_SOAK") else 40, deadline=None)
"""For tests of laws: quick in daily use, and thorough with LIFECYCLE_SOAK=1."""


def _fits_a_set(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:  # a signalling NaN, alone among decimals
        return False
    return True


class Colour(Enum):
    """A plain enum, with members equal to nothing else."""

    RED = "red"
    BLUE = ("blue", 2)


class Size(IntEnum):
    """An enum whose members are equal to ints."""

    SMALL = 1


class Word(StrEnum):
    """An enum whose members are equal to strings."""

    A = "a"


class Right(Flag):
    """An enum whose members combine."""

    READ = 1
    WRITE = 2


texts = st.text(st.characters(exclude_categories=()), max_size=8)

decimals = st.decimals() | st.builds(
    lambda sign, digits, exponent: Decimal((sign, digits, exponent)),
    st.sampled_from([0, 1]),
    st.lists(st.integers(0, 9), max_size=30).map(tuple),
    st.integers(-400, 400) | st.sampled_from(["n", "N", "F"]),
)

offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
zones = st.none() | st.just(UTC) | offsets | st.timezones()

moments = st.tuples(
    st.datetimes(timezones=zones) | st.times(timezones=zones), st.integers(0, 1)
).map(lambda pair: pair[0].replace(fold=pair[1]))

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**70)
    | st.floats()
    | texts
    | decimals
    | moments
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.ip_addresses()
    | st.ip_addresses().map(ip_network)
    | st.ip_addresses().map(ip_interface)
    | st.binary(max_size=8)
    | st.sampled_from([*Colour, *Size, *Word, *Right, Right.READ | Right.WRITE, Right(0)])
    | st.sampled_from([UNKNOWN, MASKED])
)

hashables = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner.filter(_fits_a_set), max_size=3)
    ),
    max_leaves=4,
)

keys = texts | st.sampled_from(["", ".", "~", "$", "$date", "a", "0", "01"])

values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(hashables.filter(_fits_a_set), inner, max_size=3)
        | st.sets(hashables.filter(_fits_a_set), max_size=3)
    ),
    max_leaves=8,
)
