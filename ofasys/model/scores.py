"""Scores turned into the gradients of their cross-entropies in C, on a CPU: what is read once stays near until written.

`n` positions with a loss, `U` tokens that may come.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofasys.model.native import compiled

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

LEAST = 16  # scores of a row: fewer are not worth a call
_NUMBERS = ("rows", "half", "threads", "write")
_TENSORS = ("scores", "labels", "losses", "correct")


class _Scores(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in _NUMBERS),
        *((name, ctypes.c_long) for name in ("size", "row")),
        ("smoothing", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _TENSORS),
    ]


def turns_scores(scores: Tensor) -> bool:
    """Whether `turned` takes these."""
    known = scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.bfloat16)
    return known and scores.shape[1] >= LEAST and scores.stride(1) == 1 and compiled("scores") is not None


def turned(
    scores: Float[Tensor, "n U"], labels: Int[Tensor, "n"], smoothing: float, write: bool
) -> tuple[Float[Tensor, "n"], Tensor]:
    """Losses (n,) float32, and whether no score is above the label's (n,) bool.

    write: scores become, in place, the gradients of their unweighted losses. smoothing: as of `cross_entropy`. Errors:
    IndexError where a label is none of the scores; these are left alone then.
    """
    library = compiled("scores")
    assert library is not None
    n, size = scores.shape
    losses, correct = torch.empty(n), torch.empty(n, dtype=torch.bool)
    labels = labels.to(torch.int64, memory_format=torch.contiguous_format)
    half = scores.dtype is torch.bfloat16
    z = _Scores(n, half, torch.get_num_threads(), write, size, scores.stride(0), smoothing)
    z.scores, z.labels = scores.data_ptr(), labels.data_ptr()
    z.losses, z.correct = losses.data_ptr(), correct.data_ptr()
    failed = library.scores_turned(ctypes.byref(z))
    if failed:
        raise refused(failed, labels, size)
    return losses, correct


def refused(failed: int, labels: Int[Tensor, "n"], size: int) -> Exception:
    """What the C did not do: 2, a label is none of `size` scores; 1, it had no memory."""
    if failed == 1:
        return MemoryError("there is no memory for the scores of a vocabulary")
    return IndexError(
        f"labels go from {int(labels.min())} to {int(labels.max())}, and scores from 0 to {size - 1}; a label is the "
        "place of its token among those that may come"
    )
