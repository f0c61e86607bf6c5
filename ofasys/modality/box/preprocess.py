"""BOX: pixels of the raw image -> four bins, and back."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.box.box import FORMATS, WRITTEN, Box, corners
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.shared.array import as_array, got, holds_array
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

EXPECTED = {
    "xyxy": "[x1, y1, x2, y2] in pixels with 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height",
    "xywh": "[x, y, width, height] in pixels, the upper left corner and a size above 0, inside the image",
    "cxcywh": "[cx, cy, width, height] in pixels, the middle and a size above 0, inside the image",
}
ROUNDING = 1e-3  # of a side: so far outside a box may reach without a word
LOOKED_AT = 32  # different boxes of training after which their format is judged
FEW = 4  # the same for boxes in the first pixel, where no object is

_log = logging.getLogger("ofasys")


class Bins(Concatenate):
    """Four numbers, see `format` -> tokens (4,): left, top, right, bottom. A coordinate c of a side of w pixels falls
    in bin floor(c / w * bins)."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.bins = int(options["bins"])
        self.format, self.normalised = str(options.get("format") or "xyxy"), bool(options.get("normalised"))
        self.clip = bool(options.get("clip"))
        self.start = symbols.vocabulary.span("bins")[0]
        self.expected = EXPECTED[self.format]
        if self.normalised:
            said = self.expected.replace("<= width", "<= 1").replace("<= height", "<= 1")
            self.expected = said.replace("in pixels", "as shares of the image's sides")
        self.doubt: _Doubt | None = None if self.normalised else _Doubt(self.format == "xyxy")

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what is not four finite numbers, has no area, or is outside by more than rounding."""
        width, height = self._frame(context)
        numbers = self._numbers(value)
        if self.doubt is not None and context.training and self.doubt.settled(numbers, width, height):
            self.doubt = None
        sides = (width, height) * 2
        inside = zip(self._inside(numbers, width, height), sides, strict=True)
        shares = [c / side for c, side in inside]
        bins = [self.token(share, read) for share, read in zip(shares, self.read(context), strict=True)]
        return SlotFeatures({"tokens": np.array(bins, dtype=np.int64) + self.start}, 4)

    def postprocess(self, tokens: np.ndarray, context: Context) -> Box:
        """What the bins stand for, corners put in order, written as the slot's rows are."""
        width, height = self._frame(context)
        read = self.read(context)
        x1, y1, x2, y2 = (self.share(int(t) - self.start, side) for t, side in zip(tokens, read, strict=True))
        x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        middles = (x1 * width, y1 * height, x2 * width, y2 * height)
        return Box.of_pixels(middles, width, height, self.format, self.normalised)

    def read(self, context: Context) -> tuple[float, ...]:
        """Pixels of the side of each coordinate, as the model reads the image; here they do not matter."""
        return (1.0,) * 4

    def token(self, share: float, read: float) -> int:
        """The bin of a share of a side."""
        return min(int(share * self.bins), self.bins - 1)

    def share(self, token: int, read: float) -> float:
        """The share of a side in the middle of a bin."""
        return (token + 0.5) / self.bins

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A true box that says how it is written, as an answer does. What is none stays itself."""
        try:
            return Box(self._numbers(value), self.format, self.normalised)
        except DataError:
            return value

    def _inside(self, numbers: Sequence[float], width: float, height: float) -> tuple[float, ...]:
        """Its corners in pixels, cut off at the image's sides. Errors: DataError for more to cut off than rounding."""
        found = corners(numbers, self.format, *((width, height) if self.normalised else (1, 1)))
        x1, y1, x2, y2 = found
        if x1 >= x2 or y1 >= y2:
            raise self._refused(numbers, "has no area", width, height)
        if x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height:
            return found
        if not self.clip and _outside(found, width, height) > ROUNDING * (1 + 1e-9):
            raise self._refused(numbers, f"reaches outside its image of {width:g} x {height:g} pixels", width, height)
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)
        if x1 >= x2 or y1 >= y2:
            raise self._refused(numbers, f"lies outside its image of {width:g} x {height:g} pixels", width, height)
        return x1, y1, x2, y2

    def _refused(self, box: Sequence[float], what: str, width: float, height: float) -> DataError:
        """The error, with the ways to write a box in which these numbers would lie inside."""
        likely = self.normalised or _is_shares(box, width, height)
        ways = [(format, unit) for unit in (likely, not likely) for format in FORMATS]
        able = [way for way in ways if _fits(Box(box, *way), width, height)]
        hint = ""
        if able and able[0] != (self.format, self.normalised):
            hint = f"; as {WRITTEN[able[0][0]]} {_unit(able[0][1])} it would lie inside: write {self._said(*able[0])}"
        elif what.startswith("reaches outside"):
            hint = "; clip cuts off what is outside"
        return DataError(f"box {list(box)} {what}{hint}", expected=self.expected)

    def _said(self, format: str, normalised: bool) -> str:
        """What has to be written in the slot for a format, as far as it is not there already."""
        words = [f"format={format}"] if format != self.format else []
        if normalised != self.normalised:
            words.append("normalised" if normalised else "normalised=false")
        return " and ".join(words) + " in the slot"

    def _numbers(self, value: Any) -> list[float]:
        """Errors: DataError for what is not four finite numbers."""
        if not isinstance(value, (list, tuple)) and holds_array(value):
            array = as_array(value, self.expected)
            if array.ndim != 1 or array.dtype.kind not in "iuf":
                shape = f"an array of {array.dtype}, shape {array.shape}"
                raise DataError(f"{got(value)}, {shape}", expected=self.expected)
            value = array.tolist()
        if not isinstance(value, (list, tuple)):
            raise DataError(got(value), expected=self.expected)
        try:
            box = [float(c) if type(c) in (float, int) else _number(c) for c in value]
        except (TypeError, ValueError, OverflowError):
            raise DataError(got(value), expected=self.expected) from None
        if len(box) != 4:
            raise DataError(f"got {len(box)} numbers", expected=self.expected)
        if not all(map(math.isfinite, box)):
            raise DataError(f"box {box} holds NaN or infinity", expected=self.expected)
        return box

    def _frame(self, context: Context) -> tuple[float, float]:
        referred = self._referred(context)
        return referred["width"], referred["height"]

    def _referred(self, context: Context) -> Mapping[str, Any]:
        """Errors: DataError where there is no image."""
        if context.referred is None:
            raise DataError("the image this box lies in is missing", expected="a value for the image slot it refers to")
        return context.referred


