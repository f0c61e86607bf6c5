"""Between the flat stream (N, D) and the (B, T) rectangle that only the attention product needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ofasys.types import Layout


class _Fill(torch.autograd.Function):
    """Rows to the places of a rectangle, zeros elsewhere; backward picks the rows again."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, place: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(place)
        return _filled(flat, place, size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors
        return grads[0].index_select(0, place), None, None


class _Pick(torch.autograd.Function):
    """The rows at the places of a rectangle; backward puts zeros at the padding."""

    @staticmethod
    def forward(ctx: Any, rectangle: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.size = rectangle.shape[0]
        return rectangle.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        return _filled(grads[0], place, ctx.size), None


def _filled(flat: Tensor, place: Tensor, size: int) -> Tensor:
    return flat.new_zeros(size, flat.shape[1]).index_copy_(0, place, flat)


def filled(flat: Tensor, place: Tensor, size: int) -> Tensor:
    """(N, X) -> (size, X): rows at their places, no two at one; zeros elsewhere."""
    made: Tensor = _Fill.apply(flat, place, size)
    return made


def picked(rectangle: Tensor, place: Tensor) -> Tensor:
    """(size, X) -> (N, X): the inverse of `filled`; what stands elsewhere gets no gradient."""
    made: Tensor = _Pick.apply(rectangle, place)
    return made


def to_rectangle(flat: Tensor, layout: Layout) -> Tensor:
    """(N, X) -> (B * T, X): a view when no sample is shorter than T, else zeros at the padding."""
    return flat if layout.full else filled(flat, layout.padded_index, layout.batch * layout.length)


def to_flat(rectangle: Tensor, layout: Layout) -> Tensor:
    """(B * T, X) -> (N, X): what stood at the padding is dropped and gets no gradient."""
    return rectangle if layout.full else picked(rectangle, layout.padded_index)


def in_rectangle(layout: Layout) -> Tensor:
    """The positions (B, T, 3); zeros at the padding."""
    rows = layout.positions.new_zeros(layout.batch * layout.length, 3)
    return rows.index_copy_(0, layout.padded_index, layout.positions).view(layout.batch, layout.length, 3)


def key_mask(layout: Layout) -> Tensor | None:
    """(B, 1, 1, T) bool, True where a key is: what attention over a whole padded side needs. None when all are."""
    if layout.full:
        return None
    places = torch.arange(layout.length, device=layout.lengths.device)
    return (places < layout.lengths[:, None])[:, None, None, :]


def block_mask(layout: Layout) -> Tensor | None:
    """(B, 1, T, T) bool: what each position of a decoder may see, where some see each other both ways; None where none
    do.
    """
    if layout.blocks is None:
        return None
    B, T = layout.batch, layout.length
    block = layout.blocks.new_zeros(B * T).index_copy_(0, layout.padded_index, layout.blocks).view(B, T)
    places = torch.arange(T, device=block.device)
    together = (block[:, :, None] == block[:, None, :]) & (block > 0)[:, :, None]
    return (together | (places <= places[:, None]))[:, None]
