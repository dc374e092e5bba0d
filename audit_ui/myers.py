"""The shortest edit between two sequences, after Eugene Myers' O(ND) algorithm, with a cap.

Equal beginnings and ends are trimmed first, so that time depends on what changed, not on length.
Beyond the cap the two have little in common, and a comparison would explain nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["CAP", "Run", "common_head", "runs"]

CAP: Final = 400
"""How many elements may differ before the comparison gives up."""


class Run(NamedTuple):
    """Part of both sequences: ``a[a_start:a_end]`` gave way to, or is equal to, that of ``b``."""

    equal: bool
    a_start: int
    a_end: int
    b_start: int
    b_end: int


def runs(a: Sequence[Hashable], b: Sequence[Hashable], cap: int = CAP) -> list[Run] | None:
    """Both sequences from beginning to end as runs; ``None`` when more than ``cap`` differs."""
    head = common_head(a, b)
    tail = common_head(a[head:][::-1], b[head:][::-1])
    matches = _matches(a[head : len(a) - tail], b[head : len(b) - tail], cap)
    if matches is None:
        return None
    blocks = [
        (0, 0, head),
        *((head + x, head + y, length) for x, y, length in matches),
        (len(a) - tail, len(b) - tail, tail),
    ]
    return list(_runs(blocks))


def _runs(blocks: list[tuple[int, int, int]]) -> Iterator[Run]:
    x = y = 0
    for next_x, next_y, length in blocks:
        if next_x > x or next_y > y:
            yield Run(False, x, next_x, y, next_y)
        x, y = next_x + length, next_y + length
        if length:
            yield Run(True, next_x, x, next_y, y)


def common_head(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """How many elements two sequences begin with in common."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # halving compares slices, far faster than a loop over elements
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _matches(
    a: Sequence[Hashable], b: Sequence[Hashable], cap: int
) -> list[tuple[int, int, int]] | None:
    """The equal blocks, as (start in a, start in b, length), in order."""
    if not a or not b:
        return []
    trace = _search(a, b, cap)
    return None if trace is None else _backtrack(trace, len(a), len(b))


def _search(a: Sequence[Hashable], b: Sequence[Hashable], cap: int) -> list[list[int]] | None:
    """For every number of edits d, how far into ``a`` each diagonal -d..d was reached."""
    n, m = len(a), len(b)
    trace: list[list[int]] = []
    before = [0, 0, 0]  # diagonals -1..1, so that d = 0 starts at the beginning
    for d in range(min(cap, n + m) + 1):
        reached = [-1] * (2 * d + 3)  # one more diagonal on both sides than d can reach
        for k in range(-d, d + 1, 2):
            x = _start(before, d, k)
            y = x - k
            while x < n and y < m and a[x] == b[y]:
                x += 1
                y += 1
            reached[k + d + 1] = x
            if x >= n and y >= m:
                return [*trace, reached]
        trace.append(reached)
        before = reached
    return None


def _start(before: list[int], d: int, k: int) -> int:
    """Where edit d arrives on diagonal k; ``before`` holds diagonals -d..d of d - 1 edits."""
    if not d:
        return 0
    down, right = before[k + d + 1] if k < d else -1, before[k + d - 1] + 1 if k > -d else -1
    return max(down, right)


def _backtrack(trace: list[list[int]], x: int, y: int) -> list[tuple[int, int, int]]:
    blocks: list[tuple[int, int, int]] = []
    for d in range(len(trace) - 1, -1, -1):
        k = x - y
        start = _start(trace[d - 1], d, k) if d else 0
        if x > start:
            blocks.append((start, start - k, x - start))
        if d:
            before = trace[d - 1]
            came_down = k < d and before[k + d + 1] == start
            x = start if came_down else start - 1
            y = start - k - 1 if came_down else start - k
    return blocks[::-1]
