"""One layer of the encoder and one of the decoder: branches, each with its norm, dropout and residual."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model.attention import CrossAttention, SelfAttention
from ofasys.model.dropout import dropout
from ofasys.model.sizes import ModelConfig
from ofasys.types import Layout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


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
        x = self.activation(self.up(x))
        return self.down(x if self.norm is None else self.norm(x))


class _Block(nn.Module):
    """What both kinds of layer share: how a branch joins the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.dropout = config.dropout

    def enter(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """What a branch reads (N, D)."""
        return norm(x) if self.pre else x

    def join(self, x: Tensor, branch: Tensor, norm: nn.LayerNorm) -> Tensor:
        """The stream after a branch (N, D)."""
        if self.training and self.dropout > 0.0:
            branch = dropout(branch, self.dropout)
        x = x + branch
        return x if self.pre else norm(x)


class EncoderBlock(_Block):
    """Self-attention over the whole sample, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.self_norm = nn.LayerNorm(config.width)
        self.self_attention = SelfAttention(config, causal=False)
        self.ffn_norm = nn.LayerNorm(config.width)
        self.ffn = FeedForward(config)

    def forward(self, x: Tensor, layout: Layout, mask: Tensor | None) -> Tensor:
        """x (N, D) -> (N, D). mask (B, 1, 1, S)."""
        x = self.join(x, self.self_attention(self.enter(x, self.self_norm), layout, mask), self.self_norm)
        return self.join(x, self.ffn(self.enter(x, self.ffn_norm)), self.ffn_norm)


class DecoderBlock(_Block):
    """Causal self-attention, attention to the source if there is one, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.self_norm = nn.LayerNorm(config.width)
        self.self_attention = SelfAttention(config, causal=True)
        self.cross_norm = nn.LayerNorm(config.width)
        self.cross_attention = CrossAttention(config)
        self.ffn_norm = nn.LayerNorm(config.width)
        self.ffn = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        memory: Tensor | None,
        source: Layout | None,
        mask: Tensor | None,
        group: int,
        own: Tensor | None = None,
    ) -> Tensor:
        """x (N, D), memory (N', D) or None for a decoder alone -> (N, D). mask (B, 1, 1, S) over the memory.

        own (B, 1, T, T): what each position may see of its own side, where that is more than what came before.
        """
        x = self.join(x, self.self_attention(self.enter(x, self.self_norm), layout, own), self.self_norm)
        if memory is not None and source is not None:
            y = self.cross_attention(self.enter(x, self.cross_norm), layout, memory, source, mask, group)
            x = self.join(x, y, self.cross_norm)
        return self.join(x, self.ffn(self.enter(x, self.ffn_norm)), self.ffn_norm)
