"""Phases for magnitudes: the fast Griffin-Lim algorithm (Perraudin, Balazs and Søndergaard, 2013)."""

from __future__ import annotations

import torch
from torch import Tensor

from ofasys.modality.audio.mel import MelSpec, magnitudes

MOMENTUM = 0.99


@torch.no_grad()
def griffin_lim(magnitude: Tensor, spec: MelSpec, length: int, steps: int = 60, momentum: float = MOMENTUM) -> Tensor:
    """magnitude (F, T) -> samples (length,) whose spectrum has about these magnitudes.

    Projects, in turn, on the spectra of real signals and on those with the magnitudes asked for, each time going on a
    little in the direction it came (momentum 0: Griffin and Lim, 1984). It begins with the same random phases every
    time.
    """
    generator = torch.Generator().manual_seed(0)
    phase = torch.rand(magnitude.shape, generator=generator) * (2 * torch.pi)
    made = torch.polar(magnitude, phase)
    before = torch.zeros_like(made)
    for _ in range(steps):
        consistent = spec.spectrum(spec.signal(made, length))
        ahead = consistent + momentum * (consistent - before)
        made = magnitude * ahead / magnitudes(ahead).clamp_(min=1e-16)
        before = consistent
    return spec.signal(made, length)
