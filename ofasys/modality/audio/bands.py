"""AUDIO in the source that comes as frames: filter banks, or whatever else is a row of numbers every few
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import read_array

from ofasys.errors import DataError
from ofasys.modality.audio.preprocess import Seen
from ofasys.modality.modality import NOWHERE, Context, Options
from ofasys.modality.shared.array import as_array, got, holds_array
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures


class Bands(Seen):
    """Frames (T, C): an array, a tensor, lists of numbers, or a `.npy` file, its path or bytes -> as `Fbank`
    makes of sound.

    max_length: what is longer than four frames a position loses its end. normalise=fixed: numbers as they come.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.options, self.mels = options, int(options["mels"])

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """(T, C) float32."""
        return None if value is None else read_bands(value, self.mels, context.root)

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what are no frames of `mels` finite numbers each."""
        return self.seen(read_bands(value, self.mels, context.root), context)


def read_bands(value: Any, mels: int, root: str | Path | None = None) -> np.ndarray:
    """Frames, or a file that holds them, its path in `root` or its bytes -> (T, mels) float32. Errors: DataError for
    any other.
    """
    expected = f"frames (T, {mels}): an array, a tensor, lists of numbers, or a .npy file: its path or bytes"
    if isinstance(value, (str, Path)):
        path = Path(value) if root is None else Path(root, value)
        value = _file(lambda: path.open("rb"), str(value), expected)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        value = _file(lambda: BytesIO(value), f"{len(value)} bytes", expected)
    elif not (isinstance(value, (list, tuple)) or holds_array(value)):
        raise DataError(got(value), expected=expected)
    frames = as_array(value, expected)
    if frames.dtype.kind not in "iuf":
        raise DataError(f"an array of {frames.dtype}", expected=expected)
    if frames.ndim != 2 or not len(frames) or frames.shape[1] != mels:
        more = f"; mels={frames.shape[-1]} takes it" if frames.ndim == 2 and len(frames) else ""
        raise DataError(f"an array of shape {frames.shape}", expected=expected + more)
    with np.errstate(over="ignore"):  # what is too large is told below
        frames = frames.astype(np.float32)
    if not np.isfinite(frames).all():
        raise DataError("a number is NaN or infinite in float32", expected="finite numbers")
    return frames


def _file(opened: Callable[[], IO[bytes]], said: str, expected: str) -> np.ndarray:
    try:
        with opened() as file:
            return read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise DataError(f"{said!r} is not read: {error}", expected=expected) from None
