"""A layer as decoding computes it: the products of its branches laid out once, factors of heads folded in.

`n` rows, `D` width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ofasys.model.attention import Output, Sight, norm
from ofasys.model.block import Attention, Block, FeedForward
from ofasys.model.fused import FusedLayers
from ofasys.model.linear import Activation, LaidOut
from ofasys.model.matrix import Product

Products = Callable[..., Callable[[Tensor], Tensor]]
"""A weight (O, I), a bias (O,) and, perhaps, what comes after it -> the product with them, (n, I) -> (n, O)."""


class Mixed:
    """What the heads give, (n, D), mixed. See `Output`."""

    def __init__(self, out: Output, product: Products) -> None:
        self.product, self.norm = product(out.weight(), out.project.bias), out.norm

    def __call__(self, x: Tensor) -> Tensor:
        """(n, D) -> (n, D)."""
        return norm(self.norm, self.product(x))


class Fed:
    """(n, D) -> (n, D). See `FeedForward`."""

    def __init__(self, ffn: FeedForward, product: Products) -> None:
        self.up = product(ffn.up.weight, ffn.up.bias, ffn.activation)
        self.down = product(ffn.down.weight, ffn.down.bias)
        self.norm = ffn.norm

    def __call__(self, x: Tensor) -> Tensor:
        """(n, D) -> (n, D)."""
        return self.down(norm(self.norm, self.up(x)))


class Prepared:
    """The products of one layer; its norms, and the order of its branches, are those of `block`. What is added up stays
    as the stream is.
    """

    def __init__(self, block: Block, product: Products) -> None:
        own = block.self_attention
        self.block = block
        self.heads, self.scale = own.heads, own.scale
        self.qkv = product(own.qkv.weight, own.qkv.bias)
        self.out = Mixed(own.out, product)
        self.ffn = Fed(block.ffn, product)
        if hasattr(block, "cross_attention"):
            cross = block.cross_attention
            self.query = product(cross.query.weight, cross.query.bias)
            self.kv = product(cross.kv.weight, cross.kv.bias)
            self.cross_out = Mixed(cross.out, product)

    def encode(self, x: Tensor, sight: Sight, number: int) -> Tensor:
        """x (N, D) -> (N, D): all of a side that sees itself alone."""
        own = self.block.self_attention
        return self.layer(x, lambda h: self.out(own.product(self.qkv(h), sight, number)), None)

    def layer(self, x: Tensor, own: Attention, across: Attention | None) -> Tensor:
        """As of `Block.layer`."""
        return self.block.layer(x, own, across, self.ffn)


def products_in(dtype: torch.dtype) -> Products:
    """Products of rows that are few, computed in `dtype`."""

    def product(weight: Tensor, bias: Tensor | None, activation: Activation | None = None) -> Product:
        return Product(weight, bias, dtype, activation)

    return product


def halves_or(others: Products) -> Products:
    """Products in bfloat16, of however many rows, where there is C for them; else others."""

    def product(
        weight: Tensor, bias: Tensor | None, activation: Activation | None = None
    ) -> Callable[[Tensor], Tensor]:
        made = LaidOut if LaidOut.takes(weight, bias) else others
        return made(weight, bias, activation)

    return product


class PreparedLayers:
    """The layers of a side, computed in `dtype`, or `reduced` to matrices in bfloat16. fused: all of a decoder's at
    once, one position a row, where the machine can.
    """

    def __init__(self, blocks: Sequence[Block], dtype: torch.dtype, fuse: bool, reduced: bool = False) -> None:
        half = torch.bfloat16 if reduced else dtype
        self.fused = FusedLayers.of(blocks, half) if fuse else None
        products = products_in(half if self.fused is None else dtype)
        if reduced and dtype == torch.float32:
            products = halves_or(products)
        self.each = [Prepared(block, products) for block in blocks]

    @property
    def seen_in(self) -> torch.dtype | None:
        """What keys and values of a source are kept in. None: as they are."""
        return torch.bfloat16 if self.fused is not None and self.fused.half else None

    def __len__(self) -> int:
        return len(self.each)

    def __iter__(self) -> Iterator[Prepared]:
        return iter(self.each)
