"""BOX: pixels of the raw image -> four bins, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.modality import Concatenate, Context, Options
from ofasys.modality.symbols import Symbols
from ofasys.types import Piece

EXPECTED = "[x1, y1, x2, y2] in pixels with 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height"


class Bins(Concatenate):
    """[x1, y1, x2, y2] -> tokens (4,). A coordinate c of a side of w pixels falls in bin floor(c / w * bins)."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.bins = int(options["bins"])
        self.start = symbols.vocabulary.span("bins")[0]

    def preprocess(self, value: Any, context: Context) -> Piece:
        """Errors: DataError for what is not four finite numbers, degenerate, or outside its image."""
        width, height = self._frame(context)
        box = _numbers(value)
        x1, y1, x2, y2 = box
        if x1 >= x2 or y1 >= y2:
            raise DataError(f"box {box} has no area", expected=EXPECTED)
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            raise DataError(f"box {box} reaches outside its image of {width:g} x {height:g} pixels", expected=EXPECTED)
        bins = [min(int(c / side * self.bins), self.bins - 1) for c, side in zip(box, (width, height) * 2, strict=True)]
        return Piece({"tokens": np.array(bins, dtype=np.int64) + self.start}, 4)

    def postprocess(self, tokens: np.ndarray, context: Context) -> list[float]:
        """The middles of the bins, in pixels of the raw image, corners put in order."""
        width, height = self._frame(context)
        x1, y1, x2, y2 = ((int(t) - self.start + 0.5) / self.bins for t in tokens)
        x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        return [x1 * width, y1 * height, x2 * width, y2 * height]

    def _frame(self, context: Context) -> tuple[float, float]:
        if context.frame is None:
            raise DataError("the image this box lies in is missing", expected="a value for the image slot it refers to")
        return context.frame["width"], context.frame["height"]


def _numbers(value: Any) -> list[float]:
    try:
        if isinstance(value, (str, bytes, Mapping)):
            raise TypeError
        box = [float(c) for c in value]
    except (TypeError, ValueError):
        raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED) from None
    if len(box) != 4:
        raise DataError(f"got {len(box)} numbers", expected=EXPECTED)
    if not all(math.isfinite(c) for c in box):
        raise DataError(f"box {box} holds NaN or infinity", expected=EXPECTED)
    return box
