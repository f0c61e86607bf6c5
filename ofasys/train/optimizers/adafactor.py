"""Adafactor (Shazeer & Stern, 2018): https://arxiv.org/abs/1804.04235.

Of a matrix it keeps the second moment's rows and columns alone. A step is as long as its parameter times the rate: at
a rate of 1e-2 each weight changes by about a hundredth of the root mean square of its matrix, and by 1e-5 at least.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ofasys.train.groups import Group
from ofasys.train.optimizers.spec import OptimizerSpec, for_torch


def make(model: nn.Module, groups: Sequence[Group], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """torch's; it has no first moment, so betas are not read."""
    return torch.optim.Adafactor(for_torch(groups), lr=lr)


ADAFACTOR = OptimizerSpec("adafactor", "Adafactor: a row and a column of moments a matrix.", make, lr=1e-2)
