"""How much of a value is left as noise is added step by step: what a criterion trains by and a generator walks back
along.
"""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def alpha_bar(timesteps: int) -> np.ndarray:
    """(timesteps,) float64: the share of a value's variance that is left after steps 1..timesteps, the cosine schedule.

    A value x of unit variance is sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise then (Nichol & Dhariwal, 2021; each
    step adds at most a variance of 0.999).
    """
    at = np.arange(timesteps + 1) / timesteps
    level = np.cos((at + 0.008) / 1.008 * np.pi / 2) ** 2
    left = np.cumprod(1.0 - np.minimum(1.0 - level[1:] / level[:-1], 0.999))
    left.flags.writeable = False
    return left


def stopping_times(timesteps: int, steps: int) -> np.ndarray:
    """(steps,) int64, falling: the times a generator stops at, evenly apart, the noisiest (timesteps - 1) first."""
    return np.round(np.arange(timesteps, 0, -timesteps / min(steps, timesteps))).astype(np.int64) - 1
