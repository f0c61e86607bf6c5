"""The model as the search sees it: token by token, with a cache."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding

from ofasys.model import Cache, UniversalModel
from ofasys.types import Hidden, Layout, Stream


class StepDecoder:
    """A universal model, its sources encoded, joined to the token table. See `ofasys.generator.decoder.Decoder`."""

    def __init__(
        self,
        model: UniversalModel,
        table: Tensor,
        memory: Hidden | None,
        sources: int,
        transposed: Tensor | None = None,
    ) -> None:
        self.model, self.table, self.memory, self.sources, self.transposed = model, table, memory, sources, transposed
        self.cache: Cache | None = None

    def start(self, group: int, max_length: int) -> None:
        """Begin anew with `group` rows a source."""
        room = min(max_length, self.model.config.max_positions)
        self.cache = self.model.start(self.memory, self.sources * group, room, group)

    def step(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
        """tokens (R, n), parents (R,) -> hidden state after the last (R, D)."""
        cache = self.cache
        assert cache is not None, "start comes before step"
        if parents is not None:
            cache.reorder(parents)
        positions = torch.full((tokens.shape[1], 3), -1, dtype=torch.int64, device=tokens.device)
        positions[:, 0] = torch.arange(cache.filled, cache.filled + tokens.shape[1], device=tokens.device)
        return self.model.step(embedding(tokens, self.table), positions, cache)

    def full(self, tokens: Tensor) -> Tensor:
        """tokens (B, L, T), L rows a source -> the hidden state after each (B, L, T, D), in one pass."""
        B, L, T = tokens.shape
        rows = torch.arange(B * L * T, device=tokens.device)
        positions = torch.full((B * L * T, 3), -1, dtype=torch.int64, device=tokens.device)
        positions[:, 0] = rows % T
        lengths = torch.full((B * L,), T, dtype=torch.int64, device=tokens.device)
        layout = Layout(B * L, T, rows, positions, lengths, full=True)
        hidden = self.model.decode(Stream(embedding(tokens.flatten(), self.table), layout), self.memory, L)
        return hidden.states.view(B, L, T, -1)
