"""Self- and cross-attention over flat streams.

Projections run on the N valid positions; the product alone sees a (B, H, T, K) rectangle. `D` width, `H` heads,
`K` head width, `S` source and `T` target length.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model.rectangle import to_flat, to_rectangle
from ofasys.model.sizes import ModelConfig
from ofasys.types import Layout


class Output(nn.Module):
    """What the heads give, (N, D), mixed: a learned factor per head, a projection, a LayerNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.project = nn.Linear(config.width, config.width)
        self.scale = nn.Parameter(torch.ones(config.heads)) if config.head_scale else None
        self.norm = nn.LayerNorm(config.width) if config.attention_norm else None

    def weight(self) -> Tensor:
        """The projection (D, D) with the factors of the heads folded into its columns: D*D products, not N*D."""
        weight = self.project.weight
        if self.scale is None:
            return weight
        return (weight.view(weight.shape[0], self.heads, -1) * self.scale[:, None]).view_as(weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        x = F.linear(x, self.weight(), self.project.bias)
        return x if self.norm is None else self.norm(x)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
    """q (B, H, T, K), k and v (B, H, S, K) -> (B, H, T, K). On a CPU in float32: the half kernel's backward is 7 times
    slower.
    """
    if q.device.type != "cpu" or q.dtype == torch.float32:
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    if q.dtype == torch.bfloat16:
        q, k, v = q.float(), k.float(), v.float()
    with torch.autocast("cpu", enabled=False):  # autocast would turn them back
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)


class SelfAttention(nn.Module):
    """Each position attends to its sample, or, in a decoder, to what came before it in its sample."""

    def __init__(self, config: ModelConfig, causal: bool) -> None:
        super().__init__()
        self.heads = config.heads
        self.causal = causal
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = Output(config)

    def forward(self, x: Tensor, layout: Layout, mask: Tensor | None) -> Tensor:
        """x (N, D) -> (N, D). mask (B, 1, 1 or T, T): what may be seen; a causal decoder, padded on the right, needs
        none.
        """
        B, T, D = layout.batch, layout.length, x.shape[1]
        qkv = to_rectangle(self.qkv(x), layout).view(B, T, 3, self.heads, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # each (B, H, T, K)
        y = attend(q, k, v, mask, causal=self.causal and mask is None)
        return self.out(to_flat(y.transpose(1, 2).reshape(B * T, D), layout))


class CrossAttention(nn.Module):
    """Each target position attends to the source of its sample."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.kv = nn.Linear(config.width, 2 * config.width)
        self.out = Output(config)

    def keys(self, states: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Memory (N, D) -> keys and values, each (B, H, S, K)."""
        kv = to_rectangle(self.kv(states), layout).view(layout.batch, layout.length, 2, self.heads, -1)
        k, v = (part.transpose(1, 2) for part in kv.unbind(2))
        return k, v

    def forward(
        self, x: Tensor, layout: Layout, memory: Tensor, source: Layout, mask: Tensor | None, group: int
    ) -> Tensor:
        """x (N, D), memory (N', D) -> (N, D). Row r of x attends to source r // group, whose keys are not repeated."""
        D = x.shape[1]
        k, v = self.keys(memory, source)
        q = to_rectangle(self.query(x), layout)  # the queries of a group stand end to end: (B, group * T, H, K)
        q = q.view(source.batch, group * layout.length, self.heads, -1).transpose(1, 2)
        y = attend(q, k, v, mask)
        return self.out(to_flat(y.transpose(1, 2).reshape(-1, D), layout))
