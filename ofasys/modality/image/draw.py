"""Pictures that were made, in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ofasys.errors import ConfigError
from ofasys.modality.shared.read_image import read_image


def beside(pictures: Sequence[Image.Image], columns: int, gap: int = 2) -> Image.Image:
    """Pictures of one size in rows of `columns`, on white."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * (width + gap), i // columns * (height + gap)))
    return sheet


def save(
    path: str | Path,
    pictures: Sequence[Any],
    frame: Any = None,
    labels: Sequence[str] = (),
    root: str | Path | None = None,
) -> None:
    """Write the picture, as answers or rows hold it; several stand beside each other.

    root: where relative paths start. Errors: ConfigError for a kind of file that holds no picture, or when there is
    none; DataError for a value that is no picture.
    """
    if Path(path).suffix.lower() not in Image.registered_extensions():
        raise ConfigError(f"cannot write a picture into {Path(path).name!r}; use .png, .webp or .jpg")
    if not pictures:
        raise ConfigError(f"the answer holds no picture to write into {Path(path).name!r}")
    beside([read_image(one, root) for one in pictures], len(pictures)).save(path)
