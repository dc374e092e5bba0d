"""Values go through the log and come back exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from ipaddress import ip_address, ip_interface, ip_network
from types import ModuleType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, insert, select

from lifecycle import codec
from lifecycle.codec import (
    Opaque,
    canonical,
    decode,
    dumps,
    encode,
    from_text,
    loads,
    register,
    to_text,
)
from lifecycle.errors import ConfigurationError, EncodingError, HistoryError
from lifecycle.markers import ABSENT, MASKED, UNKNOWN
from tests.strategies import Colour, Right, Size, Word, laws, values

Point = namedtuple("Point", "x y")


class Markup(str):
    """A string that says something else of itself, as some libraries' do."""

    def __str__(self) -> str:
        return "escaped"


class Count(int):
    """An int of its own type."""

    def __repr__(self) -> str:
        return "many"


class Ratio(float):
    """A float of its own type."""


def shape(value: Any) -> Any:
    """What makes a value what it is, worked out without the codec: types and reprs all the way."""
    kind = type(value)
    if kind is int:
        return kind, hex(value)
    if kind in (list, tuple):
        return kind, tuple(map(shape, value))
    if kind in (set, frozenset):
        return kind, frozenset(map(shape, value))
    if kind is dict:
        return kind, frozenset((shape(key), shape(item)) for key, item in value.items())
    return kind, repr(value)


def is_builtin(encoded: Any) -> bool:
    """Whether JSON itself has a type for it and everything inside."""
    if type(encoded) is dict:
        return all(type(key) is str and is_builtin(item) for key, item in encoded.items())
    if type(encoded) is list:
        return all(map(is_builtin, encoded))
    return encoded is None or type(encoded) in (bool, int, float, str)


# --- the round trip -------------------------------------------------------------------------


@given(values)
@laws
def test_every_value_comes_back_exactly(value: Any) -> None:
    """Type and value survive the text, at every depth."""
    assert shape(loads(dumps(value))) == shape(value)


@given(values)
@laws
def test_encoded_values_are_builtins_that_any_json_library_reads(value: Any) -> None:
    """`encode` gives plain builtins, and the text is standard JSON."""
    encoded = encode(value)
    assert is_builtin(encoded)
    assert shape(json.loads(dumps(value))) == shape(encoded)


@given(values)
@laws
def test_texts_hold_no_nul_and_no_lone_surrogate(value: Any) -> None:
    """A text column of any database takes the text as it is."""
    text = dumps(value)
    assert "\x00" not in text
    assert text.encode().decode() == text


NASTY = [
    "\x00 nul",
    "lone \ud800 surrogate",
    {"\udfff": "\x00"},
    "😀 \u2028 \\ \" ' é",
    b"\x00\xff",
    -0.0,
    5e-324,
    1.7976931348623157e308,
    2**63,
    -(2**63) - 1,
    10**5000,
    -(10**5000),
    Decimal("1.10"),
    Decimal("-0E-10"),
    Decimal("sNaN123"),
    Decimal("-Infinity"),
    {1: {"$date": "not one"}, None: [{(1, 2): 3}]},
    {"$oid": "text", "b": 1},
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-1, seconds=-7, microseconds=5))),
    time(23, 59, 59, 999999, tzinfo=ZoneInfo("Asia/Tokyo"), fold=1),
    timedelta(-1, 5, 7),
]


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_nasty_values_come_back_exactly(value: Any) -> None:
    """The values other encoders lose come back too."""
    assert shape(loads(dumps(value))) == shape(value)


def test_texts_survive_the_text_columns_of_every_database(engine: Engine) -> None:
    """What a database stored as text is read back as the same values."""
    table = Table("texts", MetaData(), Column("n", Integer, primary_key=True), Column("t", Text))
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(
            insert(table), [{"n": n, "t": dumps(value)} for n, value in enumerate(NASTY, 1)]
        )
        found = connection.execute(select(table.c.t).order_by(table.c.n)).scalars().all()
    assert [shape(loads(text)) for text in found] == [shape(value) for value in NASTY]


