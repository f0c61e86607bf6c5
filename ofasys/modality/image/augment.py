"""Pictures moved a little in training, so that places are not learned by heart (as He et al., 2016, do)."""

from __future__ import annotations

import numpy as np


def moved(pixels: np.ndarray, random: np.random.Generator, *, shift: int, mirror: bool) -> np.ndarray:
    """pixels (H, W, C) -> the same shape: moved by up to `shift` down or up and across, each way as likely, the edge
    repeated where nothing was; and with `mirror`, every other time, left for right.
    """
    H, W, _ = pixels.shape
    down, across = (int(way) for way in random.integers(-shift, shift + 1, 2))
    rows = np.clip(np.arange(H) - down, 0, H - 1)
    columns = np.clip(np.arange(W) - across, 0, W - 1)
    if mirror and random.random() < 0.5:
        columns = columns[::-1]
    return pixels[rows[:, None], columns]
