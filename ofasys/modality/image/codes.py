"""IMAGE: a picture -> the codes of an image tokenizer, a token each, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import ConfigError, DataError
from ofasys.modality.image.levels import code_range
from ofasys.modality.image.tokenizer import ImageTokenizer, TokenizerOptions, train_tokenizer
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.shared.cut import raster, resized
from ofasys.modality.shared.read_image import read_image
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

MOST_BYTES = 200_000_000  # of pictures held to train a tokenizer on


class Codes(Concatenate):
    """A picture -> a square of `size` pixels -> tokens (n,) of its codes in raster order, with their places in the
    grid.

    A slot with `mask_ratio` hides codes: their places hold the mask token. In training a random share; where the value
    is `{"image": picture, "mask": picture or array (H, W)}`, those that lie at least half in what is white or true
    there.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.size, self.patch = options, int(options["size"]), int(options["patch"])
        self.side = self.size // self.patch
        self.mask_ratio, self.mask = float(options.get("mask_ratio") or 0), symbols.mask
        self.start = symbols.vocabulary.span(code_range(options))[0]
        self.fitted = options.get("fitted")
        if self.fitted is None:
            raise ConfigError("the image tokenizer of preprocess=codes is not trained yet; train the task first")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "tokenizer"}

    @cached_property
    def tokenizer(self) -> ImageTokenizer:
        """Made when first used, in whatever process that is."""
        assert self.fitted is not None
        return ImageTokenizer.from_arrays(self.fitted)

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no picture, is empty or too large."""
        value, mask = _parted(value)
        image = read_image(value, context.root)
        tokens = self.tokenizer.encode(_square(image, self.size)).reshape(-1) + self.start
        hidden = self._hidden(mask, context)
        if hidden is not None:
            tokens = np.where(hidden, self.mask, tokens)
        info = {"width": image.width, "height": image.height, "read": (self.size, self.size)}
        return SlotFeatures({"tokens": tokens}, len(tokens), raster(self.side, self.side), orders=1, info=info)

    def postprocess(self, made: np.ndarray, context: Context) -> Image.Image:
        """Tokens (n,) -> an RGB picture of `size` x `size` pixels."""
        codes = np.asarray(made, dtype=np.int64) - self.start
        return Image.fromarray(self.tokenizer.decode(codes.reshape(self.side, self.side)))

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A true picture as an answer would be: RGB, a square of `size` pixels. A path that leads nowhere stays
        itself.
        """
        try:
            return Image.fromarray(_square(read_image(_parted(value)[0], context.root), self.size))
        except DataError:
            return value

    @staticmethod
    def fit(values: Iterable[tuple[Any, Context]], options: Options, seed: int) -> Mapping[str, np.ndarray]:
        """The arrays of the tokenizer that `tokenizer=` names, or of one trained on these pictures.

        Errors: ConfigError when the named one has another number of codes or another patch; DataError when there is no
        picture to train on.
        """
        if options.get("tokenizer"):
            return _named(options).arrays()
        size, pictures = int(options["size"]), []
        for value, context in values:
            try:
                pictures.append(_square(read_image(_parted(value)[0], context.root), size))
            except DataError:  # said when its row is read
                continue
            if len(pictures) * 3 * size * size >= MOST_BYTES:
                break
        if not pictures:
            raise DataError("there is no picture to train the image tokenizer on", expected="one training row at least")
        shape = TokenizerOptions(codes=options["codes"], patch=options["patch"], steps=options["fit_steps"])
        return train_tokenizer(pictures, shape, seed).arrays()

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


def _named(options: Options) -> ImageTokenizer:
    folder = Path(options["tokenizer"])
    tokenizer = ImageTokenizer.load(folder)
    if (tokenizer.codes, tokenizer.patch) != (options["codes"], options["patch"]):
        raise ConfigError(
            f"the image tokenizer {str(folder)!r} has codes={tokenizer.codes} and patch={tokenizer.patch}; "
            f"the slot says codes={options['codes']} and patch={options['patch']}"
        )
    return tokenizer


def _parted(value: Any) -> tuple[Any, Any]:
    """The picture of a value, and its mask where it has one."""
    if isinstance(value, Mapping) and "image" in value:
        return value["image"], value.get("mask")
    return value, None


def _square(image: Image.Image, size: int) -> np.ndarray:
    """RGB pixels (size, size, 3) uint8."""
    return resized(image, size, size)
