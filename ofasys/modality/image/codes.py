"""IMAGE: a picture -> the codes of an image tokenizer, a token each, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import DataError
from ofasys.modality.modality import NOWHERE, Context, Options
from ofasys.modality.shared.coded import Coded, square
from ofasys.modality.shared.cut import raster
from ofasys.modality.shared.read_image import read_image
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures


class Codes(Coded):
    """A picture -> a square of `size` pixels -> tokens (n,) of its codes in raster order, with their places in the
    grid.

    A slot with `mask_ratio` hides codes: their places hold the mask token. In training a random share; where the value
    is `{"image": picture, "mask": picture or array (H, W)}`, those that lie at least half in what is white or true
    there.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        super().__init__(options, symbols)
        self.mask_ratio, self.mask = float(options.get("mask_ratio") or 0), symbols.mask

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no picture, is empty or too large."""
        value, mask = _parted(value)
        image = read_image(value, context.root)
        tokens = self.tokens_of(image)
        hidden = self._hidden(mask, context)
        if hidden is not None:
            tokens = np.where(hidden, self.mask, tokens)
        info = {"width": image.width, "height": image.height, "read": (self.size, self.size)}
        return SlotFeatures({"tokens": tokens}, len(tokens), raster(self.side, self.side), orders=1, info=info)

    def postprocess(self, made: np.ndarray, context: Context) -> Image.Image:
        """Tokens (n,) -> an RGB picture of `size` x `size` pixels."""
        return Image.fromarray(self.pixels_of(made))

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A true picture as an answer would be: RGB, a square of `size` pixels. A path that leads nowhere stays
        itself.
        """
        try:
            return Image.fromarray(square(read_image(_parted(value)[0], context.root), self.size))
        except DataError:
            return value

    @staticmethod
    def lessons(value: Any, context: Context, options: Options) -> Iterator[Any]:
        """The picture."""
        yield _parted(value)[0]

    def _hidden(self, mask: Any, context: Context) -> np.ndarray | None:
        """Which of the codes are hidden (n,), or None."""
        if not self.mask_ratio:
            return None
        count = self.side * self.side
        if mask is not None:
            picture = read_image(mask, context.root).convert("L").resize((self.side, self.side), Image.Resampling.BOX)
            return np.asarray(picture).reshape(-1) >= 128
        if context.random is None:
            return None
        hidden = np.zeros(count, dtype=bool)
        hidden[context.random.permutation(count)[: max(1, round(self.mask_ratio * count))]] = True
        return hidden


def _parted(value: Any) -> tuple[Any, Any]:
    """The picture of a value, and its mask where it has one."""
    if isinstance(value, Mapping) and "image" in value:
        return value["image"], value.get("mask")
    return value, None
