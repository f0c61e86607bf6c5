"""What a VIDEO slot answers: frames, and how many of them make a second; they save themselves as a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ofasys.errors import ConfigError

if TYPE_CHECKING:
    from typing import Annotated as Int

UNSAID = 4.0  # frames a second of a clip whose slot says no rate, where it is shown
KINDS: dict[str, dict[str, Any]] = {
    ".gif": {"format": "GIF", "disposal": 1, "optimize": False},
    ".webp": {"format": "WEBP", "lossless": True},
    ".png": {"format": "PNG"},
    ".apng": {"format": "PNG"},
}


@dataclass(frozen=True, eq=False, repr=False)
class Video:
    """A clip. `np.asarray` of it, its length and its items are those of `frames`."""

    frames: Int[np.ndarray, "T H W 3"]
    """RGB, uint8."""
    rate: float | None = None
    """Frames a second, as its slot says. None: it does not; where it is shown there are 4."""

    @property
    def seconds(self) -> float:
        """How long it is shown."""
        return len(self.frames) / (self.rate or UNSAID)

    def save(self, path: str | Path) -> Path:
        """Write a moving picture: `.webp` and `.png` (`.apng`) keep every pixel, `.gif` 256 colours a frame.

        PNG keeps every frame. Of equal ones that follow each other GIF and WebP keep one, which stands as long; a clip
        that never changes is a still picture in WebP, which has no time. GIF counts hundredths of a second, and at
        least two. Errors: ConfigError for another ending.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in KINDS:
            raise ConfigError(f"cannot write a clip as {path.name!r}; use .gif, .webp or .png")
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *others = self.pictures()
        wait = 1000 / (self.rate or UNSAID)
        if kind == ".gif":
            first, *others = (one.quantize(256, dither=Image.Dither.NONE) for one in (first, *others))
            wait = max(20, 10 * round(wait / 10))
        more = dict(KINDS[kind])
        if more["format"] == "PNG":  # Pillow joins equal frames unless they are to be laid over what was in another way
            more["blend"] = [number % 2 for number in range(len(self.frames))]
        first.save(path, save_all=True, append_images=others, duration=max(1, round(wait)), loop=0, **more)
        return path

    def pictures(self) -> list[Image.Image]:
        """Its frames, RGB."""
        return [Image.fromarray(frame) for frame in self.frames]

    def strip(self) -> Image.Image:
        """Its frames beside each other, on white."""
        return Image.fromarray(beside(list(self.frames)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.frames, dtype=dtype) if copy else np.asarray(self.frames, dtype=dtype)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, number: int) -> np.ndarray:
        found: np.ndarray = self.frames[number]
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Video) and self.rate == other.rate and np.array_equal(self.frames, other.frames)

    def __hash__(self) -> int:
        return hash((self.rate, self.frames.tobytes()))

    def __repr__(self) -> str:
        count, height, width, _ = self.frames.shape
        return f"Video({count} frames of {width} x {height}{f' at {self.rate:g} a second' if self.rate else ''})"


def beside(pictures: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Pictures (H, W, 3) of one size in a row, white between them."""
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (white, picture)][1:], axis=1)
