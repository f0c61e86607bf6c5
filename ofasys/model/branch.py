"""The ends of a branch, its norm and what joins it to the stream: in C on a CPU, in one pass each, or by torch.

`N` positions, `D` width. What torch makes of a norm in mixed precision is float32, which the product after it rounds
to bfloat16; here it is rounded at once. A norm in float32 alone is torch's, which is as fast.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ofasys.model.dropout import draws, dropout
from ofasys.model.native import compiled

LEAST = 16_384  # numbers: with fewer, calling takes longer than passes over them
LANES, ROWS = 16, 64  # as of vectors.h and norms.c
HALF, WHOLE = torch.bfloat16, torch.float32


@functools.cache
def _library() -> ctypes.CDLL | None:
    library = compiled("norms")
    if library is not None:
        number, numbers, places = ctypes.c_int, ctypes.c_long, ctypes.c_void_p
        library.norm_forward.argtypes = [numbers, numbers, number, number, number, ctypes.c_float, *[places] * 6]
        library.norm_backward.argtypes = [numbers, numbers, number, number, number, *[places] * 8]
        library.join.argtypes = [numbers, number, number, number, number, ctypes.c_float, *[places] * 4]
    return library


def _taken(x: Tensor) -> bool:
    """Whether numbers like these are gone over in C."""
    if x.device.type != "cpu" or x.dtype not in (HALF, WHOLE) or x.numel() < LEAST or x.shape[-1] % LANES:
        return False
    return not torch.compiler.is_compiling() and _library() is not None


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor, epsilon: float, feeds: bool = False) -> Tensor:
    """x (N, D) after a LayerNorm. feeds: a product alone reads it, which may compute in bfloat16."""
    mixed = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is HALF
    if mixed and _taken(x) and gain.dtype is bias.dtype is WHOLE and x.dim() == 2:
        return cast(Tensor, _Norm.apply(x.contiguous(), gain, bias, epsilon, HALF if feeds else WHOLE))
    return torch.layer_norm(x, gain.shape, gain, bias, epsilon)


def join(x: Tensor, branch: Tensor, share: float) -> Tensor:
    """The stream x (N, D) with a branch (N, D) of which a `share` is dropped. Random as `dropout` is."""
    if not _taken(branch) or x.dtype is not WHOLE or x.shape != branch.shape:
        return x + dropout(branch, share)
    few = round(share * 65536)
    return cast(Tensor, _Join.apply(x.contiguous(), branch.contiguous(), draws(branch), few))


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
        n, width = x.shape
        y, mean, factor = x.new_empty(n, width, dtype=dtype), torch.empty(n), torch.empty(n)
        gain, bias = gain.contiguous(), bias.contiguous()
        pointers = (part.data_ptr() for part in (x, gain, bias, y, mean, factor))
        library = cast(ctypes.CDLL, _library())
        library.norm_forward(n, width, x.dtype is HALF, dtype is HALF, torch.get_num_threads(), epsilon, *pointers)
        ctx.save_for_backward(x, gain, mean, factor)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, mean, factor = ctx.saved_tensors
        (n, width), dy = x.shape, grads[0].contiguous()
        dx, sums = torch.empty_like(x), torch.empty(2, width)
        parts = torch.empty(-(-n // ROWS), 2, width)
        pointers = (part.data_ptr() for part in (x, gain, dy, mean, factor, dx, parts, sums))
        library = cast(ctypes.CDLL, _library())
        library.norm_backward(n, width, x.dtype is HALF, dy.dtype is HALF, torch.get_num_threads(), *pointers)
        return dx, sums[0], sums[1], None, None


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, drawn: Tensor, few: int) -> Tensor:
        out = torch.empty_like(x)
        ctx.few, ctx.dtype = few, branch.dtype
        ctx.save_for_backward(drawn)
        _joined(x, branch, drawn, few, out, back=False)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (drawn,), out = ctx.saved_tensors, grads[0].contiguous()
        branch = torch.empty(out.shape, dtype=ctx.dtype)
        _joined(out, branch, drawn, ctx.few, out, back=True)
        return out, branch, None, None


def _joined(x: Tensor, branch: Tensor, drawn: Tensor, few: int, out: Tensor, back: bool) -> None:
    """As of norms.c: x + branch into out; or, back, of the gradient out that of branch into it."""
    library, scale = cast(ctypes.CDLL, _library()), 65536 / (65536 - few)
    pointers = (part.data_ptr() for part in (x, branch, drawn, out))
    half = branch.dtype is HALF
    library.join(out.numel(), half, back, torch.get_num_threads(), few - 32768, scale, *pointers)
