"""One task a step, in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ofasys.task.schedule.schedule import Entry, Turn

_LONGEST = 4096


@dataclass(frozen=True)
class RoundRobin:
    """One task a step, in turn; a task of weight 2 comes twice as often as one of weight 1.

    As long as the same tasks are active from step 0 on, every task's turns differ from its share of the steps by less
    than 1 at any step (Tijdeman 1980, the chairman assignment); over a stretch in mid-run by less than 2. The pattern
    is periodic. Shares are exact where a pattern of 4096 turns or fewer holds them; else they are rounded to that
    pattern, with one turn at least.
    """

    def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
        """The task whose turn it is."""
        pattern = _pattern(tuple(task.weight for task in tasks))
        return [Turn(tasks[int(pattern.order[step % len(pattern.order)])].name)]

    def count(self, start: int, stop: int, tasks: Sequence[Entry]) -> dict[str, int]:
        """Whole periods, plus what is left over at both ends."""
        pattern = _pattern(tuple(task.weight for task in tasks))
        counts = pattern.before(stop) - pattern.before(start)
        return {task.name: int(count) for task, count in zip(tasks, counts, strict=True)}


@dataclass(frozen=True)
class _Pattern:
    """One period of a weighted round robin."""

    order: NDArray[np.int64]
    """(period,): whose turn it is."""
    share: NDArray[np.int64]
    """(tasks,): turns of each in it."""

    def before(self, step: int) -> NDArray[np.int64]:
        """(tasks,): turns of each before a step."""
        periods, rest = divmod(step, len(self.order))
        return periods * self.share + np.bincount(self.order[:rest], minlength=len(self.share))


@lru_cache(maxsize=64)
def _pattern(weights: tuple[float, ...]) -> _Pattern:
    """Tijdeman's rule: among the tasks far enough behind their share, the one that would be late first."""
    share = np.array(_whole(weights), dtype=np.int64)
    period, slack = int(share.sum()), max(1, 2 * len(share) - 2)
    if period == len(share):  # all alike
        return _Pattern(np.arange(period), share)
    tally, order = np.zeros_like(share), np.zeros(period, dtype=np.int64)
    for n in range(1, period + 1):
        behind = slack * (share * n - tally * period)
        late = np.where(behind >= period, (slack * period - period - behind) / share, np.inf)
        order[n - 1] = chosen = int(np.argmin(late)) if len(share) > 1 else 0
        tally[chosen] += 1
    return _Pattern(order, share)


def _whole(weights: tuple[float, ...]) -> list[int]:
    """Whole numbers in the proportion of the weights: exact if their sum is small, else rounded, at least 1."""
    exact = [fraction(weight) for weight in weights]
    total = sum(exact)
    common = math.lcm(*(weight.denominator for weight in exact))
    whole = [int(weight * common) for weight in exact]
    divisor = math.gcd(*whole)
    if sum(whole) // divisor <= _LONGEST:
        return [weight // divisor for weight in whole]
    return [max(1, round(weight / total * _LONGEST)) for weight in exact]


def fraction(weight: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth."""
    return Fraction(repr(float(weight)))
