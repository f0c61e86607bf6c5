"""What a loss is a sum over. Known from a batch alone, before the model runs: parts of an update share one divisor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Annotated as Int


def positions(lengths: Int[np.ndarray, "values"], arrays: Mapping[str, np.ndarray]) -> int:
    """Every position of every value. lengths: their positions. arrays: what their criterion learns from."""
    return int(lengths.sum())


def values(lengths: Int[np.ndarray, "values"], arrays: Mapping[str, np.ndarray]) -> int:
    """Every value, whatever its length."""
    return len(lengths)
