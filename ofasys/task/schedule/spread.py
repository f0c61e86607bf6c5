"""Turns spread by shares of any size: one task a step, each as often as its share, with no period and no rounding.

Step n takes the task in whose part of [0, 1) the fractional part of n times the golden ratio lies: the sequence of one
number that is spread most evenly (Kronecker's; Knuth, The Art of Computer Programming 3, 6.4). Over any stretch of N
steps with the same shares a task's turns differ from its share of them by no more than grows as log N. Whose turn it is
rests on the step and the shares at it alone, so that shares may move from step to step. In 64-bit arithmetic, exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

_WHOLE = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15


def place(step: int, shares: Sequence[float]) -> int:
    """Whose turn it is. shares: 0 or more each, of any sum above 0."""
    return bisect_right(_borders(shares), step * _GOLDEN % _WHOLE)


def counts(start: int, stop: int, shares: Sequence[float]) -> list[int]:
    """Turns of each over the steps start <= step < stop, in about log(stop) steps of arithmetic a task."""
    below = [_below(stop, border) - _below(start, border) for border in _borders(shares)]
    return [high - low for low, high in zip([0, *below[:-1]], below, strict=True)]


def _borders(shares: Sequence[float]) -> list[int]:
    """Where each part ends, in 2**64ths; the last part that is not empty ends the whole."""
    ends = list(accumulate(shares))
    return [_WHOLE if end == ends[-1] else int(end / ends[-1] * _WHOLE) for end in ends]


def _below(n: int, border: int) -> int:
    """Of the first n steps, how many lie below a border."""
    return n if border == _WHOLE else _floors(n, _GOLDEN, _WHOLE) - _floors(n, _GOLDEN, _WHOLE, -border) if n else 0


def _floors(n: int, slope: int, of: int, offset: int = 0) -> int:
    """The sum of floor((slope * i + offset) / of) over 0 <= i < n, by Euclid's algorithm."""
    total = 0
    while n:
        whole, slope = divmod(slope, of)
        high, offset = divmod(offset, of)
        total += whole * n * (n - 1) // 2 + high * n
        last = slope * n + offset
        n, offset = divmod(last, of)
        slope, of = of, slope
    return total
