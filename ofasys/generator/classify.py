"""The likeliest label of a value that was classified as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ofasys.generator.constraint import Ints


def classify(log_probs: Tensor, lengths: Sequence[int], options: Mapping[str, Any]) -> list[tuple[Ints, float]]:
    """Log-probabilities (values, U) -> of each value (its label as one token, numbered within the labels; its
    log-probability).
    """
    best, place = log_probs.max(1)
    return [(np.array([p], dtype=np.int64), float(b)) for b, p in zip(best.tolist(), place.tolist(), strict=True)]
