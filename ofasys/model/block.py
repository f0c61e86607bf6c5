"""One layer of the encoder and one of the decoder: branches, each with its norm, dropout and residual.

A layer is written once. Training, decoding step by step and a tree of continuations differ in how its attention gets at
keys and values, so that comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model.attention import CrossAttention, SelfAttention, Sight, norm
from ofasys.model.dropout import dropout
from ofasys.model.sizes import ModelConfig
from ofasys.types import Layout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}
Attention = Callable[[Tensor], Tensor]  # what a branch reads (n, D) -> what it adds (n, D)


class FeedForward(nn.Module):
    """(N, D) -> (N, F) -> (N, D), position by position."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.ffn)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = nn.LayerNorm(config.ffn) if config.ffn_norm else None
        self.down = nn.Linear(config.ffn, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        x = self.activation(F.linear(x, self.up.weight, self.up.bias))
        return F.linear(norm(self.norm, x), self.down.weight, self.down.bias)


class Block(nn.Module):
    """A layer: attention to its own side, in a decoder to the source, then feed-forward."""

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.dropout = config.dropout
        self.self_norm = nn.LayerNorm(config.width)
        self.self_attention = SelfAttention(config)
        if decoder:
            self.cross_norm = nn.LayerNorm(config.width)
            self.cross_attention = CrossAttention(config)
        self.ffn_norm = nn.LayerNorm(config.width)
        self.ffn = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        sight: Sight,
        layer: int,
        memory: Tensor | None = None,
        source: Layout | None = None,
        mask: Tensor | None = None,
        group: int = 1,
    ) -> Tensor:
        """x (N, D), memory (N', D) or None for a side alone -> (N, D). mask (B, 1, 1, S) over the memory."""
        across: Attention | None = None
        if memory is not None and source is not None:

            def across(h: Tensor) -> Tensor:
                return self.cross_attention(h, sight.layout, memory, source, mask, group)

        return self.layer(x, lambda h: self.self_attention(h, sight, layer), across)

    def layer(self, x: Tensor, own: Attention, across: Attention | None) -> Tensor:
        """The branches in order, x (n, D) -> (n, D). own, across: attention to its own side, and to the source."""
        x = self.join(x, own(self.enter(x, self.self_norm)), self.self_norm)
        if across is not None:
            x = self.join(x, across(self.enter(x, self.cross_norm)), self.cross_norm)
        return self.join(x, self.ffn.forward(self.enter(x, self.ffn_norm)), self.ffn_norm)

    def enter(self, x: Tensor, by: nn.LayerNorm) -> Tensor:
        """What a branch reads (n, D)."""
        return norm(by, x) if self.pre else x

    def join(self, x: Tensor, branch: Tensor, by: nn.LayerNorm) -> Tensor:
        """The stream after a branch (n, D)."""
        if self.training and self.dropout > 0.0:
            branch = dropout(branch, self.dropout)
        x = x + branch
        return x if self.pre else norm(by, x)