class Marks(Bins):
    """The same as the nearest of `bins` marks, the first at 0 and the last at `extent` pixels of the image as the model
    reads it: OFA's way.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        super().__init__(options, symbols)
        self.extent = int(options["extent"])

    def read(self, context: Context) -> tuple[float, ...]:
        """As of `Bins`. Errors: DataError for an image that does not say it."""
        referred = self._referred(context)
        if "read" not in referred:
            raise DataError(
                "the image this box lies in does not say to how many pixels it is resized",
                expected='(width, height) as "read" in the `info` of its features, or preprocess=bins in the slot',
            )
        width, height = referred["read"]
        return width, height, width, height

    def token(self, share: float, read: float) -> int:
        """The nearest mark. Errors: DataError for what lies behind the last one."""
        found = round(share * read / self.extent * (self.bins - 1))
        if found >= self.bins:
            raise DataError(
                f"a coordinate is {share * read:.1f} of the {read:g} pixels its image is read in, and the last mark is "
                f"at {self.extent}",
                expected=f"an image that is resized to {self.extent} pixels at most: size={self.extent} in its slot",
            )
        return found

    def share(self, token: int, read: float) -> float:
        """Where a mark lies, as a share of the side."""
        return token / (self.bins - 1) * self.extent / read


def _number(value: Any) -> float:
    """A number of whatever library. Errors: TypeError or ValueError for what is none; True is none."""
    if holds_array(value):
        value = as_array(value)[()]
    if isinstance(value, (bool, np.bool_)):
        raise TypeError
    return float(value)


class _Doubt:
    """Whether boxes given in pixels may be written otherwise, judged by the first different ones of training.

    Shares of the sides lie in the first pixel. Corners of objects that lie anywhere are soon outside when they are read
    as a corner and a size. corners: whether that is asked too.
    """

    def __init__(self, corners: bool) -> None:
        self.corners = corners
        self.shares: set[tuple[float, ...]] = set()
        self.sized: set[tuple[float, ...]] = set()

    def settled(self, numbers: Sequence[float], width: float, height: float) -> bool:
        """Look at one more box; whether all has been said."""
        box = tuple(numbers)
        if _is_shares(box, width, height):
            self.shares.add(box)
            if len(self.shares) < FEW:
                return False
            _log.warning(
                f"the first {FEW} boxes of training lie in the first pixel of their images, as {list(box)} does: "
                "if they are shares of the sides, write normalised in the slot"
            )
            return True
        if not (self.corners and _fits(Box(box, "xywh"), width, height)):
            return True
        if box[0] <= ROUNDING * width and box[1] <= ROUNDING * height:  # from the corner on it is the same in either
            return False
        self.sized.add(box)
        if len(self.sized) < LOOKED_AT:
            return False
        _log.warning(
            f"the first {LOOKED_AT} boxes of training, read as [x1, y1, x2, y2], have their middle in the upper left "
            f"quarter of their images, as {list(box)} of {width:g} x {height:g} has: if they are [x, y, width, "
            "height], write format=xywh in the slot"
        )
        return True


def _is_shares(box: Sequence[float], width: float, height: float) -> bool:
    """Whether numbers given as pixels lie in the first one of an image that has more."""
    return max(box) <= 1 and min(width, height) > 2


def _fits(box: Box, width: float, height: float) -> bool:
    """Whether it has an area, and lies inside but for rounding."""
    x1, y1, x2, y2 = found = box.pixels(width, height)
    return x1 < x2 and y1 < y2 and _outside(found, width, height) <= ROUNDING


def _outside(pixels: Sequence[float], width: float, height: float) -> float:
    """How far corners in pixels reach outside, as a share of the image's side."""
    x1, y1, x2, y2 = pixels
    return max(-x1 / width, -y1 / height, x2 / width - 1, y2 / height - 1, 0.0)


def _unit(normalised: bool) -> str:
    return "as shares of the sides" if normalised else "in pixels"
