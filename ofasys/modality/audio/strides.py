"""The convolutions over samples: those of wav2vec 2.0 (Baevski et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Layers = Sequence[tuple[int, int]]
WAVE = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
"""(kernel, stride) of each."""
STRIDE = prod(stride for _, stride in WAVE)
"""Samples from position to position."""


def left(samples: int, layers: Layers = WAVE) -> int:
    """Positions of so many samples; 0 where they are fewer than the first position sees. layers: (kernel, stride)."""
    for kernel, stride in layers:
        samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
    return samples


def seen(positions: int, layers: Layers = WAVE) -> int:
    """The samples that so many positions see."""
    for kernel, stride in reversed(layers):
        positions = (positions - 1) * stride + kernel
    return positions
