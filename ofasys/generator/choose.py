"""The best of many scores, their normaliser, and a draw among them, in C on a CPU: each score is read while it is near.

`n` rows, `U` columns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ofasys.model.native import address, compiled

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

_POINTER = ctypes.c_void_p
BLOCK = 128


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
) -> tuple[Float[Tensor, "n best"], Int[Tensor, "n best"], Float[Tensor, "n"]]:
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


def best_of(scores: Tensor, lo: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (n, U) of tokens from lo on -> the k best (n, k), their tokens (n, k), the log of the normaliser (n,)."""
    if chooses(scores):
        values, place, norm = best_few(scores, k)
        return values, place + lo, norm
    values, place = top(scores, k)
    return values, place + lo, torch.logsumexp(scores, 1)


def normaliser(scores: Float[Tensor, "n U"]) -> Float[Tensor, "n"]:
    """The logarithm of the sum of the exponents of each row."""
    return best_few(scores, 0)[2] if chooses(scores) else torch.logsumexp(scores, 1)


def top(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row (n, U) and their columns, largest first. Exact: the k largest lie in k best blocks."""
    n, count = values.shape
    k = min(k, count)
    blocks = count // BLOCK
    if blocks < 4 * k:
        return torch.topk(values, k)
    peaks = values[:, : blocks * BLOCK].view(n, blocks, BLOCK).amax(-1)
    chosen = peaks.argmax(1, keepdim=True) if k == 1 else torch.topk(peaks, k, sorted=False)[1]
    columns = (chosen[:, :, None] * BLOCK + torch.arange(BLOCK, device=values.device)).view(n, -1)
    rest = torch.arange(blocks * BLOCK, count, device=values.device)  # too few for a block: always looked at
    columns = torch.cat([columns, rest.expand(n, -1)], 1)
    best, place = torch.topk(values.gather(1, columns), k)
    return best, columns.gather(1, place)


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


def scores_of(table: Float[Tensor, "V D"], tokens: Int[Tensor, "n k"], x: Float[Tensor, "n D"]) -> Float[Tensor, "n k"]:
    """The exact scores of tokens in states x."""
    library = _of_tables(table, x)
    if library is None:
        return torch.bmm(table[tokens], x[:, :, None])[:, :, 0]
    x, tokens = x.contiguous(), tokens.contiguous()
    n, k = tokens.shape
    found = torch.empty(n, k)
    library.choose_scores(
        *map(address, (table, x, tokens)), *(n, k, x.shape[1], torch.get_num_threads()), address(found)
    )
    return found


def settled(
    table: Float[Tensor, "V D"],
    x: Float[Tensor, "n D"],
    rough: Float[Tensor, "n k"],
    tokens: Int[Tensor, "n k"],
    norm: Float[Tensor, "n"],
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
    """Rough scores of some tokens in states x, and the logarithm of the normaliser over these and others -> their exact
    scores, falling, the tokens in that order, and the logarithm with those in place of the rough ones.
    """
    library = _of_tables(table, x)
    if library is not None:
        x, rough, tokens, norm = (part.contiguous() for part in (x, rough.clone(), tokens.clone(), norm.clone()))
        n, k = tokens.shape
        library.choose_settled(
            *map(address, (table, x)),
            *(n, k, x.shape[1], torch.get_num_threads()),
            *map(address, (rough, tokens, norm)),
        )
        return rough, tokens, norm
    exact = scores_of(table, tokens, x)
    peak = torch.maximum(norm, exact.amax(1))
    rest = ((norm - peak).exp() - (rough - peak[:, None]).exp().sum(1)).clamp_(min=0.0)  # of what is not among them
    norm = peak + (rest + (exact - peak[:, None]).exp().sum(1)).log()
    values, order = exact.sort(1, descending=True)
    return values, tokens.gather(1, order), norm


def _of_tables(table: Tensor, x: Tensor) -> ctypes.CDLL | None:
    plain = all(part.device.type == "cpu" and part.dtype == torch.float32 for part in (table, x))
    return compiled("choose") if plain and table.is_contiguous() else None


def chances(keys: Sequence[tuple[int, ...]]) -> Float[Tensor, "n"]:
    """What `np.random.default_rng(key).random()` gives of each key, a number in [0, 1) in double."""
    library = compiled("choose")
    if library is None or not keys:
        return torch.tensor([np.random.default_rng(key).random() for key in keys], dtype=torch.float64)
    words, first = list[int](), [0]
    for key in keys:
        if min(key) < 0:
            raise ValueError(f"a draw is asked for by {key}; its numbers are 0 or more")
        for number in key:
            words.append(number & 0xFFFFFFFF)
            while number := number >> 32:
                words.append(number & 0xFFFFFFFF)
        first.append(len(words))
    given, starts = np.array(words, dtype=np.uint32), np.array(first)
    found = torch.empty(len(keys), dtype=torch.float64)
    library.choose_chances(given.ctypes.data_as(_POINTER), starts.ctypes.data_as(_POINTER), len(keys), address(found))
    return found
