"""The best of many scores, their normaliser, and a draw among them, in C on a CPU: each score is read while it is near.

`n` rows, `U` columns.
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


class _Best(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("rows", "threads", "wanted")),
        *((name, ctypes.c_long) for name in ("size", "row")),
        *((name, ctypes.c_void_p) for name in ("scores", "best", "place", "norm")),
    ]


class _Drawn(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("rows", "threads")),
        *((name, ctypes.c_long) for name in ("size", "row")),
        ("inverse", ctypes.c_float),
        ("share", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("scores", "least", "chance", "drawn")),
    ]


def chooses(scores: Tensor) -> bool:
    """Whether `best_few` and `drawn` take these."""
    known = scores.device.type == "cpu" and scores.dtype == torch.float32 and scores.ndim == 2
    return known and len(scores) > 0 and scores.shape[1] > 0 and compiled("choose") is not None


def best_few(
    scores: Float[Tensor, "n U"], k: int
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
    """The k best, falling, fewer where there are fewer columns; their columns, of equal ones the first first; the
    logarithm of the sum of the exponents of all. Of k some tens at most.
    """
    library = compiled("choose")
    assert library is not None
    scores = scores if scores.stride(1) == 1 else scores.contiguous()
    n, U = scores.shape
    k = min(k, U)
    values, place, norm = torch.empty(n, k), torch.empty(n, k, dtype=torch.int64), torch.empty(n)
    z = _Best(n, torch.get_num_threads(), k, U, scores.stride(0))
    z.scores, z.best, z.place, z.norm = (part.data_ptr() for part in (scores, values, place, norm))
    if library.choose_best(ctypes.byref(z)):
        raise MemoryError(f"there is no memory for the best of {U:,} scores")
    return values, place, norm


def normaliser(scores: Float[Tensor, "n U"]) -> Float[Tensor, "n"]:
    """The logarithm of the sum of the exponents of each row."""
    return best_few(scores, 0)[2] if chooses(scores) else torch.logsumexp(scores, 1)


def drawn(
    scores: Float[Tensor, "n U"],
    chance: Float[Tensor, "n"],
    least: Float[Tensor, "n"] | None,
    temperature: float,
    share: float,
) -> Int[Tensor, "n"]:
    """The column of each row up to which those that may come hold more than `chance`, in [0, 1), of their weight.

    least: the lowest score of a row that may come; None: any. share: of the weight, that the likeliest hold which may
    come, as few as can be; 1: all may.
    """
    library = compiled("choose")
    assert library is not None
    scores = scores if scores.stride(1) == 1 else scores.contiguous()
    n, U = scores.shape
    chance, found = chance.double().contiguous(), torch.empty(n, dtype=torch.int64)
    least = None if least is None else least.contiguous()
    z = _Drawn(n, torch.get_num_threads(), U, scores.stride(0), 1.0 / temperature, share)
    z.scores, z.chance, z.drawn = scores.data_ptr(), chance.data_ptr(), found.data_ptr()
    z.least = None if least is None else least.data_ptr()
    if library.choose_drawn(ctypes.byref(z)):
        raise MemoryError(f"there is no memory for the chances of {U:,} tokens")
    return found
