"""A layer as decoding computes it: the products of its branches laid out once, factors of heads folded in.

`n` rows, `D` width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ofasys.model.attention import Output, Sight, norm
from ofasys.model.block import Attention, Block, FeedForward
from ofasys.model.fused import FusedLayers
from ofasys.model.matrix import Product


class Mixed:
    """What the heads give, (n, D), mixed. See `Output`."""

    def __init__(self, out: Output, dtype: torch.dtype) -> None:
        self.product, self.norm = Product(out.weight(), out.project.bias, dtype), out.norm

    def __call__(self, x: Tensor) -> Tensor:
        """(n, D) -> (n, D)."""
        return norm(self.norm, self.product(x))


class Fed:
    """(n, D) -> (n, D). See `FeedForward`."""

    def __init__(self, ffn: FeedForward, dtype: torch.dtype) -> None:
        self.up = Product(ffn.up.weight, ffn.up.bias, dtype, ffn.activation)
        self.down = Product(ffn.down.weight, ffn.down.bias, dtype)
        self.norm = ffn.norm

    def __call__(self, x: Tensor) -> Tensor:
        """(n, D) -> (n, D)."""
        return self.down(norm(self.norm, self.up(x)))


class Prepared:
    """The products of one layer; its norms, and the order of its branches, are those of `block`.

    dtype: what products are computed in; what is added up stays as the stream is.
    """

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        own = block.self_attention
        self.block = block
        self.heads, self.scale = own.heads, own.scale
        self.qkv = Product(own.qkv.weight, own.qkv.bias, dtype)
        self.out = Mixed(own.out, dtype)
        self.ffn = Fed(block.ffn, dtype)
        if hasattr(block, "cross_attention"):
            cross = block.cross_attention
            self.query = Product(cross.query.weight, cross.query.bias, dtype)
            self.kv = Product(cross.kv.weight, cross.kv.bias, dtype)
            self.cross_out = Mixed(cross.out, dtype)

    def encode(self, x: Tensor, sight: Sight, number: int) -> Tensor:
        """x (N, D) -> (N, D): all of a side that sees itself alone."""
        own = self.block.self_attention
        return self.layer(x, lambda h: self.out(own.product(self.qkv(h), sight, number)), None)

    def layer(self, x: Tensor, own: Attention, across: Attention | None) -> Tensor:
        """As of `Block.layer`."""
        return self.block.layer(x, own, across, self.ffn)


class PreparedLayers:
    """The layers of a side, computed in `dtype`. fused: all of a decoder's at once, one position a row, where the
    machine can; it alone is `reduced` to matrices in bfloat16 then.
    """

    def __init__(self, blocks: Sequence[Block], dtype: torch.dtype, fuse: bool, reduced: bool = False) -> None:
        half = torch.bfloat16 if reduced else dtype
        self.fused = FusedLayers.of(blocks, half) if fuse else None
        self.each = [Prepared(block, half if self.fused is None else dtype) for block in blocks]

    def __len__(self) -> int:
        return len(self.each)

    def __iter__(self) -> Iterator[Prepared]:
        return iter(self.each)
