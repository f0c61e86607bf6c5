"""The product of attention over flat streams on a CPU, in C: sample by sample and head by head, without a rectangle.

`N` and `M` positions of queries and keys, `H` heads, `K` head width, `B` samples.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ofasys.model.flat import Flat
from ofasys.model.native import compiled
from ofasys.types import Layout

LANES = 16  # as of attention.c
NUMBERS = frozenset((torch.float32, torch.bfloat16))
_NUMBERS = ("samples", "heads", "width", "causal", "half", "threads")
_PLACES = ("q_starts", "k_starts")
_ROWS = ("q_row", "k_row", "y_row")
_TENSORS = ("q", "k", "v", "y", "spread", "dy", "dq", "dk", "dv")


class _Attention(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in _NUMBERS),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _PLACES),
        *((name, ctypes.c_long) for name in _ROWS),
        *((name, ctypes.c_void_p) for name in _TENSORS),
    ]


@functools.cache
def _halves() -> bool:
    library = compiled("attention")
    return library is not None and bool(library.attention_halves())


@dataclass(frozen=True)
class Samplewise(Flat):
    """The product of queries and keys of the same samples. Where a sample begins, (B + 1,) int64, ends included."""

    queries: Tensor
    keys: Tensor

    @classmethod
    def of(cls, queries: Layout, keys: Layout) -> Samplewise:
        """Of two sides, or of one with itself."""
        own = _starts(queries)
        return cls(own, own if keys is queries else _starts(keys))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float | None) -> Tensor:
        """See `Flat`."""
        if len(q) == len(k):
            return self.own(torch.stack((q, k, v), 1), causal, scale)
        return self.across(q, torch.stack((k, v), 1), scale)

    def own(self, qkv: Tensor, causal: bool, scale: float | None) -> Tensor:
        """See `Flat`."""
        return cast(Tensor, _Product.apply(qkv.contiguous(), None, self, causal, scale))

    def across(self, q: Tensor, kv: Tensor, scale: float | None) -> Tensor:
        """See `Flat`."""
        return cast(Tensor, _Product.apply(q.contiguous(), kv.contiguous(), self, False, scale))


def samplewise(device: torch.device, head: int, dtype: torch.dtype) -> bool:
    """Whether heads of `head` numbers are attended so: on a CPU, in float32, and in bfloat16 where the processor
    multiplies pairs.
    """
    if device.type != "cpu" or head % LANES or dtype not in NUMBERS:
        return False
    return _halves() if dtype is torch.bfloat16 else compiled("attention") is not None


def _starts(layout: Layout) -> Tensor:
    return F.pad(layout.lengths.cumsum(0), (1, 0))


class _Product(torch.autograd.Function):
    """queries (N, H, K) and memory (M, 2, H, K), or what one side gives (N, 3, H, K) and None -> (N, H, K)."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, memory: Tensor | None, by: Samplewise, causal: bool, scale: float | None
    ) -> Tensor:
        y = queries.new_empty(len(queries), *queries.shape[-2:])
        spread = torch.empty(y.shape[:2])
        ctx.settings = by, causal, scale
        ctx.save_for_backward(queries, memory, spread)
        _call(ctx.settings, queries, memory, spread, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        queries, memory, spread = ctx.saved_tensors
        into = torch.empty_like(queries), None if memory is None else torch.empty_like(memory)
        _call(ctx.settings, queries, memory, spread, grads[0].contiguous(), into)
        return *into, None, None, None


def _call(
    settings: tuple[Samplewise, bool, float | None],
    queries: Tensor,
    memory: Tensor | None,
    spread: Tensor,
    y: Tensor,
    into: tuple[Tensor, Tensor | None] | None = None,
) -> None:
    """Forward into y; or, y being its gradient, backward into the gradients of queries and memory.

    Errors: TypeError where numbers are of other types than C reads.
    """
    by, causal, scale = settings
    kinds = {part.dtype for part in (queries, memory) if part is not None}
    if len(kinds) > 1 or not kinds <= NUMBERS:
        raise TypeError(
            f"attention of {' with '.join(sorted(map(str, kinds)))}: queries, keys and values are all float32, or all "
            "bfloat16; a model that computes otherwise has parameters of several types, so convert it whole"
        )
    heads, head = y.shape[1:]
    width, half = heads * head, y.dtype is torch.bfloat16
    z = _Attention(len(by.queries) - 1, heads, head, causal, half, torch.get_num_threads())
    z.scale = head**-0.5 if scale is None else scale
    z.q_starts, z.k_starts = by.queries.data_ptr(), by.keys.data_ptr()
    keys = queries if memory is None else memory
    z.q_row, z.k_row, z.y_row = queries.stride(0), keys.stride(0), width
    step = y.element_size() * width
    first = step if memory is None else 0  # of the keys in a row
    z.q, z.spread = queries.data_ptr(), spread.data_ptr()
    z.k, z.v = keys.data_ptr() + first, keys.data_ptr() + first + step
    if into is None:
        z.y = y.data_ptr()
    else:
        to = into[0] if into[1] is None else into[1]
        z.dy, z.dq = y.data_ptr(), into[0].data_ptr()
        z.dk, z.dv = to.data_ptr() + first, to.data_ptr() + first + step
    if cast(ctypes.CDLL, compiled("attention")).attention(ctypes.byref(z), into is not None):
        raise MemoryError("there is no memory for an attention of these samples")