# --- the JSON -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("text", "text"),
        (2**63 - 1, 9223372036854775807),
        (2**63, {"$int": "9223372036854775808"}),
        (float("nan"), {"$float": "nan"}),
        (float("-inf"), {"$float": "-inf"}),
        (Decimal("1.10"), {"$decimal": "1.10"}),
        (datetime(2026, 1, 2, 3, 4, 5, 6), {"$date": "2026-01-02T03:04:05.000006"}),
        (datetime(2026, 1, 2, tzinfo=UTC), {"$date": "2026-01-02T00:00:00+00:00"}),
        (datetime(2026, 1, 2, fold=1), {"$date": {"at": "2026-01-02T00:00:00", "fold": 1}}),
        (
            datetime(2026, 1, 2, tzinfo=ZoneInfo("Asia/Tokyo")),
            {"$date": {"at": "2026-01-02T00:00:00", "zone": "Asia/Tokyo"}},
        ),
        (datetime(2026, 1, 2).date(), {"$day": "2026-01-02"}),
        (time(1, 2), {"$time": "01:02:00"}),
        (timedelta(days=-1, seconds=5), {"$timedelta": [-1, 5, 0]}),
        (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        (ip_address("10.0.0.1"), {"$ip": "10.0.0.1"}),
        (ip_address("fe80::1%eth0"), {"$ip": "fe80::1%eth0"}),
        (ip_network("10.0.0.0/8"), {"$network": "10.0.0.0/8"}),
        (ip_interface("10.0.0.1/8"), {"$interface": "10.0.0.1/8"}),
        (b"\x00", {"$bytes": "AA=="}),
        (bytearray(b"\x00"), {"$bytes": "AA=="}),
        (memoryview(b"\x00"), {"$bytes": "AA=="}),
        ((1, 2), {"$tuple": [1, 2]}),
        ({3, 1, 2}, {"$set": [1, 2, 3]}),
        (frozenset("a"), {"$frozenset": ["a"]}),
        ({1: "x"}, {"$map": [[1, "x"]]}),
        ({"$a": 1}, {"$map": [["$a", 1]]}),
        ({"a$": 1, "é": 2}, {"a$": 1, "é": 2}),
        ("\ud800", {"$text": "7aCA"}),
        (UNKNOWN, {"$marker": "unknown"}),
        (ABSENT, {"$marker": "absent"}),
        (MASKED, {"$marker": "masked"}),
        (Colour.RED, {"$enum": {"class": "tests.strategies.Colour", "name": "RED"}}),
        (
            Right.READ | Right.WRITE,
            {"$enum": {"class": "tests.strategies.Right", "name": "READ|WRITE", "value": 3}},
        ),
    ],
)
def test_values_json_has_no_type_for_are_tagged(value: Any, encoded: Any) -> None:
    """The JSON of the record format, which must never change for a value."""
    assert shape(encode(value)) == shape(encoded)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Markup("<b>"), "<b>"),
        (Count(5), 5),
        (Count(2**64), 2**64),
        (Ratio(0.5), 0.5),
        (OrderedDict(a=[Markup("x")]), {"a": ["x"]}),
        ({Markup("k"): Count(1)}, {"k": 1}),
        ({Count(1): 1}, {1: 1}),
        (Point(1, 2), (1, 2)),
        (type("Names", (list,), {})([1]), [1]),
        (type("Ids", (frozenset,), {})([1]), frozenset([1])),
        (type("Stamp", (datetime,), {})(2026, 1, 2), datetime(2026, 1, 2)),
        (bytearray(b"x"), b"x"),
    ],
)
def test_subclasses_are_recorded_as_the_plain_type(value: Any, plain: Any) -> None:
    """A subclass comes back as the type it is a subclass of, and counts as it."""
    assert shape(decode(encode(value))) == shape(plain)
    assert canonical(value) == canonical(plain)
    assert codec.kind_of(value) is type(plain)


