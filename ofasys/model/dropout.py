"""Dropout that costs little on a CPU too, where torch draws one slow Bernoulli number a value."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def dropout(x: Tensor, share: float) -> Tensor:
    """Zero a `share` of x, to within 1/65,536, and scale the rest up. Reproducible by torch's global seed."""
    if x.device.type != "cpu":
        return F.dropout(x, share)
    few = round(share * 65536)
    keep = draws(x) >= few - 32768
    return x * keep.to(x.dtype).mul_(65536 / (65536 - few))


def draws(x: Tensor) -> Tensor:
    """A number from -32,768 to 32,767 for each of x, as it is shaped, int16."""
    numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # four of 16 bits each
    return numbers.view(torch.int16)[: x.numel()].view(x.shape)
