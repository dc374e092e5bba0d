"""An object's identity as text."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from lifecycle.audit.stores.sql.tables import ExactText
from lifecycle.errors import EncodingError
from lifecycle.keys import LONGEST, key_text
from tests.strategies import laws

PLUS_2 = timezone(timedelta(hours=2))


class Colour(Enum):
    """An enum."""

    RED = "r"


class Word(str, Enum):  # noqa: UP042 - its text differs from its value, unlike a StrEnum's
    """A text whose own idea of its text is another one."""

    A = "a"


class Size(IntEnum):
    """A number with a name."""

    SMALL = 1


class Loud(str):
    """A text that prints in capitals."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a/b, c~d", "a/b, c~d"),
        ("Zoë", "Zoë"),
        ("", ""),
        (1, "1"),
        (-(2**70), str(-(2**70))),
        (True, "True"),
        (1.5, "1.5"),
        (Decimal("1.50"), "1.5"),
        (Decimal("NaN"), "NaN"),
        (float("inf"), "Infinity"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "00ff"),
        (bytearray(b"\x00\xff"), "00ff"),
        (memoryview(b"\x00\xff"), "00ff"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3), "2026-01-02T03:00:00"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (time(3, 4), "03:04:00"),
        (timedelta(hours=1), "1:00:00"),
        (Colour.RED, "RED"),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_an_identity_of_one_part_is_written_as_people_write_it(value: Any, text: str) -> None:
    """Nothing in it is escaped."""
    assert key_text((value,)) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.0"), 1),
        (Decimal("1.0"), Decimal("1.00")),
        (Decimal("1E+2"), 100),
        (Decimal("-0.0"), 0),
        (1.0, 1),
        (0.1, Decimal("0.1")),
        (1e22, 10**22),
        (datetime(2026, 1, 2, 3, tzinfo=PLUS_2), datetime(2026, 1, 2, 1, tzinfo=UTC)),
        (Loud("a"), "a"),
        (Word.A, "a"),
        (Size.SMALL, 1),
    ],
)
def test_values_a_database_holds_to_be_one_share_a_text(one: Any, other: Any) -> None:
    """A history is found by what the application says and by what the database gave back."""
    assert key_text((one,)) == key_text((other,))
    assert key_text((one, 1)) == key_text((other, 1))


def test_the_parts_of_a_composite_identity_are_joined_by_commas() -> None:
    """Commas and tildes inside a part, and a missing part, can be told apart."""
    assert key_text((1, "a")) == "1,a"
    assert key_text(("a,b", "c~1", None, "")) == "a~1b,c~01,~,"


parts = (
    st.none()
    | st.text(st.characters(exclude_categories=()), max_size=6)
    | st.text(",~\ue000\ud800d")
)


@laws
@given(st.lists(st.tuples(parts, parts, parts), max_size=20))
def test_two_composite_identities_never_share_a_text(identities: list[tuple[Any, ...]]) -> None:
    """Whatever text their parts hold, lone surrogates included."""
    assert len({key_text(one) for one in identities}) == len(set(identities))


@laws
@given(
    st.lists(
        st.text(st.sampled_from("a…\ue000\ud800"), min_size=LONGEST - 3, max_size=LONGEST + 3)
        | st.text(st.characters(exclude_categories=())),
        max_size=8,
    )
)
def test_every_text_has_a_key_of_its_own_that_can_be_stored(texts: list[str]) -> None:
    """Long or strange, it is at most 255 characters of valid Unicode."""
    keys = {key_text((text,)) for text in texts}
    assert len(keys) == len(set(texts))
    for key in keys:
        assert len(key) <= LONGEST
        key.encode()


@laws
@given(
    st.lists(st.decimals(allow_nan=False) | st.integers() | st.floats(allow_nan=False), max_size=9)
)
def test_numbers_share_a_text_exactly_when_they_are_equal(numbers: list[Any]) -> None:
    """Whatever their type; a float is the number its shortest text says."""
    exact = {Decimal(repr(n)) if isinstance(n, float) else Decimal(n) for n in numbers}
    assert len({key_text((number,)) for number in numbers}) == len(exact)


def test_a_long_text_keeps_its_beginning_and_ends_in_its_digest() -> None:
    """Two long texts that begin alike are still told apart."""
    one, other = key_text(("x" * 300 + "a",)), key_text(("x" * 300 + "b",))
    assert one[: LONGEST - 64] == other[: LONGEST - 64] == "x" * (LONGEST - 65) + "…"
    assert one != other
    assert len(one) == LONGEST


def test_a_text_that_looks_like_a_shortened_one_does_not_take_its_place() -> None:
    """Nobody can give an object the key of another one's history."""
    shortened = key_text(("x" * 300,))
    assert key_text((shortened,)) != shortened
    assert key_text(("x" * (LONGEST - 1),)) == "x" * (LONGEST - 1)


def test_a_value_without_a_text_of_its_own_is_refused() -> None:
    """Its address would be another key in every process."""

    class Opaque:
        pass

    with pytest.raises(EncodingError, match=r"identity of type .*Opaque has no text: give the"):
        key_text((Opaque(),))


class Mute:
    """An identity whose text cannot be had."""

    def __str__(self) -> str:
        raise LookupError("s3cret")


def test_an_identity_whose_text_cannot_be_had_is_refused() -> None:
    """The error names the class and the cause, and shows nothing of the value."""
    with pytest.raises(EncodingError, match=r"__str__ of .*Mute raised LookupError") as raised:
        key_text((Mute(),))
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("unit", ["a", "\n", "\x00", "\ue000", "\ud800", "a\x00"])
@pytest.mark.parametrize("length", [50, 51, 190, 254, 255, 1000])
def test_every_key_fits_its_column_as_it_is_stored(unit: str, length: int) -> None:
    """The store writes NUL and U+E000 as five characters each."""
    text = key_text(((unit * length)[:length],))
    stored = ExactText().process_bind_param(text, sqlite.dialect())  # type: ignore[no-untyped-call]
    assert stored is not None
    assert len(stored) <= LONGEST
