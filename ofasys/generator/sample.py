"""Drawing a token: temperature, then the top_k best, then the smallest set that holds top_p of the probability.

A draw is a function of (seed, source, answer, step) and that row's scores: neighbours in the batch change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofasys.generator.choose import chances, chooses, drawn, top
from ofasys.generator.options import SearchOptions

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int


def uniform(rows: Sequence[tuple[int, int, int]], steps: Sequence[int]) -> Float[Tensor, "n"]:
    """One number in [0, 1) for each row, a row being (seed, source, answer), at its step."""
    return chances([(*row, step) for row, step in zip(rows, steps, strict=True)])


def draw(values: Float[Tensor, "n U"], chance: Float[Tensor, "n"], options: SearchOptions) -> Int[Tensor, "n"]:
    """Raw scores, chance in [0, 1) -> the column drawn for each row: the first up to which the columns that may come
    hold more than `chance` of their probability.

    On a CPU and of float32 in C, without sorting, else by `drawn_by_torch`. The two draw the same but where a sum is
    within a rounding of float32 of the chance.
    """
    if not chooses(values):
        return drawn_by_torch(values, chance, options)
    least = top(values, options.top_k)[0][:, -1] if 0 < options.top_k < values.shape[1] else None
    return drawn(values, chance, least, options.temperature, options.top_p)


def drawn_by_torch(values: Tensor, chance: Tensor, options: SearchOptions) -> Tensor:
    """As `draw`, in double."""
    logits = values.double() / options.temperature
    if 0 < options.top_k < logits.shape[1]:
        least = torch.topk(logits, options.top_k)[0][:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if options.top_p < 1.0:
        ordered, columns = torch.sort(logits, descending=True, stable=True)
        weight = torch.softmax(ordered, 1)
        before = weight.cumsum(1) - weight  # the best token has nothing before it, so one always stays
        logits = logits.masked_fill((before >= options.top_p).scatter(1, columns, before >= options.top_p), -torch.inf)
    mass = torch.softmax(logits, 1).cumsum(1)
    column = torch.searchsorted(mass, chance.to(mass.device)[:, None] * mass[:, -1:], right=True)
    last = torch.where(logits > -torch.inf, torch.arange(logits.shape[1], device=logits.device), 0).amax(1)
    return torch.minimum(column[:, 0], last)  # rounding must not push a draw past the last token that has any chance
