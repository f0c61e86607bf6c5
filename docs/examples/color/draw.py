"""Colours as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


def save(path: str | Path, colors: Sequence[str], frame: Any, labels: Sequence[str] = ()) -> None:
    """Write one square of 64 pixels for each colour, side by side."""
    picture = Image.new("RGB", (64 * len(colors), 64))
    for i, color in enumerate(colors):
        picture.paste(color, (64 * i, 0, 64 * i + 64, 64))
    picture.save(path)
