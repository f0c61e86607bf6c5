"""What losses are multiplied by in float16, whose small gradients would be 0 without it (Micikevicius et al., 2018,
https://arxiv.org/abs/1710.03740): as torch's GradScaler, and nothing is asked of the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

START = 65536.0
GROWS = 2000  # updates in a row without overflow after which the scale is doubled
LEAST = 1.0  # gradients that overflow at this scale are not finite without any


class LossScale:
    """Doubles after so many good updates; an update that overflows is left out and halves it."""

    def __init__(self, device: torch.device, kept: Mapping[str, Any] | None = None) -> None:
        """kept: what `to_dict` gave; None: a new run."""
        told = {"scale": START, "good": 0, "skipped": 0} | dict(kept or {})
        self.scale = torch.tensor(float(told["scale"]), device=device)
        self.good = torch.tensor(int(told["good"]), device=device)
        self.skipped = torch.tensor(int(told["skipped"]), device=device)

    def see(self, norm: Tensor) -> tuple[Tensor, Tensor]:
        """norm (): of the scaled gradients of an update -> () what it is without the scale, 0 where they overflowed;
        () float32, 1 where they did, and the update is to be left out.

        Gradients that are not finite at the least scale are no overflow: their norm is given back as it is.
        """
        over = ~torch.isfinite(norm) & (self.scale > LEAST)
        plain = torch.where(over, 0.0, norm / self.scale)
        return plain, over.float()

    def update(self, over: Tensor) -> None:
        """After an update. over (): 1 where it overflowed."""
        bad = over > 0
        self.good = torch.where(bad, 0, self.good + 1)
        grown = self.good >= GROWS
        self.scale = torch.where(bad, (self.scale / 2).clamp(min=LEAST), torch.where(grown, self.scale * 2, self.scale))
        self.good = torch.where(grown, 0, self.good)
        self.skipped = self.skipped + bad

    def to_dict(self) -> dict[str, float]:
        """As JSON: the scale, updates since it changed, and updates that were left out so far."""
        return {"scale": float(self.scale), "good": int(self.good), "skipped": int(self.skipped)}
