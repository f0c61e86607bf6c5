"""A box: four numbers, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

FORMATS = ("xyxy", "xywh", "cxcywh")
WRITTEN = {"xyxy": "[x1, y1, x2, y2]", "xywh": "[x, y, width, height]", "cxcywh": "[cx, cy, width, height]"}


class Box(list[float]):
    """The four numbers of a box, and how they are written: one of FORMATS, in pixels or as shares of the sides."""

    def __init__(self, numbers: Iterable[float], format: str = "xyxy", normalised: bool = False) -> None:
        super().__init__(numbers)
        self.format, self.normalised = format, normalised

    @classmethod
    def of_pixels(
        cls, corners: Sequence[float], width: float, height: float, format: str = "xyxy", normalised: bool = False
    ) -> Box:
        """The box with these corners, in pixels of an image of that size."""
        x1, y1, x2, y2 = corners
        if normalised:
            x1, x2, y1, y2 = x1 / width, x2 / width, y1 / height, y2 / height
        if format == "xyxy":
            return cls((x1, y1, x2, y2), format, normalised)
        start = (x1, y1) if format == "xywh" else ((x1 + x2) / 2, (y1 + y2) / 2)
        return cls((*start, x2 - x1, y2 - y1), format, normalised)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in the unit of the numbers."""
        return corners(self, self.format)

    def pixels(self, width: float, height: float) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in pixels of an image of that size."""
        return corners(self, self.format, *((width, height) if self.normalised else (1, 1)))


def corners(
    numbers: Sequence[float], format: str, width: float = 1, height: float = 1
) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of four numbers, which are counted in `width` along and `height` down."""
    x, y, w, h = numbers
    if format == "xywh":
        w, h = x + w, y + h
    elif format == "cxcywh":
        x, y, w, h = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return x * width, y * height, w * width, h * height
