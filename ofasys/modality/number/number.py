"""A number as it is answered: a float that knows how far off it may be."""

from __future__ import annotations

import math
from statistics import NormalDist


class Number(float):
    """A float, in the unit of its column's rows, with the spread of its error; written as a plain float anywhere.

    spread: the standard deviation, in the same unit. log_spread: of a slot with `scale=log`, that of the natural
    logarithm: the number is then the median of a log-normal distribution; else None, and it is the mean of a normal
    one. bounds: of a slot with `lo` or `hi`; center: the median or mean as the model says it, which may lie outside.
    """

    spread: float
    log_spread: float | None
    bounds: tuple[float, float]
    center: float

    def __new__(
        cls,
        value: float,
        spread: float,
        log_spread: float | None = None,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> Number:
        """What the model says, and its spread. bounds: the least and the largest number there is; the answer is held
        between them.
        """
        made = super().__new__(cls, min(max(value, bounds[0]), bounds[1]))
        made.spread, made.log_spread = float(spread), None if log_spread is None else float(log_spread)
        made.bounds, made.center = bounds, float(value)
        return made

    def __reduce__(self) -> tuple[type[Number], tuple[float, float, float | None, tuple[float, float]]]:
        return Number, (self.center, self.spread, self.log_spread, self.bounds)

    def interval(self, share: float = 0.9) -> tuple[float, float]:
        """The numbers between which the truth lies with this probability, half of the rest to either side.

        share: above 0 and below 1. Errors: ValueError for another.
        """
        if not 0 < share < 1:
            raise ValueError(f"share is {share!r}; give a probability above 0 and below 1, as 0.9")
        away = NormalDist().inv_cdf(0.5 + share / 2)
        if self.log_spread is None:
            ends = self.center - away * self.spread, self.center + away * self.spread
        else:
            factor = math.exp(min(away * self.log_spread, 700.0))
            ends = self.center / factor, self.center * factor
        low, high = (min(max(end, self.bounds[0]), self.bounds[1]) for end in ends)
        return low, high
