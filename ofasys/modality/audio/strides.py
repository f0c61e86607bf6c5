"""The convolutions over samples: those of wav2vec 2.0 (Baevski et al., 2020)."""

from __future__ import annotations

from math import prod

WAVE = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
"""(kernel, stride) of each."""
STRIDE = prod(stride for _, stride in WAVE)
"""Samples from position to position."""


def left(samples: int) -> int:
    """Positions of so many samples; 0 where they are fewer than the first position sees."""
    for kernel, stride in WAVE:
        samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
    return samples


def seen(positions: int) -> int:
    """The samples that so many positions see."""
    for kernel, stride in reversed(WAVE):
        positions = (positions - 1) * stride + kernel
    return positions
