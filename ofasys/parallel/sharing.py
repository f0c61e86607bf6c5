"""Embeddings that the processes of a run compare with each other, as a contrast does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ofasys.parallel.ranks import Ranks


@dataclass(frozen=True)
class Sharing:
    """One batch that several processes share."""

    ranks: Ranks
    counts: Sequence[int]
    """Samples of each process, known before anything is computed."""


_now: ContextVar[Sharing | None] = ContextVar("sharing", default=None)


@contextmanager
def sharing(ranks: Ranks, counts: Sequence[int]) -> Iterator[None]:
    """Within it `gathered` gives the embeddings of all processes; each of them has to be within it, with these counts.

    Elsewhere (an evaluation, an answer, the trial of a step) a process is on its own.
    """
    token = _now.set(Sharing(ranks, counts) if ranks.several else None)
    try:
        yield
    finally:
        _now.reset(token)


def gathered(embeddings: Tensor) -> Tensor:
    """(B, D) of this process -> those of all that share the batch, by rank, with gradients, in float32; as they are
    outside of `sharing`.
    """
    shared = _now.get()
    if shared is None:
        return embeddings
    made: Tensor = _Gathered.apply(embeddings.float(), shared)
    return made


def absent(views: int, width: int, device: torch.device) -> None:
    """What a process does that has no sample of a shared batch: it waits where the others wait for it."""
    own = [torch.zeros(0, width, device=device, requires_grad=True) for _ in range(views)]
    made = [gathered(one) for one in own]
    if torch.is_grad_enabled():
        torch.cat(made).sum().mul(0.0).backward()


class _Gathered(torch.autograd.Function):
    """Every process uses every embedding, so the gradient of one is the sum of what all of them have for it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, shared: Sharing) -> Tensor:
        rank, counts = shared.ranks.rank, shared.counts
        first = sum(counts[:rank])
        ctx.ranks, ctx.mine = shared.ranks, slice(first, first + len(own))
        return shared.ranks.gather_rows(own, counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.sum_rows(gradients[0])[ctx.mine], None
