"""IMAGE for a front: anything that holds a picture -> what the front's own processor makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ofasys.modality.modality import Concatenate, Context, Options
from ofasys.modality.shared.front_pixels import FrontPictures
from ofasys.modality.shared.read_image import read_image
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures


class FrontPixels(Concatenate):
    """A picture -> pixels (1, 3, height, width) float32. Its patches have a place in the grid; the front's marks, which
    come before them, have none.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.pictures = FrontPictures(options)

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no picture, is empty or too large."""
        image = read_image(value, context.root)
        info = {"width": image.width, "height": image.height}
        grid = self.pictures.grid
        return SlotFeatures({"pixels": self.pictures.pixels(image)}, len(grid), grid, orders=1, info=info)

    def postprocess(self, tokens: np.ndarray, context: Context) -> Any:
        """Pixels are read, not made; pictures are made of codes."""
        raise NotImplementedError("IMAGE is made by preprocess=codes, not through a front")
