"""IMAGE: anything that holds a picture -> RGB pixels -> patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofasys.modality.image.augment import moved
from ofasys.modality.modality import Concatenate, Context, Options
from ofasys.modality.shared.colours import centred
from ofasys.modality.shared.cut import in_patches, pictures, raster, resized, shape_in_patches
from ofasys.modality.shared.read_image import read_image
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures


class Pixels(Concatenate):
    """A picture -> patches (n, 3 * p * p) uint8 in raster order, channel first, and shapes (1, 2) in patches."""

    resample = "bilinear"
    colours = "half"

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.size, self.patch, self.keep_aspect = options["size"], options["patch"], options["keep_aspect"]
        self.shift, self.mirror = int(options.get("shift", 0)), bool(options.get("mirror"))

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no picture, is empty or too large."""
        image = read_image(value, context.root)
        h, w = shape_in_patches(image.width, image.height, self.size, self.patch, self.keep_aspect)
        pixels = resized(image, w * self.patch, h * self.patch, self.resample)
        if context.random is not None and context.training and (self.shift or self.mirror):
            pixels = moved(pixels, context.random, shift=self.shift, mirror=self.mirror)
        patches = centred(in_patches(pixels, self.patch), self.colours)
        tensors = {"patches": patches, "shapes": np.array([[h, w]], dtype=np.int64)}
        info = {"width": image.width, "height": image.height, "read": (w * self.patch, h * self.patch)}
        return SlotFeatures(tensors, h * w, raster(h, w), orders=1, info=info)

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """patches (n, 3 * p * p), and of each shape (h, w) of pictures in patches `grid HxW` (pictures, h * w): their
        rows.

        A shape stands in a name, so that a network over whole pictures need not ask a device what to run.
        """
        return pictures(parts)

    def postprocess(self, tokens: np.ndarray, context: Context) -> Any:
        """Pixels are read, not made; pictures are made of codes."""
        raise NotImplementedError("IMAGE is made by preprocess=codes, not by preprocess=pixels")


class BicubicPixels(Pixels):
    """The same, resized as OFA's pictures were; float32 where they are centred otherwise."""

    resample = "bicubic"

    def __init__(self, options: Options, symbols: Symbols) -> None:
        super().__init__(options, symbols)
        self.colours = str(options.get("colours") or "half")
