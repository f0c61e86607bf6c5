"""Scores of a vocabulary, cross-entropies and their gradients in C, on a CPU that multiplies pairs of bfloat16: scores
are gone over while they are near, and the table is read, and its gradient written, in float32.

`n` positions with a loss, `U` tokens that may come, `D` width.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofasys.model.linear import FEW, HALF, LANES, WHOLE, mixed, plain
from ofasys.model.native import compiled
from ofasys.model.scores import refused

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

LEAST = 1024  # tokens: with fewer, torch's products are as fast
WIDE = 32  # as of pairs.h
_TENSORS = ("x", "table", "labels", "factors", "scores", "losses", "correct", "dx", "dtable")


class _Head(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("n", "width", "size")),
        *((name, ctypes.c_int) for name in ("threads", "write", "add")),
        ("smoothing", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _TENSORS),
    ]


@functools.cache
def _library() -> ctypes.CDLL | None:
    found = compiled("head")
    return found if found is not None and found.head_halves() else None


def judges(hidden: Tensor, table: Tensor) -> bool:
    """Whether `judged` takes these."""
    if hidden.device.type != "cpu" or not mixed() or hidden.dtype not in (HALF, WHOLE) or len(hidden) < FEW:
        return False
    (U, D), laid_out = table.shape, table.is_contiguous()
    return laid_out and D % LANES == 0 and U >= LEAST and plain(table) and _library() is not None


def judged(
    x: Float[Tensor, "n D"],
    table: Float[Tensor, "U D"],
    labels: Int[Tensor, "n"],
    factors: Float[Tensor, "n"] | None,
    smoothing: float,
    dx: Float[Tensor, "n D"] | None,
    dtable: Float[Tensor, "U D"] | None,
    add: bool,
) -> tuple[Float[Tensor, "n"], Tensor]:
    """Losses (n,) float32, and whether no score is above the label's (n,) bool; x is in bfloat16.

    factors: of the gradients of each position, which are written to dx and dtable, float32, where they are given. add:
    dtable has something already. Errors: IndexError where a label is no token; nothing is written then.
    """
    library = _library()
    assert library is not None
    (n, D), U = x.shape, len(table)
    losses, correct = torch.empty(n), torch.empty(n, dtype=torch.bool)
    scores = torch.empty(-(-U // WIDE), n, WIDE, dtype=HALF)
    x, labels = x.contiguous(), labels.to(torch.int64).contiguous()
    factors = None if factors is None else factors.to(WHOLE).contiguous()
    z = _Head(n, D, U, torch.get_num_threads(), dx is not None or dtable is not None, add, smoothing)
    given = (x, table, labels, factors, scores, losses, correct, dx, dtable)
    for name, tensor in zip(_TENSORS, given, strict=True):
        setattr(z, name, None if tensor is None else tensor.data_ptr())
    if failed := library.head(ctypes.byref(z)):
        raise refused(failed, labels, U)
    return losses, correct
