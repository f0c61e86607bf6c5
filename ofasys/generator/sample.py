"""Drawing a token: temperature, then the top_k best, then the smallest set that holds top_p of the probability.

A draw is a function of (seed, source, answer, step) and that row's scores: neighbours in the batch change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.options import SearchOptions


def uniform(rows: Sequence[tuple[int, int, int]], step: int) -> Tensor:
    """One number in [0, 1) for each row, a row being (seed, source, answer)."""
    draws = [np.random.default_rng((*row, step)).random() for row in rows]
    return torch.tensor(draws, dtype=torch.float64)


def draw(values: Tensor, chance: Tensor, options: SearchOptions) -> Tensor:
    """Raw scores (n, U), chance (n,) in [0, 1) -> the column drawn for each row (n,)."""
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
    drawn = torch.searchsorted(mass, chance.to(mass.device)[:, None] * mass[:, -1:], right=True)
    last = torch.where(logits > -torch.inf, torch.arange(logits.shape[1], device=logits.device), 0).amax(1)
    return torch.minimum(drawn[:, 0], last)  # rounding must not push a draw past the last token that has any chance
