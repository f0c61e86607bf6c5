"""Pictures as the codes of an image tokenizer: what IMAGE does with one picture, and VIDEO with each frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ofasys.errors import ConfigError, DataError
from ofasys.modality.modality import Concatenate, Context, Options
from ofasys.modality.shared.code_levels import code_range
from ofasys.modality.shared.cut import resized
from ofasys.modality.shared.image_tokenizer import ImageTokenizer, TokenizerOptions, train_tokenizer
from ofasys.modality.shared.read_image import read_image
from ofasys.modality.symbols import Symbols

if TYPE_CHECKING:
    from typing import Annotated as Int

MOST_BYTES = 200_000_000  # of pictures held to train a tokenizer on
MOST_KEPT = 32_000_000  # bytes of codes that are kept, so that a picture met again is not encoded again


class Coded(Concatenate):
    """Squares of `size` pixels <-> tokens of their codes in raster order."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.size, self.patch = options, int(options["size"]), int(options["patch"])
        self.side = self.size // self.patch
        self.start = symbols.vocabulary.span(code_range(options))[0]
        self.fitted = options.get("fitted")
        self.kept: dict[bytes, np.ndarray] = {}  # of what pixels -> their codes; the first ones, as epochs come in turn
        if self.fitted is None:
            raise ConfigError("the image tokenizer of preprocess=codes is not trained yet; train the task first")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "tokenizer"} | {"kept": {}}

    @cached_property
    def tokenizer(self) -> ImageTokenizer:
        """Made when first used, in whatever process that is."""
        assert self.fitted is not None
        return ImageTokenizer.from_arrays(self.fitted)

    def tokens_of(self, image: Image.Image) -> Int[np.ndarray, "n"]:
        """A picture of any size -> its tokens."""
        pixels = square(image, self.size)
        key = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        codes = self.kept.get(key)
        if codes is None:
            codes = self.tokenizer.encode(pixels).reshape(-1)
            if (len(self.kept) + 1) * codes.size * np.dtype(np.int32).itemsize <= MOST_KEPT:
                self.kept[key] = codes.astype(np.int32)
        return codes.astype(np.int64) + self.start

    def pixels_of(self, tokens: Int[np.ndarray, "n"]) -> np.ndarray:
        """Tokens of one picture -> RGB (size, size, 3) uint8."""
        codes = np.asarray(tokens, dtype=np.int64) - self.start
        return self.tokenizer.decode(codes.reshape(self.side, self.side))

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
                pictures.append(square(read_image(value, context.root), size))
            except DataError:  # said when its row is read
                continue
            if len(pictures) * 3 * size * size >= MOST_BYTES:
                break
        if not pictures:
            raise DataError("there is no picture to train the image tokenizer on", expected="one training row at least")
        shape = TokenizerOptions(codes=options["codes"], patch=options["patch"], steps=options["fit_steps"])
        return train_tokenizer(pictures, shape, seed).arrays()


def square(image: Image.Image, size: int) -> np.ndarray:
    """RGB pixels (size, size, 3) uint8."""
    return resized(image, size, size)


def _named(options: Options) -> ImageTokenizer:
    folder = Path(options["tokenizer"])
    tokenizer = ImageTokenizer.load(folder)
    if (tokenizer.codes, tokenizer.patch) != (options["codes"], options["patch"]):
        raise ConfigError(
            f"the image tokenizer {str(folder)!r} has codes={tokenizer.codes} and patch={tokenizer.patch}; "
            f"the slot says codes={options['codes']} and patch={options['patch']}"
        )
    return tokenizer
