"""AdamW (Loshchilov & Hutter, 2019): https://arxiv.org/abs/1711.05101."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ofasys.train.groups import Group
from ofasys.train.optimizers.spec import OptimizerSpec, for_torch


def make(model: nn.Module, groups: Sequence[Group], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """torch's, fused: gradients are clipped, and steps left out, as it reads them."""
    return torch.optim.AdamW(for_torch(groups), lr=lr, betas=betas, fused=True)


ADAMW = OptimizerSpec("adamw", "AdamW, fused: two moments a parameter.", make, lr=1e-3, shards=True)