def test_enums_that_are_ints_or_strings_too_stay_enums() -> None:
    """A member of an IntEnum or StrEnum does not turn into its value."""
    assert decode(encode([Size.SMALL, Word.A])) == [Size.SMALL, Word.A]
    assert type(decode(encode(Size.SMALL))) is Size
    assert type(decode(encode({Word.A: 1})).popitem()[0]) is Word


class _Unnamed(tzinfo):
    """A zone with an offset, and no name this module could find it by."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return timedelta(hours=2) if when else None


def test_a_zone_that_cannot_be_named_keeps_its_offset() -> None:
    """The moment is exact even where the zone is not kept."""
    found = decode(encode(datetime(2026, 1, 2, fold=1, tzinfo=_Unnamed())))
    assert shape(found) == shape(datetime(2026, 1, 2, fold=1, tzinfo=timezone(timedelta(hours=2))))


def test_a_time_whose_zone_has_neither_name_nor_offset_is_refused() -> None:
    """Nothing could be recorded of its zone, so nothing is."""
    with pytest.raises(EncodingError, match=r"a time in a zone of type .*_Unnamed has neither"):
        encode(time(1, tzinfo=_Unnamed()))


# --- canonical bytes ------------------------------------------------------------------------

LOOKALIKES = [
    *(1, 1.0, True, Decimal(1), Decimal("1.0"), "1", b"1", Size.SMALL, None, "", 0.0, -0.0, 0),
    *("a", Word.A, [1], (1,), {1}, frozenset({1}), {1: 1}, {True: 1}, {"1": 1}, {1: True}, [], {}),
    *(datetime(2026, 1, 2), datetime(2026, 1, 2, fold=1), datetime(2026, 1, 2).date()),
    *(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC"))),
    *({"$date": "2026-01-02T00:00:00"}, {"a": [1]}, {"a": (1,)}, [[1], []], [[], [1]], UNKNOWN),
    *(float("nan"), Decimal("NaN"), Decimal("sNaN"), "nan", {"$float": "nan"}, MASKED, "unknown"),
    *({"a": {"$b": 1, "c": 2}}, {"a": {"$b": 1, "c": 2.0}}),
]


def test_canonical_bytes_tell_all_lookalikes_apart() -> None:
    """No two values that differ in type or value have the same bytes."""
    assert len({canonical(value) for value in LOOKALIKES}) == len(LOOKALIKES)


@given(values, values)
@laws
def test_canonical_bytes_are_equal_exactly_for_the_same_values(one: Any, other: Any) -> None:
    """Bytes are equal when and only when types and values are."""
    assert (canonical(one) == canonical(other)) == (shape(one) == shape(other))
    assert canonical(one) == canonical(decode(encode(one)))


def test_the_order_of_keys_and_elements_does_not_count() -> None:
    """Equal maps and sets have equal bytes however they were built."""
    one = {"a": {1: 2, "$b": {2: 1, 3: 4}}, "c": {"x", "y", "z", 1}}
    other = {"c": {1, "z", "x", "y"}, "a": {"$b": {3: 4, 2: 1}, 1: 2}}
    assert canonical(one) == canonical(other)


def test_equal_sets_have_equal_texts() -> None:
    """The elements of a set are written in one order."""
    assert dumps({"x", 1, (2, 3), None}) == dumps({None, (2, 3), "x", 1})


# --- what this process does not know --------------------------------------------------------


def test_an_unknown_tag_is_kept_as_it_was_found() -> None:
    """It can be compared, hashed and read, and is written back as the same JSON."""
    encoded = {"a": [{"$oid": {"z": 1, "b": [True]}}]}
    (found,) = decode(encoded)["a"]
    assert found == Opaque("$oid", {"b": [True], "z": 1})
    assert hash(found) == hash(Opaque("$oid", {"b": [True], "z": 1}))
    assert found != Opaque("$oid", {"b": [1], "z": 1})
    assert found != "oid"
    assert str(found) == 'oid {"z":1,"b":[true]}'
    assert encode({"a": [found]}) == encoded


@pytest.mark.parametrize(
    "encoded",
    [
        {"$date": "yesterday"},
        {"$date": {"at": "2026-01-02T00:00:00", "zone": "Middle/Earth"}},
        {"$date": {}},
        {"$bytes": "###"},
        {"$uuid": 5},
        {"$decimal": "many"},
        {"$int": "1e5"},
        {"$map": [1]},
        {"$tuple": None},
        {"$marker": "odd"},
        {"$enum": "tests.strategies.Colour"},
        {"$enum": {"class": "tests.strategies.Colour", "name": "GREEN"}},
        {"$enum": {"class": "tests.strategies.Right", "name": "X", "value": 64}},
        {"$enum": {"class": "tests.strategies.Gone", "name": "RED"}},
        {"$enum": {"class": "tests.strategies.laws", "name": "RED"}},
        {"$enum": {"class": "no.such.module.Colour", "name": "RED"}},
    ],
    ids=str,
)
def test_what_cannot_be_rebuilt_is_kept_as_it_was_found(encoded: Any) -> None:
    """Damaged or foreign JSON under a known tag neither fails nor is lost."""
    found = decode(encoded)
    assert type(found) is Opaque
    assert encode(found) == encoded


def test_an_object_with_a_dollar_key_and_others_is_a_plain_map() -> None:
    """JSON that `encode` never gives is read as what it says."""
    assert decode({"$ref": "users", "$id": 5}) == {"$ref": "users", "$id": 5}


def test_reading_never_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """An enum is found only in modules that are imported, without waking lazy ones."""
    lazy = ModuleType("lazy_module")
    lazy.__getattr__ = lambda name: pytest.fail(f"{name} was asked for")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    assert type(decode({"$enum": {"class": "lazy_module.Colour", "name": "RED"}})) is Opaque

    assert "this" not in sys.modules
    assert type(decode({"$enum": {"class": "this.Colour", "name": "RED"}})) is Opaque
    assert "this" not in sys.modules


class Outer:
    """A class with an enum inside."""

    class Inner(Enum):
        """An enum with a qualified name of two parts."""

        A = 1


def test_an_enum_inside_a_class_is_found() -> None:
    """The qualified name is followed through classes."""
    assert decode(encode(Outer.Inner.A)) is Outer.Inner.A


def test_an_enum_of_a_function_is_kept_by_name() -> None:
    """What cannot be found again still says what it was."""

    class Local(Enum):
        A = 1

    found = decode(encode(Local.A))
    assert type(found) is Opaque
    assert found.payload["name"] == "A"


# --- types added by adapters ----------------------------------------------------------------


class Money:
    """A type of an adapter."""

    def __init__(self, amount: Any) -> None:
        self.amount = amount


def to_json(value: Money) -> Any:
    return [encode(value.amount)]


def from_json(payload: Any) -> Money:
    return Money(decode(payload[0]))


class Tagged(dict[str, Any]):
    """A dict an adapter wants to tell from others."""


def test_a_registered_type_comes_back_with_its_parts() -> None:
    """The adapter's functions are used, at any depth, and registering again does nothing."""
    register("$money", Money, to_json, from_json)
    register("$money", Money, to_json, from_json)
    assert encode([Money(Decimal("1.50"))]) == [{"$money": [{"$decimal": "1.50"}]}]
    (found,) = loads(dumps([Money(Decimal("1.50"))]))
    assert type(found) is Money
    assert repr(found.amount) == "Decimal('1.50')"
    assert codec.kind_of(found) is Money
    assert decode({"$money": 5}) == Opaque("$money", 5)


