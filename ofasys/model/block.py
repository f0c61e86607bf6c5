"""One layer of the encoder and one of the decoder: branches, each with its norm, dropout and residual.

A layer is written once. Training, decoding step by step and a tree of continuations differ in how its attention gets at
keys and values, so that comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model.attention import CrossAttention, Output, SelfAttention, Sight, folded, norm
from ofasys.model.branch import join, layer_norm
from ofasys.model.dropout import dropout
from ofasys.model.linear import Linear, linear
from ofasys.model.sizes import ModelConfig
from ofasys.types import Layout

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}
Norm = tuple[Tensor, Tensor, float]  # gains, biases, epsilon
Weights = tuple[Tensor, Tensor, Norm | None, Tensor, Tensor]
Mixing = tuple[Tensor, Tensor, Tensor | None, Norm | None]  # (D, D) and (D,) of a projection, (H,), a norm
Project = Callable[[Tensor, Norm, Tensor, Tensor, bool], Tensor]
Mix = Callable[[Tensor, Tensor, Tensor | None, Norm, Mixing, bool], Tensor]
Feed = Callable[[Tensor, Tensor | None, Norm, Weights, Activation, bool], Tensor]
Attention = Callable[[Tensor], Tensor]  # what a branch reads (n, D) -> what it adds (n, D)


class FeedForward(nn.Module):
    """(N, D) -> (N, F) -> (N, D), position by position."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(config.width, config.ffn)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = nn.LayerNorm(config.ffn) if config.ffn_norm else None
        self.down = Linear(config.ffn, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        return feed_forward(x, self.weights(), self.activation)

    def weights(self) -> Weights:
        """(F, D) and (F,) up; (F,) twice and the epsilon of the norm, if there is one; (D, F) and (D,) down."""
        up, down = self.up, self.down
        return up.weight, up.bias, None if self.norm is None else known(self.norm), down.weight, down.bias


def feed_forward(x: Tensor, weights: Weights, activation: Activation) -> Tensor:
    """(N, D) -> (N, D)."""
    up, up_bias, inner, down, down_bias = weights
    x = activation(linear(x, up, up_bias))
    if inner is not None:
        x = layer_norm(x, *inner, feeds=True)
    return linear(x, down, down_bias)


def known(by: nn.LayerNorm) -> Norm:
    """A norm as what it is made of."""
    return by.weight, by.bias, by.eps


def project(x: Tensor, outer: Norm, weight: Tensor, bias: Tensor, pre: bool) -> Tensor:
    """What comes before a product of attention, x (N, D) -> (N, P): the norm, and a projection (P, D) to queries, or to
    queries, keys and values.
    """
    return F.linear(torch.layer_norm(x, outer[0].shape, *outer) if pre else x, weight, bias)


def mix(x: Tensor, y: Tensor, keep: Tensor | None, outer: Norm, mixing: Mixing, pre: bool) -> Tensor:
    """What comes after it: what the heads gave, y (N, D), mixed and added to the stream x (N, D) -> (N, D). keep: as of
    `feed`.
    """
    weight, bias, scale, inner = mixing
    branch = F.linear(y, folded(weight, scale), bias)
    if inner is not None:
        branch = torch.layer_norm(branch, inner[0].shape, *inner)
    x = x + (branch if keep is None else branch * keep)
    return x if pre else torch.layer_norm(x, outer[0].shape, *outer)


def feed(x: Tensor, keep: Tensor | None, outer: Norm, weights: Weights, activation: Activation, pre: bool) -> Tensor:
    """A feed-forward branch with its norm, its dropout and what it is added to, x (N, D) -> (N, D).

    A function of tensors alone, as the two before it, so that it is compiled once for all blocks, whatever their
    weights are made of: only N varies. keep (N, D): what dropout multiplies the branch by, drawn outside; None:
    nothing.
    """
    branch = feed_forward(torch.layer_norm(x, outer[0].shape, *outer) if pre else x, weights, activation)
    x = x + (branch if keep is None else branch * keep)
    return x if pre else torch.layer_norm(x, outer[0].shape, *outer)


@dataclass(frozen=True)
class Pieces:
    """All of a block but the products of attention: what it computes position by position."""

    project: Project
    mix: Mix
    feed: Feed


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
        self.compiled: Pieces | None = None  # in training
        self.residual: nn.Parameter | None = None  # (D,) factors of the stream where the feed-forward joins it

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
        if self.compiled is not None and self.training and torch.is_grad_enabled():
            return self.pieced(self.compiled, x, sight, layer, memory, source, mask, group)
        if memory is not None and source is not None:

            def across(h: Tensor) -> Tensor:
                return self.cross_attention(h, sight, memory, source, mask, group)

        return self.layer(x, lambda h: self.self_attention(h, sight, layer), across)

    def pieced(
        self,
        by: Pieces,
        x: Tensor,
        sight: Sight,
        layer: int,
        memory: Tensor | None,
        source: Layout | None,
        mask: Tensor | None,
        group: int,
    ) -> Tensor:
        """`forward` in pieces. Dropout draws the same."""
        own, pre = self.self_attention, self.pre
        y = own.product(by.project(x, known(self.self_norm), own.qkv.weight, own.qkv.bias, pre), sight, layer)
        x = self.mixed(by, x, y, own.out, self.self_norm)
        if memory is not None and source is not None:
            cross, before = self.cross_attention, known(self.cross_norm)
            q = by.project(x, before, cross.query.weight, cross.query.bias, pre)
            y = cross.product(q, sight, memory, source, mask, group)
            x = self.mixed(by, x, y, cross.out, self.cross_norm)
        return self.fed(by, x)

    def fed(self, by: Pieces, x: Tensor) -> Tensor:
        """`feed` in a piece (n, D)."""
        return by.feed(x, self.kept(x), known(self.ffn_norm), self.ffn.weights(), self.ffn.activation, self.pre)

    def mixed(self, by: Pieces, x: Tensor, y: Tensor, out: Output, outer: nn.LayerNorm) -> Tensor:
        """The stream (N, D) after what the heads gave, y (N, D)."""
        y = torch.ops.aten._unsafe_view(
            y, y.shape
        )  # or it is compiled anew for each kind of tensor that y is a view of
        inner = None if out.norm is None else known(out.norm)
        mixing = (out.project.weight, out.project.bias, out.scale, inner)
        return by.mix(x, y, self.kept(x), known(outer), mixing, self.pre)

    def kept(self, x: Tensor) -> Tensor | None:
        """(N, D): what dropout multiplies a branch by; None: nothing."""
        return dropout(torch.ones_like(x), self.dropout) if self.dropout > 0.0 else None

    def layer(
        self, x: Tensor, own: Attention, across: Attention | None, feed_forward: Attention | None = None
    ) -> Tensor:
        """The branches in order, x (n, D) -> (n, D). own, across: attention to its own side, and to the source.

        feed_forward: what computes that branch, where it is not the module.
        """
        x = self.join(x, own(self.enter(x, self.self_norm)), self.self_norm)
        if across is not None:
            x = self.join(x, across(self.enter(x, self.cross_norm)), self.cross_norm)
        return self.feed(x, feed_forward)

    def feed(self, x: Tensor, by: Attention | None = None) -> Tensor:
        """The stream after the feed-forward branch (n, D), computed by the module or as it is laid out for decoding."""
        branch = (by or self.ffn.forward)(self.enter(x, self.ffn_norm))
        return self.join(x if self.residual is None else x * self.residual, branch, self.ffn_norm)

    def enter(self, x: Tensor, by: nn.LayerNorm) -> Tensor:
        """What a branch reads (n, D)."""
        return norm(by, x, feeds=True) if self.pre else x

    def join(self, x: Tensor, branch: Tensor, by: nn.LayerNorm) -> Tensor:
        """The stream after a branch (n, D)."""
        x = join(x, branch, self.dropout) if self.training and self.dropout > 0.0 else x + branch
        return x if self.pre else norm(by, x)
