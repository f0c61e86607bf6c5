"""Small pictures of coloured shapes, for a tokenizer to learn."""

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 220), "yellow": (240, 210, 20)}
SHAPES = ("square", "circle", "cross", "bar")


def shape(colour, kind, size=16):
    """A shape in the middle, on white."""
    image = Image.new("RGB", (size, size), "white")
    pen, u = ImageDraw.Draw(image), size // 8
    if kind == "square":
        pen.rectangle((u, u, size - u - 1, size - u - 1), fill=COLOURS[colour])
    elif kind == "circle":
        pen.ellipse((u, u, size - u - 1, size - u - 1), fill=COLOURS[colour])
    elif kind == "cross":
        pen.rectangle((3 * u, 0, 5 * u - 1, size), fill=COLOURS[colour])
        pen.rectangle((0, 3 * u, size, 5 * u - 1), fill=COLOURS[colour])
    else:
        pen.rectangle((0, 5 * u, size, 7 * u - 1), fill=COLOURS[colour])
    return image


def rows(size=16):
    """Every shape in every colour, and its name."""
    return [{"name": f"{c} {k}", "img": shape(c, k, size)} for c in COLOURS for k in SHAPES]


def pixels(size=16):
    return np.stack([np.asarray(row["img"]) for row in rows(size)])


def psnr(made, true):
    wrong = np.square(np.asarray(made, dtype=float) - np.asarray(true, dtype=float)).mean()
    return 10 * np.log10(255**2 / max(wrong, 1e-9))
