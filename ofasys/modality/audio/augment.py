"""SpecAugment (Park et al., 2019): stretches of time and of mel bands hidden in training. `T` frames, `C` mels.

Time warping is left out: in the paper it gives least and costs most.
"""

from __future__ import annotations

import numpy as np


def spec_augment(
    frames: np.ndarray,
    random: np.random.Generator,
    *,
    time_masks: int,
    time_mask: int,
    time_share: float,
    band_masks: int,
    band_mask: int,
) -> np.ndarray:
    """frames (T, C) -> (T, C), some of it replaced by the mean of all.

    A stretch of time has 0 to min(time_mask, time_share * T) frames, one of bands 0 to min(band_mask, C) bands, each
    length and place equally likely.
    """
    T, C = frames.shape
    hidden = np.zeros((T, C), dtype=bool)
    for _ in range(time_masks):
        start, end = _stretch(T, min(time_mask, int(time_share * T)), random)
        hidden[start:end] = True
    for _ in range(band_masks):
        start, end = _stretch(C, min(band_mask, C), random)
        hidden[:, start:end] = True
    return np.where(hidden, frames.mean(dtype=np.float32), frames)


def _stretch(size: int, most: int, random: np.random.Generator) -> tuple[int, int]:
    length = int(random.integers(0, most + 1))
    start = int(random.integers(0, size - length + 1))
    return start, start + length
