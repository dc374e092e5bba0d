"""Comparing sequences: exact, shortest, and never slow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audit_ui.myers import runs

SEQUENCES = st.lists(st.sampled_from("abcd"), max_size=14)


def longest_common(a: list[str], b: list[str]) -> int:
    """The textbook table, to compare with."""
    row = [0] * (len(b) + 1)
    for x in a:
        new = [0]
        for j, y in enumerate(b):
            new.append(row[j] + 1 if x == y else max(row[j + 1], new[-1]))
        row = new
    return row[-1]


@given(SEQUENCES, SEQUENCES)
def test_runs_cover_both_sequences_and_keep_as_much_as_possible(a: list[str], b: list[str]) -> None:
    """Runs follow each other without gaps, equal ones are equal, and no longer match exists."""
    found = runs(a, b)
    assert found is not None
    kept, x, y = 0, 0, 0
    for run in found:
        assert (run.a_start, run.b_start) == (x, y)
        x, y = run.a_end, run.b_end
        if run.equal:
            assert a[run.a_start : x] == b[run.b_start : y]
            kept += x - run.a_start
    assert (x, y) == (len(a), len(b))
    assert kept == longest_common(a, b)


def test_sequences_with_little_in_common_are_given_up() -> None:
    """Beyond the cap there is no comparison; below it, position does not matter."""
    a = [f"a{i}" for i in range(300)]
    assert runs(a, [f"b{i}" for i in range(300)], cap=100) is None
    assert runs([*a, "x"], [*a, "y"], cap=2) is not None


def test_pure_insertions_of_any_size_are_found() -> None:
    """What was only added needs no search, however much it is."""
    found = runs([], [str(i) for i in range(5_000)])
    assert found is not None
    assert [run.equal for run in found] == [False]
