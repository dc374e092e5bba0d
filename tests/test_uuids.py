"""Time-ordered identifiers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

import pytest

from lifecycle.uuids import uuid7, uuid7_of


def test_it_is_a_uuid_of_version_7() -> None:
    """Version and variant are those of RFC 9562."""
    made = [uuid7() for _ in range(100)]
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {RFC_4122}


def test_it_begins_with_the_time_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 bits of Unix milliseconds come first."""
    monkeypatch.setattr(time, "time_ns", lambda: 0x0123_4567_89AB * 1_000_000 + 999_999)
    assert str(uuid7()).startswith("01234567-89ab-7")


def test_later_ones_sort_after_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """As numbers and as text, from one millisecond to the next."""
    clock = iter(range(10**18, 10**18 + 50 * 1_000_000, 1_000_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    made = [uuid7() for _ in range(50)]
    assert made == sorted(made)
    assert [str(one) for one in made] == sorted(str(one) for one in made)


def test_no_two_are_alike_within_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other 74 bits are random."""
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    made = {uuid7().int for _ in range(10_000)}
    assert len(made) == 10_000
    ones, zeros = 0, (1 << 128) - 1
    for number in made:
        ones, zeros = ones | number, zeros & number
    assert (ones & ~zeros).bit_count() == 74


def test_what_happened_at_a_moment_has_one_id_for_each_name() -> None:
    """Whenever it is told again; and it sorts by when it happened."""
    at = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
    one = uuid7_of(at, "a")
    assert one == uuid7_of(at, "a") != uuid7_of(at, "b")
    assert one.version == 7
    assert one < uuid7_of(at + timedelta(milliseconds=1), "a")
