"""One layer of the encoder and one of the decoder: branches, each with its norm, dropout and residual.

A layer is written once. Training, decoding step by step and a tree of continuations differ in how its attention gets at
keys and values, so that comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model.attention import CrossAttention, SelfAttention, Sight, norm
from ofasys.model.dropout import dropout
from ofasys.model.sizes import ModelConfig
from ofasys.types import Layout

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}
Norm = tuple[Tensor, Tensor, float]  # gains, biases, epsilon
Weights = tuple[Tensor, Tensor, Norm | None, Tensor, Tensor]
Feed = Callable[[Tensor, Tensor | None, Norm, Weights, Activation, bool], Tensor]
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
        return feed_forward(x, self.weights(), self.activation)

    def weights(self) -> Weights:
        """(F, D) and (F,) up; (F,) twice and the epsilon of the norm, if there is one; (D, F) and (D,) down."""
        up, down = self.up, self.down
        inner = None if self.norm is None else (self.norm.weight, self.norm.bias, self.norm.eps)
        return up.weight, up.bias, inner, down.weight, down.bias


def feed_forward(x: Tensor, weights: Weights, activation: Activation) -> Tensor:
    """(N, D) -> (N, D)."""
    up, up_bias, inner, down, down_bias = weights
    x = activation(F.linear(x, up, up_bias))
    if inner is not None:
        x = torch.layer_norm(x, inner[0].shape, *inner)
    return F.linear(x, down, down_bias)


def feed(x: Tensor, keep: Tensor | None, outer: Norm, weights: Weights, activation: Activation, pre: bool) -> Tensor:
    """A feed-forward branch with its norm, its dropout and what it is added to, x (N, D) -> (N, D).

    A function of tensors alone, so that it is compiled once for all blocks, whatever their weights are made of: only N
    varies. keep (N, D): what dropout multiplies the branch by, drawn outside; None: nothing.
    """
    branch = feed_forward(torch.layer_norm(x, outer[0].shape, *outer) if pre else x, weights, activation)
    x = x + (branch if keep is None else branch * keep)
    return x if pre else torch.layer_norm(x, outer[0].shape, *outer)


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
        self.compiled: Feed | None = None  # `feed`, in training

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
                return self.cross_attention(h, sight, memory, source, mask, group)

        return self.layer(x, lambda h: self.self_attention(h, sight, layer), across)

    def layer(self, x: Tensor, own: Attention, across: Attention | None) -> Tensor:
        """The branches in order, x (n, D) -> (n, D). own, across: attention to its own side, and to the source."""
        x = self.join(x, own(self.enter(x, self.self_norm)), self.self_norm)
        if across is not None:
            x = self.join(x, across(self.enter(x, self.cross_norm)), self.cross_norm)
        return self.feed(x)

    def feed(self, x: Tensor) -> Tensor:
        """The stream after the feed-forward branch (n, D). Compiled or not, dropout draws the same."""
        if self.compiled is None or not (self.training and torch.is_grad_enabled()):
            return self.join(x, self.ffn.forward(self.enter(x, self.ffn_norm)), self.ffn_norm)
        keep = dropout(torch.ones_like(x), self.dropout) if self.dropout > 0.0 else None
        outer = (self.ffn_norm.weight, self.ffn_norm.bias, self.ffn_norm.eps)
        return self.compiled(x, keep, outer, self.ffn.weights(), self.ffn.activation, self.pre)

    def enter(self, x: Tensor, by: nn.LayerNorm) -> Tensor:
        """What a branch reads (n, D)."""
        return norm(by, x) if self.pre else x

    def join(self, x: Tensor, branch: Tensor, by: nn.LayerNorm) -> Tensor:
        """The stream after a branch (n, D)."""
        if self.training and self.dropout > 0.0:
            branch = dropout(branch, self.dropout)
        x = x + branch
        return x if self.pre else norm(by, x)
