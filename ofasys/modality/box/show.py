"""Boxes on a page, drawn on the picture they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from ofasys.modality.box.box import Box
from ofasys.modality.box.draw import draw
from ofasys.modality.modality import View
from ofasys.modality.shared import media
from ofasys.modality.shared.read_image import read_image

TRUE = "#adb5bd"  # grey, so that the answer's colours stand out


def show(values: Sequence[Any], view: View) -> str:
    """HTML of the frame with its boxes, and under it their numbers; the true boxes in grey.

    None is no box. Errors: DataError for a frame that is no picture.
    """
    numbers = media.text("; ".join(_written(value) for value in values if value is not None) or "(no box)")
    if view.referred is None:
        return numbers
    image = read_image(view.referred, view.root)
    scale = media.scale_of(image)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    picture = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    picture = draw(picture, _places(view.truths, view, image, scale), colours=(TRUE,), line=3)
    picture = draw(picture, _places(values, view, image, scale), [str(label) for label in view.labels], line=2)
    return f"{media.picture(picture, picture.width)}<br><span class='muted'>{numbers}</span>"


def _places(values: Sequence[Any], view: View, image: Image.Image, scale: float) -> list[list[float]]:
    """Corners in pixels of the picture that is drawn, in order, for a box whose sides changed places is drawn too.

    What does not say how it is written is written as the slot says.
    """
    written = str(view.options.get("format") or "xyxy"), bool(view.options.get("normalised"))
    found = []
    for value in values:
        if value is not None:
            box = value if isinstance(value, Box) else Box(map(float, value), *written)
            x1, y1, x2, y2 = (float(number) * scale for number in box.pixels(*image.size))
            found.append([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)])
    return found


def _written(value: Any) -> str:
    most = max((abs(float(number)) for number in value), default=0.0)
    return "[" + ", ".join(f"{float(number):.{1 if most > 1 else 3}f}" for number in value) + "]"
