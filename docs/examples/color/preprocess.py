"""COLOR: "#rrggbb" or (r, g, b) -> three tokens, and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality import Concatenate, Context
from ofasys.modality.modality import NOWHERE, Options
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

EXPECTED = 'a colour: "#rrggbb", or (r, g, b) with whole numbers from 0 to 255'


class Channels(Concatenate):
    """A colour -> tokens (3,): each channel's level, counted from the start of the range "channels"."""

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.levels = int(options["levels"])
        self.start = symbols.vocabulary.span("channels")[0]

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError for what is no colour."""
        levels = np.array([channel * self.levels // 256 for channel in _channels(value)], dtype=np.int64)
        return SlotFeatures({"tokens": self.start + levels}, length=3)

    def postprocess(self, tokens: np.ndarray, context: Context) -> str:
        """ "#rrggbb", each channel in the middle of its level."""
        levels = np.asarray(tokens) - self.start
        return "#" + "".join(f"{(2 * int(level) + 1) * 256 // (2 * self.levels):02x}" for level in levels)

    def canonical(self, value: Any, context: Context = NOWHERE) -> str:
        """A true colour as an answer would write it: what metrics compare."""
        return self.postprocess(self.preprocess(value, context).tensors["tokens"], context)


def _channels(value: Any) -> list[int]:
    if isinstance(value, str):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise DataError(f"got {value[:40]!r}", expected=EXPECTED)
        return list(bytes.fromhex(value[1:]))
    try:
        channels = [int(channel) for channel in value]
    except (TypeError, ValueError):
        raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED) from None
    if len(channels) != 3 or not all(0 <= channel <= 255 for channel in channels):
        raise DataError(f"got {channels}", expected=EXPECTED)
    return channels
