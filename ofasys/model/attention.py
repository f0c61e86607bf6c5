"""Self- and cross-attention over flat streams.

Projections run on the N valid positions; the product alone sees a (B, H, T, K) rectangle: on a CPU one for each group
of samples of like length, on a GPU in half precision not even that. `D` width, `H` heads, `K` head width, `S` source
and `T` target length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofasys.model.branch import layer_norm
from ofasys.model.flat import Flat
from ofasys.model.grouped import Grouped
from ofasys.model.linear import Linear, linear
from ofasys.model.packed import Packed, packs
from ofasys.model.positions.positions import Bias, Positions, Turns, guarded, rotate
from ofasys.model.product import attend
from ofasys.model.rectangle import in_rectangle, to_flat, to_rectangle
from ofasys.model.samplewise import Samplewise, samplewise
from ofasys.model.sizes import ModelConfig
from ofasys.types import Layout


def norm(by: nn.LayerNorm | None, x: Tensor, feeds: bool = False) -> Tensor:
    """x after a norm, or as it is. feeds: as of `layer_norm`."""
    return x if by is None else layer_norm(x, by.weight, by.bias, by.eps, feeds)


def folded(weight: Tensor, scale: Tensor | None) -> Tensor:
    """(D, D) whose columns have the factors (H,) of their heads; None: all are 1."""
    return weight if scale is None else (weight.view(len(weight), len(scale), -1) * scale[:, None]).view_as(weight)


class Output(nn.Module):
    """What the heads give, (N, D), mixed: a learned factor per head, a projection, a LayerNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project = Linear(config.width, config.width)
        self.scale = nn.Parameter(torch.ones(config.heads)) if config.head_scale else None
        self.norm = nn.LayerNorm(config.width) if config.attention_norm else None

    def weight(self) -> Tensor:
        """The projection (D, D) with the factors of the heads folded into its columns: D*D products, not N*D."""
        return folded(self.project.weight, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        return norm(self.norm, linear(x, self.weight(), self.project.bias))


def biased(bias: Tensor, seen: Tensor | None, causal: bool) -> Tensor:
    """What is added to scores: bias (B, H, T, S), and -inf where a key may not be seen.

    seen (B or 1, 1, T or 1, S) bool, None: all. causal: besides, no key after the query, the last T of the S being
    queries.
    """
    bias = guarded(bias)
    if causal:
        T, S = bias.shape[-2:]
        ahead = torch.ones(T, S, dtype=torch.bool, device=bias.device).tril_(S - T)
        seen = ahead if seen is None else seen & ahead
    return bias if seen is None else bias.masked_fill(~seen, -torch.inf)


@dataclass(frozen=True)
class Shape:
    """What products of attention are like in the pass being made."""

    heads: int
    """H."""
    head: int
    """K, the numbers of one."""
    usual: bool
    """Scores are K ** -0.5 of their products."""
    dtype: torch.dtype
    """Of what is multiplied."""

    def flat(self, queries: Layout, keys: Layout) -> Flat | None:
        """How the product of two sides, of the same samples, is made of their flat streams; None: it is not."""
        device = queries.positions.device
        if samplewise(device, self.head, self.dtype):
            return Samplewise.of(queries, keys)
        if queries.full and keys.full:
            return None
        if self.usual and packs(device, self.head):
            return Packed.of(queries, keys)
        return Grouped.of(queries, keys, self.heads * self.head)


@dataclass(frozen=True)
class Sight:
    """What a side's attention sees, prepared once for all its layers.

    mask (B, 1, 1 or T, T) bool: None, all or, where it is causal, what came before. turns: as of `Positions.turns`.
    bias: as of `Positions.biases`. flat: how its product is made of the flat stream; turns are (1, 1, N, K / 2) then.
    crossed: the same of the product across.
    """

    layout: Layout
    mask: Tensor | None
    causal: bool
    turns: Turns | None = None
    bias: Bias | None = None
    flat: Flat | None = None
    crossed: Flat | None = None

    @classmethod
    def of(
        cls,
        layout: Layout,
        scheme: Positions,
        mask: Tensor | None,
        causal: bool,
        shape: Shape,
        source: Layout | None = None,
    ) -> Sight:
        """Of one side of a batch. source: of the side whose states it sees, row by row."""
        crossed = None if source is None else shape.flat(layout, source)
        plain = layout.blocks is None and not scheme.biased
        flat = shape.flat(layout, layout) if plain else None
        if flat is not None:
            turns = scheme.turns(layout.positions[None]) if scheme.rotates else None
            return cls(layout, None, causal, turns=turns, flat=flat, crossed=crossed)
        places = None
        if scheme.biased or scheme.rotates:
            places = in_rectangle(layout)
        turns = scheme.turns(places) if scheme.rotates and places is not None else None
        bias = scheme.biases(places, places) if scheme.biased and places is not None else None
        return cls(layout, mask, causal and mask is None, turns, bias, crossed=crossed)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
        """q, k, v (B, H, T, K) of one layer -> (B, H, T, K). scale: as of `attend`."""
        if self.turns is not None:
            q, k = rotate(q, self.turns), rotate(k, self.turns)
        if self.bias is None:
            return attend(q, k, v, self.mask, self.causal, scale=scale)
        return attend(q, k, v, biased(self.bias(layer), self.mask, self.causal), scale=scale)

    def attend_flat(self, flat: Flat, qkv: Tensor, scale: float | None) -> Tensor:
        """Queries, keys and values (N, 3, H, K) -> (N, H, K)."""
        if self.turns is None:
            return flat.own(qkv, self.causal, scale)
        q, k, v = qkv.unbind(1)
        q, k = (rotate(x.transpose(0, 1)[None], self.turns)[0].transpose(0, 1) for x in (q, k))
        return flat.attend(q, k, v, self.causal, scale)


class SelfAttention(nn.Module):
    """Each position attends to its sample, or, in a decoder, to what came before it in its sample."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.scale = config.heads, config.score_scale
        self.qkv = Linear(config.width, 3 * config.width)
        self.out = Output(config)

    def forward(self, x: Tensor, sight: Sight, layer: int) -> Tensor:
        """x (N, D) -> (N, D)."""
        return self.out(self.product(self.qkv(x), sight, layer))

    def product(self, qkv: Tensor, sight: Sight, layer: int) -> Tensor:
        """Queries, keys and values (N, 3 D) -> what the heads give (N, D)."""
        layout, D = sight.layout, qkv.shape[1] // 3
        if sight.flat is not None:
            return sight.attend_flat(sight.flat, qkv.view(len(qkv), 3, self.heads, -1), self.scale).reshape(-1, D)
        B, T = layout.batch, layout.length
        rectangle = to_rectangle(qkv, layout).view(B, T, 3, self.heads, -1)
        q, k, v = (part.transpose(1, 2) for part in rectangle.unbind(2))  # each (B, H, T, K)
        y = sight.attend(layer, q, k, v, self.scale)
        return to_flat(y.transpose(1, 2).reshape(B * T, D), layout)


def keys(kv: Tensor, layout: Layout, heads: int) -> tuple[Tensor, Tensor]:
    """What a memory is projected to, (N, 2 D) -> keys and values, each (B, H, S, K)."""
    parts = to_rectangle(kv, layout).view(layout.batch, layout.length, 2, heads, -1)
    k, v = (part.transpose(1, 2) for part in parts.unbind(2))
    return k, v


class CrossAttention(nn.Module):
    """Each target position attends to the source of its sample."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.scale = config.heads, config.score_scale
        self.query = Linear(config.width, config.width)
        self.kv = Linear(config.width, 2 * config.width)
        self.out = Output(config)

    def forward(
        self, x: Tensor, sight: Sight, memory: Tensor, source: Layout, mask: Tensor | None, group: int
    ) -> Tensor:
        """x (N, D), memory (N', D) -> (N, D). Row r of x attends to source r // group, whose keys are not repeated.

        mask: as of `attend`, T being group * the target's length.
        """
        return self.out(self.product(self.query(x), sight, memory, source, mask, group))

    def product(
        self, q: Tensor, sight: Sight, memory: Tensor, source: Layout, mask: Tensor | None, group: int
    ) -> Tensor:
        """Queries (N, D), memory (N', D) -> what the heads give (N, D)."""
        layout, D = sight.layout, q.shape[1]
        if sight.crossed is not None and group == 1:
            q, kv = q.view(len(q), self.heads, -1), self.kv(memory).view(len(memory), 2, self.heads, -1)
            return sight.crossed.across(q, kv, self.scale).reshape(-1, D)
        k, v = keys(self.kv(memory), source, self.heads)
        q = to_rectangle(q, layout)  # the queries of a group stand end to end: (B, group * T, H, K)
        q = q.view(source.batch, group * layout.length, self.heads, -1).transpose(1, 2)
        y = attend(q, k, v, mask, scale=self.scale)
        return to_flat(y.transpose(1, 2).reshape(-1, D), layout)
