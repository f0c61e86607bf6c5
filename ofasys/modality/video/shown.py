"""A decoded frame as a player shows it: pixels made square, turned and mirrored."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

from PIL import Image

Matrix = tuple[float, float, float, float]  # a, b, c, d: a pixel at (x, y) is shown at (a x + c y, b x + d y)

WIDEST = 16  # times as long as broad that a pixel may be; what says more is wrong
TURNS = {
    (1, 0, 0, 1): None,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


def as_shown(image: Image.Image, pixel: Fraction | None, matrix: Matrix | None) -> Image.Image:
    """pixel: its width by its height. The side along which pixels are longer grows; matrix is of the frame so made."""
    if pixel and pixel != 1 and 1 / WIDEST <= pixel <= WIDEST:
        width, height = image.size
        image = image.resize((round(width * max(float(pixel), 1)), round(height * max(float(1 / pixel), 1))))
    if matrix is None:
        return image
    a, b, c, d = matrix
    across, down = math.hypot(a, b), math.hypot(c, d)
    if not across or not down:
        return image
    whole = (round(a / across), round(b / across), round(c / down), round(d / down))
    if max(abs(a / across - whole[0]), abs(b / across - whole[1])) < 0.01 and whole in TURNS:
        turn = TURNS[whole]
        return image if turn is None else image.transpose(turn)
    if a * d - b * c < 0:  # mirrored, then turned
        image, a, b = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), -a, -b
    return image.rotate(-math.degrees(math.atan2(b, a)), expand=True)


def matrix_of(frame: Any) -> Matrix | None:
    """How a decoded frame is to be turned, if it is."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    return a / 65536, b / 65536, c / 65536, d / 65536
