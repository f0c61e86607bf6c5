"""Rotary positions (RoPE; Su et al., 2021), by the sentence, by rows and columns, or by all three (M-RoPE; Wang et
al., 2024).

The two halves of a head's numbers are the two coordinates that are turned, as in LLaMA.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ofasys.model.positions.positions import Positions, Turns
from ofasys.model.sizes import ModelConfig


class Rotary(Positions):
    """A pair of numbers is turned by place x base ** (-i / pairs). axes 1: the place in the sentence; 2: half of the
    pairs by rows, half by columns; 3: a third each by order, row and column. Rows and columns count from the order
    of their picture on, so what has no grid stands at its order on every axis.
    """

    rates: Tensor

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__(config, decoder)
        pairs = config.width // config.heads // 2
        self.axes = {1: (0,), 2: (1, 2), 3: (0, 1, 2)}[config.rotary_axes]
        part = pairs // len(self.axes)
        whole = config.rotary_axes != 2  # in two dimensions each axis has slow and fast turns of its own (Qwen2-VL)
        step = torch.arange(pairs if whole else part, dtype=torch.float32) / (pairs if whole else part)
        rates = config.rotary_base**-step
        self.register_buffer("rates", rates if whole else rates.repeat(len(self.axes)), persistent=False)
        self.part = part

    def turns(self, positions: Tensor) -> Turns:
        """As of `Positions`, in float32."""
        order = positions[..., 0]
        places = [order + positions[..., axis].clamp(min=0) if axis else order for axis in self.axes]
        at = torch.stack(places, -1).repeat_interleave(self.part, -1)  # (B, T, pairs)
        angle = (at.float() * self.rates)[:, None]
        return angle.cos(), angle.sin()
