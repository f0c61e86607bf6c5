"""A tiny decoder with real state: what it says depends on the source, on every token so far and on their order."""

from __future__ import annotations

import torch
from torch import Tensor


class Toy:
    """hidden = tanh(A hidden + table[token]) with a start that depends on the source's number."""

    def __init__(self, vocabulary: int, sources: list[int], seed: int = 0, width: int = 8, scale: float = 1.5) -> None:
        g = torch.Generator().manual_seed(seed)
        self.table = torch.randn(vocabulary, width, generator=g) * scale
        self.transposed: Tensor | None = None
        self.mix = torch.randn(width, width, generator=g) * 0.9
        self.first = torch.randn(1000, width, generator=g)[sources]
        self.sources = len(sources)
        self.steps = 0
        self.scored = 0

    def start(self, group: int, max_length: int) -> None:
        self.room, self.filled = max_length, 0
        self.state = self.first.repeat_interleave(group, 0)

    def step(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
        self.steps += 1
        self.filled += tokens.shape[1]
        assert self.filled <= self.room
        if parents is not None:
            self.state = self.state[parents]
        for token in tokens.T:
            self.state = torch.tanh(self.state @ self.mix + self.table[token])
        return self.state

    def full(self, tokens: Tensor) -> Tensor:
        state = self.first[:, None].expand(-1, tokens.shape[1], -1)
        out = []
        for place in range(tokens.shape[2]):
            state = torch.tanh(state @ self.mix + self.table[tokens[:, :, place]])
            out.append(state)
        return torch.stack(out, 2)