def test_a_subclass_may_be_registered_after_it_was_seen() -> None:
    """Its values are tagged from then on."""
    assert encode(Tagged(a=1)) == {"a": 1}
    register("$tagged", Tagged, dict, Tagged)
    assert encode(Tagged(a=1)) == {"$tagged": {"a": 1}}


@pytest.mark.parametrize(
    ("tag", "cls", "message"),
    [
        ("$date", Point, r"the tag '\$date' for .*Point is taken"),
        ("$coin", Money, r"Money cannot be registered as '\$coin': it is recorded in another way"),
        ("$s", str, r"builtins.str cannot be registered as '\$s'"),
        ("coin", Point, r"the tag 'coin' for .*Point must begin with '\$'"),
    ],
)
def test_a_tag_or_class_that_is_taken_is_refused(tag: str, cls: type, message: str) -> None:
    """The error says which of the two is in the way."""
    register("$money", Money, to_json, from_json)
    with pytest.raises(ConfigurationError, match=message):
        register(tag, cls, to_json, from_json)


def test_registering_with_other_functions_is_refused() -> None:
    """Two adapters cannot disagree about one tag."""
    register("$money", Money, to_json, from_json)
    with pytest.raises(ConfigurationError, match=r"the tag '\$money' for .*Money is taken"):
        register("$money", Money, to_json, lambda payload: Money(payload))


