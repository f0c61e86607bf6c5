"""Boxes drawn on the image they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ofasys.errors import ConfigError
from ofasys.modality.box.box import Box
from ofasys.modality.shared.read_image import read_image

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000")


def draw(
    image: Image.Image,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[str] = (),
    scale: int = 1,
    colours: Sequence[str] = COLOURS,
    line: int | None = None,
) -> Image.Image:
    """A copy of `image`, `scale` times as large, with boxes (pixels of `image`) and a label at each where given.

    line: pixels that a side is thick; as the picture's width asks for if None.
    """
    picture = image.convert("RGB").resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(picture)
    for i, box in enumerate(boxes):
        colour = colours[i % len(colours)]
        x1, y1, x2, y2 = (c * scale for c in box)
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=line or max(1, picture.width // 150))
        if i < len(labels):
            place = (x1 + 2, max(0, y1 - 11))
            pen.rectangle(pen.textbbox(place, labels[i]), fill=colour)
            pen.text(place, labels[i], fill="white")
    return picture


def save(
    path: str | Path, boxes: Sequence[Any], frame: Any, labels: Sequence[str] = (), root: str | Path | None = None
) -> None:
    """Write the picture `frame` (any value IMAGE reads) with its boxes drawn; a small one enlarged.

    boxes: a `Box` as it says itself, other numbers as corners in pixels.
    """
    if Path(path).suffix.lower() not in Image.registered_extensions():
        raise ConfigError(
            f"cannot draw boxes into {Path(path).name!r}; use .png or .jpg, or .txt or .json for the numbers"
        )
    image = read_image(frame)
    scale = max(1, 256 // max(image.size))
    places = [box.pixels(*image.size) if isinstance(box, Box) else box for box in boxes]
    draw(image, places, labels, scale).save(path)
