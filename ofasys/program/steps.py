"""The model as generators see it: token by token, or in stretches, after all that came before, with a cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding

from ofasys.model import Cache, UniversalModel
from ofasys.types import Hidden, Layout, Stream


@dataclass(frozen=True)
class Past:
    """What stands in the target before a stage, in a rectangle: a row's positions end where all rows end.

    embedding (B, P, D), positions (B, P, 3). skip (B,): a row's first places that hold nothing. order (B,): the place
    in the sentence that comes next. blocks (B, P): places of one number above 0 see each other both ways; None where
    none do.
    """

    embedding: Tensor
    positions: Tensor
    skip: Tensor
    order: Tensor
    blocks: Tensor | None = None

    @classmethod
    def of(cls, stream: Stream) -> Past:
        """Of a flat stream, each row with at least one position."""
        layout = stream.layout
        B, P, lengths = layout.batch, layout.length, layout.lengths
        skip = P - lengths
        place = layout.place + skip.repeat_interleave(lengths)
        filled = stream.embedding.new_zeros(B * P, stream.embedding.shape[1]).index_copy_(0, place, stream.embedding)
        positions = layout.positions.new_zeros(B * P, 3).index_copy_(0, place, layout.positions)
        last = torch.cumsum(lengths, 0) - 1
        blocks = None
        if layout.blocks is not None:
            blocks = layout.blocks.new_zeros(B * P).index_copy_(0, place, layout.blocks).view(B, P)
        return cls(filled.view(B, P, -1), positions.view(B, P, 3), skip, layout.positions[last, 0] + 1, blocks)

    def start(self, model: UniversalModel, cache: Cache, group: int) -> Tensor:
        """Feed it to a new cache of `group` rows a source -> the state after it (R, D)."""
        if bool((self.skip > 0).any()):
            cache.skip = self.skip.repeat_interleave(group)
        sees = self.sees()
        return model.step(
            self.embedding.repeat_interleave(group, 0),
            self.positions.repeat_interleave(group, 0),
            cache,
            None if sees is None else sees.repeat_interleave(group, 0),
        )

    def sees(self) -> Tensor | None:
        """(B, 1, P, P) bool: what each place may see, where some see each other both ways; as in training."""
        if self.blocks is None or not bool((self.blocks > 0).any()):
            return None
        places = torch.arange(self.blocks.shape[1], device=self.blocks.device)
        together = (self.blocks[:, :, None] == self.blocks[:, None, :]) & (self.blocks > 0)[:, :, None]
        there = (places >= self.skip[:, None])[:, None, :]
        return (((places <= places[:, None]) | together) & there | (places == places[:, None]))[:, None]


class StepDecoder:
    """A universal model, its sources encoded, joined to the token table. See `ofasys.generator.decoder.Decoder`.

    past: what stands in the target before the tokens, if anything does.
    """

    def __init__(
        self,
        model: UniversalModel,
        table: Tensor,
        memory: Hidden | None,
        sources: int,
        transposed: Tensor | None = None,
        past: Past | None = None,
    ) -> None:
        self.model, self.table, self.memory, self.sources, self.transposed = model, table, memory, sources, transposed
        self.past, self.group, self.before = past, 1, 0
        self.cache: Cache | None = None

    def start(self, group: int, max_length: int) -> None:
        """Begin anew with `group` rows a source."""
        self.group, self.before = group, 0 if self.past is None else self.past.embedding.shape[1]
        room = min(max_length + self.before, self.model.config.max_positions)
        self.cache = self.model.start(self.memory, self.sources * group, room, group)
        if self.past is not None:
            self.past.start(self.model, self.cache, group)

    def step(self, tokens: Tensor, parents: Tensor | None, grid: Tensor | None = None) -> Tensor:
        """tokens (R, n), parents (R,), grid (R, n, 2) -> hidden state after the last (R, D)."""
        cache = self.cache
        assert cache is not None, "start comes before step"
        if parents is not None:
            cache.reorder(parents)
        R, n = tokens.shape
        positions = torch.full((n, 3), -1, dtype=torch.int64, device=tokens.device)
        done = cache.filled - self.before
        positions[:, 0] = torch.arange(done, done + n, device=tokens.device)
        if self.past is not None or grid is not None:
            positions = positions.repeat(R, 1, 1)
        if self.past is not None:
            positions[..., 0] += self.past.order.repeat_interleave(self.group)[:, None]
        if grid is not None:
            positions[..., 1:] = grid
        return self.model.step(embedding(tokens, self.table), positions, cache)

    def full(self, tokens: Tensor) -> Tensor:
        """tokens (B, L, T), L rows a source -> the hidden state after each (B, L, T, D), in one pass."""
        if self.past is not None:
            raise ValueError("labels are ranked at the beginning of a target only")
        B, L, T = tokens.shape
        rows = torch.arange(B * L * T, device=tokens.device)
        positions = torch.full((B * L * T, 3), -1, dtype=torch.int64, device=tokens.device)
        positions[:, 0] = rows % T
        lengths = torch.full((B * L,), T, dtype=torch.int64, device=tokens.device)
        layout = Layout(B * L, T, rows, positions, lengths, full=True)
        hidden = self.model.decode(Stream(embedding(tokens.flatten(), self.table), layout), self.memory, L)
        return hidden.states.view(B, L, T, -1)


class Onward:
    """What came before a value that is drawn, one row a source. See `ofasys.generator.decoder.Continuation`.

    kept: positions to leave for what comes after the value.
    """

    def __init__(self, model: UniversalModel, memory: Hidden | None, past: Past, kept: int = 0) -> None:
        self.model, self.rows, self.order, self.kept = model, len(past.order), past.order, kept
        self.cache = model.start(memory, self.rows, past.embedding.shape[1] + 64)
        self.hidden = past.start(model, self.cache, 1)

    @property
    def room(self) -> int:
        """Positions the model still has places for, but for those to be kept for what comes after."""
        return max(1, self.model.config.max_positions - int(self.order.max()) - self.kept)

    def step(self, embedding: Tensor) -> Tensor:
        """embedding (R, n, D), appended -> the state after the last (R, D)."""
        self.hidden = self.model.step(embedding, self._positions(embedding.shape[1]), self.cache)
        self.order = self.order + embedding.shape[1]
        return self.hidden

    def look(self, embedding: Tensor) -> Tensor:
        """embedding (R, n, D), seeing each other and all before -> their states (R, n, D). Nothing is kept."""
        return self.model.look(embedding, self._positions(embedding.shape[1]), self.cache)

    def _positions(self, n: int) -> Tensor:
        positions = torch.full((self.rows, n, 3), -1, dtype=torch.int64, device=self.order.device)
        positions[..., 0] = self.order[:, None] + torch.arange(n, device=self.order.device)
        return positions