# --- what is refused ------------------------------------------------------------------------


@dataclass
class Secret:
    """A type nobody registered."""

    password: str


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [{"a": (it,)}], lambda it: {1: it}])
def test_an_unknown_type_is_refused_without_showing_the_value(wrap: Any) -> None:
    """The error names the type and the ways out, and never the value."""
    with pytest.raises(EncodingError) as caught:
        encode(wrap(Secret("hunter2")))
    message = str(caught.value)
    assert "test_codec.Secret" in message
    assert "lifecycle.codec.register()" in message
    assert "hunter2" not in message


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = ([value], {"k": value}, (value,))[level % 3]
    return value


def test_a_hundred_levels_come_back() -> None:
    """BSON allows as many."""
    value = nested(100)
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("depth", [101, 5_000])
def test_deeper_values_are_refused(depth: int) -> None:
    """However deep, the error is the same clear one."""
    with pytest.raises(EncodingError, match="nested more than 100 levels deep, or contains itself"):
        encode(nested(depth))


def test_values_that_contain_themselves_are_refused() -> None:
    """A cycle is found, through lists, maps and registered types."""
    ring: list[Any] = [{"é": {}}]
    ring[0]["é"]["back"] = [ring, ring]
    register("$money", Money, to_json, from_json)
    money = Money(None)
    money.amount = [money]
    for value in (ring, money):
        with pytest.raises(EncodingError, match="contains itself"):
            encode(value)


def test_unusual_keys_at_every_level_do_not_double_the_work() -> None:
    """A deep value with such keys is encoded in no time."""
    value: Any = {}
    for _ in range(60):
        value = {"a": value, "é": 1}
    assert decode(encode(value)) == value


def test_text_that_is_not_json_is_refused() -> None:
    """The error says what is wrong with the log."""
    with pytest.raises(HistoryError, match=r"a text of 7 characters in the log is not JSON"):
        from_text('{"a": 1')


def test_a_lone_surrogate_around_encoded_values_is_refused() -> None:
    """The error says how to write it instead."""
    with pytest.raises(EncodingError, match=r"lone surrogate .* lifecycle\.codec\.encode\(\)"):
        to_text({"\ud800": 1})


def test_the_codec_needs_no_orm_and_no_driver() -> None:
    """Importing it imports neither."""
    script = (
        "import sys, lifecycle.codec\n"
        "print(*{'sqlalchemy', 'mongoengine', 'pymongo', 'bson', 'starlette'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


@given(st.datetimes(timezones=st.sampled_from([UTC, None]), allow_imaginary=False))
def test_a_moment_in_utc_or_in_no_zone_is_written_as_isoformat_has_it(moment: datetime) -> None:
    """Whatever makes the text, it is the one that older records have."""
    assert codec.encode(moment.replace(fold=0)) == {"$date": moment.isoformat()}
