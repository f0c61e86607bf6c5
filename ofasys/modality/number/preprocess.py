"""NUMBER: a number -> its place on its column's scale, and back."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.number.number import Number
from ofasys.modality.number.read_number import EXPECTED, read_number
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

FARTHEST = 1e6  # units of its scale that a number may be away from the middle
NORMAL_QUARTERS = 1.349  # deviations of a normal distribution between its quarters
NORMAL_WHOLE = 4.653  # ... and between its first and its last hundredth
LEAST_SHARE = 0.01  # of the deviation by hundredths that the one by quarters is believed at


class Scaled(Concatenate):
    """A number -> frames (1, 1) float32: (number - middle) / unit, or that of its logarithm; see `fit`."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        fitted: Mapping[str, np.ndarray] = options["fitted"]
        self.middle, self.unit = float(fitted["middle"][0]), float(fitted["unit"][0])
        self.log, self.low, self.high = options["scale"] == "log", options["lo"], options["hi"]
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        self.bounds = low, high

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what is no number, is outside lo and hi, or is out of all proportion to the scale."""
        number = read_number(value)
        self._check_bounds(number)
        place = (_on_scale(number, self.log) - self.middle) / self.unit
        if not abs(place) <= FARTHEST:
            middle = math.exp(min(self.middle, 700.0)) if self.log else self.middle
            raise DataError(
                f"the number {number:g} is more than {FARTHEST:.0e} times the spread of the training values away from "
                f"their middle, {middle:g}",
                expected="a number of their size; scale=log is for numbers of many sizes, mean and std give a scale",
            )
        return self.from_frames(np.array([[place]], dtype=np.float32))

    def from_frames(self, frames: np.ndarray) -> SlotFeatures:
        """frames (1, 1), or (1, 2) with a spread, as they stand in a stream: one position, without the spread."""
        return SlotFeatures({"frames": np.ascontiguousarray(frames[:, :1], dtype=np.float32)}, len(frames))

    def postprocess(self, frames: np.ndarray, context: Context) -> Number:
        """frames (1, 2), place and spread on the scale -> the number in its unit; of (1, 1) the spread is 0.

        Errors: DataError when the model made no finite numbers.
        """
        made = np.asarray(frames, dtype=np.float64)
        if not np.isfinite(made).all():
            raise DataError("the model made NaN or infinity", expected="finite numbers; was the training stable?")
        at, spread = float(made[0, 0]), (float(made[0, 1]) if made.shape[1] > 1 else 0.0) * self.unit
        place = at * self.unit + self.middle
        if not self.log:
            return Number(_finite(place), _finite(spread), None, self.bounds)
        median = math.exp(min(place, 700.0))
        deviation = median * math.exp(min(spread * spread / 2, 700.0)) * math.sqrt(math.expm1(min(spread**2, 700.0)))
        return Number(_finite(median), _finite(deviation), spread, self.bounds)

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A true number as a float. What is none stays itself."""
        try:
            return read_number(value)
        except DataError:
            return value

    @staticmethod
    def fit(values: Iterable[tuple[Any, Context]], options: Options, seed: int) -> dict[str, np.ndarray]:
        """middle and unit (1,) float64: median and spread of the training numbers, or `mean` and `std` as they were
        given.

        The spread is that between the quarters, and of a column most of which is one number that between its first and
        its last hundredth, or else its deviation; of a constant column its size, or 1. So a few numbers that are far
        out do not press the others together. Bad values are left out. Errors: DataError if none is left.
        """
        if options["mean"] is not None and options["std"] is not None:
            return _fitted(options["mean"], options["std"])
        numbers, bad = array("d"), None
        log, low, high = options["scale"] == "log", options["lo"], options["hi"]
        for value, _ in values:
            try:
                number = read_number(value)
                if (low is None or number >= low) and (high is None or number <= high):
                    numbers.append(_on_scale(number, log))
            except DataError as error:
                bad = bad or error
        if not numbers:
            what = f"; the first value: {bad.message}" if bad else ""
            raise DataError(
                f"no number to learn the scale from{what}",
                expected=bad.expected
                if bad
                else "at least one training value between lo and hi, or mean= and std= in the slot",
            )
        found = np.asarray(numbers, dtype=np.float64)
        return _fitted(float(np.median(found)), _spread(found))

    def _check_bounds(self, number: float) -> None:
        if self.low is not None and number < self.low:
            raise DataError(f"the number {number:g} is below lo={self.low:g}", expected=f"{self.low:g} or more")
        if self.high is not None and number > self.high:
            raise DataError(f"the number {number:g} is above hi={self.high:g}", expected=f"{self.high:g} or less")


def _fitted(middle: float, unit: float) -> dict[str, np.ndarray]:
    return {"middle": np.array([middle], dtype=np.float64), "unit": np.array([unit], dtype=np.float64)}


def _on_scale(number: float, log: bool) -> float:
    """Errors: DataError for a number that has no logarithm."""
    if not log:
        return number
    if number <= 0:
        raise DataError(f"the number {number:g} has no logarithm", expected=f"{EXPECTED}, above 0, with scale=log")
    return math.log(number)


def _spread(numbers: np.ndarray) -> float:
    """The unit of a scale, above 0."""
    largest = float(np.abs(numbers).max())
    if largest == 0.0:
        return 1.0
    first, quarter, last_quarter, last = np.quantile(numbers / largest, [0.01, 0.25, 0.75, 0.99])
    quarters, whole = (last_quarter - quarter) / NORMAL_QUARTERS, (last - first) / NORMAL_WHOLE
    found = float(quarters if quarters >= LEAST_SHARE * whole else whole)
    found = found if found > 1e-12 else float(np.std(numbers / largest))
    found = found if found > 1e-12 else abs(float(np.median(numbers / largest)))
    return max(found * largest, sys.float_info.min)


def _finite(number: float) -> float:
    """JSON has no word for infinity."""
    return max(-sys.float_info.max, min(sys.float_info.max, number))
