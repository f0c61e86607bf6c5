"""A tiny decoder with real state: what it says depends on the source, on every token so far and on their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Toy:
    """hidden = tanh(A hidden + table[token]) with a start that depends on the source's number."""

    def __init__(self, vocabulary: int, sources: list[int], seed: int = 0, width: int = 8, scale: float = 1.5) -> None:
        g = torch.Generator().manual_seed(seed)
        self.table = torch.randn(vocabulary, width, generator=g) * scale
        self.output = None
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

    def plant(self, prefixes: Sequence[np.ndarray]) -> tuple[Sprouts, Tensor]:
        state = self.first
        rows = []
        for source, prefix in enumerate(prefixes):
            row = state[source : source + 1]
            for token in prefix:
                row = torch.tanh(row @ self.mix + self.table[int(token)])
            rows.append(row)
        self.state = torch.cat(rows)
        return self.branch(), self.state

    def branch(self) -> Sprouts:
        return Sprouts(self, self.state)


class Sprouts:
    """The states of a tree's nodes."""

    def __init__(self, toy: Toy, state: Tensor) -> None:
        self.toy, self.state, self.nodes = toy, state, torch.zeros(0, state.shape[1])

    @property
    def count(self) -> int:
        return len(self.nodes)

    @count.setter
    def count(self, count: int) -> None:
        self.nodes = self.nodes[:count]

    def grow(self, rows: np.ndarray, parents: np.ndarray, tokens: np.ndarray) -> Tensor:
        assert (np.diff(rows) >= 0).all()
        self.toy.steps += 1
        before = self.state[torch.from_numpy(rows)].clone()
        inner = torch.from_numpy(parents >= 0)
        before[inner] = self.nodes[torch.from_numpy(parents)[inner]]
        made = torch.tanh(before @ self.toy.mix + self.toy.table[torch.from_numpy(tokens)])
        self.nodes = torch.cat([self.nodes, made])
        return made
