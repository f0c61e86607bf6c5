"""Animated pictures (GIF, WebP, APNG, AVIF), through Pillow; a still one is a clip of one frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import DataError
from ofasys.modality.shared.read_image import MOST_PIXELS, read_image

MOST_FRAMES = 100_000
MOST_DECODED = 500_000_000  # pixels: a frame of an animation is drawn upon the one before, so all are decoded
EXPECTED = "a picture, animated or not, that can be read"


class Animation:
    """The frames of a PIL image. Without `timed` all stand equally long: a second.

    Errors: DataError when it cannot be read or is too large.
    """

    def __init__(self, image: Image.Image, what: str, timed: bool, file: Any = None) -> None:
        self.image, self.what, self.file = image, what, file
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise DataError(f"{what}: {width} x {height} pixels", expected=f"at most {MOST_PIXELS:,} pixels a frame")
        try:
            count = int(getattr(image, "n_frames", 1))
        except Exception as error:  # PIL raises many kinds for broken files
            raise self._broken(error) from None
        self.first = 1 if count > 1 and image.info.get("default_image") else 0  # a picture for those who cannot animate
        count -= self.first
        if count > MOST_FRAMES or count * width * height > MOST_DECODED:
            raise DataError(
                f"{what}: {count:,} frames of {width} x {height} pixels",
                expected=f"at most {MOST_FRAMES:,} frames and {MOST_DECODED:,} pixels in all; cut "
                "it, or make it an mp4",
            )
        stands = self._stands(count) if timed and count > 1 else np.ones(count)
        ends = np.cumsum(stands)
        self.times, self.duration = ends - stands, float(ends[-1])

    @classmethod
    def of_file(cls, file: Any, what: str, timed: bool) -> Animation:
        """An encoded picture. The file is closed at the end of the `with`, and when this fails."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(file)
        except Image.DecompressionBombError as error:
            raise DataError(f"{what}: {error}", expected=f"at most {MOST_PIXELS:,} pixels a frame") from None
        except Exception as error:
            raise DataError(f"{what} cannot be read: {error}", expected=EXPECTED) from None
        return cls(image, what, timed, file)

    def __enter__(self) -> Animation:
        return self

    def __exit__(self, *problem: object) -> None:
        if self.file is not None:
            self.image.close()
            self.file.close()

    def pick(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Image.Image]:
        """The frames with these numbers, which increase, upright and RGB."""
        for number in numbers:
            yield read_image(self._frame(int(number)))

    def _frame(self, number: int) -> Image.Image:
        try:
            if len(self.times) + self.first > 1:
                self.image.seek(self.first + number)
            self.image.load()
        except Exception as error:
            raise self._broken(error, number) from None
        return self.image

    def _stands(self, count: int) -> np.ndarray:
        """Seconds each frame stands; 0.1 where the file says none, as browsers do."""
        found = []
        for number in range(count):
            try:
                self.image.seek(self.first + number)
                if self.image.format in ("WEBP", "AVIF"):  # it knows how long a frame stands once it is decoded
                    self.image.load()
            except Exception as error:
                raise self._broken(error, number) from None
            found.append(float(self.image.info.get("duration") or 0) / 1000)
        return np.where(np.array(found) < 0.011, 0.1, found)

    def _broken(self, error: Exception, number: int | None = None) -> DataError:
        where = "" if number is None else f" at frame {number}"
        return DataError(f"{self.what} cannot be read{where}: {error}", expected=EXPECTED)
