"""IMAGE: anything that holds a picture -> RGB pixels -> patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ofasys.modality.modality import Concatenate, Context, Options
from ofasys.modality.shared.read_image import read_image
from ofasys.modality.symbols import Symbols
from ofasys.types import Piece


class Pixels(Concatenate):
    """A picture -> patches (n, 3 * p * p) uint8 in raster order, channel first, and shapes (1, 2) in patches."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.size, self.patch, self.keep_aspect = options["size"], options["patch"], options["keep_aspect"]

    def preprocess(self, value: Any, context: Context) -> Piece:
        """Errors: DataError when the value is no picture, is empty or too large."""
        image = read_image(value, context.root)
        h, w = self._grid(image)
        pixels = np.asarray(image.resize((w * self.patch, h * self.patch), Image.Resampling.BILINEAR, reducing_gap=2.0))
        patches = pixels.reshape(h, self.patch, w, self.patch, 3).transpose(0, 2, 4, 1, 3).reshape(h * w, -1)
        grid = np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), -1).reshape(-1, 2)
        tensors = {"patches": np.ascontiguousarray(patches), "shapes": np.array([[h, w]], dtype=np.int64)}
        return Piece(tensors, h * w, grid, orders=1, info={"width": image.width, "height": image.height})

    def postprocess(self, tokens: np.ndarray, context: Context) -> Any:
        """Images are not generated yet."""
        raise NotImplementedError("IMAGE is a source modality here")

    def _grid(self, image: Image.Image) -> Sequence[int]:
        """Patches down and across."""
        most = self.size // self.patch
        if not self.keep_aspect:
            return most, most
        longest = max(image.size)
        return [max(1, round(most * side / longest)) for side in (image.height, image.width)]
